"""What a network's units give when they run a slab of rows at a time, with all channels: the way for a GPU.

Rows are cut along the first axis of space. In a layout with the channels innermost, and for one sample, the rows of a
slab are one block of memory: a convolution reads them, halo included, where they are stored, and its tensor cores get
all channels. Slabs at the ends of the volume get rows of zeros, which is the padding of the whole convolution.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from FetusMapV2Lib.memory.executor import UnitExecutor
from FetusMapV2Lib.memory.kernels import Statistics
from FetusMapV2Lib.memory.plan import Storage
from FetusMapV2Lib.memory.rows import Convolution, RowConv, coarse_rows, cut_rows
from FetusMapV2Lib.memory.unit_kinds import ConvUnit, OpaqueUnit, PoolUnit
from FetusMapV2Lib.memory.units import ALL, Source, Unit


class Rows(NamedTuple):
    """Rows i to j of a value, with rows of zeros before and after them, or with a margin that is there already."""

    i: int
    j: int
    before: int = 0
    after: int = 0
    margin: int = 0


class SlabValues(UnitExecutor[Rows]):
    """The forward half of `SlabExecutor`: values of units, whole or rows of them.

    A unit is cut in slabs of `UnitChoice.rows` where its convolution keeps sizes, and those of all its readers do;
    others run whole.
    """

    # -- forward -----------------------------------------------------------------------------------------------

    def forward(self, volume: Tensor, until: Unit | None = None) -> Tensor:
        """Run all units, or those before `until`; gives the output's value, or the value of the last unit run."""
        return super().forward(self.kernels.arranged(volume), until)

    def run_opaque(self, unit: OpaqueUnit) -> None:
        """Call it."""
        state = self.states[unit]
        value, state.random = self.kernels.call(unit, [self.read_whole(source.unit) for source in unit.sources])
        state.y = self.kernels.arranged(value)
        state.shape = tuple(state.y.shape)

    def run_pooling(self, unit: PoolUnit) -> None:
        """Pool slab by slab."""
        state = self.states[unit]
        state.y = self._pooled(unit)
        state.shape = tuple(state.y.shape)

    def run_convolution(self, unit: ConvUnit) -> None:
        """Convolve slab by slab; take the statistics, and keep z, the value, both or neither."""
        state, storage = self.states[unit], self._storage(unit)
        if storage is Storage.NEVER and len(self._slabs(unit)) > 1:
            self._pass_statistics(unit)
            return
        state.z = self._convolved(unit)
        state.shape = tuple(state.z.shape)
        if unit.norm is not None:
            state.statistics = self.kernels.statistics(state.z, unit.per_sample)
        if storage is Storage.BOTH:
            state.y = self._activate(unit, state.z, ALL, in_place=False)
        elif storage is not Storage.KEPT:
            z, state.z = state.z, None
            state.y = self._activate(unit, z, ALL, in_place=True)

    def _pass_statistics(self, unit: ConvUnit) -> None:
        """Mean and variance of what is never there whole: those of its slabs, merged."""
        state = self.states[unit]
        found: Statistics | None = None
        for i, j in self._slabs(unit):
            z = self._convolve(unit, i, j)
            state.shape = (*z.shape[:2], self._rows(unit), *z.shape[3:])
            if unit.norm is not None:
                found = self.kernels.merge_statistics(found, self.kernels.statistics(z, unit.per_sample))
            del z
        state.statistics = found

    # -- how units are cut -------------------------------------------------------------------------------------

    def _height(self, unit: Unit) -> int:
        """Rows of a slab, an even number; 0 = the unit runs whole."""
        wanted = self.choices.of(unit.name).rows
        if unit.halves and not wanted:
            wanted = self._height(unit.sources[0].unit) // 2
        return wanted + wanted % 2 if unit.can_be_cut else 0

    def _rows(self, unit: Unit) -> int:
        """Of the whole value."""
        shape = self.states[unit].shape
        if shape:
            return shape[2]
        source = unit.sources[0]
        return unit.rows_from(self._rows(source.unit) * (1 if source.upsample is None else 2))

    def _slabs(self, unit: Unit) -> list[tuple[int, int]]:
        """First row and first row after it, for every slab."""
        rows = self._rows(unit)
        height = self._height(unit) or rows
        starts = list(range(0, rows - rows % 2, height)) or [0]  # a single row at the end goes with those before it
        return list(zip(starts, [*starts[1:], rows], strict=True))

    def _is_whole(self, unit: Unit, i: int, j: int) -> bool:
        return i == 0 and j == self._rows(unit)

    # -- values ------------------------------------------------------------------------------------------------

    def read_whole(self, unit: Unit) -> Tensor:
        """A unit's value; what is kept, or recomputed."""
        return self.value(unit, 0, self._rows(unit))

    def value(self, unit: Unit, a: int, b: int) -> Tensor:
        """Rows a to b of a unit's value, zeros beyond its ends: a view of what is kept, or new."""
        rows = self._rows(unit)
        i, j = max(a, 0), min(b, rows)
        before, after = i - a, b - j
        self._bring_back(unit)
        state = self.states[unit]
        if state.y is not None:
            return self._padded(cut_rows(state.y, i, j), before, after)
        return unit.part(self, Rows(i, j, before, after))

    def convolved_part(self, unit: ConvUnit, part: Rows) -> Tensor:
        """From z where that is kept, else by a convolution."""
        z = self.states[unit].z
        if z is not None:
            return self._activated(unit, cut_rows(z, part.i, part.j), part.before, part.after)
        value = self._activate(unit, self._convolve(unit, part.i, part.j), ALL, in_place=True)
        return self._padded(value, part.before, part.after)

    def pooled_part(self, unit: PoolUnit, part: Rows) -> Tensor:
        """Pooled once more."""
        return self._padded(self._pool_rows(unit.sources[0].unit, 2 * part.i, 2 * part.j), part.before, part.after)

    def opaque_part(self, unit: OpaqueUnit, part: Rows) -> Tensor:
        """Of the whole, called once more."""
        value = cut_rows(self.kernels.arranged(self._called_again(unit)), part.i, part.j)
        return self._padded(value, part.before, part.after)

    def _activated(self, unit: ConvUnit, z: Tensor, before: int, after: int) -> Tensor:
        """The value of rows whose z is at hand and must stay, with rows of zeros around it."""
        if not before and not after:
            return self._activate(unit, z, ALL, in_place=False)
        if unit.is_plain:
            return self._padded(z, before, after)
        rows = z.shape[2]
        result = self.kernels.empty((*z.shape[:2], before + rows + after, *z.shape[3:]), z)
        self.kernels.clear(result[:, :, :before])
        self.kernels.clear(result[:, :, before + rows :])
        self.kernels.activate(z, self._scale(unit, ALL), unit.slope, False, result[:, :, before : before + rows])
        return result

    def _padded(self, x: Tensor, before: int, after: int) -> Tensor:
        return self.kernels.pad_rows(x, before, after) if before or after else x

    def _bring_back(self, unit: Unit) -> None:
        """What waits in host memory returns; in the backward pass, what was dropped is made again, but `NEVER`."""
        state = self.states[unit]
        if state.y is not None or state.z is not None:
            return
        if state.host is not None:
            state.z, state.host = self.kernels.to_device(state.host, self._device), None
        elif unit.comes_whole or (self.going_back and self._storage(unit) is Storage.RECOMPUTED):
            unit.make_again(self)

    def convolve_again(self, unit: ConvUnit) -> None:
        """Keep z."""
        self.states[unit].z = self._convolved(unit)

    def pool_again(self, unit: PoolUnit) -> None:
        """Keep the value."""
        self.states[unit].y = self._pooled(unit)

    def call_again(self, unit: OpaqueUnit) -> None:
        """Keep the value."""
        self.states[unit].y = self.kernels.arranged(self._called_again(unit))

    def _pooled(self, unit: Unit) -> Tensor:
        source = unit.sources[0].unit
        result: Tensor | None = None
        for i, j in self._slabs(unit):
            if self._is_whole(unit, i, j):
                return self._pool_rows(source, 0, self._rows(source))
            part = self._pool_rows(source, 2 * i, 2 * j)
            result = self._collected(result, part, i, j, self._rows(unit))
            del part
        assert result is not None
        return result

    def _pool_rows(self, source: Unit, i: int, j: int) -> Tensor:
        """The pooled rows i to j of a unit's value."""
        state = self.states[source]
        if state.y is None and state.z is not None and not source.is_plain:
            return self.kernels.pool_activated(cut_rows(state.z, i, j), self._scale(source, ALL), source.slope)
        return self.kernels.pool(self.value(source, i, j))

    def _convolved(self, unit: ConvUnit) -> Tensor:
        """The whole output of a convolution."""
        result: Tensor | None = None
        for i, j in self._slabs(unit):
            if self._is_whole(unit, i, j):
                return self._convolve(unit, i, j)
            piece = self._convolve(unit, i, j)
            result = self._collected(result, piece, i, j, self._rows(unit))
            del piece
        assert result is not None
        return result

    def _collected(self, result: Tensor | None, part: Tensor, i: int, j: int, rows: int) -> Tensor:
        """Rows i to j written into a tensor, which is made with the first of them."""
        if result is None:
            result = self.kernels.empty((*part.shape[:2], rows, *part.shape[3:]), part)
        self.kernels.copy(result[:, :, i:j], part)
        return result

    def _convolve(self, unit: ConvUnit, i: int, j: int) -> Tensor:
        """Rows i to j of a convolution's output, summed over its sources: no concatenation is built."""
        kernels = self.kernels
        weight = kernels.parameter(unit.conv.weight)
        bias = None if unit.conv.bias is None else kernels.parameter(unit.conv.bias)
        result: Tensor | None = None
        for source in unit.sources:
            x, conv = self._operand(unit, source, i, j)
            piece = kernels.conv(x, weight[:, self._into(unit, source)], None if result is not None else bias, conv)
            del x
            if result is None:
                result = piece
            else:
                kernels.add(result, piece)
            del piece
        assert result is not None
        return result

    def _into(self, unit: ConvUnit, source: Source) -> slice:
        """The convolution's input channels that a source feeds."""
        return slice(source.offset, source.offset + self.states[source.unit].shape[1])

    def _operand(self, unit: ConvUnit, source: Source, i: int, j: int) -> tuple[Tensor, Convolution]:
        """What a convolution reads of a source for rows i to j of its output, and the convolution that suits it."""
        if self._is_whole(unit, i, j):
            whole = self.kernels.cast(self.read_whole(source.unit), self._type(unit))
            return (whole if source.upsample is None else self.kernels.upsample(whole, source.upsample)), unit.conv
        conv = RowConv.of(unit.conv)
        a, b = i - conv.halo, j + conv.halo
        if source.upsample is None:
            return self.kernels.cast(self.value(source.unit, a, b), self._type(unit)), conv
        rows = self._rows(source.unit)
        first, last = max(a, 0), min(b, 2 * rows)
        c, d = coarse_rows(first, last, rows)
        coarse = self.kernels.cast(self.value(source.unit, c, d), self._type(unit))
        fine = self.kernels.upsample(coarse, source.upsample)[:, :, first - 2 * c : last - 2 * c]
        return self._padded(fine, first - a, b - last), conv
