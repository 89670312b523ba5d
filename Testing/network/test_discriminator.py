"""What the discriminators see, against sums over voxels; and that they answer for a landmark where its heatmap lies."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from FetusMapV2Lib.network.discriminator import (
    HeatmapDiscriminator,
    cell_masses,
    gaussian_cell_masses,
    peak_gain,
)
from FetusMapV2Lib.network.heatmap import gaussian_target

SHAPE = (16, 8, 12)


def literal_sums(maps: torch.Tensor, size: int) -> torch.Tensor:
    """Sums over cells, one after the other."""
    k, j, i = (n // size for n in maps.shape[-3:])
    result = maps.new_zeros(*maps.shape[:-3], k, j, i)
    for a in range(k):
        for b in range(j):
            for c in range(i):
                rows = (slice(n * size, (n + 1) * size) for n in (a, b, c))
                result[..., a, b, c] = maps[(..., *rows)].sum(dim=(-3, -2, -1))
    return result


@pytest.mark.parametrize("size", [1, 2, 4])
def test_cells_hold_the_probability_of_their_voxels(size: int) -> None:
    logits = 4 * torch.randn(2, 3, *SHAPE, dtype=torch.float64)
    found = cell_masses(logits, size)
    expected = literal_sums(torch.softmax(logits.flatten(2), dim=2).view_as(logits), size)
    assert torch.allclose(found, expected, rtol=1e-12)
    assert torch.allclose(found.sum(dim=(2, 3, 4)), torch.ones(2, 3, dtype=torch.float64))
    strewn = logits.contiguous(memory_format=torch.channels_last_3d)
    assert torch.allclose(cell_masses(strewn, size), found, rtol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_true_cells_are_those_of_the_gaussian(size: int) -> None:
    points = torch.tensor([[[3.2, 4.1, 9.7], [0.0, 7.4, -0.4]]], dtype=torch.float64)
    expected = literal_sums(gaussian_target(points[0], SHAPE, 1.5)[None], size)
    assert torch.allclose(gaussian_cell_masses(points, SHAPE, 1.5, size), expected, rtol=1e-12)


@pytest.mark.parametrize("sigma,size", [(2.0, 4), (2.0, 2), (1.0, 4)])
def test_a_gaussian_in_the_middle_of_a_cell_peaks_at_one(sigma: float, size: int) -> None:
    middle = torch.full((1, 3), 16 + (size - 1) / 2, dtype=torch.float64)
    peak = gaussian_cell_masses(middle, (32, 32, 32), sigma, size).max()
    # Eq. 2 samples the Gaussian at voxels, the gain integrates it
    assert float(peak) * peak_gain(sigma, size) == pytest.approx(1.0, rel=0.15)


def test_the_answer_is_the_score_where_the_heatmap_lies() -> None:
    torch.manual_seed(0)
    judge = HeatmapDiscriminator(2, (4, 6), 1.0, sees_volume=True).double()
    scores: list[torch.Tensor] = []
    judge.score.register_forward_hook(lambda _, __, output: scores.append(output))
    masses = cell_masses(3 * torch.randn(1, 2, 8, 8, 8, dtype=torch.float64), 1)
    answer = judge(masses, torch.rand(1, 1, 8, 8, 8, dtype=torch.float64))
    assert answer.shape == (1, 2)
    expected = [sum((scores[0][0, row] * masses[0, row]).flatten().tolist()) for row in range(2)]
    assert answer[0].tolist() == pytest.approx(expected)


def test_scores_come_from_two_levels_with_a_skip() -> None:
    torch.manual_seed(0)
    judge = HeatmapDiscriminator(2, (4, 6), 5.0, sees_volume=True).double()
    masses = cell_masses(3 * torch.randn(1, 2, 8, 8, 8, dtype=torch.float64), 1)
    volume = torch.rand(1, 1, 8, 8, 8, dtype=torch.float64)

    def convolved(x: torch.Tensor, block: torch.nn.Module) -> torch.Tensor:
        for module in block:
            if isinstance(module, torch.nn.Conv3d):
                x = F.conv3d(x, module.weight, module.bias, padding=1)
                x = torch.where(x > 0, x, 0.2 * x)
        return x

    fine = convolved(torch.cat((5.0 * masses, volume), dim=1), judge.down[0])
    coarse = convolved(F.max_pool3d(fine, 2), judge.down[1])
    larger = F.interpolate(coarse, scale_factor=2, mode="trilinear", align_corners=False)
    scores = judge.score(convolved(torch.cat((fine, larger), dim=1), judge.up[0]))
    expected = (scores * masses).sum(dim=(2, 3, 4))
    assert torch.allclose(judge(masses, volume), expected, rtol=1e-12)


def test_an_untrained_one_is_undecided() -> None:
    torch.manual_seed(0)
    judge = HeatmapDiscriminator(5, (8, 12), peak_gain(2.0, 4), sees_volume=True)
    answers = judge(cell_masses(3 * torch.randn(2, 5, 32, 32, 32), 4), torch.rand(2, 1, 8, 8, 8))
    assert float((torch.sigmoid(answers.detach()) - 0.5).abs().max()) < 0.05
    assert float(judge.score.weight.detach().std()) == pytest.approx(0.01, rel=0.5)


def test_only_one_of_them_sees_the_volume() -> None:
    torch.manual_seed(0)
    masses = cell_masses(torch.randn(1, 2, 8, 8, 8), 1)
    volumes = torch.rand(2, 1, 1, 8, 8, 8)
    seeing, blind = (HeatmapDiscriminator(2, (4, 6), 10.0, sees) for sees in (True, False))
    assert not torch.equal(seeing(masses, volumes[0]), seeing(masses, volumes[1]))
    assert torch.equal(blind(masses, volumes[0]), blind(masses))


def test_an_answer_for_one_landmark_depends_on_the_others() -> None:
    torch.manual_seed(0)
    judge = HeatmapDiscriminator(3, (4, 6, 8), 30.0, sees_volume=False)
    points = torch.tensor([[[2.0, 3.0, 4.0], [9.0, 8.0, 3.0], [12.0, 12.0, 12.0]]])
    moved = points.clone()
    moved[0, 1, 0] = 2.0
    answers = [judge(gaussian_cell_masses(each, (16, 16, 16), 1.0, 1)) for each in (points, moved)]
    assert float((answers[0] - answers[1])[0, 0].abs().detach()) > 0


def test_the_paper_sized_one_is_small() -> None:
    judge = HeatmapDiscriminator(22, (16, 32, 64), 3.0, sees_volume=True)
    assert sum(parameter.numel() for parameter in judge.parameters()) < 0.4e6  # the network has 37 million
