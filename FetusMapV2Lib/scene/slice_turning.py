"""Reorienting slice views to planes of the fetus, and reading the planes that they show."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.fetal_slices import SlicePose


def turn_slice(slice_node: Any, cut: SlicePose) -> None:
    """Show `cut` in a slice view, as large as its height in mm allows.

    Args:
        slice_node: vtkMRMLSliceNode of the view, whose dimensions are those of its window.
        cut: the plane and its height.
    """
    matrix = slice_node.GetSliceToRAS()
    for column, axis in enumerate((cut.right, cut.up, np.cross(cut.right, cut.up), cut.centre)):
        for row in range(3):
            matrix.SetElement(row, column, float(axis[row]))
    slice_node.UpdateMatrices()
    width, height, _depth = slice_node.GetDimensions()
    slice_node.SetFieldOfView(cut.height_mm * width / max(height, 1), cut.height_mm, slice_node.GetFieldOfView()[2])


def plane_of(slice_node: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A point (3,) and the unit normal (3,) of the plane that a slice view shows, RAS mm."""
    matrix = slice_node.GetSliceToRAS()
    normal, origin = (np.array([matrix.GetElement(row, column) for row in range(3)]) for column in (2, 3))
    return origin, normal / np.linalg.norm(normal)
