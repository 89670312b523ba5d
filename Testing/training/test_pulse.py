"""A process of a training that is gone: the others end with one sentence, and the checkpoint is kept."""

from __future__ import annotations

import json
import queue
from pathlib import Path

import pytest
import torch
from torch import distributed
from training.test_devices import SHARED
from training.tiny_run import fit_on_cpu
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.python_process import kill_tree, start_python
from FetusMapV2Lib.training.checkpoints import read_checkpoint
from FetusMapV2Lib.training.pulse import Pulse, lost_by
from FetusMapV2Lib.training.rank_strategy import request_of
from FetusMapV2Lib.training.training_options import TrainingOptions


def test_a_silent_process_is_named_and_one_that_is_done_is_not_waited_for() -> None:
    store, lost = distributed.HashStore(), queue.Queue[UserError]()
    listening, done = (Pulse(rank, 3, lost.put, beat_s=0.02, silent_s=0.3) for rank in range(2))
    done.start(store)
    done.stop()
    listening.start(store)  # the third process never says anything
    error = lost.get(timeout=60)
    assert error.line().startswith("another process of this training is gone (process 3 of 3 is silent)")
    assert "--resume" in error.line()
    listening.stop()


def test_only_a_connection_is_taken_for_a_lost_process() -> None:
    ended = RuntimeError("[/gloo/transport/tcp/pair.cc:553] Connection closed by peer\n[127.0.0.1]:1234")
    assert "is gone (its connection has ended)" in lost_by(ended).line()
    assert lost_by(torch.distributed.DistBackendError("NCCL error")) is not None
    assert lost_by(RuntimeError("size mismatch")) is None


def test_a_computer_that_is_lost_ends_the_others_with_one_sentence(tmp_path: Path, monkeypatch) -> None:
    """Two processes as on two computers, of which one is killed."""
    cases, output = tmp_path / "cases", tmp_path / "run"
    write_toy_cases(cases, 3)
    port = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False).port
    variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    options = TrainingOptions(device="cpu", threads=1, devices=1, nodes=2)
    other = start_python(
        "FetusMapV2Lib.training.rank_process", variables={**variables, "NODE_RANK": "1", "LOCAL_RANK": "0"}
    )
    try:
        other.stdin.write(json.dumps(request_of(SHARED, cases, output, options)).encode() + b"\n")
        for name, value in {**variables, "NODE_RANK": "0"}.items():
            monkeypatch.setenv(name, value)

        def kill(fraction: float, _: str) -> None:
            if fraction == 0.75:
                other.kill()

        with pytest.raises(UserError, match=r"another process of this training is gone .*--resume") as error:
            fit_on_cpu(SHARED, cases, output, nodes=2, on_progress=kill)
        assert "\n" not in str(error.value)
    finally:
        kill_tree(other)
        other.wait()
        other.communicate()
    assert read_checkpoint(output / "last.ckpt")["global_step"] == 2
