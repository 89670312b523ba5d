"""Runs a network a slice of channels at a time: for a CPU, and for what no convolution of a GPU touches."""

from __future__ import annotations

from torch import Tensor

from FetusMapV2Lib.memory.executor import UnitExecutor
from FetusMapV2Lib.memory.kernels import Statistics, cut
from FetusMapV2Lib.memory.plan import Storage
from FetusMapV2Lib.memory.unit_kinds import ConvUnit, OpaqueUnit, PoolUnit
from FetusMapV2Lib.memory.units import ALL, Source, Unit


class ChannelExecutor(UnitExecutor[slice]):
    """One pass through a network whose units are worked on in slices of channels, `UnitChoice.chunks` of them."""

    def run_convolution(self, unit: ConvUnit) -> None:
        """Convolve, take the statistics, and keep z, the value or both."""
        state = self.states[unit]
        state.z = self._convolve(unit)
        state.shape = tuple(state.z.shape)
        self._find_statistics(unit)
        storage = self._storage(unit)
        if storage in (Storage.KEPT, Storage.BOTH):
            if storage is Storage.BOTH:
                state.y = self._activate(unit, state.z, ALL, in_place=False)
            return
        z, state.z = state.z, None
        for channels in self._slices(unit):
            self._activate(unit, z[:, channels], channels, in_place=True)
        state.y = z

    def run_pooling(self, unit: PoolUnit) -> None:
        """Pool."""
        state = self.states[unit]
        state.y = self._pool(unit, ALL)
        state.shape = tuple(state.y.shape)

    def run_opaque(self, unit: OpaqueUnit) -> None:
        """Call it."""
        state = self.states[unit]
        values = [self.read_whole(source.unit) for source in unit.sources]
        state.y, state.random = self.kernels.call(unit, values)
        state.shape = tuple(state.y.shape)

    def _find_statistics(self, unit: ConvUnit) -> None:
        state = self.states[unit]
        if unit.norm is None or state.statistics is not None:
            return
        assert state.z is not None
        slices = self._slices(unit)
        if len(slices) == 1:
            state.statistics = self.kernels.statistics(state.z, unit.per_sample)
            return
        batch, channels = state.shape[0], unit.channels
        shape = (batch, channels) if unit.per_sample else (channels,)
        mean, variance = (self.kernels.empty_statistics(state.z, shape) for _ in range(2))
        count = 0
        for part in slices:
            found = self.kernels.statistics(state.z[:, part], unit.per_sample)
            self.kernels.copy(mean[..., part], found.mean)
            self.kernels.copy(variance[..., part], found.variance)
            count = found.count
        state.statistics = Statistics(mean, variance, count)

    # -- values ------------------------------------------------------------------------------------------------

    def read_whole(self, unit: Unit) -> Tensor:
        """A unit's value; what is kept, or recomputed."""
        return self.read(unit, ALL)

    def read(self, unit: Unit, channels: slice) -> Tensor:
        """The unit's value, or a slice of its channels; a view of what is kept, or recomputed."""
        state = self.states[unit]
        if state.y is not None:
            return state.y if channels == ALL else state.y[:, channels]
        if state.z is None and state.host is not None:
            state.z, state.host = self.kernels.to_device(state.host, self._device), None
        if state.z is None and self.going_back and self._storage(unit) is Storage.RECOMPUTED:
            unit.make_again(self)
            return self.read(unit, channels)
        return unit.part(self, channels)

    def convolved_part(self, unit: ConvUnit, part: slice) -> Tensor:
        """From z where that is kept, else by a convolution."""
        z = self.states[unit].z
        if z is None:
            return self._activate(unit, self._convolve(unit, part), part, in_place=True)
        return self._activate(unit, z if part == ALL else z[:, part], part, in_place=False)

    def pooled_part(self, unit: PoolUnit, part: slice) -> Tensor:
        """Pooled once more."""
        return self._pool(unit, part)

    def opaque_part(self, unit: OpaqueUnit, part: slice) -> Tensor:
        """Of the whole, called once more."""
        value = self._called_again(unit)
        return value if part == ALL else value[:, part]

    def convolve_again(self, unit: ConvUnit) -> None:
        """Keep z."""
        self.states[unit].z = self._convolve(unit)

    def pool_again(self, unit: PoolUnit) -> None:
        """Keep the value."""
        self.states[unit].y = self._pool(unit, ALL)

    def call_again(self, unit: OpaqueUnit) -> None:
        """Keep the value."""
        self.states[unit].y = self._called_again(unit)

    def _pool(self, unit: Unit, channels: slice) -> Tensor:
        source, state = unit.sources[0].unit, self.states[unit]
        slices = self._slices(source)
        if channels != ALL or len(slices) == 1:
            return self.kernels.pool(self.read(source, channels))
        shape = self.states[source].shape
        result: Tensor | None = None
        for part in slices:
            pooled = self.kernels.pool(self.read(source, part))
            if result is None:
                state.shape = (*shape[:2], *pooled.shape[2:])
                result = self.kernels.empty(state.shape, pooled)
            self.kernels.copy(result[:, part], pooled)
            del pooled
        assert result is not None
        return result

    def _slices(self, unit: Unit) -> list[slice]:
        """The slices of channels that a unit is worked on in."""
        return unit.slices(lambda sliced: self.choices.of(sliced.name).chunks)

    def _width(self, unit: ConvUnit) -> int:
        return -(-unit.channels // self.choices.of(unit.name).chunks)

    def _source_slices(self, unit: ConvUnit, source: Source) -> list[slice]:
        """The slices of a source's channels that a convolution reads one after the other."""
        channels = self.states[source.unit].shape[1]
        if len(unit.sources) == 1 and self.choices.of(unit.name).chunks == 1 and source.upsample is None:
            return [slice(0, channels)]
        if channels <= 4:
            return [slice(0, channels)]
        return cut(channels, self._width(unit))

    def _read_source(self, unit: ConvUnit, source: Source, channels: slice) -> Tensor:
        whole = channels == slice(0, self.states[source.unit].shape[1])
        value = self.kernels.cast(self.read(source.unit, ALL if whole else channels), self._type(unit))
        return value if source.upsample is None else self.kernels.upsample(value, source.upsample)

    def _convolve(self, unit: ConvUnit, channels: slice = ALL) -> Tensor:
        """The convolution's output, or a slice of its channels, summed over slices of the sources."""
        kernels = self.kernels
        weight = kernels.parameter(unit.conv.weight)
        bias = None if unit.conv.bias is None else kernels.parameter(unit.conv.bias)
        if len(unit.sources) > 1 and not self.choices.split_concat:
            parts = [self._read_source(unit, s, slice(0, self.states[s.unit].shape[1])) for s in unit.sources]
            whole = kernels.concatenate(parts)
            del parts
            return kernels.conv(whole, weight[channels], None if bias is None else bias[channels], unit.conv)
        steps = [(source, part) for source in unit.sources for part in self._source_slices(unit, source)]
        outputs = self._slices(unit) if channels == ALL else [channels]
        result: Tensor | None = None
        for number, (source, part) in enumerate(steps):
            x = self._read_source(unit, source, part)
            into = slice(source.offset + part.start, source.offset + part.stop)
            for out in outputs:
                first_bias = bias[out] if number == 0 and bias is not None else None
                piece = kernels.conv(x, weight[out, into], first_bias, unit.conv)
                if len(outputs) == 1:
                    if result is None:
                        result = piece
                    else:
                        kernels.add(result, piece)
                else:
                    if result is None:
                        result = kernels.empty((piece.shape[0], unit.channels, *piece.shape[2:]), piece)
                    (kernels.copy if number == 0 else kernels.add)(result[:, out], piece)
                del piece
            del x
        assert result is not None
        return result

    # -- backward ----------------------------------------------------------------------------------------------

    def _streams(self, unit: ConvUnit) -> bool:
        return self._storage(unit) is Storage.NEVER and self.states[unit].dz is None

    def convolution_backward(self, unit: ConvUnit) -> None:
        """Make dL/dz slice by slice and hold it, or push the slices on where the unit is never whole."""
        state = self.states[unit]
        if state.dz is not None:  # the head made it already
            return
        if self._streams(unit):
            self._convolve_backward_streamed(unit)
            return
        if state.host is not None:
            state.z, state.host = self.kernels.to_device(state.host, self._device), None
        if state.z is None:
            state.z = self._convolve(unit)
        z = state.z
        in_place = self.choices.in_place and not unit.is_plain
        dz = z if in_place else None
        for channels in self._slices(unit):
            y = self._value_beside(unit, z, channels)
            gradient = self._gradient_of(unit, channels, y)
            if gradient is None:
                gradient = self.kernels.zeros(tuple(y.shape), y)
            if dz is None and unit.norm is None and channels == ALL:
                dz = self.kernels.mask(gradient, y, unit.slope)
                break
            if dz is None:
                dz = self.kernels.empty(state.shape, z)
            self._norm_backward(unit, gradient, z[:, channels], y, channels, None if in_place else dz[:, channels])
            del y, gradient
        state.dz, state.z, state.y, state.pushed = dz, None, None, None
        self._own_gradients(unit)

    def _value_beside(self, unit: ConvUnit, z: Tensor, channels: slice) -> Tensor:
        """A slice of the value while z is at hand and must stay whole."""
        y = self.states[unit].y
        if y is not None:
            return y[:, channels]
        return self._activate(unit, z[:, channels], channels, in_place=False)

    def _norm_backward(
        self, unit: ConvUnit, gradient: Tensor, z: Tensor, y: Tensor, channels: slice, into: Tensor | None
    ) -> None:
        kernels = self.kernels
        gradient = kernels.cast(kernels.mask(gradient, y, unit.slope), z.dtype)
        if unit.norm is None:
            kernels.copy(z if into is None else into, gradient)
            return
        scale, statistics = self._scale(unit, channels), self.states[unit].statistics
        assert scale is not None and statistics is not None
        sums = kernels.norm_sums(gradient, z, statistics, scale[2], channels)
        self.gradients.add_affine(unit, sums, channels)
        kernels.norm_backward(gradient, z, scale, statistics, sums, channels, into)

    def _own_gradients(self, unit: ConvUnit) -> None:
        """Bias, and weight slices of sources that no gradient goes to: nothing will pull those."""
        dz = self.states[unit].dz
        assert dz is not None
        if unit.conv.bias is not None and unit.conv.bias.requires_grad:
            self.gradients.add(unit.conv.bias, (ALL,), self.kernels.bias_gradient(dz, unit.conv.bias))
        for source in unit.sources:
            if not self._wants(source.unit):
                self._weight_from(unit, source, dz, ALL)

    def _weight_from(self, unit: ConvUnit, source: Source, dz: Tensor, out: slice) -> None:
        if not unit.conv.weight.requires_grad:
            return
        weight = self.kernels.parameter(unit.conv.weight)
        for part in self._source_slices(unit, source):
            into = slice(source.offset + part.start, source.offset + part.stop)
            x = self._read_source(unit, source, part)
            found = self.kernels.weight_gradient(dz, x, weight[out, into], unit.conv)
            self.gradients.add(unit.conv.weight, (out, into), found)

    def _gathered(self, unit: Unit) -> Tensor | None:
        """dL/dy of a unit whose value is there: what was pushed to it, and what it pulls from its readers."""
        return self._gradient_of(unit, ALL, self.read(unit, ALL))

    def _gradient_of(self, unit: Unit, channels: slice, y: Tensor) -> Tensor | None:
        """dL/dy of a slice of a unit's channels: what was pushed to it, and what it pulls from its readers."""
        pushed = self.states[unit].pushed
        total = None if pushed is None else pushed[:, channels] if channels != ALL else pushed
        for reader, source in unit.readers:
            if self.states[reader].dz is not None:  # else it has pushed its share
                total = reader.with_share(self, source, channels, y, total)
        return total

    def pooling_share(
        self, unit: PoolUnit, source: Source, part: slice, y: Tensor, total: Tensor | None
    ) -> Tensor | None:
        """To the places of the maxima."""
        dz = self.states[unit].dz
        assert dz is not None
        return self._sum(total, self.kernels.pool_backward(dz[:, part], y))

    def convolution_share(
        self, unit: ConvUnit, source: Source, part: slice, y: Tensor, total: Tensor | None
    ) -> Tensor | None:
        """By the transposed convolution; fills that slice of the weight's gradient."""
        dz = self.states[unit].dz
        assert dz is not None
        return self._sum(total, self._pull(unit, source, dz, part, y))

    def _sum(self, total: Tensor | None, share: Tensor) -> Tensor:
        if total is None:
            return share
        self.kernels.add(total, self.kernels.cast(share, total.dtype))
        return total

    def _pull(self, reader: ConvUnit, source: Source, dz: Tensor, channels: slice, y: Tensor) -> Tensor:
        """A convolution's share of the gradient of what it reads; fills that slice of its weight's gradient."""
        channels = slice(0, y.shape[1]) if channels == ALL else channels
        parts = [slice(0, y.shape[1])]
        if source.upsample is not None:
            parts = cut(y.shape[1], self._width(reader))
        if len(parts) == 1:
            return self._pull_part(reader, source, dz, channels, y)
        result = self.kernels.empty(tuple(y.shape), y)
        for part in parts:
            absolute = slice(channels.start + part.start, channels.start + part.stop)
            self.kernels.copy(result[:, part], self._pull_part(reader, source, dz, absolute, y[:, part]))
        return result

    def _pull_part(self, reader: ConvUnit, source: Source, dz: Tensor, channels: slice, y: Tensor) -> Tensor:
        kernels = self.kernels
        into = slice(source.offset + channels.start, source.offset + channels.stop)
        weight = kernels.parameter(reader.conv.weight)[:, into]
        shape = tuple(y.shape) if source.upsample is None else (*y.shape[:2], *(2 * n for n in y.shape[2:]))
        if reader.conv.weight.requires_grad:
            x = kernels.cast(y, dz.dtype)
            if source.upsample is not None:
                x = kernels.upsample(x, source.upsample)
            self.gradients.add(reader.conv.weight, (ALL, into), kernels.weight_gradient(dz, x, weight, reader.conv))
            del x
        result = kernels.input_gradient(dz, weight, shape, reader.conv)
        return result if source.upsample is None else kernels.upsample_backward(result)

    def pooling_backward(self, unit: PoolUnit) -> None:
        """The gradient of the pooled tensor, written over it where that is allowed."""
        state = self.states[unit]
        if state.dz is not None:
            return
        slices = self._slices(unit)
        dz = state.y if self.choices.in_place and state.y is not None else None
        for channels in slices:
            y = self.read(unit, channels)
            gradient = self._gradient_of(unit, channels, y)
            if gradient is None:
                gradient = self.kernels.zeros(tuple(y.shape), y)
            if len(slices) == 1:
                dz = gradient
            else:
                if dz is None:
                    dz = self.kernels.empty(state.shape, y)
                self.kernels.copy(dz[:, channels], gradient)
            del y, gradient
        state.dz, state.y, state.pushed = dz, None, None

    def _convolve_backward_streamed(self, unit: ConvUnit) -> None:
        """A unit that is never whole: each slice of its gradient is pushed on to its sources at once."""
        kernels, state = self.kernels, self.states[unit]
        weight = kernels.parameter(unit.conv.weight)
        for channels in self._slices(unit) if len(self._slices(unit)) > 1 else [slice(0, unit.channels)]:
            z = self._convolve(unit, channels)
            y = self._activate(unit, z, channels, in_place=False)
            gradient = self._gradient_of(unit, channels, y)
            if gradient is None:
                gradient = kernels.zeros(tuple(y.shape), y)
            self._norm_backward(unit, gradient, z, y, channels, None)
            del y, gradient
            if unit.conv.bias is not None and unit.conv.bias.requires_grad:
                self.gradients.add(unit.conv.bias, (channels,), kernels.bias_gradient(z, unit.conv.bias))
            for source in unit.sources:
                self._weight_from(unit, source, z, channels)
                if self._wants(source.unit):
                    self._push(unit, source, z, weight, channels)
            del z
        state.pushed = None

    def _push(self, unit: ConvUnit, source: Source, dz: Tensor, weight: Tensor, channels: slice) -> None:
        """Add a slice's share to the gradient of a source."""
        kernels, target = self.kernels, self.states[source.unit]
        if target.pushed is None:
            target.pushed = kernels.zeros(target.shape, dz)
        for part in self._source_slices(unit, source):
            into = slice(source.offset + part.start, source.offset + part.stop)
            coarse = (target.shape[0], part.stop - part.start, *target.shape[2:])
            shape = coarse if source.upsample is None else (*coarse[:2], *(2 * n for n in coarse[2:]))
            found = kernels.input_gradient(dz, weight[channels, into], shape, unit.conv)
            if source.upsample is not None:
                found = kernels.upsample_backward(found)
            kernels.add(target.pushed[:, part], found)
