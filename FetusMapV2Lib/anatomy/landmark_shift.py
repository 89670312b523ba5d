"""`LandmarkShift`: by how much landmarks lie elsewhere than a network has learned, the same in every body.

Another person or another simulator takes another place for "the forehead"; pictures have no part in that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.body_frame import BodyFrame
from FetusMapV2Lib.anatomy.schema import default_schema

Array = NDArray[np.float64]

#: Bodies with a mean distance of more than this share of their crown-rump length were lost: they tell nothing.
LOST_SHARE = 0.15
#: Fewer cases do not tell a shift from chance.
FEWEST_CASES = 5
#: Of a median of normally distributed values, in terms of the median of absolute deviations and the number of values.
_ERROR_OF_MEDIAN = 1.4826 * 1.2533
#: A larger one is no other idea of a landmark; smaller ones, in crown-rump lengths, are not named.
LARGEST, _NAMED_SHARE = 0.2, 0.01


@dataclass(frozen=True)
class LandmarkShift:
    """From where a network sees the landmarks to where they are.

    Attributes:
        by_landmark: 22 times to fetal left, posterior and cranial, in crown-rump lengths (`BodyFrame`).

    Examples:
        >>> shift = LandmarkShift(((0.0, 0.0, 0.05),) * 22)  # all lie 3 mm farther cranial in a body of 60 mm
        >>> shift.in_world(BodyFrame(np.zeros(3), np.eye(3), 60.0))[0]
        array([0., 0., 3.])
    """

    by_landmark: tuple[tuple[float, ...], ...]

    def in_world(self, frame: BodyFrame) -> Array:
        """(22, 3) RAS mm of a body."""
        return np.asarray(frame.length_mm * (np.array(self.by_landmark) @ frame.axes.T))

    def problem(self) -> str:
        """What is out of range, empty if nothing is."""
        if len(self.by_landmark) != default_schema().count or any(len(row) != 3 for row in self.by_landmark):
            return f"the shift of the landmarks is not {default_schema().count} times three numbers"
        return "" if np.abs(self.by_landmark).max() <= LARGEST else f"a landmark is shifted by more than {LARGEST:g}"


def lengths_of(shift: LandmarkShift | None) -> Array:
    """(22, 3) of a shift, in crown-rump lengths; zeros for none."""
    return np.zeros((default_schema().count, 3)) if shift is None else np.array(shift.by_landmark)


def shift_between(first: LandmarkShift | None, second: LandmarkShift | None, share: float) -> LandmarkShift | None:
    """The shift between two, None if both are; `share` is that of the second, 0-1."""
    if first is None and second is None:
        return None
    return _shift_of((1 - share) * lengths_of(first) + share * lengths_of(second))


def _shift_of(lengths: Array) -> LandmarkShift:
    """The shift of `lengths_of`."""
    return LandmarkShift(tuple(map(tuple, lengths.tolist())))


def moved_landmarks(shift: LandmarkShift | None, earlier: LandmarkShift | None = None) -> str:
    """A sentence: which landmarks a shift moves how far, or against an earlier one; the farthest first."""
    lengths = np.linalg.norm(lengths_of(shift) - lengths_of(earlier), axis=1)
    named = sorted(((mark.name, lengths[mark.row]) for mark in default_schema().landmarks), key=lambda one: -one[1])
    listed = ", ".join(f"{name} {100 * share:.1f} %" for name, share in named if share >= _NAMED_SHARE)
    if not listed:
        return f"No landmark is moved by {100 * _NAMED_SHARE:.0f} % of the crown-rump length."
    return f"Landmarks that are moved by {100 * _NAMED_SHARE:.0f} % of the crown-rump length or more: {listed}."


def in_body(vectors_mm: Array, frame: BodyFrame) -> Array:
    """Vectors (..., 3) in RAS mm, in crown-rump lengths along the axes of a body."""
    return np.asarray(vectors_mm @ frame.axes / frame.length_mm)


def fit_landmark_shift(worlds: Sequence[Array], earlier: LandmarkShift | None = None) -> LandmarkShift | None:
    """The shift that the bodies of some worlds share, both sides mirrored.

    The median over the bodies of each world, and the mean over the worlds. A landmark's shift is shortened by what
    chance alone would make of it (in the manner of James and Stein, 1961), so that few cases move little.

    Args:
        worlds: of each, (cases, 22, 3) from what the network sees to the truth as `in_body` gives it; NaN = missing.
        earlier: shift of the model so far, from which few cases move away but little; None = none.

    Returns:
        The earlier one with fewer than `FEWEST_CASES` bodies that were not lost.
    """
    kept = [world for world in map(bodies_seen, worlds) if len(world)]
    if sum(map(len, kept)) < FEWEST_CASES:
        return earlier
    before = lengths_of(earlier)
    medians, variances = zip(*(_median(_both_sides(world - before)) for world in kept), strict=True)
    moved = np.mean(medians, axis=0)
    variance = np.sum(variances, axis=0) / len(kept) ** 2
    length = (moved**2).sum(axis=1)
    moved *= np.clip(1 - variance.sum(axis=1) / np.maximum(length, 1e-12), 0, 1)[:, None]
    return _shift_of(np.clip(before + moved, -LARGEST, LARGEST))


def bodies_seen(world: Array) -> Array:
    """The bodies of a world, (cases, 22, 3) as `in_body` gives it, that were seen and not lost."""
    away = np.linalg.norm(world, axis=2)
    seen = np.isfinite(away).any(axis=1)  # a volume in which no body was seen tells nothing either
    far = np.nanmean(away[seen], axis=1)
    return np.asarray(world[seen][far <= LOST_SHARE])


def _both_sides(world: Array) -> Array:
    """(2 cases, 22, 3) each body, and its mirror image; a landmark in the middle then has no shift to a side."""
    mirrored = world[:, list(default_schema().mirror_rows)] * np.array([-1.0, 1.0, 1.0])
    return np.concatenate([world, mirrored])


def _median(world: Array) -> tuple[Array, Array]:
    """(22, 3) medians over the bodies and the variances of these; 0 for a landmark that no body has."""
    known = np.isfinite(world).any(axis=0)
    filled = np.where(known, world, 0.0)
    middle = np.nanmedian(filled, axis=0)
    deviation = np.nanmedian(np.abs(filled - middle), axis=0)
    bodies = np.isfinite(filled).sum(axis=0) / 2
    return middle, (_ERROR_OF_MEDIAN * deviation) ** 2 / bodies
