"""What the executor does to tensors, one method each; `shape_tensors.ShapeKernels` does the same to sizes alone.

All of it runs without autograd. Statistics and sums are in float32, or float64 for float64 tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from FetusMapV2Lib.memory.offload import HostMemory, HostRows, Parked
from FetusMapV2Lib.memory.opaque_kernels import OpaqueKernels
from FetusMapV2Lib.memory.rows import Convolution, coarse_rows

_SPACE = (2, 3, 4)


@dataclass(eq=False)
class Statistics:
    """Mean and variance of a convolution's output, (C,) or per sample (B, C); sums run over `count` voxels."""

    mean: Tensor
    variance: Tensor
    count: int


def sum_type(dtype: torch.dtype) -> torch.dtype:
    """The type that sums of a storage type are taken in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def cut(channels: int, width: int, start: int = 0) -> list[slice]:
    """Slices of at most `width` channels from `start`."""
    stop = start + channels
    return [slice(i, min(i + width, stop)) for i in range(start, stop, max(1, width))]


class TorchKernels(OpaqueKernels):
    """The operations on tensors.

    Args:
        layout: how the axes of (B, C, K, J, I) tensors lie in memory; `torch.channels_last_3d` makes rows of one sample
            one block, and is what tensor cores work on.
        host: where tensors wait in host memory, the same one in every step; None = one of its own.
    """

    def __init__(self, layout: torch.memory_format = torch.contiguous_format, host: HostMemory | None = None) -> None:
        self.layout, self.host = layout, host

    def empty(self, shape: tuple[int, ...], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Uninitialised memory."""
        return torch.empty(shape, dtype=dtype or like.dtype, device=like.device, memory_format=self.layout)

    def zeros(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Zeros of a tensor's type."""
        return self.empty(shape, like).zero_()

    def arranged(self, x: Tensor) -> Tensor:
        """In the layout; the same tensor where it has it already."""
        return x.contiguous(memory_format=self.layout)

    def clear(self, x: Tensor) -> None:
        """Overwrite with zeros."""
        x.zero_()

    def zeros_like(self, parameter: Tensor) -> Tensor:
        """A gradient to sum into, in the layout of the parameter."""
        return torch.zeros_like(parameter)

    def cast(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """In another type; the same tensor where it has it already."""
        return x.to(dtype)

    def parameter(self, parameter: Tensor) -> Tensor:
        """Its values, out of autograd's sight."""
        return parameter.detach()

    # -- convolution -------------------------------------------------------------------------------------------

    def conv(self, x: Tensor, weight: Tensor, bias: Tensor | None, conv: Convolution) -> Tensor:
        """Forward, in the type of `x`."""
        bias = None if bias is None else bias.to(x.dtype)
        return F.conv3d(x, self._weight(weight, x.dtype), bias, conv.stride, conv.padding, conv.dilation)

    def _weight(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """In the type, and where that is not torch's own in the layout, of what it is applied to."""
        if self.layout == torch.contiguous_format:
            return weight.to(dtype)
        return weight.to(dtype, memory_format=self.layout)

    def weight_gradient(self, dz: Tensor, x: Tensor, weight: Tensor, conv: Convolution) -> Tensor:
        """From the output's gradient and the input, in the weight's type."""
        kernels, x = self, x.to(dz.dtype)
        if dz.device.type == "cpu" and dz.dtype in (torch.bfloat16, torch.float16):
            # with the channels innermost, PyTorch 2.13 leaves the gradient of small tensors uninitialised
            kernels, dz, x = TorchKernels(), dz.contiguous(), x.contiguous()
        return kernels._backward(dz, x, weight, conv, (False, True))[1].to(weight.dtype)

    def input_gradient(self, dz: Tensor, weight: Tensor, shape: tuple[int, ...], conv: Convolution) -> Tensor:
        """From the output's gradient; the input's values are not needed, only its shape."""
        x = dz.new_empty(1).expand(shape)
        return self._backward(dz, x, weight, conv, (True, False))[0]

    def _backward(
        self, dz: Tensor, x: Tensor, weight: Tensor, conv: Convolution, wanted: tuple[bool, bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        weight = self._weight(weight, dz.dtype)
        gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
            dz, x, weight, None, conv.stride, conv.padding, conv.dilation, False, [0, 0, 0], 1, [*wanted, False]
        )
        return gradients

    def bias_gradient(self, dz: Tensor, bias: Tensor) -> Tensor:
        """Sum over everything but the channels."""
        return dz.sum((0, 2, 3, 4), dtype=sum_type(dz.dtype)).to(bias.dtype)

    # -- normalisation and activation --------------------------------------------------------------------------

    def statistics(self, z: Tensor, per_sample: bool) -> Statistics:
        """Mean and (biased) variance over the batch and space, or over space alone."""
        kind = sum_type(z.dtype)
        if per_sample:
            samples = [self.statistics(z[b : b + 1], False) for b in range(z.shape[0])]
            mean, variance = (torch.stack([getattr(s, n) for s in samples]) for n in ("mean", "variance"))
            return Statistics(mean, variance, samples[0].count)
        count = z.numel() // z.shape[1]
        if not _has_data(z):  # batch_norm_update_stats has no fake kernel
            variance, mean = torch.var_mean(z.to(kind), (0, *_SPACE), correction=0)
        else:
            hint = (None, None) if z.dtype == kind else (z.new_zeros(z.shape[1], dtype=kind),) * 2
            mean, variance = torch.batch_norm_update_stats(z, hint[0], hint[1], 0.0)
        return Statistics(mean, variance, count)

    def empty_statistics(self, z_like: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Room for statistics that are found slice by slice."""
        return z_like.new_zeros(shape, dtype=sum_type(z_like.dtype))

    def scale_and_shift(
        self, statistics: Statistics, gamma: Tensor | None, beta: Tensor | None, eps: float, channels: slice
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(a, b, inverse deviation) with norm(z) = a z + b, for a slice of channels, shaped to broadcast."""
        mean, variance = statistics.mean[..., channels], statistics.variance[..., channels]
        inverse = torch.rsqrt(variance + eps)
        a = inverse if gamma is None else inverse * gamma[channels].to(inverse.dtype)
        b = -mean * a if beta is None else beta[channels].to(inverse.dtype) - mean * a
        return _spread(a), _spread(b), inverse

    def activate(
        self,
        z: Tensor,
        scale: tuple[Tensor, Tensor, Tensor] | None,
        slope: float | None,
        in_place: bool,
        into: Tensor | None = None,
    ) -> Tensor:
        """act(norm(z)); in place it overwrites z, else it is written to new memory or `into` some."""
        if into is not None:
            z, in_place = into.copy_(z), True
        if scale is not None:
            a, b = scale[0], scale[1]
            if z.dtype == a.dtype:
                z = (z.mul_(a) if in_place else z * a).add_(b)
            else:  # low precision: one rounding, not three
                y = (z.to(a.dtype) * a).add_(b)
                z = z.copy_(y) if in_place else y.to(z.dtype)
                del y
        elif not in_place:
            z = z.clone()
        if slope is None:
            return z
        return z.relu_() if slope == 0 else F.leaky_relu_(z, slope)

    def mask(self, gradient: Tensor, y: Tensor, slope: float | None) -> Tensor:
        """Gradient through the activation, in place; y is the activation's output."""
        if slope is None:
            return gradient
        if slope == 0:
            torch.ops.aten.threshold_backward.grad_input(gradient, y, 0.0, grad_input=gradient)
        else:
            torch.ops.aten.leaky_relu_backward.grad_input(gradient, y, slope, True, grad_input=gradient)
        return gradient

    def norm_sums(
        self, gradient: Tensor, z: Tensor, statistics: Statistics, inverse: Tensor, channels: slice
    ) -> tuple[Tensor, Tensor]:
        """Sums of the gradient and of gradient times normalised z, each (C,) or (B, C)."""
        mean = statistics.mean[..., channels]
        if mean.dim() == 2:
            pairs = [self._norm_sums(gradient[b : b + 1], z[b : b + 1], mean[b], inverse[b]) for b in range(z.shape[0])]
            return torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])
        return self._norm_sums(gradient, z, mean, inverse)

    @staticmethod
    def _norm_sums(gradient: Tensor, z: Tensor, mean: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
        if not _has_data(z):  # the fake kernel would allocate a gradient of z that the real one does not
            return gradient.sum((0, *_SPACE)), gradient.sum((0, *_SPACE))
        ones = torch.ones_like(inverse)
        _, with_z, plain = torch.ops.aten.native_batch_norm_backward(
            gradient, z, ones, None, None, mean, inverse, True, 0.0, [False, True, True]
        )
        return plain, with_z

    def norm_backward(
        self,
        gradient: Tensor,
        z: Tensor,
        scale: tuple[Tensor, Tensor, Tensor],
        statistics: Statistics,
        sums: tuple[Tensor, Tensor],
        channels: slice,
        into: Tensor | None,
    ) -> None:
        """Write dL/dz = a (g - mean(g) - zhat mean(g zhat)) to `into`, None = over z; g may be overwritten."""
        a, _, inverse = scale
        mean = statistics.mean[..., channels]
        plain, with_z = (s / statistics.count for s in sums)
        slope = _spread(with_z * inverse) * a  # of z
        shift = _spread(with_z * inverse * mean - plain) * a
        if z.dtype != a.dtype:
            result = (z.to(a.dtype) * -slope).add_(shift)
            (z if into is None else into).copy_(result.addcmul_(gradient.to(a.dtype), a))
        elif into is None:
            z.mul_(-slope).add_(shift).addcmul_(gradient, a)
        else:
            torch.mul(z, -slope, out=into)
            into.add_(shift).addcmul_(gradient, a)

    # -- the rest ----------------------------------------------------------------------------------------------

    def pool(self, y: Tensor) -> Tensor:
        """Max pooling by two."""
        return F.max_pool3d(y, 2)

    def pool_backward(self, gradient: Tensor, y: Tensor) -> Tensor:
        """Gradient of the pooled tensor's source y."""
        aten, two = torch.ops.aten, [2, 2, 2]
        _, places = aten.max_pool3d_with_indices(y, two, two)
        result: Tensor = aten.max_pool3d_with_indices_backward(
            gradient.to(y.dtype).contiguous(), y, two, two, [0, 0, 0], [1, 1, 1], False, places
        )
        return result

    def upsample(self, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Trilinear, by two."""
        return function(x)

    def upsample_backward(self, gradient: Tensor) -> Tensor:
        """The adjoint of `upsample`."""
        low = gradient.device.type == "cpu" and gradient.dtype in (torch.bfloat16, torch.float16)
        g = gradient.float() if low else gradient
        coarse = [*g.shape[:2], *(n // 2 for n in g.shape[2:])]
        adjoint = torch.ops.aten.upsample_trilinear3d_backward
        result: Tensor = adjoint(g, list(g.shape[2:]), coarse, False, 2.0, 2.0, 2.0).to(gradient.dtype)
        return result

    def concatenate(self, parts: list[Tensor]) -> Tensor:
        """Along the channels."""
        return torch.cat(parts, dim=1)

    def add(self, into: Tensor, x: Tensor) -> None:
        """Add `x` to `into`, in place."""
        into.add_(x)

    def copy(self, into: Tensor, x: Tensor) -> None:
        """Overwrite `into` with `x`."""
        into.copy_(x)

    def to_host(self, x: Tensor) -> Parked:
        """A copy in host memory; `x` is no longer changed, and dropped as soon as the copy is there."""
        return self._host(x.device).park(x) if _has_data(x) else Parked(x.cpu())

    def to_device(self, host: Parked, device: torch.device) -> Tensor:
        """Back from host memory; what was sent before it is fetched ahead."""
        return self._host(device).fetch(host) if _has_data(host.host) else host.host.to(device)

    def _host(self, device: torch.device) -> HostMemory:
        if self.host is None:
            self.host = HostMemory(device)
        return self.host

    def next_unit(self) -> None:
        """Another unit of the forward pass begins."""
        if self.host is not None:
            self.host.next_unit()

    def release(self) -> None:
        """A pass has ended: let go of what was under way to the host and back."""
        if self.host is not None:
            self.host.clear()

    def clone(self, x: Tensor) -> Tensor:
        """A copy."""
        return x.clone()

    # -- what may be done in one pass --------------------------------------------------------------------------

    def pool_activated(self, z: Tensor, scale: tuple[Tensor, Tensor, Tensor] | None, slope: float | None) -> Tensor:
        """Max pooling by two of act(norm(z))."""
        return self.pool(self.activate(z, scale, slope, in_place=False))

    def masked_sums(
        self,
        gradient: Tensor,
        y: Tensor,
        z: Tensor,
        scale: tuple[Tensor, Tensor, Tensor],
        statistics: Statistics,
        slope: float | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The gradient through the activation, in place, and the sums that the norm's backward pass needs of it.

        Args:
            gradient: dL/dy.
            y: act(norm(z)).
            z: the norm's input.
            scale: of all channels, see `scale_and_shift`.
            statistics: of the norm.
            slope: of the activation below zero, None = no activation.
        """
        gradient = self.mask(gradient, y, slope)
        return gradient, self.norm_sums(self.cast(gradient, z.dtype), z, statistics, scale[2], slice(None))

    def add_pool_backward(self, into: Tensor, gradient: Tensor, y: Tensor) -> None:
        """Add the gradient of the pooled tensor's source y."""
        self.add(into, self.cast(self.pool_backward(gradient, y), into.dtype))

    def add_upsample_backward(self, into: Tensor, gradient: Tensor, i: int, j: int) -> None:
        """Add what rows i to j of the upsampled tensor give to the gradient of its source, which `into` is whole."""
        a, b = coarse_rows(i, j, into.shape[2])
        before, after = i - 2 * a, 2 * b - j
        gradient = self.pad_rows(gradient, before, after) if before or after else gradient
        self.add(into[:, :, a:b], self.cast(self.upsample_backward(gradient), into.dtype))

    # -- slabs of rows -----------------------------------------------------------------------------------------

    def pad_rows(self, x: Tensor, before: int, after: int) -> Tensor:
        """Zero rows before and after, along the first axis of space."""
        return F.pad(x, (0, 0, 0, 0, before, after))

    def flipped(self, weight: Tensor) -> Tensor:
        """The weight of the transposed convolution, as that of a convolution."""
        return weight.transpose(0, 1).flip(2, 3, 4)

    def norm_sign(self, gamma: Tensor | None) -> Tensor | None:
        """-1 where the norm turns the order of values around, else 1, shaped to broadcast; None = nowhere."""
        if gamma is None:
            return None
        return _spread(torch.where(gamma.detach() >= 0, 1.0, -1.0).to(gamma.dtype))

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        """Product with a broadcast factor."""
        return x * factor

    def merge_statistics(self, known: Statistics | None, found: Statistics) -> Statistics:
        """Statistics of two sets of voxels together (Chan et al. 1983), in float64."""
        mean, variance = found.mean.double(), found.variance.double()
        if known is None:
            merged = Statistics(mean, variance, found.count)
        else:
            count = known.count + found.count
            share = found.count / count
            delta = mean - known.mean.double()
            between = delta.square() * (share * (1 - share))
            merged = Statistics(
                known.mean.double() + delta * share,
                known.variance.double() * (1 - share) + variance * share + between,
                count,
            )
        kind = found.mean.dtype
        return Statistics(merged.mean.to(kind), merged.variance.to(kind), merged.count)

    def host_room(self, shape: tuple[int, ...], like: Tensor) -> HostRows:
        """Memory on the host."""
        return HostRows(self._host(like.device) if _has_data(like) else HostMemory(torch.device("cpu")), shape, like)

    def rows_to_host(self, host: HostRows, i: int, j: int, rows: Tensor) -> None:
        """Write rows i to j, which are no longer changed."""
        host.write(i, j, rows)

    def rows_to_device(self, host: HostRows, i: int, j: int, like: Tensor) -> Tensor:
        """Read rows i to j; always a copy, even where host and device are one."""
        return host.read(i, j)

    def label(self, name: str) -> None:
        """What runs now; only shape tensors take note."""


def _spread(x: Tensor) -> Tensor:
    """(C,) to (1, C, 1, 1, 1), (B, C) to (B, C, 1, 1, 1)."""
    return (x if x.dim() == 2 else x[None])[:, :, None, None, None]


def _has_data(x: Tensor) -> bool:
    """Neither a fake nor a meta tensor."""
    return type(x) in (Tensor, nn.Parameter) and x.device.type != "meta"
