"""Nothing outlives its scene, and what is closed leaves no node, observer or reference behind."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene import ownership, undo_history
from FetusMapV2Lib.scene.editing import LandmarkEditor
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Lib.scene.offscreen_views import SliceView
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.pose_sequence import PoseSequence
from FetusMapV2Lib.scene.pose_visibility import PoseVisibility
from FetusMapV2Lib.scene.scene_files import close_scene, new_scene
from FetusMapV2Lib.scene.sequence_storage import browser_of
from FetusMapV2Lib.scene.slice_focus import focus_on
from FetusMapV2Lib.scene.volume_nodes import add_volume_node
from FetusMapV2Lib.scene.volume_sequences import add_volume_sequence, browsers_of_volumes

VOLUME = Volume(np.arange(27, dtype=np.uint8).reshape(3, 3, 3), np.eye(4))


def observers(subject: Any) -> int:
    """How many there are, as VTK prints them."""
    return str(subject).count("Tag:")


def everything(scene: Any) -> dict[str, tuple[int, int]]:
    """Node ID -> its numbers of observers and of references, for all nodes and the scene itself."""
    gc.collect()
    found = {"scene": (observers(scene), 0)}
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        found[node.GetID()] = (observers(node), node.GetReferenceCount())
    return found


def test_a_node_does_not_outlive_its_scene(pose: Pose) -> None:
    scene = new_scene()
    browser = add_volume_sequence(scene, [VOLUME] * 2)
    poses = PoseSequence.create(browser, [pose] * 2)
    fetus = PoseScene.create(scene, pose, volume_node=add_volume_node(scene, VOLUME))
    views = PoseVisibility(scene)
    view = SliceView(scene, "Red", (20, 20))
    views.show_only(fetus)
    LandmarkEditor(fetus).swap_sides()
    undo_history.undo(scene)
    focus_on(scene, np.zeros(3))
    assert browsers_of_volumes(scene) == [browser] and browser_of(poses.pose_scene.landmarks_node) is browser
    assert ownership.poses_of(scene, fetus.volume_node) == [fetus.landmarks_node]
    weak = []
    for node in (*fetus.all_nodes, *poses.pose_scene.all_nodes, fetus.volume_node, browser, poses.sequence, view.node):
        weak.append(vtk.vtkWeakReference())
        weak[-1].Set(node)
    view.close()
    views.close()
    close_scene(scene)
    del scene, browser, poses, fetus, views, view, node
    gc.collect()
    assert [reference.Get().GetID() for reference in weak if reference.Get() is not None] == []


def test_many_poses_made_and_closed_leave_what_was_there(scene: Any, pose: Pose) -> None:
    fetus = PoseScene.create(scene, pose, volume_node=add_volume_node(scene, VOLUME))
    landmarks = fetus.landmarks_node
    fetus.close()
    before = everything(scene)
    for _ in range(15):
        fetus = PoseScene.attach(scene, landmarks, default_schema())
        fetus.add_listener(lambda which: None)
        fetus.set_pose(pose)
        fetus.close()
    del fetus
    assert everything(scene) == before


def test_poses_that_are_removed_take_all_their_nodes_with_them(listed_scene: Any, pose: Pose) -> None:
    scene = listed_scene
    undo_history.enable(scene)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    before, items = set(everything(scene)), hierarchy.GetNumberOfItems()
    for _ in range(25):  # more than the history keeps
        undo_history.save_state(scene)
        PoseScene.create(scene, pose)
        scene.Undo()
    assert set(everything(scene)) == before
    assert hierarchy.GetNumberOfItems() == items, "no empty folder is left"
    undo_history.redo(scene)
    PoseScene.attach_all(scene, default_schema())
    listed = [node for node in ownership.nodes_of(ownership.all_poses(scene)[0]) if not node.GetHideFromEditors()]
    assert hierarchy.GetNumberOfItems() == items + 1 + len(listed)


def test_many_moves_undone_and_redone_leave_observers_where_they_were(scene: Any, pose: Pose) -> None:
    undo_history.enable(scene)
    fetus = PoseScene.create(scene, pose)
    fetus.landmarks_node.SetNthControlPointPositionWorld(0, 0, 2, 4)  # the first edit adds the node of the log
    before = {name: counts[0] for name, counts in everything(scene).items()}
    for step in range(12):
        undo_history.save_state(scene)
        fetus.landmarks_node.SetNthControlPointPositionWorld(step % 22, step, 2, 3)
        if step % 3 == 0:
            undo_history.undo(scene)
            undo_history.redo(scene)
    assert {name: counts[0] for name, counts in everything(scene).items()} == before


def test_a_closed_pair_of_views_follows_no_longer(scene: Any, pose: Pose) -> None:
    view = SliceView(scene, "Red", (20, 20))
    PoseScene.create(scene, pose, volume_node=add_volume_node(scene, VOLUME)).close()
    before = everything(scene)
    for _ in range(3):
        views = PoseVisibility(scene)
        views.close()
        views.close()
    assert everything(scene) == before
    view.close()


def test_all_nodes_of_a_class_are_handed_out_without_keeping_them(scene: Any) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLModelNode")
    for _ in range(3):
        assert nodes_by_class(scene, "vtkMRMLModelNode") == [node]
    weak = vtk.vtkWeakReference()
    weak.Set(node)
    scene.RemoveNode(node)
    del node
    gc.collect()
    assert weak.Get() is None


@pytest.mark.parametrize("bundled", [False, True])
def test_whoever_follows_a_move_is_changed_within_one_context(scene: Any, pose: Pose, bundled: bool) -> None:
    fetus = PoseScene.create(scene, pose)
    depth, changed = [0], []

    @contextlib.contextmanager
    def paused() -> Iterator[None]:
        depth[0] += 1
        yield
        depth[0] -= 1

    fetus.update_context = paused
    for node in fetus.all_nodes[1:]:
        node.AddObserver("AnyEvent", lambda caller, event: changed.append(depth[0]))
    before = fetus.landmarks_node.StartModify() if bundled else 0
    for row in range(22):
        fetus.landmarks_node.SetNthControlPointPositionWorld(row, row, 2, 3)
    if bundled:
        fetus.landmarks_node.EndModify(before)
    assert changed and set(changed) == {1} and depth == [0]
    for node in fetus.all_nodes[1:]:
        node.RemoveAllObservers()
