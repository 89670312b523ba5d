"""Patches stitched to landmarks of the whole volume: against a map that is there at once, and through the engine."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from cli.synthetic_balls import PatchReader, ball_volume, layout, model_of
from imaging.samples import ORIENTATIONS, oblique, reordered
from torch import Tensor, nn

from FetusMapV2Lib.core.errors import Cancelled
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.network_views import patch_grid
from FetusMapV2Lib.estimation.patch_stitching import OVERLAP, Stitching, cut_patch, part_of, patch_places, starts_along
from FetusMapV2Lib.imaging.grid import Grid, resample
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.models.calibration import uncalibrated
from FetusMapV2Lib.network.heatmap import decode, gaussian_target, log_probabilities
from FetusMapV2Lib.network.normalisation import normalised
from FetusMapV2Lib.network.unet import UNet3d

CPU = torch.device("cpu")
PATCH, SPACING = (48, 32, 32), 1.5
SIGMA = 1.0


# --- where patches lie


@pytest.mark.parametrize("size", [32, 33, 50, 56, 57, 100, 313])
def test_patches_cover_an_axis_evenly_and_overlap(size: int) -> None:
    starts = starts_along(size, 32)
    assert (starts[0], starts[-1]) == (0, size - 32)
    steps = np.diff(starts)
    assert (steps <= math.ceil(32 * (1 - OVERLAP))).all() and (steps > 0).all()
    assert np.ptp(steps) <= 1 if len(steps) else size == 32
    fewer = len(starts) - 1  # would leave gaps or too little overlap
    assert fewer == 0 or size > 32 + (fewer - 1) * 32 * (1 - OVERLAP)


def test_a_patch_lies_where_it_was_cut_from() -> None:
    grid = Grid.around(np.array([3.0, -4.0, 5.0]), oblique(), 1.3, (20, 16, 12))
    volume = Volume(np.random.default_rng(0).integers(0, 255, grid.shape, np.uint8), grid.grid_to_ras)
    place, size = (3, 5, 2), (9, 8, 7)
    patch = resample(volume, part_of(grid, place, size))
    assert np.abs(patch - cut_patch(resample(volume, grid), place, size)).max() < 1e-3


# --- blending, against a map of the whole grid


def blended_literally(shape: tuple[int, ...], patch: tuple[int, ...], maps: list[Tensor]) -> Tensor:
    """Weighted mean of the patches' log probabilities at every voxel, unclaimed probability spread evenly."""
    total, weights = torch.zeros(len(maps[0]), *shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    axes = [torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in patch]
    grids = torch.meshgrid(*axes, indexing="ij")
    weight = torch.exp(-sum((steps / (n / 8)) ** 2 for steps, n in zip(grids, patch, strict=True)) / 2)
    for place, one in zip(patch_places(shape, patch), maps, strict=True):  # type: ignore[arg-type]
        box = tuple(slice(start, start + n) for start, n in zip(place, patch, strict=True))
        total[(slice(None), *box)] += weight * one
        weights[box] += weight
    probabilities = (total / weights).exp()
    claimed = probabilities.sum(dim=(1, 2, 3), keepdim=True)
    return (probabilities + (1 - claimed).clamp_min(0) / math.prod(shape)) / claimed.clamp_min(1)


@pytest.mark.parametrize("shape", [(16, 12, 12), (37, 12, 20), (60, 25, 12)])
@pytest.mark.parametrize("spread", [0.5, 6.0], ids=["undecided", "sure"])
def test_stitching_is_decoding_the_blended_map(shape: tuple[int, int, int], spread: float) -> None:
    """Whatever the maps say: peaks on rows that are let go, at the border, and landmarks that are nowhere."""
    patch = (16, 12, 12)
    generator = torch.Generator().manual_seed(2)
    count = len(patch_places(shape, patch))
    maps = [log_probabilities(spread * torch.randn(40, *patch, generator=generator)) for _ in range(count)]
    stitching = Stitching(shape, patch, 40, SIGMA)
    for place, one in zip(stitching.places, maps, strict=True):
        stitching.add(place, one)
    found = stitching.landmarks()
    expected = decode(blended_literally(shape, patch, maps).log(), SIGMA)
    assert torch.allclose(found.points_ijk, expected.points_ijk, atol=2e-3)
    assert torch.allclose(found.peak_mass, expected.peak_mass, rtol=1e-3)
    assert torch.allclose(found.spread, expected.spread, rtol=1e-3)
    if shape[0] > 50:
        assert np.ptp(expected.points_ijk[:, 2].numpy()) > 40  # peaks all along


def whole_target(points: Tensor, shape: tuple[int, int, int], patch: tuple[int, int, int]) -> Stitching:
    """What perfect patches say: each shows its part of the whole volume's target."""
    target = gaussian_target(points, shape, SIGMA)
    stitching = Stitching(shape, patch, len(points), SIGMA)
    for k, j, i in stitching.places:
        part = target[:, k : k + patch[0], j : j + patch[1], i : i + patch[2]]
        stitching.add((k, j, i), torch.log(part + 1e-30))
    return stitching


def test_perfect_patches_give_the_target_of_the_whole_volume() -> None:
    """Also of landmarks at borders of patches, which no patch shows in full on its own side."""
    shape, patch = (60, 25, 25), (16, 12, 12)
    edges = [float(place[0]) for place in patch_places(shape, patch)[:: 3 * 3]]
    points = torch.tensor([[7.3, 9.6, edge + shift] for edge in edges[1:] for shift in (-0.5, 0.0, 0.4)])
    found = whole_target(points, shape, patch).landmarks()
    expected = decode(torch.log(gaussian_target(points, shape, SIGMA) + 1e-30), SIGMA)
    assert torch.allclose(found.points_ijk, points, atol=0.02)
    assert torch.allclose(found.peak_mass, expected.peak_mass, atol=1e-3)
    assert torch.allclose(found.spread, expected.spread, atol=1e-3)


def test_memory_is_that_of_one_row_of_patches() -> None:
    held = [Stitching((rows, 25, 25), (16, 12, 12), 22, SIGMA)._rows.shape for rows in (60, 600)]
    assert held[0] == held[1] == (22, 16 + 2 * 3, 25, 25)


# --- through the engine


def patch_engine(network: nn.Module | None = None, budget: int | None = None, **changes: object) -> PoseEngine:
    model = model_of(network or PatchReader(), views=("patch",), input_size=PATCH, patch_spacing_mm=SPACING)
    return PoseEngine(replace(model, **changes), CPU, "for a test", budget)  # type: ignore[arg-type]


def in_one_piece(volume: Volume) -> tuple[np.ndarray, Grid]:
    """Landmarks that the same network reads off the whole volume at once, RAS mm."""
    grid = patch_grid(volume, PATCH, SPACING)
    with torch.inference_mode():
        logits = PatchReader()(normalised(torch.from_numpy(resample(volume, grid)))[None, None])[0]
    return grid.to_world(decode(logits, 2.0).points_ijk.double().numpy()), grid


@pytest.fixture(scope="module")
def balls() -> tuple[Volume, np.ndarray]:
    return ball_volume()


def worst(estimate: Estimate, points: np.ndarray) -> float:
    """Largest distance of a landmark, mm."""
    return float(np.linalg.norm(estimate.views[-1].positions - points, axis=1).max())


def test_patches_see_what_the_whole_volume_shows(balls) -> None:
    volume, truth = balls
    expected, grid = in_one_piece(volume)
    estimate = patch_engine().estimate(volume)
    places = patch_places(grid.shape, PATCH)
    assert len(places) > 8
    # some balls lie across the border of a patch
    voxels = grid.to_voxel(truth)
    borders = np.unique([k for k, _, _ in places])[1:]
    assert np.abs(voxels[:, 2, None] - borders).min() < 2
    assert worst(estimate, expected) < 0.1 * SPACING
    assert worst(estimate, truth) < 0.5 * SPACING
    assert estimate.found and not estimate.pose.laterality.arms_swapped
    assert [one.view for one in estimate.views] == ["patch"]
    assert estimate.views[0].grid.shape == grid.shape
    assert set(estimate.timings) == {"resampling", "network", "reading heatmaps"}


@pytest.mark.parametrize("shift", [-3.0, 0.0, 2.0])
def test_a_ball_across_the_border_of_a_patch(shift: float) -> None:
    """A single ball is put at the first voxels of the second row of patches."""
    array = np.zeros((96, 32, 32), np.uint8)
    border = starts_along(96, PATCH[0])[1]
    centre = np.array([border + shift, 15.0, 16.0])
    distance = np.linalg.norm(np.stack(np.indices(array.shape), axis=-1) - centre, axis=-1)
    array[distance <= 4] = 255
    volume = Volume(array, np.diag([SPACING, SPACING, SPACING, 1.0]))
    look = patch_engine().estimate(volume).views[0]
    assert np.linalg.norm(look.positions[-1] - centre[::-1] * SPACING) < 0.2 * SPACING
    assert look.peak_mass[-1] > 0.9
    assert look.peak_mass[:-1].max() < 0.05  # the other landmarks are nowhere


def test_a_volume_smaller_than_a_patch(balls) -> None:
    """It is padded, and seen by one patch."""
    volume, truth = balls
    size = (112, 64, 64)
    assert patch_grid(volume, size, SPACING).shape == size
    model = model_of(PatchReader(), views=("patch",), input_size=size, patch_spacing_mm=SPACING)
    assert worst(PoseEngine(model, CPU, "").estimate(volume), truth) < 0.5 * SPACING


@pytest.mark.parametrize("order, signs", ORIENTATIONS[7::20])
def test_an_oblique_volume_in_any_storage_order(order, signs) -> None:
    volume, truth = ball_volume(rotation=oblique((70.0, 130.0, -40.0)))
    assert worst(patch_engine().estimate(reordered(volume, order, signs)), truth) < 0.5 * SPACING


def test_where_nothing_is_no_fetus_is_found(balls) -> None:
    """Each landmark is outside of each patch, so it is nowhere."""
    volume, _ = balls
    engine = patch_engine(calibration=replace(uncalibrated(), detection_threshold=0.1))
    assert engine.estimate(volume).found
    estimate = engine.estimate(volume.with_(array=np.zeros_like(volume.array)))
    assert not estimate.found and "No fetus found" in estimate.reason
    assert estimate.detection_score < 0.01


class Counting(nn.Module):
    """Counts the patches."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.inner, self.calls, self.failures = PatchReader(), 0, failures

    def forward(self, batch: Tensor) -> Tensor:
        self.calls += 1
        if self.calls > 2 and self.failures:
            self.failures -= 1
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.inner(batch)


def test_cancel_is_heard_between_patches_and_progress_rises(balls) -> None:
    network = Counting()
    engine = patch_engine(network)
    seen: list[float] = []
    with pytest.raises(Cancelled):
        engine.estimate(balls[0], should_cancel=lambda: network.calls == 3)
    assert network.calls == 3
    engine.estimate(balls[0], on_progress=lambda fraction, _: seen.append(fraction))
    assert seen == sorted(set(seen)) and (seen[0], seen[-1]) == (0.0, 1.0)
    assert len(seen) == network.calls - 3 + 3  # every patch, and before, after and at the end


def test_a_full_gpu_goes_on_with_the_patch_it_failed_at(balls) -> None:
    expected = patch_engine().estimate(balls[0])
    estimate = patch_engine(Counting(failures=1)).estimate(balls[0])
    assert "ran out of memory" in estimate.device_reason
    assert len(estimate.warnings) == 1 and "CPU" in estimate.warnings[0]
    assert np.array_equal(estimate.views[0].positions, expected.views[0].positions)


def test_patches_by_a_memory_plan(balls, monkeypatch) -> None:
    """The plain network's call fails as on a full GPU; the plan runs its layers one by one and does not."""
    torch.manual_seed(0)
    network = UNet3d(widths=(4, 6))
    with torch.no_grad():
        network.head.weight *= 300.0  # clear peaks, which rounding cannot move
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)  # a plan never rounds
    plain = patch_engine(network).estimate(balls[0])
    whole = UNet3d.forward

    def forward(self: UNet3d, volume: Tensor) -> Tensor:
        if isinstance(volume, Tensor) and volume.device.type == "cpu":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return whole(self, volume)  # traced, or measured without data

    monkeypatch.setattr(UNet3d, "forward", forward)
    lean = patch_engine(network).estimate(balls[0])
    assert plain.memory_plan == "" and "48x32x32" in lean.memory_plan
    assert len(lean.warnings) == 1 and "lean plan" in lean.warnings[0]
    assert worst(lean, plain.views[0].positions) < 0.01


def test_refinement_is_by_the_pose_library_alone(balls) -> None:
    estimate = patch_engine().estimate(balls[0], refine="full")
    assert any("patches" in warning for warning in estimate.warnings)
    assert estimate.refinement.iterations == 0
    assert np.linalg.norm(estimate.pose.positions - balls[1], axis=1).max() < 3.0
    assert estimate.pose.positions.shape == layout().shape
