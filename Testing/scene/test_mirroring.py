"""A volume that a device delivers mirrored is corrected in the scene by a transform, and its landmarks follow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from FetusMapV2Lib.scene.mirroring import is_handedness_corrected, set_handedness_corrected
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.volume_nodes import add_volume_node, matrix_to_vtk, volume_from_node


@pytest.fixture(params=["in the world", "under a transform"])
def node(request: Any, scene: Any, volume: Any, transform_matrix: np.ndarray) -> Any:
    made = add_volume_node(scene, volume)
    if request.param == "under a transform":
        transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transform.SetMatrixTransformToParent(matrix_to_vtk(transform_matrix))
        made.SetAndObserveTransformNodeID(transform.GetID())
    return made


def test_it_is_the_reflection_of_the_command_line(node: Any) -> None:
    before = volume_from_node(node)
    set_handedness_corrected(node, True)
    assert is_handedness_corrected(node)
    after = volume_from_node(node)
    np.testing.assert_allclose(after.ijk_to_ras, before.mirrored().ijk_to_ras, atol=1e-9)
    np.testing.assert_array_equal(after.array, before.array)


def test_twice_is_once_and_it_can_be_taken_back(node: Any, scene: Any) -> None:
    before, nodes = volume_from_node(node).ijk_to_ras, scene.GetNumberOfNodes()
    set_handedness_corrected(node, False)
    assert scene.GetNumberOfNodes() == nodes
    for _ in range(2):
        set_handedness_corrected(node, True)
        right = volume_from_node(node).ijk_to_ras
        set_handedness_corrected(node, True)
        np.testing.assert_allclose(volume_from_node(node).ijk_to_ras, right, atol=1e-12)
        set_handedness_corrected(node, False)
        assert not is_handedness_corrected(node)
        np.testing.assert_allclose(volume_from_node(node).ijk_to_ras, before, atol=1e-12)
    assert scene.GetNumberOfNodes() == nodes + 1


def test_landmarks_of_the_volume_come_with_it_and_others_stay(node: Any, scene: Any, pose: Any, volume: Any) -> None:
    other = add_volume_node(scene, volume)
    own, others = (PoseScene.create(scene, pose, volume_node=one) for one in (node, other))
    before = volume_from_node(node).ijk_to_ras
    set_handedness_corrected(node, True)
    voxels = np.linalg.inv(before) @ np.column_stack([pose.positions, np.ones(22)]).T
    expected = (volume_from_node(node).ijk_to_ras @ voxels).T[:, :3]
    np.testing.assert_allclose(own.pose().positions, expected, atol=1e-9)
    np.testing.assert_allclose(others.pose().positions, pose.positions, atol=1e-9)


def test_landmarks_made_on_it_go_with_it(node: Any, scene: Any, pose: Any) -> None:
    set_handedness_corrected(node, True)
    live = PoseScene.create(scene, pose, volume_node=node)
    np.testing.assert_allclose(live.pose().positions, pose.positions, atol=1e-9)
    right = volume_from_node(node).ijk_to_ras
    set_handedness_corrected(node, False)
    voxels = np.linalg.inv(right) @ np.column_stack([pose.positions, np.ones(22)]).T
    expected = (volume_from_node(node).ijk_to_ras @ voxels).T[:, :3]
    np.testing.assert_allclose(live.pose().positions, expected, atol=1e-9)
