"""The speeds that plans for a device rest on: measured once and kept, or from a table until then."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from FetusMapV2Lib.memory.cost_model import CostModel, Size
from FetusMapV2Lib.memory.fused.kernels import kernels_for
from FetusMapV2Lib.memory.kernels import TorchKernels
from FetusMapV2Lib.memory.machine import Machine
from FetusMapV2Lib.memory.machine_files import (
    device_name,
    measurement_key,
    precision_name,
    read_cached,
    shipped_for,
    write_cached,
)
from FetusMapV2Lib.memory.managed import ManagedNetwork, channels_innermost
from FetusMapV2Lib.memory.micro_benchmarks import OperationTimer, small, time_operations, time_step
from FetusMapV2Lib.memory.operations import CONVOLUTIONS, Operation
from FetusMapV2Lib.memory.plan import Choices, MemoryPlan, Prediction
from FetusMapV2Lib.memory.plan_search import PlanSearch
from FetusMapV2Lib.memory.timings import StepTiming, Timings
from FetusMapV2Lib.memory.unit_builder import build_units
from FetusMapV2Lib.memory.workspace import MEASURED_LIMIT, limit_workspace

_LOG = logging.getLogger(__name__)

#: Time for measuring a network on a device.
LIMIT_S = 20.0

_STEPS_SHARE = 0.35  # of the time, for whole steps
_LEAST_SHARE = 1e-4  # of a step's work: what is less is not timed
_ROWS = 16  # whole steps on a CPU run on a multiple of so many rows


def machine_for(
    network: nn.Module,
    input_size: Size,
    *,
    device: torch.device | str,
    batch: int = 1,
    autocast: torch.dtype | None = None,
    measure: bool = True,
    limit_s: float | None = None,
    tell: Callable[[str], None] = _LOG.info,
) -> Machine:
    """Speeds of a device: measured now or earlier, else from a table; a measurement that fails is told, not raised.

    Args:
        network: that plans are made for.
        input_size: (k, j, i).
        device: to measure, or to have plans for.
        batch: volumes at once.
        autocast: type that convolutions run in.
        measure: what was not measured yet is measured, if the device is there.
        limit_s: time for it, None = `LIMIT_S`.
        tell: takes a line on what is going on.
    """
    device, limit_s = torch.device(device), LIMIT_S if limit_s is None else limit_s
    precision = precision_name(device, autocast)
    if device.type == "cuda" and not torch.cuda.is_available():
        return shipped_for("h200", precision)
    if device.type == "cuda" and measure:
        limit_workspace(MEASURED_LIMIT)  # what is measured is what plans count, and what networks then run with
    table = Machine.cpu() if device.type == "cpu" else shipped_for(device_name(device), precision)
    key = measurement_key(network, input_size, device, precision, batch)
    known = read_cached(key)
    if known is not None or not measure:
        return known or table
    tell(f"Measuring this network's operations on {key['device']}: once, at most {limit_s:.0f} s")
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):  # a training draws what it would anyway
            found = _Measurement(network, input_size, table, device, batch, autocast, limit_s).run()
    except (RuntimeError, ValueError) as error:  # no memory left, an operation that the device lacks
        tell(
            f"It could not be measured ({next(iter(str(error).splitlines()), '')}): plans rest on {table.basis} speeds"
        )
        return table
    path = write_cached(key, found)
    if path is not None:
        tell(f"Measurements are kept in {path}")
    return found


class _Measurement:
    """One measurement of a network on a device."""

    def __init__(
        self,
        network: nn.Module,
        input_size: Size,
        table: Machine,
        device: torch.device,
        batch: int,
        autocast: torch.dtype | None,
        limit_s: float,
    ) -> None:
        self.network, self.size, self.table, self.device = network, input_size, table, device
        self.options: dict[str, Any] = {"batch": batch, "autocast": autocast}
        self.end = time.perf_counter() + limit_s
        self.limit_s = limit_s

    def run(self) -> Machine:
        """Time operations, then whole steps."""
        layout = torch.channels_last_3d if self.table.by_rows else torch.contiguous_format
        kernels: TorchKernels = kernels_for(self.device, layout)
        wanted = self._wanted()
        operations_s = (1 - _STEPS_SHARE) * self.limit_s
        timer = OperationTimer(kernels, self.device, 0.8 * operations_s / max(1, len(wanted)))
        found = tuple(time_operations(timer, wanted, self.end - _STEPS_SHARE * self.limit_s))
        timings = Timings(found, (), timer.launch(), timer.transfer_s())
        timings = replace(timings, steps=tuple(self._steps(timings)))
        timings = replace(timings, scale=self._scale(timings))
        return replace(self.table, name=device_name(self.device), basis="measured", timings=timings)

    def _model(self, size: Size) -> CostModel:
        return CostModel(build_units(self.network), size, machine=self.table, **self.options)

    def _wanted(self) -> list[Operation]:
        """Operations of the patterns that plans start from, those that weigh most first."""
        model = self._model(self.size)
        total: Counter[Operation] = Counter()
        for pattern in [model.like_plain, *PlanSearch(model, None, None, None).patterns()]:
            total.update(model.operations(pattern))
        weights: dict[tuple[object, ...], float] = {}
        heaviest: dict[tuple[object, ...], Operation] = {}
        for operation, count in total.items():
            weight = count * (operation.flops / self.table.flops_per_s + operation.moved / self.table.bytes_per_s)
            for kind in _kinds(operation):
                if kind not in heaviest or operation.shape > heaviest[kind].shape:
                    heaviest[kind] = operation
                weights[kind] = weights.get(kind, 0.0) + weight
        least = _LEAST_SHARE * sum(weights.values())
        order = sorted((kind for kind in heaviest if weights[kind] >= least), key=lambda kind: -weights[kind])
        chosen = [heaviest[kind] for kind in order]
        passes = {operation.kind: operation for operation in chosen if operation.kind not in CONVOLUTIONS}
        return list(dict.fromkeys([*chosen, *(small(operation) for operation in passes.values())]))

    def _steps(self, timings: Timings) -> list[StepTiming]:
        size = self._step_size(timings)
        ways: dict[str, Callable[[nn.Module], Callable[[Tensor], Tensor]]] = {"plain": lambda twin: twin}
        if self.table.by_rows:
            ways["plain, channels last"] = lambda twin: lambda volume: channels_innermost(twin, volume)
        ways["units"] = lambda twin: ManagedNetwork(twin, self._plan_of_units(size))
        repeats = 5 if self.device.type == "cuda" else 3
        found: list[StepTiming] = []
        for way, call in ways.items():
            if found and time.perf_counter() + found[-1].seconds > self.end:
                break
            step = time_step(
                self.network, size, way=way, call=call, device=self.device, repeats=repeats, **self.options
            )
            found.append(step)
        return found

    def _step_size(self, timings: Timings) -> Size:
        """As much of the input as a fair share of the time allows; all of it on a GPU that holds it."""
        model = self._model(self.size)
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            share = min(1.0, 0.7 * free / model.vanilla().peak_bytes)
        else:
            expected = timings.seconds(model.operations(self._units).items())
            share = min(1.0, _STEPS_SHARE * self.limit_s / 8 / max(expected, 1e-6))
        k, j, i = self.size
        if share == 1.0:
            return self.size
        return (max(_ROWS, int(k * share) // _ROWS * _ROWS), j, i)

    @property
    def _units(self) -> Choices:
        return Choices(fused_head=False, channels_last=self.table.by_rows)

    def _plan_of_units(self, size: Size) -> MemoryPlan:
        batch = self.options["batch"]
        return MemoryPlan(size, batch, "training", self._units.executor, (), Prediction(1, 1, 1, 1), self._units)

    def _scale(self, timings: Timings) -> float:
        """A step by the executor, relative to the sum of its operations: what lies between them."""
        step = timings.step("units")
        if step is None:
            return 1.0
        size: Size = (step.size[0], step.size[1], step.size[2])
        counted = self._model(size).operations(self._units)
        expected = timings.seconds((operation, n) for operation, n in counted.items() if operation.kind != "optimiser")
        return min(3.0, max(1 / 3, step.seconds / expected)) if expected else 1.0


def _kinds(operation: Operation) -> list[tuple[object, ...]]:
    """What an operation is a sample of; one of each is timed."""
    if operation.kind not in CONVOLUTIONS:
        return [(operation.kind, operation.dtype)]
    batch, _, rows, *plane = operation.shape
    height = math.inf if rows > 2 * _ROWS else rows  # slabs, and whole tensors
    return [(operation.kind, operation.dtype, operation.weight, operation.steps, batch, *plane, height)]
