"""A volume with two fetuses: the second is said, and is a pose of its own that the user can choose, undo and save."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from module.test_report import only

from FetusMapV2Lib.anatomy.known_dates import KnownDates
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.second_body import SECOND_SEEN
from FetusMapV2Lib.exporting import ExportOptions, export
from FetusMapV2Lib.scene import ownership

ASIDE = np.array([40.0, 0.0, 0.0])


@pytest.fixture
def window(open_window, volume):
    """A panel whose engine sees a second, doubtful fetus 40 mm beside the first."""
    from FetusMapV2Panel.selftest import EngineStandIn

    class Twins(EngineStandIn):
        def _answer(self, volume, before, stages):
            first = super()._answer(volume, before, stages)
            pose = replace(first.pose, positions=first.pose.positions + ASIDE, doubt="It is doubtful.")
            second = replace(first, pose=pose, status="doubtful", reason="It is doubtful.")
            return replace(first, warnings=(SECOND_SEEN,), others=(second,))

    window = open_window()
    window.module_widget.logic.useEngines(Twins)
    return window


def landmarks_of(window):
    return window.module_widget.state.parameterNode.landmarks


def poses(scene):
    return {node.GetName(): node for node in ownership.all_poses(scene)}


def points(landmarks):
    return np.array([landmarks.GetNthControlPointPositionWorld(row) for row in range(22)])


def is_drawn(landmarks):
    return bool(landmarks.GetDisplayVisibility())


def test_the_second_fetus_is_said_and_is_a_pose_of_its_own(window, scene):
    window.click(window.module_widget.ui.estimateButton)
    first = landmarks_of(window)
    both = poses(scene)
    assert len(both) == 2
    (name,) = (name for name in both if name.endswith("(fetus 2) landmarks"))
    second = both[name]
    assert first is not second
    assert is_drawn(first) and not is_drawn(second)
    np.testing.assert_allclose(points(second) - points(first), np.tile(ASIDE, (22, 1)), atol=1e-3)
    assert SECOND_SEEN in window.module_widget.state.message
    window.module_widget.state.parameterNode.landmarks = second
    assert is_drawn(second) and not is_drawn(first)
    assert "It is doubtful" in window.module_widget.logic.poseSceneOf(second).pose().doubt
    assert not window.module_widget.logic.poseSceneOf(first).pose().doubt


def test_another_estimate_goes_into_the_same_two_poses(window, scene):
    window.click(window.module_widget.ui.estimateButton)
    first, before = landmarks_of(window), points(landmarks_of(window))
    (second,) = (node for node in poses(scene).values() if node is not first)
    window.module_widget.state.parameterNode.landmarks = second
    window.click(window.module_widget.ui.estimateButton)
    assert landmarks_of(window) is first
    assert len(poses(scene)) == 2
    np.testing.assert_allclose(points(first), before, atol=1e-3)
    np.testing.assert_allclose(points(second), before + ASIDE, atol=1e-3)


def test_one_undo_takes_both_away(window, scene):
    import slicer

    window.click(window.module_widget.ui.estimateButton)
    scene.Undo()
    slicer.app.processEvents()
    assert not poses(scene)
    scene.Redo()
    slicer.app.processEvents()
    assert len(poses(scene)) == 2


def test_the_report_has_both_side_by_side_whichever_is_shown(window, scene, tmp_path):
    ui, state = window.module_widget.ui, window.module_widget.state
    window.click(ui.estimateButton)
    options = ExportOptions(("json",), stem="then", dates=KnownDates(date(2026, 1, 1)))
    then = export(Estimate.given(state.pose()), None, tmp_path / "then", options)["json"]
    first = landmarks_of(window)
    (second,) = (node for node in poses(scene).values() if node is not first)
    ui.examinedLineEdit.setText("2026-01-31")
    ui.chorionicityLineEdit.setText("dichorionic, two placentas")
    ui.earlierPathLineEdit.currentPath = str(then)
    ui.reportFolderEdit.currentPath = str(tmp_path / "out")
    only(window, "Page", "Table")
    state.parameterNode.landmarks = second
    second.SetNthControlPointPositionWorld(0, *(points(second)[0] + [0.0, 0.0, 3.0]))
    window.click(ui.writeReportButton)
    pages = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "out").glob("*.html")}
    mine, its = (next(text for name, text in pages.items() if ("fetus-2" in name) is other) for other in (False, True))
    for page in (mine, its):
        assert "2 fetuses" in page and "dichorionic, two placentas" in page
    assert "Since 2026-01-01" in its and "Since" not in mine  # the examiner chose the second one to be compared
    assert "Changes by hand" in its and "Changes by hand" not in mine
    assert "fetus-2" in state.message
    first_scene = window.module_widget.logic.poseSceneOf(first)
    assert f"{first_scene.measurements()[0].value_mm:.1f}" in its
