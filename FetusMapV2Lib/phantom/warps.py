"""Smooth deformations of a scene: bodies whose proportions and surfaces no articulated model draws.

Landmarks move along. Positions are millimetres (i, j, k) from the centre of the map, as everywhere in this room.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

#: Distance of the nodes of the field, mm, and the standard deviation of their displacement.
NODE_MM, MOST_MM = 22.0, 2.2
#: A displacement that changes by more than this per mm would fold the scene.
_STEEPEST = 0.6
_STEPS = 30


@dataclass(frozen=True, eq=False)
class Warp:
    """Where each place of the deformed scene comes from: ``source = place + displacement(place)``.

    Attributes:
        nodes: (3, k, j, i) displacements (i, j, k) in mm at nodes that span the map from corner to corner.
        half_extent_mm: (3,) from the centre of the map to its outermost voxels, (i, j, k).
    """

    nodes: Tensor
    half_extent_mm: NDArray[np.float64]

    def displacement(self, points: Tensor) -> Tensor:
        """(N, 3) displacements at (N, 3) places, mm."""
        scaled = points / torch.as_tensor(self.half_extent_mm, dtype=points.dtype)
        grid = scaled[None, None, None].to(self.nodes.dtype)
        found = F.grid_sample(self.nodes[None], grid, mode="bilinear", padding_mode="border", align_corners=True)
        return found[0, :, 0, 0].T.to(points.dtype)

    def labels(self, tissue_map: Tensor) -> Tensor:
        """A tissue map (uint8, [k, j, i]) deformed; each voxel takes the label nearest to where it comes from."""
        device = tissue_map.device
        axes = [torch.linspace(-1, 1, n, device=device) for n in tissue_map.shape]
        place = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)
        moved = F.interpolate(
            self.nodes[None].to(device), size=tuple(tissue_map.shape), mode="trilinear", align_corners=True
        )[0]
        half = torch.as_tensor(self.half_extent_mm, dtype=torch.float32, device=device)
        source = place + moved.permute(1, 2, 3, 0) / half
        found = F.grid_sample(
            tissue_map[None, None].float(), source[None], mode="nearest", padding_mode="border", align_corners=True
        )
        return found[0, 0].to(torch.uint8)

    def moved(self, landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 3) landmarks where the deformed scene has them; missing ones (NaN) stay missing."""
        truth = torch.as_tensor(np.nan_to_num(landmarks), dtype=torch.float64)
        place = truth.clone()
        for _ in range(_STEPS):  # a contraction, as the displacement changes by less than one mm per mm
            place = truth - self.displacement(place)
        return np.where(np.isfinite(landmarks), place.numpy(), np.nan)


def draw_warp(generator: np.random.Generator, extent_mm: NDArray[np.float64], most_mm: float = MOST_MM) -> Warp:
    """A random deformation of a volume of this extent (i, j, k) mm.

    A change of proportions by up to some 12 % along each axis, and a smooth field.
    """
    counts = np.maximum(np.ceil(extent_mm / NODE_MM).astype(int) + 1, 3)
    half = extent_mm / 2
    axes = [np.linspace(-1, 1, n) for n in counts]
    places = np.stack(np.meshgrid(*axes, indexing="ij")) * half[:, None, None, None]  # (3, i, j, k)
    stretch = generator.uniform(-0.12, 0.12, 3)
    nodes = stretch[:, None, None, None] * places + generator.normal(0.0, most_mm, (3, *counts))
    steepest = max(
        float(np.abs(np.diff(nodes, axis=axis)).max() / (extent_mm[axis - 1] / (counts[axis - 1] - 1)))
        for axis in (1, 2, 3)
    )
    nodes *= min(1.0, _STEEPEST / max(steepest, 1e-9))
    return Warp(torch.from_numpy(np.ascontiguousarray(nodes.transpose(0, 3, 2, 1))).float(), half)
