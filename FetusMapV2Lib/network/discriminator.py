"""The discriminator of UGAN: whether the heatmap of each landmark is that of a real pose; and its reduced input maps.

After Chen et al. 2017, "Adversarial PoseNet"; docs/systems.md says what differs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from FetusMapV2Lib.network.heatmap import axis_profiles
from FetusMapV2Lib.network.unet import upsample_twice

_SLOPE = 0.2  # of the leaky ReLUs


def cell_masses(logits: Tensor, reduction: int) -> Tensor:
    """Heatmaps at a lower resolution: how much of each landmark's probability lies in each cell of voxels.

    Args:
        logits: (B, L, K, J, I), any floating dtype; sizes are multiples of `reduction`.
        reduction: voxels along the edge of a cell.

    Returns:
        (B, L, K / r, J / r, I / r), float32 at least; every map sums to one.
    """
    maps = (logits if logits.dtype == torch.float64 else logits.float()).contiguous()
    probabilities = torch.softmax(maps.flatten(2), dim=2).view_as(maps)
    return F.avg_pool3d(probabilities, reduction) * reduction**3


def gaussian_cell_masses(points_ijk: Tensor, shape: Sequence[int], sigma: float, reduction: int) -> Tensor:
    """`cell_masses` of the Gaussian heatmaps of Eq. 2, which are never stored.

    Args:
        points_ijk: (..., L, 3) voxels in (i, j, k) order, finite.
        shape: (K, J, I), multiples of `reduction`.
        sigma: in voxels.
        reduction: voxels along the edge of a cell.

    Returns:
        (..., L, K / r, J / r, I / r) of the points' dtype; every map sums to one.
    """
    profiles = axis_profiles(points_ijk, shape, sigma)
    along_k, along_j, along_i = (profile.unflatten(-1, (-1, reduction)).sum(dim=-1) for profile in profiles)
    masses: Tensor = along_k[..., :, None, None] * along_j[..., None, :, None] * along_i[..., None, None, :]
    return masses


def peak_gain(sigma: float, reduction: int) -> float:
    """Factor of the cell masses such that a Gaussian in the middle of a cell has a peak of one."""
    return math.erf(reduction / (2 * math.sqrt(2) * sigma)) ** -3


class HeatmapDiscriminator(nn.Module):
    """An encoder-decoder with skips over heatmaps of low resolution; it scores every place for every landmark.

    The answer for a landmark is its score where its heatmap lies: the mean of the scores with the heatmap as weight.
    There is no normalisation, which would hide how sharp a heatmap is.

    Args:
        landmarks: L.
        widths: channels per level, finest first.
        gain: see `peak_gain`.
        sees_volume: the volume is an input, too.
    """

    def __init__(self, landmarks: int, widths: Sequence[int], gain: float, sees_volume: bool) -> None:
        super().__init__()
        self.gain, self.sees_volume = gain, sees_volume
        first = landmarks + sees_volume
        self.down = nn.ModuleList(
            _two_convolutions(before, after) for before, after in zip((first, *widths[:-1]), widths, strict=True)
        )
        self.up = nn.ModuleList(_two_convolutions(skip + below, skip) for skip, below in pairwise(widths))
        self.score = nn.Conv3d(widths[0], landmarks, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, a=_SLOPE)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.score.weight, std=0.01)  # an untrained one is undecided

    def forward(self, masses: Tensor, volume: Tensor | None = None) -> Tensor:
        """Logits of the probability that each landmark is real.

        Args:
            masses: (B, L, k, j, i), see `cell_masses`; sizes are multiples of two to the number of halvings.
            volume: (B, 1, k, j, i) if it is seen.

        Returns:
            (B, L), in the masses' dtype.
        """
        x = self.gain * masses
        if self.sees_volume:
            assert volume is not None
            x = torch.cat((x, volume.to(x.dtype)), dim=1)
        skips: list[Tensor] = []
        for level, convolutions in enumerate(self.down):
            x = convolutions(x if level == 0 else F.max_pool3d(x, 2))
            skips.append(x)
        for skip, convolutions in zip(reversed(skips[:-1]), reversed(self.up), strict=True):
            x = convolutions(torch.cat((skip, upsample_twice(x)), dim=1))
        answers: Tensor = (self.score(x).to(masses.dtype) * masses).sum(dim=(2, 3, 4))
        return answers


def _two_convolutions(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(in_channels, out_channels, 3, padding=1),
        nn.LeakyReLU(_SLOPE, inplace=True),
        nn.Conv3d(out_channels, out_channels, 3, padding=1),
        nn.LeakyReLU(_SLOPE, inplace=True),
    )
