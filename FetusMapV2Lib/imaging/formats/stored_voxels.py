"""`Stored`: what a header says about its voxels and where they are, alike for NRRD, MetaImage and NIfTI.

The notes that these formats share are worded here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging import geometry
from FetusMapV2Lib.imaging.formats.packed_voxels import Packing, Part
from FetusMapV2Lib.imaging.volume import Matrix
from FetusMapV2Lib.imaging.volume_checks import check_matrix, check_shape

#: No volume that is read whole has more voxels: 24 times those of a large ultrasound volume.
_MOST_VOXELS, _MOST_FRAMES = 1 << 30, 1 << 20

NO_ORIENTATION = (
    "the file does not state how its axes lie in space; a volume that is not mirrored was assumed: check left and right"
)
NO_POSITION = "the file does not state its position; its first voxel was placed at 0, 0, 0"


@dataclass(frozen=True)
class Stored:
    """A volume, or volumes over time, as a header describes them.

    Attributes:
        path: the file with the header, for messages.
        kind: type of one value, with its byte order.
        sizes: of all axes, the fastest first; those of 1 that are no axis of space are left out.
        other: axis of the frames or colours among them, None if there is none; the others are i, j, k.
        colour: whether that axis holds red, green, blue (and alpha).
        matrix: 4x4, IJK to RAS mm.
        parts: the files that hold the values, equally many each, one after another.
        packing: how they are packed.
        spacing_known: whether a voxel size is stated.
        notes: what the user should know about the header.
        times_s: when each frame was taken, seconds, increasing; None if not stated.
        scale: slope and intercept that give grey values, None if the values are the grey values.
    """

    path: Path
    kind: np.dtype[Any]
    sizes: tuple[int, ...]
    other: int | None
    colour: bool
    matrix: Matrix
    parts: tuple[Part, ...]
    packing: Packing
    spacing_known: bool = True
    notes: tuple[str, ...] = ()
    times_s: tuple[float, ...] | None = None
    scale: tuple[float, float] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (k, j, i) of one volume."""
        i, j, k = (size for axis, size in enumerate(self.sizes) if axis != self.other)
        return k, j, i

    @property
    def count(self) -> int:
        """Number of volumes over time."""
        return 1 if self.other is None or self.colour else self.sizes[self.other]

    @property
    def is_consecutive(self) -> bool:
        """Whether the volumes are stored one after another."""
        return self.count > 1 and self.other == len(self.sizes) - 1


def check_sizes(sizes: tuple[int, ...], other: int | None, path: Path) -> None:
    """Raise `InputError` unless the axes are those of a volume, or of volumes over time, that fits into memory."""
    space = tuple(size for axis, size in enumerate(sizes) if axis != other)
    if any(size < 1 for size in sizes):
        raise InputError(f"impossible sizes ({_sizes(sizes)})", where=path, remedy="Export or copy the file again")
    if len(space) > 3:
        raise InputError(f"this is a {len(sizes)}D image, not a 3D volume", where=path, remedy="Export one 3D volume")
    check_shape(space[::-1], str(path))
    at_once = space if other == len(sizes) - 1 else sizes
    if math.prod(at_once) > _MOST_VOXELS or (other is not None and sizes[other] > _MOST_FRAMES):
        raise InputError(
            f"the volume is larger than any that can be read ({_sizes(sizes)} voxels)", where=path,
            remedy="Export it with fewer voxels",
        )  # fmt: skip


def _sizes(sizes: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in sizes)


def placed(
    directions: NDArray[np.float64], spacing: NDArray[np.float64], origin: Any, path: Path
) -> tuple[Matrix, list[str]]:
    """The matrix of a volume from the unit directions of its axes (columns), voxel sizes and first voxel.

    Returns:
        4x4 in the frame of the directions, and warnings where the directions had to be corrected.

    Raises:
        InputError: no numbers, singular, or not at right angles.
    """
    matrix = np.eye(4)
    matrix[:3, 3] = geometry.position(origin, path)
    matrix[:3, :3] = directions * geometry.spacing(spacing, path)
    check_matrix(matrix, str(path))
    right, notes = geometry.orientation(directions, path)
    if notes:
        matrix[:3, :3] = right * spacing
    return matrix, notes


def number_of_bytes(stored: Stored) -> int:
    """Bytes of all values."""
    return math.prod(stored.sizes) * stored.kind.itemsize
