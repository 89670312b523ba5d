"""Distinguishing left and right of the fetus by geometry (Eq. 7 of the paper).

Landmarks of the median plane give the direction of the fetal left; each limb pair is named by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from FetusMapV2Lib.anatomy.schema import Schema

# Why the sign of Eq. 7 holds. In body axes right-anterior-superior (R x A = S), seen from the crest (1) the
# nasal bone (4) lies below and in front, V14 = (0, +a, -b), and the hind neck (6) below and behind, V16 =
# (0, -c, -d), all letters positive. The R component of V14 x V16 is (+a)(-d) - (-b)(-c) = -(ad + bc) < 0:
# it points to the fetal left. The trunk frame (7, 8, 9) is built alike: seen from the upper thoracic spine
# the cord insertion lies below and in front, and the lumbosacral spine below and behind it; in a curled
# body too, as the cord is on the concave side. A vector from s1 to s2 that goes against the left (Ang <= 0)
# starts on the left: s1 is the left one.

_Frame = tuple[int, int, int]

#: 90 % radius of an isotropic Gaussian in 3D over its standard deviation: the root of the 0.9 quantile of chi2(3).
RADIUS90_IN_SD = 2.5002777
#: Normalised triple product from which the result is certain: 30 degrees away from the undecided case.
_CERTAIN = 0.5
#: Factor of the confidence where another frame, or a joint farther out, is used as a substitute.
_SUBSTITUTE = 0.5


@dataclass(frozen=True)
class Laterality:
    """How sure left and right are.

    Attributes:
        arms_confidence, legs_confidence: 0..1; 0 = undecided (landmarks missing or collinear), 1 = certain.
        arms_swapped, legs_swapped: the given names were exchanged.
        consistent: shoulders and hips name the same side of the body as left; None if either pair is missing.
    """

    arms_confidence: float
    legs_confidence: float
    arms_swapped: bool
    legs_swapped: bool
    consistent: bool | None


def left_direction(positions: np.ndarray, frame_rows: tuple[int, int, int]) -> np.ndarray:
    """Cross product of Eq. 7, (3,): (b - a) x (c - a), divided by the lengths of its factors.

    It points to the fetal left; its length is the sine of the angle at a, 0..1. NaN if a landmark is missing.
    """
    a, b, c = (np.asarray(positions[row], dtype=np.float64) for row in frame_rows)
    return np.cross(_unit(b - a), _unit(c - a))


def resolve_sides(
    positions: np.ndarray, schema: Schema, radius90_mm: np.ndarray | None = None
) -> tuple[np.ndarray, Laterality]:
    """Name arms and legs left and right by Eq. 7, exchanging whole limbs where the given names are wrong.

    The arms are named by the head frame and the shoulders, the legs by the trunk frame and the hips. If that
    frame is incomplete the other one is used, if a shoulder or hip is missing the next joint outwards, each at half the
    confidence. Without a result nothing is exchanged and the confidence is 0.

    The confidence grows with the triple product over its three lengths, up to 1 from 0.5 on. Given radii, it is
    multiplied by 2 P - 1, where P is the probability that landmark errors of that size do not change the sign.

    Args:
        positions: (N, 3) RAS mm, NaN = missing. Not changed.
        schema: of the landmarks.
        radius90_mm: (N,) 90 % radii of the positions, if known.

    Returns:
        A copy (N, 3) with limbs exchanged as needed, and the laterality.
    """
    resolved = np.array(positions, dtype=np.float64)
    spread = None if radius90_mm is None else np.asarray(radius90_mm, dtype=np.float64) / RADIUS90_IN_SD
    head, trunk = schema.head_frame_rows, schema.trunk_frame_rows
    arms_swapped, arms_confidence = _resolve_limb(resolved, schema.pairs_of("la"), (head, trunk), spread)
    legs_swapped, legs_confidence = _resolve_limb(resolved, schema.pairs_of("ll"), (trunk, head), spread)
    laterality = Laterality(
        arms_confidence=arms_confidence,
        legs_confidence=legs_confidence,
        arms_swapped=arms_swapped,
        legs_swapped=legs_swapped,
        consistent=_consistent(resolved, schema),
    )
    return resolved, laterality


def row_order(laterality: Laterality, schema: Schema) -> list[int]:
    """Which row of what was given each resolved row came from, so that radii move with landmarks that changed sides."""
    swapped = {"la": laterality.arms_swapped, "ra": laterality.arms_swapped}
    swapped |= {"ll": laterality.legs_swapped, "rl": laterality.legs_swapped}
    return [
        int(schema.mirror_rows[row]) if swapped.get(landmark.group, False) else row
        for row, landmark in enumerate(schema.landmarks)
    ]


def _resolve_limb(
    positions: np.ndarray, pairs: tuple[tuple[int, int], ...], frames: tuple[_Frame, ...], spread: np.ndarray | None
) -> tuple[bool, float]:
    """Exchange the limb's rows in place if Eq. 7 says so; (swapped, confidence). `spread`: (N,) SD per axis in mm."""
    found = _basis(positions, pairs, frames)
    if found is None:
        return False, 0.0
    frame, pair, trust = found
    triple = _triple_product(positions, frame, pair)
    confidence = trust * min(abs(triple) / _CERTAIN, 1.0)
    if spread is not None:
        confidence *= _sign_certainty(positions, frame, pair, spread)
    # Eq. 7 keeps s1 as the left one for Ang <= 0, the undecided case included.
    swapped = triple > 0
    if swapped:
        for left, right in pairs:
            positions[[left, right]] = positions[[right, left]]
    return swapped, confidence


def _basis(
    positions: np.ndarray, pairs: tuple[tuple[int, int], ...], frames: tuple[_Frame, ...]
) -> tuple[_Frame, tuple[int, int], float] | None:
    """The first complete frame and joint pair, and the trust in them."""
    present = np.isfinite(positions).all(axis=1)
    for frame_place, frame in enumerate(frames):
        for pair_place, pair in enumerate(pairs):
            if present[[*frame, *pair]].all():
                return frame, pair, _SUBSTITUTE ** ((frame_place > 0) + (pair_place > 0))
    return None


def _triple_product(positions: np.ndarray, frame: _Frame, pair: tuple[int, int]) -> float:
    """Ang of Eq. 7 over its three lengths, -1..1."""
    return float(left_direction(positions, frame) @ _unit(positions[pair[1]] - positions[pair[0]]))


def _sign_certainty(positions: np.ndarray, frame: _Frame, pair: tuple[int, int], spread: np.ndarray) -> float:
    """2 P - 1 for the probability P that the sign of Ang survives the landmark errors, propagated to first order."""
    (a, b, c), (s1, s2) = frame, pair
    v, w, d = positions[b] - positions[a], positions[c] - positions[a], positions[s2] - positions[s1]
    by_v, by_w, by_d = np.cross(w, d), np.cross(d, v), np.cross(v, w)
    slopes = {a: -by_v - by_w, b: by_v, c: by_w, s1: -by_d, s2: by_d}
    deviation = math.sqrt(sum(spread[row] ** 2 * float(slope @ slope) for row, slope in slopes.items()))
    angle = abs(float(by_d @ d))
    if not math.isfinite(deviation):
        return 1.0
    return math.erf(angle / deviation / math.sqrt(2)) if deviation > 0 else 1.0


def _consistent(positions: np.ndarray, schema: Schema) -> bool | None:
    across = []
    for group in ("la", "ll"):
        pairs = schema.pairs_of(group)
        if not pairs:
            return None
        left, right = pairs[0]
        across.append(positions[right] - positions[left])
    agreement = float(across[0] @ across[1])
    return agreement > 0 if np.isfinite(agreement) else None


def _unit(vector: np.ndarray) -> np.ndarray:
    """The vector at length 1; zero stays zero, so that coinciding landmarks give no result."""
    length = np.linalg.norm(vector)
    return vector / length if length > 0 or np.isnan(length) else np.zeros(3)
