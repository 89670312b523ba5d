"""What a pass costs as it is walked without data: live bytes, operations, traffic."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from FetusMapV2Lib.memory.operations import Operation

_ROUND = 512  # the CUDA allocator hands out multiples of this


@dataclass
class Ledger:
    """What a walk has cost so far.

    Attributes:
        current, peak: live bytes.
        flops: of convolutions.
        moved: bytes read and written by everything that is not a convolution.
        launches: operations started.
        operations: how often each was done.
        workspace: bytes that a convolution allocates for a moment.
        largest_workspace: of the convolutions so far.
        duration: seconds that an operation takes; asked for once something is transferred.
        transfer_s: seconds that a byte takes between device and host.
        transferred: bytes between device and host.
        waited: seconds that the computation waited for transfers.
        host, host_peak: bytes in host memory.
        timeline: (label, greatest live bytes while it ran).
    """

    current: int = 0
    peak: int = 0
    flops: int = 0
    moved: int = 0
    launches: int = 0
    operations: Counter[Operation] = field(default_factory=Counter)
    workspace: Callable[[Operation], int] = lambda operation: 0
    largest_workspace: int = 0
    duration: Callable[[Operation], float] = lambda operation: 0.0
    transfer_s: float = 0.0
    transferred: int = 0
    waited: float = 0.0
    host: int = 0
    host_peak: int = 0
    timeline: list[tuple[str, int]] = field(default_factory=list)
    _label: str = ""
    _label_peak: int = 0
    _now: float = 0.0  # of the computation, from the first transfer on
    _copied: float = 0.0  # when the copies so far will be done

    def take(self, count: int) -> None:
        """Allocate."""
        self.current += count
        if self.current > self._label_peak:  # which is never above the peak
            self._label_peak = self.current
            if self.current > self.peak:
                self.peak = self.current

    def take_host(self, count: int) -> None:
        """Allocate in host memory."""
        self.host += count
        self.host_peak = max(self.host_peak, self.host)

    def brief(self, count: int) -> None:
        """Allocate and free at once."""
        self.take(count)
        self.current -= count

    def transfer(self, count: int) -> float:
        """Queue a copy behind the copies so far and what the computation has done; gives when it will be done."""
        self.transferred += count
        self._copied = max(self._copied, self._now) + count * self.transfer_s
        return self._copied

    def wait(self, done: float) -> None:
        """The computation goes on when a copy is done."""
        self.waited += max(0.0, done - self._now)
        self._now = max(self._now, done)

    def work(self, kind: str, x: Any, moved: int, flops: int = 0) -> None:
        """Count one operation on a tensor `x` that reads and writes `moved` bytes."""
        self._count(Operation(kind, x.shape, x.dtype, moved, flops))

    def convolve(self, kind: str, z: Any, weight: Any, conv: Any) -> None:
        """Count a convolution or a gradient of one; two operations per weight and voxel of `z`, its output."""
        batch, _, *space = z.shape
        flops = 2 * weight.numel() * batch * math.prod(space)
        operation = Operation(kind, z.shape, z.dtype, 0, flops, weight.shape, (*conv.stride, *conv.dilation))
        self._count(operation)
        count = self.workspace(operation)
        if count:
            self.largest_workspace = max(self.largest_workspace, count)
            self.brief(count)

    def _count(self, operation: Operation) -> None:
        self.operations[operation] += 1
        self.launches += 1
        self.moved += operation.moved
        self.flops += operation.flops
        if self.transferred:
            self._now += self.duration(operation)

    def label(self, name: str) -> None:
        """Begin a new line of the timeline."""
        if self._label:
            self.timeline.append((self._label, self._label_peak))
        self._label, self._label_peak = name, self.current


class LedgerMemory:
    """Bytes that are live as long as somebody refers to them."""

    __slots__ = ("count", "host", "ledger")

    def __init__(self, ledger: Ledger, count: int, host: bool = False) -> None:
        self.ledger, self.host = ledger, host
        self.count = -(-count // _ROUND) * _ROUND
        (ledger.take_host if host else ledger.take)(self.count)

    def __del__(self) -> None:
        if self.host:
            self.ledger.host -= self.count
        else:
            self.ledger.current -= self.count
