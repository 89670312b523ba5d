"""The processes that share a training, one for each device: who is who, what each takes, and what they agree on."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import distributed

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.estimation.network_runner import choose_device
from FetusMapV2Lib.training.lightning_loading import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from FetusMapV2Lib.training.preset import Preset
from FetusMapV2Lib.training.training_options import TrainingOptions

T = TypeVar("T")
#: What says who is who where neither torchrun nor Slurm starts the processes.
_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")


@dataclass(frozen=True, eq=False)
class Ranks:
    """The processes of a training, of which this is one.

    Attributes:
        devices: processes of each computer.
        nodes: computers.
        rank: number of this process among all, from 0.
        local: its number on this computer, which is also that of its GPU.
        environment: where it meets the others; None for one process alone.
    """

    devices: int = 1
    nodes: int = 1
    rank: int = 0
    local: int = 0
    environment: ClusterEnvironment | None = None

    @property
    def count(self) -> int:
        """How many there are."""
        return self.devices * self.nodes

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes files and reports."""
        return self.rank == 0

    def device(self, chosen: torch.device) -> torch.device:
        """The device of this process, of the kind that was chosen."""
        return torch.device("cuda", self.local) if self.count > 1 and chosen.type == "cuda" else chosen

    def agreed(self, *values: int) -> tuple[int, ...]:
        """The largest of each value over all processes; waits for all of them."""
        if self.count == 1:
            return values
        shared = torch.tensor(values, dtype=torch.int64)
        distributed.all_reduce(shared, distributed.ReduceOp.MAX, group=self._group)
        return tuple(shared.tolist())

    def from_first(self, compute: Callable[[], T]) -> T:
        """What the first process computes, in all of them; waits for it.

        Raises:
            UserError: in all of them, when the first one did.
        """
        if self.count == 1:
            return compute()
        found: list[Any] = [None, ""]
        failed = None
        if self.is_first:
            try:
                found[0] = compute()
            except UserError as error:
                found[1], failed = error.line(), error
        distributed.broadcast_object_list(found, 0, group=self._group)
        if found[1]:
            raise failed or UserError(found[1])
        result: T = found[0]
        return result

    @cached_property
    def _group(self) -> Any:
        """For messages: on the CPU, so that no GPU has to be waited for."""
        if distributed.get_backend() == "gloo":
            return distributed.group.WORLD
        return distributed.new_group(backend="gloo")


def ranks_of(options: TrainingOptions, device: torch.device) -> Ranks:
    """The processes that a training asks for, as whoever started this one describes them.

    Args:
        options: give devices, nodes and strategy.
        device: that was chosen.

    Raises:
        UserError: there are fewer devices, they cannot be used together, or nobody says which computer this is.
    """
    devices, nodes = options.devices, options.nodes
    _check_strategy(options.strategy, device)
    started_by_torchrun = TorchElasticEnvironment.detect()
    if devices * nodes == 1 and not started_by_torchrun:
        return Ranks()
    if device.type == "cuda" and device.index is not None and options.device != "auto":
        problem = f"{options.device} is one device, not {devices}"
        raise UserError(problem, where="--device", remedy="Use --device cuda, and CUDA_VISIBLE_DEVICES to choose some")
    there = torch.cuda.device_count() if device.type == "cuda" else devices
    if devices > there:
        plural = "device" if there == 1 else "devices"
        raise UserError(f"there are {there} CUDA {plural}", where=f"--devices {devices}", remedy="Ask for fewer")
    if started_by_torchrun:
        environment: ClusterEnvironment = TorchElasticEnvironment()
        _check_count("torchrun", environment.world_size(), int(os.environ.get("LOCAL_WORLD_SIZE", devices)), options)
    elif SLURMEnvironment.detect():
        environment = _slurm(options)
    else:
        return _of_lightning(devices, nodes)
    rank, local = environment.global_rank(), environment.local_rank()
    return Ranks(devices, nodes, rank, local, environment if devices * nodes > 1 else None)


def reports(options: TrainingOptions) -> bool:
    """Whether this process is the one that speaks for a training.

    Raises:
        UserError: see `ranks_of`.
    """
    return ranks_of(options, choose_device(options.device)[0]).is_first


def check_batch(preset: Preset, ranks: Ranks) -> None:
    """Whether the processes can share the batches of a preset.

    Raises:
        UserError: they cannot.
    """
    if ranks.count > 1 and preset.adversarial.active:
        raise UserError(
            "discriminators take steps of their own, which only one device can take", remedy="Train on one device"
        )
    batch = preset.run.batch_size
    if batch % ranks.count:
        raise UserError(
            f"{ranks.count} devices cannot share a batch of {batch} equally",
            where="run.batch_size",
            remedy=f"Choose a multiple of {ranks.count}",
            option=f"--set run.batch_size={-(-batch // ranks.count) * ranks.count}",
        )


def _check_strategy(strategy: str, device: torch.device) -> None:
    if strategy not in ("ddp", "fsdp"):
        raise UserError(f"unknown strategy {strategy!r}", where="--strategy", remedy="Use ddp")
    if strategy == "fsdp" and device.type == "cpu":
        raise UserError("fsdp is for GPUs, and this training is on the CPU", where="--strategy", remedy="Use ddp")
    if strategy == "fsdp":
        raise UserError(
            "fsdp splits weights that memory plans and averaged weights need whole",
            where="--strategy",
            remedy="Use ddp, and a memory budget: not the weights but the feature maps take the memory",
        )


def _check_count(launcher: str, count: int, on_each: int, options: TrainingOptions) -> None:
    """Whether a launcher has started as many processes as there are devices."""
    if count != options.devices * options.nodes or on_each != options.devices:
        raise UserError(
            f"{launcher} has started {count} processes, {on_each} of them on this computer",
            where=f"--devices {options.devices} --nodes {options.nodes}",
            remedy="Give the same numbers to both",
        )


def _slurm(options: TrainingOptions) -> ClusterEnvironment:
    """The processes that Slurm has started; it does not start them again by itself, as --resume does that."""
    try:
        environment = SLURMEnvironment(auto_requeue=False)
        count = environment.world_size()
        on_each = int(os.environ.get("SLURM_NTASKS_PER_NODE", count // options.nodes))
        environment.global_rank(), environment.local_rank()
    except (RuntimeError, LookupError, ValueError) as error:
        remedy = "Start it by srun with --nodes and --ntasks-per-node"
        raise UserError("Slurm does not say which of its processes this is", remedy=remedy) from error
    _check_count("Slurm", count, on_each, options)
    return environment


def _of_lightning(devices: int, nodes: int) -> Ranks:
    """Processes of which this one starts those of its computer, or was started by the one that does."""
    missing = [name for name in _VARIABLES if not os.environ.get(name)]
    if nodes > 1 and missing:
        raise UserError(
            f"nothing says where the other computers are: {', '.join(missing)} not set",
            where=f"--nodes {nodes}",
            remedy="Start it by srun or torchrun on every computer, or set these variables",
        )
    environment = LightningEnvironment()
    try:
        node, local = environment.node_rank() if nodes > 1 else 0, environment.local_rank()
        _ = environment.main_port
    except ValueError as error:
        raise UserError(f"not a number in {', '.join(_VARIABLES)} or LOCAL_RANK", remedy="Correct it") from error
    if not (0 <= node < nodes and 0 <= local < devices):
        raise UserError(
            f"there is no process {local} of computer {node}",
            where=f"--devices {devices} --nodes {nodes}",
            remedy="Number computers (NODE_RANK) and their processes (LOCAL_RANK) from 0",
        )
    return Ranks(devices, nodes, node * devices + local, local, environment)
