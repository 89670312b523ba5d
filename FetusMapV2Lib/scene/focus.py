"""Turning all slice views to a point, with a cross-hair on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray


def focus_on(scene: slicer.vtkMRMLScene, point: NDArray[np.float64]) -> None:
    """Centre every slice view on `point` (3,), RAS mm, and put the cross-hair there; works without a window too."""
    x, y, z = (float(value) for value in point)
    for node in _nodes(scene, "vtkMRMLSliceNode"):
        node.JumpSliceByCentering(x, y, z)
    for crosshair in _nodes(scene, "vtkMRMLCrosshairNode"):
        crosshair.SetCrosshairRAS(x, y, z)
        if crosshair.GetCrosshairMode() == crosshair.NoCrosshair:
            crosshair.SetCrosshairMode(crosshair.ShowSmallBasic)


def _nodes(scene: slicer.vtkMRMLScene, class_name: str) -> list[Any]:
    found = scene.GetNodesByClass(class_name)
    return [found.GetItemAsObject(index) for index in range(found.GetNumberOfItems())]
