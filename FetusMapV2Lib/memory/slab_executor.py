"""Runs a network a slab of rows at a time, with all channels: the way for a GPU.

Rows are cut along the first axis of space. In a layout with the channels innermost, and for one sample, the rows of a
slab are one block of memory: a convolution reads them, halo included, where they are stored, and its tensor cores get
all channels. Slabs at the ends of the volume get rows of zeros, which is the padding of the whole convolution.
"""

from __future__ import annotations

from torch import Tensor

from FetusMapV2Lib.memory.executor import UnitExecutor
from FetusMapV2Lib.memory.kernels import Convolution, RowConv, Statistics, TorchKernels, coarse_rows, keeps_size
from FetusMapV2Lib.memory.plan import Storage
from FetusMapV2Lib.memory.units import ALL, ConvUnit, InputUnit, OpaqueUnit, PoolUnit, Source, Unit, is_plain

Sums = tuple[Tensor, Tensor]


class SlabExecutor(UnitExecutor):
    """One pass through a network whose units are worked on in slabs of `UnitChoice.rows` rows, or whole.

    A unit is cut where its convolution keeps sizes, and those of all its readers do; others run whole.
    """

    # -- forward -----------------------------------------------------------------------------------------------

    def forward(self, volume: Tensor, until: Unit | None = None) -> Tensor:
        """Run all units, or those before `until`; gives the output's value, or the value of the last unit run."""
        return super().forward(self.kernels.arranged(volume), until)

    def _run(self, unit: Unit) -> None:
        state = self.states[unit]
        if isinstance(unit, OpaqueUnit):
            value, state.random = self.kernels.call(unit, [self.read_whole(source.unit) for source in unit.sources])
            state.y = self.kernels.arranged(value)
            state.shape = tuple(state.y.shape)
        elif isinstance(unit, PoolUnit):
            state.y = self._pooled(unit)
            state.shape = tuple(state.y.shape)
        else:
            assert isinstance(unit, ConvUnit)
            self._run_convolution(unit)

    def _run_convolution(self, unit: ConvUnit) -> None:
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
        if isinstance(unit, PoolUnit) and not wanted:
            wanted = self._height(unit.sources[0].unit) // 2
        return wanted + wanted % 2 if _can_be_cut(unit) else 0

    def _rows(self, unit: Unit) -> int:
        """Of the whole value."""
        shape = self.states[unit].shape
        if shape:
            return shape[2]
        source = unit.sources[0]
        rows = self._rows(source.unit) * (1 if source.upsample is None else 2)
        if isinstance(unit, PoolUnit):
            return rows // 2
        assert isinstance(unit, ConvUnit)
        conv = unit.conv
        return (rows + 2 * int(conv.padding[0]) - conv.dilation[0] * (conv.kernel_size[0] - 1) - 1) // conv.stride[
            0
        ] + 1

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
            return self._padded(_cut(state.y, i, j), before, after)
        if isinstance(unit, ConvUnit) and state.z is not None:
            return self._activated(unit, _cut(state.z, i, j), before, after)
        if isinstance(unit, ConvUnit):
            z = self._convolve(unit, i, j)
            return self._padded(self._activate(unit, z, ALL, in_place=True), before, after)
        assert isinstance(unit, PoolUnit)
        return self._padded(self.kernels.pool(self.value(unit.sources[0].unit, 2 * i, 2 * j)), before, after)

    def _activated(self, unit: ConvUnit, z: Tensor, before: int, after: int) -> Tensor:
        """The value of rows whose z is at hand and must stay, with rows of zeros around it."""
        if not before and not after:
            return self._activate(unit, z, ALL, in_place=False)
        if is_plain(unit):
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
        elif isinstance(unit, OpaqueUnit):
            state.y = self.kernels.arranged(self._call_again(unit))
        elif self.going_back and self._storage(unit) is Storage.RECOMPUTED:
            if isinstance(unit, ConvUnit):
                state.z = self._convolved(unit)
            else:
                state.y = self._pooled(unit)

    def _pooled(self, unit: Unit) -> Tensor:
        source = unit.sources[0].unit
        result: Tensor | None = None
        for i, j in self._slabs(unit):
            if self._is_whole(unit, i, j):
                return self.kernels.pool(self.read_whole(source))
            part = self.kernels.pool(self.value(source, 2 * i, 2 * j))
            result = self._collected(result, part, i, j, self._rows(unit))
            del part
        assert result is not None
        return result

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

    # -- backward ----------------------------------------------------------------------------------------------

    def _hold_gradient(self, unit: Unit) -> None:
        state = self.states[unit]
        if state.dz is not None:  # the head made it already
            return
        self._bring_back(unit)
        gradient, sums = self._gather(unit)
        if gradient is None:
            gradient = self.kernels.zeros(state.shape, self.read_whole(unit))
        state.y = state.pushed = None
        if isinstance(unit, ConvUnit) and sums is not None:
            self.gradients.add_affine(unit, sums, ALL)
            self._norm_backward(unit, gradient, sums)
            return
        state.dz, state.z = gradient, None
        if isinstance(unit, ConvUnit):
            self._own_gradients(unit)

    def _norm_backward(self, unit: ConvUnit, gradient: Tensor, sums: Sums) -> None:
        """dL/dz from the gradient of the norm's output: over z where it is kept, else over the gradient.

        Where no source wants a gradient it is not kept at all.
        """
        kernels, state = self.kernels, self.states[unit]
        scale, statistics = self._scale(unit, ALL), state.statistics
        assert scale is not None and statistics is not None
        wanted = any(self._wants(source.unit) for source in unit.sources)
        kept, in_place = state.z, state.z is not None and self.choices.in_place
        for i, j in self._slabs(unit):
            dz = self._convolve(unit, i, j) if kept is None else _cut(kept, i, j)
            if kept is not None and not in_place:
                dz = kernels.clone(dz)
            found = kernels.cast(_cut(gradient, i, j), dz.dtype)
            kernels.norm_backward(found, dz, scale, statistics, sums, ALL, None)
            if wanted and not in_place:
                kernels.copy(_cut(gradient, i, j), dz)
            self._own_rows(unit, dz, i, j)
            del dz, found
        state.z = None
        state.dz = kept if in_place else gradient if wanted else None

    def _own_gradients(self, unit: ConvUnit) -> None:
        dz = self.states[unit].dz
        assert dz is not None
        for i, j in self._slabs(unit):
            self._own_rows(unit, _cut(dz, i, j), i, j)

    def _own_rows(self, unit: ConvUnit, dz: Tensor, i: int, j: int) -> None:
        """The share of rows i to j in the gradients that nothing will pull: see `_own_gradients`."""
        bias = unit.conv.bias
        if bias is not None and bias.requires_grad:
            self.gradients.add(bias, (ALL,), self.kernels.bias_gradient(dz, bias))
        for source in unit.sources:
            if not self._wants(source.unit) and unit.conv.weight.requires_grad:
                self._add_weight(unit, source, dz, *self._operand(unit, source, i, j))

    def _add_weight(self, unit: ConvUnit, source: Source, dz: Tensor, x: Tensor, conv: Convolution) -> None:
        """Add what rows give to the weight's gradient: those of dz, and what they were made from."""
        into = self._into(unit, source)
        weight = self.kernels.parameter(unit.conv.weight)[:, into]
        found = self.kernels.weight_gradient(dz, self.kernels.cast(x, dz.dtype), weight, conv)
        self.gradients.add(unit.conv.weight, (ALL, into), found)

    def _gathered(self, unit: Unit) -> Tensor | None:
        self._bring_back(unit)
        return self._gather(unit)[0]

    def _gather(self, unit: Unit) -> tuple[Tensor | None, Sums | None]:
        """Gradient of a unit's value, through the activation's mask, and the sums that its norm asks for.

        A slab of the value is made with the halo that its readers' weights need, and serves for the mask as well.
        """
        self._push_upsampled(unit)
        state, kernels = self.states[unit], self.kernels
        readers = [(reader, source) for reader, source in unit.readers if self._pulls_from(reader, source)]
        if state.pushed is None and not readers:
            return None, None
        halo = max((_halo(reader) for reader, _ in readers), default=0)
        lender = self._lender(unit, readers)
        room = None if lender is None else self.states[lender].dz
        trail = None if lender is None or room is None else _Trail(kernels, room, _halo(lender))
        result = state.pushed if room is None else room
        sums: Sums | None = None
        for i, j in self._slabs(unit):
            whole = self._is_whole(unit, i, j)
            margin = 0 if whole else halo
            z, y = self._z_and_value(unit, i, j, margin)
            gradient = self._pull(unit, readers, y, i, j, margin)
            if isinstance(unit, ConvUnit):
                gradient = kernels.mask(gradient, _inner(y, margin), unit.slope)
                sums = self._add_sums(unit, sums, gradient, z)
            if trail is not None:
                trail.write(i, j, gradient)
            elif state.pushed is None:
                result = gradient if whole else self._collected(result, gradient, i, j, self._rows(unit))
            del gradient, z, y
        if lender is not None and trail is not None:
            trail.end()
            self.states[lender].dz = None
        return result, sums

    def _pulls_from(self, reader: Unit, source: Source) -> bool:
        """Whether a reader's share is pulled; others have pushed theirs."""
        here = self.states[reader].dz is not None
        return here and source.upsample is None and not isinstance(reader, OpaqueUnit)

    def _z_and_value(self, unit: Unit, i: int, j: int, margin: int) -> tuple[Tensor | None, Tensor]:
        """Rows i to j of z, and of the value with `margin` more on either side."""
        state = self.states[unit]
        a, b = i - margin, j + margin
        if not isinstance(unit, ConvUnit) or unit.norm is None or state.z is not None:
            return (None if state.z is None else _cut(state.z, i, j)), self.value(unit, a, b)
        first, last = max(a, 0), min(b, self._rows(unit))
        z = self._convolve(unit, first, last)
        return z[:, :, i - first : j - first], self._activated(unit, z, first - a, b - last)

    def _pull(self, unit: Unit, readers: list[tuple[Unit, Source]], y: Tensor, i: int, j: int, margin: int) -> Tensor:
        """Rows i to j of dL/dy; on the way, their share of the gradients of the readers' weights."""
        kernels, pushed = self.kernels, self.states[unit].pushed
        total = None if pushed is None else _cut(pushed, i, j)
        for reader, source in readers:
            dz = self.states[reader].dz
            assert dz is not None
            if isinstance(reader, PoolUnit):
                part = kernels.pool_backward(_cut(dz, i // 2, j // 2), _inner(y, margin))
            else:
                assert isinstance(reader, ConvUnit)
                if reader.conv.weight.requires_grad:
                    whole = self._is_whole(unit, i, j)
                    x = y if whole else _inner(y, margin - _halo(reader))
                    conv = reader.conv if whole else RowConv.of(reader.conv)
                    self._add_weight(reader, source, dz if whole else _cut(dz, i, j), x, conv)
                    del x
                part = self._input_rows(reader, source, i, j)
            if total is None:
                total = part
            else:
                kernels.add(total, kernels.cast(part, total.dtype))
            del part
        assert total is not None
        return total

    def _input_rows(self, reader: ConvUnit, source: Source, i: int, j: int) -> Tensor:
        """Rows i to j of the gradient of what a convolution reads: a convolution, too, of dz with its halo."""
        kernels, dz = self.kernels, self.states[reader].dz
        assert dz is not None
        weight = kernels.parameter(reader.conv.weight)[:, self._into(reader, source)]
        batch, channels, *space = self.states[source.unit].shape
        if source.upsample is not None:
            space = [2 * n for n in space]
        if i == 0 and j == space[0]:
            return kernels.input_gradient(dz, weight, (batch, channels, *space), reader.conv)
        conv = RowConv.of(reader.conv)
        a, b = i - conv.halo, j + conv.halo
        first, last = max(a, 0), min(b, space[0])
        x = self._padded(_cut(dz, first, last), first - a, b - last)
        return kernels.conv(x, kernels.flipped(weight), None, conv)

    def _push_upsampled(self, unit: Unit) -> None:
        """What convolutions that read a unit upsampled give to its gradient, and it to that of their weights."""
        kernels, state = self.kernels, self.states[unit]
        for reader, source in unit.readers:
            dz = self.states[reader].dz
            if source.upsample is None or dz is None:
                continue
            assert isinstance(reader, ConvUnit)
            for i, j in self._slabs(reader):
                if reader.conv.weight.requires_grad:
                    self._add_weight(reader, source, _cut(dz, i, j), *self._operand(reader, source, i, j))
                fine = self._input_rows(reader, source, i, j)
                a, b = (0, state.shape[2]) if self._is_whole(reader, i, j) else coarse_rows(i, j, state.shape[2])
                found = kernels.upsample_backward(self._padded(fine, i - 2 * a, 2 * b - j))
                del fine
                if state.pushed is None and (a, b) == (0, state.shape[2]):
                    state.pushed = found
                    continue
                if state.pushed is None:
                    state.pushed = kernels.zeros(state.shape, found)
                kernels.add(_cut(state.pushed, a, b), kernels.cast(found, state.pushed.dtype))
                del found

    def _lender(self, unit: Unit, readers: list[tuple[Unit, Source]]) -> ConvUnit | None:
        """A reader whose dz nobody reads after this unit, so that the unit's gradient may be written over it."""
        state = self.states[unit]
        if not self.choices.in_place or state.pushed is not None or len(self._slabs(unit)) == 1:
            return None
        for reader, _ in readers:
            if not isinstance(reader, ConvUnit) or reader is self.graph.output:  # the output's is not ours
                continue
            fits = self.states[reader].shape == state.shape and _halo(reader) <= self._height(unit)
            others = (s.unit for s in reader.sources if s.unit is not unit and self._wants(s.unit))
            if fits and all(self.states[other].readers_done == -1 for other in others):
                return reader
        return None

    def _add_sums(self, unit: ConvUnit, sums: Sums | None, gradient: Tensor, z: Tensor | None) -> Sums | None:
        """The sums of the norm's backward pass with those of some rows."""
        scale, statistics = self._scale(unit, ALL), self.states[unit].statistics
        if scale is None or statistics is None or z is None:
            return None
        kernels = self.kernels
        found = kernels.norm_sums(kernels.cast(gradient, z.dtype), z, statistics, scale[2], ALL)
        if sums is None:
            return found
        kernels.add(sums[0], found[0])
        kernels.add(sums[1], found[1])
        return sums


class _Trail:
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


def _cut(x: Tensor, i: int, j: int) -> Tensor:
    """Rows i to j; all of them are the tensor itself."""
    return x if i == 0 and j == x.shape[2] else x[:, :, i:j]


def _inner(x: Tensor, margin: int) -> Tensor:
    """Without `margin` rows on either side."""
    return x[:, :, margin : x.shape[2] - margin] if margin else x


def _halo(reader: Unit) -> int:
    """Rows beyond its own that a reader's convolution asks for."""
    return RowConv.of(reader.conv).halo if isinstance(reader, ConvUnit) and keeps_size(reader.conv) else 0


def _can_be_cut(unit: Unit) -> bool:
    """Whether a unit, and all that read it, work on rows with their halos alone."""
    near = [unit, *(reader for reader, _ in unit.readers)]
    return not isinstance(unit, InputUnit) and all(keeps_size(u.conv) for u in near if isinstance(u, ConvUnit))
