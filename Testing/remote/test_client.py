"""The engine in another process: the same answers, and nothing that happens to that process reaches the caller."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.synthetic_balls import ball_volume, layout, model_of
from remote.processes import is_alive, posix, script, wait_until

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.errors import Cancelled, OutputError, UserError
from FetusMapV2Lib.core.process_identity import ProcessIdentity
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.resource_estimate import BYTES_PER_VOXEL
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.models.model_file import save_model
from FetusMapV2Lib.models.model_index import list_models, user_index, whole_path
from FetusMapV2Lib.network.unet import UNet3d
from FetusMapV2Lib.remote.client import RemoteEngine, finished
from FetusMapV2Lib.remote.engine_process import EngineLostError


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
def engine(model) -> Iterator[RemoteEngine]:
    """One warm process for the tests that leave it whole."""
    with RemoteEngine(model, "cpu") as remote:
        remote.warm_up()
        yield remote


@pytest.fixture
def edited() -> Estimate:
    """A body in the volume whose crest was put 6 mm higher by hand."""
    positions = ball_volume()[1].copy()
    positions[0] += [0.0, 0.0, 6.0]
    return Estimate.given(Pose(positions, np.full(22, 0.5), np.full(22, 6.0)))


# ---- the same engine


def test_the_answer_is_that_of_the_engine_here(engine, model, volume):
    here = PoseEngine.load(model, "cpu").estimate(volume)
    seen: list[tuple[float, str]] = []
    there = engine.estimate(volume, on_progress=lambda fraction, stage: seen.append((fraction, stage)))
    assert there.detection_score == pytest.approx(here.detection_score, rel=1e-3)
    assert (there.found, there.reason) == (here.found, here.reason)
    assert there.model == here.model
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len({stage for _, stage in seen}) >= 3


@pytest.mark.parametrize("mode", ["prior", "full"])
def test_refining_around_landmarks_set_by_hand_is_that_of_the_engine_here(engine, model, volume, edited, mode):
    here = PoseEngine.load(model, "cpu").refine(volume, edited, [1, 10], mode=mode)
    seen: list[str] = []
    there = engine.refine(volume, edited, [10, 1], mode=mode, on_progress=lambda _, stage: seen.append(stage))
    np.testing.assert_allclose(there.pose.positions, here.pose.positions, atol=1e-3)
    np.testing.assert_array_equal(there.pose.positions[[0, 9]], edited.pose.positions[[0, 9]])
    assert np.abs(there.pose.positions - edited.pose.positions).max() > 0.1
    assert there.refinement.pinned == (1, 10)
    assert there.warnings == here.warnings
    assert any(stage.startswith("refining") for stage in seen)


def test_refining_says_what_the_engine_refuses(engine, volume, edited):
    pid = engine.pid
    with pytest.raises(UserError, match="no landmark 23"):
        engine.refine(volume, edited, [23])
    assert engine.pid == pid


def test_it_stays_warm_and_survives_a_users_mistake(engine, volume):
    pid = engine.pid
    with pytest.raises(UserError, match="unknown device"):
        RemoteEngine.estimate(_as(engine, device="abacus"), volume)
    engine.estimate(volume)
    assert engine.pid == pid


def _as(engine: RemoteEngine, device: str) -> RemoteEngine:
    other = RemoteEngine(device=device)
    other._process = engine._process
    return other


def test_an_unknown_model_is_one_sentence(volume):
    with RemoteEngine("no-such-model", "cpu") as remote, pytest.raises(UserError, match="no-such-model") as refusal:
        remote.estimate(volume)
    assert "\n" not in str(refusal.value)


def test_nothing_is_left_of_a_volume(engine, volume, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    engine.estimate(volume)
    assert list(tmp_path.iterdir()) == []


# ---- models


def test_a_model_is_checked_and_installed_by_the_other_process(model, tmp_path, monkeypatch):
    monkeypatch.setenv("FETUSMAPV2_DATA", str(tmp_path / "data"))
    with RemoteEngine(model, "cpu") as engine:
        finished(engine.installing(model, "site-1"))
        (entry,) = list_models(user_index())
        assert (entry.name, entry.path.read_bytes()) == ("site-1", model.read_bytes())
        (tmp_path / "broken.safetensors").write_text("not a model")
        with pytest.raises(UserError, match="broken"):
            finished(engine.installing(tmp_path / "broken.safetensors", "site-2"))
    assert [one.name for one in list_models(user_index())] == ["site-1"]


# ---- the outlook before an estimate


def test_the_outlook_tells_device_reason_and_memory(engine, model):
    seen = engine.resource_estimate(10**6)
    here = PoseEngine.load(model, "cpu").resource_estimate(10**6)
    assert seen == here
    assert (seen.device, seen.device_reason, seen.device_bytes) == ("cpu", "chosen by the user", None)
    assert seen.model == engine.warm_up()
    assert engine.resource_estimate(10**8).memory_bytes == seen.memory_bytes + BYTES_PER_VOXEL * (10**8 - 10**6)
    assert engine.resource_estimate(10**6, refine="full").memory_bytes > seen.memory_bytes
    with pytest.raises(UserError, match="unknown refinement"):
        engine.resource_estimate(1, refine="twice")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak where Linux tells it")
def test_the_outlook_is_about_right(model, volume):
    with RemoteEngine(model, "cpu") as remote:
        foretold = remote.resource_estimate(volume.array.size).memory_bytes
        remote.estimate(volume)
        status = Path(f"/proc/{remote.pid}/status").read_text()
    taken = 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
    assert 0.7 * taken < foretold < 1.4 * taken


def test_an_outlook_that_nobody_waits_for_leaves_the_engine_warm(engine, volume):
    pid = engine.pid
    steps = engine.looking_out(10**6)
    next(steps)
    steps.close()
    assert engine.estimate(volume).model
    assert engine.pid == pid


# ---- cancelling and ending


def test_an_estimate_in_steps_lets_its_caller_live(engine, volume):
    lived, answers = [], []

    def work():
        answers.append((yield from engine.estimating(volume)))

    for _ in work():
        lived.append(time.sleep(0.01))
    assert lived
    assert answers[0].model


def test_an_estimate_that_is_left_ends_its_process(model, volume):
    remote = RemoteEngine(model, "cpu")
    remote.warm_up()
    pid = remote.pid
    steps = remote.estimating(volume)
    next(steps)
    steps.close()
    assert remote.pid is None
    assert wait_until(lambda: not is_alive(pid), 1.0)


def test_cancelling_ends_the_process_within_a_second(model, volume):
    remote = RemoteEngine(model, "cpu")
    remote.warm_up()
    pid, stages, asked = remote.pid, [], []

    def should_cancel() -> bool:
        if stages and stages[-1] != "loading the model":
            asked.append(time.monotonic())
        return bool(asked)

    with pytest.raises(Cancelled):
        remote.estimate(volume, on_progress=lambda _, stage: stages.append(stage), should_cancel=should_cancel)
    assert time.monotonic() - asked[0] < 1.0
    assert remote.pid is None
    assert wait_until(lambda: not is_alive(pid), 1.0)
    assert remote.estimate(volume).model  # it starts again by itself
    remote.close()
    assert remote.pid is None


@posix
def test_a_launcher_leaves_nothing_behind(tmp_path, model):
    """Slicer's own Python is a launcher that starts another process."""
    pids = tmp_path / "pids"
    launcher = script(
        tmp_path,
        f"""
        import subprocess, sys
        child = subprocess.Popen([{sys.executable!r}, *sys.argv[1:]])
        open({str(pids)!r}, "w").write(str(child.pid))
        sys.exit(child.wait())
        """,
    )
    remote = RemoteEngine(model, "cpu", python=launcher)
    remote.warm_up()
    child = int(pids.read_text())
    assert is_alive(child)
    os.kill(child, signal.SIGSTOP)  # it hears nothing any more, not even that its input was closed
    remote.close()
    assert wait_until(lambda: not is_alive(child), 1.0)


def test_refining_is_cancelled_within_a_second(engine, volume, edited):
    engine.warm_up()
    pid, stages, asked = engine.pid, [], []

    def should_cancel() -> bool:
        if stages and stages[-1].startswith("refining"):
            asked.append(time.monotonic())
        return bool(asked)

    with pytest.raises(Cancelled):
        engine.refine(
            volume,
            edited,
            [1],
            mode="full",
            on_progress=lambda _, stage: stages.append(stage),
            should_cancel=should_cancel,
        )
    assert time.monotonic() - asked[0] < 1.0
    assert wait_until(lambda: not is_alive(pid), 1.0)


# ---- faults


@posix
def test_a_process_killed_while_refining_is_replaced_and_the_user_is_told(engine, volume, edited):
    killed = []

    def kill(_: float, reached: str) -> None:
        if reached == "refining" and not killed:
            killed.append(engine.pid)
            os.kill(killed[0], signal.SIGKILL)

    refined = engine.refine(volume, edited, [1], mode="full", on_progress=kill)
    assert "was killed" in refined.warnings[0]
    assert "refined on the CPU" in refined.warnings[0]


@posix
@pytest.mark.parametrize("stage", ["loading the model", "searching the whole volume", "measuring"])
def test_a_killed_process_is_replaced_and_the_user_is_told(model, volume, stage):
    for _ in range(5):  # so small a model may have answered before it is killed
        with RemoteEngine(model, "cpu") as remote:
            remote.warm_up()
            killed = []

            def kill(_: float, reached: str, remote=remote, killed=killed) -> None:
                if reached == stage and not killed:
                    killed.append(remote.pid)
                    os.kill(killed[0], signal.SIGKILL)

            estimate = remote.estimate(volume, on_progress=kill)
            replaced = remote.pid != killed[0]
        if estimate.warnings:
            break
        if stage == "measuring":  # it is always nearly done by then
            return
    assert replaced
    assert "was killed" in estimate.warnings[0]
    assert "on the CPU with a smaller memory plan" in estimate.warnings[0]
    assert estimate.memory_plan


@posix
def test_short_memory_is_met_with_a_smaller_plan(tmp_path, model, volume):
    """The first process may take next to nothing beyond what it has when it is ready to work."""
    launcher = script(
        tmp_path,
        f"""
        import builtins, os, pathlib, resource, runpy, sys
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from FetusMapV2Lib.estimation.engine import PoseEngine
        first = pathlib.Path({str(tmp_path / "first")!r})
        if not first.exists():
            first.touch()
            import torch
            estimate = PoseEngine.estimate
            def starved(*arguments, **options):
                size = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (size + 2**20, size + 2**20))
                torch.zeros(2**26)  # asked of the operating system, and refused
                return estimate(*arguments, **options)
            PoseEngine.estimate = starved
        runpy.run_module("FetusMapV2Lib.remote.worker", run_name="__main__")
        """,
    )
    with RemoteEngine(model, "cpu", python=launcher) as remote:
        estimate = remote.estimate(volume)
    assert estimate.warnings[0] == (
        "There was not enough memory for this estimate; the estimate was made again on the CPU with a smaller "
        "memory plan."
    )
    assert "lean" in estimate.memory_plan or "streamed" in estimate.memory_plan


@posix
def test_a_process_that_is_killed_again_and_again_is_an_error(model, volume):
    with RemoteEngine(model, "cpu") as remote:

        def kill(_: float, reached: str) -> None:
            if reached != "starting the pose engine" and remote.pid:
                os.kill(remote.pid, signal.SIGKILL)

        with pytest.raises(EngineLostError, match="was killed"):
            remote.estimate(volume, on_progress=kill)
        assert remote.estimate(volume).model


@posix
def test_a_hung_process_is_given_up(model, volume):
    with RemoteEngine(model, "cpu") as remote:
        remote.warm_up()
        os.kill(remote.pid, signal.SIGSTOP)
        stopped = remote.pid
        remote._process._hung_s = 1.5
        request = {"command": "estimate", "options": {}}
        started = time.monotonic()
        with pytest.raises(EngineLostError, match="does not answer"):
            finished(remote._asking(request, None, None, volume))
        assert time.monotonic() - started < 4
        assert wait_until(lambda: not is_alive(stopped), 1.0)


def test_what_the_process_does_not_understand_is_one_line_and_it_serves_on(engine, volume):
    identity, pid = engine.warm_up(), engine.pid
    with pytest.raises(UserError, match="no option 'speed'"):
        engine.estimate(volume, speed="high")
    engine._process._popen.stdin.write(b"[[[\n\xff\n{}\n")
    with pytest.raises(UserError, match="valid JSON"):  # said of no request, so of the one that waits
        engine.warm_up()
    answered = 0
    while answered < 3:  # what is left over of the other lines
        try:
            assert engine.warm_up() == identity
            answered += 1
        except UserError:
            pass
    assert engine.pid == pid


def test_a_model_is_the_same_from_another_folder(model, monkeypatch):
    monkeypatch.chdir(model.parent)
    assert whole_path(model.name) == str(model)
    assert whole_path(Path(model.name)) == str(model)
    assert whole_path("simulated-2") == "simulated-2"


def test_volumes_of_owners_that_were_killed_are_swept(engine, volume, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "fetusmap-123456"
    left.mkdir()
    (left / "volume.npy").touch()
    gone = ProcessIdentity(ProcessIdentity.current().host, ProcessIdentity.current().pid, "another time")
    (tmp_path / "fetusmap-123456.owner").write_text(json.dumps(gone.to_dict()))
    assert engine.estimate(volume).model
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(engine, volume, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(OutputError, match="handed to the pose engine"):
        engine.estimate(volume)
    assert engine.pid is not None
