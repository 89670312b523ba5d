"""Real MRML nodes from a pose and their live links, scene files, and off-screen pictures.

Needs VTK and Slicer's MRML classes: inside 3D Slicer, or from the `slicer-core` package. Every function takes the
scene as an argument and uses no Qt, so the same code serves the application, a script and the command line.
"""

import sys

from FetusMapV2Lib.scene.triton_first import load_triton

if "torch" in sys.modules:
    load_triton()
