"""PyTorch and safetensors inside Slicer: searched without importing them, installed only when the user asks for it.

Nothing here runs at import time or opens a dialog, and numpy, SimpleITK and pydicom are never changed.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import slicer

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.resources import resource_path
from FetusMapV2Panel.translations import translator

_ = translator(__name__)

#: What is needed, and the lowest version of it; "" takes any.
_PACKAGES = {"torch": "2.6", "safetensors": ""}

Log = Callable[[str], None]


def missingPackages() -> list[str]:
    """The Python packages that an estimate needs and this Slicer lacks, or has in too old a version."""
    return list(_missingIn(_importedFrom()))


def _importedFrom() -> tuple[tuple[str, int], ...]:
    """The folders that packages are imported from, and when something was added or removed there."""
    folders = (Path(place) for place in sys.path)
    return tuple((str(place), place.stat().st_mtime_ns) for place in folders if place.is_dir())


@functools.lru_cache(maxsize=1)
def _missingIn(folders: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    """The packages that are missing; searched once for each state of the folders, as the panel asks at every change."""
    importlib.invalidate_caches()
    return tuple(name for name, lowest in _PACKAGES.items() if _isMissing(name, lowest))


def _isMissing(name: str, lowest: str) -> bool:
    """Whether a package is not installed, or says that its version is below the lowest."""
    return importlib.util.find_spec(name) is None or _numbers(_version(name)) < _numbers(lowest)


def _version(name: str) -> str:
    """The version of an installed package."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return _PACKAGES[name]  # not installed by pip; taken as good


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:2]]


def _wanted(name: str) -> str:
    """The requirement of pip for a package."""
    return f"{name}>={_PACKAGES[name]}" if _PACKAGES[name] else name


def require() -> None:
    """Check that no package is missing, for scripts.

    Raises:
        UserError: one is missing.
    """
    missing = missingPackages()
    if missing:
        raise UserError(
            _("Python packages are missing: {0}").format(", ".join(missing)),
            remedy=_("Open the FetusMapV2 module in Slicer once: its first-time setup installs them"),
        )


def explanation(missing: list[str]) -> str:
    """What an installation will do, for the user to read before."""
    return _(
        "An estimate needs Python packages that this Slicer lacks: {0}. They are downloaded by the PyTorch extension "
        "(up to a few gigabytes with GPU support) and installed into this Slicer alone. It takes some minutes."
    ).format(", ".join(missing))


def installOnline(log: Log) -> None:
    """Download and install what is missing, PyTorch through the PyTorch extension. Call on the main thread.

    Args:
        log: called with every line of the output.

    Raises:
        UserError: the extension is missing, or the installation failed.
    """
    missing = missingPackages()
    torchUtils = _torchUtils() if "torch" in missing else None
    with _logged(log), _failuresExplained(_("Check the network connection, or install from a folder")):
        if torchUtils is not None:
            logic = torchUtils.PyTorchUtilsLogic()
            logic.installTorch(askConfirmation=False, torchVersionRequirement=_wanted("torch").removeprefix("torch"))
        if "safetensors" in missing:
            _pip(["install", "--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(pinned())])
    require()


def pinned() -> Path:
    """The file with the checksums of the packages that are downloaded; those of PyTorch belong to its extension."""
    return resource_path("Requirements", "first-use.txt")


def installFromFolder(folder: Path, log: Log) -> None:
    """Install what is missing from a folder with wheels, without a network. Call on the main thread.

    The site has chosen these files, so no checksums are compared.

    Raises:
        UserError: the folder lacks a wheel that fits this computer, or the installation failed.
    """
    if not folder.is_dir() or not any(folder.glob("*.whl")):
        remedy = _("Put the wheels of torch, safetensors and what they need for this computer there")
        raise UserError(_("there are no Python wheels here"), where=folder, remedy=remedy)
    wanted = [_wanted(name) for name in missingPackages()]
    remedy = _("See which package the log names, and put its wheel for this computer into the folder")
    with _logged(log), _failuresExplained(remedy):
        _pip(["install", "--no-index", "--find-links", str(folder), *wanted])
    require()


def _pip(arguments: list[str]) -> None:
    """Run Slicer's pip, which prints its output line by line, without a dialog: by slicer.packaging (from 5.12 on)."""
    try:
        packaging = importlib.import_module("slicer.packaging")
    except ModuleNotFoundError:
        packaging = None
    if packaging is not None and arguments[0] == "install":
        packaging.pip_install(arguments[1:], show_progress=False, requester="FetusMapV2")
        return
    run = getattr(slicer.util, "executePythonModule", None) or getattr(slicer.util, "_executePythonModule")  # noqa: B009
    run("pip", arguments)


@contextlib.contextmanager
def _failuresExplained(remedy: str) -> Iterator[None]:
    try:
        yield
    except subprocess.CalledProcessError as error:
        problem = _("the installation failed with code {0}").format(error.returncode)
        raise UserError(problem, remedy=remedy) from error
    except (OSError, ImportError, RuntimeError) as error:
        raise UserError(_("the installation failed ({0})").format(error), remedy=remedy) from error


@contextlib.contextmanager
def _logged(log: Log) -> Iterator[None]:
    """Copy what is printed into the log; Slicer prints the output of processes that it starts."""
    with contextlib.redirect_stdout(_Tee(sys.stdout, log)):
        yield


class _Tee:
    """A text stream that also passes its lines to a function."""

    def __init__(self, stream: TextIO, log: Log) -> None:
        self._stream, self._log, self._line = stream, log, ""

    def write(self, text: str) -> int:
        self._stream.write(text)
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._log(line)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


def _torchUtils() -> Any:
    try:
        return importlib.import_module("PyTorchUtils")
    except ModuleNotFoundError as error:
        raise UserError(
            _("The PyTorch extension is not installed"),
            remedy=_("Install 'PyTorch' in the Extensions Manager and restart Slicer, or install from a folder"),
        ) from error
