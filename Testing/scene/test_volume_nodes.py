"""Volumes to Slicer nodes and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene.volume_nodes import add_volume_node, matrix_to_vtk, volume_from_node


def add_node(scene: Any, class_name: str, array: np.ndarray) -> Any:
    """A volume node with voxels [k, j, i] or [k, j, i, component]."""
    image = vtk.vtkImageData()
    image.SetDimensions(*array.shape[2::-1])
    flat = np.ascontiguousarray(array).reshape(np.prod(array.shape[:3]), -1)
    image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True))
    node = scene.AddNewNodeByClass(class_name, "made up")
    node.SetAndObserveImageData(image)
    return node


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32])
def test_voxels_and_geometry_survive_both_ways(scene: Any, volume: Volume, dtype: Any) -> None:
    given = volume.with_(array=(volume.array[:, :, ::2] * 3.0).clip(0, 250).astype(dtype))
    node = add_volume_node(scene, given)
    back = volume_from_node(node)
    assert back.array.dtype == dtype
    np.testing.assert_array_equal(back.array, given.array)
    np.testing.assert_allclose(back.ijk_to_ras, given.ijk_to_ras, atol=1e-9)
    assert back.name == "case é 1"
    assert node.GetImageData().GetDimensions() == given.shape[::-1]
    assert node.GetDisplayNode() is not None


def test_left_handed_geometry_stays_left_handed(scene: Any, volume: Volume) -> None:
    mirrored = volume.mirrored()
    back = volume_from_node(add_volume_node(scene, mirrored))
    assert back.is_left_handed
    np.testing.assert_allclose(back.ijk_to_ras, mirrored.ijk_to_ras, atol=1e-9)


def test_parent_transforms_are_part_of_the_geometry(scene: Any, volume: Volume, transform_matrix: np.ndarray) -> None:
    node = add_volume_node(scene, volume)
    outer, inner = (scene.AddNewNodeByClass("vtkMRMLLinearTransformNode") for _ in range(2))
    outer.SetMatrixTransformToParent(matrix_to_vtk(transform_matrix))
    shift = np.eye(4)
    shift[:3, 3] = [1, 2, 3]
    inner.SetMatrixTransformToParent(matrix_to_vtk(shift))
    inner.SetAndObserveTransformNodeID(outer.GetID())
    node.SetAndObserveTransformNodeID(inner.GetID())
    expected = transform_matrix @ shift @ volume.ijk_to_ras
    np.testing.assert_allclose(volume_from_node(node).ijk_to_ras, expected, atol=1e-9)


def test_a_bent_parent_transform_is_refused(scene: Any, volume: Volume) -> None:
    node = add_volume_node(scene, volume)
    bend = vtk.vtkThinPlateSplineTransform()
    bend.SetBasisToR()
    for name, last in (("SetSourceLandmarks", 1.0), ("SetTargetLandmarks", 3.0)):
        points = vtk.vtkPoints()
        for point in ((0, 0, 0), (9, 0, 0), (0, 9, 0), (0, 0, 9), (5, 5, last)):
            points.InsertNextPoint(point)
        getattr(bend, name)(points)
    parent = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    parent.SetAndObserveTransformToParent(bend)
    node.SetAndObserveTransformNodeID(parent.GetID())
    with pytest.raises(InputError, match="not linear"):
        volume_from_node(node)


def test_colour_becomes_grey_by_luminance(scene: Any) -> None:
    colours = np.zeros((2, 3, 4, 3), dtype=np.uint8)
    colours[..., :] = (255, 0, 0)
    colours[1, 2, 3] = (90, 90, 90)
    back = volume_from_node(add_node(scene, "vtkMRMLVectorVolumeNode", colours))
    assert back.array.dtype == np.uint8
    assert back.array.shape == (2, 3, 4)
    assert back.array[0, 0, 0] == 76
    assert back.array[1, 2, 3] == 90


@pytest.mark.parametrize(("given", "kept"), [(np.float64, np.float32), (np.int8, np.int16), (np.int32, np.float32)])
def test_other_voxel_types_are_converted(scene: Any, given: Any, kept: Any) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(given)
    back = volume_from_node(add_node(scene, "vtkMRMLScalarVolumeNode", array))
    assert back.array.dtype == kept
    np.testing.assert_array_equal(back.array, array)


def test_the_array_is_a_copy(scene: Any, volume: Volume) -> None:
    node = add_volume_node(scene, volume)
    back = volume_from_node(node)
    node.GetImageData().GetPointData().GetScalars().Fill(7)
    np.testing.assert_array_equal(back.array, volume.array)


@pytest.mark.parametrize("class_name", ["vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode", "vtkMRMLModelNode"])
def test_what_is_no_volume_is_refused(scene: Any, class_name: str) -> None:
    with pytest.raises(InputError):
        volume_from_node(scene.AddNewNodeByClass(class_name, "empty"))


def test_a_grey_window_that_shows_something(scene: Any, volume: Volume) -> None:
    for array in (volume.array, np.zeros_like(volume.array), volume.array.astype(np.float32) * 100):
        display = add_volume_node(scene, volume.with_(array=array)).GetDisplayNode()
        assert display.GetWindow() > 0
