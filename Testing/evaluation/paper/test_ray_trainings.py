"""A cross-validation on a Ray cluster of this computer: a worker that is killed goes on from its checkpoint."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.evaluation.case_set import case_set
from FetusMapV2Lib.evaluation.paper.protocol import Protocol, run_protocol, settled_folds
from FetusMapV2Lib.evaluation.paper.ray_trainings import run_request, train_on_cluster
from FetusMapV2Lib.evaluation.paper.recipes import recipes
from FetusMapV2Lib.imaging.training_cases import find_cases

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")]
TESTING = Path(__file__).resolve().parents[2]
STEPS = 60
TINY = {
    "run.steps": STEPS, "run.checkpoint_every": 5, "run.cache_spacing_mm": 3.0,
    "input_size": [32, 24, 24], "network.widths": [2, 3, 4],
}  # fmt: skip


def kill_first(run: Path, ended: threading.Event, killed: list[int]) -> None:
    """Kill the process of a training after its first checkpoint."""
    while not (run / "last.ckpt").exists():
        if ended.wait(0.01):
            return
    killed.append(json.loads((run / ".training.lock").read_text())["pid"])
    os.kill(killed[0], signal.SIGKILL)


def test_a_killed_worker_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    if ray.is_initialized():
        pytest.skip("another test is connected to a cluster")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # no token in the home of whoever runs the tests
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTING.parent), str(TESTING)]))
    (tmp_path / "cases").mkdir()
    write_toy_cases(tmp_path / "cases", 4)
    cases, output = case_set(find_cases(tmp_path / "cases")), tmp_path / "out"
    parts = settled_folds(output, cases, 2, 0)
    protocol = Protocol(
        tmp_path / "cases", output, recipes("unet", TINY), cases, parts, device="cpu", threads=1, predict_memory=False
    )
    ended, killed, said = threading.Event(), [], []
    watch = threading.Thread(target=kill_first, args=(output / "runs" / "unet" / "fold-1", ended, killed))
    watch.start()
    try:
        train_on_cluster(protocol, "local", os.cpu_count() or 1, say=said.append)
    finally:
        ended.set()
        watch.join()
    assert killed and sorted(said) == ["unet, fold 1 is done", "unet, fold 2 is done"]
    starts = [len(list((output / "runs" / "unet" / f"fold-{n}").glob("logs/events*"))) for n in (1, 2)]
    assert starts == [2, 1]
    made = {path: path.stat().st_mtime_ns for path in output.rglob("*.*") if path.is_file()}
    run_protocol(protocol)
    assert (output / "tables.json").is_file()
    assert all(path.stat().st_mtime_ns == time for path, time in made.items())  # nothing is trained or estimated again


def test_a_computer_with_another_version_and_a_training_that_fails_say_why(tmp_path: Path) -> None:
    assert "a computer of the cluster has FetusMapV2" in run_request({"software": "FetusMapV2 0.0.1"})["failed"]
    pytest.importorskip("ray")
    with pytest.raises(UserError, match="not the address of a Ray cluster"):
        write_toy_cases(tmp_path, 4)
        cases = case_set(find_cases(tmp_path))
        parts = settled_folds(tmp_path / "out", cases, 2, 0)
        train_on_cluster(Protocol(tmp_path, tmp_path / "out", recipes("unet", TINY), cases, parts), "ray://head:1", 1)
