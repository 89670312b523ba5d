"""`Grid`: the isotropic, right-handed box of samples that a network sees, and sampling a volume on it.

A grid is chosen in world space, so how a file orders and flips its axes changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from FetusMapV2Lib.imaging.blocks import block_mean
from FetusMapV2Lib.imaging.volume import Matrix, Volume

Shape = tuple[int, int, int]
#: Sums of a volume's grey values along its axes k, j and i: (K,), (J,) and (I,).
Profiles = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]

# Axes whose lengths or intensities differ by less than this fraction count as equal.
_TIE = 1e-6


@dataclass(frozen=True, eq=False)
class Grid:
    """An isotropic sampling grid.

    Attributes:
        shape: samples (k, j, i).
        grid_to_ras: 4x4, grid index (i, j, k, 1) to RAS mm: a proper rotation times one spacing.
    """

    shape: Shape
    grid_to_ras: Matrix

    @property
    def spacing_mm(self) -> float:
        """Distance between neighbouring samples in mm."""
        return float(np.linalg.norm(self.grid_to_ras[:3, 0]))

    @property
    def ras_to_grid(self) -> Matrix:
        """4x4, RAS mm to grid index (i, j, k)."""
        return np.asarray(np.linalg.inv(self.grid_to_ras), dtype=np.float64)

    @property
    def axes(self) -> NDArray[np.float64]:
        """(3, 3) rotation whose columns are the RAS directions of i, j, k."""
        return np.asarray(self.grid_to_ras[:3, :3] / self.spacing_mm)

    @property
    def centre_ras(self) -> NDArray[np.float64]:
        """Centre of the grid, (3,) RAS mm."""
        k, j, i = self.shape
        return np.asarray(self.to_world(np.array([[(i - 1) / 2, (j - 1) / 2, (k - 1) / 2]]))[0])

    def to_world(self, points_ijk: NDArray[Any]) -> NDArray[np.float64]:
        """(..., 3) grid indices (i, j, k) to RAS mm; NaN stays NaN."""
        points = np.asarray(points_ijk, dtype=np.float64)
        return np.asarray(points @ self.grid_to_ras[:3, :3].T + self.grid_to_ras[:3, 3])

    def to_voxel(self, points_ras: NDArray[Any]) -> NDArray[np.float64]:
        """(..., 3) RAS mm to grid indices (i, j, k); NaN stays NaN."""
        inverse = self.ras_to_grid
        return np.asarray(np.asarray(points_ras, dtype=np.float64) @ inverse[:3, :3].T + inverse[:3, 3])

    def rotated(self, rotation: NDArray[Any]) -> Grid:
        """The grid turned about its centre by a (3, 3) rotation given in RAS; shape and spacing stay."""
        return Grid.around(self.centre_ras, np.asarray(rotation) @ self.axes, self.spacing_mm, self.shape)

    @classmethod
    def around(cls, centre_ras: NDArray[Any], axes: NDArray[Any], spacing_mm: float, shape: Shape) -> Grid:
        """The grid with this centre.

        Args:
            centre_ras: (3,) RAS mm.
            axes: (3, 3), columns are the RAS directions of i, j, k; a proper rotation.
            spacing_mm: sample distance.
            shape: samples (k, j, i).

        Raises:
            ValueError: `axes` is not a proper rotation.
        """
        directions = np.asarray(axes, dtype=np.float64)
        if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-5) or np.linalg.det(directions) < 0:
            raise ValueError("the axes of a grid must be a proper rotation")
        k, j, i = shape
        matrix = np.eye(4)
        matrix[:3, :3] = directions * float(spacing_mm)
        middle = np.array([(i - 1) / 2, (j - 1) / 2, (k - 1) / 2])
        matrix[:3, 3] = np.asarray(centre_ras, dtype=np.float64) - matrix[:3, :3] @ middle
        return cls((int(k), int(j), int(i)), matrix)

    @classmethod
    def fit(cls, volume: Volume, input_size: Shape, profiles: Profiles | None = None) -> Grid:
        """The grid of `input_size` (k, j, i; longest first) that holds the whole volume, centred.

        Axes: longest physical extent on k, next on j. Signs: k and j point to the side of the box that holds
        more intensity; i completes a right-handed frame. All of it is read off the volume in world space, so
        that index permutations and flips give the same grid, and turning the volume turns the grid.

        Args:
            volume: of any size.
            input_size: samples (k, j, i).
            profiles: of the volume, where they are known already.
        """
        directions, extents = _directions(volume, profiles)
        spacing = max(extent / size for extent, size in zip(extents, input_size, strict=True))
        return cls.around(volume.centre_ras, directions, spacing, input_size)

    @classmethod
    def covering(cls, volume: Volume, spacing_mm: float, smallest: Shape, profiles: Profiles | None = None) -> Grid:
        """The grid of a given spacing that holds the whole volume, centred; its axes are those of `fit`.

        Args:
            volume: of any size.
            spacing_mm: sample distance.
            smallest: (k, j, i) samples that the grid has at least; what lies beyond the volume is padding.
            profiles: see `fit`.
        """
        directions, extents = _directions(volume, profiles)
        k, j, i = (
            max(least, math.ceil(extent / spacing_mm - _TIE)) for extent, least in zip(extents, smallest, strict=True)
        )
        return cls.around(volume.centre_ras, directions, spacing_mm, (k, j, i))


def _directions(volume: Volume, profiles: Profiles | None) -> tuple[NDArray[np.float64], tuple[float, ...]]:
    """Axes of a grid for this volume (see `Grid.fit`), and the volume's extents in mm along k, j, i."""
    axes, extents = _box(volume)
    along = axes.T @ _intensity_offset(volume, profiles or intensity_profiles(volume.array))
    order = _order_of_axes(axes, extents, along)
    k_axis, j_axis = (_signed(axes[:, a], along[a], extents[a]) for a in order[:2])
    directions = np.stack([np.cross(j_axis, k_axis), j_axis, k_axis], axis=1)
    return directions, tuple(float(extents[a]) for a in order)


def _box(volume: Volume) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Orthonormal axes nearest to the index axes (columns), and the extent of the box along each, mm."""
    steps = volume.ijk_to_ras[:3, :3]
    left, _, right = np.linalg.svd(steps / np.linalg.norm(steps, axis=0))
    axes = left @ right
    extents = np.abs(axes.T @ steps) @ np.array(volume.shape[::-1], dtype=np.float64)
    return axes, extents


def intensity_profiles(array: NDArray[Any]) -> Profiles:
    """Sums of grey values along the axes of an array, exact for integers."""
    total = np.uint64 if array.dtype.kind == "u" else np.int64 if array.dtype.kind == "i" else np.float64
    plane = array.sum(axis=0, dtype=np.uint32 if array.dtype == np.uint8 else total)
    along_k = np.array([layer.sum(dtype=total) for layer in array])
    return along_k, plane.sum(axis=1, dtype=total), plane.sum(axis=0, dtype=total)


def _intensity_offset(volume: Volume, profiles: Profiles) -> NDArray[np.float64]:
    """Centroid of the grey values minus the centre of the box, (3,) mm in RAS."""
    offset = np.zeros(3)
    for axis, profile in enumerate(reversed(profiles)):
        weights = profile.astype(np.float64)
        mass = weights.sum()
        if abs(mass) > 0:
            positions = np.arange(len(weights)) - (len(weights) - 1) / 2
            offset[axis] = float(weights @ positions) / mass
    return np.asarray(volume.ijk_to_ras[:3, :3] @ offset)


def _order_of_axes(
    axes: NDArray[np.float64], extents: NDArray[np.float64], along: NDArray[np.float64]
) -> tuple[int, int, int]:
    """Axes by decreasing extent; equal ones by how far off-centre the intensity lies, then by direction."""
    unit = _TIE * float(extents.max())

    def rank(axis: int) -> tuple[float, ...]:
        direction = np.abs(axes[:, axis])
        keys = (extents[axis] / unit, abs(along[axis]) / unit, *(direction / _TIE))
        return tuple(-float(np.round(key)) for key in keys)

    first, second, third = sorted(range(3), key=rank)
    return first, second, third


def _signed(axis: NDArray[np.float64], along: float, extent: float) -> NDArray[np.float64]:
    """`axis` turned towards the intensity; to its dominant world component if the intensity is central."""
    if abs(along) <= _TIE * extent:
        along = axis[int(np.argmax(np.round(np.abs(axis) / _TIE)))]
    return axis if along > 0 else -axis


@dataclass(frozen=True, eq=False)
class Sampling:
    """How a volume is read on a grid: turn the array, cut a box out, average blocks, interpolate between them.

    Attributes:
        axes: axes of the volume's array that become k, j and i, so that they run along the grid's axes.
        flipped: which of them run backwards, after the turn.
        box: the voxels that are needed, after turn and flips.
        factors: (k, j, i) voxels of a block.
        to_block: (3, 4) from grid voxels (i, j, k) to blocks (i, j, k) of the box.
    """

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    box: tuple[slice, slice, slice]
    factors: tuple[int, int, int]
    to_block: Matrix

    @property
    def misses(self) -> bool:
        """Whether the grid lies outside the volume."""
        return any(part.start >= part.stop for part in self.box)


def sampling_of(volume: Volume, grid: Grid) -> Sampling:
    """How to read a volume on a grid.

    Where the grid is coarser than the voxels, blocks of voxels are averaged first (a box filter about as wide as
    the grid spacing). The result does not depend on the order and direction of the index axes.
    """
    axes, flipped, ijk_to_ras = _turn(volume, grid)
    to_index = np.linalg.inv(ijk_to_ras) @ grid.grid_to_ras
    spacing = np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    # Round half down, whatever the last bit of the matrix is.
    factors = [max(1, math.floor(grid.spacing_mm / size + 0.5 - _TIE)) for size in spacing]
    turned = tuple(volume.shape[axis] for axis in axes)
    start, stop = _needed_box(to_index, grid.shape, turned, factors)
    # The centre of a block of f voxels lies at (f - 1) / 2 of the first one.
    to_block = np.eye(4)
    for axis, (factor, first) in enumerate(zip(factors, start, strict=True)):
        to_block[axis, axis] = 1.0 / factor
        to_block[axis, 3] = -(first + (factor - 1) / 2) / factor
    box = (slice(start[2], stop[2]), slice(start[1], stop[1]), slice(start[0], stop[0]))
    return Sampling(axes, flipped, box, (factors[2], factors[1], factors[0]), (to_block @ to_index)[:3])


def resample(volume: Volume, grid: Grid, *, fill: float = 0.0) -> NDArray[np.float32]:
    """Sample a volume on a grid: trilinear, anti-aliased, `fill` outside the volume (see `sampling_of`).

    Returns:
        float32, shape grid.shape [k, j, i].
    """
    sampling = sampling_of(volume, grid)
    if sampling.misses:
        return np.full(grid.shape, fill, dtype=np.float32)
    turned = volume.array.transpose(sampling.axes)
    part = turned[tuple(slice(None, None, -1 if flip else 1) for flip in sampling.flipped)][sampling.box]
    if max(sampling.factors) > 1:
        part = block_mean(part, sampling.factors, fill=fill)
    # From (i, j, k) order to array order.
    linear, shift = sampling.to_block[::-1, 2::-1], sampling.to_block[::-1, 3]
    return np.asarray(
        ndimage.affine_transform(
            part, linear, offset=shift, output_shape=grid.shape, output=np.float32, order=1,
            mode="grid-constant", cval=fill,
        )
    )  # fmt: skip


def _turn(volume: Volume, grid: Grid) -> tuple[tuple[int, int, int], tuple[bool, bool, bool], Matrix]:
    """The axes in the order of the grid's, as nearly as possible, which of them run backwards, and the matrix."""
    steps = volume.ijk_to_ras[:3, :3]
    cosines = grid.axes.T @ (steps / np.linalg.norm(steps, axis=0))
    order, signs = _best_permutation(cosines)
    # order[a] is the volume axis (i, j, k) that runs along grid axis a.
    matrix = np.eye(4)
    matrix[:3, 3] = volume.ijk_to_ras[:3, 3]
    for a in range(3):
        step = steps[:, order[a]]
        matrix[:3, a] = step * signs[a]
        if signs[a] < 0:
            matrix[:3, 3] += step * (volume.shape[2 - order[a]] - 1)
    axes = (2 - order[2], 2 - order[1], 2 - order[0])
    return axes, (signs[2] < 0, signs[1] < 0, signs[0] < 0), matrix


def _best_permutation(cosines: NDArray[np.float64]) -> tuple[list[int], list[int]]:
    """For each row the column it agrees with best, one to one, and the sign of the agreement."""
    order = [-1, -1, -1]
    size = np.abs(cosines)
    for _ in range(3):
        row, column = np.unravel_index(int(np.argmax(size)), (3, 3))
        order[row] = int(column)
        size[row, :] = size[:, column] = -1.0
    return order, [1 if cosines[a, order[a]] >= 0 else -1 for a in range(3)]


def _needed_box(
    to_index: Matrix, shape: Shape, available: tuple[int, ...], factors: list[int]
) -> tuple[list[int], list[int]]:
    """First and last + 1 index (i, j, k) of the voxels that the grid touches, the first on a block border."""
    k, j, i = shape
    corners = np.array([[x, y, z, 1.0] for x in (0, i - 1) for y in (0, j - 1) for z in (0, k - 1)])
    corners = corners @ to_index[:3].T
    start, stop = [], []
    for axis, factor in enumerate(factors):
        low = math.floor(corners[:, axis].min()) - 2 * factor
        high = math.ceil(corners[:, axis].max()) + 2 * factor + 1
        start.append(max(0, low) // factor * factor)
        stop.append(min(available[2 - axis], high + (-high) % factor))
    return start, stop
