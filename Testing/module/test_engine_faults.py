"""Nothing that happens to the engine's process reaches the scene: faults driven through the panel, real processes."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from module.test_panel import press_estimate
from remote.processes import SOON_S, Scripted, is_alive, posix, script


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Quick to load and to run; it finds nothing."""
    import torch
    from cli.synthetic_balls import model_of

    from FetusMapV2Lib.models.model_file import save_model
    from FetusMapV2Lib.network.unet import UNet3d

    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("Modell ß") / "small.safetensors"
    network = UNet3d(widths=(2, 3, 4))
    save_model(path, model_of(network, input_size=(32, 24, 24)).with_info(network=dict(network.config)))
    return path


def opened_with(open_window, model: Path):
    """The panel with an engine in a process of its own."""
    from FetusMapV2Panel.estimation import loadEngine

    window = open_window(loadEngine)
    window.module_widget.state.parameterNode.model = str(model)
    return window


@pytest.fixture
def window(open_window, volume, model):
    """The panel with a volume and the real engine."""
    return opened_with(open_window, model)


@pytest.fixture
def scripted(tmp_path, monkeypatch) -> Scripted:
    """An engine that does what the test wants, and starts quickly."""
    made = Scripted.make(tmp_path, "PythonSlicer")
    monkeypatch.setenv("PATH", f"{made.python.parent}{os.pathsep}{os.environ['PATH']}")
    return made


@pytest.fixture
def script_window(open_window, volume, scripted):
    """The panel with a volume and this engine."""
    return opened_with(open_window, scripted.model)


def pid(window) -> int | None:
    engines = window.module_widget.logic._engines.values()
    return next((engine.pid for engine in engines), None)


def start(window, stage: str = "") -> None:
    """Click Estimate pose, and wait until it has reached a stage."""
    window.click(window.module_widget.ui.estimateButton)
    state = window.module_widget.state
    assert window.wait_until(
        lambda: not state.running or (pid(window) is not None and state.stage.startswith(stage)), SOON_S
    )


def finish(window) -> str:
    """Wait for the end of the estimate; what the panel says then."""
    assert window.wait_until(lambda: not window.module_widget.state.running, SOON_S)
    assert window.module_widget.ui.estimateButton.enabled
    return window.module_widget.ui.messageLabel.text


# ---- before the click


def test_the_panel_says_where_it_will_run_without_being_asked_and_without_waiting(window, scene):
    import qt

    ui, ticks = window.module_widget.ui, []
    timer = qt.QTimer()
    timer.setInterval(10)
    timer.connect("timeout()", lambda: ticks.append(time.monotonic()))
    timer.start()
    assert window.wait_until(lambda: ui.resourceLabel.text.startswith("Runs on"), SOON_S)
    assert ui.resourceLabel.text.startswith("Runs on the processor (CPU): no CUDA GPU was found.")
    assert "known after the first estimate" in ui.resourceLabel.text
    assert "Memory: about 0.4 GiB." in ui.resourceLabel.text
    warm = pid(window)
    start(window)
    finish(window)
    assert len(ticks) > 20  # the event loop has never stood still for long
    assert pid(window) == warm
    assert "Takes about" in ui.resourceLabel.text
    assert "torch" not in ui.resourceLabel.text
    scene.Clear(0)
    assert not is_alive(warm)


# ---- cancelling and closing


@posix
@pytest.mark.parametrize("how", ["cancel", "scene", "unload"])
def test_the_process_ends_with_cancel_scene_and_module(script_window, scripted, scene, how, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    window, nodes = script_window, scene.GetNumberOfNodes()
    scripted.at("searching the whole volume", "wait")
    start(window, "searching")
    process, widget = pid(window), window.module_widget
    assert list((tmp_path / "temporary").iterdir()) != []
    if how == "cancel":
        window.click(widget.ui.cancelButton)
    elif how == "scene":
        scene.Clear(0)
    else:
        window.unload()
    assert window.wait_until(lambda: not is_alive(process) and (how == "unload" or not widget.state.running), SOON_S)
    assert list((tmp_path / "temporary").iterdir()) == []  # nor is anything left of the volume
    if how == "cancel":
        assert "Cancelled" in widget.ui.messageLabel.text
        assert scene.GetNumberOfNodes() == nodes
        assert widget.ui.estimateButton.enabled


@posix
def test_a_second_click_changes_nothing(script_window, scripted):
    window = script_window
    scripted.at("measuring", "wait")
    start(window, "measuring")
    process = pid(window)
    assert not window.module_widget.ui.estimateButton.enabled
    window.click(window.module_widget.ui.estimateButton)
    press_estimate(window)
    assert pid(window) == process
    window.click(window.module_widget.ui.cancelButton)
    finish(window)


# ---- a process that is lost


@posix
def test_a_killed_engine_is_replaced_and_the_estimate_repeated_with_less_memory(script_window, scripted):
    scripted.at("searching the whole volume", "kill")
    start(script_window)
    said = finish(script_window)
    assert "was killed, perhaps for lack of memory; the pose was estimated again on the CPU with a smaller" in said


@posix
def test_an_engine_that_is_always_killed_costs_one_sentence_and_no_edit(script_window, scripted, scene, volume):
    from FetusMapV2Panel import selftest

    from FetusMapV2Lib.anatomy.pose import Pose
    from FetusMapV2Lib.scene.pose_scene import PoseScene

    window = script_window
    live = PoseScene.create(scene, Pose(np.array(selftest.BODY, dtype=float)), volume_node=volume)
    window.module_widget.state.parameterNode.landmarks = live.landmarks_node
    live.landmarks_node.SetNthControlPointPositionWorld(0, 5.0, 5.0, 45.0)
    nodes, lengths = scene.GetNumberOfNodes(), window.module_widget.ui.resultsTable.item(0, 1).text()
    scripted.at("measuring", "kill", times=2)
    start(window)
    said = finish(window)
    assert said.startswith("the pose engine was killed")
    assert "Try again" in said
    assert "\n" not in said
    assert scene.GetNumberOfNodes() == nodes
    assert window.module_widget.ui.resultsTable.item(0, 1).text() == lengths
    shown = window.module_widget.state.poseScene
    assert shown.landmarks_node is live.landmarks_node
    np.testing.assert_allclose(shown.pose().positions[0], [5.0, 5.0, 45.0])


@posix
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import time; print('Segmentation fault :-)', flush=True); time.sleep(60)", "sent something unreadable"),
        ("import sys; sys.stderr.write('no driver'); sys.exit(3)", "ended with code 3 (no driver)"),
    ],
)
def test_garbage_on_the_pipe_is_one_sentence(script_window, scripted, scene, code, said):
    script(scripted.python.parent, code, scripted.python.name)
    window = script_window
    nodes = scene.GetNumberOfNodes()
    start(window)
    text = finish(window)
    assert said in text
    assert "\n" not in text
    assert scene.GetNumberOfNodes() == nodes
    assert pid(window) is None


# ---- what the engine refuses


def test_torch_that_cannot_be_loaded_is_one_sentence(window, tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    start(window)
    assert "the pose engine cannot start (libcudart.so is missing)" in finish(window)


def test_a_wrong_model_is_one_sentence_before_and_after_the_click(window, tmp_path):
    ui = window.module_widget.ui
    wrong = tmp_path / "Übung.safetensors"
    wrong.write_text("not a model")
    window.module_widget.state.parameterNode.model = str(wrong)
    assert window.wait_until(lambda: "Übung" in ui.resourceLabel.text, SOON_S)
    assert "\n" not in ui.resourceLabel.text
    start(window)
    said = finish(window)
    assert "Übung.safetensors" in said
    assert "Traceback" not in said


@posix
def test_a_full_disk_is_one_sentence_and_leaves_nothing(script_window, tmp_path, monkeypatch):
    import resource

    window = script_window
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # no file can grow beyond this
    try:
        start(window)
        said = finish(window)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "the volume cannot be handed to the pose engine" in said
    assert "Make room" in said
    assert list((tmp_path / "temporary").iterdir()) == []
