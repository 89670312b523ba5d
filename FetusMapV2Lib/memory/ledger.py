"""What a pass costs as it is walked without data: live bytes, operations, traffic."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from FetusMapV2Lib.memory.operations import Operation

_ROUND = 512  # the CUDA allocator hands out multiples of this
_LOOKS = 1.1  # growth of a walk after which it is asked once more whether it may end


@dataclass
class Ledger:
    """What a walk has cost so far.

    Attributes:
        itemised: keep `operations`, which takes as long as all the rest.
        stop: asked between two units whether the walk may end, as what it has cost already is too much.
        current, peak: live bytes.
        flops: of convolutions.
        moved: bytes read and written by everything that is not a convolution.
        launches: operations started.
        operations: how often each was done, where they are itemised.
        workspace: bytes that a convolution allocates for a moment; None = none.
        largest_workspace: of the convolutions so far.
        duration: seconds that an operation takes; asked for once something is transferred.
        transfer_s: seconds that a byte takes between device and host.
        transferred: bytes between device and host.
        waited: seconds that the computation waited for transfers.
        host, host_peak: bytes in host memory.
        timeline: (label, greatest live bytes while it ran).
    """

    itemised: bool = True
    stop: Callable[[Ledger], bool] | None = None
    current: int = 0
    peak: int = 0
    flops: int = 0
    moved: int = 0
    launches: int = 0
    operations: Counter[Operation] = field(default_factory=Counter)
    workspace: Callable[[Operation], int] | None = None
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
    _next_look: float = 0.0  # operations after which `stop` is asked again
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
        self.launches += 1
        self.moved += moved
        self.flops += flops
        if self.itemised or self.transferred:
            self._itemise(Operation(kind, x.shape, x.dtype, moved, flops))

    def convolve(self, kind: str, z: Any, weight: Any, conv: Any) -> None:
        """Count a convolution or a gradient of one; two operations per weight and voxel of `z`, its output."""
        shape = z.shape
        flops = 2 * weight.numel() * shape[0] * math.prod(shape[2:])
        self.launches += 1
        self.flops += flops
        if not (self.itemised or self.transferred or self.workspace is not None):
            return
        operation = Operation(kind, shape, z.dtype, 0, flops, weight.shape, (*conv.stride, *conv.dilation))
        self._itemise(operation)
        count = 0 if self.workspace is None else self.workspace(operation)
        if count:
            self.largest_workspace = max(self.largest_workspace, count)
            self.brief(count)

    def _itemise(self, operation: Operation) -> None:
        if self.itemised:
            self.operations[operation] += 1
        if self.transferred:
            self._now += self.duration(operation)

    def label(self, name: str) -> None:
        """Begin a new line of the timeline.

        Raises:
            StoppedError: the walk need not go on.
        """
        if self.stop is not None and self.launches >= self._next_look:
            self._next_look = _LOOKS * self.launches
            if self.stop(self):
                raise StoppedError
        if self._label:
            self.timeline.append((self._label, self._label_peak))
        self._label, self._label_peak = name, self.current


class StoppedError(Exception):
    """A walk has ended early."""


class LedgerMemory:
    """Bytes that are live as long as somebody refers to them."""

    __slots__ = ("count", "ledger")

    def __init__(self, ledger: Ledger, count: int) -> None:
        self.ledger = ledger
        self.count = -(-count // _ROUND) * _ROUND
        self._take()

    def _take(self) -> None:
        self.ledger.take(self.count)

    def __del__(self) -> None:
        self.ledger.current -= self.count


class HostLedgerMemory(LedgerMemory):
    """The same in host memory."""

    __slots__ = ()

    def _take(self) -> None:
        self.ledger.take_host(self.count)

    def __del__(self) -> None:
        self.ledger.host -= self.count
