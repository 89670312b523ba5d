"""What a user does to landmarks: states, undo of every step, and what files keep of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scene.followers import assert_followers_agree

from FetusMapV2Lib.anatomy.laterality import Laterality
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.imaging.markups import write_markups
from FetusMapV2Lib.scene import control_points, pose_nodes, undo_history
from FetusMapV2Lib.scene.editing import LandmarkEditor
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.scene_files import application_of, open_scene, save_scene

SCHEMA = default_schema()
MODEL = "site-7 (0123456789ab)"
ELBOW, OTHER_ELBOW = SCHEMA.index("left_elbow"), SCHEMA.index("right_elbow")
ANKLE = SCHEMA.index("right_ankle")


@pytest.fixture
def fetus(scene: Any, pose: Pose) -> PoseScene:
    sided = Pose(pose.positions, pose.confidence, pose.radius90_mm, Laterality(0.9, 0.4, False, True, True))
    return PoseScene.create(scene, sided, model=MODEL)


@pytest.fixture
def editor(fetus: PoseScene) -> LandmarkEditor:
    return LandmarkEditor(fetus)


def drag(fetus: PoseScene, row: int, to: tuple[float, float, float] = (1.0, 2.0, 3.0)) -> None:
    """As Slicer does: it keeps the state first."""
    fetus.scene.SaveStateForUndo()
    fetus.landmarks_node.SetNthControlPointPositionWorld(row, *to)


def situation(fetus: PoseScene) -> tuple[Any, ...]:
    """All that a step can change."""
    node = fetus.landmarks_node
    pose = fetus.pose()
    return (
        fetus.states(),
        control_points.locks(node).tolist(),
        np.nan_to_num(np.round(pose.positions, 4), nan=9e9).tolist(),
        np.nan_to_num(pose.radius90_mm, nan=9e9).tolist(),
        pose.laterality,
        [node.GetNthControlPointDescription(row) for row in range(22)],
        [node.GetNthControlPointSelected(row) for row in range(22)],
    )


# ---- states


def test_a_dragged_point_is_edited_and_its_radius_no_longer_holds(fetus: PoseScene, editor: LandmarkEditor) -> None:
    node = fetus.landmarks_node
    described = node.GetNthControlPointDescription(ANKLE)
    drag(fetus, ANKLE)
    assert fetus.states().count("edited") == 1 and fetus.states()[ANKLE] == "edited"
    assert node.GetNthControlPointDescription(ANKLE).startswith("placed by hand; estimated at RAS")
    assert node.GetNthControlPointSelected(ANKLE), "what was placed by hand is not doubtful"
    edited = fetus.pose()
    assert edited.confidence is not None and edited.radius90_mm is not None
    assert edited.confidence[ANKLE] == 1.0 and math.isnan(edited.radius90_mm[ANKLE])
    assert edited.confidence[0] == pytest.approx(0.9)
    editor.reset([ANKLE])
    assert set(fetus.states()) == {"estimated"}
    assert node.GetNthControlPointDescription(ANKLE) == described
    assert not node.GetNthControlPointSelected(ANKLE)


def test_confirming_keeps_place_and_radius_and_takes_the_doubt(fetus: PoseScene, editor: LandmarkEditor) -> None:
    before = fetus.pose()
    editor.confirm([ANKLE])
    after = fetus.pose()
    assert fetus.states()[ANKLE] == "confirmed"
    np.testing.assert_array_equal(after.positions, before.positions)
    np.testing.assert_array_equal(after.radius90_mm, before.radius90_mm)
    assert after.confidence[ANKLE] == 1.0
    assert fetus.landmarks_node.GetNthControlPointSelected(ANKLE)
    editor.confirm([ANKLE], False)
    assert fetus.states()[ANKLE] == "estimated"
    assert not fetus.landmarks_node.GetNthControlPointSelected(ANKLE)


def test_a_confirmed_point_that_is_dragged_is_edited_and_can_be_confirmed_again(
    fetus: PoseScene, editor: LandmarkEditor
) -> None:
    drag(fetus, ANKLE)
    editor.confirm([ANKLE])
    assert fetus.states()[ANKLE] == "confirmed"
    assert math.isnan(fetus.pose().radius90_mm[ANKLE])
    drag(fetus, ANKLE, (4, 5, 6))
    assert fetus.states()[ANKLE] == "edited"
    editor.confirm([ANKLE])
    assert fetus.states()[ANKLE] == "confirmed"


def test_missing_points_cannot_be_confirmed_and_come_back_by_reset(fetus: PoseScene, editor: LandmarkEditor) -> None:
    positions = fetus.pose().positions.copy()
    editor.set_missing([4, 5])
    editor.confirm([4, 5])
    assert fetus.states()[4:6] == ("missing", "missing")
    assert fetus.landmarks_node.GetNthControlPointDescription(4).startswith("marked missing; estimated at")
    editor.reset([4])
    assert fetus.states()[4:6] == ("estimated", "missing")
    positions[5] = np.nan
    assert_followers_agree(fetus, positions)


def test_a_landmark_that_the_model_missed_can_be_set_and_is_missing_again_by_reset(scene: Any, pose: Pose) -> None:
    positions = pose.positions.copy()
    positions[4] = np.nan
    fetus = PoseScene.create(scene, pose.with_positions(positions))
    editor = LandmarkEditor(fetus)
    drag(fetus, 4)
    assert fetus.states()[4] == "edited"
    editor.set_missing([7])
    editor.reset()
    assert_followers_agree(fetus, positions)


def test_locked_points_do_not_move(fetus: PoseScene, editor: LandmarkEditor) -> None:
    drag(fetus, ANKLE)
    editor.lock([ANKLE, 0])
    assert control_points.locks(fetus.landmarks_node).tolist() == [row in (0, ANKLE) for row in range(22)]
    positions = fetus.pose().positions
    editor.set_missing([0, ANKLE])
    editor.reset()
    editor.apply_refinement(fetus.pose().with_positions(positions + 3))
    np.testing.assert_array_equal(fetus.pose().positions[[0, ANKLE]], positions[[0, ANKLE]])
    np.testing.assert_allclose(fetus.pose().positions[5], positions[5] + 3)
    editor.lock([ANKLE], False)
    editor.reset([ANKLE])
    assert fetus.states()[ANKLE] == "estimated"


def test_a_new_estimate_replaces_all_corrections(fetus: PoseScene, editor: LandmarkEditor, pose: Pose) -> None:
    editor.swap_sides()
    editor.confirm([0])
    editor.lock([1])
    editor.set_missing([2])
    fetus.set_pose(pose, model="another")
    assert set(fetus.states()) == {"estimated"}
    assert not control_points.locks(fetus.landmarks_node).any()
    assert fetus.model == "another"
    assert_followers_agree(fetus, pose.positions)


# ---- sides


@pytest.mark.parametrize(
    ("limbs", "groups"), [(["arms"], "la ra"), (["legs"], "ll rl"), (["arms", "legs"], "la ra ll rl")]
)
def test_swapping_sides_exchanges_names_and_nothing_else(
    fetus: PoseScene, editor: LandmarkEditor, limbs: list[str], groups: str
) -> None:
    order = np.arange(22)
    rows = [row for group in groups.split() for row in SCHEMA.rows(group)]
    order[rows] = SCHEMA.mirror_rows[rows]
    drag(fetus, ELBOW)
    editor.confirm([ANKLE])
    editor.lock([SCHEMA.index("left_knee")])
    editor.set_missing([SCHEMA.index("right_wrist")])
    before, states, locked = fetus.pose(), np.array(fetus.states()), control_points.locks(fetus.landmarks_node)
    editor.swap_sides(limbs)
    after = fetus.pose()
    np.testing.assert_array_equal(after.positions, before.positions[order])
    np.testing.assert_array_equal(after.radius90_mm, before.radius90_mm[order])
    np.testing.assert_array_equal(after.confidence, before.confidence[order])
    assert list(fetus.states()) == states[order].tolist()
    assert control_points.locks(fetus.landmarks_node).tolist() == locked[order].tolist()
    assert_followers_agree(fetus, before.positions[order])


def test_sides_named_by_hand_are_certain(fetus: PoseScene, editor: LandmarkEditor) -> None:
    editor.swap_sides(["legs"])
    assert fetus.pose().laterality == Laterality(0.9, 1.0, False, False, False)
    editor.swap_sides(["arms"])
    assert fetus.pose().laterality == Laterality(1.0, 1.0, True, False, True)
    editor.swap_sides()
    assert fetus.pose().laterality == Laterality(0.9, 0.4, False, True, True)


def test_reset_after_a_swap(fetus: PoseScene, editor: LandmarkEditor) -> None:
    positions = fetus.pose().positions.copy()
    editor.swap_sides(["arms"])
    drag(fetus, ELBOW)
    editor.reset([ELBOW])
    np.testing.assert_allclose(fetus.pose().positions[ELBOW], positions[OTHER_ELBOW], atol=1e-6)
    editor.reset()
    np.testing.assert_allclose(fetus.pose().positions, positions, atol=1e-6)
    assert fetus.pose().laterality == Laterality(0.9, 0.4, False, True, True)


# ---- refinement


def test_refined_places_are_estimates_and_what_was_set_by_hand_stays(fetus: PoseScene, editor: LandmarkEditor) -> None:
    original = fetus.pose()
    drag(fetus, ELBOW)
    editor.confirm([0])
    editor.set_missing([5])
    editor.lock([9])
    assert editor.pinned() == (1, 10, ELBOW + 1)
    before = fetus.pose().positions
    editor.apply_refinement(Pose(np.nan_to_num(before) + 2.0))
    after = fetus.pose()
    kept = [0, 5, 9, ELBOW]
    np.testing.assert_array_equal(after.positions[kept], before[kept])
    others = [row for row in range(22) if row not in kept]
    np.testing.assert_allclose(after.positions[others], before[others] + 2)
    assert {fetus.states()[row] for row in others} == {"estimated"}
    np.testing.assert_array_equal(after.radius90_mm[others], original.radius90_mm[others])
    assert fetus.landmarks_node.GetNthControlPointDescription(1).startswith("refined; estimated at RAS")
    assert 2 not in editor.pinned(), "a refined point may be refined again"
    editor.reset([1])
    np.testing.assert_allclose(fetus.pose().positions[1], original.positions[1], atol=1e-6)
    assert "refined" not in fetus.landmarks_node.GetNthControlPointDescription(1)


# ---- undo and redo


def _refine(editor: LandmarkEditor) -> None:
    pose = editor.fetus.pose()
    editor.apply_refinement(pose.with_positions(pose.positions + 1))


STEPS: dict[str, Callable[[LandmarkEditor], None]] = {
    "drag": lambda editor: drag(editor.fetus, 3),
    "missing": lambda editor: editor.set_missing([6, 7]),
    "confirm": lambda editor: editor.confirm([8]),
    "lock": lambda editor: editor.lock([9]),
    "unlock": lambda editor: editor.lock([2], False),
    "reset one": lambda editor: editor.reset([ELBOW]),
    "reset all": lambda editor: editor.reset(),
    "swap arms": lambda editor: editor.swap_sides(["arms"]),
    "swap all": lambda editor: editor.swap_sides(),
    "refine": _refine,
}


@pytest.fixture
def worked_on(fetus: PoseScene, editor: LandmarkEditor) -> LandmarkEditor:
    """A pose in which every step changes something."""
    drag(fetus, ELBOW)
    editor.lock([2])
    editor.swap_sides(["legs"])
    editor.set_missing([10])
    return editor


@pytest.mark.parametrize("name", STEPS)
def test_each_step_is_one_undo_and_one_redo(worked_on: LandmarkEditor, name: str) -> None:
    fetus = worked_on.fetus
    levels, before = fetus.scene.GetNumberOfUndoLevels(), situation(fetus)
    STEPS[name](worked_on)
    after = situation(fetus)
    assert after != before
    assert fetus.scene.GetNumberOfUndoLevels() == levels + 1
    undo_history.undo(worked_on.fetus.scene)
    assert situation(fetus) == before
    undo_history.redo(worked_on.fetus.scene)
    assert situation(fetus) == after
    assert_followers_agree(fetus, fetus.pose().positions)


def test_all_steps_back_and_forth_again(fetus: PoseScene, editor: LandmarkEditor) -> None:
    drag(fetus, ELBOW)
    editor.lock([2])
    seen = [situation(fetus)]
    for step in STEPS.values():
        step(editor)
        seen.append(situation(fetus))
    for expected in reversed(seen[:-1]):
        undo_history.undo(editor.fetus.scene)
        assert situation(fetus) == expected
    for expected in seen[1:]:
        undo_history.redo(editor.fetus.scene)
        assert situation(fetus) == expected
    assert not undo_history.can_redo(fetus.scene)


def test_steps_that_change_nothing_leave_nothing_to_undo(fetus: PoseScene, editor: LandmarkEditor) -> None:
    editor.reset()
    editor.reset([])
    editor.confirm([])
    editor.confirm([3], False)
    editor.lock([3], False)
    editor.set_missing([])
    editor.apply_refinement(fetus.pose())
    assert not undo_history.can_undo(fetus.scene)


def test_a_click_that_moves_nothing_is_no_step(fetus: PoseScene, editor: LandmarkEditor) -> None:
    before = situation(fetus)
    editor.confirm([0])
    fetus.scene.SaveStateForUndo()  # Slicer does so when a point is clicked
    undo_history.undo(editor.fetus.scene)
    assert situation(fetus) == before
    undo_history.redo(editor.fetus.scene)
    assert fetus.states()[0] == "confirmed"


def test_undo_of_one_twin_leaves_the_other(scene: Any, fetus: PoseScene, editor: LandmarkEditor, pose: Pose) -> None:
    other = PoseScene.create(scene, pose.with_positions(pose.positions + 50))
    editor.confirm([0])
    LandmarkEditor(other).confirm([1])
    undo_history.undo(editor.fetus.scene)
    assert (fetus.states()[0], other.states()[1]) == ("confirmed", "estimated")


def test_listeners_hear_of_states_and_locks_once(fetus: PoseScene, editor: LandmarkEditor) -> None:
    heard: list[tuple[str, ...]] = []
    fetus.add_listener(lambda which: heard.append(which.states()))
    editor.confirm([0])
    editor.lock([0])
    fetus.landmarks_node.SetNthControlPointLocked(3, True)  # as by Slicer's own list of points
    editor.swap_sides()
    assert len(heard) == 4
    assert heard[0][0] == "confirmed"


# ---- files


def test_a_reopened_scene_has_all_states_and_can_be_reset(
    scene: Any, fetus: PoseScene, editor: LandmarkEditor, tmp_path: Path
) -> None:
    original = fetus.pose()
    for step in ("drag", "confirm", "missing", "lock", "swap arms", "refine"):
        STEPS[step](editor)
    editor.confirm([3])
    save_scene(scene, tmp_path / "corrected.mrb")
    with open_scene(tmp_path / "corrected.mrb") as loaded:
        (again,) = PoseScene.attach_all(loaded, SCHEMA)
        assert again.states() == fetus.states()
        assert again.model == MODEL
        assert situation(again)[1] == situation(fetus)[1] and situation(again)[4:] == situation(fetus)[4:]
        np.testing.assert_allclose(again.pose().positions, fetus.pose().positions, atol=1e-5)
        np.testing.assert_allclose(again.pose().radius90_mm, fetus.pose().radius90_mm, atol=1e-5)
        resumed = LandmarkEditor(again)
        resumed.lock([9], False)
        resumed.reset()
        assert set(again.states()) == {"estimated"}
        np.testing.assert_allclose(again.pose().positions, original.positions, atol=1e-5)
        undo_history.undo(resumed.fetus.scene)
        assert again.states() == fetus.states()


def _written_by_slicer(node: Any, path: Path) -> Any:
    node.AddDefaultStorageNode()
    storage = node.GetStorageNode()
    storage.SetFileName(str(path))
    assert storage.WriteData(node)
    return path


def _loaded(scene: Any, path: Path) -> Any:
    return scene.GetNodeByID(application_of(scene).modules["Markups"].LoadMarkups(str(path), path.stem))


def test_a_markups_file_alone_keeps_states_estimate_and_model(
    fetus: PoseScene, editor: LandmarkEditor, tmp_path: Path
) -> None:
    original = fetus.pose()
    for step in ("drag", "missing", "lock", "swap arms", "refine"):
        STEPS[step](editor)
    editor.confirm([3, 8])
    path = _written_by_slicer(fetus.landmarks_node, tmp_path / "case 1.mrk.json")
    with open_scene() as other:
        again = PoseScene.attach(other, _loaded(other, path), SCHEMA)
        assert pose_nodes.find_landmarks(other) == [again.landmarks_node]
        assert again.states() == fetus.states()
        assert again.model == MODEL
        assert (
            control_points.locks(again.landmarks_node).tolist() == control_points.locks(fetus.landmarks_node).tolist()
        )
        np.testing.assert_allclose(again.pose().positions, fetus.pose().positions, atol=1e-5)
        np.testing.assert_allclose(again.pose().confidence, fetus.pose().confidence, atol=0.006)
        np.testing.assert_allclose(again.pose().radius90_mm, fetus.pose().radius90_mm, atol=0.06)
        resumed = LandmarkEditor(again)
        resumed.lock([9], False)
        resumed.reset()
        assert set(again.states()) == {"estimated"}
        np.testing.assert_allclose(again.pose().positions, original.positions, atol=2e-4)
        assert_followers_agree(again, again.pose().positions)


def test_landmarks_annotated_by_hand_are_edited(scene: Any, pose: Pose, tmp_path: Path) -> None:
    write_markups(tmp_path / "truth.mrk.json", Pose(pose.positions))
    fetus = PoseScene.attach(scene, _loaded(scene, tmp_path / "truth.mrk.json"), SCHEMA)
    assert set(fetus.states()) == {"edited"}
    assert fetus.model == ""
    assert fetus.pose().radius90_mm is None


def test_a_file_of_the_command_line_is_an_estimate(scene: Any, pose: Pose, tmp_path: Path) -> None:
    write_markups(tmp_path / "result.mrk.json", pose)
    fetus = PoseScene.attach(scene, _loaded(scene, tmp_path / "result.mrk.json"), SCHEMA)
    assert set(fetus.states()) == {"estimated"}
    np.testing.assert_allclose(fetus.pose().confidence, pose.confidence, atol=0.006)
    doubtful = [row for row in range(22) if not fetus.landmarks_node.GetNthControlPointSelected(row)]
    assert doubtful == np.flatnonzero(pose.confidence < 0.5).tolist()
