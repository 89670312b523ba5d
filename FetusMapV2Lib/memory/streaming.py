"""Slab streaming: the full-resolution level passes slab by slab, statistics in two passes; the rest runs whole."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from FetusMapV2Lib.memory.channel_executor import ChannelExecutor
from FetusMapV2Lib.memory.gradients import Gradients
from FetusMapV2Lib.memory.head import HeadLoss
from FetusMapV2Lib.memory.kernels import Statistics, TorchKernels
from FetusMapV2Lib.memory.plan import Choices
from FetusMapV2Lib.memory.rows import RowConv, coarse_rows
from FetusMapV2Lib.memory.streamed_values import StreamedValues
from FetusMapV2Lib.memory.top_level import Top
from FetusMapV2Lib.memory.unit_kinds import ConvUnit
from FetusMapV2Lib.memory.units import ALL, Source, Unit


class StreamedExecutor(StreamedValues):
    """One pass through a network whose top level is streamed; the levels below run in slices of channels.

    Args:
        top: the network.
        choices: `slab_rows`, `streamed_to_host` (which tensors go to host memory), and those of the
            levels below.
        kernels: operations on tensors, or on their sizes.
        keep: False at inference.
    """

    def __init__(self, top: Top, choices: Choices, kernels: TorchKernels, *, keep: bool = True) -> None:
        self.inner = ChannelExecutor(top.inner, choices, kernels, keep=keep, wants_input=keep)
        self.body = top.convs[:-1]
        super().__init__(top, choices, kernels, keep=keep)
        self.sums: dict[Unit, tuple[Tensor, Tensor]] = {}
        self.below_gradient: Tensor | None = None
        self.pooled_gradient: Tensor | None = None
        self._loss: Any = None

    def clear(self) -> None:
        """Release everything."""
        super().clear()
        self.inner.clear()
        self.sums, self.below_gradient, self.pooled_gradient, self._loss = {}, None, None, None

    @property
    def gradients(self) -> Gradients:
        """Of the parameters."""
        return self.inner.gradients

    @property
    def input_gradient(self) -> None:
        """Not made here."""

    def holds(self, value: Tensor) -> bool:
        """False: the output is assembled from slabs."""
        return False

    # -- forward -----------------------------------------------------------------------------------------------

    def output(self, volume: Tensor) -> Tensor:
        """The network's output for a volume (B, C, K, J, I), assembled from slabs."""
        self._features(volume)
        result: Tensor | None = None
        self.kernels.label("head")
        for i, j in self._slabs():
            part = self.logits(i, j)
            if result is None:
                result = self.kernels.empty((*part.shape[:2], self.rows, *part.shape[3:]), part)
            self.kernels.copy(result[:, :, i:j], part)
            del part
        assert result is not None
        return result

    def loss(self, volume: Tensor, head_loss: HeadLoss) -> Tensor:
        """The scalar loss of the output, which is never there whole."""
        self._features(volume)
        self._loss = head_loss
        self.kernels.label("head and loss")
        shape = (volume.shape[0], self.top.head.channels, *volume.shape[2:])
        head_loss.begin(shape, volume.device, volume.dtype)
        for number in range(head_loss.passes):
            for i, j in self._slabs():
                head_loss.accumulate(number, self.logits(i, j), slice(i, j))
        return head_loss.value()

    def _features(self, volume: Tensor) -> None:
        """All statistics of the top level, and the levels below."""
        self.begin(volume)
        for unit in self.body:
            self.kernels.label(f"{unit.name} statistics")
            pooled = self._pass_forward(unit)
            if pooled is not None:
                self.below = self.inner.output(pooled)
                del pooled
                if self.keep:
                    self.inner.states[self.top.inner.output].y = None

    def _pass_forward(self, unit: ConvUnit) -> Tensor | None:
        """Statistics of a unit, and if the pool reads it, the pooled value.

        Norm and activation are monotone: pooling may come first, on z times the sign of the norm's scale.
        """
        kernels = self.kernels
        reads = any(reader is self.top.pool for reader, _ in unit.readers)
        sign = kernels.norm_sign(unit.norm.weight) if reads and unit.norm is not None else None
        pooled: Tensor | None = None
        found: Statistics | None = None
        for i, j in self._slabs():
            z = self.z(unit, i, j)
            if unit.norm is not None:
                found = kernels.merge_statistics(found, kernels.statistics(z, False))
            self._to_host("z", unit, i, j, z)
            if reads:
                part = kernels.pool(z if sign is None else kernels.times(z, sign))
                if pooled is None:
                    pooled = kernels.empty((*part.shape[:2], self.rows // 2, *part.shape[3:]), part)
                kernels.copy(pooled[:, :, i // 2 : j // 2], part)
                del part
            del z
        if found is not None:
            self.statistics[unit] = found
        if pooled is not None:
            if sign is not None:
                pooled = kernels.times(pooled, sign)
            pooled = self._activate(unit, pooled, in_place=True)
        return pooled

    # -- backward ----------------------------------------------------------------------------------------------

    def backward(self, upstream: Tensor | None) -> None:
        """Fill `gradients`; `upstream` is the gradient of what was asked for last, None = 1 (of a loss)."""
        if upstream is not None:
            self._loss = _Given(upstream) if self._loss is None else _Scaled(self._loss, upstream)
        kernels = self.kernels
        self._head_gradients()
        last = self.body[-1]
        self._sum_pass(last)
        for unit in reversed(self.body):
            kernels.label(f"{unit.name} backward")
            if unit not in self.sums:
                if self.below_gradient is not None:
                    self._inner_backward()
                self._sum_pass(unit)
            self._weight_pass(unit)
        self.slab = {}

    def _inner_backward(self) -> None:
        inner = self.inner
        if {"z", "dy"} <= set(self.choices.streamed_to_host):
            self.below = None  # else gradients above the pool are recomputed, and need it
        inner.states[self.top.inner.output].pushed, self.below_gradient = self.below_gradient, None
        inner.backward(None)
        self.pooled_gradient = inner.states[self.top.inner.input].dz
        inner.clear_tensors()

    def _head_gradients(self) -> None:
        kernels, head, body = self.kernels, self.top.head, self.body[-1]
        weight = kernels.parameter(head.conv.weight)
        for i, j in self._slabs():
            y = self.y(body, i, j)
            upstream = self._loss.gradient(self.logits(i, j), slice(i, j))
            if head.conv.weight.requires_grad:
                self._add(head.conv.weight, ALL, kernels.weight_gradient(upstream, y, weight, head.conv))
            if head.conv.bias is not None and head.conv.bias.requires_grad:
                self._add(head.conv.bias, ALL, kernels.bias_gradient(upstream, head.conv.bias))
            del y, upstream

    def _sum_pass(self, unit: ConvUnit) -> None:
        """The sums that the norm's backward pass needs, over all slabs."""
        for i, j in self._slabs():
            self._sum_slab(unit, i, j)
        self._end_sums(unit)

    def _sum_slab(self, unit: ConvUnit, i: int, j: int) -> None:
        kernels = self.kernels
        gradient = self.dy(unit, i, j)
        self._to_host("dy", unit, i, j, gradient)
        if unit.norm is None:
            return
        z, statistics = self.z(unit, i, j), self.statistics[unit]
        inverse = self._scale(unit)[2]
        found = kernels.norm_sums(gradient, z, statistics, inverse, ALL)
        if unit not in self.sums:
            self.sums[unit] = found
        else:
            kernels.add(self.sums[unit][0], found[0])
            kernels.add(self.sums[unit][1], found[1])

    def _end_sums(self, unit: ConvUnit) -> None:
        if unit.norm is None:
            like: Any = self.volume
            self.sums[unit] = (like, like)  # marks the unit as done
            return
        plain, with_z = self.sums[unit]
        if unit.norm.weight is not None and unit.norm.weight.requires_grad:
            self._add(unit.norm.weight, ALL, with_z)
        if unit.norm.bias is not None and unit.norm.bias.requires_grad:
            self._add(unit.norm.bias, ALL, plain)

    def _weight_pass(self, unit: ConvUnit) -> None:
        """Weight gradients of a unit, the gradient of what it reads from below, sums of sources that only it reads."""
        body = (self.top.convolution[s.unit] for s in unit.sources if s.unit in self.body)
        alone = [source for source in body if len(source.readers) == 1]
        weight = self.kernels.parameter(unit.conv.weight)
        for i, j in self._slabs():
            for source in alone:
                self._sum_slab(source, i, j)
            dz = self.dz(unit, i, j)
            if unit.conv.bias is not None and unit.conv.bias.requires_grad:
                self._add(unit.conv.bias, ALL, self.kernels.bias_gradient(dz, unit.conv.bias))
            for read in unit.sources:
                self._weight_from(unit, read, weight, dz, i, j)
            del dz
        for source in alone:
            self._end_sums(source)

    def _weight_from(self, unit: ConvUnit, source: Source, weight: Tensor, dz: Tensor, i: int, j: int) -> None:
        kernels, conv = self.kernels, RowConv.of(unit.conv)
        for part in self._parts(unit, source):
            into = slice(source.offset + part.start, source.offset + part.stop)
            if unit.conv.weight.requires_grad:
                x = self._haloed(lambda a, b, p=part: self._source_rows(source, a, b, p), i, j, conv.halo)  # type: ignore[misc]
                self._add(unit.conv.weight, into, kernels.weight_gradient(dz, x, weight[:, into], conv))
                del x
            if source.upsample is not None:
                found = self._transposed(unit, i, j, into)
                self._add_below(found, part, i, j)
                del found

    def _add_below(self, gradient: Tensor, part: slice, i: int, j: int) -> None:
        """The adjoint of upsampling, for the rows of a slab."""
        assert self.below is not None
        kernels = self.kernels
        if self.below_gradient is None:
            self.below_gradient = kernels.zeros(tuple(self.below.shape), self.below)
        a, b = coarse_rows(i, j, self.rows // 2)
        padded = kernels.pad_rows(gradient, i - 2 * a, 2 * b - j)
        found = kernels.cast(kernels.upsample_backward(padded), self.below.dtype)
        kernels.add(self.below_gradient[:, part, a:b], found)

    # -- slabs of gradients ------------------------------------------------------------------------------------

    def dy(self, unit: ConvUnit, i: int, j: int) -> Tensor:
        """Rows of the gradient of a unit's activation input: already through the activation's mask."""

        def make() -> Tensor:
            gradient = self._pulled(unit, i, j)
            return self.kernels.mask(gradient, self.y(unit, i, j), unit.slope)

        return self._remembered("dy", unit, i, j, make)

    def dz(self, unit: ConvUnit, i: int, j: int) -> Tensor:
        """Rows of the gradient of a convolution's output."""

        def make() -> Tensor:
            gradient = self.dy(unit, i, j)
            if unit.norm is None:
                return gradient
            z, statistics, scale = self.z(unit, i, j), self.statistics[unit], self._scale(unit)
            result = self.kernels.empty(tuple(z.shape), z)
            self.kernels.norm_backward(gradient, z, scale, statistics, self.sums[unit], ALL, result)
            return result

        return self._remembered("dz", unit, i, j, make)

    def _pulled(self, unit: ConvUnit, i: int, j: int) -> Tensor:
        total: Tensor | None = None
        for reader, source in unit.readers:
            if reader is self.top.head:
                part = self._from_head(i, j)
            elif reader is self.top.pool:
                part = self._from_pool(unit, i, j)
            else:
                conv = self.top.convolution[reader]
                part = self._transposed(conv, i, j, slice(source.offset, source.offset + unit.channels))
            if total is None:
                total = part
            else:
                self.kernels.add(total, part)
            del part
        assert total is not None
        return total

    def _from_head(self, i: int, j: int) -> Tensor:
        kernels, head = self.kernels, self.top.head
        upstream = self._loss.gradient(self.logits(i, j), slice(i, j))
        shape = (upstream.shape[0], head.conv.in_channels, *upstream.shape[2:])
        return kernels.input_gradient(upstream, kernels.parameter(head.conv.weight), shape, head.conv)

    def _from_pool(self, unit: ConvUnit, i: int, j: int) -> Tensor:
        assert self.pooled_gradient is not None
        a, b = i - i % 2, j + j % 2
        found = self.kernels.pool_backward(self.pooled_gradient[:, :, a // 2 : b // 2], self.y(unit, a, b))
        return found[:, :, i - a : j - a]

    def _transposed(self, reader: ConvUnit, i: int, j: int, into: slice) -> Tensor:
        """A convolution's share of the gradient of the channels `into` of what it reads."""
        conv = RowConv.of(reader.conv)
        weight = self.kernels.flipped(self.kernels.parameter(reader.conv.weight)[:, into])
        dz = self._haloed(lambda a, b: self.dz(reader, a, b), i, j, conv.halo)
        return self.kernels.conv(dz, weight, None, conv)

    def _add(self, parameter: Tensor, into: slice, value: Tensor) -> None:
        index = (ALL, into) if len(parameter.shape) > 1 else (into,)
        self.inner.gradients.add(parameter, index, value)


class _Given:
    """The gradient of an output that was there whole."""

    def __init__(self, gradient: Tensor) -> None:
        self.whole = gradient

    def gradient(self, logits: Tensor, rows: slice) -> Tensor:
        """Its rows."""
        return self.whole[:, :, rows]


class _Scaled:
    """A loss times a factor."""

    def __init__(self, loss: HeadLoss, factor: Tensor) -> None:
        self.loss, self.factor = loss, factor

    def gradient(self, logits: Tensor, rows: slice) -> Tensor:
        """Of the product."""
        found = self.loss.gradient(logits, rows)
        return found.mul_(self.factor.to(found.dtype))
