"""Landmarks as heatmaps: the Gaussian target of Eq. 2 and the sub-voxel decoding of a predicted map.

Points are voxel coordinates in (i, j, k) order; maps are arrays [k, j, i].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: Half-width of the decoding window in multiples of sigma.
WINDOW_SIGMAS = 2.5


@dataclass(frozen=True, eq=False)
class Decoded:
    """L landmarks decoded from the heatmaps of one volume.

    Attributes:
        points_ijk: (L, 3) float32 voxel coordinates in (i, j, k) order.
        peak_mass: (L,) probability within the window around the peak, 0-1.
        spread: (L,) root mean square deviation per axis inside the window, in voxels (sigma for a perfect map).
    """

    points_ijk: Tensor
    peak_mass: Tensor
    spread: Tensor

    def cpu(self) -> Decoded:
        """The same on the CPU."""
        return Decoded(self.points_ijk.cpu(), self.peak_mass.cpu(), self.spread.cpu())


def axis_profiles(points_ijk: Tensor, shape: Sequence[int], sigma: float) -> tuple[Tensor, Tensor, Tensor]:
    """The separable factors of Eq. 2 along k, j and i, each normalised to one over the grid.

    Args:
        points_ijk: (..., L, 3) centres in voxels, (i, j, k) order, finite.
        shape: (K, J, I).
        sigma: standard deviation in voxels.

    Returns:
        Tensors (..., L, K), (..., L, J) and (..., L, I); their outer product is the heatmap.
    """
    profiles = []
    for axis, size in enumerate(shape):
        centre = points_ijk[..., 2 - axis, None]
        steps = torch.arange(size, device=points_ijk.device, dtype=points_ijk.dtype)
        # softmax of the exponent = the Gaussian normalised over the grid, safe for a centre far outside it
        profiles.append(torch.softmax(-((steps - centre) ** 2) / (2 * sigma * sigma), dim=-1))
    return profiles[0], profiles[1], profiles[2]


def gaussian_target(points_ijk: Tensor, shape: Sequence[int], sigma: float) -> Tensor:
    """Gaussian heatmaps (Eq. 2), each normalised to sum to one over the grid.

    Args:
        points_ijk: (L, 3) centres in voxels, (i, j, k) order, sub-voxel.
        shape: (K, J, I).
        sigma: standard deviation in voxels.

    Returns:
        (L, K, J, I) of the points' dtype.
    """
    along_k, along_j, along_i = axis_profiles(points_ijk, shape, sigma)
    return along_k[:, :, None, None] * along_j[:, None, :, None] * along_i[:, None, None, :]


def cut_profiles(points_ijk: Tensor, shape: Sequence[int], sigma: float) -> tuple[Tensor, Tensor, Tensor]:
    """`axis_profiles` of Gaussians that may reach or lie beyond the grid: the part of each that is inside.

    The outer product sums to the share of the Gaussian that is inside: 1 far from the border, 0 far outside. (One
    over sigma sqrt(2 pi) normalises the sum over all voxels to better than 0.001 for sigma >= 0.7.)
    """
    profiles = []
    for axis, size in enumerate(shape):
        centre = points_ijk[..., 2 - axis, None]
        steps = torch.arange(size, device=points_ijk.device, dtype=points_ijk.dtype)
        profiles.append(torch.exp(-((steps - centre) ** 2) / (2 * sigma * sigma)) / (sigma * math.sqrt(2 * math.pi)))
    return profiles[0], profiles[1], profiles[2]


def outside_logit(shape: Sequence[int]) -> float:
    """The fixed logit of "outside this patch", one more place for a landmark, besides the voxels of a patch.

    It weighs as much as all voxels of a patch with equal logits, so that for an untrained network both are equally
    likely.
    """
    return math.log(math.prod(shape))


def log_probabilities(logits: Tensor) -> Tensor:
    """Log-probability of each landmark at each voxel of a patch, where "outside" is possible too.

    Args:
        logits: (L, K, J, I) of a patch, overwritten if float32.

    Returns:
        (L, K, J, I) float32; the probabilities of a landmark sum to that of its being inside.
    """
    maps = logits.float()
    inside = torch.stack([torch.logsumexp(one.flatten(), dim=0) for one in maps])
    total = torch.logaddexp(inside, torch.full_like(inside, outside_logit(maps.shape[1:])))
    return maps.sub_(total[:, None, None, None])


def decode(logits: Tensor, sigma: float) -> Decoded:
    """Landmarks from heatmap logits: softmax, peak voxel, then the centre of mass around it.

    Args:
        logits: (L, K, J, I), any floating dtype.
        sigma: standard deviation of the target in voxels; sets the window of +-2.5 sigma.

    Returns:
        `Decoded` on the logits' device, in float32.
    """
    count, size_k, size_j, size_i = logits.shape
    probabilities = torch.softmax(logits.reshape(count, -1).float(), dim=1)
    peak = probabilities.argmax(dim=1)
    maps = probabilities.view(count, size_k, size_j, size_i)
    centre = torch.stack((peak % size_i, peak // size_i % size_j, peak // (size_i * size_j)), dim=1)
    radius = window_radius(sigma)
    points, mass, spread = zip(
        *(window_moments(maps[row], centre[row].tolist(), radius) for row in range(count)), strict=True
    )
    return Decoded(torch.stack(points), torch.stack(mass).clamp(max=1.0), torch.stack(spread))


def window_radius(sigma: float) -> int:
    """Half-width of the decoding window, in voxels."""
    return math.ceil(WINDOW_SIGMAS * sigma)


def window_moments(one_map: Tensor, centre_ijk: list[int], radius: int) -> tuple[Tensor, Tensor, Tensor]:
    """Centre of mass (i, j, k), mass and per-axis deviation of a (K, J, I) map within +-radius voxels of a peak."""
    ranges = [
        (max(0, at - radius), min(size, at + radius + 1))
        for at, size in zip(reversed(centre_ijk), one_map.shape, strict=True)
    ]
    (k0, k1), (j0, j1), (i0, i1) = ranges
    window = one_map[k0:k1, j0:j1, i0:i1]
    mass = window.sum()
    marginals = (window.sum(dim=(0, 1)), window.sum(dim=(0, 2)), window.sum(dim=(1, 2)))
    point, variance = [], window.new_zeros(())
    for start, marginal in zip((i0, j0, k0), marginals, strict=True):
        weights = marginal / mass
        steps = torch.arange(marginal.numel(), device=marginal.device, dtype=marginal.dtype)
        mean = (weights * steps).sum()
        variance = variance + (weights * (steps - mean) ** 2).sum()
        point.append(mean + start)
    return torch.stack(point), mass, torch.sqrt(variance / 3)
