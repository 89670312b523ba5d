"""Filters of heatmaps, with the same values on every device: a Gaussian blur, and the highest value nearby."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Reach of the blur in standard deviations.
BLUR_REACH = 4.0


def blurred(maps: Tensor, sigma: float) -> Tensor:
    """Maps (L, K, J, I) blurred along each axis by a Gaussian of standard deviation `sigma` voxels; zero outside.

    As a product with one band matrix per axis: exact in float32 and without kernels to be chosen, unlike a convolution.
    """
    along_k, along_j, along_i = (_band(size, sigma, maps) for size in maps.shape[1:])
    rows = along_j @ (maps @ along_i)
    return (along_k @ rows.flatten(2)).view(maps.shape)


def blur_reach(sigma: float) -> int:
    """How far a voxel is smeared by `blurred`, in voxels."""
    return int(BLUR_REACH * sigma + 0.5)


def _band(size: int, sigma: float, like: Tensor) -> Tensor:
    """(size, size) weights of the voxels of a line in each of its blurred ones; symmetric."""
    reach = blur_reach(sigma)
    total = sum(math.exp(-(step**2) / (2 * sigma**2)) for step in range(-reach, reach + 1))
    line = torch.arange(size, device=like.device)
    away = line[:, None] - line
    weights = torch.exp(away.double() ** 2 / (-2 * sigma**2)) / total
    return (weights * (away.abs() <= reach)).to(like.dtype)


def highest_nearby(maps: Tensor, reach: int) -> Tensor:
    """The highest value within `reach` voxels along every axis, of maps (L, K, J, I); nothing counts outside."""
    for axis in (1, 2, 3):
        maps = _highest_along(maps, axis, reach)
    return maps


def _highest_along(maps: Tensor, axis: int, reach: int) -> Tensor:
    size, width = maps.shape[axis], 2 * reach + 1
    edge = torch.full_like(maps.narrow(axis, 0, 1), -torch.inf)
    edges = edge.expand(*(reach if n == axis else -1 for n in range(maps.dim())))
    held = torch.cat((edges, maps, edges), dim=axis)
    covered = 1
    while covered < width:  # windows twice as long each time, the last overlapping
        step = min(covered, width - covered)
        length = held.shape[axis] - step
        held = torch.maximum(held.narrow(axis, 0, length), held.narrow(axis, step, length))
        covered += step
    return held.narrow(axis, 0, size)
