"""Grey values of a volume at points in space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from FetusMapV2Lib.imaging.volume import Volume

Array = NDArray[np.float64]


def greys_at(volume: Volume, points_ras: Array) -> Array:
    """Grey values at RAS points (..., 3), interpolated between voxels; NaN outside the volume."""
    matrix = volume.ras_to_ijk
    voxels = points_ras @ matrix[:3, :3].T + matrix[:3, 3]
    inside = ((voxels >= -0.5) & (voxels <= np.array(volume.shape[::-1]) - 0.5)).all(axis=-1)
    places = np.moveaxis(voxels[..., ::-1], -1, 0)
    greys = map_coordinates(volume.array, places, output=np.float64, order=1, mode="nearest")
    return np.where(inside, greys, np.nan)
