"""Gaussian targets after Eq. 2 and sub-voxel decoding."""

from __future__ import annotations

import math

import pytest
import torch

from FetusMapV2Lib.network.heatmap import decode, gaussian_target

SHAPE = (24, 20, 16)


def literal_gaussian(point: torch.Tensor, sigma: float) -> torch.Tensor:
    k, j, i = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in SHAPE), indexing="ij")
    square = (i - point[0]) ** 2 + (j - point[1]) ** 2 + (k - point[2]) ** 2
    heat = torch.exp(-square / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma) ** 3
    return heat / heat.sum()


def test_target_is_the_gaussian_of_eq_2() -> None:
    points = torch.tensor([[7.3, 9.6, 11.2], [0.0, 19.0, 23.0]], dtype=torch.float64)
    target = gaussian_target(points, SHAPE, 2.0)
    expected = torch.stack([literal_gaussian(point, 2.0) for point in points])
    assert torch.allclose(target, expected, atol=1e-15)
    assert torch.allclose(target.sum(dim=(1, 2, 3)), torch.ones(2, dtype=torch.float64))


def test_inside_the_grid_the_normaliser_is_that_of_eq_2() -> None:
    centre = torch.tensor([[40.2, 39.7, 40.4]], dtype=torch.float64)
    top = gaussian_target(centre, (80, 80, 80), 2.0)[0, 40, 40, 40]
    square = 0.2**2 + 0.3**2 + 0.4**2
    assert float(top) == pytest.approx(math.exp(-square / 8) / (math.sqrt(2 * math.pi) * 2) ** 3, rel=1e-9)


def test_decoding_is_sub_voxel_and_right_way_round() -> None:
    generator = torch.Generator().manual_seed(0)
    low, high = torch.tensor([5.0, 5.0, 5.0]), torch.tensor([10.0, 14.0, 18.0])
    points = low + (high - low) * torch.rand(22, 3, generator=generator)
    found = decode(torch.log(gaussian_target(points, SHAPE, 2.0) + 1e-12), 2.0)
    assert (found.points_ijk - points).norm(dim=1).max() < 0.1
    assert found.peak_mass.min() > 0.9
    assert torch.allclose(found.spread, torch.full((22,), 2.0), atol=0.15)


def test_a_sharp_map_is_decoded_to_its_voxel() -> None:
    logits = torch.zeros(1, *SHAPE)
    logits[0, 20, 3, 9] = 50.0
    found = decode(logits, 2.0)
    assert torch.allclose(found.points_ijk, torch.tensor([[9.0, 3.0, 20.0]]), atol=1e-4)
    assert float(found.spread) < 1e-3


def test_a_flat_map_is_seen_as_flat() -> None:
    found = decode(torch.zeros(1, *SHAPE), 2.0)
    assert float(found.peak_mass) < 0.2


def test_the_higher_of_two_peaks_wins_and_keeps_its_share() -> None:
    a, b = torch.tensor([[4.0, 4.0, 4.0]]), torch.tensor([[12.0, 16.0, 20.0]])
    both = 0.7 * gaussian_target(a, SHAPE, 1.0) + 0.3 * gaussian_target(b, SHAPE, 1.0)
    found = decode(torch.log(both + 1e-20), 1.0)
    assert (found.points_ijk - a).norm() < 0.05
    assert float(found.peak_mass) == pytest.approx(0.7, abs=0.02)


def test_half_precision_logits_are_decoded() -> None:
    points = torch.tensor([[7.4, 9.1, 11.8]])
    logits = torch.log(gaussian_target(points, SHAPE, 2.0) + 1e-6).to(torch.bfloat16)
    assert (decode(logits, 2.0).points_ijk - points).norm() < 0.2
