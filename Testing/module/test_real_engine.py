"""The whole way with the bundled model: simulated volume, click, 22 landmarks, drag, table follows."""

from __future__ import annotations

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
    state, ui = window.module_widget.state, window.module_widget.ui
    window.click(ui.estimateButton)
    assert window.wait_until(lambda: not state.running, 240.0)
    assert state.parameterNode.landmarks is not None, ui.messageLabel.text
    pose = state.pose()
    assert np.nanmean(np.linalg.norm(pose.positions - case.pose.positions, axis=1)) < 6.0
    before = pose.positions[0]
    text = ui.resultsTable.item(0, 1).text()
    window.views["Red"].view.logic.SetSliceOffset(before[2])
    slicer.app.processEvents()
    released = window.drag("Red", before, (40, 30))
    after = state.pose().positions[0]
    np.testing.assert_allclose(after, released, atol=0.7)
    assert ui.resultsTable.item(0, 1).text() != text
    window.click(ui.refineButton)
    assert window.wait_until(lambda: not state.running, 240.0)
    refined = state.pose()
    assert "moved" in ui.messageLabel.text or "No landmark had to move" in ui.messageLabel.text
    np.testing.assert_array_equal(refined.positions[0], after)
    assert np.nanmax(np.linalg.norm(refined.positions - pose.positions, axis=1)[1:]) > 0.1
