"""Reorienting slice views to the midsagittal, a coronal or a transverse plane of the fetus."""

from __future__ import annotations

from typing import Any

import numpy as np

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
