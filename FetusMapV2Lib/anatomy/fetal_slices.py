"""Slices through the midsagittal, a coronal and a transverse plane of the fetus, upright and not mirrored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.planes import Axes, Plane
from FetusMapV2Lib.anatomy.schema import Schema

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SlicePose:
    """A slice: title, centre (RAS mm), the unit vectors to the right and up on the screen, its height in mm."""

    title: str
    centre: Array
    right: Array
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
    middle = middle_along(present, axes)
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


def middle_along(points: Array, axes: Axes) -> Array:
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
