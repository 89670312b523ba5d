"""The measurements section: chosen formula, checks, planes of the fetus, guide map; real clicks and views."""

from __future__ import annotations

import numpy as np
import pytest
from module.test_panel import estimate, position

from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.anatomy.planes import midsagittal_plane
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.scene.editing import LandmarkEditor

SCHEMA = default_schema()


@pytest.fixture
def window(open_window, volume):
    opened = open_window()
    estimate(opened)
    return opened


def table(window) -> dict[str, tuple[str, str]]:
    """Value and remark by name."""
    shown = window.module_widget.ui.resultsTable
    return {
        shown.item(row, 0).text(): (shown.item(row, 1).text(), shown.item(row, 2).text())
        for row in range(shown.rowCount)
    }


def matrix(window, view: str) -> np.ndarray:
    found = window.views[view].view.node.GetSliceToRAS()
    return np.array([[found.GetElement(row, column) for column in range(4)] for row in range(4)])


def pose_of(window) -> Pose:
    return window.module_widget.state.pose()


def test_the_chosen_formula_comes_first_in_bold_and_stays_with_the_scene(window):
    ui = window.module_widget.ui
    assert ui.formulaComboBox.currentText.startswith("INTERGROWTH")
    ui.formulaComboBox.setCurrentIndex(3)
    assert list(table(window))[1:4] == ["Age, Hadlock", "Age, INTERGROWTH-21st", "Age, Robinson"]
    assert ui.resultsTable.item(1, 1).font().bold() and not ui.resultsTable.item(2, 1).font().bold()
    dating = measurements(pose_of(window), formula="hadlock").dating
    assert table(window)["Age, Hadlock"][0] == f"{dating.weeks_text} ± {dating.combined_days:.0f} d"
    node = window.module_widget.state.parameterNode.parameterNode
    assert node.GetParameter("datingFormula") == "HADLOCK"


def test_checks_follow_an_edit(window):
    from FetusMapV2Panel.colours import cellColour

    from FetusMapV2Lib.presenting.tones import Tone

    landmarks = window.module_widget.state.parameterNode.landmarks
    before = table(window)
    assert before["Femora, left − right"][1] == "sides agree"
    assert before["Neck flexion"][1] == "neutral"
    hip, knee = np.array(position(landmarks, 16)), np.array(position(landmarks, 17))
    landmarks.SetNthControlPointPosition(17, *(hip + 0.1 * (knee - hip)))
    after = table(window)
    assert after["Femora, left − right"][1] == "left shorter"
    assert after["Left femur*"][1] == "short for CRL"
    row = list(after).index("Left femur*")
    item = window.module_widget.ui.resultsTable.item(row, 1)
    assert item.foreground().color().name() == cellColour(Tone.WARNING, window.module_widget.ui.resultsTable)
    assert "Chen" in item.toolTip() and "Usual: " in item.toolTip()


def test_a_flexed_neck_is_flagged_at_the_crl_too(window):
    landmarks = window.module_widget.state.parameterNode.landmarks
    neck = np.array(position(landmarks, 5))
    turn = np.radians(-100)
    for row in range(6):
        away = np.array(position(landmarks, row)) - neck
        y, z = away[1] * np.cos(turn) - away[2] * np.sin(turn), away[1] * np.sin(turn) + away[2] * np.cos(turn)
        landmarks.SetNthControlPointPosition(row, *np.add(neck, [away[0], y, z]))
    assert "flexed" in table(window)["Neck flexion"][1]
    assert "flexed" in table(window)["Crown-rump length"][1]


def test_a_missing_landmark_leaves_its_rows_empty(window):
    LandmarkEditor(window.module_widget.state.poseScene).set_missing([17])
    shown = table(window)
    assert shown["Left femur*"] == ("–", "landmark missing")
    assert shown["Femora, left − right"] == ("–", "landmark missing")
    assert shown["Right femur*"][0].endswith("mm")


@pytest.mark.parametrize(
    ("button", "view", "axis"),
    [
        ("midsagittalButton", "Yellow", "normal"),
        ("coronalButton", "Green", "x_axis"),
        ("transverseButton", "Red", "y_axis"),
    ],
)
def test_each_direction_turns_its_view_and_no_other(window, button, view, axis):
    before = {name: matrix(window, name) for name in ("Red", "Yellow", "Green")}
    window.click(getattr(window.module_widget.ui, button))
    plane = midsagittal_plane(pose_of(window).positions, SCHEMA)
    normal = matrix(window, view)[:3, 2]
    assert abs(normal @ getattr(plane, axis)) == pytest.approx(1, abs=1e-9)
    for other in before.keys() - {view}:
        np.testing.assert_array_equal(matrix(window, other), before[other])


def test_the_midsagittal_view_holds_the_midline_and_the_whole_fetus(window):
    window.click(window.module_widget.ui.midsagittalButton)
    node, pose = window.views["Yellow"].view.node, pose_of(window)
    plane = midsagittal_plane(pose.positions, SCHEMA)
    across = (matrix(window, "Yellow")[:3, 3] - plane.origin) @ plane.normal
    assert abs(across) < 1e-6
    width, height, _depth = node.GetDimensions()
    for point in pose.positions[:10]:
        x, y, _z = window.views["Yellow"].view.to_pixel(point)
        assert 0 < x < width and 0 < y < height
    crown = window.views["Yellow"].view.to_pixel(pose.positions[0])
    rump = window.views["Yellow"].view.to_pixel(pose.positions[9])
    assert crown[1] > rump[1], "the crown is up"


def test_all_planes_and_back_to_the_axes_of_the_volume(window):
    ui = window.module_widget.ui
    tilted = pose_of(window).positions @ np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]).T
    window.module_widget.state.poseScene.set_pose(Pose(tilted))
    window.click(ui.allPlanesButton)
    normals = [matrix(window, view)[:3, 2] for view in ("Red", "Yellow", "Green")]
    assert max(abs(normals[0] @ normals[1]), abs(normals[0] @ normals[2]), abs(normals[1] @ normals[2])) < 1e-9
    assert abs(normals[0] @ [0, 0, 1]) < 0.9
    window.click(ui.ownAxesButton)
    for view, axis in (("Red", 2), ("Yellow", 0), ("Green", 1)):
        assert abs(matrix(window, view)[axis, 2]) == pytest.approx(1)


def test_one_open_slice_view_is_enough(window):
    for view in ("Yellow", "Green"):
        window.views[view].view.node.SetMappedInLayout(0)
    try:
        window.click(window.module_widget.ui.midsagittalButton)
        plane = midsagittal_plane(pose_of(window).positions, SCHEMA)
        assert abs(matrix(window, "Red")[:3, 2] @ plane.normal) == pytest.approx(1, abs=1e-9)
        window.views["Red"].view.node.SetMappedInLayout(0)
        window.click(window.module_widget.ui.midsagittalButton)
        assert "Open a slice view" in window.module_widget.state.message
    finally:
        for view in ("Red", "Yellow", "Green"):
            window.views[view].view.node.SetMappedInLayout(1)


def test_plane_buttons_wait_for_a_pose(open_window, volume):
    ui = open_window().module_widget.ui
    assert not ui.midsagittalButton.enabled and not ui.allPlanesButton.enabled


def map_pixels(window) -> bytes:
    """The guide map once it has been drawn; nothing without a picture."""
    (timer,) = (section._mapTimer for section in window.module_widget.sections if hasattr(section, "_mapTimer"))
    assert window.wait_until(lambda: not timer.isActive())
    return bytes(window.module_widget.ui.guideMapLabel.pixmap.toImage().constBits() or b"")


def test_the_guide_map_follows_an_edit_and_goes_with_the_pose(window):
    ui = window.module_widget.ui
    before = map_pixels(window)
    assert len(before) > 100_000
    assert ui.guideMapLabel.pixmap.width() >= 300
    landmarks = window.module_widget.state.parameterNode.landmarks
    landmarks.SetNthControlPointPosition(12, *np.add(position(landmarks, 12), [-6, 0, 6]))
    assert map_pixels(window) != before
    ui.landmarksSelector.setCurrentNode(None)
    assert map_pixels(window) == b""


def test_a_folded_guide_map_costs_nothing_and_is_right_when_opened(window):
    ui = window.module_widget.ui
    shown = map_pixels(window)
    ui.guideMapCollapsibleButton.collapsed = True
    landmarks = window.module_widget.state.parameterNode.landmarks
    landmarks.SetNthControlPointPosition(12, *np.add(position(landmarks, 12), [-6, 0, 6]))
    assert map_pixels(window) == shown
    ui.guideMapCollapsibleButton.collapsed = False
    assert map_pixels(window) != shown
