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


def probabilities(logits: Tensor) -> Tensor:
    """Heatmap logits (L, K, J, I), any floating dtype, as float32 maps that each sum to one."""
    return torch.softmax(logits.flatten(1).float(), dim=1).view(logits.shape)


def decode(logits: Tensor, sigma: float) -> Decoded:
    """Landmarks from heatmap logits (L, K, J, I): see `decode_maps`."""
    return decode_maps(probabilities(logits), sigma)


def decode_maps(maps: Tensor, sigma: float) -> Decoded:
    """Landmarks from heatmaps: peak voxel, then the centre of mass around it.

    Nothing waits for the device, and no shape depends on the values.

    Args:
        maps: (L, K, J, I) probabilities, each map summing to one.
        sigma: standard deviation of the target in voxels; sets the window of +-2.5 sigma.

    Returns:
        `Decoded` on the maps' device, in float32.
    """
    peaks = voxels_of(maps.flatten(1).argmax(dim=1), maps.shape[1:])[:, None]
    points, mass, spread = window_moments(windows(maps, peaks, window_radius(sigma)), peaks)
    return Decoded(points[:, 0], mass[:, 0].clamp(max=1.0), spread[:, 0])


def voxels_of(numbers: Tensor, shape: Sequence[int]) -> Tensor:
    """Voxels (..., 3) in (i, j, k) order of the numbers (...) that they have in a flattened (K, J, I) map."""
    _, size_j, size_i = shape
    rows = numbers // size_i
    return torch.stack((numbers % size_i, rows % size_j, rows // size_j), dim=-1)


def window_radius(sigma: float) -> int:
    """Half-width of the decoding window, in voxels."""
    return math.ceil(WINDOW_SIGMAS * sigma)


def windows(maps: Tensor, centres_ijk: Tensor, radius: int) -> Tensor:
    """Cubes of n = 2 radius + 1 voxels a side around voxels of maps; zero outside the grid.

    Args:
        maps: (L, K, J, I).
        centres_ijk: (L, P, 3) int64 voxels.
        radius: half-width in voxels.

    Returns:
        (L, P, n, n, n), as the maps in (k, j, i) order.
    """
    sizes = maps.shape[1:]
    steps = torch.arange(-radius, radius + 1, device=maps.device)
    at = [centres_ijk[..., axis, None] + steps for axis in (2, 1, 0)]
    within_k, within_j, within_i = ((one >= 0) & (one < size) for one, size in zip(at, sizes, strict=True))
    k, j, i = (one.clamp(0, size - 1) for one, size in zip(at, sizes, strict=True))
    number = torch.arange(len(maps), device=maps.device)[:, None, None, None, None] * sizes[0] + k[..., None, None]
    number = (number * sizes[1] + j[..., None, :, None]) * sizes[2] + i[..., None, None, :]
    within = within_k[..., None, None] & within_j[..., None, :, None] & within_i[..., None, None, :]
    return maps.reshape(-1)[number].masked_fill(~within, 0)


def window_moments(window: Tensor, centres_ijk: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centre of mass, mass and per-axis deviation of windows.

    Args:
        window: (L, P, n, n, n) of `windows`.
        centres_ijk: (L, P, 3) voxels in their middle.

    Returns:
        (L, P, 3) in (i, j, k) order, (L, P) and (L, P).
    """
    radius = window.shape[-1] // 2
    steps = torch.arange(-radius, radius + 1, device=window.device, dtype=window.dtype)
    mass = window.sum(dim=(2, 3, 4))
    marginals = torch.stack([window.sum(dim=away) for away in ((2, 3), (2, 4), (3, 4))], dim=2) / mass[..., None, None]
    mean = marginals @ steps
    variance = (marginals * (steps - mean[..., None]) ** 2).sum(dim=(2, 3))
    return mean + centres_ijk, mass, torch.sqrt(variance / 3)
