"""Runs a network a slab of rows at a time, forward and backward; `slab_values` tells why rows.

A gradient goes back as a convolution of rows with their halo, too. That of a unit is collected over all slabs before
its norm can be undone: it is written over the gradient of the unit that reads it, whose rows are done with by then.
"""

from __future__ import annotations

from torch import Tensor

from FetusMapV2Lib.memory.rows import Convolution, RowConv, cut_rows, inner_rows
from FetusMapV2Lib.memory.slab_values import Rows, SlabValues
from FetusMapV2Lib.memory.trail import Trail
from FetusMapV2Lib.memory.unit_kinds import ConvUnit, PoolUnit
from FetusMapV2Lib.memory.units import ALL, Source, Unit

Sums = tuple[Tensor, Tensor]


class SlabExecutor(SlabValues):
    """One pass through a network whose units are worked on in slabs of `UnitChoice.rows` rows, or whole."""

    def convolution_backward(self, unit: ConvUnit) -> None:
        """Make dL/dz: of all slabs first, through the activation, then through the norm."""
        state = self.states[unit]
        if state.dz is not None:  # the head made it already
            return
        gradient, sums = self._gather(unit, unit)
        gradient = self._or_zeros(unit, gradient)
        if sums is not None:
            self.gradients.add_affine(unit, sums, ALL)
            self._norm_backward(unit, gradient, sums)
            return
        state.dz, state.z = gradient, None
        self._own_gradients(unit)

    def pooling_backward(self, unit: PoolUnit) -> None:
        """Make dL/dy."""
        state = self.states[unit]
        if state.dz is None:
            state.dz = self._or_zeros(unit, self._gather(unit)[0])

    def _or_zeros(self, unit: Unit, gradient: Tensor | None) -> Tensor:
        """A gradient, or zeros where no reader gave any; the value is no longer needed."""
        state = self.states[unit]
        if gradient is None:
            gradient = self.kernels.zeros(state.shape, self.read_whole(unit))
        state.y = state.pushed = None
        return gradient

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
            dz = self._convolve(unit, i, j) if kept is None else cut_rows(kept, i, j)
            if kept is not None and not in_place:
                dz = kernels.clone(dz)
            found = kernels.cast(cut_rows(gradient, i, j), dz.dtype)
            kernels.norm_backward(found, dz, scale, statistics, sums, ALL, None)
            if wanted and not in_place:
                kernels.copy(cut_rows(gradient, i, j), dz)
            self._own_rows(unit, dz, i, j)
            del dz, found
        state.z = None
        state.dz = kept if in_place else gradient if wanted else None

    def _own_gradients(self, unit: ConvUnit) -> None:
        dz = self.states[unit].dz
        assert dz is not None
        for i, j in self._slabs(unit):
            self._own_rows(unit, cut_rows(dz, i, j), i, j)

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
        return self._gather(unit)[0]

    def _gather(self, unit: Unit, conv: ConvUnit | None = None) -> tuple[Tensor | None, Sums | None]:
        """Gradient of a unit's value; if it is a convolution's, through the activation's mask, with sums for its norm.

        A slab of the value is made with the halo that its readers' weights need, and serves for the mask as well.
        """
        self._bring_back(unit)
        self._push_upsampled(unit)
        state, kernels = self.states[unit], self.kernels
        readers = [(reader, source) for reader, source in unit.readers if self._pulls_from(reader, source)]
        if state.pushed is None and not readers:
            return None, None
        halo = max((reader.halo for reader, _ in readers), default=0)
        lender = self._lender(unit, readers)
        room = None if lender is None else self.states[lender].dz
        trail = None if lender is None or room is None else Trail(kernels, room, lender.halo)
        result = state.pushed if room is None else room
        sums: Sums | None = None
        for i, j in self._slabs(unit):
            whole = self._is_whole(unit, i, j)
            margin = 0 if whole else halo
            z, y = self._z_and_value(unit, conv, i, j, margin)
            gradient = self._pull(unit, readers, y, Rows(i, j, margin=margin))
            if conv is not None:
                gradient, sums = self._through_activation(conv, sums, gradient, inner_rows(y, margin), z)
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
        return here and source.upsample is None

    def _z_and_value(
        self, unit: Unit, conv: ConvUnit | None, i: int, j: int, margin: int
    ) -> tuple[Tensor | None, Tensor]:
        """Rows i to j of z, and of the value with `margin` more on either side."""
        state = self.states[unit]
        a, b = i - margin, j + margin
        if conv is None or conv.norm is None or state.z is not None:
            return (None if state.z is None else cut_rows(state.z, i, j)), self.value(unit, a, b)
        first, last = max(a, 0), min(b, self._rows(unit))
        z = self._convolve(conv, first, last)
        return z[:, :, i - first : j - first], self._activated(conv, z, first - a, b - last)

    def _pull(self, unit: Unit, readers: list[tuple[Unit, Source]], y: Tensor, part: Rows) -> Tensor:
        """Rows of dL/dy; on the way, their share of the gradients of the readers' weights. y has the rows' margin."""
        pushed = self.states[unit].pushed
        total = None if pushed is None else cut_rows(pushed, part.i, part.j)
        for reader, source in sorted(readers, key=_halves):  # a pool adds to what is there already
            total = reader.with_share(self, source, part, y, total)
        assert total is not None
        return total

    def pooling_share(
        self, unit: PoolUnit, source: Source, part: Rows, y: Tensor, total: Tensor | None
    ) -> Tensor | None:
        """To the places of the maxima."""
        dz = self.states[unit].dz
        assert dz is not None
        coarse, inner = cut_rows(dz, part.i // 2, part.j // 2), inner_rows(y, part.margin)
        if total is None:
            return self.kernels.pool_backward(coarse, inner)
        self.kernels.add_pool_backward(total, coarse, inner)
        return total

    def convolution_share(
        self, unit: ConvUnit, source: Source, part: Rows, y: Tensor, total: Tensor | None
    ) -> Tensor | None:
        """By the transposed convolution; adds what these rows give to the weight's gradient."""
        kernels, dz = self.kernels, self.states[unit].dz
        assert dz is not None
        if unit.conv.weight.requires_grad:
            whole = self._is_whole(source.unit, part.i, part.j)
            x = y if whole else inner_rows(y, part.margin - unit.halo)
            conv = unit.conv if whole else RowConv.of(unit.conv)
            self._add_weight(unit, source, dz if whole else cut_rows(dz, part.i, part.j), x, conv)
            del x
        share = self._input_rows(unit, source, part.i, part.j)
        if total is None:
            return share
        kernels.add(total, kernels.cast(share, total.dtype))
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
        x = self._padded(cut_rows(dz, first, last), first - a, b - last)
        return kernels.conv(x, kernels.flipped(weight), None, conv)

    def _push_upsampled(self, unit: Unit) -> None:
        """What convolutions that read a unit upsampled give to its gradient, and it to that of their weights."""
        kernels, state = self.kernels, self.states[unit]
        for reader, source in self.graph.upsampled_by(unit):
            dz = self.states[reader].dz
            if dz is None:
                continue
            for i, j in self._slabs(reader):
                if reader.conv.weight.requires_grad:
                    self._add_weight(reader, source, cut_rows(dz, i, j), *self._operand(reader, source, i, j))
                fine = self._input_rows(reader, source, i, j)
                if state.pushed is None and self._is_whole(reader, i, j):
                    state.pushed = kernels.upsample_backward(fine)
                else:
                    if state.pushed is None:
                        state.pushed = kernels.zeros(state.shape, fine)
                    kernels.add_upsample_backward(state.pushed, fine, i, j)
                del fine

    def _lender(self, unit: Unit, readers: list[tuple[Unit, Source]]) -> Unit | None:
        """A reader whose dz nobody reads after this unit, so that the unit's gradient may be written over it."""
        state = self.states[unit]
        if not self.choices.in_place or state.pushed is not None or len(self._slabs(unit)) == 1:
            return None
        for reader, _ in readers:
            if reader is self.graph.output:  # the output's is not ours
                continue
            fits = self.states[reader].shape == state.shape and reader.halo <= self._height(unit)
            others = (s.unit for s in reader.sources if s.unit is not unit and self._wants(s.unit))
            if fits and all(self.states[other].readers_done == -1 for other in others):
                return reader
        return None

    def _through_activation(
        self, unit: ConvUnit, sums: Sums | None, gradient: Tensor, y: Tensor, z: Tensor | None
    ) -> tuple[Tensor, Sums | None]:
        """The gradient of some rows through the mask, and the sums of the norm's backward pass with those of them."""
        scale, statistics = self._scale(unit, ALL), self.states[unit].statistics
        kernels = self.kernels
        if scale is None or statistics is None or z is None:
            return kernels.mask(gradient, y, unit.slope), None
        gradient, found = kernels.masked_sums(gradient, y, z, scale, statistics, unit.slope)
        if sums is None:
            return gradient, found
        kernels.add(sums[0], found[0])
        kernels.add(sums[1], found[1])
        return gradient, sums


def _halves(reader: tuple[Unit, Source]) -> bool:
    return reader[0].halves
