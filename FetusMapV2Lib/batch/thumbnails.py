"""A small picture of a case for the summary page: the midsagittal slice with its landmarks, or the volume's middle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from FetusMapV2Lib.anatomy.planes import fetal_axes
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.atomic_files import atomic_write
from FetusMapV2Lib.imaging.grid import Grid, resample
from FetusMapV2Lib.imaging.volume import Volume

#: Pixels a side.
SIZE = 128
_MARGIN = 1.25
_DOT = 2
_BRIGHT_PERCENTILE = 99.5


def write_thumbnail(path: Path, volume: Volume, pose: Pose, *, private: bool = True) -> None:
    """Write a square PNG; the cranial end is up.

    Raises:
        OutputError: it cannot be written.
    """
    image = thumbnail(volume, pose)
    with atomic_write(path, private=private) as temporary:
        sitk.WriteImage(sitk.GetImageFromArray(image, isVector=True), str(temporary), useCompression=True)


def thumbnail(volume: Volume, pose: Pose) -> np.ndarray:
    """The picture as (SIZE, SIZE, 3) bytes, first row on top."""
    grid = _grid(volume, pose)
    slice_ = resample(volume, grid)[:, 0, :]
    top = max(float(np.percentile(slice_, _BRIGHT_PERCENTILE)), 1e-6)
    grey = np.round(255 * np.clip(slice_ / top, 0, 1)).astype(np.uint8)
    image = np.repeat(grey[::-1, :, None], 3, axis=2)
    for landmark in pose.schema.landmarks:
        if pose.present[landmark.row]:
            i, _, k = grid.to_voxel(pose.positions[landmark.row])
            _dot(image, SIZE - 1 - round(k), round(i), landmark.colour)
    return np.ascontiguousarray(image)


def _grid(volume: Volume, pose: Pose) -> Grid:
    """A sheet of voxels in the midsagittal plane: from dorsal to ventral, from caudal to cranial."""
    points = pose.positions[pose.present]
    plane = pose.midsagittal_plane
    if plane is None or len(points) < 3:
        extent = max(volume.extent_mm)
        return Grid.around(volume.centre_ras, np.eye(3), extent / SIZE, (SIZE, 1, SIZE))
    axes = fetal_axes(plane)
    rows = np.stack([-axes.dorsal, axes.left, axes.cranial], axis=1)
    local = points @ rows
    middle, extent = (local.min(axis=0) + local.max(axis=0)) / 2, np.ptp(local, axis=0).max() * _MARGIN
    middle[1] = plane.origin @ rows[:, 1]
    return Grid.around(rows @ middle, rows, extent / SIZE, (SIZE, 1, SIZE))


def _dot(image: np.ndarray, row: int, column: int, colour: tuple[float, float, float]) -> None:
    top, left = max(row - _DOT // 2, 0), max(column - _DOT // 2, 0)
    image[top : top + _DOT, left : left + _DOT] = np.round(255 * np.asarray(colour))
