"""What a volume tells of the image of the crown-rump length: the field of view around it, and the grey at the chin."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import ConvexHull, QhullError

from FetusMapV2Lib.anatomy.crl_quality import CrlView
from FetusMapV2Lib.anatomy.planes import nearest_on_segment
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.imaging.volume import Volume

Array = NDArray[np.float64]

#: Along a line the grey is read this often, and averaged over the darkest stretch of this length.
_STEP_MM, _STRETCH_MM = 0.25, 1.0
#: Rows of voxels that the field of view is found from, at most, along each of two axes.
_ROWS = 128


def crl_view(volume: Volume, pose: Pose) -> CrlView:
    """Field of view and grey around the crown-rump line of a pose.

    The field of view is the convex hull of all voxels brighter than the darkest value: black around a sector is
    outside, fluid inside it is not. A slightly hollow border, as under a curved probe, counts as inside.

    Args:
        volume: that the pose was estimated in.
        pose: RAS mm.

    Returns:
        NaN for what a missing landmark, or a volume of one grey, does not tell.
    """
    crown, rump = (pose.positions[row] for row in pose.schema.crl_rows)
    borders = _borders(volume)
    way, grey = _chin_to_chest(volume, pose)
    if borders is None:
        return CrlView(chin_chest_mm=way, chin_chest_grey=grey)
    return CrlView(
        crown_inside_mm=_inside(borders, crown),
        rump_inside_mm=_inside(borders, rump),
        field_mm=_chord(borders, crown, rump),
        chin_chest_mm=way,
        chin_chest_grey=grey,
    )


def _borders(volume: Volume) -> Array | None:
    """(N, 4) planes around the field of view, RAS mm: outward unit normal and offset; None without a field."""
    steps = [max(1, size // _ROWS) for size in volume.shape[:2]]
    seen = volume.array[:: steps[0], :: steps[1]] > volume.array.min()
    rows = np.argwhere(seen.any(axis=2))
    if not len(rows):
        return None
    first = seen.argmax(axis=2)[tuple(rows.T)]
    last = seen.shape[2] - 1 - seen[:, :, ::-1].argmax(axis=2)[tuple(rows.T)]
    k, j = rows[:, 0] * steps[0], rows[:, 1] * steps[1]
    ends = np.concatenate([np.stack([i, j, k], axis=1) for i in (first - 0.5, last + 0.5)])
    points = ends @ volume.ijk_to_ras[:3, :3].T + volume.ijk_to_ras[:3, 3]
    try:
        return np.asarray(ConvexHull(points).equations)
    except QhullError:  # all in one plane
        return None


def _inside(borders: Array, point: Array) -> float:
    return float(-(borders[:, :3] @ point + borders[:, 3]).max())


def _chord(borders: Array, start: Array, end: Array) -> float:
    """Length of the line through two points inside the field of view; 0 if it misses the field."""
    direction = end - start
    length = float(np.linalg.norm(direction))
    if not length > 0:
        return math.nan
    slope, height = borders[:, :3] @ (direction / length), borders[:, :3] @ start + borders[:, 3]
    leaves, enters = slope > 1e-9, slope < -1e-9
    crossings = -height / np.where(leaves | enters, slope, 1.0)
    return max(0.0, float(crossings[leaves].min() - crossings[enters].max()))


def _chin_to_chest(volume: Volume, pose: Pose) -> tuple[float, float]:
    """Length of the way from the chin to the chest line, and its darkest grey as a share of the trunk's median."""
    upper, belly, lower = (pose.positions[row] for row in pose.schema.trunk_frame_rows)
    chin, line = pose.positions[pose.schema.face_rows[1]], belly - upper
    if not np.isfinite(np.stack([chin, upper, belly, lower])).all() or not (line @ line) > 0:
        return math.nan, math.nan
    nearest = nearest_on_segment(chin, upper, belly)
    trunk = np.concatenate([_greys(volume, upper, belly), _greys(volume, upper, lower)])
    profile, middle = _greys(volume, chin, nearest), float(np.median(trunk))
    count = min(len(profile), round(_STRETCH_MM / _STEP_MM))
    darkest = float(np.convolve(profile, np.full(count, 1 / count), mode="valid").min())
    return float(np.linalg.norm(nearest - chin)), darkest / middle if middle > 0 else math.nan


def _greys(volume: Volume, start: Array, end: Array) -> Array:
    """Grey values along a line, interpolated between voxels, above the darkest of the volume."""
    count = max(2, math.ceil(float(np.linalg.norm(end - start)) / _STEP_MM))
    points = np.linspace(start, end, count)
    voxels = points @ volume.ras_to_ijk[:3, :3].T + volume.ras_to_ijk[:3, 3]
    values = map_coordinates(volume.array, voxels[:, ::-1].T, output=np.float64, order=1, mode="nearest")
    return np.asarray(values - float(volume.array.min()))
