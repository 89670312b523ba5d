"""The options of an estimate: they reach the engine, live in the scene, are remembered and saved under names."""

from __future__ import annotations

import json

import numpy as np
import pytest
import vtk


@pytest.fixture
def noted(open_window, volume):
    """The panel with a stand-in engine that notes what it was loaded with and asked."""
    from FetusMapV2Panel import selftest

    asked = []

    class Engine(selftest.EngineStandIn):
        def __init__(self, settings):
            super().__init__(settings)
            asked.append(settings)

        def estimate(self, volume, **options):
            asked.append({"refine": options.get("refine"), "matrix": volume.ijk_to_ras, "warnings": volume.warnings})
            return super().estimate(volume, **options)

    window = open_window(Engine)
    window.asked = asked
    return window


def choose(combo, text: str) -> None:
    """What a user does: choose an entry."""
    index = combo.findText(text)
    assert index >= 0, text
    combo.setCurrentIndex(index)
    combo.activated.emit(index)


def test_budget_refinement_and_model_reach_the_engine_and_the_scene(noted):
    from FetusMapV2Panel.parameters import EngineSettings

    ui, state = noted.module_widget.ui, noted.module_widget.state
    assert ui.optionsCollapsibleButton.collapsed
    assert ui.memoryBudgetSpinBox.text == "No limit"
    ui.memoryBudgetSpinBox.setValue(1.5)
    ui.refineComboBox.setCurrentIndex(1)
    choose(ui.modelComboBox, "simulated-2")
    noted.click(ui.estimateButton)
    assert noted.asked[-2] == EngineSettings("auto", 3 * 2**29, "simulated-2")
    assert noted.asked[-1]["refine"] == "prior"
    node = state.parameterNode.parameterNode
    assert node.GetParameter("memoryBudget") == "1.5"
    assert node.GetParameter("refine") == "PRIOR"
    assert node.GetParameter("model") == "simulated-2"


def test_the_engine_is_loaded_again_only_for_what_it_is_loaded_with(noted):
    ui = noted.module_widget.ui

    def loads() -> int:
        return sum(not isinstance(one, dict) for one in noted.asked)

    noted.click(ui.estimateButton)
    before = loads()
    ui.refineComboBox.setCurrentIndex(1)
    ui.mirroredCheckBox.setChecked(True)
    noted.click(ui.estimateButton)
    assert loads() == before
    ui.memoryBudgetSpinBox.setValue(2.0)
    noted.click(ui.estimateButton)
    assert loads() == before + 1


def test_a_model_file_can_be_chosen(noted, tmp_path):
    ui, parameters = noted.module_widget.ui, noted.module_widget.state.parameterNode
    assert not ui.modelPathLineEdit.enabled
    choose(ui.modelComboBox, "A file …")
    assert ui.modelPathLineEdit.enabled
    assert parameters.model == ""
    ui.modelPathLineEdit.currentPath = str(tmp_path / "Übung 1.safetensors")
    assert parameters.model == str(tmp_path / "Übung 1.safetensors")
    choose(ui.modelComboBox, "Default")
    assert parameters.model == ""
    parameters.model = "/elsewhere/b.safetensors"  # as from a loaded scene
    assert ui.modelComboBox.currentText == "A file …"
    assert ui.modelPathLineEdit.currentPath == "/elsewhere/b.safetensors"
    parameters.model = "simulated-2"
    assert ui.modelComboBox.currentText == "simulated-2"


def test_options_are_locked_while_it_works(open_window, volume):
    from FetusMapV2Panel import selftest

    seen = []

    class Engine(selftest.EngineStandIn):
        def estimate(self, volume, **options):
            ui = window.module_widget.ui
            seen.append([ui.deviceComboBox.enabled, ui.inputSelector.enabled, ui.saveSettingsButton.enabled])
            return super().estimate(volume, **options)

    window = open_window(Engine)
    window.click(window.module_widget.ui.estimateButton)
    assert seen == [[False, False, False]]
    assert window.module_widget.ui.deviceComboBox.enabled


# ---- mirrored volumes


def test_a_mirrored_volume_is_put_right_at_the_estimate(noted, volume, scene):
    from FetusMapV2Lib.imaging.volume_checks import LEFT_HANDED
    from FetusMapV2Lib.scene.volume_nodes import volume_from_node

    ui, nodes = noted.module_widget.ui, scene.GetNumberOfNodes()
    before = volume_from_node(volume)
    ui.mirroredCheckBox.setChecked(True)
    assert scene.GetNumberOfNodes() == nodes  # nothing happens before the estimate
    noted.click(ui.estimateButton)
    np.testing.assert_allclose(noted.asked[-1]["matrix"], before.mirrored().ijk_to_ras, atol=1e-9)
    np.testing.assert_allclose(volume_from_node(volume).ijk_to_ras, before.mirrored().ijk_to_ras, atol=1e-9)
    assert LEFT_HANDED not in noted.asked[-1]["warnings"]  # the user has said so
    landmarks = noted.module_widget.state.parameterNode.landmarks
    assert landmarks.GetParentTransformNode() is volume.GetParentTransformNode()
    noted.click(ui.estimateButton)  # it is right already
    np.testing.assert_allclose(noted.asked[-1]["matrix"], before.mirrored().ijk_to_ras, atol=1e-9)
    ui.mirroredCheckBox.setChecked(False)
    noted.click(ui.estimateButton)
    np.testing.assert_allclose(noted.asked[-1]["matrix"], before.ijk_to_ras, atol=1e-9)
    np.testing.assert_allclose(volume_from_node(volume).ijk_to_ras, before.ijk_to_ras, atol=1e-9)
    assert LEFT_HANDED not in noted.asked[-1]["warnings"]
    direction = vtk.vtkMatrix4x4()
    volume.GetIJKToRASDirectionMatrix(direction)
    for row in range(3):
        direction.SetElement(row, 0, -direction.GetElement(row, 0))
    volume.SetIJKToRASDirectionMatrix(direction)
    noted.click(ui.estimateButton)
    assert LEFT_HANDED in noted.asked[-1]["warnings"]


def test_undo_and_redo_keep_landmarks_on_a_volume_that_was_put_right(noted, volume, scene):
    from FetusMapV2Panel import selftest

    body = np.array(selftest.BODY, dtype=float)
    box = [0.0] * 6
    volume.GetRASBounds(box)
    mirrored_body = body * [-1, 1, 1] + [box[0] + box[1], 0, 0]

    def positions():
        return noted.module_widget.state.pose().positions

    noted.click(noted.module_widget.ui.estimateButton)
    noted.module_widget.ui.mirroredCheckBox.setChecked(True)
    noted.click(noted.module_widget.ui.estimateButton)
    np.testing.assert_allclose(positions(), body, atol=1e-6)
    scene.Undo()  # the first estimate, where it lies on the volume
    np.testing.assert_allclose(positions(), mirrored_body, atol=1e-6)
    scene.Undo()
    assert noted.module_widget.state.poseScene is None
    scene.Redo()
    np.testing.assert_allclose(positions(), mirrored_body, atol=1e-6)
    scene.Redo()
    np.testing.assert_allclose(positions(), body, atol=1e-6)


# ---- remembered, and saved under names


def test_settings_of_the_last_estimate_are_those_of_the_next_scene(noted, scene):
    import slicer

    ui = noted.module_widget.ui
    ui.deviceComboBox.setCurrentIndex(2)
    ui.memoryBudgetSpinBox.setValue(3.0)
    noted.click(ui.estimateButton)
    ui.memoryBudgetSpinBox.setValue(9.0)  # never used
    scene.Clear(0)
    slicer.app.processEvents()
    assert ui.deviceComboBox.currentIndex == 2
    assert ui.memoryBudgetSpinBox.value == 3.0


def test_a_loaded_scene_keeps_its_own_settings(noted, scene, tmp_path):
    import slicer

    ui = noted.module_widget.ui
    ui.memoryBudgetSpinBox.setValue(7.0)
    assert slicer.util.saveScene(str(tmp_path / "a.mrb"))
    ui.memoryBudgetSpinBox.setValue(3.0)
    noted.click(ui.estimateButton)
    scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "a.mrb"))
    slicer.app.processEvents()
    assert ui.memoryBudgetSpinBox.value == 7.0


def test_several_setups_under_names(noted):
    ui = noted.module_widget.ui
    assert not ui.saveSettingsButton.enabled
    for name, gib in (("GPU / Station 2", 4.0), ("Laptop ü", 1.0)):
        ui.memoryBudgetSpinBox.setValue(gib)
        ui.savedSettingsComboBox.setEditText(name)
        noted.click(ui.saveSettingsButton)
    choose(ui.savedSettingsComboBox, "GPU / Station 2")
    assert ui.memoryBudgetSpinBox.value == 4.0
    choose(ui.savedSettingsComboBox, "Laptop ü")
    assert ui.memoryBudgetSpinBox.value == 1.0
    noted.click(ui.removeSettingsButton)
    assert [ui.savedSettingsComboBox.itemText(index) for index in range(ui.savedSettingsComboBox.count)] == [
        "GPU / Station 2"
    ]
    assert not ui.removeSettingsButton.enabled
    assert ui.memoryBudgetSpinBox.value == 1.0  # the settings themselves stay


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", json.dumps({"device": "abacus"}), json.dumps({"memoryBudget": "much"})]
)
def test_settings_of_another_version_are_no_obstacle(application, scene, text):
    import slicer
    from FetusMapV2Panel import durations, saved_settings
    from FetusMapV2Panel.parameters import Settings

    for key in ("LastSettings", "Setups", "Durations"):
        slicer.app.userSettings().setValue(f"FetusMapV2/{key}", text)
    assert saved_settings.lastUsed() == Settings()
    assert saved_settings.load("a") is None
    durations.record("cpu", 3.0)
    assert durations.usualSeconds("cpu") == 3.0
    saved_settings.save("a", Settings(memoryBudget=2.0))
    assert saved_settings.load("a") == Settings(memoryBudget=2.0)


# ---- how long


def test_durations_are_the_median_of_the_last(application, scene):
    from FetusMapV2Panel import durations

    assert durations.usualSeconds("a") is None
    for seconds in (100.0, 1.0, 2.0, 9.0, 3.0, 4.0):
        durations.record("a", seconds)
    assert durations.usualSeconds("a") == 3.0
    for number in range(40):  # other computers' GPUs are forgotten in the end
        durations.record(str(number), 1.0)
    assert durations.usualSeconds("a") is None
    assert durations.usualSeconds("39") == 1.0


def test_the_strip_tells_stage_and_remaining_time(open_window, volume):
    from FetusMapV2Panel import durations, selftest

    seen = []

    class Engine(selftest.EngineStandIn):
        def resource_estimate(self, voxels, refine="off"):
            from FetusMapV2Lib.estimation.resource_estimate import ResourceEstimate

            return ResourceEstimate("cuda:0 (NVIDIA T4)", "a CUDA GPU is available", "stand-in", 2**30, 16 * 2**30, "")

        def estimate(self, volume, *, on_progress, **options):
            on_progress(0.4, "close view")
            seen.append((window.module_widget.ui.stageLabel.text, window.module_widget.ui.progressBar.value))
            return super().estimate(volume, on_progress=on_progress)

    durations.record("cuda:0 (NVIDIA T4) | stand-in | off | 0", 200.0)
    window = open_window(Engine)
    ui = window.module_widget.ui
    assert window.wait_until(lambda: "NVIDIA" in ui.resourceLabel.text)
    assert ui.resourceLabel.text == (
        "Runs on cuda:0 (NVIDIA T4): a CUDA GPU is available. Takes about 3 min. Memory: about 1.0 of 16.0 GiB."
    )
    window.click(ui.estimateButton)
    assert seen == [("close view, about 3 min left", 40)]


def test_a_file_that_is_no_model_is_not_estimated_with_another_one(open_window, volume):
    window = open_window()
    ui, state = window.module_widget.ui, window.module_widget.state
    ui.modelComboBox.setCurrentIndex(ui.modelComboBox.count - 1)
    ui.modelComboBox.activated.emit(ui.modelComboBox.count - 1)
    for path, said in (("", "No model file is chosen"), ("/models/notes.txt", "this is no model file")):
        ui.modelPathLineEdit.currentPath = path
        window.click(ui.estimateButton)
        assert said in ui.messageLabel.text and state.isError
        assert state.poseScene is None
