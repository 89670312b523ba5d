"""`FieldOfView`: a box around the fetus, near or far, that may cut parts of the body off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from FetusMapV2Lib.imaging.grid import Grid, Shape
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.training.distortions.picture import Range, logarithmic
from FetusMapV2Lib.training.preset_options import Checked

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """A box along the axes of a volume, which may reach beyond it.

    Attributes:
        axes: (3, 3), its columns are the RAS directions of its sides.
        low, high: (3,) its ends along these, mm.
    """

    axes: Array
    low: Array
    high: Array

    def holds(self, points: Array) -> NDArray[np.bool_]:
        """Which points (..., 3) RAS mm lie in it; missing ones (NaN) do not."""
        along = points @ self.axes
        with np.errstate(invalid="ignore"):
            return np.asarray(((along >= self.low) & (along <= self.high)).all(axis=-1))

    def grid(self, input_size: Shape) -> Grid:
        """The grid of this size (k, j, i; longest first) that holds the box, longest side along k; one of several."""
        extents = self.high - self.low
        order = np.argsort(-extents)
        k, j = self.axes[:, order[0]], self.axes[:, order[1]]
        spacing = max(float(extents[a]) / size for a, size in zip(order, input_size, strict=True))
        directions = np.stack([np.cross(j, k), j, k], axis=1)
        return Grid.around(self.axes @ (self.low + self.high) / 2, directions, spacing, input_size)


@dataclass(frozen=True)
class FieldOfView(Checked):
    """How the box of a volume lies around the fetus.

    Attributes:
        probability: that a box is drawn; otherwise it is that of the volume.
        margin_mm: between the landmarks and each side, drawn on a logarithmic scale.
        cut: probability that one side cuts into the body.
        cut_mm: how deep.
    """

    probability: float = 0.0
    margin_mm: Range = (3.0, 70.0)
    cut: float = 0.2
    cut_mm: Range = (2.0, 30.0)

    def rules(self) -> dict[str, bool]:
        """See `Checked`."""
        return {
            "distortions: probability and cut of FieldOfView must lie in 0-1": 0 <= self.probability <= 1
            and 0 <= self.cut <= 1,
            "distortions: the ranges of FieldOfView must be positive and rising": all(
                0 < low <= high for low, high in (self.margin_mm, self.cut_mm)
            ),
        }

    def drawn(self, volume: Volume, positions: Array, draw: np.random.Generator) -> Box | None:
        """A box around the landmarks (22, 3) RAS mm, None to keep the volume's own.

        Without landmarks it is a random part of the volume.
        """
        if draw.random() >= self.probability:
            return None
        steps = volume.ijk_to_ras[:3, :3]
        left, _, right = np.linalg.svd(steps / np.linalg.norm(steps, axis=0))
        axes = np.asarray(left @ right, dtype=np.float64)
        known = positions[np.isfinite(positions).all(axis=1)]
        margins = np.array([[logarithmic(draw, self.margin_mm) for _ in range(3)] for _ in range(2)])
        side, depth, cuts = int(draw.integers(6)), draw.uniform(*self.cut_mm), draw.random() < self.cut
        if not len(known):
            return _part_of(volume, axes, draw)
        if cuts:
            margins[side // 3, side % 3] = -depth
        along = known @ axes
        low, high = along.min(axis=0) - margins[0], along.max(axis=0) + margins[1]
        return Box(axes, low, np.maximum(high, low + 10.0))


def _part_of(volume: Volume, axes: Array, draw: np.random.Generator) -> Box:
    """A random part of a volume, at least half as long as it along each axis."""
    steps = volume.ijk_to_ras[:3, :3]
    extents = np.abs(axes.T @ steps) @ np.array(volume.shape[::-1], dtype=float)
    sides = extents * draw.uniform(0.5, 1.0, 3)
    middle = axes.T @ volume.centre_ras + draw.uniform(-0.5, 0.5, 3) * (extents - sides)
    return Box(axes, middle - sides / 2, middle + sides / 2)


def inside_of(volume: Volume, grid: Grid, box: Box | None, device: torch.device) -> Tensor:
    """Which voxels of a grid lie in a volume and, if one was drawn, in its box; bool (k, j, i)."""
    ends = np.array(volume.shape[::-1], dtype=float) - 0.5
    inside = _within(volume.ras_to_ijk @ grid.grid_to_ras, np.full(3, -0.5), ends, grid.shape, device)
    if box is None:
        return inside
    along = np.eye(4)
    along[:3, :3] = box.axes.T
    return inside & _within(along @ grid.grid_to_ras, box.low, box.high, grid.shape, device)


def _within(matrix: Array, low: Array, high: Array, shape: Shape, device: torch.device) -> Tensor:
    """Where the image (3,) of a voxel index (i, j, k) under a 4x4 matrix lies between two corners."""
    z, y, x = (torch.arange(n, device=device, dtype=torch.float32) for n in shape)
    result = torch.ones(shape, dtype=torch.bool, device=device)
    for row, least, most in zip(matrix[:3].tolist(), low.tolist(), high.tolist(), strict=True):
        value = row[0] * x[None, None] + row[1] * y[None, :, None] + row[2] * z[:, None, None] + row[3]
        result &= (value >= least) & (value <= most)
    return result
