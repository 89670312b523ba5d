"""The engine in another process: the same answers, and nothing that happens to that process reaches the caller."""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.synthetic_balls import ball_volume, layout, model_of
from remote.processes import Scripted, is_alive, posix, script, wait_until

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.errors import Cancelled, OutputError, UserError
from FetusMapV2Lib.core.process_identity import ProcessIdentity
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.requests import EstimateRequest, InstallRequest, RefineRequest, ResourceRequest
from FetusMapV2Lib.estimation.resource_estimate import BYTES_PER_VOXEL
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.models.model_file import load_model, save_model
from FetusMapV2Lib.models.model_index import absolute_model, list_models, user_index
from FetusMapV2Lib.network.unet import UNet3d
from FetusMapV2Lib.remote.client import RemoteEngine
from FetusMapV2Lib.remote.engine_process import EngineLostError

WARM_UP = ResourceRequest(1)
GREY = EstimateRequest(Volume(np.zeros((4, 5, 6), np.uint8), np.eye(4)))


@pytest.fixture(scope="module")
def volume() -> Volume:
    return ball_volume()[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Quick to load and to run; it finds nothing, but its library knows how a body looks."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("Modell ß") / "small.safetensors"
    network = UNet3d(widths=(2, 3, 4))
    poses = layout() + np.random.default_rng(2).normal(0, 1.0, (20, 22, 3))
    small = replace(model_of(network, input_size=(32, 24, 24)), poses=poses)
    save_model(path, small.with_info(network=dict(network.config)))
    return path


@pytest.fixture(scope="module")
def here(model) -> PoseEngine:
    """The same engine in this process."""
    return PoseEngine.load(model, "cpu")


@pytest.fixture(scope="module")
def engine(model, tmp_path_factory) -> Iterator[RemoteEngine]:
    """One warm process for the tests that leave it whole; its user has no models yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FETUSMAPV2_DATA", str(tmp_path_factory.mktemp("data")))
        with RemoteEngine(model, "cpu") as remote:
            remote.submit(WARM_UP).result()
            yield remote


@pytest.fixture
def scripted(tmp_path) -> Scripted:
    return Scripted.make(tmp_path)


@pytest.fixture
def script_engine(scripted) -> Iterator[RemoteEngine]:
    """An engine that does what the test wants, and starts quickly."""
    with RemoteEngine(scripted.model, "cpu", python=scripted.python) as remote:
        yield remote


@pytest.fixture
def edited() -> Estimate:
    """A body in the volume whose crest was put 6 mm higher by hand."""
    positions = ball_volume()[1].copy()
    positions[0] += [0.0, 0.0, 6.0]
    return Estimate.given(Pose(positions, np.full(22, 0.5), np.full(22, 6.0)))


# ---- the same engine


def test_the_answer_is_that_of_the_engine_here(engine, here, volume):
    expected = here.estimate(volume)
    seen: list[tuple[float, str]] = []
    there = engine.submit(EstimateRequest(volume), lambda *progress: seen.append(progress)).result()
    assert there.detection_score == pytest.approx(expected.detection_score, rel=1e-3)
    assert (there.found, there.reason) == (expected.found, expected.reason)
    assert there.model == expected.model
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len({stage for _, stage in seen}) >= 3


@pytest.mark.parametrize("mode", ["prior", "full"])
def test_refining_around_landmarks_set_by_hand_is_that_of_the_engine_here(engine, here, volume, edited, mode):
    expected = here.refine(volume, edited, [1, 10], mode=mode)
    seen: list[str] = []
    request = RefineRequest(volume, edited, (10, 1), mode)
    there = engine.submit(request, lambda _, stage: seen.append(stage)).result()
    np.testing.assert_allclose(there.pose.positions, expected.pose.positions, atol=1e-3)
    np.testing.assert_array_equal(there.pose.positions[[0, 9]], edited.pose.positions[[0, 9]])
    assert np.abs(there.pose.positions - edited.pose.positions).max() > 0.1
    assert there.refinement.pinned == (1, 10)
    assert there.warnings == expected.warnings
    assert any(stage.startswith("refining") for stage in seen)


def test_it_stays_warm_and_survives_a_users_mistake(engine, volume, edited):
    pid = engine.pid
    with pytest.raises(UserError, match="no landmark 23"):
        engine.submit(RefineRequest(volume, edited, (23,))).result()
    other = RemoteEngine(device="abacus")
    other._process = engine._process
    with pytest.raises(UserError, match="unknown device"):
        other.submit(EstimateRequest(volume)).result()
    assert engine.submit(EstimateRequest(volume)).result().model
    assert engine.pid == pid


@pytest.mark.parametrize("request_type", [EstimateRequest, ResourceRequest])
def test_an_unknown_refinement_is_refused_at_once(request_type):
    with pytest.raises(UserError, match="unknown refinement"):
        request_type(1, refine="twice")


def test_an_unknown_model_is_one_sentence(engine, volume):
    other = RemoteEngine("no-such-model", "cpu")
    other._process = engine._process
    with pytest.raises(UserError, match="no-such-model") as refusal:
        other.submit(EstimateRequest(volume)).result()
    assert "\n" not in str(refusal.value)


def test_nothing_is_left_of_a_volume(engine, volume, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    engine.submit(EstimateRequest(volume)).result()
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_checked_and_installed_by_the_other_process(engine, model, tmp_path):
    engine.submit(InstallRequest(str(model), "site-1")).result()
    (entry,) = list_models(user_index())
    installed = load_model(entry.path)
    assert entry.name == installed.info.name == "site-1"
    assert installed.checksum == load_model(model).checksum
    (tmp_path / "broken.safetensors").write_text("not a model")
    with pytest.raises(UserError, match="broken"):
        engine.submit(InstallRequest(str(tmp_path / "broken.safetensors"), "site-2")).result()
    assert [one.name for one in list_models(user_index())] == ["site-1"]


# ---- the resources of an estimate


def test_resources_tell_device_reason_and_memory(engine, here):
    seen = engine.submit(ResourceRequest(10**6)).result()
    assert seen == here.resource_estimate(10**6)
    assert (seen.device, seen.device_reason, seen.device_bytes) == ("cpu", "chosen by the user", None)
    assert seen.model == here.model.identity
    larger = engine.submit(ResourceRequest(10**8)).result()
    assert larger.memory_bytes == seen.memory_bytes + BYTES_PER_VOXEL * (10**8 - 10**6)
    assert engine.submit(ResourceRequest(10**6, "full")).result().memory_bytes > seen.memory_bytes


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak where Linux tells it")
def test_the_expected_memory_is_about_right(engine, volume):
    expected = engine.submit(ResourceRequest(volume.array.size)).result().memory_bytes
    Path(f"/proc/{engine.pid}/clear_refs").write_text("5")  # resets the peak
    engine.submit(EstimateRequest(volume)).result()
    status = Path(f"/proc/{engine.pid}/status").read_text()
    peak = 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
    assert 0.7 * peak < expected < 1.4 * peak


@posix
def test_resources_that_nobody_waits_for_leave_the_engine_warm(script_engine):
    script_engine.submit(WARM_UP).result()
    pid = script_engine.pid
    job = script_engine.submit(ResourceRequest(10**6))
    job.step()
    job.cancel()
    assert script_engine.submit(GREY).result().model == "script"
    assert script_engine.pid == pid


# ---- cancelling and ending


@posix
def test_an_estimate_that_is_left_ends_its_process(script_engine, scripted):
    scripted.at("measuring", "wait")
    stages: list[str] = []
    job = script_engine.submit(GREY, lambda _, stage: stages.append(stage))
    assert wait_until(lambda: not job.step() and stages[-1] == "measuring")
    pid = script_engine.pid
    assert is_alive(pid)
    job.cancel()
    assert script_engine.pid is None
    assert wait_until(lambda: not is_alive(pid))


@posix
@pytest.mark.parametrize("stage", ["searching the whole volume", "refining"])
def test_cancelling_ends_the_process_in_the_midst_of_a_stage(script_engine, scripted, edited, stage):
    scripted.at(stage, "wait")
    request = RefineRequest(GREY.volume, edited, (1,)) if stage == "refining" else GREY
    stages, pids = [""], []

    def should_cancel() -> bool:
        if stages[-1] == stage:
            pids.append(script_engine.pid)
        return bool(pids)

    with pytest.raises(Cancelled):
        script_engine.submit(request, lambda _, reached: stages.append(reached), should_cancel).result()
    assert script_engine.pid is None
    assert wait_until(lambda: not is_alive(pids[0]))
    assert script_engine.submit(GREY).result().model == "script"  # it starts again by itself
    script_engine.close()
    assert script_engine.pid is None


@posix
def test_a_launcher_leaves_nothing_behind(tmp_path, scripted):
    """Slicer's own Python is a launcher that starts another process."""
    pids = tmp_path / "pids"
    launcher = script(
        tmp_path,
        f"""
        import subprocess, sys
        child = subprocess.Popen([{str(scripted.python)!r}, *sys.argv[1:]])
        open({str(pids)!r}, "w").write(str(child.pid))
        sys.exit(child.wait())
        """,
    )
    remote = RemoteEngine(scripted.model, "cpu", python=launcher)
    remote.submit(WARM_UP).result()
    child = int(pids.read_text())
    assert is_alive(child)
    os.kill(child, signal.SIGSTOP)  # it notices nothing any more, not even that its input was closed
    remote.close()
    assert wait_until(lambda: not is_alive(child))


# ---- faults


@posix
@pytest.mark.parametrize("stage", ["loading the model", "searching the whole volume", "measuring"])
def test_a_killed_process_is_replaced_and_the_user_is_told(script_engine, scripted, stage):
    scripted.at(stage, "kill")
    estimate = script_engine.submit(GREY).result()
    assert estimate.warnings == (
        "The pose engine was killed, perhaps for lack of memory; the pose was estimated again on the CPU with a "
        "smaller memory plan.",
    )
    assert (estimate.device, estimate.memory_plan) == ("cpu", "lean")


@posix
def test_a_process_killed_while_refining_is_replaced_and_the_user_is_told(script_engine, scripted, edited):
    scripted.at("refining", "kill")
    refined = script_engine.submit(RefineRequest(GREY.volume, edited, (1,))).result()
    assert "was killed" in refined.warnings[0]
    assert "refined on the CPU" in refined.warnings[0]


@posix
def test_a_process_killed_while_it_tells_of_resources_is_an_error(script_engine, scripted):
    scripted.at("loading the model", "kill")
    with pytest.raises(EngineLostError, match="was killed"):
        script_engine.submit(WARM_UP).result()


@posix
def test_a_process_that_is_killed_again_and_again_is_an_error(script_engine, scripted):
    scripted.at("measuring", "kill", times=2)
    with pytest.raises(EngineLostError, match="was killed"):
        script_engine.submit(GREY).result()
    assert script_engine.submit(GREY).result().warnings == ()


@posix
def test_lack_of_memory_is_met_with_a_smaller_plan(script_engine, scripted):
    scripted.at("searching the whole volume", "starve")
    (warning,) = script_engine.submit(GREY).result().warnings
    assert warning == (
        "There was not enough memory for this estimate; the pose was estimated again on the CPU with a smaller "
        "memory plan."
    )


@posix
def test_a_hung_process_is_given_up(scripted):
    """On its own initiative, the first time; the process that replaces it is stopped too."""
    scripted.at("measuring", "stop", times=2)
    with RemoteEngine(scripted.model, "cpu", python=scripted.python, hung_s=20.0) as remote:
        pids: list[int] = []

        def watch(_: float, stage: str) -> None:
            if stage == "measuring" and remote.pid not in pids:
                pids.append(remote.pid)
                remote._process._hung_s = 0.2

        with pytest.raises(EngineLostError, match="does not answer"):
            remote.submit(GREY, watch).result()
        assert len(pids) == 2 and wait_until(lambda: not any(map(is_alive, pids)))


def test_what_the_process_does_not_understand_is_one_line_and_it_serves_on(engine):
    resources, pid = engine.submit(WARM_UP).result(), engine.pid
    engine._process._popen.stdin.write(b"[[[\n\xff\n{}\n")
    with pytest.raises(UserError, match="valid JSON"):  # it names no request, so the one that waits gets it
        engine.submit(WARM_UP).result()
    answered = 0
    while answered < 3:  # what is left of the other lines
        try:
            assert engine.submit(WARM_UP).result() == resources
            answered += 1
        except UserError:
            pass
    assert engine.pid == pid


def test_a_model_is_the_same_from_another_folder(model, monkeypatch):
    monkeypatch.chdir(model.parent)
    assert absolute_model(model.name) == str(model)
    assert absolute_model(Path(model.name)) == str(model)
    assert absolute_model("simulated-2") == "simulated-2"


def test_volumes_of_owners_that_were_killed_are_swept(engine, volume, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "fetusmap-123456"
    left.mkdir()
    (left / "volume.npy").touch()
    gone = ProcessIdentity(ProcessIdentity.current().host, ProcessIdentity.current().pid, "another time")
    (tmp_path / "fetusmap-123456.owner").write_text(json.dumps(gone.to_dict()))
    assert engine.submit(EstimateRequest(volume)).result().model
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(engine, volume, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(OutputError, match="handed to the pose engine"):
        engine.submit(EstimateRequest(volume)).result()
    assert engine.pid is not None
