"""The executor's operations on sizes alone: what a plan costs, found by walking it with tensors that have no data.

One walk of a paper-size network takes some milliseconds. Every operation states what it allocates, how many floating
point operations it does and how many bytes it moves; what dies is found by reference counting, as with real tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.kernels import Statistics, TorchKernels, sum_type
from FetusMapV2Lib.memory.ledger import Ledger, LedgerMemory
from FetusMapV2Lib.memory.meter import PeakMeter
from FetusMapV2Lib.memory.rows import Convolution
from FetusMapV2Lib.memory.shape_transfers import ShapeRows, ShapeTransfers
from FetusMapV2Lib.memory.unit_kinds import OpaqueUnit


class ShapeTensor:
    """A tensor's shape and type, and the memory it lies in (None: not counted, like a parameter)."""

    __slots__ = ("__weakref__", "dtype", "memory", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, memory: LedgerMemory | None) -> None:
        self.shape, self.dtype, self.memory = shape, dtype, memory

    device = torch.device("cpu")
    requires_grad = True

    def numel(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Of the elements."""
        return math.prod(self.shape) * self.dtype.itemsize

    def like(self, memory: LedgerMemory | None, shape: tuple[int, ...] | None = None) -> ShapeTensor:
        """Another tensor of the type, and of the shape if none is given."""
        return ShapeTensor(self.shape if shape is None else shape, self.dtype, memory)

    def dim(self) -> int:
        """Axes."""
        return len(self.shape)

    def sum(self, axis: int) -> ShapeTensor:
        """Over the first axis; small."""
        assert axis == 0
        return ShapeTensor(self.shape[1:], self.dtype, None)

    def __getitem__(self, index: Any) -> ShapeTensor:
        parts = index if type(index) is tuple else (index,)
        shape = list(self.shape)
        axis = 0
        for part in parts:
            if part is Ellipsis:
                axis = len(shape) - len(parts)
            elif part.start is not None or part.stop is not None:
                start, stop, _ = part.indices(shape[axis])
                shape[axis] = stop - start if stop > start else 0
            axis += 1
        return ShapeTensor(tuple(shape), self.dtype, self.memory)


#: Shape of the value and operations of opaque units, by name and shapes of what they read.
OpaqueCosts = dict[tuple[str, tuple[tuple[int, ...], ...]], tuple[tuple[int, ...], int]]


class ShapeKernels(TorchKernels):
    """`TorchKernels` for `ShapeTensor`s, writing to a ledger.

    Args:
        ledger: takes what everything costs.
        opaque_costs: what is known of opaque units, and will be; share it between the passes through a network.
        layout: of the tensors that they stand for.
        copies_beside: transfers to and from host memory run beside the computation, which holds tensors longer.
    """

    def __init__(
        self,
        ledger: Ledger,
        opaque_costs: OpaqueCosts | None = None,
        *,
        layout: torch.memory_format = torch.contiguous_format,
        copies_beside: bool = False,
    ) -> None:
        super().__init__(layout)
        self.ledger = ledger
        self.transfers = ShapeTransfers(ledger, copies_beside)
        self._opaque_costs: OpaqueCosts = {} if opaque_costs is None else opaque_costs
        self._parameters: dict[int, ShapeTensor] = {}

    def new(self, shape: tuple[int, ...], dtype: torch.dtype) -> Any:
        """A shape tensor with memory."""
        return ShapeTensor(tuple(shape), dtype, LedgerMemory(self.ledger, math.prod(shape) * dtype.itemsize))

    def empty(self, shape: tuple[int, ...], like: Any, dtype: torch.dtype | None = None) -> Any:
        """Allocate; costs no operation."""
        return self.new(shape, dtype or like.dtype)

    def zeros(self, shape: tuple[int, ...], like: Any) -> Any:
        """Allocate; one pass that writes."""
        result = self.new(shape, like.dtype)
        self.ledger.work("zeros", result, result.bytes)
        return result

    def arranged(self, x: Any) -> Any:
        """The same: a volume of one channel lies in every layout alike."""
        return x

    def clear(self, x: Any) -> None:
        """One pass that writes."""
        self.ledger.work("clear", x, x.bytes)

    def zeros_like(self, parameter: Tensor) -> Any:
        """Allocate a gradient for `parameter`; never part of a pass over voxels, so no operation is counted."""
        return self.new(tuple(parameter.shape), parameter.dtype)

    def cast(self, x: Any, dtype: torch.dtype) -> Any:
        """Allocate unless `x` has the type already; one pass that reads and writes."""
        if x.dtype == dtype:
            return x
        result = self.new(x.shape, dtype)
        self.ledger.work("cast", x, x.bytes + result.bytes)
        return result

    def parameter(self, parameter: Tensor) -> Any:
        """A shape tensor whose memory is not counted."""
        known = self._parameters.get(id(parameter))
        if known is None:
            known = self._parameters[id(parameter)] = ShapeTensor(tuple(parameter.shape), parameter.dtype, None)
        return known

    def conv(self, x: Any, weight: Any, bias: Any, conv: Convolution) -> Any:
        """Allocate the output (B, O, k, j, i); two operations per weight and output voxel."""
        space = _convolved(x.shape[2:], conv.kernel_size, conv.padding, conv.stride, conv.dilation)
        self._weight_cast(weight, x.dtype)
        result = self.new((x.shape[0], weight.shape[0], *space), x.dtype)
        self.ledger.convolve("conv", result, weight, conv)
        return result

    def _weight_cast(self, weight: Any, dtype: torch.dtype) -> None:
        if weight.dtype != dtype:
            self.ledger.brief(weight.numel() * dtype.itemsize)

    def weight_gradient(self, dz: Any, x: Any, weight: Any, conv: Convolution) -> Any:
        """Allocate a gradient of the shape and type of `weight`; as many operations as the forward pass."""
        self._weight_cast(weight, dz.dtype)
        result = self.new(weight.shape, weight.dtype)
        self.ledger.convolve("weight_gradient", dz, weight, conv)
        return result

    def input_gradient(self, dz: Any, weight: Any, shape: tuple[int, ...], conv: Convolution) -> Any:
        """Allocate a gradient of `shape`; as many operations as the forward pass."""
        self._weight_cast(weight, dz.dtype)
        result = self.new(shape, dz.dtype)
        self.ledger.convolve("input_gradient", dz, weight, conv)
        return result

    def bias_gradient(self, dz: Any, bias: Any) -> Any:
        """Allocate a gradient like `bias`; one pass that reads `dz`."""
        self.ledger.work("bias_gradient", dz, dz.bytes)
        return self.new(tuple(bias.shape), bias.dtype)

    def statistics(self, z: Any, per_sample: bool) -> Statistics:
        """Allocate mean and variance; two reads of `z`, and in low precision a copy of it for a moment."""
        kind = sum_type(z.dtype)
        shape = (z.shape[0], z.shape[1]) if per_sample else (z.shape[1],)
        self.ledger.work("statistics", z, 2 * z.bytes)
        if z.dtype != kind:
            self.ledger.brief(z.numel() * kind.itemsize)
        return Statistics(self.new(shape, kind), self.new(shape, kind), 1)

    def empty_statistics(self, z_like: Any, shape: tuple[int, ...]) -> Any:
        """Allocate in the type that sums of `z_like` are taken in."""
        return self.new(shape, sum_type(z_like.dtype))

    def scale_and_shift(
        self, statistics: Statistics, gamma: Any, beta: Any, eps: float, channels: slice
    ) -> tuple[Any, Any, Any]:
        """Three values per channel: too small to count."""
        like: Any = statistics.mean[..., channels]
        small = ShapeTensor(like.shape, like.dtype, None)
        return small, small, small

    def activate(self, z: Any, scale: Any, slope: float | None, in_place: bool, into: Any = None) -> Any:
        """One pass, two with a normalisation, in place or into new memory; in low precision two copies for a moment."""
        kind = sum_type(z.dtype)
        way = "activate_in_place" if in_place or into is not None else "activate"
        self.ledger.work(way, z, (4 if scale is not None else 2) * z.bytes)
        if scale is not None and z.dtype != kind:
            self.ledger.brief(2 * z.numel() * kind.itemsize)
        if into is not None:
            return into
        return z if in_place else self.new(z.shape, z.dtype)

    def mask(self, gradient: Any, y: Any, slope: float | None) -> Any:
        """One pass in place: two reads and one write; none without an activation."""
        if slope is not None:
            self.ledger.work("mask", y, 3 * y.bytes)
        return gradient

    def norm_sums(
        self, gradient: Any, z: Any, statistics: Statistics, inverse: Any, channels: slice
    ) -> tuple[Any, Any]:
        """Allocate two sums per channel; two reads of a tensor of the size of `z`."""
        self.ledger.work("norm_sums", z, 2 * z.bytes)
        like: Any = statistics.mean[..., channels]
        return self.new(like.shape, like.dtype), self.new(like.shape, like.dtype)

    def norm_backward(
        self,
        gradient: Any,
        z: Any,
        scale: Any,
        statistics: Statistics,
        sums: tuple[Any, Any],
        channels: slice,
        into: Any,
    ) -> None:
        """Passes that read and write seven times the size of `z`; in low precision three copies for a moment."""
        kind = sum_type(z.dtype)
        self.ledger.work("norm_backward", z, 7 * z.bytes)
        if z.dtype != kind:
            self.ledger.brief(3 * z.numel() * kind.itemsize)

    def pool(self, y: Any) -> Any:
        """Allocate the output at half the size; the places of its maxima (int64) live for a moment."""
        result = self.new((*y.shape[:2], *(n // 2 for n in y.shape[2:])), y.dtype)
        self.ledger.brief(result.numel() * 8)  # places of the maxima
        self.ledger.work("pool", y, y.bytes + result.bytes)
        return result

    def pool_backward(self, gradient: Any, y: Any) -> Any:
        """Allocate a gradient like `y`; the pooled values and their places are recomputed and live meanwhile."""
        pooled = gradient.numel()
        places = LedgerMemory(self.ledger, pooled * (8 + y.dtype.itemsize))
        result = self.new(y.shape, y.dtype)
        self.ledger.work("pool_backward", y, 2 * y.bytes + 3 * gradient.bytes)
        del places
        return result

    def upsample(self, x: Any, function: Callable[[Tensor], Tensor]) -> Any:
        """Allocate the output at twice the size; one pass."""
        result = self.new((*x.shape[:2], *(2 * n for n in x.shape[2:])), x.dtype)
        self.ledger.work("upsample", x, x.bytes + result.bytes)
        return result

    def upsample_backward(self, gradient: Any) -> Any:
        """Allocate a gradient at half the size; one pass."""
        result = self.new((*gradient.shape[:2], *(n // 2 for n in gradient.shape[2:])), gradient.dtype)
        self.ledger.work("upsample_backward", gradient, gradient.bytes + result.bytes)
        return result

    def concatenate(self, parts: list[Any]) -> Any:
        """Allocate the sum of the channels; one pass that reads and writes."""
        first = parts[0]
        result = self.new((first.shape[0], sum(p.shape[1] for p in parts), *first.shape[2:]), first.dtype)
        self.ledger.work("concatenate", result, 2 * result.bytes)
        return result

    def add(self, into: Any, x: Any) -> None:
        """One pass: two reads and one write."""
        self.ledger.work("add", x, 3 * x.bytes)

    def copy(self, into: Any, x: Any) -> None:
        """One pass that reads and writes."""
        self.ledger.work("copy", x, 2 * x.bytes)

    def clone(self, x: Any) -> Any:
        """Allocate a copy; one pass that reads and writes."""
        self.ledger.work("clone", x, 2 * x.bytes)
        return self.new(x.shape, x.dtype)

    def to_host(self, x: Any) -> Any:
        """Allocate in host memory and count the transfer."""
        return self.transfers.park(x)

    def to_device(self, host: Any, device: torch.device) -> Any:
        """Allocate on the device and count the transfer."""
        return self.transfers.fetch(host)

    def pad_rows(self, x: Any, before: int, after: int) -> Any:
        """Allocate (B, C, before + k + after, j, i); one pass that reads and writes."""
        result = self.new((*x.shape[:2], x.shape[2] + before + after, *x.shape[3:]), x.dtype)
        self.ledger.work("pad_rows", x, 2 * result.bytes)
        return result

    def flipped(self, weight: Any) -> Any:
        """Allocate the weight with its channel axes exchanged; too small to count as an operation."""
        return self.new((weight.shape[1], weight.shape[0], *weight.shape[2:]), weight.dtype)

    def norm_sign(self, gamma: Any) -> Any:
        """One value per channel, which is not counted."""
        return None if gamma is None else ShapeTensor((1, gamma.shape[0], 1, 1, 1), gamma.dtype, None)

    def times(self, x: Any, factor: Any) -> Any:
        """Allocate the product; one pass that reads and writes."""
        self.ledger.work("times", x, 2 * x.bytes)
        return self.new(x.shape, x.dtype)

    def merge_statistics(self, known: Statistics | None, found: Statistics) -> Statistics:
        """The statistics found last: all have the same shape."""
        return found

    def host_room(self, shape: tuple[int, ...], like: Any) -> Any:
        """Allocate in host memory."""
        return ShapeRows(self.transfers, shape, like, self.layout is torch.channels_last_3d)

    def rows_to_host(self, host: Any, i: int, j: int, rows: Any) -> None:
        """Count the transfer of `rows`."""
        host.write(i, j, rows)

    def rows_to_device(self, host: Any, i: int, j: int, like: Any) -> Any:
        """Allocate the rows i to j on the device and count their transfer."""
        return host.read(i, j)

    def next_unit(self) -> None:
        """Transfers to the host go on beside one unit."""
        self.transfers.next_unit()

    def release(self) -> None:
        """Nothing is under way any more."""
        self.transfers.clear()

    def call(self, unit: OpaqueUnit, values: list[Any]) -> tuple[Any, Any]:
        """Allocate the value of an opaque unit; its operations are counted once per unit and shapes, without data."""
        shape, flops = self._opaque(unit, values)
        result = self.new(shape, values[0].dtype)
        self.ledger.work("call", result, sum(value.bytes for value in values) + result.bytes, flops)
        return result, None

    def _opaque(self, unit: OpaqueUnit, values: list[Any]) -> tuple[tuple[int, ...], int]:
        """Shape and operations of an opaque unit's value, from one run without data."""
        shapes = tuple(value.shape for value in values)
        key = (unit.name, shapes)
        if key not in self._opaque_costs:
            with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), PeakMeter() as meter:
                result = unit.call(*(torch.empty(shape) for shape in shapes))
            if not isinstance(result, Tensor):
                raise UserError(f"step {unit.name!r} of the network gives something that is no tensor")
            self._opaque_costs[key] = (tuple(result.shape), meter.flops)
        return self._opaque_costs[key]

    def call_again(self, unit: OpaqueUnit, values: list[Any], states: Any) -> Any:
        """The cost of one more forward pass."""
        return self.call(unit, values)[0]

    def call_backward(
        self, unit: OpaqueUnit, values: list[Any], wanted: list[bool], gradient: Any, states: Any
    ) -> tuple[list[Any], list[tuple[nn.Parameter, Any]]]:
        """One more forward pass, and as many operations again for each gradient: of the first value, of the weights."""
        again = self.call(unit, values)[0]
        weighed = sum(wanted[:1]) + any(p.requires_grad for p in unit.parameters())
        self.ledger.work("call_backward", values[0], 0, weighed * self._opaque(unit, values)[1])
        shares = [
            self.new(value.shape, value.dtype) if want else None for value, want in zip(values, wanted, strict=True)
        ]
        found = [(p, self.new(tuple(p.shape), p.dtype)) for p in unit.parameters() if p.requires_grad]
        del again
        return shares, found

    def label(self, name: str) -> None:
        """Begin a new line of the timeline in the ledger."""
        self.ledger.label(name)


@cache
def _convolved(space: tuple[int, ...], kernel: Any, padding: Any, stride: Any, dilation: Any) -> tuple[int, ...]:
    """Space that a convolution leaves."""
    axes = zip(space, kernel, padding, stride, dilation, strict=True)
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, p, s, d in axes)
