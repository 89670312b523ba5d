"""The whole way with the bundled model: simulated volume, click, 22 landmarks, drag, table follows."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest


@pytest.mark.slow
def test_estimate_with_the_bundled_model_and_correct_a_landmark(open_window, scene):
    import slicer
    from FetusMapV2Panel.estimation import loadEngine

    from FetusMapV2Lib.phantom.case import simulate_case
    from FetusMapV2Lib.scene.volumes import add_volume_node

    case = simulate_case(20261, 0, shape_kji=(140, 96, 96), spacing_mm=1.0)
    add_volume_node(scene, case.volume)
    window = open_window(loadEngine)
    ui = window.module_widget.ui
    window.click(ui.estimateButton)
    landmarks = window.module_widget.state.parameterNode.landmarks
    assert landmarks is not None, ui.messageLabel.text
    pose = window.module_widget.state.poseScene.pose()
    assert np.nanmean(np.linalg.norm(pose.positions - case.pose.positions, axis=1)) < 6.0
    before = pose.positions[0]
    text = ui.resultsTable.item(0, 1).text()
    window.views["Red"].view.logic.SetSliceOffset(before[2])
    slicer.app.processEvents()
    released = window.drag("Red", before, (40, 30))
    after = window.module_widget.state.poseScene.pose().positions[0]
    np.testing.assert_allclose(after, released, atol=0.7)
    assert ui.resultsTable.item(0, 1).text() != text
    window.click(ui.refineButton)
    refined = window.module_widget.state.poseScene.pose()
    assert "moved" in ui.messageLabel.text or "No landmark had to move" in ui.messageLabel.text
    np.testing.assert_array_equal(refined.positions[0], after)
    assert np.nanmax(np.linalg.norm(refined.positions - pose.positions, axis=1)[1:]) > 0.1


def test_cancel_is_heard_while_the_engine_works_and_leaves_the_scene_as_it_was(open_window, scene):
    import qt
    from FetusMapV2Panel.estimation import loadEngine

    from FetusMapV2Lib.phantom.case import simulate_case
    from FetusMapV2Lib.scene.volumes import add_volume_node

    add_volume_node(scene, simulate_case(20261, 0, shape_kji=(70, 48, 48), spacing_mm=2.0).volume)
    engines = []

    def load(device):
        engines.append(loadEngine(device))
        return engines[-1]

    window = open_window(load)
    ui, count = window.module_widget.ui, scene.GetNumberOfNodes()
    clicked = []

    def cancel() -> None:
        clicked.append(time.monotonic())
        window.click(ui.cancelButton)

    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(700)
    timer.connect("timeout()", cancel)
    timer.start()
    window.click(ui.estimateButton)
    assert clicked
    assert time.monotonic() - clicked[0] < 1.0
    assert "Cancelled" in ui.messageLabel.text
    assert engines[0].pid is None
    assert scene.GetNumberOfNodes() == count
    assert ui.estimateButton.enabled


def test_a_killed_engine_does_no_harm_to_slicer(open_window, scene):
    import qt
    from FetusMapV2Panel.estimation import loadEngine

    from FetusMapV2Lib.phantom.case import simulate_case
    from FetusMapV2Lib.scene.volumes import add_volume_node

    add_volume_node(scene, simulate_case(20261, 0, shape_kji=(70, 48, 48), spacing_mm=2.0).volume)
    engines = []

    def load(device):
        engines.append(loadEngine(device))
        return engines[-1]

    window = open_window(load)
    timer = qt.QTimer()
    timer.setInterval(200)
    timer.connect("timeout()", lambda: engines and engines[-1].pid and os.kill(engines[-1].pid, signal.SIGTERM))
    timer.start()
    window.click(window.module_widget.ui.estimateButton)
    timer.stop()
    message = window.module_widget.ui.messageLabel.text
    assert "pose engine" in message
    assert "Try again" in message
    assert window.module_widget.ui.estimateButton.enabled
