"""`Volume`: a grey image in space, and `VolumeSequence`: several of them over time.

The array is indexed [k, j, i]; a 4x4 matrix takes voxel indices (i, j, k) to RAS millimetres.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

#: LPS (SimpleITK, DICOM) to RAS and back.
LPS_TO_RAS: Matrix = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Volume:
    """One 3D ultrasound volume.

    Attributes:
        array: grey values, shape [k, j, i]; uint8, int16, uint16 or float32.
        ijk_to_ras: 4x4, voxel index (i, j, k, 1) to RAS mm; columns may be oblique, left-handed or sheared.
        name: short name for files and nodes.
        source: where it came from, for messages ("" if made in memory).
        warnings: what a user should know about it, one line each.

    Examples:
        >>> volume = fm.Volume(np.zeros((60, 50, 40), np.uint8), np.diag([0.5, 0.5, 1.0, 1.0]))
        >>> volume.spacing, volume.extent_mm
        ((0.5, 0.5, 1.0), (20.0, 25.0, 60.0))
    """

    array: NDArray[Any]
    ijk_to_ras: Matrix
    name: str = "volume"
    source: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Array shape (k, j, i)."""
        k, j, i = self.array.shape
        return k, j, i

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along i, j, k in mm."""
        i, j, k = np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Size of the whole box along i, j, k in mm (voxel edges included)."""
        k, j, i = self.shape
        a, b, c = self.spacing
        return i * a, j * b, k * c

    @property
    def ras_to_ijk(self) -> Matrix:
        """4x4, RAS mm to voxel index (i, j, k)."""
        return np.asarray(np.linalg.inv(self.ijk_to_ras), dtype=np.float64)

    @property
    def is_left_handed(self) -> bool:
        """Whether the index axes form a left-handed frame (handled exactly everywhere)."""
        return bool(np.linalg.det(self.ijk_to_ras[:3, :3]) < 0)

    @property
    def centre_ras(self) -> NDArray[np.float64]:
        """Centre of the box, (3,) RAS mm."""
        k, j, i = self.shape
        centre = self.ijk_to_ras @ np.array([(i - 1) / 2, (j - 1) / 2, (k - 1) / 2, 1.0])
        return np.asarray(centre[:3])

    @property
    def has_one_grey(self) -> bool:
        """Whether all voxels have the same grey value; looks no further than the first slice that has another one."""
        return all(bool((part == self.array[0, 0, 0]).all()) for part in self.array)

    def with_(self, **changes: Any) -> Volume:
        """A copy with some attributes replaced; the array is shared unless replaced."""
        return replace(self, **changes)

    def mirrored(self) -> Volume:
        """The mirror image: the world is reflected in R about the centre of the box; the array is shared.

        For devices or readers that deliver mirrored volumes. Mirroring twice gives the volume back, and a point
        p found in the mirror image lies at (2 * centre_R - p_R, p_A, p_S) of the original.
        """
        reflection = np.diag([-1.0, 1.0, 1.0, 1.0])
        reflection[0, 3] = 2.0 * self.centre_ras[0]
        return self.with_(ijk_to_ras=reflection @ self.ijk_to_ras)

    def with_spacing(self, spacing: float | tuple[float, float, float]) -> Volume:
        """The same voxels with another voxel size (mm; one number or i, j, k); the first voxel stays in place."""
        wanted = np.broadcast_to(np.asarray(spacing, dtype=float), 3)
        matrix = self.ijk_to_ras.copy()
        matrix[:3, :3] *= wanted / np.asarray(self.spacing)
        return self.with_(ijk_to_ras=matrix)


class VolumeSequence(Sequence[Volume]):
    """Volumes over time, read one at a time; a subclass has `__len__` and `_read`."""

    @overload
    def __getitem__(self, index: int) -> Volume: ...
    @overload
    def __getitem__(self, index: slice) -> list[Volume]: ...
    def __getitem__(self, index: int | slice) -> Volume | list[Volume]:
        if isinstance(index, slice):
            return [self._read(number) for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        return self._read(number)

    @abstractmethod
    def _read(self, number: int) -> Volume:
        """One volume; `number` counts from 0 and is below the length."""


def ijk_to_ras_matrix(
    spacing: tuple[float, float, float] | float = 1.0,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    directions: NDArray[Any] | None = None,
) -> Matrix:
    """A 4x4 IJK-to-RAS matrix from voxel size (i, j, k; mm), RAS of the first voxel, and directions.

    `directions` is (3, 3), its columns the RAS unit directions of i, j, k; identity if not given.
    """
    matrix = np.eye(4)
    columns = np.eye(3) if directions is None else np.asarray(directions, dtype=float)
    matrix[:3, :3] = columns * np.broadcast_to(np.asarray(spacing, dtype=float), 3)
    matrix[:3, 3] = origin
    return matrix
