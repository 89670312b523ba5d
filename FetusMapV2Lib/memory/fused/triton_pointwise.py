"""Triton kernels over voxels, one by one: scale, shift and activation, the way back, and sums per channel.

A program works on tiles of voxels x channels, the channels next to each other in memory. Arithmetic is in float32.
Channels, and steps from voxel to voxel, are given in units of UNIT elements: so the compiler knows how addresses are
aligned.
"""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["voxels", "shift", "first", "last", "channels", "z_step", "out_step"])
def activate(
    z, out, a, b, slope, voxels, shift, first, last, z_sample, out_sample, scale_sample,
    channels, z_step, out_step,
    UNIT: tl.constexpr, NORM: tl.constexpr, ACTIVATION: tl.constexpr, BLOCK_V: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """out[v] = act(a z[v + shift] + b) for first <= v < last, zero for the other voxels."""
    channels, z_step, out_step = channels * UNIT, z_step * UNIT, out_step * UNIT
    n = tl.program_id(2).to(tl.int64)
    start = tl.program_id(0).to(tl.int64) * BLOCK_V
    v = tl.arange(0, BLOCK_V)[:, None]
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    inside = (start + v < voxels) & (c < channels)
    source = inside & (start + v >= first) & (start + v < last)
    y = tl.load(z + n * z_sample + (start + shift) * z_step + v * z_step + c, mask=source, other=0.0).to(tl.float32)
    if NORM:
        scale = tl.load(a + n * scale_sample + c, mask=c < channels, other=0.0)
        y = y * scale + tl.load(b + n * scale_sample + c, mask=c < channels, other=0.0)
    if ACTIVATION:
        y = tl.where(y < 0, y * slope, y)  # not a number stays so
    y = tl.where(source, y, 0.0)
    place = out + n * out_sample + start * out_step + v * out_step + c
    tl.store(place, y.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["voxels", "channels", "z_step"])
def moments(
    z, means, squares, counts, voxels, z_sample,
    channels, z_step,
    UNIT: tl.constexpr, BLOCK_V: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Mean and sum of squared deviations per channel of every program's tiles; its first tile gives the shift."""
    channels, z_step = channels * UNIT, z_step * UNIT
    p, programs = tl.program_id(0), tl.num_programs(0)
    n = tl.program_id(2).to(tl.int64)
    v = tl.arange(0, BLOCK_V)[:, None]
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    c = channel[None, :]
    base = z + n * z_sample
    start = p.to(tl.int64) * BLOCK_V
    inside = (start + v < voxels) & (c < channels)
    x = tl.load(base + start * z_step + v * z_step + c, mask=inside, other=0.0).to(tl.float32)
    shift = tl.sum(x, axis=0) / tl.minimum(voxels - start, BLOCK_V).to(tl.float32)
    total = tl.zeros((BLOCK_V, BLOCK_C), tl.float32)
    square = tl.zeros((BLOCK_V, BLOCK_C), tl.float32)
    count = tl.zeros((1,), tl.float32)
    tiles = (voxels + BLOCK_V - 1) // BLOCK_V
    for _ in range(p, tiles, programs):
        inside = (start + v < voxels) & (c < channels)
        x = tl.load(base + start * z_step + v * z_step + c, mask=inside, other=0.0).to(tl.float32)
        x = tl.where(inside, x - shift[None, :], 0.0)
        total += x
        square += x * x
        count += tl.minimum(voxels - start, BLOCK_V).to(tl.float32)
        start += programs * BLOCK_V
    sums = tl.sum(total, axis=0)
    number = tl.sum(count, axis=0)
    place = (n * programs + p) * channels + channel
    tl.store(means + place, shift + sums / number, mask=channel < channels)
    tl.store(squares + place, tl.sum(square, axis=0) - sums * sums / number, mask=channel < channels)
    tl.store(counts + n * programs + p, number)


@triton.jit(do_not_specialize=["partials", "voxels", "channels"])
def merge_moments(
    means, squares, counts, mean, variance, partials, voxels,
    channels,
    UNIT: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Mean and biased variance of all programs' tiles together (Chan et al. 1983), in float64."""
    channels = channels * UNIT
    n = tl.program_id(1).to(tl.int64)
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    p = tl.arange(0, BLOCK_P)
    total = tl.zeros((BLOCK_P, BLOCK_C), tl.float64)
    for start in range(0, partials, BLOCK_P):
        known = start + p < partials
        count = tl.load(counts + n * partials + start + p, mask=known, other=0.0).to(tl.float64)
        place = (n * partials + start + p)[:, None] * channels + channel[None, :]
        inside = known[:, None] & (channel < channels)[None, :]
        total += count[:, None] * tl.load(means + place, mask=inside, other=0.0).to(tl.float64)
    centre = tl.sum(total, axis=0) / voxels
    total = tl.zeros((BLOCK_P, BLOCK_C), tl.float64)
    for start in range(0, partials, BLOCK_P):
        known = start + p < partials
        count = tl.load(counts + n * partials + start + p, mask=known, other=0.0).to(tl.float64)
        place = (n * partials + start + p)[:, None] * channels + channel[None, :]
        inside = known[:, None] & (channel < channels)[None, :]
        away = tl.load(means + place, mask=inside, other=0.0).to(tl.float64) - centre[None, :]
        total += tl.load(squares + place, mask=inside, other=0.0).to(tl.float64) + count[:, None] * away * away
    tl.store(mean + n * channels + channel, centre.to(tl.float32), mask=channel < channels)
    tl.store(
        variance + n * channels + channel, (tl.sum(total, axis=0) / voxels).to(tl.float32), mask=channel < channels
    )


@triton.jit(do_not_specialize=["voxels", "channels", "g_step", "z_step", "out_step"])
def gradient_sums(
    gradient, z, out, sums, a, b, mean, inverse, slope, voxels, g_sample, z_sample, out_sample, scale_sample,
    channels, g_step, z_step, out_step,
    UNIT: tl.constexpr, ACTIVATION: tl.constexpr, WRITE: tl.constexpr, BLOCK_V: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Per program and channel: sums of g and of g zhat, g being the gradient behind the activation; g itself to out."""
    channels, g_step, z_step, out_step = channels * UNIT, g_step * UNIT, z_step * UNIT, out_step * UNIT
    p, programs = tl.program_id(0), tl.num_programs(0)
    n = tl.program_id(2).to(tl.int64)
    v = tl.arange(0, BLOCK_V)[:, None]
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    c = channel[None, :]
    scale = tl.load(a + n * scale_sample + c, mask=c < channels, other=0.0)
    shift = tl.load(b + n * scale_sample + c, mask=c < channels, other=0.0)
    centre = tl.load(mean + n * scale_sample + c, mask=c < channels, other=0.0)
    plain = tl.zeros((BLOCK_V, BLOCK_C), tl.float32)
    with_z = tl.zeros((BLOCK_V, BLOCK_C), tl.float32)
    tiles = (voxels + BLOCK_V - 1) // BLOCK_V
    start = p.to(tl.int64) * BLOCK_V
    for _ in range(p, tiles, programs):
        inside = (start + v < voxels) & (c < channels)
        g = tl.load(gradient + n * g_sample + start * g_step + v * g_step + c, mask=inside, other=0.0).to(tl.float32)
        x = tl.load(z + n * z_sample + start * z_step + v * z_step + c, mask=inside, other=0.0).to(tl.float32)
        if ACTIVATION:
            g = tl.where(x * scale + shift > 0, g, g * slope)
        if WRITE:
            place = out + n * out_sample + start * out_step + v * out_step + c
            tl.store(place, g.to(out.dtype.element_ty), mask=inside)
        plain += g
        with_z += g * (x - centre)
        start += programs * BLOCK_V
    row = (n * programs + p) * channels + channel
    size = tl.num_programs(2).to(tl.int64) * programs * channels
    deviation = tl.load(inverse + n * scale_sample + channel, mask=channel < channels, other=0.0)
    tl.store(sums + row, tl.sum(plain, axis=0), mask=channel < channels)
    tl.store(sums + size + row, tl.sum(with_z, axis=0) * deviation, mask=channel < channels)


@triton.jit(do_not_specialize=["voxels", "channels", "g_step", "z_step", "out_step"])
def gradient(
    gradient, z, out, a, b, mean, inverse, plain, with_z, slope, count,
    voxels, g_sample, z_sample, out_sample, scale_sample,
    channels, g_step, z_step, out_step,
    UNIT: tl.constexpr, NORM: tl.constexpr, ACTIVATION: tl.constexpr, BLOCK_V: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """dL/dz = a (g - mean(g) - zhat mean(g zhat)), g being the gradient behind the activation."""
    channels, g_step, z_step, out_step = channels * UNIT, g_step * UNIT, z_step * UNIT, out_step * UNIT
    n = tl.program_id(2).to(tl.int64)
    start = tl.program_id(0).to(tl.int64) * BLOCK_V
    v = tl.arange(0, BLOCK_V)[:, None]
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    inside = (start + v < voxels) & (c < channels)
    g = tl.load(gradient + n * g_sample + start * g_step + v * g_step + c, mask=inside, other=0.0).to(tl.float32)
    x = tl.load(z + n * z_sample + start * z_step + v * z_step + c, mask=inside, other=0.0).to(tl.float32)
    y = x
    scale = tl.full((1, BLOCK_C), 1.0, tl.float32)
    if NORM:
        scale = tl.load(a + n * scale_sample + c, mask=c < channels, other=0.0)
        y = x * scale + tl.load(b + n * scale_sample + c, mask=c < channels, other=0.0)
    if ACTIVATION:
        g = tl.where(y > 0, g, g * slope)
    if NORM:
        deviation = tl.load(inverse + n * scale_sample + c, mask=c < channels, other=0.0)
        of_z = tl.load(with_z + n * scale_sample + c, mask=c < channels, other=0.0) * deviation / count
        offset = tl.load(plain + n * scale_sample + c, mask=c < channels, other=0.0) / count
        centre = tl.load(mean + n * scale_sample + c, mask=c < channels, other=0.0)
        g = scale * (g - offset - (x - centre) * of_z)
    tl.store(out + n * out_sample + start * out_step + v * out_step + c, g.to(out.dtype.element_ty), mask=inside)
