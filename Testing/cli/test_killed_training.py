"""A training process that is killed outright goes on from its checkpoint to the same weights as one left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.models.model_file import load_model

PRESET = {
    "name": "tiny",
    "input_size": [32, 24, 24],
    "sigma": 1.0,
    "network": {"widths": [4, 6, 8]},
    "run": {"steps": 60, "cache_spacing_mm": 3.0, "validate_every": 1000, "checkpoint_every": 4, "average_decay": 0.9},
}


def _training(folder: Path, output: Path) -> list[str]:
    options = ["--preset", str(folder / "tiny.json"), "--data", str(folder / "cases"), "--output", str(output)]
    return [
        sys.executable,
        "-m",
        "FetusMapV2Lib.cli",
        "train",
        *options,
        "--device",
        "cpu",
        "--threads",
        "1",
        "--resume",
    ]


def _ended_after_a_checkpoint(command: list[str], checkpoint: Path, how: int) -> tuple[int, str]:
    """Send a signal; the exit code and what was said."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        assert process.poll() is None, "the run was over before it could be killed"
        process.send_signal(how)
        said = process.communicate(timeout=120)[1]
        return process.returncode, said
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_killed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    (tmp_path / "tiny.json").write_text(json.dumps(PRESET), encoding="utf-8")
    write_toy_cases(tmp_path / "cases", 8)
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    code, said = _ended_after_a_checkpoint(_training(tmp_path, cut), cut / "last.ckpt", signal.SIGTERM)
    assert code == 143
    assert "last.ckpt is kept: go on from it with --resume." in said.splitlines()[-1]
    assert "Traceback" not in said
    (cut / "last.ckpt").unlink()
    _ended_after_a_checkpoint(_training(tmp_path, cut), cut / "last.ckpt", signal.SIGKILL)
    assert not (cut / "model.safetensors").exists()
    for output in (cut, whole):
        subprocess.run(_training(tmp_path, output), check=True, capture_output=True)
    models = [load_model(output / "model.safetensors") for output in (cut, whole)]
    for name, weights in models[0].network.state_dict().items():
        np.testing.assert_array_equal(weights.numpy(), models[1].network.state_dict()[name].numpy(), err_msg=name)
