"""Images of volumes for training: sampled on a grid and augmented, on the CPU or on the training device.

Both give the same image except for rounding and the values of the added noise.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from FetusMapV2Lib.estimation.device_volume import sampled, uploaded
from FetusMapV2Lib.imaging.grid import Grid, sampling_of
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.network.normalisation import BRIGHTEST, GreyEnds, Normalisation, grey_ends
from FetusMapV2Lib.training.preset_options import AugmentationOptions

#: Share of the device's memory that cached volumes may take.
_SHARE_OF_DEVICE = 1 / 16


class NetworkImages(Protocol):
    """Samples volumes where the training wants its images.

    Attributes:
        device: where that is.
    """

    device: torch.device

    def sampled(self, volume: Volume, grid: Grid) -> Tensor:
        """The grey values of a volume on a grid, float32 (k, j, i), zero outside the volume."""
        ...

    def ends(self, volume: Volume, how: Normalisation) -> GreyEnds:
        """`grey_ends` of the whole volume, where `sampled` puts its images."""
        ...


class HostImages:
    """On the CPU, exactly as the engine samples volumes; several workers may do it in parallel."""

    device = torch.device("cpu")

    def sampled(self, volume: Volume, grid: Grid) -> Tensor:
        """See `NetworkImages`."""
        return sampled(volume.array, sampling_of(volume, grid), grid)

    def ends(self, volume: Volume, how: Normalisation) -> GreyEnds:
        """See `NetworkImages`."""
        return grey_ends(torch.from_numpy(np.ascontiguousarray(volume.array)), how)


class DeviceImages:
    """On a GPU, for machines whose CPU cores are too slow for it. Volumes are cached by their names, if they have one.

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

    def sampled(self, volume: Volume, grid: Grid) -> Tensor:
        """See `NetworkImages`."""
        return sampled(self._array(volume), sampling_of(volume, grid), grid)

    def ends(self, volume: Volume, how: Normalisation) -> GreyEnds:
        """See `NetworkImages`."""
        dark, bright = grey_ends(torch.from_numpy(np.ascontiguousarray(volume.array)), how)
        return GreyEnds(dark.to(self.device), bright.to(self.device))

    def _array(self, volume: Volume) -> Tensor:
        """The grey values on the device; the most recently used volumes stay cached up to the limit."""
        if volume.name in self._held:
            self._held.move_to_end(volume.name)
            return self._held[volume.name]
        array = uploaded(volume, self.device)
        if not volume.name:
            return array
        self._held[volume.name] = array
        self._bytes += array.nbytes
        while self._bytes > self.memory_bytes and self._held:
            _, dropped = self._held.popitem(last=False)
            self._bytes -= dropped.nbytes
        return array


def augmented(image: Tensor, options: AugmentationOptions, generator: np.random.Generator) -> Tensor:
    """Grey values changed at random: exponent, factor, noise, a shadowed half-space. Zero (padding) stays zero."""
    gamma = float(np.exp(generator.uniform(*np.log(options.gamma))))
    gain = float(np.exp(generator.uniform(*np.log(options.gain))))
    result = image.pow(gamma) * gain if gamma != 1 or gain != 1 else image
    if options.noise > 0:
        own = torch.Generator(image.device).manual_seed(int(generator.integers(2**62)))
        noise = torch.randn(image.shape, generator=own, device=image.device) * generator.uniform(0, options.noise)
        result = torch.where(image > 0, (result + noise).clamp_min(0), result)
    if generator.random() < options.shadow:
        z, y, x = (torch.arange(n, device=image.device) - (n - 1) / 2 for n in image.shape)
        normal, offset, depth = _shadow_plane(image.shape, generator)
        distance = normal[0] * z[:, None, None] + normal[1] * y[None, :, None] + normal[2] * x
        result = result * (1 - depth * torch.sigmoid((distance - offset) / 2))
    return result.clamp(0, BRIGHTEST)


def _shadow_plane(shape: tuple[int, ...], generator: np.random.Generator) -> tuple[NDArray[np.float64], float, float]:
    """Unit normal, distance from the middle (voxels) and darkness of a shadow."""
    normal = generator.normal(size=3)
    normal /= np.linalg.norm(normal)
    return normal, generator.uniform(0.15, 0.45) * max(shape), generator.uniform(0.3, 0.9)
