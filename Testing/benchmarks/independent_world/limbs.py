"""Arms and legs: joints from directions and lengths, skin and bones around them, in body axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .posture import SIDES, Posture
from .shapes import Capsule, Ellipsoid, Shape
from .sizes import Sizes

Array = NDArray[np.floating]
#: Radii of the skin over the CRL: of each part at its start and end.
_SKIN = {
    "upper_arm": (0.044, 0.035),
    "lower_arm": (0.034, 0.023),
    "thigh": (0.064, 0.045),
    "shank": (0.042, 0.027),
}
_PARTS = {
    "upper_arm": ("shoulder", "elbow", "humerus"),
    "lower_arm": ("elbow", "wrist", "forearm"),
    "thigh": ("hip", "knee", "femur"),
    "shank": ("knee", "ankle", "tibia"),
}


@dataclass(frozen=True, eq=False)
class Limbs:
    """Joints (3,) mm by "left_elbow" and the like, the shapes of the skin, and the parts inside."""

    joints: dict[str, Array]
    skin: tuple[Shape, ...]
    parts: tuple[tuple[Shape, str], ...]


def make_joints(sizes: Sizes, posture: Posture, roots: dict[str, Array], frames: dict[str, Array]) -> dict[str, Array]:
    """All joints from the roots ("left_shoulder", "left_hip", ...) and the frames of "upper" and "lower" trunk."""
    joints = dict(roots)
    lengths = {"upper_arm": sizes.upper_arm, "lower_arm": sizes.lower_arm, "thigh": sizes.thigh, "shank": sizes.shank}
    for side in SIDES:
        for part, (start, end, _) in _PARTS.items():
            frame = frames["upper" if "arm" in part else "lower"]
            direction = frame @ posture.limbs[side, part]
            joints[f"{side}_{end}"] = joints[f"{side}_{start}"] + lengths[part] * direction
    return joints


def segments(sizes: Sizes, joints: dict[str, Array]) -> list[Capsule]:
    """The skin of the eight long parts, left arm, left leg, right arm, right leg."""
    found = []
    for side in SIDES:
        for part, (start, end, _) in _PARTS.items():
            wide, narrow = (radius * sizes.crl * sizes.plump for radius in _SKIN[part])
            found.append(Capsule(joints[f"{side}_{start}"], joints[f"{side}_{end}"], wide, narrow))
    return found


def make_limbs(sizes: Sizes, joints: dict[str, Array], front: Array, random: np.random.Generator) -> Limbs:
    """Skin and bones; `front` (3,) is the direction a straight leg's foot points to."""
    skin: list[Shape] = list(segments(sizes, joints))
    parts: list[tuple[Shape, str]] = []
    for side in SIDES:
        for part, (start, end, bone) in _PARTS.items():
            parts += _long_bones(sizes, joints[f"{side}_{start}"], joints[f"{side}_{end}"], part, getattr(sizes, bone))
        hand_skin, hand_bones = _hand(sizes, joints, side, random)
        foot_skin, foot_bones = _foot(sizes, joints, side, front, random)
        skin += [*hand_skin, *foot_skin]
        parts += hand_bones + foot_bones
    return Limbs(joints, tuple(skin), tuple(parts))


def _long_bones(sizes: Sizes, start: Array, end: Array, part: str, shaft: float) -> list[tuple[Shape, str]]:
    """Muscle, cartilage from joint to joint, and the ossified shaft or shafts in its middle."""
    axis = _unit(end - start)
    middle, unit = (start + end) / 2, 0.013 * sizes.crl
    wide, narrow = (radius * sizes.crl * sizes.plump for radius in _SKIN[part])
    found: list[tuple[Shape, str]] = [(Capsule(start, end, 0.8 * wide, 0.75 * narrow), "muscle")]
    doubled = part in ("lower_arm", "shank")
    side = _across(axis) * (0.75 * unit if doubled else 0.0)
    ways = (1.0, -1.0) if doubled else (1.0,)
    thick = 0.9 * unit
    found += [(Capsule(start + way * side, end + way * side, thick, thick), "cartilage") for way in ways]
    found += [(_ball(start, 1.5 * unit), "cartilage"), (_ball(end, 1.25 * unit), "cartilage")]
    for way in ways:
        radius = unit * (0.55 if doubled else 0.72)
        half = max(shaft / 2 - radius, 0.2) * axis
        found.append((Capsule(middle + way * side - half, middle + way * side + half, radius, radius), "bone"))
    return found


def _ball(centre: Array, radius: float) -> Ellipsoid:
    return Ellipsoid(centre, np.full(3, radius))


def _hand(
    sizes: Sizes, joints: dict[str, Array], side: str, random: np.random.Generator
) -> tuple[list[Shape], list[tuple[Shape, str]]]:
    """A palm, a thumb and four fingers that go on from the forearm."""
    wrist = joints[f"{side}_wrist"]
    along = _unit(_unit(wrist - joints[f"{side}_elbow"]) + random.normal(0, 0.22, 3))
    flat = _unit(np.cross(along, random.normal(0, 1, 3)))
    wide = np.cross(flat, along)
    length, thin = sizes.hand, 0.075 * sizes.hand
    palm = Ellipsoid(
        wrist + 0.27 * length * along, np.array([0.30, 0.24, 0.11]) * length, np.stack([along, wide, flat], axis=1)
    )
    skin: list[Shape] = [palm]
    bones: list[tuple[Shape, str]] = []
    curl = random.uniform(-0.1, 0.7) * flat
    for finger in range(5):
        spread = (finger - 1.5) / 4 if finger < 4 else -0.75
        start = wrist + (0.45 if finger < 4 else 0.2) * length * along + 0.36 * length * spread * wide
        tip = start + (0.5 if finger < 4 else 0.36) * length * _unit(along + 0.5 * spread * wide + curl)
        skin.append(Capsule(start, tip, thin, 0.8 * thin))
        bones.append((Capsule(wrist + 0.12 * (start - wrist), start, 0.45 * thin, 0.45 * thin), "thin_bone"))
        bones.append((Capsule(start, tip, 0.4 * thin, 0.4 * thin), "thin_bone"))
    return skin, bones


def _foot(
    sizes: Sizes, joints: dict[str, Array], side: str, front: Array, random: np.random.Generator
) -> tuple[list[Shape], list[tuple[Shape, str]]]:
    """A heel and a sole; toes point to the front of the shank."""
    ankle, knee, hip = (joints[f"{side}_{joint}"] for joint in ("ankle", "knee", "hip"))
    down = _unit(ankle - knee)
    ahead = _unit(knee - hip) + 0.15 * front
    ahead = _unit(ahead - (ahead @ down) * down)
    along = _unit(ahead + random.uniform(0.1, 0.9) * down + random.normal(0, 0.15, 3))
    sole = _unit(down - (down @ along) * along)
    length = sizes.foot
    heel = ankle - 0.16 * length * along + 0.13 * length * sole
    ball = ankle + 0.50 * length * along + 0.17 * length * sole
    toes = ankle + 0.72 * length * along + 0.17 * length * sole
    skin: list[Shape] = [
        Capsule(ankle, heel, 0.15 * length, 0.16 * length),
        Capsule(heel, ball, 0.14 * length, 0.13 * length),
        Capsule(ball, toes, 0.13 * length, 0.09 * length),
        Capsule(ankle, ball, 0.16 * length, 0.12 * length),
    ]
    bones: list[tuple[Shape, str]] = [(_ball(heel, 0.07 * length), "cartilage")]
    wide = np.cross(along, sole)
    for toe in range(3):
        aside = (toe - 1) * 0.07 * length * wide
        start = ankle + 0.24 * length * along + 0.16 * length * sole + aside
        bones.append((Capsule(start, ball + aside, 0.025 * length, 0.025 * length), "thin_bone"))
    return skin, bones


def _across(axis: Array) -> Array:
    other = np.eye(3)[int(np.argmin(np.abs(axis)))]
    return _unit(np.cross(axis, other))


def _unit(vector: Array) -> Array:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
