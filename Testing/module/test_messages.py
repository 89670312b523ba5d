"""What the panel says: tone, sign and colour, the way to what a message asks for, and a time before the first run."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def tiny(scene):
    """A volume whose voxels are exactly 1 mm, which often means that their size is unknown."""
    from FetusMapV2Panel import selftest

    node = selftest.addVolume(scene)
    node.SetSpacing(1.0, 1.0, 1.0)
    return node


def shown(window) -> tuple[str, str, bool]:
    """Sign and text of the message, and whether there is a button beside it."""
    ui = window.module_widget.ui
    assert ui.messageWidget.visible == bool(ui.messageLabel.text)
    return ui.messageSignLabel.text, ui.messageLabel.text, ui.messageButton.visible


def warning_engine(settings, found: bool = True):
    """The stand-in, which warns of what the volume warns of, as the engine does."""
    from dataclasses import replace

    from FetusMapV2Panel import selftest

    class Engine(selftest.EngineStandIn):
        def estimate(self, volume, **options):
            return replace(super().estimate(volume, **options), warnings=volume.warnings)

    return Engine(settings, found)


def test_success_finding_and_error_do_not_look_alike(open_window, volume, tmp_path):
    from FetusMapV2Panel import selftest

    found = [True]
    window = open_window(lambda settings: selftest.EngineStandIn(settings, found[0]))
    ui, state = window.module_widget.ui, window.module_widget.state
    looks = []
    window.click(ui.estimateButton)
    ui.reportFolderEdit.currentPath = str(tmp_path)
    for kind in ("Pdf", "Dicom"):
        getattr(ui, f"report{kind}CheckBox").setChecked(False)
    for prepare, button, sign, text in (
        (lambda: None, ui.writeReportButton, "✓", "Report written"),
        (lambda: None, ui.writeReportButton, "✕", "exists already"),
        (lambda: None, ui.estimateButton, "◆", "No fetus found."),
    ):
        if sign == "◆":
            found[0] = False
            state.logic.close()
        prepare()
        window.click(button)
        assert shown(window)[0] == sign and text in shown(window)[1]
        assert state.isError == (sign == "✕")
        looks.append((ui.messageLabel.styleSheet, ui.messageWidget.styleSheet))
    assert len(set(looks)) == 3


def test_an_estimate_without_warnings_says_nothing(open_window, volume):
    window = open_window()
    window.click(window.module_widget.ui.estimateButton)
    assert shown(window)[1:] == ("", False)


def test_a_warning_about_the_voxel_size_leads_to_its_field(open_window, tiny):
    window = open_window(warning_engine)
    ui = window.module_widget.ui
    window.click(ui.estimateButton)
    sign, text, offers = shown(window)
    assert sign == "⚠" and "exactly 1.0 mm" in text and offers
    assert not ui.voxelSizeEdit.visible
    window.click(ui.messageButton)
    assert ui.voxelSizeEdit.visible and window.focusWidget() is ui.voxelSizeEdit
    assert ui.voxelSizeEdit.selectedText == ui.voxelSizeEdit.text == "1 x 1 x 1"
    ui.voxelSizeEdit.setText("2")
    window.click(ui.voxelSizeButton)
    assert tiny.GetSpacing() == (2.0, 2.0, 2.0)
    sign, text, offers = shown(window)
    assert sign == "⚠" and "2 x 2 x 2 mm" in text and "with the size before" in text and offers
    window.click(ui.messageButton)
    assert ui.messageLabel.text == "" and window.module_widget.state.poseScene is not None


def test_a_finding_about_a_volume_of_unknown_size_leads_to_its_field_too(open_window, tiny):
    window = open_window(lambda settings: warning_engine(settings, found=False))
    window.click(window.module_widget.ui.estimateButton)
    sign, text, offers = shown(window)
    assert sign == "◆" and text.startswith("No fetus found.") and offers


def test_a_size_that_was_given_is_no_longer_suspicious(open_window, tiny):
    import qt

    tiny.GetImageData().SetDimensions(64, 40, 30)  # 64 mm long, which a fetus of 11 weeks fits in
    window = open_window(warning_engine)
    ui = window.module_widget.ui
    ui.optionsCollapsibleButton.collapsed = False
    ui.voxelSizeEdit.setFocus()
    ui.voxelSizeEdit.setText("1")
    window.press(qt.Qt.Key_Return)
    assert shown(window)[0] == "✓"
    window.click(ui.messageButton)
    assert shown(window)[1] == "" and window.module_widget.state.poseScene is not None


def test_what_is_no_size_is_an_error_that_leads_back(open_window, tiny):
    window = open_window()
    ui = window.module_widget.ui
    ui.optionsCollapsibleButton.collapsed = False
    ui.voxelSizeEdit.setText("small")
    window.click(ui.voxelSizeButton)
    sign, text, offers = shown(window)
    assert sign == "✕" and "'small' is no voxel size" in text and offers
    window.click(ui.messageButton)
    assert window.focusWidget() is ui.voxelSizeEdit and tiny.GetSpacing() == (1.0, 1.0, 1.0)


def test_the_size_of_a_sequence_is_that_of_all_its_frames(open_window, scene):
    from FetusMapV2Panel import pose_ownership, selftest

    browser = selftest.addSequence(scene)
    window = open_window(selftest.MovingEngineStandIn)
    ui = window.module_widget.ui
    ui.inputSelector.setCurrentNode(pose_ownership.volumeOf(browser))
    ui.voxelSizeEdit.setText("1.5")
    window.click(ui.voxelSizeButton)
    browser.SetSelectedItemNumber(3)
    np.testing.assert_allclose(pose_ownership.volumeOf(browser).GetSpacing(), 1.5)


def test_the_first_run_tells_how_long_it_took_elsewhere(open_window, volume):
    from FetusMapV2Panel import selftest

    class Engine(selftest.EngineStandIn):
        def resource_estimate(self, voxels, refine="off"):
            from dataclasses import replace

            return replace(super().resource_estimate(voxels, refine), device="cpu")

    window = open_window(Engine)
    ui, parameters = window.module_widget.ui, window.module_widget.state.parameterNode
    assert window.wait_until(lambda: "on another computer" in ui.resourceLabel.text, 20)
    parameters.memoryBudget = 0.5
    assert window.wait_until(lambda: "known after the first estimate" in ui.resourceLabel.text, 20)


def test_the_palette_decides_the_colours(open_window, volume):
    import qt

    from FetusMapV2Lib.presenting.tones import Tone, contrast

    window = open_window()
    ui, state = window.module_widget.ui, window.module_widget.state
    state.say("A report is written.", Tone.SUCCESS)
    application = qt.QApplication.instance()
    before, light = qt.QPalette(application.palette()), ui.messageLabel.styleSheet
    dark = qt.QPalette(qt.QColor("#353535"))
    try:
        application.setPalette(dark)
        assert window.wait_until(lambda: ui.messageLabel.styleSheet != light, 10)
        colour = ui.messageLabel.styleSheet.split(":")[1].split(";")[0].strip()
        assert contrast(colour, "#353535") >= 4.5
    finally:
        application.setPalette(before)
    assert window.wait_until(lambda: ui.messageLabel.styleSheet == light, 10)
