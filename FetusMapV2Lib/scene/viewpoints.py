"""A 3D viewpoint from which landmarks overlap least, and three slices along the fetal axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.planes import Axes, Plane
from FetusMapV2Lib.anatomy.schema import Schema

Array = NDArray[np.float64]

#: Angles of the 3D viewpoint from straight in front of the fetus, degrees (positive = from its left).
_AZIMUTHS = (25, 35, 45, 55, 65, -25, -35, -45, -55, -65)


@dataclass(frozen=True, eq=False)
class SlicePose:
    """A slice: title, centre (RAS mm), the unit vectors to the right and up on the screen, its height in mm."""

    title: str
    centre: Array
    right: Array
    up: Array
    height_mm: float


@dataclass(frozen=True, eq=False)
class Viewpoint:
    """A parallel projection: title, centre (RAS mm), direction of view, up, millimetres from top to bottom."""

    title: str
    centre: Array
    towards: Array
    up: Array
    height_mm: float


def slice_poses(positions: Array, axes: Axes, plane: Plane | None, schema: Schema, aspect: float) -> list[SlicePose]:
    """Midsagittal, coronal and transverse slice, all at one scale that shows the whole fetus.

    Args:
        positions: (N, 3) RAS mm, NaN = missing.
        axes: of the fetus.
        plane: the midsagittal plane, if there is one.
        schema: of the landmarks.
        aspect: width over height of the panels.
    """
    present = positions[np.isfinite(positions).all(axis=1)]
    middle = _box_middle(present, axes)
    extents = [float(np.ptp(present @ axis)) for axis in (axes.left, axes.dorsal, axes.cranial)]
    height = max(1.45 * extents[2], 1.3 * max(extents[:2]) / aspect, 30.0)
    centre = middle if plane is None else middle + axes.left * float((plane.origin - middle) @ axes.left)
    limbs = _mean(positions, [row for pair in schema.pairs for row in pair if _is_root(schema, row)], centre)
    cord_row = schema.trunk_frame_rows[1]
    cord = _mean(positions, [cord_row], centre)
    coronal = centre + axes.dorsal * float((limbs - centre) @ axes.dorsal)
    transverse = centre + axes.cranial * float((cord - centre) @ axes.cranial)
    cord_title = "Transverse, at the cord insertion" if np.isfinite(positions[cord_row]).all() else "Transverse"
    return [
        SlicePose("Midsagittal" if plane is not None else "Sagittal", centre, -axes.dorsal, axes.cranial, height),
        SlicePose("Coronal, through shoulders and hips", coronal, axes.left, axes.cranial, height),
        SlicePose(cord_title, transverse, axes.left, -axes.dorsal, height),
    ]


def best_viewpoint(positions: Array, axes: Axes, size: tuple[int, int], label_width: int) -> Viewpoint:
    """The viewpoint obliquely from the front at which neighbouring landmarks are farthest apart.

    Args:
        positions: (N, 3) RAS mm, NaN = missing.
        size: width and height of the picture in pixels.
        label_width: pixels to keep free on either side.
        axes: of the fetus.
    """
    present = positions[np.isfinite(positions).all(axis=1)]
    centre = _box_middle(present, axes)
    best = max(_AZIMUTHS, key=lambda azimuth: _separation((present - centre) @ _screen(axes, azimuth).T))
    right, up, towards = (*_screen(axes, best), _direction(axes, best))
    flat = (present - centre) @ np.stack([right, up]).T
    spans = np.ptp(flat, axis=0)
    width, height = size
    shift = (flat.max(axis=0) + flat.min(axis=0)) / 2
    drawing = max(width - 2 * label_width, width // 4)
    height_mm = max(1.15 * float(spans[1]), 1.1 * float(spans[0]) * height / drawing, 20.0)
    side = "left" if best > 0 else "right"
    return Viewpoint(
        f"Skeleton, seen from the front and the fetal {side}",
        centre + shift[0] * right + shift[1] * up,
        towards,
        up,
        height_mm,
    )


def _direction(axes: Axes, azimuth: float) -> Array:
    """Direction of view for a camera in front of the fetus, turned by `azimuth` degrees towards its left."""
    angle = math.radians(azimuth)
    return axes.dorsal * math.cos(angle) - axes.left * math.sin(angle)


def _screen(axes: Axes, azimuth: float) -> Array:
    """(2, 3) unit vectors to the right and up on the screen."""
    return np.stack([np.cross(_direction(axes, azimuth), axes.cranial), axes.cranial])


def _separation(flat: Array) -> float:
    """Mean distance to the nearest neighbour, (N, 2) points; the closest pair counts as much as all."""
    if len(flat) < 2:
        return 0.0
    distance = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest = distance.min(axis=1)
    return float(nearest.mean() + nearest.min())


def _box_middle(points: Array, axes: Axes) -> Array:
    """Middle of the box around the points along the fetal axes."""
    frame = np.stack([axes.left, axes.dorsal, axes.cranial])
    along = points @ frame.T
    return np.asarray((along.max(axis=0) + along.min(axis=0)) / 2 @ frame)


def _is_root(schema: Schema, row: int) -> bool:
    """Whether a landmark is the first of its limb: a shoulder or a hip."""
    return schema.rows(schema.landmarks[row].group)[0] == row


def _mean(positions: Array, rows: list[int], default: Array) -> Array:
    points = positions[rows]
    points = points[np.isfinite(points).all(axis=1)]
    return points.mean(axis=0) if len(points) else default
