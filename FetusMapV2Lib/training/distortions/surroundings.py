"""Distortions of what is around the body: surroundings cut away or replaced, fill values, overlays."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.training.distortions.picture import (
    Distortion,
    Picture,
    Range,
    logarithmic,
    normal_noise,
    smooth_noise,
)

#: Thickness of the body around its skeleton, in crown-rump lengths: half a trunk, and half a limb.
_TRUNK, _LIMB = 0.2, 0.06


@dataclass(frozen=True)
class Surroundings(Distortion):
    """What lies beyond a margin around the body is made black, even grey, speckled, or another picture.

    The body is what its landmarks tell: thick around head and trunk, thin along the limbs. With landmarks missing, or
    without a fetus, nothing is changed.

    Attributes:
        margin_mm: of what stays around the body, drawn on a logarithmic scale.
        black: share of the changes that leave black.
        grey: of even or speckled fillings.
    """

    margin_mm: Range = (2.0, 15.0)
    black: float = 0.4
    grey: Range = (0.02, 0.5)

    def rules(self) -> dict[str, bool]:
        """See `Checked`."""
        return super().rules() | {"distortions.surroundings.black must lie in 0-1": 0 <= self.black <= 1}

    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """See `Distortion`."""
        margin, is_black = logarithmic(draw, self.margin_mm), draw.random() < self.black
        filling = torch.zeros_like(picture.grey) if is_black else self._filling(picture, draw)
        wavy = margin * (1 + 0.3 * smooth_noise(picture, 6, draw))
        distance = distance_to_body(picture)
        if distance is None:
            return picture
        edge = torch.sigmoid((distance - wavy) / (0.5 * picture.spacing_mm))
        return picture.with_grey(torch.lerp(picture.grey, filling, edge))

    def _filling(self, picture: Picture, draw: np.random.Generator) -> Tensor:
        grey, speckled = float(draw.uniform(*self.grey)), draw.random() < 0.7
        if picture.other is not None and draw.random() < 0.5:
            return picture.other
        even = grey * (1 + 0.4 * smooth_noise(picture, 5, draw)).clamp_min(0)
        if not speckled:
            return even
        noise = normal_noise((2, *picture.shape), picture.grey.device, draw)
        return even * torch.sqrt((noise**2).sum(dim=0)) / 1.25  # Rayleigh, its mean 1


@dataclass(frozen=True)
class FillValue(Distortion):
    """Padding and what is black around the sector get a grey, as exports fill it, where it was not recognised.

    Attributes:
        grey: that it gets.
    """

    grey: Range = (0.1, 1.0)

    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """See `Distortion`."""
        grey = float(draw.uniform(*self.grey)) if draw.random() < 0.6 else 1.0
        everywhere = draw.random() < 0.5
        empty = ~picture.inside if not everywhere else ~picture.inside | (picture.grey <= 0)
        return dataclasses.replace(picture, grey=torch.where(empty, grey, picture.grey))


@dataclass(frozen=True)
class Marks(Distortion):
    """Bright lines and rows of small blocks: rulers, text and frames burnt into the picture.

    Attributes:
        count: how many.
        grey: of a mark.
    """

    count: tuple[int, int] = (1, 4)
    grey: Range = (0.6, 1.0)

    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """See `Distortion`."""
        grey = picture.grey.clone()
        for _ in range(int(draw.integers(self.count[0], self.count[1] + 1))):
            axis, value = int(draw.integers(3)), float(draw.uniform(*self.grey))
            size = draw.integers(1, 3, 3)
            size[axis] = draw.integers(4, max(5, picture.shape[axis] // 2))
            start = [int(draw.integers(0, n - s + 1)) for n, s in zip(picture.shape, size, strict=True)]
            step = 1 if draw.random() < 0.5 else int(draw.integers(2, 4))
            steps = [step if a == axis else 1 for a in range(3)]
            grey[tuple(slice(a, a + int(s), d) for a, s, d in zip(start, size, steps, strict=True))] = value
        return picture.with_grey(grey)


def distance_to_body(picture: Picture) -> Tensor | None:
    """Distance in mm of every voxel from the surface of the body that the landmarks tell, negative inside it.

    Returns:
        None if fewer than four landmarks of head and trunk are known.
    """
    schema = default_schema()
    known = np.asarray(np.isfinite(picture.points).all(axis=1))
    trunk = [row for row in schema.rows("ht") if known[row]]
    if len(trunk) < 4:
        return None
    points = picture.points[:, ::-1] - (np.array(picture.shape) - 1) / 2  # (k, j, i) from the middle
    length = _length_mm(picture, trunk)
    middle = points[trunk].mean(axis=0)
    limbs = [edge for edge in schema.edges if known[edge.start] and known[edge.end] and edge.group != "ht"]
    distances = [_to_stick(picture, points[edge.start], points[edge.end]) - _LIMB * length for edge in limbs]
    distances += [_to_stick(picture, points[row], middle) - _TRUNK * length for row in trunk]
    return torch.stack(distances).amin(dim=0)


def _length_mm(picture: Picture, trunk: list[int]) -> float:
    """The length of head and trunk: the largest distance between its landmarks."""
    points = picture.points[trunk]
    return float(np.linalg.norm(points[:, None] - points[None], axis=-1).max()) * picture.spacing_mm


def _to_stick(picture: Picture, start: np.ndarray, end: np.ndarray) -> Tensor:
    """Distance in mm of every voxel from the line between two points (k, j, i) counted from the middle."""
    along = end - start
    squared = float(along @ along)
    parts = [place - float(at) for place, at in zip(picture.places(), start, strict=True)]
    share = sum(part * float(step) for part, step in zip(parts, along, strict=True)) / max(squared, 1e-6)
    share = share.clamp(0, 1)  # type: ignore[union-attr]
    away = [part - share * float(step) for part, step in zip(parts, along, strict=True)]
    return torch.sqrt(sum(part**2 for part in away)) * picture.spacing_mm  # type: ignore[arg-type]
