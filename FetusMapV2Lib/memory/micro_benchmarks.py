"""Times single operations and whole steps of a network on a device, as the executors run them there."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from FetusMapV2Lib.memory.kernels import Statistics, TorchKernels
from FetusMapV2Lib.memory.operations import CONVOLUTIONS, Operation
from FetusMapV2Lib.memory.rows import RowConv
from FetusMapV2Lib.memory.timings import StepTiming, Timing
from FetusMapV2Lib.memory.units import ALL
from FetusMapV2Lib.memory.workspace import ConvolutionShape, measure_workspace

_MOST_REPEATS = 10
_FIRST_ROWS = 2  # a convolution is tried on so many rows first: its duration tells how many the time allows
_SMALL = 2**16  # elements of a tensor that costs little but the start of an operation

Run = Callable[[], Any]


class OperationTimer:
    """Times operations on a device.

    Args:
        kernels: that do them.
        device: that they run on.
        each_s: time for one operation, repeats included: larger tensors are cut to fewer rows.
    """

    def __init__(self, kernels: TorchKernels, device: torch.device, each_s: float) -> None:
        self.kernels, self.device, self.each_s = kernels, device, each_s

    @torch.no_grad()
    def time(self, operation: Operation) -> Timing | None:
        """Of one operation, perhaps on fewer rows than it asks for; None for what cannot be timed alone."""
        rows = operation.shape[2] if len(operation.shape) == 5 else 1
        if self.device.type == "cpu" and rows > _FIRST_ROWS:
            trial = self._time(_with_rows(operation, _FIRST_ROWS), repeats=1)
            if trial is None:
                return None
            rows = _even(min(rows, int(_FIRST_ROWS * self.each_s / 3 / max(trial.seconds, 1e-9))))
        try:
            return self._time(_with_rows(operation, max(_FIRST_ROWS, rows)))
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            return self._time(_with_rows(operation, _even(rows // 8)))

    def launch(self) -> float:
        """Seconds that an operation takes at least."""
        x = torch.zeros(8, device=self.device)
        return self._seconds(lambda: x.add_(1), 10 * _MOST_REPEATS)

    def transfer_s(self) -> float:
        """Seconds for a byte from the device to the host or back; 0 where they are one."""
        if self.device.type == "cpu":
            return 0.0
        x = torch.zeros(2**26, dtype=torch.uint8, device=self.device)
        host = torch.zeros(2**26, dtype=torch.uint8, pin_memory=True)
        return self._seconds(lambda: (host.copy_(x, non_blocking=True), x.copy_(host)), 3) / (2 * x.numel())

    def _time(self, operation: Operation, repeats: int = 0) -> Timing | None:
        run = prepared(self.kernels, operation, self.device)
        if run is None:
            return None
        started = time.perf_counter()
        run()
        first = time.perf_counter() - started
        repeats = repeats or max(1, min(_MOST_REPEATS, int(self.each_s / max(first, 1e-6)) - 1))
        return Timing.of(operation, self._seconds(run, repeats), self._workspace(operation))

    def _seconds(self, run: Run, repeats: int) -> float:
        if self.device.type == "cpu":
            return statistics.median(_timed(run) for _ in range(repeats))
        run()
        torch.cuda.synchronize(self.device)
        started = time.perf_counter()
        for _ in range(repeats):  # queued one behind the other, as in a step
            run()
        torch.cuda.synchronize(self.device)
        return (time.perf_counter() - started) / repeats

    def _workspace(self, operation: Operation) -> int:
        """Bytes that a convolution takes for a moment beside its tensors."""
        if operation.kind not in CONVOLUTIONS or self.device.type != "cuda":
            return 0
        conv, source = _row_conv(operation)
        shape = ConvolutionShape(
            source, operation.weight, conv.padding, conv.stride, conv.dilation, operation.dtype, self.kernels.layout
        )
        found = measure_workspace(shape, self.device)
        return {"conv": found.forward, "input_gradient": found.input_gradient}.get(
            operation.kind, found.weight_gradient
        )


def _timed(run: Run) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _even(rows: int) -> int:
    return max(_FIRST_ROWS, rows - rows % 2)


def _with_rows(operation: Operation, rows: int) -> Operation:
    """The same on so many rows."""
    if len(operation.shape) != 5 or rows >= operation.shape[2]:
        return operation
    shape = (*operation.shape[:2], rows, *operation.shape[3:])
    share = rows / operation.shape[2]
    return operation._replace(shape=shape, moved=int(operation.moved * share), flops=int(operation.flops * share))


def small(operation: Operation) -> Operation:
    """The same kind of pass on a tensor that fits every cache."""
    if len(operation.shape) != 5:
        return operation
    batch, channels, *_ = operation.shape
    side = max(2, _even(round((_SMALL / channels) ** (1 / 3))))
    share = batch * channels * side**3 / math.prod(operation.shape)
    return operation._replace(shape=(batch, channels, side, side, side), moved=int(operation.moved * share))


def prepared(kernels: TorchKernels, operation: Operation, device: torch.device) -> Run | None:
    """A function that does an operation on noise; None for a kind that is not known."""
    if operation.kind in CONVOLUTIONS:
        return _convolution(kernels, operation, device)
    if operation.kind == "optimiser":
        return _optimiser(operation, device)
    x = _noise(kernels, operation.shape, operation.dtype, device)
    for passes in (_plain_passes, _norm_passes, _sampling_passes):
        found = passes(kernels, operation, x)
        if found is not None:
            return found
    return None


def _noise(kernels: TorchKernels, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return kernels.empty(shape, torch.empty(0, dtype=dtype, device=device)).normal_()


def _row_conv(operation: Operation) -> tuple[RowConv, tuple[int, ...]]:
    """The convolution of rows that carry their halo, and the shape that it reads."""
    _, inputs, *size = operation.weight
    stride, dilation = operation.steps[:3], operation.steps[3:]
    padding = tuple(0 if axis == 0 else dilation[axis] * (size[axis] - 1) // 2 for axis in range(3))
    batch, _, rows, *plane = operation.shape
    deep = (rows - 1) * stride[0] + dilation[0] * (size[0] - 1) + 1
    source = (batch, inputs, deep, *(n * s for n, s in zip(plane, stride[1:], strict=True)))
    return RowConv(tuple(size), padding, stride, dilation), source


def _convolution(kernels: TorchKernels, operation: Operation, device: torch.device) -> Run:
    conv, source = _row_conv(operation)
    weight = torch.randn(operation.weight, device=device) / math.prod(operation.weight[2:])
    if operation.kind == "conv":
        x = _noise(kernels, source, operation.dtype, device)
        return lambda: kernels.conv(x, weight, None, conv)
    dz = _noise(kernels, operation.shape, operation.dtype, device)
    if operation.kind == "input_gradient":
        return lambda: kernels.input_gradient(dz, weight, source, conv)
    x = _noise(kernels, source, operation.dtype, device)
    return lambda: kernels.weight_gradient(dz, x, weight, conv)


def _optimiser(operation: Operation, device: torch.device) -> Run:
    """A step of Adam on as many parameters, in parts as a network has them."""
    parameters = [nn.Parameter(part) for part in torch.zeros(operation.shape, device=device).tensor_split(8)]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    return torch.optim.Adam(parameters).step


def _plain_passes(kernels: TorchKernels, operation: Operation, x: Tensor) -> Run | None:
    other = torch.float32 if x.dtype != torch.float32 else torch.bfloat16
    into = torch.empty_like(x)
    runs: dict[str, Run] = {
        "zeros": lambda: kernels.zeros(operation.shape, x),
        "clear": lambda: kernels.clear(x),
        "cast": lambda: kernels.cast(x, other),
        "bias_gradient": lambda: kernels.bias_gradient(x, x),
        "add": lambda: kernels.add(into, x),
        "copy": lambda: kernels.copy(into, x),
        "clone": lambda: kernels.clone(x),
        "times": lambda: kernels.times(x, 1.0),  # type: ignore[arg-type]
        "pad_rows": lambda: kernels.pad_rows(x, 1, 1),
        "loss": lambda: x.exp().sum((2, 3, 4)),
        "loss_gradient": lambda: into.copy_(x).sub_(1.0).exp_().mul_(0.5),
    }
    return runs.get(operation.kind)


def _norm_passes(kernels: TorchKernels, operation: Operation, x: Tensor) -> Run | None:
    kinds = ("statistics", "activate", "activate_in_place", "mask", "norm_sums", "norm_backward")
    if operation.kind not in kinds:
        return None
    channels = x.shape[1]
    found = torch.zeros(channels, device=x.device), torch.ones(channels, device=x.device)
    known = Statistics(*found, x.numel() // channels)
    scale = kernels.scale_and_shift(known, None, None, 1e-5, ALL)
    normed = scale if operation.moved > 3 * x.numel() * x.element_size() else None
    gradient = x.clone()
    runs: dict[str, Run] = {
        "statistics": lambda: kernels.statistics(x, False),
        "activate": lambda: kernels.activate(x, normed, 0.0, False),
        "activate_in_place": lambda: kernels.activate(x, normed, 0.0, True),
        "mask": lambda: kernels.mask(gradient, x, 0.0),
        "norm_sums": lambda: kernels.norm_sums(gradient, x, known, scale[2], ALL),
        "norm_backward": lambda: kernels.norm_backward(gradient, x, scale, known, found, ALL, None),
    }
    return runs[operation.kind]


def _sampling_passes(kernels: TorchKernels, operation: Operation, x: Tensor) -> Run | None:
    if operation.kind == "concatenate":
        half = [part.contiguous(memory_format=kernels.layout) for part in x.tensor_split(2, 1)]
        return lambda: kernels.concatenate(half)
    if operation.kind == "pool":
        return lambda: kernels.pool(x)
    if operation.kind == "pool_backward":
        gradient = kernels.pool(x)
        return lambda: kernels.pool_backward(gradient, x)
    if operation.kind == "upsample":
        return lambda: kernels.upsample(x, _upsample_twice)
    if operation.kind == "upsample_backward":
        return lambda: kernels.upsample_backward(x)
    return None


def _upsample_twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)


def time_operations(
    timer: OperationTimer, operations: Iterable[Operation], end: float, tell: Callable[[], None] = lambda: None
) -> Iterator[Timing]:
    """Time operations one after the other until the clock (`time.perf_counter`) shows `end`; the first at least."""
    for number, operation in enumerate(operations):
        if number and time.perf_counter() > end:
            return
        found = timer.time(operation)
        tell()
        if found is not None:
            yield found


def time_step(
    network: nn.Module,
    size: tuple[int, int, int],
    *,
    way: str,
    call: Callable[[nn.Module], Callable[[Tensor], Tensor]],
    device: torch.device,
    batch: int = 1,
    autocast: torch.dtype | None = None,
    repeats: int = 3,
) -> StepTiming:
    """Forward, plain loss and backward of a network's twin on noise; the network itself is left alone.

    Args:
        network: to run.
        size: of its input (k, j, i).
        way: see `StepTiming`.
        call: gives the function that runs the twin.
        device: to run on.
        batch: volumes at once.
        autocast: type of convolutions, None = float32.
        repeats: timed steps, after one that is not.
    """
    twin = copy.deepcopy(network).to(device)
    run = call(twin)
    channels = getattr(network, "in_channels", 1)
    volume = torch.randn(batch, channels if isinstance(channels, int) else 1, *size, device=device)

    def step() -> None:
        twin.zero_grad()
        with nullcontext() if autocast is None else torch.autocast(device.type, autocast):
            logits = run(volume)
        flat = logits.float().flatten(2)
        (torch.log_softmax(flat, -1) * -1e-6).sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    step()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = statistics.median(_timed(step) for _ in range(repeats))
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return StepTiming(way, size, seconds, peak)
