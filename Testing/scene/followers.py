"""What must be true of the nodes around the landmarks of a pose."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from FetusMapV2Lib.anatomy.biometry import measure
from FetusMapV2Lib.anatomy.planes import midsagittal_plane
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.skeleton import BALL_RADIUS_MM


def skeleton_points(fetus: PoseScene) -> np.ndarray:
    """World coordinates of the vertices that cells use."""
    return _used_points(fetus.skeleton_node)


def trace_corners(fetus: PoseScene) -> np.ndarray:
    """(4, 3) world coordinates."""
    return _used_points(fetus.trace_node)


def _used_points(node: Any) -> np.ndarray:
    polydata = node.GetPolyData()
    used = np.unique(vtk_to_numpy(polydata.GetPolys().GetConnectivityArray()))
    points = vtk_to_numpy(polydata.GetPoints().GetData())[used].astype(float)
    parent = node.GetParentTransformNode()
    if parent is None:
        return points
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(parent, None, transform)
    return np.array([transform.TransformPoint(point) for point in points])


def assert_followers_agree(fetus: PoseScene, positions: np.ndarray) -> None:
    """Skeleton, plane, lines and measurements are those of `positions`."""
    np.testing.assert_allclose(fetus.pose().positions, positions, atol=1e-6)
    present = positions[np.isfinite(positions).all(axis=1)]
    vertices = skeleton_points(fetus)
    np.testing.assert_allclose(vertices.min(axis=0), present.min(axis=0) - BALL_RADIUS_MM, atol=0.1)
    np.testing.assert_allclose(vertices.max(axis=0), present.max(axis=0) + BALL_RADIUS_MM, atol=0.1)
    plane = midsagittal_plane(positions, default_schema())
    assert plane is not None
    np.testing.assert_allclose(fetus.plane_node.GetOriginWorld(), plane.origin, atol=1e-4)
    np.testing.assert_allclose(fetus.plane_node.GetNormalWorld(), plane.normal, atol=1e-5)
    np.testing.assert_allclose(fetus.plane_node.GetSizeWorld(), plane.extent_mm, atol=1e-4)
    np.testing.assert_allclose(trace_corners(fetus), plane.corners, atol=1e-4)
    for found in measure(Pose(positions)):
        length = fetus.line_nodes[found.key].GetMeasurement("length")
        if math.isnan(found.value_mm):
            assert not length.GetValueDefined()
        else:
            assert length.GetValue() == pytest.approx(found.value_mm, abs=1e-4)
    values = [found.value_mm for found in fetus.measurements()]
    np.testing.assert_allclose(values, [found.value_mm for found in measure(Pose(positions))], atol=1e-5)
