"""Measured durations of operations, and what follows from them for operations of other sizes."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch

from FetusMapV2Lib.memory.operations import CONVOLUTIONS, Operation

_Points = list[tuple[float, float]]
_OTHER_KERNEL = 10.0  # distance between convolutions whose kernels differ in size


class _Group(NamedTuple):
    """Convolutions that differ by their rows alone; `plane` is batch and the last two axes."""

    kind: str
    dtype: str
    weight: tuple[int, ...]
    steps: tuple[int, ...]
    plane: tuple[int, ...]

    def flops(self, rows: float) -> float:
        """Operations on so many rows."""
        return 2 * math.prod(self.weight) * math.prod(self.plane) * rows


@dataclass(frozen=True)
class Timing:
    """An operation as it was measured; see `operations.Operation`.

    Attributes:
        seconds: median duration.
        workspace: bytes that it allocated for a moment, beside its result.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    moved: int
    flops: int
    weight: tuple[int, ...]
    steps: tuple[int, ...]
    seconds: float
    workspace: int = 0

    @classmethod
    def of(cls, operation: Operation, seconds: float, workspace: int = 0) -> Timing:
        """Of an operation."""
        name = dtype_name(operation.dtype)
        return cls(*operation._replace(dtype=name), seconds, workspace)  # type: ignore[arg-type]


@dataclass(frozen=True)
class StepTiming:
    """A whole step as it was measured: forward, loss and backward, without the optimiser.

    Attributes:
        way: "plain", "plain, channels last" or "units" (every convolution's output kept, nothing cut).
        size: (k, j, i) of its input.
        seconds: median duration.
        peak_bytes: by the CUDA allocator, 0 where it was not counted.
    """

    way: str
    size: tuple[int, ...]
    seconds: float
    peak_bytes: int = 0

    @property
    def seconds_per_voxel(self) -> float:
        """Of the input."""
        return self.seconds / math.prod(self.size)


@dataclass(frozen=True)
class Timings:
    """Everything that was measured of a network on a device.

    Attributes:
        operations: of the network's own shapes.
        steps: whole steps.
        launch_s: of an operation on a tensor of no size.
        transfer_s: seconds for a byte between device and host, 0 where they are one.
        scale: a whole step by the executor, relative to the sum of its operations.
    """

    operations: tuple[Timing, ...]
    steps: tuple[StepTiming, ...] = ()
    launch_s: float = 0.0
    transfer_s: float = 0.0
    scale: float = 1.0

    def seconds(self, operations: Iterable[tuple[Operation, int]]) -> float:
        """Duration of some operations, each done so many times."""
        return self.scale * sum(count * self.of(operation) for operation, count in operations)

    def of(self, operation: Operation) -> float:
        """Duration of one operation: of those measured, interpolated or scaled from the most similar one."""
        found = self._known.get(operation)
        if found is None:
            convolves = operation.kind in CONVOLUTIONS
            found = self._known[operation] = self._convolution(operation) if convolves else self._pass(operation)
        return found

    def workspace(self, operation: Operation) -> int:
        """Bytes that a convolution allocates for a moment."""
        rows = operation.shape[2]
        near = self._workspaces.get(_group_of(operation))
        if near is None:
            return 0
        height, count = min(near, key=lambda known: abs(known[0] - rows))
        return int(count * min(1.0, rows / height))

    def step(self, way: str) -> StepTiming | None:
        """The whole step of a kind."""
        return next((step for step in self.steps if step.way == way), None)

    @cached_property
    def _known(self) -> dict[Operation, float]:
        return {}

    @cached_property
    def _groups(self) -> dict[_Group, _Points]:
        """(rows, seconds) of the same convolution in slabs of several heights."""
        groups: dict[_Group, _Points] = {}
        for timing in self.operations:
            if timing.kind in CONVOLUTIONS:
                groups.setdefault(_group(timing), []).append((timing.shape[2], timing.seconds))
        return {group: sorted(points) for group, points in groups.items()}

    @cached_property
    def _workspaces(self) -> dict[_Group, list[tuple[int, int]]]:
        """(rows, bytes) of the same."""
        groups: dict[_Group, list[tuple[int, int]]] = {}
        for timing in self.operations:
            if timing.kind in CONVOLUTIONS:
                groups.setdefault(_group(timing), []).append((timing.shape[2], timing.workspace))
        return groups

    @cached_property
    def _passes(self) -> dict[tuple[str, str], _Points]:
        """(bytes moved, seconds) of every kind of pass."""
        passes: dict[tuple[str, str], _Points] = {}
        for timing in self.operations:
            if timing.kind not in CONVOLUTIONS:
                passes.setdefault((timing.kind, timing.dtype), []).append((timing.moved, timing.seconds))
        return {kind: sorted(points) for kind, points in passes.items()}

    def _convolution(self, operation: Operation) -> float:
        group, rows = _group_of(operation), operation.shape[2]
        points = self._groups.get(group)
        if points is not None:
            return self._along(points, rows)
        similar = [other for other in self._groups if other[:2] == group[:2]]
        if not similar:
            return self.launch_s + operation.flops / self._flops_per_s
        closest = min(similar, key=lambda other: _distance(group, other))
        return self.launch_s + operation.flops * self._along(self._groups[closest], rows) / closest.flops(rows)

    def _pass(self, operation: Operation) -> float:
        points = self._passes.get((operation.kind, dtype_name(operation.dtype)))
        if points is not None:
            return self._along(points, operation.moved)
        return self.launch_s + operation.moved / self._bytes_per_s + operation.flops / self._flops_per_s

    def _along(self, points: _Points, x: float) -> float:
        """Seconds at x, between or beyond measured points."""
        place = bisect_left(points, (x, 0.0))
        if place < len(points) and points[place][0] == x:
            return points[place][1]
        if 0 < place < len(points):
            (x0, y0), (x1, y1) = points[place - 1], points[place]
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
        x0, y0 = points[min(place, len(points) - 1)]
        return self.launch_s + max(0.0, y0 - self.launch_s) * x / max(x0, 1)

    @cached_property
    def _flops_per_s(self) -> float:
        """Of all measured convolutions together."""
        found = [timing for timing in self.operations if timing.kind in CONVOLUTIONS]
        return _rate(sum(timing.flops for timing in found), found)

    @cached_property
    def _bytes_per_s(self) -> float:
        """Of all measured passes together."""
        found = [timing for timing in self.operations if timing.kind not in CONVOLUTIONS]
        return _rate(sum(timing.moved for timing in found), found)


def _rate(amount: int, timings: list[Timing]) -> float:
    seconds = sum(timing.seconds for timing in timings)
    return amount / seconds if seconds else math.inf


def dtype_name(dtype: torch.dtype) -> str:
    """Such as "float32"."""
    return str(dtype).removeprefix("torch.")


def _group_of(operation: Operation) -> _Group:
    batch, _, _, *plane = operation.shape
    kind, dtype = operation.kind, dtype_name(operation.dtype)
    return _Group(kind, dtype, operation.weight, operation.steps, (batch, *plane))


def _group(timing: Timing) -> _Group:
    batch, _, _, *plane = timing.shape
    return _Group(timing.kind, timing.dtype, timing.weight, timing.steps, (batch, *plane))


def _distance(one: _Group, other: _Group) -> float:
    """How unlike two convolutions are: octaves of channels, and a little of the plane's size."""
    pairs = zip(one.weight[:2], other.weight[:2], strict=True)
    channels = sum(abs(math.log2(mine / its)) for mine, its in pairs)
    size = abs(math.log2(math.prod(one.plane) / math.prod(other.plane)))
    return channels + 0.25 * size + (_OTHER_KERNEL if one.weight[2:] != other.weight[2:] else 0.0)
