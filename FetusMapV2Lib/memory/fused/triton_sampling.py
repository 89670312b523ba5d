"""Triton kernels between two resolutions: activation with max pooling or trilinear upsampling by two, and back.

Tiles as in `triton_pointwise`. Trilinear weights are those without aligned corners: 1/4 and 3/4 along each axis, the
border voxel standing in for what lies beyond it.
"""

import triton
import triton.language as tl


@triton.jit
def _value(z, place, inside, scale, shift, slope, NORM: tl.constexpr, ACTIVATION: tl.constexpr):
    """act(a z + b) in float32."""
    y = tl.load(z + place, mask=inside, other=0.0).to(tl.float32)
    if NORM:
        y = y * scale + shift
    if ACTIVATION:
        y = tl.where(y < 0, y * slope, y)
    return y


@triton.jit(do_not_specialize=["voxels", "height", "width", "channels", "z_step", "out_step"])
def pool(
    z, out, a, b, slope, voxels, height, width, z_sample, out_sample, scale_sample,
    channels, z_step, out_step,
    UNIT: tl.constexpr, NORM: tl.constexpr, ACTIVATION: tl.constexpr, BLOCK_V: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Largest act(a z + b) of each 2x2x2 block; `height` and `width` are those of z."""
    channels, z_step, out_step = channels * UNIT, z_step * UNIT, out_step * UNIT
    n = tl.program_id(2).to(tl.int64)
    v = tl.program_id(0) * BLOCK_V + tl.arange(0, BLOCK_V)[:, None]
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    inside = (v < voxels) & (c < channels)
    scale, shift = 1.0, 0.0
    if NORM:
        scale = tl.load(a + n * scale_sample + c, mask=c < channels, other=0.0)
        shift = tl.load(b + n * scale_sample + c, mask=c < channels, other=0.0)
    i = v % (width // 2)
    j = (v // (width // 2)) % (height // 2)
    k = v // ((width // 2) * (height // 2))
    corner = n * z_sample + ((2 * k * height + 2 * j) * width + 2 * i).to(tl.int64) * z_step + c
    best = _value(z, corner, inside, scale, shift, slope, NORM, ACTIVATION)
    for number in tl.static_range(1, 8):
        step = ((number // 4) * height + (number // 2) % 2) * width + number % 2
        y = _value(z, corner + step * z_step, inside, scale, shift, slope, NORM, ACTIVATION)
        best = tl.where((y > best) | (y != y), y, best)
    tl.store(out + n * out_sample + v.to(tl.int64) * out_step + c, best.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["voxels", "height", "width", "channels", "coarse_step", "z_step", "out_step"])
def pool_backward(
    coarse, z, out, a, b, slope, voxels, height, width, coarse_sample, z_sample, out_sample, scale_sample,
    channels, coarse_step, z_step, out_step,
    UNIT: tl.constexpr, NORM: tl.constexpr, ACTIVATION: tl.constexpr, ADD: tl.constexpr,
    BLOCK_V: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """The coarse gradient goes to the first largest voxel of each block; values are compared as they are stored."""
    channels, coarse_step, z_step, out_step = channels * UNIT, coarse_step * UNIT, z_step * UNIT, out_step * UNIT
    n = tl.program_id(2).to(tl.int64)
    v = tl.program_id(0) * BLOCK_V + tl.arange(0, BLOCK_V)[:, None]
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    inside = (v < voxels) & (c < channels)
    scale, shift = 1.0, 0.0
    if NORM:
        scale = tl.load(a + n * scale_sample + c, mask=c < channels, other=0.0)
        shift = tl.load(b + n * scale_sample + c, mask=c < channels, other=0.0)
    i = v % (width // 2)
    j = (v // (width // 2)) % (height // 2)
    k = v // ((width // 2) * (height // 2))
    corner = ((2 * k * height + 2 * j) * width + 2 * i).to(tl.int64)
    source = n * z_sample + corner * z_step + c
    best = _value(z, source, inside, scale, shift, slope, NORM, ACTIVATION).to(z.dtype.element_ty).to(tl.float32)
    where = tl.zeros((BLOCK_V, BLOCK_C), tl.int32)
    for number in tl.static_range(1, 8):
        step = ((number // 4) * height + (number // 2) % 2) * width + number % 2
        y = _value(z, source + step * z_step, inside, scale, shift, slope, NORM, ACTIVATION)
        y = y.to(z.dtype.element_ty).to(tl.float32)
        larger = (y > best) | (y != y)
        best = tl.where(larger, y, best)
        where = tl.where(larger, number, where)
    g = tl.load(coarse + n * coarse_sample + v.to(tl.int64) * coarse_step + c, mask=inside, other=0.0).to(tl.float32)
    target = out + n * out_sample + corner * out_step + c
    for number in tl.static_range(0, 8):
        step = ((number // 4) * height + (number // 2) % 2) * width + number % 2
        share = tl.where(where == number, g, 0.0)
        if ADD:
            share += tl.load(target + step * out_step, mask=inside, other=0.0).to(tl.float32)
        tl.store(target + step * out_step, share.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["voxels", "depth", "height", "width", "first", "channels", "z_step", "out_step"])
def upsample(
    z, out, a, b, slope, voxels, depth, height, width, first, z_sample, out_sample, scale_sample,
    channels, z_step, out_step,
    UNIT: tl.constexpr, NORM: tl.constexpr, ACTIVATION: tl.constexpr, BLOCK_V: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Rows of the upsampled act(a z + b) from row `first`, zero beyond the volume; depth to width are those of z."""
    channels, z_step, out_step = channels * UNIT, z_step * UNIT, out_step * UNIT
    n = tl.program_id(2).to(tl.int64)
    v = tl.program_id(0) * BLOCK_V + tl.arange(0, BLOCK_V)[:, None]
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    scale, shift = 1.0, 0.0
    if NORM:
        scale = tl.load(a + n * scale_sample + c, mask=c < channels, other=0.0)
        shift = tl.load(b + n * scale_sample + c, mask=c < channels, other=0.0)
    i = v % (2 * width)
    j = (v // (2 * width)) % (2 * height)
    k = v // (4 * width * height) + first
    there = (k >= 0) & (k < 2 * depth)
    k = tl.where(there, k, 0)
    inside = (v < voxels) & (c < channels) & there
    total = tl.zeros((BLOCK_V, BLOCK_C), tl.float32)
    for number in tl.static_range(0, 8):
        # the voxel that an upsampled one lies in, weight 3/4, or its nearest neighbour, 1/4
        kk = tl.minimum(tl.maximum(k // 2 + (number // 4) * (2 * (k % 2) - 1), 0), depth - 1)
        jj = tl.minimum(tl.maximum(j // 2 + ((number // 2) % 2) * (2 * (j % 2) - 1), 0), height - 1)
        ii = tl.minimum(tl.maximum(i // 2 + (number % 2) * (2 * (i % 2) - 1), 0), width - 1)
        place = n * z_sample + ((kk * height + jj) * width + ii).to(tl.int64) * z_step + c
        far = number // 4 + (number // 2) % 2 + number % 2
        weight = 0.421875 if far == 0 else (0.140625 if far == 1 else (0.046875 if far == 2 else 0.015625))
        total += weight * _value(z, place, inside, scale, shift, slope, NORM, ACTIVATION)
    total = tl.where(inside, total, 0.0)
    place = out + n * out_sample + v.to(tl.int64) * out_step + c
    tl.store(place, total.to(out.dtype.element_ty), mask=(v < voxels) & (c < channels))


@triton.jit(
    do_not_specialize=[
        "voxels",
        "depth",
        "height",
        "width",
        "first",
        "last",
        "begin",
        "channels",
        "fine_step",
        "out_step",
    ]
)
def upsample_backward(
    fine, out, voxels, depth, height, width, first, last, begin, fine_sample, out_sample,
    channels, fine_step, out_step,
    UNIT: tl.constexpr, ADD: tl.constexpr, BLOCK_V: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """The adjoint of `upsample` for the gradient's rows first to last, into coarse rows from `begin`."""
    channels, fine_step, out_step = channels * UNIT, fine_step * UNIT, out_step * UNIT
    n = tl.program_id(2).to(tl.int64)
    v = tl.program_id(0) * BLOCK_V + tl.arange(0, BLOCK_V)[:, None]
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    i = v % width
    j = (v // width) % height
    k = v // (width * height) + begin
    inside = (v < voxels) & (c < channels)
    total = tl.zeros((BLOCK_V, BLOCK_C), tl.float32)
    for dk in range(-1, 3):
        kk = 2 * k + dk
        weight_k = 0.75 + 0.25 * dk * (1 - dk) + tl.where((kk == 0) | (kk == 2 * depth - 1), 0.25, 0.0)
        in_k = inside & (kk >= first) & (kk < last)
        for dj in range(-1, 3):
            jj = 2 * j + dj
            weight_j = 0.75 + 0.25 * dj * (1 - dj) + tl.where((jj == 0) | (jj == 2 * height - 1), 0.25, 0.0)
            in_j = in_k & (jj >= 0) & (jj < 2 * height)
            for di in range(-1, 3):
                ii = 2 * i + di
                weight = 0.75 + 0.25 * di * (1 - di) + tl.where((ii == 0) | (ii == 2 * width - 1), 0.25, 0.0)
                known = in_j & (ii >= 0) & (ii < 2 * width)
                row = ((kk - first) * (2 * height) + jj) * (2 * width) + ii
                place = n * fine_sample + row.to(tl.int64) * fine_step + c
                total += weight_k * weight_j * weight * tl.load(fine + place, mask=known, other=0.0).to(tl.float32)
    place = out + n * out_sample + v.to(tl.int64) * out_step + c
    if ADD:
        total += tl.load(place, mask=inside, other=0.0).to(tl.float32)
    tl.store(place, total.to(out.dtype.element_ty), mask=inside)
