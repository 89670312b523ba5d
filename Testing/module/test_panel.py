"""The module's panel on the mini-Slicer: real clicks, real drags in real views, real MRML nodes."""

from __future__ import annotations

import numpy as np
import pytest

from FetusMapV2Lib.core.errors import Cancelled, UserError

CRL_ROW, VALUE = 0, 1


def crl_text(window) -> str:
    return window.module_widget.ui.resultsTable.item(CRL_ROW, VALUE).text()


def position(landmarks, row: int) -> list[float]:
    point = [0.0, 0.0, 0.0]
    landmarks.GetNthControlPointPositionWorld(row, point)
    return point


def press_estimate(window):
    """What a click on Estimate calls, also while the button is disabled."""
    from FetusMapV2Panel.sections.estimate import EstimateSection

    (section,) = (one for one in window.module_widget.sections if isinstance(one, EstimateSection))
    section.onEstimate()


def estimate(window):
    window.click(window.module_widget.ui.estimateButton)
    return window.module_widget.state.parameterNode.landmarks


def test_button_waits_for_a_volume(open_window, scene):
    from FetusMapV2Panel import selftest

    window = open_window()
    ui = window.module_widget.ui
    assert not ui.estimateButton.enabled
    node = selftest.addVolume(scene)
    ui.inputSelector.setCurrentNode(node)
    assert ui.estimateButton.enabled
    assert window.module_widget.state.parameterNode.inputVolume is node


def test_estimate_shows_landmarks_measurements_and_the_research_line(open_window, volume):
    window = open_window()
    landmarks = estimate(window)
    ui = window.module_widget.ui
    assert landmarks.GetNumberOfControlPoints() == 22
    assert ui.landmarksSelector.currentNode() is landmarks
    texts = [ui.resultsTable.item(row, 0).text() for row in range(ui.resultsTable.rowCount)]
    assert texts[0] == "Crown-rump length"
    assert sum("Age" in text for text in texts) == 4
    assert sum("femur" in text or "humerus" in text for text in texts) == 4
    expected = np.linalg.norm(np.subtract(position(landmarks, 0), position(landmarks, 9)))
    assert crl_text(window).startswith(f"{expected:.1f} ±")
    assert crl_text(window).endswith("mm")
    assert ui.researchLabel.visible
    assert "Research use only" in ui.researchLabel.text
    assert "stand-in" in ui.detailsLabel.text
    assert "chosen by the self-test" in ui.detailsLabel.text
    assert not ui.progressBar.visible


def test_dragging_a_landmark_in_the_red_view_moves_node_and_table(open_window, volume):
    import slicer

    window = open_window()
    landmarks = estimate(window)
    before, text = position(landmarks, 0), crl_text(window)
    window.views["Red"].view.node.JumpSlice(*before)
    slicer.app.processEvents()
    released = window.drag("Red", before, (60, -30))
    after = position(landmarks, 0)
    assert np.linalg.norm(np.subtract(after, before)) > 5
    np.testing.assert_allclose(after, released, atol=0.5)
    assert crl_text(window) != text
    crl = np.linalg.norm(np.subtract(after, position(landmarks, 9)))
    assert crl_text(window).startswith(f"{crl:.1f} ±")


def test_undo_and_redo_of_edit_and_estimate(open_window, volume, scene):
    import slicer

    window = open_window()
    nodes = scene.GetNumberOfNodes()
    estimate(window)
    original = crl_text(window)
    estimate(window)  # into the same nodes, and the state before it is kept
    window.module_widget.state.parameterNode.landmarks.SetNthControlPointPosition(0, 5.0, 5.0, 45.0)
    assert crl_text(window) != original
    while scene.GetNumberOfUndoLevels():
        scene.Undo()
    slicer.app.processEvents()
    assert scene.GetNumberOfNodes() == nodes + 1  # the edit log, which undo only adds to
    assert window.module_widget.ui.resultsTable.rowCount == 0
    scene.Redo()
    slicer.app.processEvents()
    assert crl_text(window) == original


def test_saved_scene_comes_back_live(open_window, volume, scene, tmp_path):
    import slicer

    window = open_window()
    estimate(window)
    text = crl_text(window)
    assert slicer.util.saveScene(str(tmp_path / "Fall ü 1.mrb"))
    scene.Clear(0)
    slicer.app.processEvents()
    assert window.module_widget.ui.resultsTable.rowCount == 0
    slicer.util.loadScene(str(tmp_path / "Fall ü 1.mrb"))
    slicer.app.processEvents()
    assert crl_text(window) == text
    assert "stand-in" in window.module_widget.ui.detailsLabel.text
    landmarks = window.module_widget.state.parameterNode.landmarks
    landmarks.SetNthControlPointPosition(0, 5.0, 5.0, 45.0)
    assert crl_text(window) != text


def test_second_estimate_reuses_nodes_of_the_same_volume_only(open_window, volume, scene):
    from FetusMapV2Panel import selftest

    window = open_window()
    first = estimate(window)
    nodes = scene.GetNumberOfNodes()
    assert estimate(window) is first
    assert scene.GetNumberOfNodes() == nodes
    other = selftest.addVolume(scene)
    window.module_widget.ui.inputSelector.setCurrentNode(other)
    second = estimate(window)
    assert second is not first
    assert first.GetScene() is scene


def test_choosing_landmarks_shows_their_measurements(open_window, volume, scene):
    window = open_window()
    first = estimate(window)
    ui = window.module_widget.ui
    ui.landmarksSelector.setCurrentNode(None)
    assert ui.resultsTable.rowCount == 0
    ui.landmarksSelector.setCurrentNode(first)
    assert ui.resultsTable.rowCount == 12


def test_foreign_point_list_is_refused_in_words(open_window, volume, scene):
    window = open_window()
    foreign = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "my points")
    window.module_widget.ui.landmarksSelector.setCurrentNode(foreign)
    assert "my points" in window.module_widget.ui.messageLabel.text
    assert window.module_widget.ui.resultsTable.rowCount == 0


def test_parent_transform_of_the_volume_moves_the_landmarks(open_window, volume, scene):
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    window = open_window()
    landmarks = estimate(window)
    before = position(landmarks, 3)
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 25.0)
    transform.SetMatrixTransformToParent(matrix)
    np.testing.assert_allclose(np.subtract(position(landmarks, 3), before), [25, 0, 0], atol=1e-6)


def failing(settings, error):
    """An engine that ends every estimate with one exception."""

    def fail():
        raise error

    return during(settings, fail)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            UserError("there is no such CUDA GPU", where="cuda", remedy="Use CPU"),
            "cuda: there is no such CUDA GPU. Use CPU.",
        ),
        (ZeroDivisionError("division by zero"), "Something went wrong: division by zero"),
        (Cancelled("stop"), "Cancelled"),
    ],
)
def test_failures_are_said_in_the_panel_and_leave_the_scene_alone(open_window, volume, scene, error, said):
    window = open_window(lambda settings: failing(settings, error))
    nodes = scene.GetNumberOfNodes()
    estimate(window)
    ui = window.module_widget.ui
    assert said in ui.messageLabel.text
    assert "Traceback" not in ui.messageLabel.text
    assert ui.messageLabel.visible
    assert ui.estimateButton.enabled
    assert scene.GetNumberOfNodes() == nodes


def test_no_fetus_is_an_answer(open_window, volume, scene):
    from FetusMapV2Panel import selftest

    window = open_window(lambda settings: selftest.EngineStandIn(settings, found=False))
    nodes = scene.GetNumberOfNodes()
    assert estimate(window) is None
    assert window.module_widget.ui.messageLabel.text == "No fetus found."
    assert scene.GetNumberOfNodes() == nodes


def test_what_was_seen_without_a_fetus_is_shown_as_doubtful_on_request(open_window, volume, scene):
    from FetusMapV2Panel import selftest

    window = open_window(lambda settings: selftest.EngineStandIn(settings, found=False))
    ui, state = window.module_widget.ui, window.module_widget.state
    assert not ui.seenButton.visible
    estimate(window)
    assert ui.seenButton.visible
    window.click(ui.seenButton)
    assert not ui.seenButton.visible
    assert state.poseScene.pose().doubtful.all()
    assert ui.summaryLabel.text.startswith("22 doubtful")
    assert ui.patientLabel.text == "Doubtful pose. Shown on request. No fetus found."
    assert "doubtful: Shown on request. No fetus found." in ui.detailsLabel.text
    another = selftest.addVolume(scene)
    ui.inputSelector.setCurrentNode(another)
    assert not ui.seenButton.visible and "Doubtful" not in ui.patientLabel.text


def test_the_note_of_a_doubtful_pose_goes_when_all_landmarks_are_confirmed(open_window, volume):
    from FetusMapV2Panel import selftest

    from FetusMapV2Lib.scene.editing import LandmarkEditor

    window = open_window(lambda settings: selftest.EngineStandIn(settings, found=False))
    ui, state = window.module_widget.ui, window.module_widget.state
    estimate(window)
    window.click(ui.seenButton)
    LandmarkEditor(state.poseScene).confirm(range(22))
    assert not ui.patientLabel.visible
    assert ui.summaryLabel.text.startswith("0 doubtful")


def during(settings, action):
    """An engine that does something in the middle of an estimate, then goes on as long as it may."""
    from FetusMapV2Panel import selftest

    from FetusMapV2Lib.core.progress import Stages

    class Engine(selftest.EngineStandIn):
        def estimate(self, volume, *, on_progress=None, should_cancel=None, **options):
            stages = Stages(on_progress, should_cancel)
            stages.reach(0.3, "searching the whole volume")
            action()
            stages.reach(0.6, "close view")
            return super().estimate(volume, **options)

    return Engine(settings)


def test_cancel_button_ends_the_estimate(open_window, volume, scene):
    seen = {}

    def press_cancel():
        ui = window.module_widget.ui
        seen.update(visible=ui.cancelButton.visible, stage=ui.stageLabel.text, bar=ui.progressBar.value)
        window.click(ui.cancelButton)

    window = open_window(lambda settings: during(settings, press_cancel))
    nodes = scene.GetNumberOfNodes()
    assert estimate(window) is None
    assert seen == {"visible": True, "stage": "searching the whole volume", "bar": 30}
    assert "Cancelled" in window.module_widget.ui.messageLabel.text
    assert scene.GetNumberOfNodes() == nodes


def test_second_click_while_running_does_nothing(open_window, volume, scene):
    calls = []

    def click_again():
        calls.append(1)
        press_estimate(window)

    window = open_window(lambda settings: during(settings, click_again))
    estimate(window)
    assert calls == [1]
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 4, "points, names, two of handles"


def test_volume_removed_or_scene_closed_while_running(open_window, volume, scene):
    window = open_window(lambda settings: during(settings, lambda: scene.RemoveNode(volume)))
    estimate(window)
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 0
    from FetusMapV2Panel import selftest

    closing = open_window(lambda settings: during(settings, lambda: scene.Clear(0)))
    closing.module_widget.ui.inputSelector.setCurrentNode(selftest.addVolume(scene))
    estimate(closing)
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 0
    assert not closing.module_widget.state.running


def test_unloading_while_running_is_quiet(open_window, volume):
    window = open_window(lambda settings: during(settings, window.unload))
    widget = window.module_widget
    press_estimate(window)
    assert widget.state.closed


def test_volume_without_an_image_is_refused_in_words(open_window, scene):
    window = open_window()
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "leer")
    window.module_widget.ui.inputSelector.setCurrentNode(empty)
    estimate(window)
    assert "leer: the volume holds no image" in window.module_widget.ui.messageLabel.text


def test_device_choice_reaches_the_engine_and_the_scene(open_window, volume):
    from FetusMapV2Panel import selftest

    asked = []

    def loader(settings):
        asked.append(settings.device)
        return selftest.EngineStandIn(settings)

    window = open_window(loader)
    combo = window.module_widget.ui.deviceComboBox
    assert [combo.itemText(index) for index in range(combo.count)] == ["Automatic", "GPU (CUDA)", "Processor (CPU)"]
    combo.setCurrentIndex(2)
    estimate(window)
    estimate(window)
    assert asked.count("cpu") == 1  # loaded once, warm afterwards; the line about resources may have asked before
    assert window.module_widget.state.parameterNode.parameterNode.GetParameter("device") == "CPU"


def test_one_pose_at_a_time_is_in_the_views(open_window, volume, scene, tmp_path):
    import slicer
    from FetusMapV2Panel import selftest

    window = open_window()
    ui = window.module_widget.ui
    first = estimate(window)
    before = [node.GetDisplayNode().GetVisibility() for node in window.module_widget.state.poseScene.all_nodes]
    ui.inputSelector.setCurrentNode(selftest.addVolume(scene))
    ui.landmarksSelector.setCurrentNode(None)
    second = estimate(window)
    logic = window.module_widget.logic

    def shown(landmarks):
        return [node.GetDisplayNode().GetVisibility() for node in logic.poseSceneOf(landmarks).all_nodes]

    assert not any(shown(first)) and shown(second) == before
    ui.landmarksSelector.setCurrentNode(first)
    assert shown(first) == before and not any(shown(second))
    second.GetDisplayNode().SetVisibility(True)  # the user wants both, and is not contradicted until another choice
    ui.landmarksSelector.setCurrentNode(second)
    first.GetDisplayNode().RemoveAttribute("FetusMapV2.Hidden")  # as if the user had hidden it
    ui.landmarksSelector.setCurrentNode(first)
    assert not first.GetDisplayNode().GetVisibility()
    path = tmp_path / "two.mrb"
    names = first.GetName(), second.GetName()
    assert slicer.util.saveScene(str(path))
    scene.Clear(0)
    slicer.util.loadScene(str(path))
    slicer.app.processEvents()
    ui.landmarksSelector.setCurrentNode(scene.GetFirstNodeByName(names[1]))
    assert shown(scene.GetFirstNodeByName(names[1])) == before
