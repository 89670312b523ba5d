"""The midsagittal plane of a pose.

Least squares over the midline landmarks, with axes that tell left, cranial and dorsal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from FetusMapV2Lib.anatomy.laterality import left_direction
from FetusMapV2Lib.anatomy.schema import Schema

#: Points whose second extent is below this share of their first count as collinear: they define no plane.
_COLLINEAR = 1e-3
#: The plane is shown this much larger than the landmarks it holds.
_MARGIN = 1.2


@dataclass(frozen=True, eq=False)
class Plane:
    """A bounded plane in RAS mm; ``cross(x_axis, y_axis) = normal``.

    Attributes:
        origin: (3,) middle of the bounded plane.
        normal: (3,) unit vector to the fetal left.
        x_axis: (3,) unit vector to the fetal back.
        y_axis: (3,) unit vector to the crown.
        residual_mm: root mean square distance of the landmarks from the plane.
        extent_mm: width (along x) and height (along y), a fifth larger than the landmarks need.
    """

    origin: np.ndarray
    normal: np.ndarray
    x_axis: np.ndarray
    y_axis: np.ndarray
    residual_mm: float
    extent_mm: tuple[float, float]

    @property
    def corners(self) -> np.ndarray:
        """(4, 3) RAS mm, around the extent."""
        x, y = self.x_axis * self.extent_mm[0] / 2, self.y_axis * self.extent_mm[1] / 2
        return np.array([self.origin - x - y, self.origin + x - y, self.origin + x + y, self.origin - x + y])

    def distances_mm(self, points: np.ndarray) -> np.ndarray:
        """Signed distances of (N, 3) points, positive on the fetal left."""
        distances: np.ndarray = (np.asarray(points, dtype=np.float64) - self.origin) @ self.normal
        return distances


@dataclass(frozen=True, eq=False)
class Axes:
    """Unit vectors (3,) of the fetus in RAS; ``cross(dorsal, cranial) = left``."""

    left: np.ndarray
    dorsal: np.ndarray
    cranial: np.ndarray


def fetal_axes(plane: Plane | None) -> Axes:
    """The axes of the midsagittal plane; those of the scanner if there is none."""
    if plane is None:
        return Axes(np.array([-1.0, 0, 0]), np.array([0, -1.0, 0]), np.array([0, 0, 1.0]))
    return Axes(plane.normal, plane.x_axis, plane.y_axis)


def midsagittal_plane(positions: np.ndarray, schema: Schema) -> Plane | None:
    """The least-squares plane through the midline landmarks.

    The normal points to the fetal left as Eq. 7 sees it in the head and the trunk; without either frame the
    names of the limbs decide, and without those the sign is arbitrary (its largest component is positive).

    Args:
        positions: (N, 3) RAS mm, NaN = missing.
        schema: of the landmarks.

    Returns:
        The plane, or None with fewer than three midline landmarks or with collinear ones.
    """
    positions = np.asarray(positions, dtype=np.float64)
    points = positions[list(schema.midsagittal_rows)]
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < 3:
        return None
    centre = points.mean(axis=0)
    _, singular, directions = np.linalg.svd(points - centre, full_matrices=False)
    if not singular[1] > _COLLINEAR * singular[0]:
        return None
    normal = _towards(directions[2], _left_hint(positions, schema))
    y_axis = _cranial(positions, schema, normal, directions[0])
    x_axis = np.cross(y_axis, normal)
    residual = float(np.sqrt(np.mean(((points - centre) @ normal) ** 2)))
    across, along = (points - centre) @ x_axis, (points - centre) @ y_axis
    origin = centre + x_axis * _middle(across) + y_axis * _middle(along)
    extent = (float(np.ptp(across)) * _MARGIN, float(np.ptp(along)) * _MARGIN)
    return Plane(origin, normal, x_axis, y_axis, residual, extent)


def same_plane(one: Plane | None, other: Plane | None) -> bool:
    """Whether two planes, or none, have the same place, axes and extent, to the last digit."""
    if one is None or other is None:
        return one is other
    arrays = ("origin", "normal", "x_axis", "y_axis", "extent_mm")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)


def nearest_on_segment(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The places (..., 3) of the way from `start` to `end` (3,) that are nearest to points (..., 3)."""
    way = end - start
    share = np.clip((points - start) @ way / (way @ way), 0.0, 1.0)
    nearest: np.ndarray = start + share[..., None] * way
    return nearest


def _left_hint(positions: np.ndarray, schema: Schema) -> np.ndarray:
    """A vector to the fetal left, zero if it is undetermined."""
    frames = (left_direction(positions, rows) for rows in (schema.head_frame_rows, schema.trunk_frame_rows))
    hint: np.ndarray = np.nansum([*frames, np.zeros(3)], axis=0)
    if not np.any(hint):
        across = [positions[left] - positions[right] for left, right in schema.pairs]
        hint = np.nansum([*across, np.zeros(3)], axis=0)
    return hint


def _cranial(positions: np.ndarray, schema: Schema, normal: np.ndarray, longest: np.ndarray) -> np.ndarray:
    """Unit vector in the plane from rump to crown, or along the spine, or else along the longest extent."""
    upper, _, lower = schema.trunk_frame_rows
    crown, rump = schema.crl_rows
    for head_end, tail_end in ((crown, rump), (upper, lower)):
        direction = positions[head_end] - positions[tail_end]
        direction = direction - (direction @ normal) * normal
        length = float(np.linalg.norm(direction))
        if length > 0:
            return np.asarray(direction / length)
    return _towards(longest, np.zeros(3))


def _towards(direction: np.ndarray, hint: np.ndarray) -> np.ndarray:
    """The direction with the sign that agrees with `hint`, or with its largest component positive."""
    agreement = float(direction @ hint)
    if agreement == 0:
        agreement = float(direction[np.argmax(np.abs(direction))])
    return direction if agreement > 0 else -direction


def _middle(values: np.ndarray) -> float:
    return float(values.min() + values.max()) / 2
