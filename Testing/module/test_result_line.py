"""The line of the result in the panel: it follows every change, and its links lead to landmarks; real clicks."""

from __future__ import annotations

import re

import numpy as np
from module.landmarks_panel import CHIN, CREST, DOUBTFUL, SCHEMA, WRIST, Panel, crosshair, doubting_engine


def said(window) -> str:
    """The line as it is read."""
    html = window.module_widget.ui.resultLabel.text
    return re.sub("<[^>]+>", "", html)


def link(window, words: str) -> str:
    """The target of the link with these words."""
    html = window.module_widget.ui.resultLabel.text
    found = re.search(rf'<a href="(\d+)"[^>]*>{words}</a>', html)
    assert found, html
    return found[1]


def crl(panel) -> str:
    return panel.ui.resultsTable.item(0, 1).text()


def test_before_an_estimate_it_says_what_to_do(open_window, scene):
    from FetusMapV2Panel import selftest

    window = open_window(doubting_engine)
    label = window.module_widget.ui.resultLabel
    assert label.visible and said(window) == "ℹ No result yet: choose an ultrasound volume"
    window.module_widget.ui.inputSelector.setCurrentNode(selftest.addVolume(scene))
    assert said(window) == "ℹ No result yet: estimate the pose"


def test_it_stands_between_the_button_and_the_table_and_shows_their_values(panel):
    ui = panel.ui
    tops = [widget.mapToGlobal(widget.rect.topLeft()).y() for widget in (ui.estimateButton, ui.resultLabel)]
    assert tops[0] < tops[1] < ui.resultsTable.mapToGlobal(ui.resultsTable.rect.topLeft()).y()
    age = ui.resultsTable.item(1, 1).text().replace("± ", "(± ") + ")"
    assert said(panel.window) == f"! CRL {crl(panel)} · {age} · neutral · 2 doubtful"
    assert "Chin, Left wrist" in ui.resultLabel.toolTip
    ui.estimateCollapsibleButton.collapsed = ui.resultsCollapsibleButton.collapsed = True
    assert ui.resultLabel.visible


def test_a_click_on_the_doubtful_ones_goes_from_one_to_the_next(panel, scene):
    panel.ui.landmarksCollapsibleButton.collapsed = True
    seen = []
    for _ in range(3):
        panel.window.click_link(panel.ui.resultLabel, link(panel.window, "2 doubtful"))
        seen.append(panel.current())
    assert seen == ["5 Chin", "13 Left wrist", "5 Chin"]
    assert not panel.ui.landmarksCollapsibleButton.collapsed, "the row can be seen"
    np.testing.assert_allclose(crosshair(scene), panel.position(CHIN), atol=1e-6)


def test_a_missing_landmark_is_reached_too_and_the_views_stay(panel, scene):
    panel.choose(CREST)
    panel.press("M")
    before = crosshair(scene)
    assert said(panel.window).startswith("! CRL missing · ")
    panel.choose(WRIST)
    panel.window.click_link(panel.ui.resultLabel, link(panel.window, "1 missing"))
    assert panel.current() == "1 Cranial crest"
    assert not np.array_equal(crosshair(scene), before), "where the wrist is: the crest is nowhere"
    np.testing.assert_allclose(crosshair(scene), panel.position(WRIST), atol=1e-6)


def test_the_keyboard_reaches_a_link(panel):
    import qt

    panel.ui.resultLabel.setFocus()
    panel.press("Tab")
    panel.window.press(qt.Qt.Key_Return)
    assert panel.current() == "5 Chin"


def test_it_follows_edits_confirmations_undo_and_the_formula(panel):
    first = said(panel.window)
    panel.drag(CREST)
    edited = said(panel.window)
    assert edited != first and f"CRL {crl(panel)}" in edited
    panel.press("Z")
    assert said(panel.window) == first
    panel.press("Y")
    assert said(panel.window) == edited
    for row in DOUBTFUL:
        panel.choose(row)
        panel.press("C")
    assert said(panel.window).endswith("all landmarks clear")
    panel.ui.formulaComboBox.setCurrentIndex(2)
    assert panel.ui.resultsTable.item(1, 1).text().split()[0] in said(panel.window)


def test_it_is_that_of_the_shown_patient(panel, scene):
    from FetusMapV2Panel import selftest

    first, parameters = said(panel.window), panel.window.module_widget.state.parameterNode
    own = parameters.inputVolume
    parameters.inputVolume = selftest.addVolume(scene)
    assert said(panel.window) == "ℹ No result yet: estimate the pose"
    parameters.inputVolume = own
    assert said(panel.window) == first


def test_no_fetus_has_its_own_words_also_with_an_earlier_pose(open_window, volume):
    from FetusMapV2Panel import selftest

    window = open_window(lambda settings: selftest.MovingEngineStandIn(settings, lost=[1]))
    panel = Panel(window).estimate()
    landmarks = panel.fetus.landmarks_node
    window.click(panel.ui.estimateButton)
    assert said(window) == "◆ No fetus found"
    window.module_widget.state.parameterNode.landmarks = landmarks
    assert said(window).startswith("? earlier pose · CRL ")
    window.click(panel.ui.estimateButton)
    assert said(window).startswith("✓ CRL ")


def test_every_frame_of_a_sequence_has_its_own(open_window, scene):
    from FetusMapV2Panel import selftest

    browser = selftest.addSequence(scene)
    window = open_window(lambda settings: selftest.MovingEngineStandIn(settings, lost=[2]))
    ui = window.module_widget.ui
    ui.sequenceSelector.setCurrentNode(browser)
    window.click(ui.estimateFramesButton)
    assert window.wait_until(lambda: not window.module_widget.state.running)
    lines = []
    for frame in range(3):
        browser.SetSelectedItemNumber(frame)
        lines.append(said(window))
    assert lines[0].startswith("✓ CRL ") and lines[2] == "◆ No fetus: all landmarks are missing"


def test_a_frame_that_was_not_estimated_has_no_result_yet(open_window, scene):
    from FetusMapV2Panel import selftest

    browser = selftest.addSequence(scene)
    window = open_window(lambda settings: selftest.EngineStandIn(settings, found=False))
    window.module_widget.ui.sequenceSelector.setCurrentNode(browser)
    window.click(window.module_widget.ui.estimateButton)
    assert said(window) == "◆ No fetus found"
    browser.SetSelectedItemNumber(1)
    assert said(window) == "ℹ No result yet: estimate the pose"
    browser.SetSelectedItemNumber(0)
    assert said(window) == "◆ No fetus found"


def test_its_colour_can_be_read_and_says_what_its_sign_says(panel):
    from FetusMapV2Lib.presenting.tones import Tone, contrast

    label = panel.ui.resultLabel
    background = label.palette.color(label.backgroundRole()).name()
    (colour,) = set(re.findall("color: (#[0-9a-f]{6})", label.text))
    assert contrast(colour, background) >= 4.5
    assert colour == Tone.WARNING.colour(background)
    assert SCHEMA.landmarks[DOUBTFUL[0]].name in label.toolTip
