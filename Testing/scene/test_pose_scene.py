"""A pose as MRML nodes: what is made, and what follows when points move."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import slicer
from scene.followers import assert_followers_agree
from vtk.util.numpy_support import vtk_to_numpy

from FetusMapV2Lib.anatomy.biometry import measure
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.scene.editing import LandmarkEditor
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.volume_nodes import add_volume_node, matrix_to_vtk

SCHEMA = default_schema()


def node_ids(scene: Any) -> list[str]:
    return sorted(scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes()))


def add_transform(scene: Any, matrix: np.ndarray) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetMatrixTransformToParent(matrix_to_vtk(matrix))
    return node


def test_points_are_named_fixed_in_number_and_described(scene: Any, pose: Pose) -> None:
    node = PoseScene.create(scene, pose).landmarks_node
    assert node.GetNumberOfControlPoints() == 22
    assert node.GetFixedNumberOfControlPoints()
    assert [node.GetNthControlPointLabel(row) for row in range(22)] == [mark.name for mark in SCHEMA.landmarks]
    assert "0.90" in node.GetNthControlPointDescription(0)
    assert "4.0 mm" in node.GetNthControlPointDescription(21)
    doubtful = [row for row in range(22) if not node.GetNthControlPointSelected(row)]
    assert doubtful == np.flatnonzero(pose.confidence < 0.5).tolist()


def test_one_node_of_each_kind_and_one_line_per_length(scene: Any, pose: Pose) -> None:
    fetus = PoseScene.create(scene, pose)
    assert fetus.skeleton_node.IsA("vtkMRMLModelNode")
    assert fetus.plane_node.GetSizeMode() == fetus.plane_node.SizeModeAbsolute
    assert set(fetus.line_nodes) == {"crl", *SCHEMA.bones}
    assert all(node.GetLocked() for node in (fetus.plane_node, *fetus.line_nodes.values()))
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode") == 12
    assert_followers_agree(fetus, pose.positions)


def test_plane_normal_points_to_the_fetal_left(scene: Any, pose: Pose) -> None:
    normal = PoseScene.create(scene, pose).plane_node.GetNormalWorld()
    np.testing.assert_allclose(normal, [0.6, 0.8, 0.0], atol=1e-6)


def test_each_limb_has_its_own_colour_in_the_skeleton(scene: Any, pose: Pose) -> None:
    fetus = PoseScene.create(scene, pose)
    colours = fetus.skeleton_node.GetDisplayNode().GetColorNode()
    shown = set()
    for row in range(22):
        rgba = [0.0] * 4
        colours.GetColor(row, rgba)
        np.testing.assert_allclose(rgba[:3], SCHEMA.landmarks[row].colour, atol=1 / 255)
        shown.add(tuple(rgba[:3]))
    assert len(shown) == len(SCHEMA.groups)
    rows = vtk_to_numpy(fetus.skeleton_node.GetPolyData().GetPointData().GetScalars())
    assert set(rows.tolist()) == set(range(22))


def test_missing_points_are_missing_and_what_needs_them_disappears(scene: Any, pose: Pose) -> None:
    positions = pose.positions.copy()
    positions[SCHEMA.index("left_knee")] = np.nan
    fetus = PoseScene.create(scene, pose.with_positions(positions))
    node = fetus.landmarks_node
    assert node.GetNumberOfControlPoints() == 22
    assert node.GetNthControlPointPositionStatus(SCHEMA.index("left_knee")) == node.PositionMissing
    assert fetus.states()[SCHEMA.index("left_knee")] == "missing"
    assert_followers_agree(fetus, positions)
    complete = fetus.skeleton_node.GetPolyData().GetNumberOfPolys()
    node.SetNthControlPointPositionWorld(SCHEMA.index("left_knee"), pose.positions[SCHEMA.index("left_knee")])
    assert fetus.skeleton_node.GetPolyData().GetNumberOfPolys() > complete
    assert_followers_agree(fetus, pose.positions)
    node.SetNthControlPointPositionMissing(SCHEMA.index("left_knee"))
    assert fetus.skeleton_node.GetPolyData().GetNumberOfPolys() == complete
    assert_followers_agree(fetus, positions)


def test_without_enough_midline_points_there_is_no_plane_until_they_come(scene: Any, pose: Pose) -> None:
    positions = pose.positions.copy()
    positions[2:10] = np.nan
    fetus = PoseScene.create(scene, pose.with_positions(positions))
    assert not fetus.plane_node.GetIsPlaneValid()
    assert fetus.trace_node.GetPolyData().GetNumberOfCells() == 0
    fetus.set_pose(pose)
    assert fetus.plane_node.GetIsPlaneValid()
    assert_followers_agree(fetus, pose.positions)


def test_an_empty_pose_gives_nodes_without_anything_to_see(scene: Any) -> None:
    fetus = PoseScene.create(scene, Pose(np.full((22, 3), np.nan)))
    assert set(fetus.states()) == {"missing"}
    assert fetus.skeleton_node.GetPolyData().GetNumberOfPolys() == 0
    assert not fetus.plane_node.GetIsPlaneValid()
    assert all(math.isnan(found.value_mm) for found in fetus.measurements())


def test_moving_any_point_moves_what_depends_on_it_and_makes_no_node(scene: Any, pose: Pose) -> None:
    fetus = PoseScene.create(scene, pose)
    fetus.landmarks_node.SetNthControlPointPositionWorld(0, 0.0, 0.0, 0.0)  # the first edit adds the node of the log
    before = node_ids(scene)
    objects = [node.GetID() for node in fetus.all_nodes]
    mesh = fetus.skeleton_node.GetPolyData()
    positions = pose.positions.copy()
    for row in range(22):
        positions[row] += [1.5, -2.0, 0.5 * row]
        fetus.landmarks_node.SetNthControlPointPositionWorld(row, positions[row])
        assert_followers_agree(fetus, positions)
    assert node_ids(scene) == before
    assert [node.GetID() for node in fetus.all_nodes] == objects
    assert fetus.skeleton_node.GetPolyData() is mesh


def test_moves_bundled_into_one_event_are_followed_and_told_once(scene: Any, pose: Pose) -> None:
    fetus = PoseScene.create(scene, pose)
    told: list[float] = []
    fetus.add_listener(lambda which: told.append(which.measurements()[0].value_mm))
    before = fetus.landmarks_node.StartModify()
    for row in range(22):
        fetus.landmarks_node.SetNthControlPointPositionWorld(row, 2 * pose.positions[row])
    fetus.landmarks_node.EndModify(before)
    assert told == pytest.approx([2 * measure(pose)[0].value_mm])
    assert_followers_agree(fetus, 2 * pose.positions)


def test_listeners_hear_each_move_until_they_are_removed(scene: Any, pose: Pose) -> None:
    fetus = PoseScene.create(scene, pose)
    heard: list[int] = []
    remove = fetus.add_listener(lambda _: heard.append(1))
    fetus.landmarks_node.SetNthControlPointPositionWorld(0, 1, 2, 3)
    assert len(heard) == 1
    fetus.landmarks_node.SetNthControlPointPositionWorld(0, 1, 2, 3)
    assert len(heard) == 1, "nothing moved"
    remove()
    fetus.landmarks_node.SetNthControlPointPositionWorld(0, 4, 2, 3)
    assert len(heard) == 1


def test_a_listener_may_move_points_itself(scene: Any, pose: Pose) -> None:
    fetus = PoseScene.create(scene, pose)

    def to_the_floor(which: PoseScene) -> None:
        if which.pose().positions[1, 2] != 0:
            which.landmarks_node.SetNthControlPointPositionWorld(1, 1, 1, 0)

    fetus.add_listener(to_the_floor)
    fetus.landmarks_node.SetNthControlPointPositionWorld(0, 1, 2, 3)
    positions = pose.positions.copy()
    positions[:2] = [(1, 2, 3), (1, 1, 0)]
    assert_followers_agree(fetus, positions)


def test_landmarks_and_followers_under_transforms(scene: Any, pose: Pose, transform_matrix: np.ndarray) -> None:
    fetus = PoseScene.create(scene, pose)
    transform = add_transform(scene, transform_matrix)
    fetus.landmarks_node.SetAndObserveTransformNodeID(transform.GetID())
    moved = pose.transformed(transform_matrix).positions
    assert_followers_agree(fetus, moved)
    assert set(fetus.states()) == {"estimated"}, "a transform is not an edit"
    # The whole folder put under the transform: followers must not be moved twice.
    for node in fetus.all_nodes:
        node.SetAndObserveTransformNodeID(transform.GetID())
    assert_followers_agree(fetus, moved)
    twice = transform_matrix @ transform_matrix
    transform.SetMatrixTransformToParent(matrix_to_vtk(twice))
    assert_followers_agree(fetus, pose.transformed(twice).positions)
    fetus.landmarks_node.SetNthControlPointPositionWorld(0, 1, 2, 3)
    after = pose.transformed(twice).positions.copy()
    after[0] = [1, 2, 3]
    assert_followers_agree(fetus, after)


def test_points_share_the_transform_of_their_volume(
    scene: Any, pose: Pose, volume: Any, transform_matrix: np.ndarray
) -> None:
    volume_node = add_volume_node(scene, volume)
    transform = add_transform(scene, transform_matrix)
    volume_node.SetAndObserveTransformNodeID(transform.GetID())
    fetus = PoseScene.create(scene, pose, volume_node=volume_node)
    assert fetus.volume_node is volume_node
    assert_followers_agree(fetus, pose.positions)
    transform.SetMatrixTransformToParent(matrix_to_vtk(np.eye(4)))
    assert_followers_agree(fetus, pose.transformed(np.linalg.inv(transform_matrix)).positions)


def test_two_fetuses_do_not_touch_each_other(scene: Any, pose: Pose) -> None:
    first = PoseScene.create(scene, pose)
    second = PoseScene.create(scene, pose.with_positions(pose.positions + 40))
    nodes = (*first.all_nodes, *second.all_nodes)
    names = [node.GetName() for node in nodes if not node.GetHideFromEditors()]
    assert len(set(names)) == len(names)
    first.landmarks_node.SetNthControlPointPositionWorld(0, 1, 2, 3)
    assert_followers_agree(second, pose.positions + 40)
    scene.RemoveNode(first.landmarks_node)
    second.landmarks_node.SetNthControlPointPositionWorld(0, 1, 2, 3)
    assert second.pose().positions[0].tolist() == [1, 2, 3]


def test_a_new_estimate_uses_the_same_nodes(scene: Any, pose: Pose) -> None:
    fetus = PoseScene.create(scene, pose)
    fetus.landmarks_node.SetNthControlPointPositionWorld(0, 1, 2, 3)
    before = node_ids(scene)
    fetus.set_pose(pose.with_positions(pose.positions + 5))
    assert node_ids(scene) == before
    assert set(fetus.states()) == {"estimated"}
    assert_followers_agree(fetus, pose.positions + 5)


def test_a_deleted_follower_is_not_missed_and_comes_back_on_attach(scene: Any, pose: Pose) -> None:
    fetus = PoseScene.create(scene, pose)
    for node in (fetus.skeleton_node, fetus.plane_node, fetus.trace_node, fetus.line_nodes["crl"]):
        scene.RemoveNode(node)
    fetus.landmarks_node.SetNthControlPointPositionWorld(0, 1, 2, 3)
    assert fetus.skeleton_node is None and "crl" not in fetus.line_nodes
    fetus.close()
    positions = pose.positions.copy()
    positions[0] = [1, 2, 3]
    assert_followers_agree(PoseScene.attach(scene, fetus.landmarks_node, SCHEMA), positions)


def test_close_stops_following_and_leaves_the_nodes(scene: Any, pose: Pose) -> None:
    fetus = PoseScene.create(scene, pose)
    heard: list[bool] = []
    fetus.add_listener(lambda which: heard.append(which.is_open))
    crl = fetus.line_nodes["crl"].GetLineLengthWorld()
    fetus.close()
    fetus.close()
    fetus.landmarks_node.SetNthControlPointPositionWorld(0, 100, 200, 300)
    assert heard == [False]
    assert fetus.line_nodes["crl"].GetLineLengthWorld() == crl


def test_clearing_the_scene_closes(scene: Any, pose: Pose) -> None:
    fetus = PoseScene.create(scene, pose)
    heard: list[bool] = []
    fetus.add_listener(lambda which: heard.append(which.is_open))
    scene.Clear(False)
    assert not fetus.is_open
    assert heard == [False]
    assert PoseScene.create(scene, pose).is_open, "the emptied scene can be used again"


def test_deleting_the_landmarks_closes(scene: Any, pose: Pose) -> None:
    fetus = PoseScene.create(scene, pose)
    scene.RemoveNode(fetus.landmarks_node)
    assert not fetus.is_open


def test_undo_and_redo_of_a_move(scene: Any, pose: Pose) -> None:
    fetus = PoseScene.create(scene, pose)
    scene.SetUndoOn()
    scene.SaveStateForUndo()
    fetus.landmarks_node.SetNthControlPointPositionWorld(0, 1, 2, 3)
    scene.Undo()
    assert_followers_agree(fetus, pose.positions)
    assert set(fetus.states()) == {"estimated"}
    scene.Redo()
    assert fetus.states()[0] == "edited"
    fetus.landmarks_node.SetNthControlPointPositionWorld(1, 4, 5, 6)
    positions = pose.positions.copy()
    positions[:2] = [(1, 2, 3), (4, 5, 6)]
    assert_followers_agree(fetus, positions)


def test_undo_of_an_estimate_removes_all_of_it(scene: Any, pose: Pose) -> None:
    before = node_ids(scene)
    scene.SetUndoOn()
    scene.SaveStateForUndo()
    fetus = PoseScene.create(scene, pose)
    scene.Undo()
    assert not fetus.is_open
    left = set(node_ids(scene)) - set(before)
    assert not [name for name in left if "Markups" in name or "Model" in name or "Color" in name]
    scene.Redo()
    again = PoseScene.attach_all(scene, SCHEMA)
    assert len(again) == 1
    assert_followers_agree(again[0], pose.positions)


def test_undo_of_a_second_estimate_brings_the_first_back(scene: Any, pose: Pose) -> None:
    fetus = PoseScene.create(scene, pose)
    scene.SetUndoOn()
    scene.SaveStateForUndo()
    fetus.set_pose(pose.with_positions(pose.positions + 9))
    scene.Undo()
    assert_followers_agree(fetus, pose.positions)
    assert set(fetus.states()) == {"estimated"}


def test_points_of_a_sequence_keep_the_estimate_of_their_frame(scene: Any, pose: Pose) -> None:
    fetus = PoseScene.create(scene, pose)
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode")
    for frame in range(3):
        fetus.set_pose(pose.with_positions(pose.positions + frame))
        sequence.SetDataNodeAtValue(fetus.landmarks_node, str(frame))
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.AddSynchronizedSequenceNode(sequence)
    browser.AddProxyNode(fetus.landmarks_node, sequence, False)
    browser.SetSaveChanges(sequence, True)
    for frame in (0, 2, 1):
        browser.SetSelectedItemNumber(frame)
        assert_followers_agree(fetus, pose.positions + frame)
        assert set(fetus.states()) == {"estimated"}
    fetus.landmarks_node.SetNthControlPointPositionWorld(3, 1, 2, 3)
    browser.SetSelectedItemNumber(2)
    assert set(fetus.states()) == {"estimated"}
    browser.SetSelectedItemNumber(1)
    assert fetus.states()[3] == "edited"
    LandmarkEditor(fetus).reset([3])
    assert_followers_agree(fetus, pose.positions + 1)


def test_one_folder_holds_all_nodes_where_slicer_lists_them(listed_scene: Any, pose: Pose) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(listed_scene)
    first, second = PoseScene.create(listed_scene, pose), PoseScene.create(listed_scene, pose)
    folders = []
    for fetus in (first, second):
        parents = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in fetus.all_nodes}
        assert len(parents) == 1
        folders.append(parents.pop())
    assert folders[0] != folders[1]
    assert hierarchy.GetItemName(folders[0]) == "Fetus"
    first.close()
    items = hierarchy.GetNumberOfItems()
    PoseScene.attach(listed_scene, first.landmarks_node, SCHEMA)
    assert hierarchy.GetNumberOfItems() == items, "attaching makes no second folder"


def test_without_hierarchy_items_none_are_made_for_nodes(scene: Any, pose: Pose) -> None:
    fetus = PoseScene.create(scene, pose)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    assert [hierarchy.GetItemByDataNode(node) for node in fetus.all_nodes] == [0] * 16


@pytest.mark.parametrize("spoil", ["other", "points", "labels", "schema"])
def test_only_landmarks_can_be_attached(scene: Any, pose: Pose, spoil: str) -> None:
    fetus = PoseScene.create(scene, pose)
    node = fetus.landmarks_node
    fetus.close()
    if spoil == "other":
        node = fetus.plane_node
    elif spoil == "points":
        node.SetFixedNumberOfControlPoints(False)
        node.RemoveNthControlPoint(3)
    elif spoil == "labels":
        node.SetNthControlPointLabel(3, "Elbow")
    else:
        node.SetAttribute("FetusMapV2.Schema", "another")
    with pytest.raises(InputError):
        PoseScene.attach(scene, node, SCHEMA)


def test_a_wrong_number_of_landmarks_is_refused(scene: Any) -> None:
    before = node_ids(scene)
    with pytest.raises(ValueError):
        PoseScene.create(scene, Pose(np.zeros((15, 3))))
    assert node_ids(scene) == before
