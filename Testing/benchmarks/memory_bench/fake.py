"""One training step on tensors without data, of any size: peak, operations, host memory and traffic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from FetusMapV2Lib.memory.managed import ManagedNetwork
from FetusMapV2Lib.memory.meter import PeakMeter
from FetusMapV2Lib.memory.plan import BudgetError, MemoryPlan
from FetusMapV2Lib.memory.planner import plan_inference

from .records import Row
from .schemes import Scheme, Setting, Size


def measured(scheme: Scheme, setting: Setting) -> Row:
    """Peak and operations of the second step (in the first, Adam makes its state), and what the planner foretold."""
    # Tensors on "meta" have no data and no way to the host; those of a fake mode have one, but cannot be copied deep.
    with FakeTensorMode() if scheme.host else nullcontext():
        job = scheme.prepare(setting)
        job.step(*job.inputs(setting))
        step = _measure_step(lambda: job.step(*job.inputs(setting)), job.standing())
    row: Row = {
        "scheme": scheme.key,
        "size": list(setting.size),
        "parameter_bytes": sum(p.numel() * p.element_size() for p in job.network.parameters()),
        **vars(step),
    }
    if job.plan is not None:
        row["predicted_bytes"] = job.plan.prediction.peak_bytes
        row["executor"] = job.plan.executor
        row["units"] = {segment.name: segment.technique for segment in job.plan.segments}
    return row


def measured_inference(kind: str, setting: Setting) -> Row:
    """Peak of one forward pass without gradients: "plain", or by our "fast" or "least" plan."""
    network = setting.network()
    run: Callable[[Tensor], Tensor] = network
    predicted = None
    if kind != "plain":
        plan = _inference_plan(network, setting.size, least=kind == "least")
        predicted, run = plan.prediction.peak_bytes, ManagedNetwork(network, plan)
    with torch.no_grad():
        step = _measure_step(lambda: run(torch.empty(1, 1, *setting.size, device="meta")), list(network.parameters()))
    row = {"inference": kind, "size": list(setting.size), **vars(step)}
    return row if predicted is None else {**row, "predicted_bytes": predicted}


def _inference_plan(network: nn.Module, size: Size, least: bool) -> MemoryPlan:
    if not least:
        return plan_inference(network, size)
    try:
        return plan_inference(network, size, budget_bytes=1)
    except BudgetError as error:  # nothing runs in one byte; the refusal tells the least that can be
        assert error.smallest is not None
        return error.smallest


@dataclass(frozen=True)
class _Step:
    peak_bytes: int
    flops: int
    host_bytes: int
    transferred_bytes: int


def _measure_step(step: Callable[[], Any], standing: list[Any]) -> _Step:
    device, host, traffic = PeakMeter("meta"), _HostMeter("cpu"), _Traffic()
    device.count(standing)
    with device, host, traffic:
        step()
    return _Step(device.peak, device.flops, host.peak, traffic.bytes)


class _HostMeter(PeakMeter):
    """Host memory alone; scalars of the optimiser are not worth a line."""

    def _add(self, tensor: Tensor) -> None:
        if tensor.dim():
            super()._add(tensor)


class _Traffic(TorchDispatchMode):
    """Bytes copied between the device and the host."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run it and see whether a tensor changed sides."""
        result = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default):
            sides = [value.device.type for value in tree_leaves((args[:2], result)) if isinstance(value, Tensor)]
            if len(set(sides)) > 1:
                self.bytes += result.numel() * result.element_size()
        return result
