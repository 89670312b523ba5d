"""Triton is loaded before VTK draws: its LLVM ends a process in which Mesa's has drawn before.

Trainings and plans for a GPU load it, and so may a script that estimates in the process that draws.
"""

from __future__ import annotations

import contextlib
import sys
from importlib import import_module


def load_triton() -> None:
    """Load Triton, if it is installed, unless this is Slicer: its own views have drawn already."""
    if hasattr(sys.modules.get("slicer"), "app"):
        return
    with contextlib.suppress(ImportError):
        import_module("triton")
