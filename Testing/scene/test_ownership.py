"""Two volumes and their poses: what is drawn over a volume is its own, in nodes and in the pixels of slice views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene import ownership, undo_history
from FetusMapV2Lib.scene.editing import LandmarkEditor
from FetusMapV2Lib.scene.offscreen_views import SliceView
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.pose_visibility import PoseVisibility
from FetusMapV2Lib.scene.scene_files import open_scene, save_scene
from FetusMapV2Lib.scene.volume_nodes import add_volume_node

Patient = tuple[Any, PoseScene]


@pytest.fixture
def patients(scene: Any, volume: Volume, pose: Pose) -> tuple[Patient, Patient]:
    """Volume node and pose of A and B; both volumes have the same name and lie in the same place."""
    dark = volume.with_(array=np.zeros_like(volume.array))
    made = []
    for shift in (0.0, 4.0):
        node = add_volume_node(scene, dark)
        node.SetName("case")
        made.append((node, PoseScene.create(scene, pose.with_positions(pose.positions + shift), volume_node=node)))
    return made[0], made[1]


@pytest.fixture
def views(scene: Any) -> Iterator[PoseVisibility]:
    made = PoseVisibility(scene)
    yield made
    made.close()


@pytest.fixture
def look(scene: Any, pose: Pose) -> Iterator[Callable[..., int]]:
    """Shows volumes in a slice view through the fetus, and counts the pixels that are drawn over them."""
    view = SliceView(scene, "Red", (200, 200))

    def seen(background: Any, foreground: Any = None, opacity: float = 0.5) -> int:
        layers = view.logic.GetSliceCompositeNode()
        layers.SetBackgroundVolumeID(background.GetID() if background is not None else None)
        layers.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
        layers.SetForegroundOpacity(opacity)
        centre = np.nanmean(pose.positions, axis=0)
        view.node.SetFieldOfView(90, 90, 1)
        view.node.JumpSliceByCentering(*centre)
        image = view.image().astype(int)
        return int((image.max(axis=2) > 60).sum())

    yield seen
    view.close()


def shown(fetus: PoseScene) -> bool:
    displays = [node.GetDisplayNode() for node in (fetus.landmarks_node, fetus.skeleton_node, fetus.plane_node)]
    displays += [fetus.trace_node.GetDisplayNode(), fetus.line_nodes["crl"].GetDisplayNode()]
    visible = {bool(display.GetVisibility()) for display in displays}
    assert len(visible) == 1, "all of a pose or nothing of it"
    return visible.pop()


def test_poses_are_told_apart_by_reference(scene: Any, patients: tuple[Patient, Patient]) -> None:
    (a, of_a), (b, of_b) = patients
    assert ownership.all_poses(scene) == [of_a.landmarks_node, of_b.landmarks_node]
    assert ownership.poses_of(scene, a) == [of_a.landmarks_node]
    assert ownership.poses_of(scene, b) == [of_b.landmarks_node]
    assert ownership.poses_of(scene, None) == []
    b.SetName("renamed")
    assert ownership.volume_of(of_b.landmarks_node) is b
    scene.RemoveNode(a)
    assert ownership.volume_of(of_a.landmarks_node) is None
    assert ownership.is_orphaned(of_a.landmarks_node)
    assert not ownership.is_orphaned(of_b.landmarks_node)


def test_one_pose_is_shown_and_what_the_user_hid_stays_hidden(scene: Any, patients: tuple[Patient, Patient]) -> None:
    (_, of_a), (_, of_b) = patients
    of_b.plane_node.GetDisplayNode().SetVisibility(False)
    ownership.show_only(scene, of_a)
    assert shown(of_a) and not of_b.skeleton_node.GetDisplayNode().GetVisibility()
    ownership.show_only(scene, of_b.landmarks_node)
    assert not shown(of_a)
    assert of_b.skeleton_node.GetDisplayNode().GetVisibility()
    assert not of_b.plane_node.GetDisplayNode().GetVisibility()
    ownership.show_only(scene, None)
    assert not shown(of_a) and not shown(of_b)


def test_what_is_left_of_deleted_landmarks_is_hidden(scene: Any, patients: tuple[Patient, Patient]) -> None:
    (_, of_a), (_, of_b) = patients
    left = of_a.all_nodes[1:]
    of_a.close()  # nothing observes the landmarks any more
    scene.RemoveNode(of_a.landmarks_node)
    ownership.show_only(scene, of_b)
    assert not any(node.GetDisplayNode().GetVisibility() for node in left)


def test_deleted_landmarks_take_all_their_nodes_along(scene: Any, patients: tuple[Patient, Patient]) -> None:
    (_, of_a), (_, of_b) = patients
    scene.AddNewNodeByClass("vtkMRMLSliceNode").SetLayoutName("Red")
    own = [scene.GetNodeByID(node.GetID()) for node in of_a.all_nodes]
    assert len(own) == 17 and all(own)
    scene.RemoveNode(of_a.landmarks_node)
    assert not any(map(scene.IsNodePresent, own))
    left = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
    owners = {node.GetDisplayNodeID() for node in of_b.all_nodes}
    displays = {node.GetID() for node in left if node.IsA("vtkMRMLModelDisplayNode")}
    assert displays <= owners, "no display node without its node"
    assert all(map(scene.IsNodePresent, of_b.all_nodes))


def test_a_pose_is_drawn_over_its_own_volume_alone(
    patients: tuple[Patient, Patient], views: PoseVisibility, look: Callable[..., int]
) -> None:
    (a, of_a), (b, of_b) = patients
    views.show_only(of_a)
    assert look(a) > 100
    assert look(b) == 0
    assert look(b, a) > 100, "its own volume can be seen through the other"
    assert look(b, a, 0.0) == 0
    assert look(a, b, 1.0) == 0, "the other volume covers it"
    assert look(None) > 100
    views.show_only(of_b)
    assert look(b) > 100
    assert look(a) == 0
    views.show_only(None)
    assert look(a) == look(b) == 0


def test_a_pose_that_lost_its_volume_is_drawn_over_no_other(
    scene: Any, patients: tuple[Patient, Patient], views: PoseVisibility, look: Callable[..., int]
) -> None:
    (a, of_a), (b, _) = patients
    views.show_only(of_a)
    scene.RemoveNode(a)
    assert look(b) == 0
    assert look(None) > 100


def test_views_that_the_user_chose_are_kept(
    patients: tuple[Patient, Patient], views: PoseVisibility, look: Callable[..., int]
) -> None:
    (a, of_a), (b, _) = patients
    display = of_a.skeleton_node.GetDisplayNode()
    display.AddViewNodeID("vtkMRMLSliceNodeRed")
    views.show_only(of_a)
    assert look(b) == 0
    assert look(a) > 100
    assert [display.GetNthViewNodeID(0), display.GetNumberOfViewNodeIDs()] == ["vtkMRMLSliceNodeRed", 1]


def test_undo_and_redo_bring_back_nothing_of_another_volume(
    scene: Any, volume: Volume, pose: Pose, views: PoseVisibility, look: Callable[..., int]
) -> None:
    a, b = (add_volume_node(scene, volume.with_(array=np.zeros_like(volume.array))) for _ in range(2))
    undo_history.enable(scene)
    of_a = PoseScene.create(scene, pose, volume_node=a)
    undo_history.save_state(scene)
    of_b = PoseScene.create(scene, pose, volume_node=b)
    views.show_only(of_b)
    assert look(b) > 100
    undo_history.undo(scene, b)
    assert not of_b.is_open
    assert not shown(of_a), "its state of before the step was a visible one"
    assert look(b) == look(a) == 0
    undo_history.redo(scene, b)
    (again,) = ownership.poses_of(scene, b)
    assert shown(PoseScene.attach(scene, again, default_schema())) and not shown(of_a)
    assert look(b) > 100


def test_a_step_of_another_volume_is_left_alone(scene: Any, patients: tuple[Patient, Patient]) -> None:
    (a, of_a), (b, of_b) = patients
    LandmarkEditor(of_a).set_missing([3])
    LandmarkEditor(of_b).set_missing([4, 5])
    before = of_b.pose().positions
    with pytest.raises(InputError, match="another volume"):
        undo_history.undo(scene, a)
    np.testing.assert_array_equal(of_b.pose().positions, before)
    assert of_a.states()[3] == "missing"
    undo_history.undo(scene, b)
    assert "missing" not in of_b.states()
    with pytest.raises(InputError, match="another volume"):
        undo_history.redo(scene, a)
    undo_history.undo(scene, a)
    assert "missing" not in of_a.states()
    undo_history.redo(scene, a)
    undo_history.redo(scene, b)
    assert of_a.states()[3] == of_b.states()[4] == "missing"


def test_a_saved_scene_knows_whose_is_whose(scene: Any, patients: tuple[Patient, Patient], tmp_path: Path) -> None:
    (_, of_a), (_, of_b) = patients
    ownership.show_only(scene, of_b)
    scene.RemoveNode(ownership.volume_of(of_a.landmarks_node))
    save_scene(scene, tmp_path / "two.mrb")
    with open_scene(tmp_path / "two.mrb") as loaded:
        of_lost, own = PoseScene.attach_all(loaded, default_schema())
        assert ownership.is_orphaned(of_lost.landmarks_node)
        assert ownership.poses_of(loaded, own.volume_node) == [own.landmarks_node]
        assert shown(own) and not shown(of_lost)


def test_an_undo_between_leaves_no_pose_out_of_its_own_views(
    scene: Any, patients: tuple[Patient, Patient], views: PoseVisibility, look: Callable[..., int]
) -> None:
    """Undo takes attributes of display nodes back, and leaves their view lists as they are."""
    (a, of_a), (b, of_b) = patients
    views.show_only(of_a)
    assert look(a) > 100
    LandmarkEditor(of_b).set_missing([3])
    views.show_only(of_b)
    assert look(b) > 100
    undo_history.undo(scene, b)
    views.show_only(of_a)
    assert look(a) > 100


def test_landmarks_from_a_file_are_drawn_over_no_volume(
    scene: Any, patients: tuple[Patient, Patient], pose: Pose, views: PoseVisibility, look: Callable[..., int]
) -> None:
    (a, _), _ = patients
    views.show_only(PoseScene.create(scene, pose))
    assert look(a) == 0
    assert look(None) > 100


def test_all_nodes_of_a_new_pose_are_one_change_for_the_views(scene: Any, volume: Volume, pose: Pose) -> None:
    class Counted(PoseVisibility):
        refreshed = 0

        def refresh(self) -> None:
            self.refreshed += 1
            super().refresh()

    node = add_volume_node(scene, volume)
    views = Counted(scene)
    try:
        before = views.refreshed
        fetus = PoseScene.create(scene, pose, volume_node=node)
        assert views.refreshed - before == 1
        fetus.close()
        PoseScene.attach(scene, fetus.landmarks_node, pose.schema).close()
        assert views.refreshed - before == 1  # nothing was missing
    finally:
        views.close()
