"""Patches that cover a volume, and landmarks of the whole volume from the heatmaps of its patches.

The heatmaps of the whole volume are never held at once: 22 maps of a large volume would take several GiB.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from FetusMapV2Lib.imaging.grid import Grid
from FetusMapV2Lib.network.heatmap import Decoded, window_moments, window_radius, windows

Shape = tuple[int, int, int]

#: Neighbouring patches share at least this part of their length.
OVERLAP = 0.25
#: Where patches overlap, each is weighted by a Gaussian around its centre, of this standard deviation in patch lengths.
BLEND_SIGMA = 0.125


def starts_along(size: int, patch: int) -> list[int]:
    """Where patches begin along an axis: evenly spread from end to end, as few as overlap by `OVERLAP` to a voxel."""
    count = math.ceil((size - patch) / (patch * (1 - OVERLAP))) + 1
    return [round(number * (size - patch) / max(1, count - 1)) for number in range(count)]


def patch_places(shape: Shape, patch_size: Shape) -> list[Shape]:
    """First voxels (k, j, i) of the patches that cover a grid, row by row along its first axis.

    Args:
        shape: (k, j, i) of the grid, nowhere smaller than a patch.
        patch_size: (k, j, i).
    """
    k, j, i = (starts_along(size, patch) for size, patch in zip(shape, patch_size, strict=True))
    return list(itertools.product(k, j, i))


def part_of(grid: Grid, place: Shape, patch_size: Shape) -> Grid:
    """The grid of the patch that begins at the voxel `place` (k, j, i) of a grid."""
    matrix = grid.grid_to_ras.copy()
    matrix[:3, 3] += matrix[:3, :3] @ place[::-1]
    return Grid(patch_size, matrix)


def cut_patch(image: Tensor, place: Shape, patch_size: Shape) -> Tensor:
    """The patch of an image (k, j, i) that begins at the voxel `place`."""
    k, j, i = (slice(start, start + size) for start, size in zip(place, patch_size, strict=True))
    return image[k, j, i]


@dataclass(frozen=True, eq=False)
class _Peak:
    """The highest value of a map so far.

    Attributes:
        value: log probability.
        around: (k, j, i) log probabilities around it.
        centre_ijk: (3,) voxel of the peak, in `around`.
        first_ijk: (3,) voxel of the grid at which `around` begins.
    """

    value: float
    around: Tensor
    centre_ijk: Tensor
    first_ijk: Tensor


class Stitching:
    """Landmarks of a grid from log probabilities of its patches.

    Where patches overlap, the weighted mean of their log probabilities counts (as nnU-Net blends logits, Isensee et
    al. 2021), each patch by a Gaussian around its centre, which it sees with most of the surroundings. Probability
    that no patch has is spread evenly over the grid: the map of a landmark that is nowhere is flat.

    Rows of the grid are released as soon as no further patch changes them, so that only one row of patches is held.
    The peak of every map is kept with its surroundings, which is all that `network.heatmap.decode` needs.

    Args:
        shape: (k, j, i) of the grid, nowhere smaller than a patch.
        patch_size: (k, j, i).
        landmarks: maps per patch.
        sigma: of the heatmaps, voxels.
    """

    def __init__(self, shape: Shape, patch_size: Shape, landmarks: int, sigma: float) -> None:
        self.shape, self.patch_size, self.sigma = shape, patch_size, sigma
        self.places = patch_places(shape, patch_size)
        self._shares = [_shares(size, patch) for size, patch in zip(shape, patch_size, strict=True)]
        self._radius = window_radius(sigma)
        rows = min(shape[0], patch_size[0] + 2 * self._radius)
        #: weighted sums of the patches, from row `_first` of the grid on; rows before `_searched` were searched
        self._rows = torch.zeros(landmarks, rows, *shape[1:])
        self._first = self._searched = 0
        self._inside = torch.zeros(landmarks, dtype=torch.float64)
        self._best: list[_Peak | None] = [None] * landmarks

    def add(self, place: Shape, maps: Tensor) -> None:
        """Add a patch.

        Args:
            place: one of `places`, in their order.
            maps: (L, k, j, i) log probabilities (`network.heatmap.log_probabilities`).
        """
        self._search_rows(place[0])
        k, j, i = (slice(start, start + size) for start, size in zip(place, self.patch_size, strict=True))
        rows = slice(k.start - self._first, k.stop - self._first)
        along_k, along_j, along_i = (shares[start] for shares, start in zip(self._shares, place, strict=True))
        weight = along_k[:, None, None] * along_j[:, None] * along_i
        self._rows[:, rows, j, i].addcmul_(maps.cpu(), weight)

    def landmarks(self) -> Decoded:
        """Landmarks of the whole grid, after all patches, in voxels of the grid."""
        self._search_rows(self.shape[0])
        nowhere = (1 - self._inside).clamp_min(0).float() / math.prod(self.shape)
        total = self._inside.clamp_min(1).float()
        points, masses, spreads = [], [], []
        for row, peak in enumerate(self._best):
            assert peak is not None
            probabilities = (peak.around.exp() + nowhere[row]) / total[row]
            centre = peak.centre_ijk[None, None]
            point, mass, spread = window_moments(windows(probabilities[None], centre, self._radius), centre)
            points.append(point[0, 0] + peak.first_ijk)
            masses.append(mass[0, 0])
            spreads.append(spread[0, 0])
        return Decoded(torch.stack(points), torch.stack(masses).clamp(max=1.0), torch.stack(spreads))

    def _search_rows(self, until: int) -> None:
        """Search the rows before `until`, which are complete, for peaks, and release them."""
        # a peak is found only when all its surroundings are complete
        stop = until if until == self.shape[0] else until - self._radius
        if stop <= self._searched:
            return
        searched = slice(self._searched - self._first, stop - self._first)
        for row, held in enumerate(self._rows[:, : until - self._first]):
            part = held[searched]
            self._inside[row] += part.exp().sum(dtype=torch.float64)
            value, number = part.flatten().max(dim=0)
            best = self._best[row]
            if best is None or not float(value) <= best.value:  # NaN counts as more, so that it is not hidden
                k, j, i = (int(at) for at in np.unravel_index(int(number), part.shape))
                self._best[row] = self._peak_at((k + searched.start, j, i), held)
        self._searched = stop
        self._release(max(0, stop - self._radius))

    def _peak_at(self, voxel: Shape, held: Tensor) -> _Peak:
        """The peak at a voxel (k, j, i) of the held rows of a map, with its surroundings."""
        first = [max(0, at - self._radius) for at in voxel]
        around = held[tuple(slice(start, at + self._radius + 1) for start, at in zip(first, voxel, strict=True))]
        centre = [at - start for start, at in zip(first, voxel, strict=True)]
        first[0] += self._first
        return _Peak(float(held[voxel]), around.clone(), torch.tensor(centre[::-1]), torch.tensor(first[::-1]))

    def _release(self, first: int) -> None:
        """Release the held rows before `first`."""
        gone = first - self._first
        for held in self._rows:
            kept = held[gone:].clone()
            held[: len(kept)] = kept
            held[len(kept) :] = 0
        self._first = first


def _shares(size: int, patch: int) -> dict[int, Tensor]:
    """Weight of each patch at its voxels along an axis, by its first voxel; the weights of a voxel sum to one."""
    steps = (torch.arange(patch) - (patch - 1) / 2) / (BLEND_SIGMA * patch)
    bell = torch.exp(-(steps**2) / 2)
    total = torch.zeros(size)
    starts = starts_along(size, patch)
    for start in starts:
        total[start : start + patch] += bell
    return {start: bell / total[start : start + patch] for start in starts}
