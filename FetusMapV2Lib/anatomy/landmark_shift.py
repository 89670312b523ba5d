"""`LandmarkShift`: by how much landmarks lie elsewhere than a network has learned, the same in every body.

Another person or another simulator takes another place for "the forehead"; pictures have no part in that. They do in
whether landmarks of the skin lie at its edge, as they should: where a site has them elsewhere, they are left there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.body_frame import BodyFrame
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.anatomy.skin_landmarks import skin_rows

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
        on_skin: whether landmarks of the skin (`skin_landmarks`) lie at its edge where the picture shows it.

    Examples:
        >>> shift = LandmarkShift(((0.0, 0.0, 0.05),) * 22)  # all lie 3 mm farther cranial in a body of 60 mm
        >>> shift.in_world(BodyFrame(np.zeros(3), np.eye(3), 60.0))[0]
        array([0., 0., 3.])
    """

    by_landmark: tuple[tuple[float, ...], ...]
    on_skin: bool = False

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
    """The shift between two, None if both are; `share` is that of the second, 0-1.

    Landmarks of the skin lie at its edge if they do with both, or with the one that has a shift.
    """
    known = [one for one in (first, second) if one is not None]
    if not known:
        return None
    lengths = (1 - share) * lengths_of(first) + share * lengths_of(second)
    return _shift_of(lengths, all(one.on_skin for one in known))


def _shift_of(lengths: Array, on_skin: bool) -> LandmarkShift:
    """The shift of `lengths_of`."""
    return LandmarkShift(tuple(map(tuple, lengths.tolist())), on_skin)


def moved_landmarks(shift: LandmarkShift | None, earlier: LandmarkShift | None = None) -> str:
    """Which landmarks a shift moves how far, or against an earlier one, the farthest first; and whether to the skin."""
    lengths = np.linalg.norm(lengths_of(shift) - lengths_of(earlier), axis=1)
    named = sorted(((mark.name, lengths[mark.row]) for mark in default_schema().landmarks), key=lambda one: -one[1])
    listed = ", ".join(f"{name} {100 * share:.1f} %" for name, share in named if share >= _NAMED_SHARE)
    skin = _skin_sentence(shift, earlier)
    if not listed:
        return f"No landmark is moved by {100 * _NAMED_SHARE:.0f} % of the crown-rump length.{skin}"
    return f"Landmarks that are moved by {100 * _NAMED_SHARE:.0f} % of the crown-rump length or more: {listed}.{skin}"


def _skin_sentence(shift: LandmarkShift | None, earlier: LandmarkShift | None) -> str:
    """Whether a shift puts landmarks at the skin's edge, or no longer does; empty if as with the earlier one."""
    now, before = (one is not None and one.on_skin for one in (shift, earlier))
    if now == before:
        return ""
    names = ", ".join(default_schema().landmarks[row].name for row in skin_rows())
    return f" {names}: {'put' if now else 'no longer put'} at the edge of the skin where it is seen."


def in_body(vectors_mm: Array, frame: BodyFrame) -> Array:
    """Vectors (..., 3) in RAS mm, in crown-rump lengths along the axes of a body."""
    return np.asarray(vectors_mm @ frame.axes / frame.length_mm)


def fit_landmark_shift(
    worlds: Sequence[Array], earlier: LandmarkShift | None = None, at_skin: Sequence[Array] = ()
) -> LandmarkShift | None:
    """The shift that the bodies of some worlds share, both sides mirrored.

    The median over the bodies of each world, and the mean over the worlds. A landmark's shift is shortened by what
    chance alone would make of it (in the manner of James and Stein, 1961), so that few cases move little.

    Args:
        worlds: of each, (cases, 22, 3) from what the network sees to the truth as `in_body` gives it; NaN = missing.
        earlier: shift of the model so far, from which few cases move away but little; None = none.
        at_skin: of the same cases, from where the picture shows the skin to the truth, NaN where it does not. Landmarks
            of the skin lie at its edge if they are nearer there; without this as with the earlier shift.

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
    by_landmark = np.clip(before + moved, -LARGEST, LARGEST)
    nearer = [_nearer_at_skin(world - by_landmark, skin) for world, skin in zip(worlds, at_skin, strict=False)]
    told = [one for one in nearer if np.isfinite(one)]
    on_skin = float(np.mean(told)) > 0 if told else earlier is not None and earlier.on_skin
    return _shift_of(by_landmark, on_skin)


def _nearer_at_skin(elsewhere: Array, at_skin: Array) -> float:
    """How much nearer to the truth a world's landmarks are at the skin's edge, in crown-rump lengths; NaN = unknown."""
    rows = _rows_seen(elsewhere)
    gains = np.linalg.norm(elsewhere[rows], axis=2) - np.linalg.norm(at_skin[rows], axis=2)
    known = np.isfinite(gains)
    return float(gains[known].mean()) if known.any() else np.nan


def bodies_seen(world: Array) -> Array:
    """The bodies of a world, (cases, 22, 3) as `in_body` gives it, that were seen and not lost."""
    return np.asarray(world[_rows_seen(world)])


def _rows_seen(world: Array) -> NDArray[np.intp]:
    """Which bodies `bodies_seen` keeps."""
    away = np.linalg.norm(world, axis=2)
    seen = np.flatnonzero(np.isfinite(away).any(axis=1))  # a volume in which no body was seen tells nothing either
    return np.asarray(seen[np.nanmean(away[seen], axis=1) <= LOST_SHARE])


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
