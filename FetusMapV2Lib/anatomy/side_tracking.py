"""Left and right limbs over a sequence of frames, named consistently, so that no limb changes sides.

Each frame gives a confidence of its sides by geometry (Eq. 7), neighbouring frames relate the limbs to one another; the
most likely names over all frames are found by dynamic programming (Viterbi 1967).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from FetusMapV2Lib.anatomy.laterality import RADIUS90_IN_SD, Laterality, resolve_sides
from FetusMapV2Lib.anatomy.registration import MINIMUM_POINTS, register
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.anatomy.trajectories import known_radii

#: Upper limit of the confidence of a single frame, so that many others can outvote it.
_MOST_CONFIDENCE = 0.98
#: Standard deviation per axis of the movement of a joint between frames, relative to head and trunk, mm.
_STEP_SD_MM = 3.0
#: Standard deviation of a bone's length about its median over the sequence, besides the landmark errors, mm.
_BONE_SD_MM = 1.0
#: Distances are capped at this many standard deviations, so that an outlier does not decide.
_FARTHEST_SD = 4.0
#: Cost of exchanging a joint but not the rest of its limb, or vice versa (a probability of 1 in 20).
_SPLIT_COST = math.log(20.0)
#: Cost of exchanging a joint at all: of two equally likely answers the one with the given names, however numbers round.
_EXCHANGE_COST = 1e-6

_Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class TrackedSides:
    """Sides over a whole sequence.

    Attributes:
        order: (T, N) rows: the pose of frame t with tracked sides is ``positions[t][order[t]]``, its radii likewise.
        changed: (T,) frames in which a landmark changed sides.
        laterality: per frame; the confidences are those of the sequence, the mean over its frames of the confidence
            by geometry, negative where a frame contradicts the result, and at least 0.
    """

    order: np.ndarray
    changed: np.ndarray
    laterality: tuple[Laterality, ...]


def track_sides(positions: np.ndarray, schema: Schema, radius90_mm: np.ndarray | None = None) -> TrackedSides:
    """Name the limbs of every frame left and right, consistently and in agreement with the geometry of all frames.

    Arms and legs are tracked separately. In a frame each joint may keep its name or exchange it with its partner. The
    likelihood of a sequence of such choices has three parts: the confidence of Eq. 7 in each frame, the distance that
    each joint moves between neighbouring frames after head and trunk are aligned, and the lengths of the bones compared
    with their median. Frames without any landmark are skipped.

    Args:
        positions: (T, N, 3) RAS mm, NaN = missing.
        schema: of the landmarks.
        radius90_mm: (T, N) 90 % radii, NaN or None = unknown (`trajectories.known_radii`).

    Raises:
        ValueError: an array of the wrong shape.
    """
    points = np.asarray(positions, dtype=np.float64)
    if points.ndim != 3 or points.shape[1:] != (schema.count, 3):
        raise ValueError(f"positions must have the shape (T, {schema.count}, 3), found {points.shape}")
    spread = known_radii(radius90_mm, points) / RADIUS90_IN_SD
    order = np.tile(np.arange(schema.count), (len(points), 1))
    seen = np.flatnonzero(np.isfinite(points).all(axis=2).sum(axis=1))
    radii = [None] * len(points) if radius90_mm is None else np.asarray(radius90_mm, dtype=np.float64)
    alone = [resolve_sides(points[frame], schema, radii[frame])[1] for frame in seen]
    aligned = _aligned_frames(points[seen], schema)
    confidences = {}
    for limb in ("la", "ll"):
        pairs = schema.pairs_of(limb)
        evidence = np.array([_signed_confidence(sides, limb) for sides in alone])
        choices = _best_choices(points[seen], aligned, spread[seen], evidence, pairs)
        for frame, choice in zip(seen, choices, strict=True):
            for (left, right), exchanged in zip(pairs, choice, strict=True):
                order[frame, [left, right]] = (right, left) if exchanged else (left, right)
        confidences[limb] = _agreement(evidence, choices, _reference_pairs(points[seen], pairs))
    tracked = np.take_along_axis(points, order[..., None], axis=1)
    changed = (order != np.arange(schema.count)).any(axis=1)
    laterality = tuple(_laterality(tracked[frame], order[frame], confidences, schema) for frame in range(len(points)))
    return TrackedSides(order, changed, laterality)


def _agreement(evidence: np.ndarray, choices: list[tuple[int, ...]], reference_pairs: list[int]) -> float:
    """Mean confidence by geometry in the result, 0..1; frames that contradict it count negative."""
    kept = [-1.0 if choice[pair] else 1.0 for choice, pair in zip(choices, reference_pairs, strict=True)]
    return max(0.0, float((evidence * np.array(kept)).mean())) if len(evidence) else 0.0


def _signed_confidence(sides: Laterality, limb: str) -> float:
    """Confidence by geometry that the given names are right (positive) or exchanged (negative), -1..1."""
    confidence, swapped = (
        (sides.arms_confidence, sides.arms_swapped) if limb == "la" else (sides.legs_confidence, sides.legs_swapped)
    )
    return -confidence if swapped else confidence


def _aligned_frames(points: np.ndarray, schema: Schema) -> np.ndarray:
    """Frames (T, N, 3), each moved rigidly so that its head and trunk fit those of the frame before."""
    rows = list(schema.rows("ht"))
    aligned = points.copy()
    for frame in range(1, len(points)):
        common = np.isfinite(points[frame, rows] + aligned[frame - 1, rows]).all(axis=1).sum()
        if common >= MINIMUM_POINTS:
            aligned[frame] = register(points[frame, rows], aligned[frame - 1, rows], scale=False).apply(points[frame])
    return aligned


def _reference_pairs(points: np.ndarray, pairs: _Pairs) -> list[int]:
    """Per frame the pair of joints that Eq. 7 uses: the first complete one (see `laterality`)."""
    present: np.ndarray = np.isfinite(points).all(axis=2)
    complete = np.array([present[:, left] & present[:, right] for left, right in pairs])
    return [int(found) for found in complete.argmax(axis=0)]


def _best_choices(
    points: np.ndarray, aligned: np.ndarray, spread: np.ndarray, evidence: np.ndarray, pairs: _Pairs
) -> list[tuple[int, ...]]:
    """For each frame and pair of joints whether to exchange it (0 or 1), at the least total cost."""
    if not len(points):
        return []
    options = list(itertools.product((0, 1), repeat=len(pairs)))
    # (options, side, joint)
    rows = np.array([[_limb_rows(pairs, option, side) for side in (0, 1)] for option in options])
    within = _evidence_cost(evidence, options, _reference_pairs(points, pairs))
    within += _bone_cost(points, spread, rows, options)
    cost, predecessors = within[0], []
    for frame in range(1, len(points)):
        total = cost[:, None] + _step_cost(aligned[frame - 1 : frame + 1], spread[frame - 1 : frame + 1], rows)
        predecessors.append(total.argmin(axis=0))
        cost = total.min(axis=0) + within[frame]
    best = [int(cost.argmin())]
    for before in reversed(predecessors):
        best.append(int(before[best[-1]]))
    return [options[index] for index in reversed(best)]


def _limb_rows(pairs: _Pairs, option: tuple[int, ...], side: int) -> list[int]:
    """Rows of the joints of one limb, left (0) or right (1), under an option."""
    return [pair[side ^ exchanged] for pair, exchanged in zip(pairs, option, strict=True)]


def _evidence_cost(evidence: np.ndarray, options: list[tuple[int, ...]], reference_pairs: list[int]) -> np.ndarray:
    """(T, options): minus the logarithm of the probability of each option by Eq. 7, and of exchanging joints."""
    trust = np.clip(evidence, -_MOST_CONFIDENCE, _MOST_CONFIDENCE)
    split = np.array([min(sum(option), len(option) - sum(option)) for option in options])
    exchanged = np.array([[option[pair] for option in options] for pair in reference_pairs])
    unlike = _SPLIT_COST * split + _EXCHANGE_COST * np.array([sum(option) for option in options])
    return np.asarray(-np.log((1 + np.where(exchanged, -1, 1) * trust[:, None]) / 2) + unlike)


def _bone_cost(points: np.ndarray, spread: np.ndarray, rows: np.ndarray, options: list[tuple[int, ...]]) -> np.ndarray:
    """(T, options): cost of the lengths of the bones."""
    joints = points[:, rows]  # (T, options, side, joint, 3)
    lengths = np.linalg.norm(np.diff(joints, axis=3), axis=4)
    variance = spread[:, rows] ** 2
    variance = variance[..., 1:] + variance[..., :-1] + _BONE_SD_MM**2
    as_given = lengths[:, options.index((0,) * len(options[0]))]
    if not np.isfinite(as_given).any():
        return np.zeros(lengths.shape[:2])
    usual = np.array([_median(as_given[..., bone]) for bone in range(lengths.shape[3])])
    return _capped_cost((lengths - usual) ** 2 / variance, (2, 3))


def _step_cost(aligned: np.ndarray, spread: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(options before, options after): cost of the movement of the joints between two frames."""
    before, after = aligned[0][rows][:, None], aligned[1][rows][None]
    variance = (spread[0] ** 2)[rows][:, None] + (spread[1] ** 2)[rows][None] + _STEP_SD_MM**2
    return _capped_cost(((after - before) ** 2).sum(axis=-1) / variance, (2, 3))


def _capped_cost(squares: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Half the sum of squared distances in standard deviations, each capped; missing values count nothing."""
    capped = np.where(np.isfinite(squares), np.minimum(squares, _FARTHEST_SD**2), 0.0)
    return np.asarray(0.5 * capped.sum(axis=axes))


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan


def _laterality(tracked: np.ndarray, order: np.ndarray, confidences: dict[str, float], schema: Schema) -> Laterality:
    """Laterality of a frame: the confidences of the sequence, and whether its names were exchanged."""
    first = {limb: schema.pairs_of(limb)[0][0] for limb in confidences}
    alone = resolve_sides(tracked, schema)[1]
    return replace(
        alone,
        arms_confidence=confidences["la"],
        legs_confidence=confidences["ll"],
        arms_swapped=bool(order[first["la"]] != first["la"]),
        legs_swapped=bool(order[first["ll"]] != first["ll"]),
    )
