"""`DeviceVolume`: a volume where the network runs, sampled and normalised there.

The values are those of `imaging.grid.resample` up to rounding, on every device.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from FetusMapV2Lib.estimation.host_copy import host_copies
from FetusMapV2Lib.imaging.blocks import block_mean
from FetusMapV2Lib.imaging.grid import Grid, Profiles, Sampling, sampling_of
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.network.normalisation import Normalisation, normalised

#: A GPU averages blocks of so many voxels at once, so that only they are held in float32.
_VOXELS_AT_ONCE = 2**26


class DeviceVolume:
    """A volume on a device: its grey values are copied there once, when they are first needed.

    Args:
        volume: of any size and orientation.
        device: where the network runs. On a CPU nothing is copied, and neither is what a GPU has no room for; it is
            then sampled on the CPU.
    """

    def __init__(self, volume: Volume, device: torch.device) -> None:
        self.volume = volume
        self.device = device

    def image(self, grid: Grid, how: Normalisation) -> Tensor:
        """The volume on a grid as the network sees it: (k, j, i) float32."""
        sampling = sampling_of(self.volume, grid)
        try:
            image = sampled(self._values, sampling, grid)
        except torch.cuda.OutOfMemoryError:
            self._values = self.volume.array
            image = sampled(self._values, sampling, grid)
        return normalised(image, how)

    def profiles(self) -> Profiles | None:
        """Sums of grey values along k, j and i, for `Grid.fit`; None on a CPU, where `Grid.fit` takes them itself."""
        values = self._values
        if not isinstance(values, Tensor):
            return None
        kind = torch.float64 if values.is_floating_point() else torch.int64
        lines = [values.sum(dim=away, dtype=kind) for away in ((1, 2), (0, 2), (0, 1))]
        k, j, i = host_copies(lines)
        return k, j, i

    @cached_property
    def _values(self) -> NDArray[np.generic] | Tensor:
        """Grey values (k, j, i): the array itself on a CPU."""
        if self.device.type == "cpu":
            return self.volume.array
        try:
            return uploaded(self.volume, self.device)
        except torch.cuda.OutOfMemoryError:
            return self.volume.array


def uploaded(volume: Volume, device: torch.device) -> Tensor:
    """Grey values (k, j, i) of a volume on a GPU; on the way there in pinned memory, from which a copy takes least."""
    array = volume.array
    # torch hardly computes with unsigned integers of more than eight bits
    kind = torch.int32 if array.dtype == np.uint16 else torch.from_numpy(np.empty(0, array.dtype)).dtype
    staging = torch.empty(array.shape, dtype=kind, pin_memory=device.type == "cuda")
    staging.numpy()[...] = array
    return staging.to(device, non_blocking=True)


def sampled(values: NDArray[np.generic] | Tensor, sampling: Sampling, grid: Grid) -> Tensor:
    """`imaging.grid.resample` where the values are, zero outside the volume.

    Args:
        values: grey values (k, j, i) of the volume; an array is sampled on the CPU.
        sampling: of the volume on the grid.
        grid: to sample.

    Returns:
        (k, j, i) float32 on the values' device.
    """
    device = values.device if isinstance(values, Tensor) else torch.device("cpu")
    if sampling.misses:
        return torch.zeros(grid.shape, device=device)
    return _trilinear(_block_means(values, sampling), sampling, grid)


def _block_means(values: NDArray[np.generic] | Tensor, sampling: Sampling) -> Tensor:
    """Means over the blocks of the box that is needed, turned as the grid, float32.

    On a CPU by NumPy in small integers, several times as fast there as the pooling that a GPU does.
    """
    if isinstance(values, Tensor) and values.device.type != "cpu":
        return _pooled(values, sampling)
    array = values.numpy() if isinstance(values, Tensor) else values
    turned = array.transpose(sampling.axes)
    part = turned[tuple(slice(None, None, -1 if flip else 1) for flip in sampling.flipped)][sampling.box]
    if max(sampling.factors) == 1:
        return torch.from_numpy(part.astype(np.float32))
    return torch.from_numpy(np.ascontiguousarray(block_mean(part, sampling.factors)))


def _pooled(values: Tensor, sampling: Sampling) -> Tensor:
    """`_block_means` by average pooling; turned and flipped when it is small."""
    turned = values.permute(sampling.axes)
    spans = [
        (size - part.stop, size - part.start) if flip else (part.start, part.stop)
        for size, part, flip in zip(turned.shape, sampling.box, sampling.flipped, strict=True)
    ]
    part = turned[tuple(slice(start, stop) for start, stop in spans)]
    lacking = [-size % factor for size, factor in zip(part.shape, sampling.factors, strict=True)]
    # blocks begin where the grid begins: a block that lacks voxels is the first one where an axis is flipped
    edges = [(lack, 0) if flip else (0, lack) for lack, flip in zip(lacking, sampling.flipped, strict=True)]
    part = F.pad(part, [n for before_and_after in reversed(edges) for n in before_and_after])
    rows = max(1, _VOXELS_AT_ONCE // (part[0].numel() * sampling.factors[0])) * sampling.factors[0]
    means = [F.avg_pool3d(slab.float()[None, None], sampling.factors)[0, 0] for slab in part.split(rows)]
    return torch.cat(means).flip([axis for axis, flip in enumerate(sampling.flipped) if flip])


def _trilinear(blocks: Tensor, sampling: Sampling, grid: Grid) -> Tensor:
    """Blocks (k, j, i) interpolated at the samples of a grid, zero outside; places in float64 as in SciPy."""
    device = blocks.device
    held = F.pad(blocks, (1, 1) * 3)  # zeros around, which all that lies outside reads
    steps = [torch.arange(size, device=device, dtype=torch.float64) for size in grid.shape]
    below, above, shares = [], [], []
    for axis, size in enumerate(blocks.shape):
        along_i, along_j, along_k, shift = (float(one) for one in sampling.to_block[2 - axis])
        place = (along_k * steps[0] + (shift + 1))[:, None, None] + (along_j * steps[1])[:, None] + along_i * steps[2]
        floor = place.floor()
        shares.append((place - floor).float())
        below.append(floor.clamp(0, size + 1).int())
        above.append((floor + 1).clamp(0, size + 1).int())
    (k0, j0, i0), (k1, j1, i1), (part_k, part_j, part_i) = below, above, shares
    _, rows, columns = held.shape
    flat = held.flatten()

    def line(k: Tensor, j: Tensor) -> Tensor:
        first = (k * rows + j) * columns
        return torch.lerp(flat[first + i0], flat[first + i1], part_i)

    planes = [torch.lerp(line(k, j0), line(k, j1), part_j) for k in (k0, k1)]
    return torch.lerp(planes[0], planes[1], part_k)
