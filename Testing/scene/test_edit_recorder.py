"""The edit log of a pose: each step once, undo adds to it, patients and frames apart, kept by scene files."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.version import SOFTWARE
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene import pose_nodes, undo_history
from FetusMapV2Lib.scene.editing import LandmarkEditor
from FetusMapV2Lib.scene.placement import Placement
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.pose_sequence import PoseSequence
from FetusMapV2Lib.scene.scene_files import open_scene, save_scene
from FetusMapV2Lib.scene.volume_nodes import add_volume_node
from FetusMapV2Lib.scene.volume_sequences import add_volume_sequence


@pytest.fixture
def fetus(scene: Any, pose: Pose) -> PoseScene:
    undo_history.enable(scene)
    return PoseScene.create(scene, pose, model="toy (01)")


def drag(fetus: PoseScene, row: int, *places: tuple[float, float, float]) -> None:
    """Move a point with the events of a mouse."""
    node = fetus.landmarks_node
    undo_history.save_state(fetus.scene)
    node.InvokeEvent(node.PointStartInteractionEvent)
    for place in places:
        node.SetNthControlPointPositionWorld(row, *place)
    node.InvokeEvent(node.PointEndInteractionEvent)


def actions(fetus: PoseScene) -> list[str]:
    return [edit.action for edit in fetus.edit_log.edits()]


def test_a_drag_is_one_step_from_press_to_release(fetus: PoseScene, positions: np.ndarray) -> None:
    fetus.edit_log.examiner = lambda: "Dr. Ä"
    drag(fetus, 4, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), (7.0, 8.0, 9.5))
    (edit,) = fetus.edit_log.edits()
    assert (edit.action, edit.examiner, edit.software, edit.model) == ("moved", "Dr. Ä", SOFTWARE, "toy (01)")
    assert edit.time.endswith("Z") and len(edit.time) == len("2026-01-31T10:20:30Z")
    (change,) = edit.changes
    assert change.number == 5 and change.after == (7.0, 8.0, 9.5)
    np.testing.assert_allclose(change.before, positions[4], atol=1e-3)


def test_each_kind_of_step_has_its_name(fetus: PoseScene, pose: Pose) -> None:
    editor = LandmarkEditor(fetus)
    drag(fetus, 0, (1.0, 2.0, 3.0))
    editor.confirm([1, 2])
    editor.confirm([2], confirmed=False)
    editor.lock([5])  # moves nothing, says nothing about a position
    editor.set_missing([3])
    drag(fetus, 3, (0.0, 1.0, 2.0))
    editor.reset([3])
    editor.swap_sides(["arms"])
    editor.apply_refinement(Pose(pose.positions[pose.schema.mirror_rows] + [0.5, 0.0, 0.0]))
    told = actions(fetus)
    assert told[:7] == [
        "moved",
        "confirmed",
        "confirmation withdrawn",
        "set missing",
        "placed",
        "reset",
        "sides swapped",
    ]
    assert set(told[7:]) == {"refined"}
    swapped = fetus.edit_log.edits()[6]
    assert sorted(change.number for change in swapped.changes) == [11, 12, 13, 14, 15, 16]
    missing = fetus.edit_log.edits()[3].changes[0]
    assert missing.after is None and missing.before is not None


def test_undo_adds_to_the_log_and_takes_nothing_out(fetus: PoseScene, positions: np.ndarray) -> None:
    drag(fetus, 0, (1.0, 2.0, 3.0))
    undo_history.undo(fetus.scene)
    undo_history.redo(fetus.scene)
    assert actions(fetus) == ["moved", "undone", "redone"]
    undone = fetus.edit_log.edits()[1].changes[0]
    assert undone.before == (1.0, 2.0, 3.0)
    np.testing.assert_allclose(undone.after, positions[0], atol=1e-3)
    fetus.scene.Undo()  # Slicer's own menu
    assert actions(fetus)[3:] == ["undone"]


def test_placing_is_one_step_and_a_cancelled_one_is_none(fetus: PoseScene) -> None:
    placement = Placement(fetus, 7)
    placement.cancel()
    assert not fetus.edit_log.edits()
    Placement(fetus, 7)
    fetus.landmarks_node.SetNthControlPointPositionWorld(7, 1.0, 1.0, 1.0)
    fetus.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton").SwitchToViewTransformMode()
    assert actions(fetus) == ["moved"]


def test_a_new_estimate_is_told_where_it_replaces_corrections(fetus: PoseScene, pose: Pose) -> None:
    other = Pose(pose.positions + 1.0)
    fetus.set_pose(other, "other (02)")
    assert not fetus.edit_log.edits()
    drag(fetus, 0, (1.0, 2.0, 3.0))
    fetus.set_pose(pose, "toy (01)")
    last = fetus.edit_log.edits()[-1]
    assert (last.action, last.changes, last.model) == ("estimated again", (), "toy (01)")


def test_two_patients_have_logs_of_their_own(scene: Any, pose: Pose, volume: Volume) -> None:
    undo_history.enable(scene)
    volumes = [add_volume_node(scene, volume) for _ in range(2)]
    one, other = (PoseScene.create(scene, pose, volume_node=node) for node in volumes)
    drag(one, 0, (1.0, 2.0, 3.0))
    with pytest.raises(UserError, match="another volume"):
        undo_history.undo(scene, volumes[1])
    assert actions(one) == ["moved"] and actions(other) == []
    scene.RemoveNode(one.landmarks_node)
    assert not scene.GetNodesByClass("vtkMRMLScriptedModuleNode").GetNumberOfItems()


def test_frames_are_told_and_stepping_is_no_edit(scene: Any, pose: Pose, volume: Volume) -> None:
    undo_history.enable(scene)
    browser = add_volume_sequence(scene, [volume, volume], None)
    moving = PoseSequence.create(browser, [pose, Pose(pose.positions + 3.0)])
    moving.show(1)
    moving.show(0)
    moving.show(1)
    assert not moving.pose_scene.edit_log.edits()
    drag(moving.pose_scene, 0, (1.0, 2.0, 3.0))
    moving.show(0)
    undo_history.undo(scene)
    edits = moving.pose_scene.edit_log.edits()
    assert [(edit.action, edit.frame, len(edit.changes)) for edit in edits] == [("moved", 1, 1), ("undone", 1, 1)]


def test_a_saved_scene_brings_its_log_back_and_goes_on_with_it(
    scene: Any, fetus: PoseScene, pose: Pose, tmp_path: Path
) -> None:
    drag(fetus, 0, (1.0, 2.0, 3.0))
    save_scene(scene, tmp_path / "case.mrb")
    with open_scene(tmp_path / "case.mrb") as again:
        (found,) = PoseScene.attach_all(again, pose.schema)
        assert found.edit_log.edits() == fetus.edit_log.edits()
        LandmarkEditor(found).confirm([1])
        assert actions(found) == ["moved", "confirmed"]
        found.close()


def test_a_damaged_step_is_left_out_and_not_written_over(fetus: PoseScene) -> None:
    drag(fetus, 0, (1.0, 2.0, 3.0))
    log = pose_nodes.log_node_of(fetus.scene, fetus.landmarks_node)
    log.SetAttribute("FetusMapV2.Edit.000000", '{"time": 3}')
    assert fetus.edit_log.edits() == ()
    drag(fetus, 0, (2.0, 2.0, 3.0))
    assert actions(fetus) == ["moved"] and log.GetAttribute("FetusMapV2.Edit.000000") == '{"time": 3}'


def test_the_log_of_an_undone_pose_is_never_that_of_another(scene: Any, pose: Pose, tmp_path: Path) -> None:
    """A scene that is opened gives the identifier of a node that is gone to a new one."""
    undo_history.enable(scene)
    undo_history.save_state(scene)
    undone = PoseScene.create(scene, pose)
    identifier = undone.landmarks_node.GetID()
    drag(undone, 0, (1.0, 2.0, 3.0))
    while scene.GetNumberOfUndoLevels():
        undo_history.undo(scene)
    assert scene.GetNodeByID(identifier) is None
    save_scene(scene, tmp_path / "case.mrb")
    with open_scene(tmp_path / "case.mrb") as again, contextlib.closing(PoseScene.create(again, pose)) as other:
        assert other.landmarks_node.GetID() == identifier
        assert other.edit_log.edits() == ()
