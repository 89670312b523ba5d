"""A training process that is stopped or killed continues from its checkpoint to the weights of one left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training.tiny_run import PRESET, fit_on_cpu
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.models.model_file import load_model
from FetusMapV2Lib.training.checkpoints import read_checkpoint

#: Sends its own process a signal after a step of the training; the command line does the rest.
DRIVER = """
import signal, sys
from FetusMapV2Lib.cli import main
from FetusMapV2Lib.training.callbacks import RunProgress
number, step, before = int(sys.argv.pop(1)), int(sys.argv.pop(1)), RunProgress.on_train_batch_end
def after_batch(progress, trainer, *others):
    before(progress, trainer, *others)
    if trainer.global_step == step:
        signal.raise_signal(number)
RunProgress.on_train_batch_end = after_batch
main()
"""


def ended_by(number: signal.Signals, step: int, folder: Path) -> tuple[int, str]:
    """Resume a training by the command line and end it by a signal; the exit code and the standard error."""
    options = ["--preset", folder / "tiny.json", "--data", folder / "cases", "--output", folder / "cut", "--resume"]
    arguments = ["train", *map(str, options), "--device", "cpu", "--threads", "1"]
    command = [sys.executable, "-c", DRIVER, str(int(number)), str(step), *arguments]
    process = subprocess.run(command, capture_output=True, text=True, timeout=1000)
    return process.returncode, process.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_killed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    (tmp_path / "tiny.json").write_text(json.dumps(PRESET.to_dict()), encoding="utf-8")
    write_toy_cases(tmp_path / "cases", 3)
    cut = tmp_path / "cut"
    code, said = ended_by(signal.SIGTERM, 1, tmp_path)
    assert code == 143
    assert "last.ckpt is kept: go on from it with --resume." in said.splitlines()[-1]
    assert "Traceback" not in said
    code, _ = ended_by(signal.SIGKILL, 3, tmp_path)
    assert code == -signal.SIGKILL
    assert read_checkpoint(cut / "last.ckpt")["global_step"] == 2
    assert not (cut / "model.safetensors").exists()
    models = [
        load_model(fit_on_cpu(PRESET, tmp_path / "cases", output, resume=True)) for output in (cut, tmp_path / "whole")
    ]
    for name, weights in models[0].network.state_dict().items():
        assert torch.equal(weights, models[1].network.state_dict()[name]), name
