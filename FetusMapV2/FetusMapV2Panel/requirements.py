"""PyTorch and safetensors inside Slicer: found out without importing them, installed only after one question.

Nothing here runs at import time, and numpy, SimpleITK and pydicom are never touched.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable

import slicer
from slicer.i18n import tr as _

from FetusMapV2Lib.foundation.errors import UserError

_PACKAGES = ("torch", "safetensors")
_TORCH_VERSION = ">=2.2"


def missingPackages() -> list[str]:
    """The Python packages that an estimate needs and this Slicer lacks."""
    return [name for name in _PACKAGES if importlib.util.find_spec(name) is None]


def require() -> None:
    """Raise UserError if a package is missing; for scripts, where nobody answers questions."""
    missing = missingPackages()
    if missing:
        raise UserError(
            _("Python packages are missing: {0}").format(", ".join(missing)),
            remedy=_("Open the FetusMapV2 module in Slicer once and click Estimate pose: it offers to install them"),
        )


def ensure(onProgress: Callable[[float, str], None]) -> bool:
    """Install what is missing after asking once; false if the user declined. Call on the main thread.

    Raises:
        UserError: the PyTorch extension is missing, or the installation failed.
    """
    missing = missingPackages()
    if not missing:
        return True
    torchUtils = _torchUtils() if "torch" in missing else None
    question = _(
        "FetusMapV2 needs these Python packages: {0}.\n\nThey will be downloaded (up to a few gigabytes with GPU "
        "support) and installed into this Slicer by the PyTorch extension. It takes some minutes. Install now?"
    ).format(", ".join(missing))
    if not slicer.util.confirmOkCancelDisplay(question, _("FetusMapV2 first-time setup")):
        return False
    if torchUtils is not None:
        onProgress(0.0, _("installing PyTorch"))
        if (
            torchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=False, torchVersionRequirement=_TORCH_VERSION)
            is None
        ):
            raise UserError(_("PyTorch could not be installed"), remedy=_("Check the network connection and the log"))
    if "safetensors" in missing:
        onProgress(0.5, _("installing safetensors"))
        slicer.util.pip_install("--no-deps safetensors")
    importlib.invalidate_caches()
    require()
    return True


def _torchUtils():
    try:
        return importlib.import_module("PyTorchUtils")
    except ModuleNotFoundError as error:
        raise UserError(
            _("The PyTorch extension is not installed"),
            remedy=_("Install 'PyTorch' in the Extensions Manager, restart Slicer, and click Estimate pose again"),
        ) from error
