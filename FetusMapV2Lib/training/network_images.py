"""Images of volumes for training: sampled on a grid and augmented, on the CPU or on the training device.

Both give the same image except for rounding and the values of the added noise.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from FetusMapV2Lib.imaging.grid import (
    BRIGHT_PERCENTILE,
    BRIGHTEST,
    Grid,
    Sampling,
    normalise,
    resample,
    sampling_of,
)
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.training.preset_options import AugmentationOptions

#: Share of the device's memory that cached volumes may take.
_SHARE_OF_DEVICE = 1 / 16


class NetworkImages(Protocol):
    """Prepares images of volumes as the network sees them, float32 (k, j, i)."""

    def plain(self, volume: Volume, grid: Grid, top: float | None = None) -> Tensor:
        """A volume on a grid, normalised; `top` as for `normalise`."""
        ...

    def augmented(self, image: Tensor, options: AugmentationOptions, generator: np.random.Generator) -> Tensor:
        """Grey values changed at random: exponent, factor, noise, a shadowed half-space. Zero (padding) stays zero."""
        ...


class HostImages:
    """On the CPU, exactly as the engine samples volumes; several workers may do it in parallel."""

    def plain(self, volume: Volume, grid: Grid, top: float | None = None) -> Tensor:
        """See `NetworkImages`."""
        return torch.from_numpy(np.ascontiguousarray(normalise(resample(volume, grid), top)))

    def augmented(self, image: Tensor, options: AugmentationOptions, generator: np.random.Generator) -> Tensor:
        """See `NetworkImages`."""
        return torch.from_numpy(_augmented(image.numpy(), options, generator))


class DeviceImages:
    """On a GPU, for machines whose CPU cores are too slow for it. Volumes are cached by their names.

    Args:
        device: of the training.
        memory_bytes: limit of the volumes cached there, None = a sixteenth of its memory.
    """

    def __init__(self, device: torch.device, memory_bytes: int | None = None) -> None:
        self.device = device
        if memory_bytes is None:
            total = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0
            memory_bytes = int(total * _SHARE_OF_DEVICE)
        self.memory_bytes = memory_bytes
        self._held: OrderedDict[str, Tensor] = OrderedDict()
        self._bytes = 0

    def plain(self, volume: Volume, grid: Grid, top: float | None = None) -> Tensor:
        """See `NetworkImages`."""
        image = resampled_on_device(self._array(volume), sampling_of(volume, grid), grid)
        end = _bright_end(image) if top is None else torch.tensor(top, device=self.device)
        divisor = torch.where(end > 0, end, torch.ones_like(end))
        return (image.clamp_min(0) / divisor).clamp_max(BRIGHTEST)

    def augmented(self, image: Tensor, options: AugmentationOptions, generator: np.random.Generator) -> Tensor:
        """See `NetworkImages`."""
        gamma = float(np.exp(generator.uniform(*np.log(options.gamma))))
        gain = float(np.exp(generator.uniform(*np.log(options.gain))))
        result = image.pow(gamma) * gain if gamma != 1 or gain != 1 else image
        if options.noise > 0:
            own = torch.Generator(self.device).manual_seed(int(generator.integers(2**62)))
            noise = torch.randn(image.shape, generator=own, device=self.device) * generator.uniform(0, options.noise)
            result = torch.where(image > 0, (result + noise).clamp_min(0), result)
        if generator.random() < options.shadow:
            z, y, x = (torch.arange(n, device=self.device) - (n - 1) / 2 for n in image.shape)
            normal, offset, depth = _shadow_plane(image.shape, generator)
            distance = normal[0] * z[:, None, None] + normal[1] * y[None, :, None] + normal[2] * x
            result = result * (1 - depth * torch.sigmoid((distance - offset) / 2))
        return result.clamp(0, BRIGHTEST)

    def _array(self, volume: Volume) -> Tensor:
        """The grey values on the device; the most recently used volumes stay cached up to the limit."""
        if volume.name in self._held:
            self._held.move_to_end(volume.name)
            return self._held[volume.name]
        array = torch.from_numpy(np.ascontiguousarray(volume.array)).to(self.device)
        self._held[volume.name] = array
        self._bytes += array.nbytes
        while self._bytes > self.memory_bytes and self._held:
            _, dropped = self._held.popitem(last=False)
            self._bytes -= dropped.nbytes
        return array


def resampled_on_device(array: Tensor, sampling: Sampling, grid: Grid) -> Tensor:
    """`imaging.grid.resample` with torch, zero outside the volume.

    Args:
        array: grey values (k, j, i) of the volume, on any device.
        sampling: of the volume on the grid.
        grid: to sample.

    Returns:
        float32 (k, j, i) on the same device.
    """
    if sampling.misses:
        return torch.zeros(grid.shape, device=array.device)
    backwards = [axis for axis, flip in enumerate(sampling.flipped) if flip]
    part = array.permute(sampling.axes).flip(backwards)[sampling.box].float()[None, None]
    if max(sampling.factors) > 1:
        lacking = [-n % f for n, f in zip(part.shape[2:], sampling.factors, strict=True)]
        part = F.avg_pool3d(F.pad(part, [n for lack in reversed(lacking) for n in (0, lack)]), sampling.factors)
    theta = torch.from_numpy(_normalised(sampling, grid.shape, tuple(part.shape[2:]))).to(part)
    points = F.affine_grid(theta[None], [1, 1, *grid.shape], align_corners=False)
    return F.grid_sample(part, points, mode="bilinear", padding_mode="zeros", align_corners=False)[0, 0]


def _normalised(sampling: Sampling, shape: tuple[int, ...], blocks: tuple[int, ...]) -> NDArray[np.float64]:
    """`to_block` for coordinates that run from -1 to 1 over the outer edges of grid and blocks, as in torch."""
    size = np.array(shape[::-1], dtype=float)
    extent = np.array(blocks[::-1], dtype=float)
    linear, shift = sampling.to_block[:, :3], sampling.to_block[:, 3]
    middle = shift + linear @ ((size - 1) / 2)
    return np.column_stack([linear * size / extent[:, None], (2 * middle + 1) / extent - 1])


def _bright_end(image: Tensor) -> Tensor:
    """`imaging.grid.bright_end` without synchronising with the device: NumPy's linear quantile."""
    ordered = image.flatten().clamp_min(0).sort().values
    positive = (ordered > 0).sum()
    place = len(ordered) - positive + (positive - 1).clamp_min(0) * (BRIGHT_PERCENTILE / 100)
    low = place.floor().clamp_max(len(ordered) - 1)
    high = (low + 1).clamp_max(len(ordered) - 1)
    ends = ordered[torch.stack([low, high]).long()]
    return torch.where(positive > 0, torch.lerp(ends[0], ends[1], (place - low).to(ends)), torch.zeros_like(ends[0]))


def _augmented(
    image: NDArray[np.float32], options: AugmentationOptions, generator: np.random.Generator
) -> NDArray[np.float32]:
    gamma = np.exp(generator.uniform(*np.log(options.gamma)))
    gain = np.exp(generator.uniform(*np.log(options.gain)))
    result = image
    if options.gamma != (1.0, 1.0):
        result = np.power(result, np.float32(gamma))
    if options.gain != (1.0, 1.0):
        result = result * np.float32(gain)
    if options.noise > 0:
        noise = generator.standard_normal(image.shape, dtype=np.float32)
        noise *= np.float32(generator.uniform(0, options.noise))
        result = np.where(image > 0, np.maximum(result + noise, np.float32(0)), result)
    if generator.random() < options.shadow:
        result = result * _shadow(image.shape, generator)
    return np.asarray(np.clip(result, 0, BRIGHTEST, dtype=np.float32))


def _shadow(shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.float32]:
    """A factor field: one side of a random plane is darkened, over a soft border of a few voxels."""
    axes = [np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in shape]
    normal, offset, depth = _shadow_plane(shape, generator)
    distance = (
        np.float32(normal[0]) * axes[0][:, None, None]
        + np.float32(normal[1]) * axes[1][None, :, None]
        + np.float32(normal[2]) * axes[2][None, None, :]
    ) - np.float32(offset)
    return np.asarray(1 - np.float32(depth) / (1 + np.exp(-distance / 2)), dtype=np.float32)


def _shadow_plane(shape: tuple[int, ...], generator: np.random.Generator) -> tuple[NDArray[np.float64], float, float]:
    """Unit normal, distance from the middle (voxels) and darkness of a shadow."""
    normal = generator.normal(size=3)
    normal /= np.linalg.norm(normal)
    return normal, generator.uniform(0.15, 0.45) * max(shape), generator.uniform(0.3, 0.9)
