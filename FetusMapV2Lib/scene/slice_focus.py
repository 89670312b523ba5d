"""Turning all slice views to a point, with a cross-hair on it."""

from __future__ import annotations

import numpy as np
import slicer
from numpy.typing import NDArray

from FetusMapV2Lib.scene.node_lookup import nodes_by_class


def focus_on(scene: slicer.vtkMRMLScene, point: NDArray[np.float64]) -> None:
    """Centre every slice view on `point` (3,), RAS mm, and put the cross-hair there; works without a window too."""
    x, y, z = (float(value) for value in point)
    for node in nodes_by_class(scene, "vtkMRMLSliceNode"):
        node.JumpSliceByCentering(x, y, z)
    for crosshair in nodes_by_class(scene, "vtkMRMLCrosshairNode"):
        crosshair.SetCrosshairRAS(x, y, z)
        if crosshair.GetCrosshairMode() == crosshair.NoCrosshair:
            crosshair.SetCrosshairMode(crosshair.ShowSmallBasic)
