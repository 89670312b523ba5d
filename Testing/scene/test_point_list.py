"""A point list that is no longer one of 22: said clearly, nothing stale is left on show, and undo makes it whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from scene.followers import assert_followers_agree

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene import undo_history
from FetusMapV2Lib.scene.editing import LandmarkEditor
from FetusMapV2Lib.scene.placement import Placement
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.pose_sequence import PoseSequence
from FetusMapV2Lib.scene.volume_sequences import add_volume_sequence

SCHEMA = default_schema()

NAMES = [landmark.name for landmark in SCHEMA.landmarks]


@pytest.fixture
def fetus(scene: Any, pose: Pose) -> PoseScene:
    undo_history.enable(scene)
    return PoseScene.create(scene, pose)


@pytest.fixture(autouse=True)
def observers_do_not_fail(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """VTK prints what an observer raises, and goes on."""
    yield
    assert "Traceback" not in capfd.readouterr().err


def delete_rump(node: Any) -> None:
    node.RemoveNthControlPoint(9)


def delete_last(node: Any) -> None:
    node.RemoveNthControlPoint(21)


def delete_all(node: Any) -> None:
    node.RemoveAllControlPoints()


def add(node: Any) -> None:
    node.AddControlPoint(1.0, 2.0, 3.0, "one more")


def add_a_second_rump(node: Any) -> None:
    node.AddControlPoint(1.0, 2.0, 3.0, NAMES[9])


def insert(node: Any) -> None:
    node.InsertControlPoint(0, [1.0, 2.0, 3.0], "first")


def rename(node: Any) -> None:
    node.SetNthControlPointLabel(3, "100%s")


def name_two_alike(node: Any) -> None:
    node.SetNthControlPointLabel(10, NAMES[13])


def exchange(node: Any) -> None:
    node.SwapControlPoints(10, 13)


def delete_and_add_within_one_event(node: Any) -> None:
    before = node.StartModify()
    node.RemoveNthControlPoint(0)
    node.AddControlPoint(1.0, 2.0, 3.0, "another")
    node.EndModify(before)


CHANGES = [delete_rump, delete_last, delete_all, add, add_a_second_rump, insert, rename, name_two_alike, exchange]
CHANGES += [delete_and_add_within_one_event]


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_measured_or_drawn_until_it_is_undone(
    fetus: PoseScene, pose: Pose, change: Callable[[Any], None]
) -> None:
    heard: list[str] = []
    fetus.add_listener(lambda which: heard.append(which.problem))
    node, editor = fetus.landmarks_node, LandmarkEditor(fetus)
    assert fetus.problem == ""
    undo_history.save_state(fetus.scene)
    node.SetFixedNumberOfControlPoints(False)
    change(node)
    assert fetus.problem and heard[-1] == fetus.problem
    assert "points, not 22" in fetus.problem or "is named" in fetus.problem
    assert set(fetus.states()) == {"missing"} and not fetus.locks().any()
    assert not fetus.pose().present.any()
    assert all(math.isnan(found.value_mm) for found in fetus.measurements())
    assert fetus.skeleton_node.GetPolyData().GetNumberOfPolys() == 0
    assert fetus.trace_node.GetPolyData().GetNumberOfCells() == 0
    assert not fetus.plane_node.GetIsPlaneValid()
    assert not any(line.GetMeasurement("length").GetValueDefined() for line in fetus.line_nodes.values())

    count, levels = node.GetNumberOfControlPoints(), fetus.scene.GetNumberOfUndoLevels()
    if count:
        node.SetNthControlPointPositionWorld(0, 5, 6, 7)
    for step in (editor.set_missing, editor.confirm, editor.lock, editor.reset):
        step([0, 21])
    editor.swap_sides()
    editor.apply_refinement(pose)
    assert editor.pinned() == ()
    assert fetus.scene.GetNumberOfUndoLevels() == levels and node.GetNumberOfControlPoints() == count
    with pytest.raises(InputError, match="does not hold the 22 landmarks"):
        Placement(fetus, 0)
    with pytest.raises(InputError, match="does not hold the 22 landmarks"):
        PoseScene.attach(fetus.scene, node, SCHEMA)

    undo_history.undo(fetus.scene)
    assert fetus.problem == "" and heard[-1] == ""
    assert_followers_agree(fetus, pose.positions)
    assert set(fetus.states()) == {"estimated"}
    undo_history.redo(fetus.scene)
    assert fetus.problem


@pytest.mark.parametrize("change", CHANGES)
def test_a_new_estimate_makes_the_list_whole(fetus: PoseScene, pose: Pose, change: Callable[[Any], None]) -> None:
    fetus.landmarks_node.SetFixedNumberOfControlPoints(False)
    change(fetus.landmarks_node)
    fetus.set_pose(pose)
    assert fetus.problem == ""
    assert_followers_agree(fetus, pose.positions)
    node = fetus.landmarks_node
    assert [node.GetNthControlPointLabel(row) for row in range(22)] == NAMES
    assert node.GetFixedNumberOfControlPoints()


def test_a_frame_whose_list_is_broken_has_no_pose(scene: Any, pose: Pose) -> None:
    volume = Volume(np.arange(27, dtype=np.uint8).reshape(3, 3, 3), np.eye(4))
    first = PoseSequence.create(add_volume_sequence(scene, [volume] * 3), [pose] * 3)
    first.close()
    first.sequence.GetNthDataNode(1).SetFixedNumberOfControlPoints(False)
    first.sequence.GetNthDataNode(1).RemoveNthControlPoint(4)
    poses = PoseSequence.attach(first.browser, SCHEMA, first.pose_scene)
    assert [one.present.any() for one in poses.poses()] == [True, False, True]
    poses.show(1)
    assert poses.pose_scene.problem == "it has 21 points, not 22"
    assert poses.pose_scene.skeleton_node.GetPolyData().GetNumberOfPolys() == 0
    poses.show(2)
    assert poses.pose_scene.problem == ""
    assert_followers_agree(poses.pose_scene, pose.positions)
    assert np.isnan(poses.movement().angles[1]).all()
