"""Tensors that wait in host memory: transfers run beside the computation, host memory is pinned once and used again.

A copy stream takes the transfers in the order in which they are asked for. Each begins after what the computation has
queued before, and the computation waits for the one transfer that it needs: nothing waits for the whole device.
"""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

#: Device tensors that may be under way to the host at a time.
IN_FLIGHT = 2


class Copies(Protocol):
    """Transfers between a device and its host, one after the other, beside the computation."""

    def host(self, count: int) -> Tensor:
        """`count` bytes of host memory."""

    def copy(self, into: Tensor, source: Tensor) -> Any:
        """Queue a copy behind what the computation has queued so far; gives what `wait` takes.

        Both tensors must be kept until the computation has waited for the copy.
        """

    def wait(self, copied: Any) -> None:
        """Whatever the computation queues from now on runs after that copy."""


class CudaCopies:
    """A stream of an NVIDIA GPU and page-locked host memory.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)

    def host(self, count: int) -> Tensor:
        """`count` bytes of page-locked memory."""
        return torch.empty(count, dtype=torch.uint8, pin_memory=True)

    def copy(self, into: Tensor, source: Tensor) -> torch.cuda.Event:
        """Queue a copy behind what the computation has queued so far."""
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            into.copy_(source, non_blocking=True)
        copied: torch.cuda.Event = self.stream.record_event()
        return copied

    def wait(self, copied: torch.cuda.Event) -> None:
        """Whatever the computation queues from now on runs after that copy."""
        torch.cuda.current_stream(self.device).wait_event(copied)


class HostMemory:
    """Where a network's tensors wait from one pass to the next; keep one for all steps.

    At most two tensors are under way to the host at a time: a third waits, on the device, for the first to arrive; and
    none is held for longer than one unit of the network runs beside its transfer. On the way back, the tensor parked
    before the one fetched last is fetched ahead, as a backward pass reads them. On a CPU nothing is copied.

    Args:
        device: that the tensors come from.
        copies: how they are transferred, None = as suits the device.
    """

    def __init__(self, device: torch.device, copies: Copies | None = None) -> None:
        self.device = device
        self.copies: Copies | None = CudaCopies(device) if copies is None and device.type == "cuda" else copies
        self.allocated = 0  # bytes of host memory
        self._free: list[Tensor] = []
        self._outgoing: deque[tuple[Tensor, Any, int]] = deque()
        self._unit = 0
        self._waiting: list[weakref.ref[Parked]] = []
        # held here, not by what is parked: memory that is being written must not be freed when a step breaks off
        self._incoming: list[tuple[weakref.ref[Parked], Tensor, Any]] = []

    def park(self, x: Tensor) -> Parked:
        """Send a tensor to the host; the caller drops it and no longer changes it."""
        if self.copies is None:
            return Parked(x)
        buffer = self.take_buffer(x.numel() * x.element_size())
        dense = x if x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last_3d) else x.contiguous()
        host = buffer[: dense.numel() * dense.element_size()].view(dense.dtype).as_strided(dense.shape, dense.stride())
        self.send(host, dense)
        parked = Parked(host)
        weakref.finalize(parked, self._free.append, buffer)
        self._waiting.append(weakref.ref(parked))
        return parked

    def fetch(self, parked: Parked) -> Tensor:
        """A parked tensor, on the device again; its host memory is free once `parked` is dropped."""
        if self.copies is None:
            return parked.host
        self.settle()
        self._start(parked)
        (found,) = (each for each in self._incoming if each[0]() is parked)
        self._incoming.remove(found)
        self.copies.wait(found[2])
        self._waiting = [each for each in self._waiting if each() not in (None, parked)]
        before = self._waiting[-1]() if self._waiting else None
        if before is not None:
            self._start(before)
        return found[1]

    def send(self, host: Tensor, x: Tensor) -> None:
        """Queue the copy of `x` to the host; `x` is kept until it has arrived."""
        assert self.copies is not None
        while len(self._outgoing) >= IN_FLIGHT:
            self.copies.wait(self._outgoing[0][1])
            self._outgoing.popleft()
        self._outgoing.append((x, self.copies.copy(host, x), self._unit))

    def next_unit(self) -> None:
        """Another unit begins: what was sent before the last one began no longer holds device memory."""
        self._unit += 1
        while self._outgoing and self.copies is not None and self._outgoing[0][2] < self._unit - 1:
            self.copies.wait(self._outgoing[0][1])
            self._outgoing.popleft()

    def settle(self) -> None:
        """What was under way to the host no longer holds device memory."""
        while self._outgoing and self.copies is not None:
            self.copies.wait(self._outgoing[0][1])
            self._outgoing.popleft()

    def clear(self) -> None:
        """Let go of all device memory, whatever was interrupted; host memory stays for the next step."""
        self.settle()
        while self._incoming and self.copies is not None:
            self.copies.wait(self._incoming[-1][2])
            self._incoming.pop()
        self._waiting = []

    def take_buffer(self, count: int) -> Tensor:
        """At least `count` bytes of host memory; those of earlier steps where they fit."""
        assert self.copies is not None
        fits = [i for i, each in enumerate(self._free) if count <= each.numel() <= 2 * count]
        if fits:
            return self._free.pop(min(fits, key=lambda i: self._free[i].numel()))
        self.allocated -= sum(each.numel() for each in self._free)
        self._free.clear()  # of another size of volume
        self.allocated += count
        return self.copies.host(count)

    def give_buffer(self, buffer: Tensor) -> None:
        """Return what `take_buffer` gave; copies that still use it come before those that will."""
        self._free.append(buffer)

    def _start(self, parked: Parked) -> None:
        """Begin to fetch a tensor, unless that has begun."""
        if self.copies is None or any(each[0]() is parked for each in self._incoming):
            return
        host = parked.host
        room = torch.empty_strided(host.shape, host.stride(), dtype=host.dtype, device=self.device)
        self._incoming.append((weakref.ref(parked), room, self.copies.copy(room, host)))


@dataclass(eq=False)
class Parked:
    """A tensor in host memory, of `HostMemory.park`."""

    host: Tensor


class HostRows:
    """A tensor (B, C, K, J, I) in host memory that is written and read in slabs of rows, and never on the device whole.

    Rows are the outermost axis of the host memory, so that a slab is one block. When slabs are read in even steps, the
    next one is fetched ahead.

    Args:
        memory: where the bytes come from, and return to.
        shape: of the whole tensor.
        like: gives type and layout.
    """

    def __init__(self, memory: HostMemory, shape: tuple[int, ...], like: Tensor) -> None:
        self.memory = memory
        last = like.is_contiguous(memory_format=torch.channels_last_3d)
        self._order = (2, 0, 3, 4, 1) if last else (2, 0, 1, 3, 4)
        self._back = tuple(self._order.index(axis) for axis in range(5))
        sizes = tuple(shape[axis] for axis in self._order)
        count = torch.Size(sizes).numel() * like.element_size()
        if memory.copies is None:
            self._rows = torch.empty(sizes, dtype=like.dtype, device=memory.device)
        else:
            buffer = memory.take_buffer(count)
            self._rows = buffer[:count].view(like.dtype).view(sizes)
            weakref.finalize(self, memory.give_buffer, buffer)
        self._ahead: tuple[int, int, Tensor, Any] | None = None
        self._last, self._step = (0, 0), 0

    def write(self, i: int, j: int, rows: Tensor) -> None:
        """Write rows i to j; the caller no longer changes them."""
        source = rows.permute(self._order).contiguous()
        if self.memory.copies is None:
            self._rows[i:j].copy_(source)
            return
        self._drop()
        self.memory.send(self._rows[i:j], source)

    def read(self, i: int, j: int) -> Tensor:
        """Rows i to j, in memory of their own."""
        copies = self.memory.copies
        if copies is None:
            return self._rows[i:j].clone().permute(self._back)
        if self._ahead is None or self._ahead[:2] != (i, j):
            self._drop()
            self._fetch(i, j)
        assert self._ahead is not None
        found, copied = self._ahead[2:]
        copies.wait(copied)
        self._ahead = None
        step, rows = i - self._last[0], self._rows.shape[0]
        if step > 0 and step == self._step and j < rows:
            self._fetch(i + step, min(j + step, rows))
        self._last, self._step = (i, j), step
        return found.permute(self._back)

    def clear(self) -> None:
        """Let go of device memory."""
        self._drop()

    def _fetch(self, i: int, j: int) -> None:
        copies, source = self.memory.copies, self._rows[i:j]
        assert copies is not None
        found = torch.empty(source.shape, dtype=source.dtype, device=self.memory.device)
        self._ahead = (i, j, found, copies.copy(found, source))

    def _drop(self) -> None:
        """Device memory that is still being written must not be handed out again."""
        if self._ahead is not None and self.memory.copies is not None:
            self.memory.copies.wait(self._ahead[3])
            self._ahead = None

    def __del__(self) -> None:
        self._drop()
