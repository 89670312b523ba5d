"""The fused operations on tensors: each is one pass where PyTorch's own operations take several.

They take channels-last tensors (B, C, K, J, I), slabs of rows [:, :, i:j] and slices of channels of them, in float32,
bfloat16 or float16. Arithmetic is in float32. T stands for the bytes of the full tensor: what an operation reads and
writes bounds its time on a GPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_TYPES = (torch.float32, torch.bfloat16, torch.float16)
_TILE = 4096  # elements that a program works on at a time
_PROGRAMS = 1024  # of a sum, at most: several for every multiprocessor

Scale = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Rows:
    """How a channels-last tensor lies in memory: voxels in order, `step` elements apart, channels side by side."""

    samples: int
    channels: int
    size: tuple[int, int, int]
    step: int
    sample: int

    @property
    def voxels(self) -> int:
        """Of one sample."""
        return self.size[0] * self.size[1] * self.size[2]

    def tile(self) -> tuple[int, int]:
        """Voxels and channels of a tile."""
        channels = min(_power(self.channels), 128)
        return max(_TILE // channels, 16), channels


def rows_of(x: Tensor) -> Rows | None:
    """The layout of a tensor (B, C, K, J, I); None where the fused operations do not take it."""
    if x.dim() != 5 or x.dtype not in _TYPES or x.numel() == 0:
        return None
    batch, channels, *size = x.shape
    if channels > 1 and x.stride(1) != 1:
        return None
    step, inner = channels, 1
    found = [(axis, n) for axis, n in zip((4, 3, 2), reversed(size), strict=True)]
    for axis, n in found:
        if n > 1:
            if inner == 1:
                step = x.stride(axis)
            if x.stride(axis) != step * inner:
                return None
        inner *= n
    if step < channels or inner >= 2**31:
        return None
    return Rows(batch, channels, (size[0], size[1], size[2]), step, x.stride(0) if batch > 1 else 0)


def activate(
    z: Tensor,
    scale: Scale | None,
    slope: float | None,
    *,
    out: Tensor | None = None,
    rows: tuple[int, int] | None = None,
) -> Tensor:
    """act(a z + b), in place with out=z; 2 T of traffic.

    Single operations take 6 T (factor, summand, activation); 16 T in low precision, by way of float32.

    Args:
        z: a convolution's output.
        scale: (a, b, inverse deviation) of `TorchKernels.scale_and_shift`, None = no norm.
        slope: of the activation below zero, None = no activation.
        out: where to write, a new tensor if None.
        rows: the rows i to j of the result; those beyond the volume are zero, as a convolution's padding is.

    Returns:
        Tensor (B, C, j - i, J, I), channels last.
    """
    kernels = _pointwise()
    first, last = rows or (0, z.shape[2])
    if out is None:
        out = _like(z, (*z.shape[:2], last - first, *z.shape[3:]))
    source, target = _rows(z), _rows(out)
    a, b, per_sample = _flat(scale, z)
    plane = source.size[1] * source.size[2]
    block_v, block_c = target.tile()
    grid = (-(-target.voxels // block_v), -(-target.channels // block_c), target.samples)
    with torch.cuda.device_of(z):
        kernels.activate[grid](
            z, out, a, b, _slope(slope), target.voxels, first * plane, max(-first, 0) * plane,
            (min(last, source.size[0]) - first) * plane, source.sample, target.sample, per_sample,
            **_units(source.channels, z_step=source.step, out_step=target.step), NORM=scale is not None,
            ACTIVATION=slope is not None, BLOCK_V=block_v, BLOCK_C=block_c,
        )  # fmt: skip
    return out


def moments(z: Tensor, per_sample: bool) -> tuple[Tensor, Tensor]:
    """Mean and biased variance per channel, float32 (C,) or (B, C); 1 T, as much as one single operation.

    Programs sum about a mean of their own; their results are merged in float64 in a fixed order.
    """
    kernels = _pointwise()
    rows = _rows(z)
    block_v, block_c = rows.tile()
    programs = _programs(rows, block_v)
    channels = rows.channels
    partial = z.new_empty((2, rows.samples * programs, channels), dtype=torch.float32)
    counts = z.new_empty(rows.samples * programs, dtype=torch.float32)
    groups = rows.samples if per_sample else 1
    found = z.new_empty((2, groups, channels), dtype=torch.float32)
    blocks = -(-channels // block_c)
    with torch.cuda.device_of(z):
        kernels.moments[(programs, blocks, rows.samples)](
            z, partial[0], partial[1], counts, rows.voxels, rows.sample,
            **_units(channels, z_step=rows.step), BLOCK_V=block_v, BLOCK_C=block_c,
        )  # fmt: skip
        small = min(block_c, 32)
        kernels.merge_moments[(-(-channels // small), groups)](
            partial[0], partial[1], counts, found[0], found[1], programs * rows.samples // groups,
            rows.voxels * rows.samples // groups, **_units(channels), BLOCK_P=32, BLOCK_C=small,
        )  # fmt: skip
    mean, variance = found if per_sample else found[:, 0]
    return mean, variance


def gradient_sums(
    gradient: Tensor,
    z: Tensor,
    mean: Tensor,
    inverse: Tensor,
    *,
    scale: Scale | None = None,
    slope: float | None = None,
    masked: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Sums of g and of g zhat per channel, g being the gradient behind the activation; 2 T (5 to 11 T by single ones).

    Single operations recompute the activation's output for its mask, write the masked gradient, and read it again.

    Args:
        gradient: dL/dy, not masked yet; with no `slope` it is taken as it is.
        z: a convolution's output.
        mean: of the norm, (C,) or (B, C).
        inverse: inverse deviation of the norm, shaped as `mean` is.
        scale: of the norm, needed with a slope; see `activate`.
        slope: of the activation below zero.
        masked: where g is written to, which may be over `gradient`: 1 T more.

    Returns:
        Two float32 tensors, shaped as `mean` is.
    """
    kernels = _pointwise()
    g, x, target = _rows(gradient), _rows(z), _rows(gradient if masked is None else masked)
    a, b, _ = _flat(scale, mean)
    per_sample = x.channels if mean.dim() == 2 else 0
    block_v, block_c = x.tile()
    programs = _programs(x, block_v)
    sums = z.new_empty((2, x.samples, programs, x.channels), dtype=torch.float32)
    with torch.cuda.device_of(z):
        kernels.gradient_sums[(programs, -(-x.channels // block_c), x.samples)](
            gradient, z, gradient if masked is None else masked, sums, a, b, mean.contiguous(), inverse.contiguous(),
            _slope(slope), x.voxels, g.sample, x.sample, target.sample, per_sample,
            **_units(x.channels, g_step=g.step, z_step=x.step, out_step=target.step),
            ACTIVATION=slope is not None, WRITE=masked is not None,
            BLOCK_V=block_v, BLOCK_C=block_c,
        )  # fmt: skip
    plain, with_z = sums.sum((2,) if mean.dim() == 2 else (1, 2), dtype=torch.float64).float()
    return plain, with_z


def gradient_of_z(
    gradient: Tensor,
    z: Tensor,
    scale: Scale | None,
    mean: Tensor | None,
    sums: tuple[Tensor, Tensor] | None,
    slope: float | None,
    *,
    count: int = 1,
    out: Tensor | None = None,
) -> Tensor:
    """dL/dz = a (g - mean(g) - zhat mean(g zhat)) from the gradient of act(norm(z)); 3 T.

    Single operations take 7 T, after a mask of 3 T; 23 T in low precision, by way of float32.

    Args:
        gradient: dL/dy.
        z: a convolution's output.
        scale: of the norm, see `activate`; None = no norm.
        mean: of the norm, (C,) or (B, C).
        sums: of `gradient_sums` over all voxels.
        slope: of the activation below zero, None = no activation.
        count: voxels that the sums run over.
        out: where to write: a tensor of its own (default), `z` or `gradient`.
    """
    kernels = _pointwise()
    out = _like(z, tuple(z.shape)) if out is None else out
    g, x, target = _rows(gradient), _rows(z), _rows(out)
    a, b, per_sample = _flat(scale, z)
    vectors = [z, z, z, z]
    if scale is not None:
        assert mean is not None and sums is not None
        vectors = [each.contiguous() for each in (mean, scale[2], *sums)]
    block_v, block_c = x.tile()
    block_v = max(block_v // 2, 16)  # two tensors in registers
    with torch.cuda.device_of(z):
        kernels.gradient[(-(-x.voxels // block_v), -(-x.channels // block_c), x.samples)](
            gradient, z, out, a, b, *vectors, _slope(slope), float(count), x.voxels, g.sample, x.sample, target.sample,
            per_sample, **_units(x.channels, g_step=g.step, z_step=x.step, out_step=target.step),
            NORM=scale is not None, ACTIVATION=slope is not None, BLOCK_V=block_v, BLOCK_C=block_c,
        )  # fmt: skip
    return out


def pool(z: Tensor, scale: Scale | None, slope: float | None) -> Tensor:
    """Max pooling by two of act(a z + b); 1.1 T (7 T by single operations)."""
    kernels = _sampling()
    source = _rows(z)
    out = _like(z, (*z.shape[:2], *(n // 2 for n in z.shape[2:])))
    target = _rows(out)
    a, b, per_sample = _flat(scale, z)
    block_v, block_c = target.tile()
    block_v = max(block_v // 2, 16)
    with torch.cuda.device_of(z):
        kernels.pool[(-(-target.voxels // block_v), -(-target.channels // block_c), target.samples)](
            z, out, a, b, _slope(slope), target.voxels, source.size[1], source.size[2], source.sample, target.sample,
            per_sample, **_units(source.channels, z_step=source.step, out_step=target.step), NORM=scale is not None,
            ACTIVATION=slope is not None, BLOCK_V=block_v, BLOCK_C=block_c,
        )  # fmt: skip
    return out


def pool_backward(
    coarse: Tensor, z: Tensor, scale: Scale | None, slope: float | None, *, into: Tensor | None = None
) -> Tensor:
    """Gradient of act(a z + b) from that of its pooling; 3.1 T where it is added.

    Single operations take about 6 T (indices, scatter, sum), 6 T more where the activation is recomputed.

    Where the largest value lies is found anew from z: no indices are stored.

    Args:
        coarse: gradient of the pooled tensor.
        z: the tensor before norm and activation.
        scale: see `activate`.
        slope: see `activate`.
        into: a gradient to add to, None = a new one.
    """
    kernels = _sampling()
    out, add = (into, True) if into is not None else (_like(z, tuple(z.shape)), False)
    if not add and any(n % 2 for n in z.shape[2:]):
        out.zero_()  # the last plane of an odd axis is in no block
    source, target, small = _rows(z), _rows(out), _rows(coarse)
    a, b, per_sample = _flat(scale, z)
    block_v, block_c = small.tile()
    block_v = max(block_v // 2, 16)
    with torch.cuda.device_of(z):
        kernels.pool_backward[(-(-small.voxels // block_v), -(-small.channels // block_c), small.samples)](
            coarse, z, out, a, b, _slope(slope), small.voxels, source.size[1], source.size[2], small.sample,
            source.sample, target.sample, per_sample,
            **_units(source.channels, coarse_step=small.step, z_step=source.step, out_step=target.step),
            NORM=scale is not None, ACTIVATION=slope is not None, ADD=add,
            BLOCK_V=block_v, BLOCK_C=block_c,
        )  # fmt: skip
    return out


def upsample(z: Tensor, scale: Scale | None, slope: float | None, *, rows: tuple[int, int] | None = None) -> Tensor:
    """Trilinear upsampling by two of act(a z + b); 1.1 T of the large one (1.9 T by single operations).

    Args:
        z: the coarse tensor before norm and activation.
        scale: see `activate`.
        slope: see `activate`.
        rows: the rows i to j of the large tensor; those beyond it are zero, as a convolution's padding is.
    """
    kernels = _sampling()
    source = _rows(z)
    first, last = rows or (0, 2 * z.shape[2])
    out = _like(z, (*z.shape[:2], last - first, 2 * z.shape[3], 2 * z.shape[4]))
    target = _rows(out)
    a, b, per_sample = _flat(scale, z)
    block_v, block_c = target.tile()
    with torch.cuda.device_of(z):
        kernels.upsample[(-(-target.voxels // block_v), -(-target.channels // block_c), target.samples)](
            z, out, a, b, _slope(slope), target.voxels, *source.size, first, source.sample, target.sample, per_sample,
            **_units(source.channels, z_step=source.step, out_step=target.step), NORM=scale is not None,
            ACTIVATION=slope is not None, BLOCK_V=block_v, BLOCK_C=block_c,
        )  # fmt: skip
    return out


def upsample_backward(
    fine: Tensor, *, into: Tensor | None = None, rows: tuple[int, int] | None = None, depth: int | None = None
) -> Tensor:
    """The adjoint of trilinear upsampling by two, gathered, in a fixed order; 1.1 T of the large one.

    Rows of a slab need no padding (2 T more by single operations), and add up where they belong.

    Args:
        fine: gradient of rows i to j of the upsampled tensor.
        into: a gradient of the whole coarse tensor to add to, None = a new one.
        rows: i and j, None = all.
        depth: rows of the coarse tensor, where `rows` are given and `into` is not.
    """
    kernels = _sampling()
    first, last = rows or (0, fine.shape[2])
    depth = into.shape[2] if into is not None else depth or fine.shape[2] // 2
    begin, end = (max(first - 1, 0) // 2, min(last // 2 + 1, depth)) if into is not None else (0, depth)
    whole = _like(fine, (*fine.shape[:2], depth, *(n // 2 for n in fine.shape[3:]))) if into is None else into
    out = whole[:, :, begin:end]
    source, target = _rows(fine), _rows(out)
    block_v, block_c = target.tile()
    block_v = max(block_v // 2, 16)
    with torch.cuda.device_of(fine):
        kernels.upsample_backward[(-(-target.voxels // block_v), -(-target.channels // block_c), target.samples)](
            fine, out, target.voxels, depth, target.size[1], target.size[2], first, last, begin, source.sample,
            target.sample, **_units(source.channels, fine_step=source.step, out_step=target.step), ADD=into is not None,
            BLOCK_V=block_v, BLOCK_C=block_c,
        )  # fmt: skip
    return whole


# -- small parts ---------------------------------------------------------------------------------------------------


def _pointwise() -> Any:
    from FetusMapV2Lib.memory.fused import triton_pointwise  # Triton is not everywhere

    return triton_pointwise


def _sampling() -> Any:
    from FetusMapV2Lib.memory.fused import triton_sampling

    return triton_sampling


def _rows(x: Tensor) -> Rows:
    rows = rows_of(x)
    if rows is None:
        raise ValueError(f"fused operations take channels-last tensors, not {tuple(x.shape)} with {x.stride()}")
    return rows


def _programs(rows: Rows, block: int) -> int:
    return max(1, min(-(-rows.voxels // block), _PROGRAMS // rows.samples))


def _like(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last_3d)


def _flat(scale: Scale | None, like: Tensor) -> tuple[Tensor, Tensor, int]:
    """The factors a and b as (C,) or (B, C), and the step from one sample's to the next."""
    if scale is None:
        return like, like, 0  # not read
    a, b = (each.reshape(each.shape[0], each.shape[1]).contiguous() for each in scale[:2])
    return a, b, a.shape[1] if a.shape[0] > 1 else 0


def _units(channels: int, **steps: int) -> dict[str, int]:
    """Channels and steps in their largest common unit, of at most the eight elements that a vector load takes."""
    unit = math.gcd(8, channels, *steps.values())
    return {"channels": channels // unit, **{name: step // unit for name, step in steps.items()}, "UNIT": unit}


def _slope(slope: float | None) -> float:
    return 0.0 if slope is None else float(slope)


def _power(n: int) -> int:
    return 1 << max(n - 1, 0).bit_length()
