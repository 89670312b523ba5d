"""A training that several processes share: the same steps as in one, stopped and resumed with any number of them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import default_collate
from training.tiny_run import PRESET, fit_on_cpu
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.stop_signals import Stopped
from FetusMapV2Lib.models.model_file import load_model
from FetusMapV2Lib.training import rank_strategy
from FetusMapV2Lib.training.case_folder import ReducedVolumes
from FetusMapV2Lib.training.checkpoints import read_checkpoint
from FetusMapV2Lib.training.pose_module import PoseModule
from FetusMapV2Lib.training.ranks import Ranks, ranks_of
from FetusMapV2Lib.training.run_record import prepare_run
from FetusMapV2Lib.training.samples import StepSampler, TrainingViews
from FetusMapV2Lib.training.training_options import TrainingOptions

SHARED = PRESET.with_overrides(
    {"run.batch_size": 2, "run.average_decay": 0.9, "memory.budget": "1MiB", "optimiser.betas": [0.5, 0.9]}
)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("Fälle")
    write_toy_cases(folder, 3)
    return folder


def tell_at(step: int) -> Any:
    """Asks the first process to stop."""

    def tell(fraction: float, _: str) -> None:
        if round(4 * fraction) == step:
            signal.raise_signal(signal.SIGTERM)

    return tell


def momentum(state: dict[str, Any]) -> torch.Tensor:
    """Adam's mean of the gradients in a checkpoint."""
    return torch.cat([one["exp_avg"].flatten() for one in state["optimizer_states"][0]["state"].values()])


def gradient(state: dict[str, Any], cases: Path, folder: Path, parts: list[list[int]]) -> torch.Tensor:
    """Of the weights in a checkpoint without a plan: accumulated over parts of a batch, given by their samples."""
    run = prepare_run(SHARED, cases, folder, TrainingOptions(resume=True), record=False)
    views = TrainingViews(run.training, ReducedVolumes(cases / ".reduced", 3.0), SHARED, run.template, run.seed)
    module = PoseModule(SHARED, 22, run.steps)
    module.load_state_dict(state["state_dict"])
    for part in parts:
        batch = default_collate([views[sample] for sample in part])
        (module.training_step(batch, 0) / len(parts)).backward()
    return torch.cat([parameter.grad.flatten() for parameter in module.network.parameters()])


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def test_any_number_of_devices_takes_the_same_steps(cases: Path, tmp_path: Path, monkeypatch) -> None:
    states = []
    for devices in (1, 2):
        with pytest.raises(Stopped) as stop:
            tell = tell_at(len(states) + 1)
            fit_on_cpu(SHARED, cases, tmp_path, devices=devices, resume=True, on_progress=tell)
        assert stop.value.exit_code == 143 and "is kept: go on from it with --resume." in stop.value.kept
        states.append({**read_checkpoint(tmp_path / "last.ckpt")})
    assert [state["global_step"] for state in states] == [1, 2]
    of_parts = gradient(states[0], cases, tmp_path, [[2], [3]])
    assert difference(momentum(states[1]) - 0.5 * momentum(states[0]), 0.5 * of_parts) < 1e-5
    # a batch on one device has other statistics than its two parts
    assert difference(of_parts, gradient(states[0], cases, tmp_path, [[2, 3]])) > 1e-3

    started = []

    def starting(*arguments: Any, **named: Any) -> Any:
        started.append(start(*arguments, **named))
        return started[-1]

    def kill(fraction: float, _: str) -> None:
        if fraction == 0.75:
            started[0].kill()

    start = rank_strategy.start_python
    monkeypatch.setattr(rank_strategy, "start_python", starting)
    with pytest.raises(UserError, match=r"process 2 of 2 of this training ended by signal 9.*--resume"):
        fit_on_cpu(SHARED, cases, tmp_path, devices=2, resume=True, on_progress=kill)
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 2 and started[0].poll() is not None

    model = load_model(fit_on_cpu(SHARED, cases, tmp_path, resume=True))
    assert model.info.training["steps"] == 4 and "plan" in model.info.training["memory_plan"]
    assert len(list(tmp_path.glob("logs/events*"))) == 4  # of the first process alone, each time
    assert not torch.distributed.is_initialized()


def test_the_parts_of_all_ranks_are_the_batch() -> None:
    def drawn(**part: int) -> Iterator[int]:
        return iter(StepSampler(5, 6, **part))

    ranks = [drawn(rank=rank, ranks=3) for rank in range(3)]
    shared = [next(one) for _ in range(2) for one in ranks for _ in range(2)]
    alone = drawn()
    assert shared == [next(alone) for _ in range(12)] == list(range(30, 42))


TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
SLURM = {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2", "SLURM_PROCID": "2", "SLURM_LOCALID": "0"}
BY_HAND = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29600", "NODE_RANK": "1"}


@pytest.mark.parametrize(
    ("variables", "rank", "local"),
    [(TORCHRUN, 3, 1), (SLURM, 2, 0), (BY_HAND, 2, 0), ({**BY_HAND, "LOCAL_RANK": "1"}, 3, 1)],
)
def test_who_is_who_comes_from_the_environment(monkeypatch, variables, rank, local) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = ranks_of(TrainingOptions(devices=2, nodes=2), torch.device("cpu"))
    assert (found.rank, found.local, found.count, found.is_first) == (rank, local, 4, False)


@pytest.mark.parametrize(
    ("options", "variables", "words"),
    [
        ({"devices": 2}, {}, "2 devices cannot share a batch of 1 equally. Choose a multiple of 2 (--set run.b"),
        ({"devices": 2, "nodes": 2}, {}, "MASTER_ADDR, MASTER_PORT, NODE_RANK not set. Start it by srun or torchrun"),
        ({"strategy": "fsdp"}, {}, "fsdp is for GPUs"),
        ({"strategy": "zero"}, {}, "unknown strategy 'zero'"),
        ({"device": "cuda:0", "devices": 2}, {}, "CUDA"),
        ({"devices": 3}, TORCHRUN, "torchrun has started 4 processes, 2 of them on this computer"),
        ({}, TORCHRUN, "torchrun has started 4 processes"),
        ({"devices": 4}, SLURM, "Slurm has started 4 processes, 2 of them"),
        ({"devices": 2, "nodes": 2}, {**BY_HAND, "NODE_RANK": "2"}, "there is no process 0 of computer 2"),
        ({"devices": 2, "nodes": 2}, {**BY_HAND, "NODE_RANK": "one"}, "not a number"),
    ],
)  # fmt: skip
def test_devices_that_cannot_be_used_are_one_line(cases, tmp_path, monkeypatch, options, variables, words) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as error:
        fit_on_cpu(PRESET, cases, tmp_path / "run", **options)
    assert words in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_share_a_training(cases: Path, tmp_path: Path) -> None:
    found = load_model(fit_on_cpu(SHARED, cases, tmp_path, device="cuda", devices=2))
    assert found.info.training["devices"] == 2


def test_one_process_agrees_with_itself() -> None:
    assert Ranks().agreed(1, 15) == (1, 15) and Ranks().from_first(lambda: "plan") == "plan"
