"""What one step takes, measured: by the CUDA allocator, or counted by the meter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from FetusMapV2Lib.memory.meter import Measured, PeakMeter
from FetusMapV2Lib.memory.operations import Operation


def measure_step(
    step: Callable[[], Any],
    device: str | torch.device,
    standing: Iterable[Any] = (),
    timeline: bool = False,
    workspace: Callable[[Operation], int] | None = None,
) -> Measured:
    """Peak memory of a step on a device.

    Args:
        step: runs it.
        device: "cuda": the allocator's own figure; else counted by `PeakMeter`. Without a GPU, a `FakeTensorMode` knows
            "meta" tensors beside "cpu" ones, but not "cuda": "meta" stands for the GPU, "cpu" for the host.
        standing: tensors that live before the step and count.
        timeline: see `PeakMeter`.
        workspace: see `PeakMeter`.
    """
    kind = torch.device(device).type
    if kind == "cuda" and torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return Measured(torch.cuda.max_memory_allocated(), 0)
    meter = PeakMeter(kind, timeline, workspace)
    meter.count(list(standing))
    with meter:
        step()
    return Measured(meter.peak, meter.flops, tuple(meter.timeline or ()))
