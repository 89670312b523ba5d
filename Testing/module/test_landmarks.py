"""Looking at landmarks and correcting them in the panel: real clicks, keys and drags, real views, real nodes."""

from __future__ import annotations

import numpy as np
import pytest
from module.landmarks_panel import (
    CHIN,
    CONFIDENCE,
    CREST,
    DOUBTFUL,
    ELBOW,
    NAME,
    NECK,
    SCHEMA,
    STATE,
    WRIST,
    Panel,
    crosshair,
    doubting_engine,
)

# ---- looking


def test_the_list_has_every_landmark_in_its_group_with_confidence_and_definition(panel):
    model = panel.tree.model()
    groups = [model.index(number, 0).data() for number in range(model.rowCount())]
    assert groups == ["Head and trunk", "Left arm", "Right arm", "Left leg", "Right leg"]
    pose = panel.fetus.pose()
    for mark in SCHEMA.landmarks:
        assert panel.text(mark.row, NAME) == f"{mark.number} {mark.name}"
        assert panel.text(mark.row, CONFIDENCE) == f"{pose.confidence[mark.row]:.0%}"
        assert panel.text(mark.row) == ("estimated, doubtful" if mark.row in DOUBTFUL else "estimated")
        tip = panel.tree.itemFromIndex(panel.index(mark.row)).toolTip(NAME)
        assert mark.definition in tip
        assert ("Assumed" in tip) == mark.assumed
    assert panel.ui.summaryLabel.text == "2 doubtful · 0 edited · 0 confirmed · 0 missing"


def bar_colour(panel, row: int) -> str:
    icon = panel.tree.itemFromIndex(panel.index(row)).icon(CONFIDENCE)
    return icon.pixmap(panel.tree.iconSize).toImage().pixelColor(1, 5).name().upper()


def test_confidence_has_a_colour_that_all_eyes_tell_apart(panel):
    ankle = SCHEMA.index("right_ankle")
    colours = [bar_colour(panel, row) for row in (CHIN, CREST, ankle)]
    assert panel.text(CREST, CONFIDENCE) == "50%" and panel.text(ankle, CONFIDENCE) == "99%"
    assert colours == ["#CC79A7", "#E69F00", "#0072B2"]  # of Okabe and Ito


def test_a_click_turns_the_slices_to_the_landmark(panel, scene):
    panel.choose(WRIST)
    np.testing.assert_allclose(crosshair(scene), panel.position(WRIST), atol=1e-6)
    crossing = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    assert crossing.GetCrosshairMode() != crossing.NoCrosshair
    for name in ("Red", "Yellow", "Green"):
        view = panel.window.views[name].view
        middle = np.array(view.to_pixel(panel.position(WRIST)))
        np.testing.assert_allclose(middle[:2], np.array(view.node.GetDimensions()[:2]) / 2, atol=1.0)
        assert abs(middle[2]) < 0.51
    assert SCHEMA.landmarks[WRIST].definition in panel.ui.definitionLabel.text
    panel.choose(CHIN)
    np.testing.assert_allclose(crosshair(scene), panel.position(CHIN), atol=1e-6)


def test_arrow_keys_go_from_landmark_to_landmark(panel, scene):
    panel.choose(CREST)
    panel.press("Down")
    assert panel.current() == "2 Forehead"
    np.testing.assert_allclose(crosshair(scene), panel.position(1), atol=1e-6)


def test_a_key_goes_from_one_doubtful_landmark_to_the_next(panel, scene):
    seen = []
    for _ in range(3):
        panel.press("N")
        seen.append(panel.current())
    assert seen == ["5 Chin", "13 Left wrist", "5 Chin"]
    np.testing.assert_allclose(crosshair(scene), panel.position(CHIN), atol=1e-6)
    panel.press("C")
    panel.press("N")
    panel.press("C")
    assert panel.ui.summaryLabel.text == "0 doubtful · 0 edited · 2 confirmed · 0 missing"
    assert not panel.ui.nextDoubtfulButton.enabled


def test_without_a_pose_nothing_can_be_done(open_window, volume, scene):
    panel = Panel(open_window(doubting_engine))
    buttons = [
        panel.ui.nextDoubtfulButton, panel.ui.confirmButton, panel.ui.placeButton, panel.ui.missingButton,
        panel.ui.lockButton, panel.ui.resetButton, panel.ui.resetAllButton, panel.ui.swapArmsButton,
        panel.ui.swapLegsButton, panel.ui.swapAllButton, panel.ui.refineButton, panel.ui.undoButton,
        panel.ui.redoButton,
    ]  # fmt: skip
    assert not any(button.enabled for button in buttons)
    assert not panel.tree.enabled
    for key in "NCPMLEZY":
        panel.press(key)
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 0
    assert all(button.toolTip for button in buttons)


# ---- correcting


def test_a_dragged_landmark_is_edited_chosen_confirmed_and_undone_by_keys(panel):
    before = panel.position(CREST)
    released = panel.drag(CREST)
    np.testing.assert_allclose(panel.position(CREST), released, atol=0.5)
    assert panel.current() == "1 Cranial crest"
    assert (panel.text(CREST), panel.text(CREST, CONFIDENCE)) == ("edited", "–")
    panel.press("C")
    assert panel.text(CREST) == "confirmed"
    assert panel.ui.confirmButton.checked
    panel.press("Z")
    assert panel.text(CREST) == "edited"
    panel.press("Z")
    assert panel.text(CREST) == "estimated"
    np.testing.assert_allclose(panel.position(CREST), before, atol=1e-6)
    panel.press("Y")
    panel.press("Y")
    assert panel.text(CREST) == "confirmed"
    np.testing.assert_allclose(panel.position(CREST), released, atol=0.5)
    panel.window.click(panel.ui.confirmButton)
    assert panel.text(CREST) == "edited"


def test_the_whole_panel_follows_a_move_with_one_fit_of_the_plane(panel, monkeypatch):
    from FetusMapV2Lib.anatomy import pose

    node = panel.estimate().fetus.landmarks_node
    fits, fit = [], pose.midsagittal_plane
    monkeypatch.setattr(pose, "midsagittal_plane", lambda *arguments: (fits.append(1), fit(*arguments))[1])
    before, (x, y, z) = panel.ui.resultsTable.item(0, 1).text(), node.GetNthControlPointPositionWorld(CREST)
    node.SetNthControlPointPositionWorld(CREST, x, y, z + 5.0)
    assert panel.ui.resultsTable.item(0, 1).text() != before
    assert len(fits) == 1


def test_a_click_that_moves_nothing_needs_no_undo_of_its_own(panel):
    panel.drag(CREST)
    panel.drag(CREST, by_pixels=(0, 0))
    panel.press("Z")
    assert panel.text(CREST) == "estimated"


def test_the_estimate_itself_is_undone_and_redone(panel):
    panel.press("Z")
    assert panel.fetus is None
    assert panel.text(CREST) == ""
    assert not panel.tree.enabled
    panel.press("Y")
    assert panel.text(CREST) == "estimated"
    panel.choose(CREST)
    panel.press("M")
    assert panel.text(CREST) == "missing"


def test_several_landmarks_at_once(panel):
    panel.choose(CREST)
    for row in (3, 4):
        panel.tree.itemFromIndex(panel.index(row)).setSelected(True)
    panel.press("M")
    assert [panel.text(row) for row in (0, 1, 3, 4)] == ["missing", "estimated", "missing", "missing"]
    assert panel.ui.resultsTable.item(0, 1).text() == "–"
    panel.press("E")
    assert [panel.text(row) for row in (0, 3)] == ["estimated", "estimated"]


def test_a_locked_landmark_cannot_be_dragged_or_changed(panel):
    panel.choose(CREST)
    panel.press("L")
    assert panel.text(CREST) == "estimated, locked"
    before = panel.position(CREST)
    panel.drag(CREST)
    np.testing.assert_array_equal(panel.position(CREST), before)
    for button in (panel.ui.placeButton, panel.ui.missingButton, panel.ui.resetButton):
        assert not button.enabled
    panel.press("L")
    panel.drag(CREST)
    assert panel.text(CREST) == "edited"


def test_reset_of_one_and_of_all(panel):
    original = panel.fetus.pose().positions
    panel.drag(CREST)
    panel.drag(WRIST)
    panel.choose(NECK)
    panel.press("M")
    panel.window.click(panel.ui.swapLegsButton)
    panel.choose(WRIST)
    panel.press("E")
    assert [panel.text(row) for row in (CREST, NECK)] == ["edited", "missing"]
    np.testing.assert_allclose(panel.position(WRIST), original[WRIST], atol=1e-6)
    panel.window.click(panel.ui.resetAllButton)
    np.testing.assert_allclose(panel.fetus.pose().positions, original, atol=1e-6)
    panel.press("Z")
    assert [panel.text(row) for row in (CREST, NECK)] == ["edited", "missing"]


@pytest.mark.parametrize(
    ("button", "groups"),
    [("swapArmsButton", "la ra"), ("swapLegsButton", "ll rl"), ("swapAllButton", "la ra ll rl")],
)
def test_sides_are_swapped(panel, button, groups):
    before = panel.fetus.pose().positions
    order = np.arange(22)
    rows = [row for group in groups.split() for row in SCHEMA.rows(group)]
    order[rows] = SCHEMA.mirror_rows[rows]
    panel.window.click(getattr(panel.ui, button))
    np.testing.assert_array_equal(panel.fetus.pose().positions, before[order])
    assert panel.ui.summaryLabel.text.startswith("2 doubtful · 0 edited")
    panel.press("Z")
    np.testing.assert_array_equal(panel.fetus.pose().positions, before)


# ---- saved and reopened


def test_a_reopened_scene_has_all_states_links_and_the_model(panel, scene, tmp_path):
    import slicer

    original = panel.fetus.pose().positions
    panel.drag(CREST)
    panel.choose(ELBOW)
    panel.press("C")
    panel.choose(NECK)
    panel.press("M")
    panel.choose(CHIN)
    panel.press("L")
    panel.window.click(panel.ui.swapLegsButton)
    panel.window.click(panel.ui.refineButton)
    texts = [[panel.text(row, column) for column in (NAME, CONFIDENCE, STATE)] for row in range(22)]
    table = [panel.ui.resultsTable.item(row, 1).text() for row in range(9)]
    path = tmp_path / "Fall ü 1.mrb"
    assert slicer.util.saveScene(str(path))
    scene.Clear(0)
    slicer.app.processEvents()
    assert panel.text(CREST) == ""
    slicer.util.loadScene(str(path))
    slicer.app.processEvents()
    assert [[panel.text(row, column) for column in (NAME, CONFIDENCE, STATE)] for row in range(22)] == texts
    assert [panel.ui.resultsTable.item(row, 1).text() for row in range(9)] == table
    assert panel.fetus.model == "stand-in"
    assert panel.fetus.volume_node.GetName() == "synthetic volume"
    before = panel.ui.resultsTable.item(0, 1).text()
    panel.drag(CREST, (10, 30))
    assert panel.ui.resultsTable.item(0, 1).text() != before
    panel.press("Z")
    assert panel.ui.resultsTable.item(0, 1).text() == before
    panel.choose(CHIN)
    panel.press("L")
    panel.window.click(panel.ui.resetAllButton)
    np.testing.assert_allclose(panel.fetus.pose().positions, original, atol=1e-4)
    assert {panel.text(row) for row in range(22)} == {"estimated", "estimated, doubtful"}


def test_confirming_landmarks_that_nobody_looked_at_asks_first(panel):
    ui, click = panel.ui, panel.window.click
    ui.landmarksTree.selectAll()
    click(ui.confirmButton)
    assert set(panel.fetus.states()) == {"estimated"} and not ui.confirmButton.checked
    assert "were not looked at one by one" in ui.messageLabel.text and ui.messageSignLabel.text == "⚠"
    assert ui.messageButton.text == "Confirm all 22"
    click(ui.messageButton)
    assert set(panel.fetus.states()) == {"confirmed"} and ui.messageLabel.text == ""
    click(ui.undoButton)
    assert set(panel.fetus.states()) == {"estimated"}


def test_landmarks_that_were_looked_at_are_confirmed_without_a_question(panel):
    ui, click = panel.ui, panel.window.click
    trunk = ui.landmarksTree.topLevelItem(0)
    for number in range(3):
        ui.landmarksTree.setCurrentItem(trunk.child(number))
    for number in range(3):
        trunk.child(number).setSelected(True)
    click(ui.confirmButton)
    assert ui.messageLabel.text == ""
    assert panel.fetus.states()[:4] == ("confirmed", "confirmed", "confirmed", "estimated")
