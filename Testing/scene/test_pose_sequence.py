"""Landmarks as a sequence: each frame shows its pose, edits belong to frames; history, files, table and plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anatomy.moving_bodies import LEFT_WRIST, bent_elbow
from vtk.util.numpy_support import vtk_to_numpy

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.estimation.sequence import movement_of
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene.pose_nodes import find_landmarks
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.pose_sequence import PoseSequence
from FetusMapV2Lib.scene.scene_files import load_scene, save_scene
from FetusMapV2Lib.scene.sequence_storage import browser_of, landmark_sequence
from FetusMapV2Lib.scene.volume_nodes import matrix_to_vtk
from FetusMapV2Lib.scene.volume_sequences import add_volume_sequence

SCHEMA = default_schema()
FRAMES, INTERVAL_S = 8, 0.25


@pytest.fixture
def poses() -> list[Pose]:
    """A fetus that bends an elbow; the third frame shows none."""
    random = np.random.default_rng(0)
    frames = bent_elbow(np.array([0, 0, 0, 20, 40, 60, 60, 60.0])) + random.normal(0, 0.1, (FRAMES, 22, 3))
    frames[2] = np.nan
    return [Pose(frame, np.full(22, 0.8), np.full(22, 2.0)) for frame in frames]


@pytest.fixture
def browser(scene: Any, volume: Volume) -> Any:
    frames = [volume.with_(array=np.roll(volume.array, number, axis=1)) for number in range(FRAMES)]
    return add_volume_sequence(scene, frames, INTERVAL_S * np.arange(FRAMES), "case")


@pytest.fixture
def fetus(browser: Any, poses: list[Pose]) -> PoseSequence:
    return PoseSequence.create(browser, poses, model="model 1")


def shown(fetus: PoseSequence) -> np.ndarray:
    return fetus.pose_scene.pose().positions


def place(fetus: PoseSequence, row: int, *position: float) -> None:
    fetus.pose_scene.landmarks_node.SetNthControlPointPositionWorld(row, *position)


def column(table_node: Any, name: str) -> np.ndarray:
    return vtk_to_numpy(table_node.GetTable().GetColumnByName(name)).copy()


# --- frames


def test_stepping_through_the_frames_shows_each_pose_with_what_follows_it(fetus, poses) -> None:
    heard: list[int] = []
    fetus.add_listener(lambda which: heard.append(which.frame))
    for frame in (0, 5, 2, 4):
        fetus.show(frame)
        np.testing.assert_allclose(shown(fetus), poses[frame].positions, atol=1e-6)
        expected = "missing" if frame == 2 else "estimated"
        assert set(fetus.pose_scene.states()) == {expected}
        polygons = fetus.pose_scene.skeleton_node.GetPolyData().GetNumberOfPolys()
        assert (polygons == 0) == (frame == 2)
    assert heard == [5, 2, 4]
    assert fetus.frame_count == FRAMES and fetus.times_s == pytest.approx(INTERVAL_S * np.arange(FRAMES))
    assert fetus.pose_scene.volume_node is fetus.browser.GetProxyNode(fetus.browser.GetMasterSequenceNode())


def test_there_is_one_landmarks_node_for_all_frames(fetus, scene) -> None:
    assert len(find_landmarks(scene)) == 1
    assert fetus.browser.GetProxyNode(fetus.sequence) is fetus.pose_scene.landmarks_node


def test_the_poses_of_all_frames_are_at_hand_whatever_is_shown(fetus, poses) -> None:
    fetus.show(4)
    for found, given in zip(fetus.poses(), poses, strict=True):
        np.testing.assert_allclose(found.positions, given.positions, atol=1e-6)
        assert found.radius90_mm is not None
        np.testing.assert_allclose(found.radius90_mm, np.where(given.present, 2.0, np.nan))


def test_an_edit_belongs_to_its_frame_and_changes_that_frames_values(fetus) -> None:
    before = fetus.movement()
    fetus.show(4)
    place(fetus, LEFT_WRIST, 1.0, 2.0, 3.0)
    assert fetus.pose_scene.states()[LEFT_WRIST] == "edited"
    after = fetus.movement()
    elbow = [angle.key for angle in after.angle_list].index("left_elbow_flexion")
    changed = ~((after.angles == before.angles) | np.isnan(after.angles))
    assert np.argwhere(changed).tolist() == [[4, elbow]]
    fetus.show(6)
    assert set(fetus.pose_scene.states()) == {"estimated"}
    fetus.show(4)
    assert fetus.pose_scene.states()[LEFT_WRIST] == "edited"
    np.testing.assert_allclose(shown(fetus)[LEFT_WRIST], [1, 2, 3], atol=1e-6)
    assert fetus.movement() is after, "stepping through frames recomputes nothing"


def test_listeners_hear_edits_steps_and_the_end(fetus) -> None:
    heard: list[tuple[int, bool]] = []
    remove = fetus.add_listener(lambda which: heard.append((which.frame, which.is_open)))
    fetus.show(3)
    place(fetus, 0, 1.0, 2.0, 3.0)
    assert heard == [(3, True), (3, True)]
    fetus.browser.GetScene().RemoveNode(fetus.sequence)
    assert heard[2:] == [(3, False)] and not fetus.is_open
    remove()
    fetus.close()
    assert len(heard) == 3


@pytest.mark.parametrize("gone", ["browser", "landmarks", "scene"])
def test_it_ends_with_its_nodes(fetus, scene, gone: str) -> None:
    nodes = {"browser": fetus.browser, "landmarks": fetus.pose_scene.landmarks_node}
    scene.Clear(False) if gone == "scene" else scene.RemoveNode(nodes[gone])
    assert not fetus.is_open


def test_a_second_estimate_goes_into_the_same_nodes_in_place_of_edits(fetus, poses, scene) -> None:
    fetus.show(4)
    place(fetus, LEFT_WRIST, 1.0, 2.0, 3.0)
    nodes = scene.GetNumberOfNodes()
    moved = [pose.with_positions(pose.positions + 1) for pose in poses]
    fetus.set_poses(moved, "model 2")
    assert scene.GetNumberOfNodes() == nodes and fetus.frame == 4
    for frame in (4, 0, 7):
        fetus.show(frame)
        np.testing.assert_allclose(shown(fetus), moved[frame].positions, atol=1e-6)
        assert fetus.pose_scene.model == "model 2"
        assert set(fetus.pose_scene.states()) == {"estimated"}
    with pytest.raises(ValueError, match="8 frames"):
        fetus.set_poses(moved[:3])


def test_poses_stay_in_the_world_under_a_transform(browser, poses, scene, transform_matrix) -> None:
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(matrix_to_vtk(transform_matrix))
    proxy = browser.GetProxyNode(browser.GetMasterSequenceNode())
    proxy.SetAndObserveTransformNodeID(transform.GetID())
    fetus = PoseSequence.create(browser, poses)
    for frame in (0, 5):
        fetus.show(frame)
        np.testing.assert_allclose(shown(fetus), poses[frame].positions, atol=1e-4)
        np.testing.assert_allclose(fetus.poses()[frame].positions, poses[frame].positions, atol=1e-4)


def test_what_has_no_landmarks_or_another_number_of_frames_is_refused(browser, poses) -> None:
    with pytest.raises(InputError, match="no landmarks yet"):
        PoseSequence.attach(browser, SCHEMA)
    with pytest.raises(ValueError, match="2 poses for 8 frames"):
        PoseSequence.create(browser, poses[:2])


# --- history


def test_undo_goes_back_to_the_frame_that_was_edited_and_leaves_the_others_alone(fetus, poses, scene) -> None:
    scene.SetUndoOn()
    for frame in (1, 4):
        fetus.show(frame)
        scene.SaveStateForUndo()
        place(fetus, LEFT_WRIST, float(frame), 0.0, 0.0)
    fetus.show(6)
    for frame in (4, 1):
        scene.Undo()
        assert fetus.frame == frame
        np.testing.assert_allclose(shown(fetus), poses[frame].positions, atol=1e-6)
    for frame in range(FRAMES):
        fetus.show(frame)
        np.testing.assert_allclose(shown(fetus), poses[frame].positions, atol=1e-6)
        np.testing.assert_allclose(fetus.poses()[frame].positions, poses[frame].positions, atol=1e-6)
    assert fetus.movement().angles == pytest.approx(
        movement_of(poses, INTERVAL_S * np.arange(FRAMES)).angles, nan_ok=True, abs=1e-4
    )


def test_redo_brings_an_edit_back_in_its_frame(fetus, scene) -> None:
    scene.SetUndoOn()
    fetus.show(5)
    scene.SaveStateForUndo()
    place(fetus, LEFT_WRIST, 1.0, 2.0, 3.0)
    edited = fetus.movement().angles
    scene.Undo()
    scene.Redo()
    np.testing.assert_allclose(shown(fetus)[LEFT_WRIST], [1, 2, 3], atol=1e-6)
    assert fetus.movement().angles == pytest.approx(edited, nan_ok=True)
    fetus.show(0)
    fetus.show(5)
    np.testing.assert_allclose(shown(fetus)[LEFT_WRIST], [1, 2, 3], atol=1e-6)


# --- files


def test_a_saved_scene_comes_back_with_edits_in_their_frames_and_live(fetus, poses, scene, tmp_path: Path) -> None:
    fetus.show(4)
    place(fetus, LEFT_WRIST, 1.0, 2.0, 3.0)
    fetus.show(6)
    charts, table = len(fetus.nodes.charts), column(fetus.nodes.table, "Left elbow flexion (deg)")
    save_scene(scene, tmp_path / "Fall ü.mrb")
    again = load_scene(tmp_path / "Fall ü.mrb")
    (landmarks,) = [node.landmarks_node for node in PoseScene.attach_all(again, SCHEMA)]
    found = PoseSequence.attach(browser_of(landmarks), SCHEMA)
    assert found.frame == 6 and found.frame_count == FRAMES
    np.testing.assert_allclose(shown(found), poses[6].positions, atol=1e-4)
    found.show(4)
    assert found.pose_scene.states()[LEFT_WRIST] == "edited" and found.pose_scene.model == "model 1"
    assert found.pose_scene.states().count("estimated") == 21
    np.testing.assert_allclose(shown(found)[LEFT_WRIST], [1, 2, 3], atol=1e-4)
    assert len(found.nodes.charts) == charts
    assert again.GetNumberOfNodesByClass("vtkMRMLPlotSeriesNode") == scene.GetNumberOfNodesByClass(
        "vtkMRMLPlotSeriesNode"
    )
    assert column(found.nodes.table, "Left elbow flexion (deg)") == pytest.approx(table, nan_ok=True)
    place(found, LEFT_WRIST, 3.0, 2.0, 1.0)
    assert column(found.nodes.table, "Left elbow flexion (deg)")[4] != pytest.approx(table[4])


def test_a_landmarks_node_knows_its_browser(fetus, scene, poses) -> None:
    assert browser_of(fetus.pose_scene.landmarks_node) is fetus.browser
    assert landmark_sequence(fetus.browser) is fetus.sequence
    alone = PoseScene.create(scene, poses[0])
    assert browser_of(alone.landmarks_node) is None


# --- table and plots


def test_the_table_holds_the_movement_frame_by_frame(fetus) -> None:
    movement, table = fetus.movement(), fetus.nodes.table
    assert table.GetNumberOfRows() == FRAMES
    assert "Research use only" in table.GetDescription()
    assert column(table, "Time (s)") == pytest.approx(INTERVAL_S * np.arange(FRAMES))
    assert column(table, "Frame").tolist() == list(range(1, FRAMES + 1))
    keys = [angle.name for angle in movement.angle_list]
    for number, name in enumerate(keys):
        assert column(table, f"{name} (deg)") == pytest.approx(movement.angles[:, number], nan_ok=True, abs=0.05)
    arm = [part.key for part in movement.part_list].index("left_arm")
    assert column(table, "Left arm speed (mm/s)") == pytest.approx(movement.speeds[:, arm], nan_ok=True, abs=0.005)
    assert np.isnan(column(table, "Left arm moves")[2])


def test_plots_show_all_angles_and_speeds_and_mark_who_moves(fetus) -> None:
    movement, charts = fetus.movement(), fetus.nodes.charts
    names = {}
    for key, chart in charts.items():
        series = [chart.GetNthPlotSeriesNode(number) for number in range(chart.GetNumberOfPlotSeriesNodes())]
        names[key] = {one.GetYColumnName() for one in series}
        for one in series:
            table = one.GetTableNode().GetTable()
            assert table.GetColumnByName(one.GetYColumnName()) and table.GetColumnByName(one.GetXColumnName())
        assert chart.GetXAxisTitle() == "Time (s)"
    assert charts["speeds"].GetYAxisTitle() == "Speed (mm/s)"
    shown_curves = {name for group in names.values() for name in group if not name.endswith(" moves")}
    parts = {part.name for part in movement.part_list}
    assert shown_curves == parts | {angle.name for angle in movement.angle_list}
    assert names["speeds"] == parts | {"speeds moves"}
    arm = [part.key for part in movement.part_list].index("left_arm")
    assert movement.moving[:, arm].any(), "something is to be marked"
    marks = charts["speeds"].GetNthPlotSeriesNode(len(parts)).GetTableNode()
    marked = np.isfinite(column(marks, "speeds moves"))
    assert marked.tolist() == movement.moving.T.ravel().tolist()
    assert column(marks, "speeds Time")[marked].tolist() == np.tile(movement.times, len(parts))[marked].tolist()
    assert np.isfinite(column(marks, "arms moves")).sum() == 2 * movement.moving[:, arm].sum()


def test_the_interval_given_by_the_user_counts(fetus) -> None:
    per_quarter = fetus.movement().speeds
    fetus.frame_interval_s = 0.5
    assert fetus.times_s == pytest.approx(0.5 * np.arange(FRAMES))
    assert fetus.movement().speeds == pytest.approx(per_quarter / 2, nan_ok=True)
    assert column(fetus.nodes.table, "Time (s)")[-1] == pytest.approx(3.5)
    fetus.frame_interval_s = None
    assert fetus.movement().speeds == pytest.approx(per_quarter, nan_ok=True)


def test_without_times_speeds_are_per_frame(scene, volume, poses) -> None:
    browser = add_volume_sequence(scene, [volume] * FRAMES)
    fetus = PoseSequence.create(browser, poses)
    assert fetus.times_s is None and fetus.movement().time_unit == "frame"
    assert fetus.nodes.charts["arms"].GetXAxisTitle() == "Frame"
    fetus.frame_interval_s = 0.2
    assert fetus.movement().time_unit == "s"
    assert fetus.nodes.charts["speeds"].GetYAxisTitle() == "Speed (mm/s)"
    assert column(fetus.nodes.table, "Left arm speed (mm/s)").size == FRAMES
