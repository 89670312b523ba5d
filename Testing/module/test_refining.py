"""Refining a pose around the landmarks that were set by hand, in the panel and from a script."""

from __future__ import annotations

import numpy as np
import pytest
from module.landmarks_panel import CHIN, CREST, ELBOW, WRIST, Panel

from FetusMapV2Lib.core.progress import Stages


def test_refining_moves_the_others_and_is_one_step(panel):
    assert not panel.ui.refineButton.enabled
    panel.drag(CREST)
    panel.choose(ELBOW)
    panel.press("C")
    before = panel.fetus.pose().positions
    panel.window.click(panel.ui.refineButton)
    after = panel.fetus.pose().positions
    np.testing.assert_array_equal(after[[CREST, ELBOW]], before[[CREST, ELBOW]])
    others = [row for row in range(22) if row not in (CREST, ELBOW)]
    np.testing.assert_allclose(after[others], before[others] - [0, 0, 3], atol=1e-9)
    assert panel.ui.messageLabel.text == "20 landmarks moved by up to 3.0 mm."
    assert panel.text(CHIN) == "estimated, refined, doubtful"
    panel.press("Z")
    np.testing.assert_array_equal(panel.fetus.pose().positions, before)
    panel.press("Y")
    np.testing.assert_array_equal(panel.fetus.pose().positions, after)
    panel.choose(CHIN)
    panel.press("E")
    np.testing.assert_allclose(panel.position(CHIN), before[CHIN], atol=1e-6)


def refining_engine(during):
    """A stand-in that does something in the middle of refining."""
    from FetusMapV2Panel import selftest

    class Engine(selftest.EngineStandIn):
        def refine(self, volume, estimate, pinned, *, mode="prior", on_progress=None, should_cancel=None):
            stages = Stages(on_progress, should_cancel)
            stages.reach(0.95, "refining")
            during()
            stages.reach(0.97, "refining 2/8")
            return super().refine(volume, estimate, pinned)

    return Engine


def test_refining_shows_its_progress_and_is_cancelled(open_window, volume):
    seen = {}

    def press_cancel():
        ui = panel.ui
        seen.update(visible=ui.cancelButton.visible, stage=ui.stageLabel.text, free=ui.confirmButton.enabled)
        panel.window.click(ui.cancelButton)

    panel = Panel(open_window(refining_engine(press_cancel))).estimate()
    panel.drag(CREST)
    before = panel.fetus.pose().positions
    panel.window.click(panel.ui.refineButton)
    assert seen == {"visible": True, "stage": "refining", "free": False}
    assert "Cancelled" in panel.ui.messageLabel.text
    np.testing.assert_array_equal(panel.fetus.pose().positions, before)
    panel.press("Z")
    assert panel.text(CREST) == "estimated"


def test_what_is_dragged_while_refining_stays_where_it_was_put(open_window, volume):
    put = []
    panel = Panel(open_window(refining_engine(lambda: put.append(panel.drag(WRIST))))).estimate()
    panel.drag(CREST)
    panel.window.click(panel.ui.refineButton)
    np.testing.assert_allclose(panel.position(WRIST), put[0], atol=0.5)
    assert panel.text(WRIST) == "edited"


@pytest.mark.parametrize("gone", ["pose", "scene"])
def test_a_pose_that_leaves_the_scene_while_it_is_refined(open_window, volume, scene, gone):
    def leave():
        if gone == "pose":
            scene.RemoveNode(panel.fetus.landmarks_node)
        else:
            scene.Clear(0)

    panel = Panel(open_window(refining_engine(leave))).estimate()
    panel.drag(CREST)
    panel.window.click(panel.ui.refineButton)
    assert panel.fetus is None
    assert "Cancelled" in panel.ui.messageLabel.text


def test_a_script_is_told_what_refinement_needs(scene, volume):
    from FetusMapV2Panel import selftest
    from FetusMapV2Panel.estimation import PoseEstimation

    from FetusMapV2Lib.core.errors import InputError
    from FetusMapV2Lib.scene.editing import LandmarkEditor

    logic = PoseEstimation(selftest.EngineStandIn)
    fetus = logic.process(volume).result().poseScene
    with pytest.raises(InputError, match="no landmark is set by hand"):
        logic.refine(fetus).result()
    LandmarkEditor(fetus).confirm([0])
    scene.RemoveNode(volume)
    with pytest.raises(InputError, match="volume of this pose"):
        logic.refine(fetus).result()
