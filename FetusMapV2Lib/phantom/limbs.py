"""Arms and legs as chains of joints under a posture. Body frame, mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from FetusMapV2Lib.phantom.joints import ARM_RANGES, LEG_RANGES, SIDES, arm_joints, leg_joints
from FetusMapV2Lib.phantom.shapes import Array
from FetusMapV2Lib.phantom.sizes import Size
from FetusMapV2Lib.phantom.skeleton import Skeleton

#: Joint angles in degrees by name, those of limbs with "left_" or "right_" before it.
Posture = dict[str, float]


@dataclass(frozen=True, eq=False)
class Limb:
    """An arm or a leg: joints (4, 3) from the root to finger or toe tips, radii (4,), bending direction (3,)."""

    kind: str
    side: str
    joints: Array
    radii: Array
    bend: Array


def limb_radii(size: Size, kind: str) -> Array:
    """Radius of a limb (mm) at its four joints."""
    girth = size.girth
    if kind == "arm":
        return np.array([0.23, 0.18, 0.125, 0.10]) * girth * size.build.arm_girth
    return np.array([0.32, 0.23, 0.155, 0.11]) * girth * size.build.leg_girth


def _lengths(size: Size, kind: str) -> tuple[float, float, float]:
    if kind == "arm":
        return size.humerus_joint, size.forearm_joint, size.hand
    return size.femur_joint, size.tibia_joint, size.foot


def angle_ranges(kind: str) -> dict[str, tuple[float, float, float, float]]:
    """Ranges of a limb's joint angles by name, see `joints`."""
    return ARM_RANGES if kind == "arm" else LEG_RANGES


def place_limb(skeleton: Skeleton, kind: str, side: str, angles: dict[str, Array]) -> tuple[Array, Array]:
    """Joints (B, 4, 3) and bending directions (B, 3) of a limb under angles (B,), body frame."""
    sign = 1 if side == "left" else -1
    root = skeleton.shoulder(sign) if kind == "arm" else skeleton.hip(sign)
    place = arm_joints if kind == "arm" else leg_joints
    joints, bend = place(angles, sign, *_lengths(skeleton.size, kind))
    return root.points(joints), bend @ root.rotation.T


def pose_limbs(skeleton: Skeleton, posture: Posture) -> tuple[Limb, ...]:
    """Left arm, right arm, left leg, right leg under a posture (degrees)."""
    limbs = []
    for kind in ("arm", "leg"):
        for side in SIDES:
            angles = {name: np.array([posture[f"{side}_{name}"]]) for name in angle_ranges(kind)}
            joints, bend = place_limb(skeleton, kind, side, angles)
            limbs.append(Limb(kind, side, joints[0], limb_radii(skeleton.size, kind), bend[0]))
    return tuple(limbs)
