"""Distortions of detail: blur, coarse sampling, filters that take speckle away, speckle and noise that are added."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from FetusMapV2Lib.training.distortions.picture import (
    Distortion,
    Picture,
    Range,
    blurred,
    logarithmic,
    normal_noise,
)


@dataclass(frozen=True)
class Blur(Distortion):
    """A wider point-spread function, not as wide along every axis.

    Attributes:
        sigma_mm: of a Gaussian.
        unevenness: standard deviation of the logarithm of its width per axis.
    """

    sigma_mm: Range = (0.7, 4.0)
    unevenness: float = 0.3

    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """See `Distortion`."""
        sigma = logarithmic(draw, self.sigma_mm) / picture.spacing_mm * np.exp(self.unevenness * draw.normal(size=3))
        return picture.with_grey(blurred(picture.grey, (float(sigma[0]), float(sigma[1]), float(sigma[2]))))


@dataclass(frozen=True)
class CoarseAxis(Distortion):
    """Slices that are far apart: blocks averaged along one axis and interpolated again.

    Attributes:
        spacing_mm: of the slices.
    """

    spacing_mm: Range = (2.5, 7.0)

    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """See `Distortion`."""
        axis, wanted = int(draw.integers(3)), logarithmic(draw, self.spacing_mm)
        slices = max(4, round(picture.shape[axis] * picture.spacing_mm / wanted))
        if slices >= picture.shape[axis]:
            return picture
        k, j, i = (slices if a == axis else n for a, n in enumerate(picture.shape))
        coarse = F.adaptive_avg_pool3d(picture.grey[None, None], (k, j, i))
        return picture.with_grey(F.interpolate(coarse, size=picture.shape, mode="trilinear")[0, 0])


@dataclass(frozen=True)
class Despeckle(Distortion):
    """A filter against speckle: the median of each voxel and its six neighbours, or a blur that spares edges.

    Attributes:
        edge: grey difference that the blur spares.
    """

    edge: Range = (0.05, 0.3)

    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """See `Distortion`."""
        if draw.random() < 0.5:
            return picture.with_grey(_median_of_neighbours(picture.grey))
        smooth = blurred(picture.grey, (1.0, 1.0, 1.0))
        kept = 1 - torch.exp(-(((picture.grey - smooth) / float(draw.uniform(*self.edge))) ** 2))
        return picture.with_grey(torch.lerp(smooth, picture.grey, kept))


@dataclass(frozen=True)
class Speckle(Distortion):
    """Further speckle: a factor of its own at every place.

    Attributes:
        strength: standard deviation of the factor.
        grain_mm: width of a grain.
    """

    strength: Range = (0.1, 0.6)
    grain_mm: Range = (0.5, 4.0)

    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """See `Distortion`."""
        sigma = 0.42 * logarithmic(draw, self.grain_mm) / picture.spacing_mm
        noise = normal_noise(picture.shape, picture.grey.device, draw)
        if sigma >= 0.2:
            noise = blurred(noise, (sigma, sigma, sigma))
            noise = noise / noise.std()
        return picture.with_grey(picture.grey * (1 + float(draw.uniform(*self.strength)) * noise).clamp_min(0))


@dataclass(frozen=True)
class Noise(Distortion):
    """Electronic noise, added where there is a picture, or in the whole box.

    Attributes:
        strength: its standard deviation.
    """

    strength: Range = (0.005, 0.08)

    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """See `Distortion`."""
        strength, in_box = float(draw.uniform(*self.strength)), draw.random() < 0.3
        noisy = picture.grey + strength * normal_noise(picture.shape, picture.grey.device, draw)
        return picture.with_grey(noisy if in_box else torch.where(picture.grey > 0, noisy, picture.grey))


def _median_of_neighbours(grey: Tensor) -> Tensor:
    padded = F.pad(grey[None, None], (1, 1, 1, 1, 1, 1), mode="replicate")[0, 0]
    middle = slice(1, -1)
    shifted = [padded[middle, middle, middle]]
    for axis in range(3):
        for step in (slice(0, -2), slice(2, None)):
            at: list[slice] = [middle, middle, middle]
            at[axis] = step
            shifted.append(padded[tuple(at)])
    return torch.stack(shifted).median(dim=0).values
