"""Slabs that are written over a tensor which is still read."""

from __future__ import annotations

from torch import Tensor

from FetusMapV2Lib.memory.kernels import TorchKernels


class Trail:
    """Writes slab after slab over a tensor whose last rows the next slab still reads: these wait.

    Args:
        kernels: operations on tensors, or on their sizes.
        room: where the slabs go.
        lag: rows that wait.
    """

    def __init__(self, kernels: TorchKernels, room: Tensor, lag: int) -> None:
        self.kernels, self.room, self.lag = kernels, room, lag
        self.waiting: Tensor | None = None
        self.stop = 0

    def write(self, i: int, j: int, rows: Tensor) -> None:
        """Rows i to j; they follow those before."""
        self.end()
        ready = j - i - self.lag
        self.kernels.copy(self.room[:, :, i : j - self.lag], rows[:, :, :ready])
        if self.lag:
            self.waiting, self.stop = self.kernels.clone(rows[:, :, ready:]), j

    def end(self) -> None:
        """Write what waits."""
        if self.waiting is not None:
            self.kernels.copy(self.room[:, :, self.stop - self.lag : self.stop], self.waiting)
            self.waiting = None
