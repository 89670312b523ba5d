"""Distortions that change from place to place: depth gain, uneven sensitivity, shadows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from FetusMapV2Lib.training.distortions.picture import Distortion, Picture, Range, direction, logarithmic, smooth_noise

_DECIBEL = np.log(10) / 20


@dataclass(frozen=True)
class DepthBands(Distortion):
    """Gain that changes with depth, as sliders of time-gain compensation set it.

    Attributes:
        decibels: standard deviation of the gain of a band.
        bands: how many there are over the picture.
    """

    decibels: Range = (2.0, 8.0)
    bands: tuple[int, int] = (3, 8)

    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """See `Distortion`."""
        count = max(2, int(draw.integers(self.bands[0], self.bands[1] + 1)))
        gains = draw.uniform(*self.decibels) * draw.normal(size=count)
        depth = picture.along(direction(draw))
        place = (depth - depth.min()) / (depth.max() - depth.min()) * (count - 1)
        low = place.floor().clamp(0, count - 2)
        table = torch.from_numpy(gains.astype(np.float32)).to(place.device)
        between = torch.lerp(table[low.long()], table[low.long() + 1], place - low)
        return picture.with_grey(picture.grey * torch.exp(_DECIBEL * between))


@dataclass(frozen=True)
class BiasField(Distortion):
    """Smoothly uneven brightness.

    Attributes:
        strength: standard deviation of its logarithm.
    """

    strength: Range = (0.1, 0.6)

    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """See `Distortion`."""
        strength = float(draw.uniform(*self.strength))
        return picture.with_grey(picture.grey * torch.exp(strength * smooth_noise(picture, 4, draw)))


@dataclass(frozen=True)
class WedgeShadow(Distortion):
    """A dark cone away from a point beside the picture: bone, bowel gas, poor contact.

    Attributes:
        half_angle_deg: of the cone.
        darkness: share of the light that it takes.
    """

    half_angle_deg: Range = (4.0, 25.0)
    darkness: Range = (0.4, 1.0)

    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """See `Distortion`."""
        reach = max(picture.shape) / 2
        apex = direction(draw) * reach * draw.uniform(0.7, 1.6)
        aim = -apex / np.linalg.norm(apex) + 0.5 * draw.normal(size=3)
        aim /= np.linalg.norm(aim)
        parts = [place - float(start) for place, start in zip(picture.places(), apex, strict=True)]
        length = torch.sqrt(sum(part**2 for part in parts) + 1e-6)  # type: ignore[arg-type]
        cosine = sum(part * float(along) for part, along in zip(parts, aim, strict=True)) / length
        half_angle = np.radians(draw.uniform(*self.half_angle_deg))
        beyond = torch.sigmoid((length - draw.uniform(0.0, reach)) / 2)
        inside = torch.sigmoid((torch.arccos(cosine.clamp(-1, 1)) - half_angle) / -0.05)
        return picture.with_grey(picture.grey * (1 - float(draw.uniform(*self.darkness)) * beyond * inside))


@dataclass(frozen=True)
class BlobShadow(Distortion):
    """Dark Gaussian blobs, where the sound was lost on its way.

    Attributes:
        sigma_mm: of a blob.
        darkness: in its middle.
        count: how many.
    """

    sigma_mm: Range = (4.0, 15.0)
    darkness: Range = (0.4, 1.0)
    count: tuple[int, int] = (1, 3)

    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """See `Distortion`."""
        grey = picture.grey
        for _ in range(int(draw.integers(self.count[0], self.count[1] + 1))):
            middle = draw.uniform(-0.5, 0.5, 3) * picture.shape
            sigma = logarithmic(draw, self.sigma_mm) / picture.spacing_mm
            parts = [(place - float(at)) ** 2 for place, at in zip(picture.places(), middle, strict=True)]
            blob = torch.exp(-sum(parts) / (2 * sigma**2))  # type: ignore[arg-type]
            grey = grey * (1 - float(draw.uniform(*self.darkness)) * blob)
        return picture.with_grey(grey)
