"""Host memory for shape tensors: what transfers beside the computation hold on the device, as those of `offload` do."""

from __future__ import annotations

import math
import weakref
from collections import deque
from typing import Any

from FetusMapV2Lib.memory.ledger import HostLedgerMemory, Ledger, LedgerMemory
from FetusMapV2Lib.memory.offload import IN_FLIGHT


class ShapeTransfers:
    """`HostMemory` for shape tensors.

    Args:
        ledger: takes host memory and traffic.
        beside: copies run beside the computation; else a tensor is on the host at once.
    """

    def __init__(self, ledger: Ledger, beside: bool) -> None:
        self.ledger, self.beside = ledger, beside
        self._outgoing: deque[tuple[Any, float, int]] = deque()
        self._unit = 0
        self._waiting: list[weakref.ref[Any]] = []
        self._incoming: list[tuple[weakref.ref[Any], Any, float]] = []

    def park(self, x: Any) -> Any:
        """A tensor in host memory; `x` stays on the device for a while, see `send`."""
        parked = x.like(HostLedgerMemory(self.ledger, x.bytes))
        self.send(x)
        self._waiting.append(weakref.ref(parked))
        return parked

    def send(self, x: Any) -> None:
        """Count the transfer of `x`, and hold it until two others have been sent or a unit has run."""
        if not self.beside:
            self.ledger.wait(self.ledger.transfer(x.bytes))
            return
        while len(self._outgoing) >= IN_FLIGHT:
            self.ledger.wait(self._outgoing.popleft()[1])
        self._outgoing.append((x, self.ledger.transfer(x.bytes), self._unit))

    def fetch(self, parked: Any) -> Any:
        """A parked tensor on the device; the one parked before it is fetched ahead."""
        self.settle()
        self._begin(parked)
        found = next(each for each in self._incoming if each[0]() is parked)
        self._incoming.remove(found)
        self.ledger.wait(found[2])
        self._waiting = [each for each in self._waiting if each() not in (None, parked)]
        before = self._waiting[-1]() if self._waiting else None
        if before is not None and self.beside:
            self._begin(before)
        return found[1]

    def next_unit(self) -> None:
        """Another unit begins: what was sent before the last one began has arrived."""
        self._unit += 1
        while self._outgoing and self._outgoing[0][2] < self._unit - 1:
            self.ledger.wait(self._outgoing.popleft()[1])

    def settle(self) -> None:
        """What was under way to the host has arrived."""
        while self._outgoing:
            self.ledger.wait(self._outgoing.popleft()[1])

    def _begin(self, parked: Any) -> None:
        """Fetch a tensor, unless that has begun."""
        if all(each[0]() is not parked for each in self._incoming):
            room = parked.like(LedgerMemory(self.ledger, parked.bytes))
            self._incoming.append((weakref.ref(parked), room, self.ledger.transfer(parked.bytes)))

    def clear(self) -> None:
        """Let go of all device memory."""
        self.settle()
        self._incoming.clear()
        self._waiting.clear()


class ShapeRows:
    """`HostRows` for shape tensors.

    Args:
        transfers: the host memory.
        shape: of the whole tensor.
        like: gives its type.
        channels_last: the layout in which a slab is one block, so that none is copied.
    """

    def __init__(self, transfers: ShapeTransfers, shape: tuple[int, ...], like: Any, channels_last: bool) -> None:
        self.transfers, self.shape, self.channels_last = transfers, shape, channels_last
        self.like = like.like(None)  # the rows themselves are not kept
        count = math.prod(shape) * like.dtype.itemsize
        self.memory = HostLedgerMemory(transfers.ledger, count)
        self._ahead: tuple[int, int, Any, float] | None = None
        self._last, self._step = 0, 0

    def write(self, i: int, j: int, rows: Any) -> None:
        """Send rows i to j, rearranged where they are no block."""
        self._drop()
        block = self.channels_last and self.shape[0] == 1
        copied = rows if block or not self.transfers.beside else rows.like(self._new(rows.bytes))
        self.transfers.send(copied)

    def read(self, i: int, j: int) -> Any:
        """Rows i to j; those of the next even step are fetched ahead."""
        if self._ahead is None or self._ahead[:2] != (i, j):
            self._drop()
            self._fetch(i, j)
        assert self._ahead is not None
        found, done = self._ahead[2:]
        self.transfers.ledger.wait(done)
        self._ahead = None
        step, rows = i - self._last, self.shape[2]
        if self.transfers.beside and step > 0 and step == self._step and j < rows:
            self._fetch(i + step, min(j + step, rows))
        self._last, self._step = i, step
        return found

    def _fetch(self, i: int, j: int) -> None:
        shape = (*self.shape[:2], j - i, *self.shape[3:])
        count = math.prod(shape) * self.like.dtype.itemsize
        room = self.like.like(self._new(count), shape)
        self._ahead = (i, j, room, self.transfers.ledger.transfer(count))

    def _drop(self) -> None:
        if self._ahead is not None:
            self.transfers.ledger.wait(self._ahead[3])
            self._ahead = None

    def _new(self, count: int) -> LedgerMemory:
        return LedgerMemory(self.transfers.ledger, count)
