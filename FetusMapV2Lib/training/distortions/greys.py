"""Distortions of the grey scale: curves, gain, black level, haze."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from FetusMapV2Lib.training.distortions.picture import (
    Distortion,
    Picture,
    Range,
    direction,
    logarithmic,
    smooth_noise,
)

_TABLE = 256


@dataclass(frozen=True)
class GreyCurve(Distortion):
    """A random rising curve, as grey maps and compression curves of scanners are.

    Attributes:
        strength: standard deviation of the logarithm of the curve's slopes between its knots.
    """

    strength: Range = (0.3, 1.2)
    knots: tuple[int, int] = (2, 5)

    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """See `Distortion`."""
        from scipy.interpolate import PchipInterpolator  # which most trainings need not load

        count = int(draw.integers(self.knots[0], self.knots[1] + 1)) + 1
        rises = np.exp(draw.uniform(*self.strength) * draw.normal(size=count))
        heights = np.concatenate([[0.0], np.cumsum(rises) / rises.sum()])
        curve = PchipInterpolator(np.linspace(0, 1, count + 1), heights)
        return picture.with_grey(_looked_up(picture.grey, curve(np.linspace(0, 1, _TABLE))))


@dataclass(frozen=True)
class SCurve(Distortion):
    """High contrast around a middle grey: black below, white above.

    Attributes:
        slope: steepness; 4 is nearly a straight line, 15 nearly black and white.
        middle: grey in the middle of the curve.
    """

    slope: Range = (4.0, 15.0)
    middle: Range = (0.1, 0.6)

    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """See `Distortion`."""
        slope, middle = draw.uniform(*self.slope), draw.uniform(*self.middle)
        ends = 1 / (1 + np.exp(-slope * (np.array([0.0, 1.0]) - middle)))
        curved = torch.sigmoid(slope * (picture.grey - middle))
        return picture.with_grey((curved - float(ends[0])) / float(ends[1] - ends[0]))


@dataclass(frozen=True)
class Gain(Distortion):
    """A factor, after which the brightest greys are clipped.

    Attributes:
        factor: drawn on a logarithmic scale.
    """

    factor: Range = (0.3, 4.0)

    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """See `Distortion`."""
        return picture.with_grey(picture.grey * logarithmic(draw, self.factor))


@dataclass(frozen=True)
class BlackLevel(Distortion):
    """A grey that everything has at least, inside the sector or in the whole box.

    Attributes:
        level: of the grey scale.
    """

    level: Range = (0.03, 0.35)

    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """See `Distortion`."""
        level, in_box = draw.uniform(*self.level), draw.random() < 0.5
        lifted = picture.grey + level
        return picture.with_grey(lifted if in_box else torch.where(picture.grey > 0, lifted, picture.grey))


@dataclass(frozen=True)
class Haze(Distortion):
    """A bright veil that is densest on one side, uneven, and takes contrast away.

    Attributes:
        density: largest share of the veil in the picture.
        veil: its grey.
    """

    density: Range = (0.1, 0.7)
    veil: Range = (0.15, 0.6)

    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """See `Distortion`."""
        depth = picture.along(direction(draw)) / (0.5 * max(picture.shape) * picture.spacing_mm)
        shape = torch.sigmoid(2 * depth + smooth_noise(picture, 5, draw))
        density = float(draw.uniform(*self.density)) * shape / shape.max()
        veil = float(draw.uniform(*self.veil)) * (1 + 0.2 * smooth_noise(picture, 4, draw))
        return picture.with_grey(torch.lerp(picture.grey, veil.clamp(0, 1), density))


def _looked_up(grey: Tensor, table: np.ndarray) -> Tensor:
    """Values of a table over 0 to 1 at every grey, interpolated."""
    values = torch.from_numpy(np.asarray(table, dtype=np.float32)).to(grey.device)
    place = grey.clamp(0, 1) * (len(table) - 1)
    low = place.floor().clamp_max(len(table) - 2)
    index = low.long()
    return torch.lerp(values[index], values[index + 1], place - low)
