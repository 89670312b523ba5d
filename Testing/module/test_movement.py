"""The panel's section for 4D on the mini-Slicer: estimate, step, correct, plot, export, save, with real clicks."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from FetusMapV2Lib.anatomy.schema import default_schema

SCHEMA = default_schema()
WRIST = SCHEMA.index("left_wrist")
NAME, NOW, ALL, MOVES = range(4)


@pytest.fixture
def browser(scene):
    from FetusMapV2Panel import selftest

    return selftest.addSequence(scene)


@pytest.fixture
def moving_window(open_window, browser):
    """The panel with a sequence chosen and an engine that sees a waving arm."""
    from FetusMapV2Panel import selftest

    window = open_window(selftest.MovingEngineStandIn)
    ui = window.module_widget.ui
    ui.movementCollapsibleButton.collapsed = False
    ui.sequenceSelector.setCurrentNode(browser)
    return window


def section(window):
    from FetusMapV2Panel.sections.movement import MovementSection

    return next(one for one in window.module_widget.sections if isinstance(one, MovementSection))


def estimate(window):
    window.click(window.module_widget.ui.estimateFramesButton)
    assert window.wait_until(lambda: not window.module_widget.state.running)
    return section(window)._poseSequence


def table(window) -> dict[str, list[str]]:
    widget = window.module_widget.ui.movementTable
    cells = [[widget.item(row, column).text() for column in range(4)] for row in range(widget.rowCount)]
    return {line[NAME]: line for line in cells}


def wrist(fetus) -> list[float]:
    point = [0.0] * 3
    fetus.pose_scene.landmarks_node.GetNthControlPointPositionWorld(WRIST, point)
    return point


def test_the_button_waits_for_a_sequence(open_window, scene):
    from FetusMapV2Panel import selftest

    window = open_window(selftest.MovingEngineStandIn)
    ui = window.module_widget.ui
    assert not ui.estimateFramesButton.enabled and not ui.frameSlider.enabled
    assert "No sequence" in ui.frameLabel.text
    ui.sequenceSelector.setCurrentNode(selftest.addSequence(scene))
    assert ui.estimateFramesButton.enabled and ui.frameSlider.enabled
    assert not ui.exportMovementButton.enabled and not ui.showChartButton.enabled
    assert ui.frameLabel.text == "Frame 1 of 6"
    assert ui.movementTable.rowCount == 0


@pytest.mark.parametrize("cancelled", [False, True])
def test_each_frame_is_shown_while_it_is_estimated(open_window, browser, cancelled):
    from FetusMapV2Panel import selftest

    shown = []

    class Engine(selftest.MovingEngineStandIn):
        def _answer(self, volume, before, stages):
            shown.append(browser.GetSelectedItemNumber())
            if cancelled and len(shown) == 3:
                window.module_widget.state.cancel()
            return super()._answer(volume, before, stages)

    window = open_window(Engine)
    window.module_widget.ui.sequenceSelector.setCurrentNode(browser)
    browser.SetSelectedItemNumber(4)
    window.click(window.module_widget.ui.estimateFramesButton)
    assert window.wait_until(lambda: not window.module_widget.state.running)
    assert shown == ([0, 1, 2] if cancelled else [0, 1, 2, 3, 4, 5])
    assert browser.GetSelectedItemNumber() == 4, "as before"


def test_estimating_all_frames_shows_who_moves(moving_window):
    window = moving_window
    fetus = estimate(window)
    ui = window.module_widget.ui
    assert "6 of 6 frames" in ui.messageLabel.text
    assert window.module_widget.state.poseScene is fetus.pose_scene
    lines = table(window)
    assert lines["Left arm"][NOW].endswith("mm/s") and lines["Left arm"][MOVES] == "0.0–1.2 s"
    assert lines["Activity"][NOW] == "Arm alone" and lines["Arm alone"][ALL] == "1 times"
    assert not any(line[MOVES] for name, line in lines.items() if name not in ("Left arm", "Arm alone", "Activity"))
    assert "±" in lines["Left elbow flexion"][NOW]
    assert lines["Left elbow flexion"][ALL] != lines["Right elbow flexion"][ALL]
    assert len(lines) == 2 + 7 + 9
    assert ui.exportMovementButton.enabled and ui.showChartButton.enabled
    assert ui.resultsTable.rowCount > 0, "the measurements of the shown frame"


def test_stepping_by_buttons_slider_and_slicers_own_browser_shows_each_frames_pose(moving_window, browser):
    window = moving_window
    fetus = estimate(window)
    ui = window.module_widget.ui
    start = wrist(fetus)[1]
    window.click(ui.nextFrameButton)
    assert (fetus.frame, ui.frameSlider.value) == (1, 1)
    assert wrist(fetus)[1] == pytest.approx(start + 3)
    assert ui.frameLabel.text == "Frame 2 of 6, 0.25 s"
    ui.frameSlider.setValue(4)
    assert wrist(fetus)[1] == pytest.approx(start + 12)
    first = table(window)["Left elbow flexion"][NOW]
    browser.SetSelectedItemNumber(5)
    assert ui.frameSlider.value == 5 and wrist(fetus)[1] == pytest.approx(start + 15)
    assert table(window)["Left elbow flexion"][NOW] != first
    window.click(ui.nextFrameButton)
    assert fetus.frame == 5
    window.click(ui.previousFrameButton)
    assert fetus.frame == 4


def test_dragging_a_landmark_changes_this_frame_alone(moving_window):
    import slicer

    window = moving_window
    fetus = estimate(window)
    ui = window.module_widget.ui
    ui.frameSlider.setValue(2)
    before, angle = wrist(fetus), table(window)["Left elbow flexion"][NOW]
    window.views["Red"].view.node.JumpSlice(*before)
    slicer.app.processEvents()
    window.drag("Red", before, (40, 10))
    moved = wrist(fetus)
    assert np.linalg.norm(np.subtract(moved, before)) > 3
    assert table(window)["Left elbow flexion"][NOW] != angle
    ui.frameSlider.setValue(3)
    assert wrist(fetus)[1] == pytest.approx(before[1] + 3)
    ui.frameSlider.setValue(2)
    np.testing.assert_allclose(wrist(fetus), moved, atol=1e-4)
    assert fetus.pose_scene.states()[WRIST] == "edited"


def test_undo_after_stepping_returns_to_the_frame_of_the_edit(moving_window, scene):
    window = moving_window
    fetus = estimate(window)
    ui = window.module_widget.ui
    assert scene.GetNumberOfUndoLevels() == 0, "the estimate of a sequence ends the history"
    ui.frameSlider.setValue(1)
    before = wrist(fetus)
    scene.SaveStateForUndo()
    fetus.pose_scene.landmarks_node.SetNthControlPointPositionWorld(WRIST, 1.0, 2.0, 3.0)
    ui.frameSlider.setValue(4)
    window.click(ui.undoButton)
    assert ui.frameSlider.value == 1
    np.testing.assert_allclose(wrist(fetus), before, atol=1e-6)


def test_a_frame_without_a_fetus_is_said_and_stays_empty(open_window, browser):
    from FetusMapV2Panel import selftest

    window = open_window(lambda settings: selftest.MovingEngineStandIn(settings, lost={2}))
    ui = window.module_widget.ui
    ui.sequenceSelector.setCurrentNode(browser)
    fetus = estimate(window)
    assert "5 of 6 frames" in ui.messageLabel.text and "No fetus found" in ui.messageLabel.text
    ui.frameSlider.setValue(2)
    assert set(fetus.pose_scene.states()) == {"missing"}
    assert table(window)["Left arm"][NOW] == "–"


def test_no_fetus_at_all_leaves_the_scene_alone(open_window, browser, scene):
    from FetusMapV2Panel import selftest

    window = open_window(lambda settings: selftest.MovingEngineStandIn(settings, lost=range(6)))
    window.module_widget.ui.sequenceSelector.setCurrentNode(browser)
    nodes = scene.GetNumberOfNodes()
    assert estimate(window) is None
    assert "No fetus found" in window.module_widget.ui.messageLabel.text
    assert scene.GetNumberOfNodes() == nodes


def test_cancel_on_the_way_leaves_the_scene_as_it_was(open_window, browser, scene):
    from FetusMapV2Panel import selftest

    class Slow(selftest.MovingEngineStandIn):
        """Presses Cancel in the third frame."""

        def estimate(self, volume, *, should_cancel=None, **options):
            if self._calls == 2:
                window.module_widget.ui.cancelButton.click()
                assert should_cancel()
            return super().estimate(volume, **options)

    window = open_window(Slow)
    ui = window.module_widget.ui
    ui.sequenceSelector.setCurrentNode(browser)
    nodes = scene.GetNumberOfNodes()
    assert estimate(window) is None
    assert "Cancelled" in ui.messageLabel.text
    assert scene.GetNumberOfNodes() == nodes
    assert ui.estimateFramesButton.enabled


def test_progress_counts_frames(open_window, browser):
    from FetusMapV2Panel import selftest

    seen = []

    class Watched(selftest.MovingEngineStandIn):
        def estimate(self, volume, **options):
            answer = super().estimate(volume, **options)
            seen.append((ui.progressBar.value, ui.stageLabel.text, ui.estimateFramesButton.enabled))
            return answer

    window = open_window(Watched)
    ui = window.module_widget.ui
    ui.sequenceSelector.setCurrentNode(browser)
    estimate(window)
    values = [value for value, _stage, _enabled in seen]
    assert values == sorted(values) and values[0] < values[-1]
    assert "frame 3 of 6" in seen[2][1]
    assert not any(enabled for _value, _stage, enabled in seen)


def test_a_second_estimate_replaces_the_first_in_the_same_nodes(moving_window, scene):
    window = moving_window
    fetus = estimate(window)
    fetus.pose_scene.landmarks_node.SetNthControlPointPositionWorld(WRIST, 1.0, 2.0, 3.0)
    nodes = scene.GetNumberOfNodes()
    assert estimate(window) is fetus
    assert scene.GetNumberOfNodes() == nodes
    assert set(fetus.pose_scene.states()) == {"estimated"}


def test_the_time_between_frames_can_be_given(moving_window):
    window = moving_window
    estimate(window)
    ui = window.module_widget.ui
    before = float(table(window)["Left arm"][NOW].split()[0])
    ui.frameIntervalSpinBox.setValue(0.5)
    assert float(table(window)["Left arm"][NOW].split()[0]) == pytest.approx(before / 2, abs=0.1)
    ui.frameSlider.setValue(3)
    assert ui.frameLabel.text == "Frame 4 of 6, 1.50 s"
    ui.frameIntervalSpinBox.setValue(0.0)
    assert ui.frameLabel.text == "Frame 4 of 6, 0.75 s"


def test_plots_go_to_slicers_plot_view(moving_window, scene):
    import slicer

    window = moving_window
    fetus = estimate(window)
    ui = window.module_widget.ui
    selection = slicer.app.applicationLogic().GetSelectionNode()
    for index, key in enumerate(("speeds", "arms", "legs")):
        ui.chartComboBox.setCurrentIndex(index)
        window.click(ui.showChartButton)
        assert selection.GetActivePlotChartID() == fetus.nodes.charts[key].GetID()


def test_plots_can_be_told_apart_and_show_when_the_arm_moves(moving_window):
    from bench.plots import draw_chart

    chart = estimate(moving_window).nodes.charts["speeds"]
    picture = draw_chart(chart).astype(int)
    blue = np.abs(picture - [0, 114, 178]).max(axis=2) < 40
    assert blue.sum() > 500, "the curve of the left arm"
    marks = chart.GetNthPlotSeriesNode(chart.GetNumberOfPlotSeriesNodes() - 1)
    marks.SetMarkerStyle(marks.MarkerStyleNone)
    without = draw_chart(chart).astype(int)
    dots = (picture.max(axis=2) < 60) & (without.max(axis=2) >= 60)
    assert dots.sum() > 6 * 20, "a dot per frame in which it moves"


def test_another_sequence_brings_its_own_interval(moving_window, scene):
    from FetusMapV2Panel import selftest

    window = moving_window
    ui = window.module_widget.ui
    first = ui.sequenceSelector.currentNode()
    ui.frameIntervalSpinBox.setValue(0.5)
    estimate(window)
    ui.sequenceSelector.setCurrentNode(selftest.addSequence(scene))
    ui.frameIntervalSpinBox.setValue(0.0)
    assert estimate(window).times_s == pytest.approx(0.25 * np.arange(6))
    ui.sequenceSelector.setCurrentNode(first)
    assert ui.frameIntervalSpinBox.value == 0.5
    assert section(window)._poseSequence.times_s == pytest.approx(0.5 * np.arange(6))


def test_the_table_is_exported(moving_window, tmp_path: Path, monkeypatch):
    import qt

    window = moving_window
    estimate(window)
    target = tmp_path / "Bewegung ü.csv"
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    window.click(window.module_widget.ui.exportMovementButton)
    rows = list(csv.DictReader(target.open(encoding="utf-8")))
    assert len(rows) == 6 and "Research use only" in rows[0]["note"]
    assert [row["left_arm_moves"] for row in rows] == ["1"] * 6
    assert str(target) in window.module_widget.state.message
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path), ""))
    window.click(window.module_widget.ui.exportMovementButton)  # a folder is no file to write
    assert window.module_widget.state.isError


def test_a_saved_scene_comes_back_with_its_movement(moving_window, scene, tmp_path: Path):
    import slicer

    window = moving_window
    fetus = estimate(window)
    window.module_widget.ui.frameSlider.setValue(3)
    fetus.pose_scene.landmarks_node.SetNthControlPointPositionWorld(WRIST, 1.0, 2.0, 3.0)
    before = table(window)
    assert slicer.util.saveScene(str(tmp_path / "Fall ü.mrb"))
    scene.Clear(0)
    slicer.app.processEvents()
    assert window.module_widget.ui.movementTable.rowCount == 0
    slicer.util.loadScene(str(tmp_path / "Fall ü.mrb"))
    slicer.app.processEvents()
    assert table(window) == before
    assert window.module_widget.ui.frameSlider.value == 3
    again = section(window)._poseSequence
    assert window.module_widget.state.poseScene is again.pose_scene
    again.pose_scene.landmarks_node.SetNthControlPointPositionWorld(WRIST, 3.0, 2.0, 9.0)
    assert table(window) != before


def test_the_sequence_may_leave_the_scene_at_any_time(moving_window, browser, scene):
    window = moving_window
    estimate(window)
    scene.RemoveNode(browser)
    ui = window.module_widget.ui
    assert ui.movementTable.rowCount == 0 and not ui.estimateFramesButton.enabled
    assert "No sequence" in ui.frameLabel.text


def test_a_mirrored_sequence_is_put_right_in_every_frame(open_window, browser):
    from FetusMapV2Panel import selftest

    seen = []

    class Watched(selftest.MovingEngineStandIn):
        def estimate(self, volume, **options):
            seen.append(np.linalg.det(volume.ijk_to_ras[:3, :3]))
            return super().estimate(volume, **options)

    window = open_window(Watched)
    widget = window.module_widget
    widget.ui.sequenceSelector.setCurrentNode(browser)
    widget.state.parameterNode.mirrored = True
    fetus = estimate(window)
    assert all(value < 0 for value in seen)
    from FetusMapV2Lib.scene.mirroring import is_handedness_corrected

    assert is_handedness_corrected(fetus.pose_scene.volume_node)
    for frame in (0, 3):
        fetus.show(frame)
        np.testing.assert_allclose(fetus.pose_scene.pose().positions, fetus.poses()[frame].positions, atol=1e-4)
    estimate(window)  # it is right already and is not reflected back
    assert all(value < 0 for value in seen)


def test_the_logic_does_it_without_a_window(scene, browser):
    from bench import modules
    from FetusMapV2Panel import selftest
    from module.conftest import MODULE

    logic = modules.load_python(MODULE).FetusMapV2Logic(selftest.MovingEngineStandIn)
    outcome = logic.processSequence(browser, frameInterval=0.1).result()
    assert outcome.found == 6 and outcome.reason == ""
    assert outcome.poseSequence.times_s == pytest.approx(0.1 * np.arange(6))
    assert logic.poseSequenceOf(browser) is outcome.poseSequence
    assert logic.poseSceneOf(outcome.poseSequence.pose_scene.landmarks_node) is outcome.poseSequence.pose_scene
