"""The fused operations against autograd in float64: by Triton's interpreter on a CPU, by its compiler on a GPU."""

from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from FetusMapV2Lib.memory.fused import operations
from FetusMapV2Lib.memory.fused.operations import rows_of
from FetusMapV2Lib.memory.kernels import Statistics, TorchKernels

pytest.importorskip("triton", reason="Triton is not installed")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICES = [
    pytest.param("cpu", marks=pytest.mark.skipif(not INTERPRETED, reason="a GPU runs the kernels")),
    pytest.param("cuda", marks=pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="no GPU")),
]
TOLERANCE = {torch.float32: 3e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
TYPES = list(TOLERANCE)
SHAPES = [(1, 5, 3, 4, 7), (2, 40, 3, 5, 2), (1, 1, 2, 2, 9)]
# each type, shape and activation at least once
KINDS = [*zip(TYPES, SHAPES, [0.0, 0.1, None], strict=True), (torch.bfloat16, SHAPES[0], 0.0)]
EPS = 1e-5

pytestmark = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tiles for each program, several programs for each sum, even of a small tensor."""
    monkeypatch.setattr(operations, "_TILE", 256)
    monkeypatch.setattr(operations, "_PROGRAMS", 4)


def channels_last(shape: tuple[int, ...], dtype: torch.dtype, device: str, seed: int = 0) -> Tensor:
    """Noise; with seed 0 around a mean of each channel's own."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=draw)
    x = x + 3 * torch.randn((1, shape[1], 1, 1, 1), generator=draw) if seed == 0 else x
    return x.to(device, dtype).contiguous(memory_format=torch.channels_last_3d)


def norm_of(z: Tensor, per_sample: bool = False) -> tuple[tuple[Tensor, Tensor, Tensor], Statistics, Tensor, Tensor]:
    """Scale and shift with random gamma and beta, as the executor makes them, from statistics in float64."""
    draw = torch.Generator().manual_seed(9)
    gamma, beta = (torch.randn(z.shape[1], generator=draw).to(z.device) for _ in range(2))
    found = TorchKernels().statistics(z.double(), per_sample)
    statistics = Statistics(found.mean.float(), found.variance.float(), found.count)
    return TorchKernels().scale_and_shift(statistics, gamma, beta, EPS, slice(None)), statistics, gamma, beta


def normalised(z: Tensor, gamma: Tensor, beta: Tensor, slope: float | None, per_sample: bool = False) -> Tensor:
    """act(norm(z)) by PyTorch."""
    norm = F.instance_norm if per_sample else F.batch_norm
    training = {"use_input_stats": True} if per_sample else {"training": True}
    y = norm(z, None, None, gamma.double(), beta.double(), eps=EPS, **training)
    return y if slope is None else F.leaky_relu(y, slope)


def close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    """Whether the error is that of the type, of the largest value."""
    return bool((found.double() - expected).abs().max() <= TOLERANCE[dtype] * (1 + expected.abs().max()))


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize(("dtype", "shape", "_"), KINDS)
def test_moments(device, dtype, shape, per_sample, _):
    z = channels_last(shape, dtype, device)
    mean, variance = operations.moments(z, per_sample)
    expected = torch.var_mean(z.double(), (2, 3, 4) if per_sample else (0, 2, 3, 4), correction=0)
    assert close(mean, expected[1], torch.float32) and close(variance, expected[0], torch.float32)


def test_moments_survive_a_mean_far_from_zero(device):
    z = channels_last((1, 3, 4, 5, 6), torch.float32, device) * 1e-3 + 100
    assert close(
        operations.moments(z, False)[1] * 1e6, z.double().var((0, 2, 3, 4), correction=0) * 1e6, torch.bfloat16
    )


@pytest.mark.parametrize(("dtype", "shape", "slope"), KINDS)
def test_norm_and_activation_in_place_or_not(device, dtype, slope, shape):
    z = channels_last(shape, dtype, device)
    scale, _, gamma, beta = norm_of(z)
    expected = normalised(z.double(), gamma, beta, slope)
    before = z.clone()
    assert close(operations.activate(z, scale, slope), expected, dtype)
    assert torch.equal(z, before)
    assert operations.activate(z, scale, slope, out=z) is z
    assert close(z, expected, dtype)


def test_activation_of_rows_writes_the_padding(device):
    z = channels_last((2, 5, 6, 3, 4), torch.float32, device)
    scale, _, gamma, beta = norm_of(z)
    whole = F.pad(normalised(z.double(), gamma, beta, 0.0), (0, 0, 0, 0, 1, 1))
    for first, last in ((-1, 3), (2, 5), (4, 7), (-1, 7)):
        found = operations.activate(z, scale, 0.0, rows=(first, last))
        assert close(found, whole[:, :, first + 1 : last + 1], torch.float32)


def test_slabs_and_channels_are_worked_on_where_they_lie(device):
    z = channels_last((1, 8, 6, 3, 5), torch.float32, device)
    whole = z.clone()
    part = z[:, 2:5, 1:4]
    operations.activate(part, None, 0.0, out=part)
    whole[:, 2:5, 1:4] = whole[:, 2:5, 1:4].relu()
    assert torch.equal(z, whole)


def test_not_a_number_stays_so(device):
    z = torch.full((1, 4, 2, 2, 2), torch.nan, device=device).contiguous(memory_format=torch.channels_last_3d)
    assert operations.activate(z, None, 0.0).isnan().all() and operations.pool(z, None, 0.0).isnan().all()


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize(("dtype", "shape", "slope"), KINDS)
def test_gradient_through_activation_and_norm(device, dtype, slope, shape, per_sample):
    z, upstream = channels_last(shape, dtype, device), channels_last(shape, dtype, device, seed=1)
    scale, statistics, gamma, beta = norm_of(z, per_sample)
    leaves = [x.double().requires_grad_() for x in (z, gamma, beta)]
    expected = torch.autograd.grad(normalised(*leaves, slope, per_sample), leaves, upstream.double())
    # by two slabs, whose sums add up
    sums = [
        operations.gradient_sums(
            upstream[:, :, part], z[:, :, part], statistics.mean, scale[2], scale=scale, slope=slope
        )
        for part in (slice(0, 1), slice(1, None))
    ]
    plain, with_z = (a + b for a, b in zip(*sums, strict=True))
    if slope is not None:
        masked = upstream.clone()
        whole = operations.gradient_sums(masked, z, statistics.mean, scale[2], scale=scale, slope=slope, masked=masked)
        assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(whole, (plain, with_z), strict=True))
        y = normalised(z.double(), gamma, beta, None, per_sample)
        sure = y.abs() > 1e-4
        assert close(masked[sure], torch.where(y > 0, 1.0, slope)[sure] * upstream.double()[sure], dtype)
    total = (s.sum(0) if per_sample else s for s in (with_z, plain))
    assert all(close(found, wanted, torch.float32) for found, wanted in zip(total, expected[1:], strict=True))
    found = operations.gradient_of_z(
        upstream, z, scale, statistics.mean, (plain, with_z), slope, count=statistics.count, out=upstream
    )
    assert found is upstream
    assert close(found, expected[0], dtype)


def test_gradient_without_a_norm(device):
    z, upstream = (channels_last(SHAPES[0], torch.float32, device, seed) for seed in (0, 1))
    found = operations.gradient_of_z(upstream, z, None, None, None, 0.1)
    assert torch.equal(found, torch.where(z > 0, upstream, upstream * 0.1))


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [(torch.float32, (2, 3, 3, 4, 5)), (torch.bfloat16, (1, 5, 2, 6, 2)), (torch.float16, SHAPES[0])],
)
def test_pooling_and_its_gradient(device, dtype, shape):
    z = channels_last(shape, dtype, device)
    scale, _, gamma, beta = norm_of(z)
    y = normalised(z.double(), gamma, beta, 0.1).to(dtype).double().requires_grad_()
    pooled = F.max_pool3d(y, 2)
    assert close(operations.pool(z, scale, 0.1), pooled.detach(), dtype)
    coarse = channels_last(tuple(pooled.shape), dtype, device, seed=1)
    (expected,) = torch.autograd.grad(pooled, y, coarse.double())
    found = operations.pool_backward(coarse, z, scale, 0.1)
    # voxels that rounding makes equal may share a gradient otherwise: compare where there is one largest voxel
    assert float((found.double() != expected).double().mean()) <= (0 if dtype == torch.float32 else 0.03)
    assert torch.equal(found.double().sum(), expected.sum())
    total = channels_last(shape, dtype, device, seed=2)
    assert close(operations.pool_backward(coarse, z, scale, 0.1, into=total.clone()), (total + found).double(), dtype)


def test_the_first_of_equal_voxels_gets_the_gradient(device):
    z = torch.zeros(1, 3, 2, 4, 4, device=device).contiguous(memory_format=torch.channels_last_3d)
    leaf = z.clone().requires_grad_()
    pooled = F.max_pool3d(leaf, 2)
    coarse = torch.ones_like(pooled).contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(operations.pool_backward(coarse, z, None, None), torch.autograd.grad(pooled, leaf, coarse)[0])


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [(torch.float32, (2, 3, 3, 1, 2)), (torch.bfloat16, (1, 2, 1, 3, 2)), (torch.float16, (1, 1, 2, 2, 1))],
)
def test_upsampling_and_its_gradient(device, dtype, shape):
    z = channels_last(shape, dtype, device)
    scale, _, gamma, beta = norm_of(z)
    y = normalised(z.double(), gamma, beta, 0.0).requires_grad_()
    large = F.interpolate(y, scale_factor=2, mode="trilinear", align_corners=False)
    assert close(operations.upsample(z, scale, 0.0), large.detach(), dtype)
    fine = channels_last(tuple(large.shape), dtype, device, seed=1)
    (expected,) = torch.autograd.grad(large, y, fine.double())
    assert close(operations.upsample_backward(fine), expected, dtype)


def test_upsampling_by_slabs_of_rows(device):
    z = channels_last((1, 4, 5, 1, 2), torch.float32, device)
    leaf = z.double().requires_grad_()
    large = F.interpolate(leaf, scale_factor=2, mode="trilinear", align_corners=False)
    padded = F.pad(large.detach(), (0, 0, 0, 0, 1, 1))
    fine = channels_last(tuple(large.shape), torch.float32, device, seed=1)
    total = torch.zeros_like(z)
    for first, last in ((0, 3), (3, 7), (7, 10)):
        found = operations.upsample(z, None, None, rows=(first - 1, last + 1))
        assert close(found, padded[:, :, first : last + 2], torch.float32)
        operations.upsample_backward(fine[:, :, first:last], into=total, rows=(first, last))
    assert close(total, torch.autograd.grad(large, leaf, fine.double())[0], torch.float32)


def test_other_layouts_are_told_apart(device):
    x = torch.zeros(2, 3, 4, 5, 6, device=device)
    last = x.contiguous(memory_format=torch.channels_last_3d)
    assert rows_of(x) is None and rows_of(last.double()) is None and rows_of(last[0]) is None
    assert rows_of(last[:, :, :, 1:4]) is None
    assert rows_of(last[:, :, 1:3]) is not None and rows_of(last[:, 1:]) is not None
    with pytest.raises(ValueError, match="channels-last"):
        operations.activate(x, None, 0.0)
