"""The executor: walks a unit graph forward and backward, keeping, remaking and overwriting tensors as a plan says.

The backward pass *pulls*: a unit asks the units that read it for the gradient of a slice of its channels, hands them
that slice of its value (they need it for their weight's gradient), and overwrites its own tensor with the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from FetusMapV2Lib.memory.head import HeadLoss
from FetusMapV2Lib.memory.kernels import Statistics, TorchKernels, cut, sum_type
from FetusMapV2Lib.memory.plan import Choices, Storage
from FetusMapV2Lib.memory.units import ALL, ConvUnit, InputUnit, OpaqueUnit, PoolUnit, Source, Unit, UnitGraph


@dataclass(eq=False)
class State:
    """What there is of a unit at the moment.

    Attributes:
        z: a convolution's output before the norm.
        y: the unit's value.
        statistics: of the norm.
        pushed: gradient of y that readers have already added up here.
        dz: gradient of z (of y where there is no norm), from which the unit's sources pull theirs.
        host: z in host memory.
        shape: of the value.
        random: generator states before an opaque unit ran.
        readers_done: readers that have run forward.
    """

    z: Tensor | None = None
    y: Tensor | None = None
    statistics: Statistics | None = None
    pushed: Tensor | None = None
    dz: Tensor | None = None
    host: Tensor | None = None
    shape: tuple[int, ...] = ()
    random: Any = None
    readers_done: int = 0


class Walk:
    """One pass through a network: forward once, then backward once.

    Args:
        graph: the network.
        choices: how to run it.
        kernels: operations on tensors, or on their sizes.
        keep: False at inference: nothing stays for a backward pass.
        dtype: that convolutions run in, None = the input's.
        input_gradient: the input's gradient is wanted too.
    """

    def __init__(
        self,
        graph: UnitGraph,
        choices: Choices,
        kernels: TorchKernels,
        *,
        keep: bool = True,
        dtype: torch.dtype | None = None,
        input_gradient: bool = False,
    ) -> None:
        self.graph, self.choices, self.kernels = graph, choices, kernels
        self.keep, self.dtype, self.input_gradient = keep, dtype, input_gradient
        self.states: dict[Unit, State] = {unit: State() for unit in (graph.input, *graph.units)}
        self._body = graph.head[1] if choices.fused_head and graph.head is not None else None
        self.gradients: dict[Tensor, Tensor] = {}
        self.going_back = False

    # -- forward -----------------------------------------------------------------------------------------------

    def forward(self, volume: Tensor, until: Unit | None = None) -> Tensor:
        """Run all units, or those before `until`; gives the output's value, or the value of the last unit run."""
        self.states[self.graph.input].y = volume
        self.states[self.graph.input].shape = tuple(volume.shape)
        value = volume
        for unit in self.graph.units:
            if unit is until:
                break
            self.kernels.label(unit.name)
            self._run(unit)
            for source in unit.sources:
                self._read_once_more(source.unit)
        if until is None:
            value = self.read(self.graph.output, ALL)
            if not self.keep or _plain(self.graph.output):
                self.states[self.graph.output].y = self.states[self.graph.output].z = None
        return value

    def holds(self, value: Tensor) -> bool:
        """Whether the output's value is also what the backward pass starts from."""
        state = self.states[self.graph.output]
        return any(kept is not None and kept.data_ptr() == value.data_ptr() for kept in (state.z, state.y))

    def _run(self, unit: Unit) -> None:
        state = self.states[unit]
        if isinstance(unit, ConvUnit):
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
            return
        if isinstance(unit, PoolUnit):
            state.y = self._pool(unit, ALL)
        elif isinstance(unit, OpaqueUnit):
            values = [self.read(source.unit, ALL) for source in unit.sources]
            state.y, state.random = self.kernels.call(unit, values)
        state.shape = tuple(state.y.shape)  # type: ignore[union-attr]

    def _storage(self, unit: Unit) -> Storage:
        """Of the plan; at inference nothing is kept, and what the fused head reads always is."""
        if self.keep:
            chosen = self.choices.of(unit.name).storage
            return chosen if unit is not self._body or chosen is Storage.BOTH else Storage.KEPT
        never = self.choices.of(unit.name).storage is Storage.NEVER
        return Storage.NEVER if never else Storage.RECOMPUTED

    def _read_once_more(self, unit: Unit) -> None:
        """A reader has run: release what is no longer needed."""
        state = self.states[unit]
        state.readers_done += 1
        last = state.readers_done == len(unit.readers)
        storage = self._storage(unit)
        if isinstance(unit, InputUnit):
            return
        if storage is Storage.NEVER or (storage is Storage.RECOMPUTED and last):
            state.y = None
        elif last and self.choices.of(unit.name).host and state.z is not None and unit is not self._body:
            state.host, state.z, state.y = self.kernels.to_host(state.z), None, None
        elif last and not self.keep:
            state.y = state.z = None

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

    def read(self, unit: Unit, channels: slice) -> Tensor:
        """The unit's value, or a slice of its channels; a view of what is kept, or recomputed."""
        state = self.states[unit]
        if state.y is not None:
            return state.y if channels == ALL else state.y[:, channels]
        if state.z is None and state.host is not None:
            state.z, state.host = self.kernels.to_device(state.host, self._device), None
        if state.z is None and self.going_back and self._storage(unit) is Storage.RECOMPUTED:
            self._make_again(unit)
            return self.read(unit, channels)
        if isinstance(unit, ConvUnit):
            fresh = state.z is None
            if state.z is None:
                z = self._convolve(unit, channels)
            else:
                z = state.z if channels == ALL else state.z[:, channels]
            return self._activate(unit, z, channels, in_place=fresh)
        if isinstance(unit, PoolUnit):
            return self._pool(unit, channels)
        assert isinstance(unit, OpaqueUnit)
        value = self._call_again(unit)
        return value if channels == ALL else value[:, channels]

    def _make_again(self, unit: Unit) -> None:
        state = self.states[unit]
        if isinstance(unit, ConvUnit):
            state.z = self._convolve(unit)
        elif isinstance(unit, PoolUnit):
            state.y = self._pool(unit, ALL)
        else:
            state.y = self._call_again(unit)

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

    def _call_again(self, unit: Unit) -> Tensor:
        assert isinstance(unit, OpaqueUnit)
        values = [self.read(source.unit, ALL) for source in unit.sources]
        return self.kernels.call_again(unit, values, self.states[unit].random)

    @property
    def _device(self) -> torch.device:
        volume = self.states[self.graph.input].y
        assert volume is not None
        return volume.device

    def _type(self, unit: Unit) -> torch.dtype:
        volume = self.states[self.graph.input].y
        assert volume is not None
        if self.choices.of(unit.name).reduced:
            return torch.bfloat16
        return self.dtype or volume.dtype

    def _slices(self, unit: Unit) -> list[slice]:
        """The slices of channels that a unit is worked on in."""
        if isinstance(unit, PoolUnit):
            return self._slices(unit.sources[0].unit)
        chunks = self.choices.of(unit.name).chunks
        if not isinstance(unit, ConvUnit) or chunks == 1:
            return [ALL]
        return cut(unit.channels, -(-unit.channels // chunks))

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

    def _scale(self, unit: ConvUnit, channels: slice) -> tuple[Tensor, Tensor, Tensor] | None:
        if unit.norm is None:
            return None
        statistics, norm = self.states[unit].statistics, unit.norm
        assert statistics is not None
        gamma = None if norm.weight is None else self.kernels.parameter(norm.weight)
        beta = None if norm.bias is None else self.kernels.parameter(norm.bias)
        return self.kernels.scale_and_shift(statistics, gamma, beta, norm.eps, channels)

    def _activate(self, unit: ConvUnit, z: Tensor, channels: slice, in_place: bool) -> Tensor:
        if _plain(unit):
            return z
        return self.kernels.activate(z, self._scale(unit, channels), unit.slope, in_place)

    # -- backward ----------------------------------------------------------------------------------------------

    def backward(self, gradient: Tensor | None) -> None:
        """Fill `gradients`; `gradient` is that of the output, None after `fused_head`."""
        self.going_back = True
        if gradient is not None:
            self._start(gradient)
        for unit in reversed(self.graph.units):
            if self.states[unit].readers_done == -1:  # the fused head has done it
                continue
            if not unit.needs_gradient and not self._leads_to_input(unit):
                self._release(unit)
                continue
            self.kernels.label(f"{unit.name} backward")
            if isinstance(unit, OpaqueUnit):
                self._call_backward(unit)
            elif isinstance(unit, ConvUnit) and self._streams(unit):
                self._convolve_backward_streamed(unit)
            else:
                self._hold_gradient(unit)
            self._release_readers(unit)
        if self.input_gradient:
            self._input_backward()

    def _start(self, gradient: Tensor) -> None:
        unit = self.graph.output
        state = self.states[unit]
        if _plain(unit) and not unit.readers:
            assert isinstance(unit, ConvUnit)
            state.dz, state.y, state.z = self.kernels.cast(gradient, self._type(unit)), None, None
            self._own_gradients(unit)
        else:
            state.pushed = self.kernels.clone(gradient)  # autograd's own tensor is not ours to overwrite

    def _leads_to_input(self, unit: Unit) -> bool:
        if not self.input_gradient:
            return False
        return any(s.unit is self.graph.input or self._leads_to_input(s.unit) for s in unit.sources)

    def _wants(self, unit: Unit) -> bool:
        """Whether the gradient of a unit's value is needed."""
        if unit is self.graph.input:
            return self.input_gradient
        return unit.needs_gradient or self._leads_to_input(unit)

    def _streams(self, unit: ConvUnit) -> bool:
        return self._storage(unit) is Storage.NEVER and self.states[unit].dz is None

    def _hold_gradient(self, unit: Unit) -> None:
        """Make dL/dz of a unit slice by slice and hold it, so that the unit's sources can pull theirs."""
        state = self.states[unit]
        if state.dz is not None:  # the head made it already
            return
        if isinstance(unit, PoolUnit):
            self._pool_backward(unit)
            return
        assert isinstance(unit, ConvUnit)
        if state.host is not None:
            state.z, state.host = self.kernels.to_device(state.host, self._device), None
        if state.z is None:
            state.z = self._convolve(unit)
        z = state.z
        in_place = self.choices.in_place and not _plain(unit)
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
        self._affine_gradients(unit, sums, channels)
        kernels.norm_backward(gradient, z, scale, statistics, sums, channels, into)

    def _affine_gradients(self, unit: ConvUnit, sums: tuple[Tensor, Tensor], channels: slice) -> None:
        assert unit.norm is not None
        plain, with_z = (s.sum(0) if len(s.shape) == 2 else s for s in sums)
        if unit.norm.weight is not None:
            self.add_gradient(unit.norm.weight, (channels,), with_z)
        if unit.norm.bias is not None:
            self.add_gradient(unit.norm.bias, (channels,), plain)

    def _own_gradients(self, unit: ConvUnit) -> None:
        """Bias, and weight slices of sources that no gradient goes to: nothing will pull those."""
        dz = self.states[unit].dz
        assert dz is not None
        if unit.conv.bias is not None and unit.conv.bias.requires_grad:
            self.add_gradient(unit.conv.bias, (ALL,), self.kernels.bias_gradient(dz, unit.conv.bias))
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
            self.add_gradient(unit.conv.weight, (out, into), found)

    def _gradient_of(self, unit: Unit, channels: slice, y: Tensor) -> Tensor | None:
        """dL/dy of a slice of a unit's channels: what was pushed to it, and what it pulls from its readers."""
        pushed = self.states[unit].pushed
        total = None if pushed is None else pushed[:, channels] if channels != ALL else pushed
        for reader, source in unit.readers:
            dz = self.states[reader].dz
            if dz is None or isinstance(reader, OpaqueUnit):
                continue  # it has pushed its part
            if isinstance(reader, PoolUnit):
                part = self.kernels.pool_backward(dz[:, channels], y)
            else:
                assert isinstance(reader, ConvUnit)
                part = self._pull(reader, source, dz, channels, y)
            if total is None:
                total = part
            else:
                self.kernels.add(total, self.kernels.cast(part, total.dtype))
            del part
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
            self.add_gradient(reader.conv.weight, (ALL, into), kernels.weight_gradient(dz, x, weight, reader.conv))
            del x
        result = kernels.input_gradient(dz, weight, shape, reader.conv)
        return result if source.upsample is None else kernels.upsample_backward(result)

    def _pool_backward(self, unit: PoolUnit) -> None:
        """The gradient of the pooled tensor, written over it where that is allowed."""
        state = self.states[unit]
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
                self.add_gradient(unit.conv.bias, (channels,), kernels.bias_gradient(z, unit.conv.bias))
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

    def _call_backward(self, unit: OpaqueUnit) -> None:
        """Autograd over one opaque unit; its sources get their share pushed."""
        state = self.states[unit]
        values = [self.read(source.unit, ALL) for source in unit.sources]
        gradient = self._gradient_of(unit, ALL, state.y if state.y is not None else self.read(unit, ALL))
        state.y = state.pushed = None
        if gradient is None:
            return
        wanted = [self._wants(source.unit) for source in unit.sources]
        shares, found = self.kernels.call_backward(unit, values, wanted, gradient, state.random)
        for share, source in zip(shares, unit.sources, strict=True):
            target = self.states[source.unit]
            if share is not None and target.pushed is None:
                target.pushed = share
            elif share is not None and target.pushed is not None:
                self.kernels.add(target.pushed, share)
        for parameter, value in found:
            self.add_gradient(parameter, (ALL,), value)

    def _input_backward(self) -> None:
        unit = self.graph.input
        state = self.states[unit]
        assert state.y is not None
        state.dz = self._gradient_of(unit, ALL, state.y)

    def _release(self, unit: Unit) -> None:
        state = self.states[unit]
        state.y = state.z = state.dz = state.pushed = state.host = None

    def _release_readers(self, unit: Unit) -> None:
        """Readers all of whose sources have pulled hold their gradient no longer."""
        self.states[unit].readers_done = -1
        if isinstance(unit, OpaqueUnit) or self._is_streamed(unit):
            self._release(unit)
        for reader, _ in unit.readers:
            waiting = (source.unit for source in reader.sources if self._wants(source.unit))
            if all(self.states[other].readers_done == -1 for other in waiting):
                self._release(reader)
        if not any(self._wants(source.unit) for source in unit.sources):
            self._release(unit)

    def _is_streamed(self, unit: Unit) -> bool:
        return isinstance(unit, ConvUnit) and self._streams(unit)

    def scale_gradients(self, factor: Tensor) -> None:
        """Multiply what the fused head has made by the gradient of the loss itself."""
        assert self.graph.head is not None
        held = [self.states[self.graph.head[1]].dz, *self.gradients.values()]
        for tensor in held:
            assert tensor is not None
            tensor.mul_(factor.to(tensor.dtype))

    def clear(self) -> None:
        """Release everything."""
        self.gradients = {}
        self.clear_tensors()

    def clear_tensors(self) -> None:
        """Release everything but the gradients."""
        self.states = {}

    def add_gradient(self, parameter: Tensor, index: tuple[slice, ...], value: Tensor) -> None:
        """Add to a slice of a parameter's gradient."""
        if not parameter.requires_grad:
            return
        known = self.gradients.get(parameter)
        if known is None and tuple(value.shape) == tuple(parameter.shape):
            self.gradients[parameter] = value
            return
        if known is None:
            known = self.gradients[parameter] = self.kernels.zeros_like(parameter)
        self.kernels.add(known[index], self.kernels.cast(value, known.dtype))

    # -- head and loss as one ----------------------------------------------------------------------------------

    def fused_head(self, loss: HeadLoss) -> Tensor:
        """Loss of the network's output without ever making that output whole; leaves dL/dz of the last body unit.

        Needs `graph.head`, and the body unit's z: run `forward(volume, until=head)` first.
        """
        assert self.graph.head is not None
        head, body = self.graph.head
        return _FusedHead(self, head, body, loss).run()


class _FusedHead:
    """Passes over slabs of the body's output: statistics of the loss, sums of the norm's backward, its gradient."""

    def __init__(self, walk: Walk, head: ConvUnit, body: ConvUnit, loss: HeadLoss) -> None:
        self.walk, self.head, self.body, self.loss = walk, head, body, loss
        self.kernels = walk.kernels
        z = walk.states[body].z
        assert z is not None
        self.z = z
        self.rows = cut(z.shape[2], walk.choices.head_rows)
        self.scale = walk._scale(body, ALL)
        self.weight = self.kernels.parameter(head.conv.weight)
        self.bias = None if head.conv.bias is None else self.kernels.parameter(head.conv.bias)
        self.type = sum_type(z.dtype)

    def run(self) -> Tensor:
        """The loss."""
        walk, body, kernels, z = self.walk, self.body, self.kernels, self.z
        kernels.label("head and loss")
        state = walk.states[body]
        shape = (z.shape[0], self.head.channels, *z.shape[2:])
        self.loss.begin(shape, z.device, self.type)
        for number in range(self.loss.passes):
            for rows in self.rows:
                self.loss.accumulate(number, self._logits(self._value(rows)), rows)
        value = self.loss.value()
        if not walk.keep:
            return value
        sums = self._sums()
        if sums is not None:
            walk._affine_gradients(body, sums, ALL)
        for rows in self.rows:
            self._write(rows, sums)
        state.dz, state.z, state.y = z, None, None
        walk._own_gradients(body)
        walk.states[self.head].readers_done = -1
        return value

    def _value(self, rows: slice) -> Tensor:
        z = self.kernels.cast(self.z[:, :, rows], self.type)
        if self.body.norm is None and self.body.slope is None:
            return z
        return self.kernels.activate(z, self.scale, self.body.slope, in_place=False)

    def _logits(self, y: Tensor) -> Tensor:
        return self.kernels.conv(y, self.weight, self.bias, self.head.conv)

    def _gradient(self, rows: slice, first: bool) -> Tensor:
        """dL/d(norm's output) of a slab; on the first round the head's own gradients are summed too."""
        kernels, head = self.kernels, self.head
        y = self._value(rows)
        upstream = self.loss.gradient(self._logits(y), rows)
        if first:
            if head.conv.weight.requires_grad:
                found = kernels.weight_gradient(upstream, y, self.weight, head.conv)
                self.walk.add_gradient(head.conv.weight, (ALL,), found)
            if head.conv.bias is not None:
                self.walk.add_gradient(head.conv.bias, (ALL,), kernels.bias_gradient(upstream, head.conv.bias))
        gradient = kernels.input_gradient(upstream, self.weight, tuple(y.shape), head.conv)
        del upstream
        return kernels.mask(gradient, y, self.body.slope)

    def _sums(self) -> tuple[Tensor, Tensor] | None:
        """Sums over the grid that the norm's backward pass needs, and the head's gradients."""
        statistics = self.walk.states[self.body].statistics
        if self.scale is None or statistics is None:
            return None
        total: tuple[Tensor, Tensor] | None = None
        for rows in self.rows:
            gradient = self._gradient(rows, first=True)
            z = self.kernels.cast(self.z[:, :, rows], self.type)
            found = self.kernels.norm_sums(gradient, z, statistics, self.scale[2], ALL)
            if total is None:
                total = found
            else:
                self.kernels.add(total[0], found[0])
                self.kernels.add(total[1], found[1])
            del gradient, z
        return total

    def _write(self, rows: slice, sums: tuple[Tensor, Tensor] | None) -> None:
        gradient = self._gradient(rows, first=sums is None)
        z = self.z[:, :, rows]
        if sums is None:
            self.kernels.copy(z, gradient)
            return
        statistics = self.walk.states[self.body].statistics
        assert statistics is not None and self.scale is not None
        self.kernels.norm_backward(gradient, z, self.scale, statistics, sums, ALL, None)


def _plain(unit: Unit) -> bool:
    """A convolution alone: its value is its output itself."""
    return isinstance(unit, ConvUnit) and unit.norm is None and unit.slope is None
