"""Placing a landmark by the next click in a view: real clicks, keys and views."""

from __future__ import annotations

import numpy as np
import pytest
from module.landmarks_panel import CHIN, CREST


@pytest.mark.parametrize("missing", [False, True])
def test_the_next_click_in_a_view_places_the_landmark(panel, missing):
    panel.choose(CHIN)
    if missing:
        panel.press("M")
    before = panel.fetus.pose().positions
    panel.show(CREST)
    wanted = np.array([14.0, 6.0, panel.position(CREST)[2]])
    panel.press("P")
    assert panel.ui.placeButton.checked
    assert "Click in a view where Chin is" in panel.ui.messageLabel.text
    panel.window.click_view("Red", wanted)
    np.testing.assert_allclose(panel.position(CHIN), wanted, atol=0.5)
    assert panel.text(CHIN) == "edited"
    assert not panel.ui.placeButton.checked
    assert panel.ui.messageLabel.text == ""
    panel.window.click_view("Red", wanted + 10 * np.eye(3)[0])
    np.testing.assert_allclose(panel.position(CHIN), wanted, atol=0.5)
    panel.press("Z")
    np.testing.assert_array_equal(panel.fetus.pose().positions, before)
    panel.press("Y")
    np.testing.assert_allclose(panel.position(CHIN), wanted, atol=0.5)


@pytest.mark.parametrize("how", ["Escape", "P", "right click", "next estimate"])
def test_thinking_better_of_placing_changes_nothing(panel, how):
    import qt

    panel.choose(CREST)
    panel.press("M")
    panel.choose(CHIN)
    before = panel.fetus.pose().positions
    panel.press("P")
    assert panel.text(CHIN) == "missing"
    if how == "right click":
        panel.window.click_view("Red", (10, 10, 0), qt.Qt.RightButton)
    elif how == "next estimate":
        panel.window.click(panel.ui.estimateButton)
        panel.press("Z")
    else:
        panel.press(how)
    assert not panel.ui.placeButton.checked
    np.testing.assert_array_equal(panel.fetus.pose().positions, before)
    assert panel.text(CHIN) == "estimated, doubtful"
    panel.press("Z")
    assert panel.text(CREST) == "estimated", "the step before is undone"


@pytest.mark.parametrize("end", ["close", "unload", "remove"])
def test_placing_ends_with_the_scene_the_panel_and_the_landmarks(panel, scene, end):
    panel.choose(CHIN)
    panel.press("P")
    modes = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    assert modes.GetCurrentInteractionMode() == modes.Place
    if end == "close":
        scene.Clear(0)
    elif end == "unload":
        panel.window.unload()
    else:
        scene.RemoveNode(panel.fetus.landmarks_node)
    assert modes.GetCurrentInteractionMode() != modes.Place
