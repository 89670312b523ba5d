"""One simulated fetus: its size, posture, landmarks and the shapes it is drawn with.

Everything is in the body frame: origin on the spine at mid-thorax, x to the fetal left, y posterior, z cranial, mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.phantom.collisions import (
    body_clearance,
    ellipsoid_distance,
    limb_balls,
    limb_clearance,
    self_clearance,
    surface_points,
)
from FetusMapV2Lib.phantom.joints import (
    ARM_RANGES,
    BODY_RANGES,
    CROSSED_LEG,
    HAND_AT_FACE,
    LEG_RANGES,
    SIDES,
    arm_joints,
    draw_angles,
    interior_angle,
    leg_joints,
)
from FetusMapV2Lib.phantom.shapes import Array, Ellipsoid, Shape
from FetusMapV2Lib.phantom.sizes import Size, sample_size
from FetusMapV2Lib.phantom.skeleton import (
    HIP,
    NECK_PARTS,
    Skeleton,
    head_and_trunk_marks,
    pose_skeleton,
    spine_length,
)

Posture = dict[str, float]
#: How often the legs are meant to cross, and how often an arm goes to the face (each arm by itself).
CROSSED_LEGS, HAND_TO_FACE = 0.28, 0.22
_BATCH = 64
#: Balls at the root of a limb that lie inside the trunk: the shoulder and the hip with half of the segment.
FREE_ROOT = {"arm": 5, "leg": 6}


@dataclass(frozen=True, eq=False)
class Limb:
    """An arm or a leg: joints (4, 3) from the root to finger or toe tips, radii (4,), bending direction (3,)."""

    kind: str
    side: str
    joints: Array
    radii: Array
    bend: Array

    @property
    def key(self) -> str:
        return f"{self.side}_{self.kind}"


@dataclass(frozen=True, eq=False)
class Fetus:
    """A fetus in the body frame.

    Attributes:
        size: its measures.
        posture: joint angles in degrees by name.
        skeleton: spine, head and outline.
        limbs: left arm, right arm, left leg, right leg.
        pose: (22, 3) landmarks in the order of the schema, mm.
        shapes: what it is drawn with, layers in painting order.
        truth: measures and angles for the record (JSON values).
    """

    size: Size
    posture: Posture
    skeleton: Skeleton
    limbs: tuple[Limb, ...]
    pose: Array
    shapes: tuple[Shape, ...]
    truth: dict[str, Any]

    def surface(self) -> Array:
        """Points (N, 3) on or just below its surface, for fitting it into something."""
        parts = [surface_points(body) for body in (*self.skeleton.trunk, self.skeleton.cranium, *self.skeleton.face)]
        for limb in self.limbs:
            centres, radii = limb_balls(limb.joints, limb.radii)
            steps = np.concatenate([np.eye(3), -np.eye(3)])
            parts.append((centres[:, None, :] + radii[:, None, None] * steps).reshape(-1, 3))
        return np.concatenate(parts)


def limb_radii(size: Size, kind: str) -> Array:
    """Radius of a limb (mm) at its four joints."""
    girth = size.girth
    if kind == "arm":
        return np.array([0.23, 0.18, 0.125, 0.10]) * girth
    return np.array([0.32, 0.23, 0.155, 0.11]) * girth


def _lengths(size: Size, kind: str) -> tuple[float, float, float]:
    if kind == "arm":
        return size.humerus_joint, size.forearm_joint, size.hand
    return size.femur_joint, size.tibia_joint, size.foot


def _ranges(kind: str) -> dict[str, tuple[float, float, float, float]]:
    return ARM_RANGES if kind == "arm" else LEG_RANGES


def _place_limb(skeleton: Skeleton, kind: str, side: str, angles: dict[str, Array]) -> tuple[Array, Array]:
    """Joints (B, 4, 3) and bending directions (B, 3) of a limb under angles (B,), body frame."""
    sign = 1 if side == "left" else -1
    root = skeleton.shoulder(sign) if kind == "arm" else skeleton.hip(sign)
    place = arm_joints if kind == "arm" else leg_joints
    joints, bend = place(angles, sign, *_lengths(skeleton.size, kind))
    return root.points(joints), bend @ root.rotation.T


def _body(skeleton: Skeleton) -> tuple[Ellipsoid, ...]:
    return (*skeleton.trunk, skeleton.cranium, *skeleton.face)


def head_clearance(skeleton: Skeleton) -> float:
    """Least gap in mm between the head and the trunk below the neck (< 0: they cut)."""
    marks = np.concatenate([surface_points(part, 96) for part in (skeleton.cranium, *skeleton.face)])
    return float(ellipsoid_distance(marks, skeleton.trunk[NECK_PARTS + 1 :]).min())


def limb_gaps(skeleton: Skeleton, limbs: tuple[Limb, ...]) -> float:
    """Least gap in mm of any limb to head, trunk and the other limbs (< 0: they cut)."""
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


_GAP = 0.15
_HEAD_GAP = -0.4


def _draw_limb(
    generator: np.random.Generator, skeleton: Skeleton, kind: str, side: str, placed: list[Limb], habit: bool
) -> tuple[Limb, Posture] | None:
    """One of a batch of random limbs that cuts nothing.

    A habit is a leg crossed over the midline or a hand at the face: then the best of a few is taken, else the first.
    """
    ranges = (HAND_AT_FACE if kind == "arm" else CROSSED_LEG) if habit else _ranges(kind)
    angles = draw_angles(generator, ranges, _BATCH)
    joints, bends = _place_limb(skeleton, kind, side, angles)
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
    if habit:
        few = free[:12]
        chosen = int(few[np.argmin(_habit_cost(skeleton, kind, side, joints[few]))])
    own = {f"{side}_{name}": float(values[chosen]) for name, values in angles.items()}
    return Limb(kind, side, joints[chosen], radii, bends[chosen]), own


def _habit_cost(skeleton: Skeleton, kind: str, side: str, joints: Array) -> Array:
    """How far (B,) mm limbs are from the face (the hand) or from having crossed the midline (the ankle)."""
    if kind == "arm":
        mouth = skeleton.on_head(np.array([0.0, -1.0, -0.85]))
        return np.linalg.norm(joints[:, 3] - mouth, axis=-1)
    sign = 1 if side == "left" else -1
    pelvis = skeleton.spine.at(HIP)
    return np.asarray(sign * (joints[:, 2] - pelvis.shift) @ pelvis.rotation[:, 0])


def _draw_posture(generator: np.random.Generator, size: Size, length: float) -> Posture | None:
    body = {name: float(values[0]) for name, values in draw_angles(generator, BODY_RANGES, 1).items()}
    skeleton = pose_skeleton(size, length, body)
    if head_clearance(skeleton) < _HEAD_GAP:
        return None
    posture, placed = dict(body), list[Limb]()
    for kind in ("arm", "leg"):
        both_cross = kind == "leg" and bool(generator.random() < CROSSED_LEGS)
        # Which side comes first is drawn, as the second has less room.
        for side in SIDES if generator.random() < 0.5 else SIDES[::-1]:
            habit = both_cross or (kind == "arm" and bool(generator.random() < HAND_TO_FACE))
            drawn = _draw_limb(generator, skeleton, kind, side, placed, habit)
            if drawn is None:
                return None
            placed.append(drawn[0])
            posture.update(drawn[1])
    return posture


def pose_limbs(skeleton: Skeleton, posture: Posture) -> tuple[Limb, ...]:
    """Left arm, right arm, left leg, right leg under a posture (degrees)."""
    limbs = []
    for kind in ("arm", "leg"):
        for side in SIDES:
            angles = {name: np.array([posture[f"{side}_{name}"]]) for name in _ranges(kind)}
            joints, bend = _place_limb(skeleton, kind, side, angles)
            limbs.append(Limb(kind, side, joints[0], limb_radii(skeleton.size, kind), bend[0]))
    return tuple(limbs)


def landmarks(skeleton: Skeleton, limbs: tuple[Limb, ...]) -> Array:
    """(22, 3) landmark positions in the schema's order, body frame, mm."""
    marks = head_and_trunk_marks(skeleton)
    names = {"arm": ("shoulder", "elbow", "wrist"), "leg": ("hip", "knee", "ankle")}
    for limb in limbs:
        for name, joint in zip(names[limb.kind], limb.joints, strict=False):
            marks[f"{limb.side}_{name}"] = joint
    return np.array([marks[key] for key in default_schema().keys])


def posture_is_free(size: Size, length: float, posture: Posture) -> bool:
    """Whether no part of the body cuts another under this posture."""
    skeleton = pose_skeleton(size, length, posture)
    return head_clearance(skeleton) >= _HEAD_GAP and limb_gaps(skeleton, pose_limbs(skeleton, posture)) > 0.0


def make_fetus(size: Size, posture: Posture, look: np.random.Generator, length: float | None = None) -> Fetus:
    """The fetus of a size in a posture.

    Args:
        size: its measures.
        posture: every angle of `joints`, limb angles with "left_" or "right_" before the name.
        look: source of the small differences between individuals inside (organs); give the same state for the
            same individual.
        length: of the spine, mm; found from the size if None.
    """
    from FetusMapV2Lib.phantom.body_shapes import body_shapes

    length = spine_length(size) if length is None else length
    skeleton = pose_skeleton(size, length, posture)
    limbs = pose_limbs(skeleton, posture)
    pose = landmarks(skeleton, limbs)
    shapes = tuple(body_shapes(skeleton, limbs, look))
    return Fetus(size, posture, skeleton, limbs, pose, shapes, _truth(size, posture, skeleton, pose))


def draw_posture(generator: np.random.Generator, size: Size, length: float) -> Posture:
    """A random posture in which nothing cuts anything."""
    for _ in range(2000):
        posture = _draw_posture(generator, size, length)
        if posture is not None:
            return posture
    raise RuntimeError("no posture without self-intersection was found; the joint ranges are too tight")


def sample_fetus(generator: np.random.Generator, gestational_age_days: float | None = None) -> Fetus:
    """A random fetus of 10-15 weeks in a random posture in which nothing cuts anything.

    Args:
        generator: source of randomness.
        gestational_age_days: drawn evenly if None.
    """
    size = sample_size(generator, gestational_age_days)
    length = spine_length(size)
    posture = draw_posture(generator, size, length)
    look = np.random.default_rng(generator.integers(2**63))
    return make_fetus(size, posture, look, length)


def _truth(size: Size, posture: Posture, skeleton: Skeleton, pose: Array) -> dict[str, Any]:
    schema = default_schema()

    def at(key: str) -> Array:
        return np.asarray(pose[schema.index(key)])

    angles = {}
    for side in SIDES:
        arm, leg = (
            [at(f"{side}_{n}") for n in ("shoulder", "elbow", "wrist")],
            [at(f"{side}_{n}") for n in ("hip", "knee", "ankle")],
        )
        angles[f"{side}_elbow_interior"] = interior_angle(*arm)
        angles[f"{side}_knee_interior"] = interior_angle(*leg)
        angles[f"{side}_hip_shoulder_elbow"] = interior_angle(leg[0], arm[0], arm[1])
        angles[f"{side}_shoulder_hip_knee"] = interior_angle(arm[0], leg[0], leg[1])
    return {
        "gestational_age_days": round(size.days, 3),
        "gestational_age_weeks": round(size.days / 7, 4),
        "crl_mm": round(float(np.linalg.norm(at("cranial_crest") - at("rump"))), 4),
        "crl_neutral_mm": round(size.crl, 4),
        "size": size.as_dict(),
        "bones_mm": {
            f"{side}_{bone}": {"diaphysis": round(diaphysis, 4), "joint_to_joint": round(joint, 4)}
            for side in SIDES
            for bone, diaphysis, joint in (
                ("femur", size.femur, size.femur_joint),
                ("humerus", size.humerus, size.humerus_joint),
            )
        },
        "posture_deg": {key: round(value, 3) for key, value in sorted(posture.items())},
        "joint_angles_deg": {key: round(value, 3) for key, value in angles.items()},
        "spine_length_mm": round(skeleton.spine.length, 4),
    }
