"""A 3D viewpoint from which landmarks overlap least."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.fetal_slices import middle_along
from FetusMapV2Lib.anatomy.planes import Axes

Array = NDArray[np.float64]

#: Angles of the 3D viewpoint from straight in front of the fetus, degrees (positive = from its left).
_AZIMUTHS = (25, 35, 45, 55, 65, -25, -35, -45, -55, -65)


@dataclass(frozen=True, eq=False)
class Viewpoint:
    """A parallel projection: title, centre (RAS mm), direction of view, up, millimetres from top to bottom."""

    title: str
    centre: Array
    towards: Array
    up: Array
    height_mm: float


def best_viewpoint(positions: Array, axes: Axes, size: tuple[int, int], label_width: int) -> Viewpoint:
    """The viewpoint obliquely from the front at which neighbouring landmarks are farthest apart.

    Args:
        positions: (N, 3) RAS mm, NaN = missing.
        size: width and height of the picture in pixels.
        label_width: pixels to keep free on either side.
        axes: of the fetus.
    """
    present = positions[np.isfinite(positions).all(axis=1)]
    centre = middle_along(present, axes)
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
