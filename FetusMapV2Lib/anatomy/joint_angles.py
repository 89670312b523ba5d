"""Joint angles of a pose or of many: elbows, knees, shoulders, hips and the neck, with their uncertainty.

Angles do not depend on where the body lies or how it is turned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from FetusMapV2Lib.anatomy.biometry import Z90, neck_flexions_deg
from FetusMapV2Lib.anatomy.laterality import RADIUS90_IN_SD
from FetusMapV2Lib.anatomy.schema import Schema

#: Each limb group with the limb on the same side at the other end of the trunk.
_OTHER_END = {"la": "ll", "ra": "rl", "ll": "la", "rl": "ra"}
#: Step of the numerical derivatives of angles, mm.
_STEP_MM = 1e-3


@dataclass(frozen=True)
class JointAngle:
    """One angle.

    Attributes:
        key: such as ``left_elbow_flexion``.
        name: for people.
        group: the schema's group that it belongs to (``la``, ``ra``, ``ll``, ``rl``, or ``ht`` for the neck).
        definition: how it is measured, and where its zero is.
        rows: the landmarks that it depends on.
    """

    key: str
    name: str
    group: str
    definition: str
    rows: tuple[int, ...]


_Measured = tuple[JointAngle, Callable[[np.ndarray], np.ndarray]]


def angle_list(schema: Schema) -> tuple[JointAngle, ...]:
    """The angles in the order of the columns of `joint_angles`: neck, then each limb from the trunk outwards."""
    return tuple(angle for angle, _ in _measured(schema))


def joint_angles(positions: np.ndarray, schema: Schema) -> np.ndarray:
    """All angles of poses, in degrees.

    Args:
        positions: (..., N, 3) mm in any frame of reference, NaN = missing.
        schema: of the landmarks.

    Returns:
        (..., A), in the order of `angle_list`; NaN where a landmark is missing.
    """
    points = np.asarray(positions, dtype=np.float64)
    return np.stack([measure(points) for _, measure in _measured(schema)], axis=-1)


def angle_uncertainty(positions: np.ndarray, radius90_mm: np.ndarray, schema: Schema) -> np.ndarray:
    """Half-widths of the 90 % intervals of all angles, in degrees.

    Landmark errors are taken as independent isotropic Gaussians with the given 90 % radii and propagated to first
    order; a half-width is 1.645 standard deviations, and never more than the 180 degrees that say nothing.

    Args:
        positions: (..., N, 3) mm.
        radius90_mm: (..., N) 90 % radii in mm.
        schema: of the landmarks.

    Returns:
        (..., A); NaN where an angle or one of its radii is unknown.
    """
    points = np.asarray(positions, dtype=np.float64)
    spread = np.asarray(radius90_mm, dtype=np.float64) / RADIUS90_IN_SD
    deviations = []
    for angle, measure in _measured(schema):
        slopes = _derivatives(measure, points, angle.rows)  # (rows, axes, ...)
        spreads = np.moveaxis(spread[..., list(angle.rows)], -1, 0)
        deviations.append(np.sqrt((spreads**2 * (slopes**2).sum(axis=1)).sum(axis=0)))
    return np.minimum(Z90 * np.stack(deviations, axis=-1), 180.0)


def _derivatives(measure: Callable[[np.ndarray], np.ndarray], points: np.ndarray, rows: tuple[int, ...]) -> np.ndarray:
    """(len(rows), 3, ...): degrees per mm when one coordinate of one landmark changes."""
    steps = np.zeros((len(rows), 3, *(1,) * (points.ndim - 2), *points.shape[-2:]))
    for number, row in enumerate(rows):
        steps[number, range(3), ..., row, range(3)] = _STEP_MM
    change = measure(points + steps) - measure(points - steps)
    # The neck's angle may step from 180 to -180 degrees.
    return np.asarray(((change + 180.0) % 360.0 - 180.0) / (2 * _STEP_MM))


@lru_cache(maxsize=4)
def _measured(schema: Schema) -> tuple[_Measured, ...]:
    found = [_neck(schema)]
    for group in ("la", "ra", "ll", "rl"):
        rows = schema.rows(group)
        if len(rows) >= 2:
            found.append(_girdle(schema, group, rows[0], rows[1]))
        if len(rows) >= 3:
            found.append(_hinge(schema, group, rows[0], rows[1], rows[2]))
    return tuple(found)


def _neck(schema: Schema) -> _Measured:
    angle = JointAngle(
        key="neck_flexion",
        name="Neck flexion",
        group="ht",
        definition="between face and trunk in the median plane; 0 = neutral, positive = chin towards the chest",
        rows=(*schema.face_rows, *schema.trunk_frame_rows),
    )
    return angle, lambda points: neck_flexions_deg(points, schema)


def _girdle(schema: Schema, group: str, first: int, middle: int) -> _Measured:
    """Shoulder or hip: the limb against the line to the hip or shoulder of the same side."""
    other = schema.rows(_OTHER_END[group])[0]
    mark = schema.landmarks[first]
    is_arm = group in ("la", "ra")
    what, zero = ("elevation", "the upper arm lies along the trunk") if is_arm else ("flexion", "a straight hip")
    limb, end = ("upper arm", "hip") if is_arm else ("thigh", "shoulder")
    definition = f"between the {limb} and the line to the {end} of the same side; 0 = {zero}"
    angle = JointAngle(f"{mark.key}_{what}", f"{mark.name} {what}", group, definition, (other, first, middle))
    if is_arm:
        return angle, lambda points: _interior(points, other, first, middle)
    return angle, lambda points: 180.0 - _interior(points, other, first, middle)


def _hinge(schema: Schema, group: str, first: int, middle: int, end: int) -> _Measured:
    """Elbow or knee."""
    mark = schema.landmarks[middle]
    definition = "how far the joint is bent; 0 = straight"
    angle = JointAngle(f"{mark.key}_flexion", f"{mark.name} flexion", group, definition, (first, middle, end))
    return angle, lambda points: 180.0 - _interior(points, first, middle, end)


def _interior(points: np.ndarray, start: int, corner: int, end: int) -> np.ndarray:
    """Angle at `corner` in degrees, (...,); NaN if two of the landmarks coincide."""
    one, two = (points[..., row, :] - points[..., corner, :] for row in (start, end))
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(two, axis=-1)
    sine = np.linalg.norm(np.cross(one, two), axis=-1)
    angle = np.degrees(np.arctan2(sine, (one * two).sum(axis=-1)))
    return np.asarray(np.where(lengths > 0, angle, np.nan))
