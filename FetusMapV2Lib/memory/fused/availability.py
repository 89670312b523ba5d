"""Whether the fused kernels can run here: Triton is optional, and what fails once is not tried again."""

from __future__ import annotations

import importlib.util
import logging
import os
from functools import lru_cache

import torch

_LOG = logging.getLogger(__name__)

#: 0 in the environment switches the fused kernels off.
SWITCH = "FETUSMAP_FUSED"
#: Triton's own: 1 runs kernels on a CPU, for tests.
_INTERPRETER = "TRITON_INTERPRET"
_LOWEST_CAPABILITY = (7, 0)  # Volta, the oldest that Triton compiles for

_failures: list[str] = []


def interpreted() -> bool:
    """Whether Triton's interpreter runs the kernels, on tensors of a CPU."""
    return os.environ.get(_INTERPRETER, "0") == "1"


def switched_on() -> bool:
    """Whether the user left the fused kernels on."""
    return os.environ.get(SWITCH, "1") != "0"


@lru_cache(maxsize=1)
def triton_installed() -> bool:
    """Whether there is a Triton; it is not imported."""
    return importlib.util.find_spec("triton") is not None


def usable(device: torch.device) -> bool:
    """Whether the fused kernels run on a device."""
    if _failures or not switched_on() or not triton_installed():
        return False
    if device.type != "cuda":
        return device.type == "cpu" and interpreted()
    return torch.version.hip is None and _capability(device.index) >= _LOWEST_CAPABILITY


@lru_cache
def _capability(index: int | None) -> tuple[int, int]:
    return torch.cuda.get_device_capability(index)


def report_failure(error: Exception) -> None:
    """Log that the kernels do not run here, and use the plain operations from now on."""
    if not _failures:
        _LOG.warning("Fused kernels do not run here, the plain operations do: %s", _first_line(error))
    _failures.append(_first_line(error))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
