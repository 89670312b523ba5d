"""Real MRML nodes from a pose and their live links, scene files, and off-screen pictures.

Needs VTK and Slicer's MRML classes: inside 3D Slicer, or from the `slicer-core` package. Every function takes the
scene as an argument and uses no Qt, so the same code serves the application, a script and the command line.
"""

import contextlib
import sys
from importlib import import_module

# Triton's LLVM ends a process in which that of VTK's drawing is at work: where PyTorch is, Triton comes first
if "torch" in sys.modules:
    with contextlib.suppress(ImportError):
        import_module("triton")
