"""`Picture`, which distortions change, and `Distortion`, which all of them are."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from FetusMapV2Lib.training.preset_options import Checked

Range = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Picture:
    """The image of one sample before its grey values are normalised.

    Attributes:
        grey: (k, j, i) float32 in 0 to 1 (1 = the brightest that the file can hold), on any device.
        inside: (k, j, i) bool, the voxels that the volume has; what is outside it is padding.
        spacing_mm: of the voxels.
        points: (22, 3) landmarks in voxels (i, j, k), NaN = missing or not there; all of them without a fetus.
        other: another picture of the same shape, from a volume without a fetus; None if there are none.
    """

    grey: Tensor
    inside: Tensor
    spacing_mm: float
    points: NDArray[np.float64]
    other: Tensor | None = None

    def with_grey(self, grey: Tensor) -> Picture:
        """The picture with other greys, which are clipped as a file clips them; padding stays black."""
        return dataclasses.replace(self, grey=torch.where(self.inside, grey.clamp(0, 1), torch.zeros_like(grey)))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(k, j, i) voxels."""
        k, j, i = self.grey.shape
        return k, j, i

    def places(self) -> tuple[Tensor, Tensor, Tensor]:
        """Voxel indices along k, j and i, counted from the middle, that broadcast to the shape."""
        z, y, x = (torch.arange(n, device=self.grey.device) - (n - 1) / 2 for n in self.shape)
        return z[:, None, None], y[None, :, None], x[None, None, :]

    def along(self, direction: NDArray[np.float64]) -> Tensor:
        """Distance in mm from the middle along a unit vector (k, j, i), at every voxel."""
        z, y, x = self.places()
        return (float(direction[0]) * z + float(direction[1]) * y + float(direction[2]) * x) * self.spacing_mm


@dataclass(frozen=True)
class Distortion(Checked):
    """A random change of a picture. Further fields are ranges to draw from.

    Attributes:
        probability: of the change, per sample.
    """

    probability: float = 0.0

    def rules(self) -> dict[str, bool]:
        """See `Checked`."""
        name = type(self).__name__
        values = [getattr(self, field.name) for field in dataclasses.fields(self)]
        rising = all(0 < value[0] <= value[1] for value in values if isinstance(value, tuple) and len(value) == 2)
        return {
            f"distortions: the probability of {name} must lie in 0-1": 0 <= self.probability <= 1,
            f"distortions: the ranges of {name} must be positive and rising": rising,
        }

    @abstractmethod
    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """The changed picture.

        Args:
            picture: to change.
            draw: source of all randomness; what it is asked for does not depend on the device.
        """


def logarithmic(draw: np.random.Generator, limits: Range) -> float:
    """A number from a range of positive numbers, even on a logarithmic scale."""
    return float(np.exp(draw.uniform(*np.log(limits))))


def direction(draw: np.random.Generator) -> NDArray[np.float64]:
    """A random unit vector."""
    vector = draw.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))


def normal_noise(shape: tuple[int, ...], device: torch.device, draw: np.random.Generator) -> Tensor:
    """Standard normal numbers from a generator of the device (their values depend on it)."""
    own = torch.Generator(device).manual_seed(int(draw.integers(2**62)))
    return torch.randn(shape, generator=own, device=device)


def smooth_noise(picture: Picture, knots: int, draw: np.random.Generator) -> Tensor:
    """Normal numbers on a coarse grid of `knots` per axis, interpolated to the picture's voxels."""
    coarse = torch.from_numpy(draw.normal(size=(1, 1, knots, knots, knots)).astype(np.float32))
    fine = F.interpolate(coarse.to(picture.grey.device), size=picture.shape, mode="trilinear", align_corners=True)
    return fine[0, 0]


def blurred(image: Tensor, sigma_voxels: tuple[float, float, float]) -> Tensor:
    """Gaussian blur with a standard deviation per axis (k, j, i), in voxels; edges are repeated."""
    result = image[None, None]
    for axis, sigma in enumerate(sigma_voxels):
        if sigma < 0.2:  # narrower than a voxel: the kernel is a single one
            continue
        reach = max(1, min(int(np.ceil(2.5 * sigma)), image.shape[axis] - 1))
        offsets = torch.arange(-reach, reach + 1, device=image.device, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = 2 * reach + 1
        padding = [0] * 6
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = reach
        padded = F.pad(result, padding, mode="replicate")
        result = F.conv3d(padded, (kernel / kernel.sum()).reshape(shape))
    return result[0, 0]
