"""Random postures in which no part of the body overlaps another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from FetusMapV2Lib.phantom.body_plan import HIP
from FetusMapV2Lib.phantom.collisions import (
    body_clearance,
    ellipsoid_distance,
    limb_balls,
    limb_clearance,
    self_clearance,
    surface_points,
)
from FetusMapV2Lib.phantom.joints import (
    ALONG_ARM,
    BODY_RANGES,
    CLOSE_ARM,
    CROSSED_LEG,
    FOLDED_ARM,
    FOLDED_LEG,
    HAND_AT_FACE,
    RAISED_LEG,
    SIDES,
    draw_angles,
)
from FetusMapV2Lib.phantom.limbs import Limb, Posture, angle_ranges, limb_radii, place_limb, pose_limbs
from FetusMapV2Lib.phantom.shapes import Array, Ellipsoid, unit
from FetusMapV2Lib.phantom.sizes import Size
from FetusMapV2Lib.phantom.skeleton import NECK_PARTS, Skeleton, pose_skeleton

#: Probabilities of crossed legs, and of a hand at the face (for each arm).
CROSSED_LEGS, HAND_TO_FACE = 0.28, 0.22
_BATCH = 64
#: Balls at the root of a limb that lie inside the trunk: the shoulder and the hip with half of the segment.
FREE_ROOT = {"arm": 5, "leg": 6}


def _body(skeleton: Skeleton) -> tuple[Ellipsoid, ...]:
    return (*skeleton.trunk, skeleton.cranium, *skeleton.face)


def head_clearance(skeleton: Skeleton) -> float:
    """Least gap in mm between the head and the trunk below the neck (< 0: they overlap)."""
    marks = np.concatenate([surface_points(part, 96) for part in (skeleton.cranium, *skeleton.face)])
    return float(ellipsoid_distance(marks, skeleton.trunk[NECK_PARTS + 1 :]).min())


def limb_gaps(skeleton: Skeleton, limbs: tuple[Limb, ...]) -> float:
    """Least gap in mm of any limb to head, trunk and the other limbs (< 0: they overlap)."""
    least = np.inf
    before: list[tuple[Array, Array]] = []
    for limb in limbs:
        centres, radii = limb_balls(limb.joints, limb.radii)
        least = min(least, float(body_clearance(centres, radii, _body(skeleton), FREE_ROOT[limb.kind])))
        least = min(least, float(self_clearance(centres, radii)))
        for others, other_radii in before:
            least = min(least, float(limb_clearance(centres, radii, others, other_radii)))
        before.append((centres, radii))
    return least


#: Ranges of a limb's angles by how it is held; the habits are a hand at the face and a leg crossed over the midline.
_MANNERS = {
    "": {kind: angle_ranges(kind) for kind in ("arm", "leg")},
    "folded": {"arm": FOLDED_ARM, "leg": FOLDED_LEG},
    "raised": {"arm": CLOSE_ARM, "leg": RAISED_LEG},
    "along": {"arm": ALONG_ARM, "leg": RAISED_LEG},
    "habit": {"arm": HAND_AT_FACE, "leg": CROSSED_LEG},
}
_GAP = 0.15
_HEAD_GAP = -0.4


def _draw_limb(
    generator: np.random.Generator,
    skeleton: Skeleton,
    kind: str,
    side: str,
    placed: list[Limb],
    manner: str,
) -> tuple[Limb, Posture] | None:
    """One of a batch of random limbs, held in a manner of `_MANNERS`, that overlaps nothing.

    The best of a few where `_COSTS` has the manner, else the first.
    """
    angles = draw_angles(generator, _MANNERS[manner][kind], _BATCH)
    joints, bends = place_limb(skeleton, kind, side, angles)
    radii = limb_radii(skeleton.size, kind)
    centres, ball_radii = limb_balls(joints, radii)
    gap = body_clearance(centres, ball_radii, _body(skeleton), FREE_ROOT[kind])
    gap = np.minimum(gap, self_clearance(centres, ball_radii))
    for limb in placed:
        gap = np.minimum(gap, limb_clearance(centres, ball_radii, *limb_balls(limb.joints, limb.radii)))
    free = np.flatnonzero(gap > _GAP)
    if len(free) == 0:
        return None
    chosen = int(free[0])
    if (kind, manner) in _COSTS:
        few = free[:12]
        chosen = int(few[np.argmin(_COSTS[kind, manner](skeleton, side, joints[few]))])
    own = {f"{side}_{name}": float(values[chosen]) for name, values in angles.items()}
    return Limb(kind, side, joints[chosen], radii, bends[chosen]), own


def _from_face(skeleton: Skeleton, _side: str, joints: Array) -> Array:
    """How far (B,) mm hands are from the mouth."""
    mouth = skeleton.on_head(np.array([0.0, -1.0, -0.85]))
    return np.asarray(np.linalg.norm(joints[:, 3] - mouth, axis=-1))


def _from_crossing(skeleton: Skeleton, side: str, joints: Array) -> Array:
    """How far (B,) mm ankles are from having crossed the midline."""
    sign = 1 if side == "left" else -1
    pelvis = skeleton.spine.at(HIP)
    return np.asarray(sign * (joints[:, 2] - pelvis.shift) @ pelvis.rotation[:, 0])


def _rise(skeleton: Skeleton, _side: str, joints: Array) -> Array:
    """How far (B,) upper arms point from the rump to the crown, -1 to 1."""
    up = unit(skeleton.cranium.centre - skeleton.spine.at(1.0).shift)
    return np.asarray(unit(joints[:, 1] - joints[:, 0]) @ up)


#: Where the best of a few limbs is chosen: the one with the least of this.
_COSTS = {("arm", "habit"): _from_face, ("leg", "habit"): _from_crossing, ("arm", "along"): _rise}


def _draw_posture(
    generator: np.random.Generator, size: Size, length: float, manners: Mapping[str, float]
) -> Posture | None:
    body = {name: float(values[0]) for name, values in draw_angles(generator, BODY_RANGES, 1).items()}
    skeleton = pose_skeleton(size, length, body)
    if head_clearance(skeleton) < _HEAD_GAP:
        return None
    posture, placed = dict(body), list[Limb]()
    for kind in ("arm", "leg"):
        manner = ""
        for name, share in manners.items():
            if generator.random() < share:
                manner = name
        both_cross = kind == "leg" and bool(generator.random() < CROSSED_LEGS)
        # The first side is random, as the second has less room.
        for side in SIDES if generator.random() < 0.5 else SIDES[::-1]:
            habit = both_cross or (kind == "arm" and bool(generator.random() < HAND_TO_FACE))
            held = "habit" if habit else manner
            drawn = _draw_limb(generator, skeleton, kind, side, placed, held)
            if drawn is None and held in ("raised", "along"):  # a curled trunk leaves no room for that
                drawn = _draw_limb(generator, skeleton, kind, side, placed, "folded")
            if drawn is None:
                return None
            placed.append(drawn[0])
            posture.update(drawn[1])
    return posture


def posture_is_free(size: Size, length: float, posture: Posture) -> bool:
    """Whether no part of the body overlaps another under this posture."""
    skeleton = pose_skeleton(size, length, posture)
    return head_clearance(skeleton) >= _HEAD_GAP and limb_gaps(skeleton, pose_limbs(skeleton, posture)) > 0.0


class NoPostureError(RuntimeError):
    """In none of many postures was the body free of overlaps."""


def draw_posture(
    generator: np.random.Generator,
    size: Size,
    length: float,
    attempts: int = 2000,
    manners: Mapping[str, float] | None = None,
) -> Posture:
    """A random posture in which no part of the body overlaps another.

    Args:
        generator: source of randomness.
        size: of the body.
        length: of its spine, mm.
        attempts: how many are tried.
        manners: how often arms, and how often legs, are "folded" (drawn up to the body), "raised" (legs in front of
            the body, arms close to it) or "along" (the same, with the arms along the body); of those that are drawn
            the last one counts. None = none.

    Raises:
        NoPostureError: none was found.
    """
    for _ in range(attempts):
        posture = _draw_posture(generator, size, length, manners or {})
        if posture is not None:
            return posture
    raise NoPostureError("no posture without self-intersection was found; the joint ranges are too tight")
