"""Slice nodes turned to the fetus, and the views drawn one by one for reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from FetusMapV2Lib.anatomy.fetal_slices import slice_poses
from FetusMapV2Lib.anatomy.planes import fetal_axes, midsagittal_plane
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene.picture import view_pictures
from FetusMapV2Lib.scene.slice_turning import turn_slice


@pytest.mark.parametrize("size", [(300, 300), (500, 250), (200, 600)])
def test_a_slice_node_takes_the_plane_and_its_height(scene, pose: Pose, size: tuple[int, int]) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLSliceNode")
    node.SetDimensions(*size, 1)
    plane = midsagittal_plane(pose.positions, default_schema())
    for cut in slice_poses(pose.positions, fetal_axes(plane), plane, default_schema(), aspect=1.0):
        turn_slice(node, cut)
        matrix = node.GetSliceToRAS()
        columns = np.array([[matrix.GetElement(row, column) for row in range(3)] for column in range(4)])
        np.testing.assert_allclose(columns[[0, 1, 3]], [cut.right, cut.up, cut.centre], atol=1e-12)
        assert np.linalg.det(columns[:3]) == pytest.approx(1), "no view shows the fetus mirrored"
        width, height, _depth = node.GetFieldOfView()
        assert height == pytest.approx(cut.height_mm) and width / height == pytest.approx(size[0] / size[1])
        middle = node.GetXYToRAS().MultiplyPoint((size[0] / 2, size[1] / 2, 0, 1))[:3]
        assert np.linalg.norm(np.subtract(middle, cut.centre)) < 2 * cut.height_mm / size[1]


def test_each_view_is_a_picture_of_its_own(volume: Volume, pose: Pose, tmp_path: Path) -> None:
    views = view_pictures(volume, pose)
    titles = [title for title, _png in views]
    assert titles[0].startswith("Skeleton") and titles[1] == "Midsagittal" and len(titles) == 4
    for title, png in views:
        (tmp_path / "view.png").write_bytes(png)
        reader = vtk.vtkPNGReader()
        reader.SetFileName(str(tmp_path / "view.png"))
        reader.Update()
        image = vtk_to_numpy(reader.GetOutput().GetPointData().GetScalars())
        assert reader.GetOutput().GetDimensions()[0] >= 500 and image.std() > 15, title


def test_there_is_nothing_to_draw_without_landmarks(volume: Volume) -> None:
    with pytest.raises(InputError, match="no landmark to draw"):
        view_pictures(volume, Pose(np.full((22, 3), np.nan)))
