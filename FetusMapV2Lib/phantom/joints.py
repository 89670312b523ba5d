"""Joint angles: their names, ranges and random draws, and the joint positions of a limb.

Angles in degrees. Frames have x to the fetal left, y posterior, z cranial.
"""

from __future__ import annotations

import numpy as np

from FetusMapV2Lib.phantom.shapes import Array, unit

SIDES = ("left", "right")
#: name: (least, mean, sd, most). Draws are normal within the bounds. The interior angles of knee and elbow reach
#: past those of 19,816 poses of 27-37 weeks (knee 29-172, elbow 31-144) on the extended side, as limbs are
#: more extended at 10-15 weeks.
BODY_RANGES: dict[str, tuple[float, float, float, float]] = {
    "trunk_flexion": (-5.0, 46.0, 23.0, 95.0),
    "trunk_lateral": (-18.0, 0.0, 8.0, 18.0),
    "trunk_twist": (-25.0, 0.0, 11.0, 25.0),
    "neck_flexion": (-35.0, 0.0, 14.0, 35.0),
    "neck_lateral": (-20.0, 0.0, 8.0, 20.0),
    "neck_rotation": (-45.0, 0.0, 18.0, 45.0),
}
ARM_RANGES: dict[str, tuple[float, float, float, float]] = {
    "shoulder_flexion": (-30.0, 55.0, 38.0, 160.0),
    "shoulder_abduction": (-10.0, 20.0, 20.0, 85.0),
    "arm_swivel": (-85.0, 0.0, 38.0, 85.0),
    "elbow": (38.0, 90.0, 36.0, 170.0),
    "wrist": (-35.0, 5.0, 16.0, 45.0),
}
LEG_RANGES: dict[str, tuple[float, float, float, float]] = {
    "hip_flexion": (0.0, 98.0, 32.0, 150.0),
    "hip_abduction": (-8.0, 20.0, 14.0, 60.0),
    "leg_swivel": (-40.0, 16.0, 26.0, 80.0),
    "knee": (40.0, 105.0, 36.0, 175.0),
    "ankle": (35.0, 72.0, 18.0, 110.0),
}
#: Ranges for two frequent postures at this age: ankles crossed, a hand at the face.
CROSSED_LEG: dict[str, tuple[float, float, float, float]] = {
    **LEG_RANGES,
    "hip_abduction": (-8.0, 14.0, 14.0, 50.0),
    "leg_swivel": (0.0, 48.0, 20.0, 80.0),
    "knee": (40.0, 95.0, 26.0, 150.0),
}
HAND_AT_FACE: dict[str, tuple[float, float, float, float]] = {
    **ARM_RANGES,
    "shoulder_flexion": (10.0, 80.0, 32.0, 160.0),
    "arm_swivel": (-60.0, 10.0, 34.0, 85.0),
    "elbow": (38.0, 62.0, 20.0, 120.0),
}
#: Limbs drawn up to the body, nearer to those of 27-37 weeks (19,816 poses, median: trunk to thigh 39, hip to shoulder
#: to elbow 43, knee 70, elbow 73 degrees), where there is less room.
FOLDED_LEG: dict[str, tuple[float, float, float, float]] = {
    **LEG_RANGES,
    "hip_flexion": (40.0, 132.0, 20.0, 150.0),
    "hip_abduction": (-8.0, 20.0, 16.0, 60.0),
    "knee": (40.0, 125.0, 36.0, 175.0),
}
FOLDED_ARM: dict[str, tuple[float, float, float, float]] = {
    **ARM_RANGES,
    "shoulder_flexion": (-30.0, 26.0, 26.0, 120.0),
    "shoulder_abduction": (-10.0, 10.0, 14.0, 60.0),
    "elbow": (38.0, 120.0, 36.0, 170.0),
}
#: Limbs as those of 27-37 weeks are when they stretch: thighs at the abdomen, shanks up before the body, arms close
#: to the trunk. Along the directions of 19,816 poses, opened as there is more room, nearly all shanks point forward.
RAISED_LEG: dict[str, tuple[float, float, float, float]] = {
    **LEG_RANGES,
    "hip_flexion": (80.0, 158.0, 18.0, 180.0),
    "hip_abduction": (-12.0, 8.0, 12.0, 45.0),
    "leg_swivel": (-60.0, 10.0, 24.0, 70.0),
    "knee": (70.0, 140.0, 24.0, 178.0),
}
CLOSE_ARM: dict[str, tuple[float, float, float, float]] = {
    **ARM_RANGES,
    "shoulder_flexion": (-70.0, 24.0, 28.0, 120.0),
    "shoulder_abduction": (-20.0, -6.0, 8.0, 40.0),
    "arm_swivel": (-85.0, 0.0, 45.0, 85.0),
    "elbow": (45.0, 125.0, 30.0, 172.0),
}
#: Arms that lie along the body: swung as far forward as the chest leans and outward past it, they point to the rump.
ALONG_ARM: dict[str, tuple[float, float, float, float]] = {
    **CLOSE_ARM,
    "shoulder_flexion": (-20.0, 44.0, 26.0, 125.0),
    "shoulder_abduction": (-10.0, 20.0, 12.0, 60.0),
}
#: The posture in which a crown-rump length is measured: slightly flexed trunk, neutral neck.
NEUTRAL_BODY: dict[str, float] = {
    "trunk_flexion": 45.0,
    "trunk_lateral": 0.0,
    "trunk_twist": 0.0,
    "neck_flexion": 0.0,
    "neck_lateral": 0.0,
    "neck_rotation": 0.0,
}


def draw_angles(
    generator: np.random.Generator, ranges: dict[str, tuple[float, float, float, float]], count: int
) -> dict[str, Array]:
    """`count` draws (count,) of each angle; an eighth of them even over the whole range, for rare postures."""
    drawn: dict[str, Array] = {}
    for name, (least, mean, sd, most) in ranges.items():
        normal = generator.normal(mean, sd, count)
        even = generator.uniform(least, most, count)
        use_even = (generator.random(count) < 0.125) | (normal < least) | (normal > most)
        drawn[name] = np.where(use_even, even, normal)
    return drawn


def _away(vector: Array, direction: Array) -> Array:
    """The part of `vector` at right angles to `direction`, at length 1 (both (..., 3))."""
    across = vector - (vector * direction).sum(-1, keepdims=True) * direction
    return unit(across + 1e-9)


def _swung(flexion: Array, abduction: Array, side: int) -> Array:
    """Direction (B, 3) of a limb that hangs down (-z), swung forward by flexion and outward by abduction."""
    f, a = np.radians(flexion), np.radians(abduction)
    return np.stack([side * np.sin(a), -np.cos(a) * np.sin(f), -np.cos(a) * np.cos(f)], axis=-1)


def _bent(direction: Array, bend_towards: Array, interior: Array) -> tuple[Array, Array]:
    """Direction of the next segment with this interior angle, and the direction of further bending."""
    beta = np.radians(180.0 - interior)[..., None]
    following = np.cos(beta) * direction + np.sin(beta) * bend_towards
    further = np.cos(beta) * bend_towards - np.sin(beta) * direction
    return following, further


def arm_joints(angles: dict[str, Array], side: int, upper: float, fore: float, hand: float) -> tuple[Array, Array]:
    """Shoulder, elbow, wrist and finger tip (B, 4, 3) from the shoulder in the thorax's frame, mm.

    Args:
        angles: the names of `ARM_RANGES`, each (B,).
        side: +1 for left, -1 for right.
        upper: length of the upper arm, mm.
        fore: length of the forearm, mm.
        hand: length of the hand, mm.

    Returns:
        the joints, and the direction (B, 3) in which the elbow bends (palm side).
    """
    along = _swung(angles["shoulder_flexion"], angles["shoulder_abduction"], side)
    ahead = _away(np.array([-0.5 * side, -0.8, 0.45]), along)
    # A turn by +swivel takes either hand towards the midline.
    swivel = side * np.radians(angles["arm_swivel"])[..., None]
    bend = np.cos(swivel) * ahead + np.sin(swivel) * np.cross(along, ahead)
    forearm, further = _bent(along, bend, angles["elbow"])
    palm, _ = _bent(forearm, further, 180.0 - angles["wrist"])
    joints = np.cumsum(np.stack([0 * along, upper * along, fore * forearm, hand * palm], axis=-2), axis=-2)
    return joints, further


def leg_joints(angles: dict[str, Array], side: int, thigh: float, shank: float, foot: float) -> tuple[Array, Array]:
    """Hip, knee, ankle and toes (B, 4, 3) from the hip in the pelvis's frame, mm.

    Args:
        angles: the names of `LEG_RANGES`, each (B,).
        side: +1 for left, -1 for right.
        thigh: length of the thigh, mm.
        shank: length of the shank, mm.
        foot: length from ankle to toes, mm.

    Returns:
        the joints, and the direction (B, 3) in which the knee bends (calf side).
    """
    along = _swung(angles["hip_flexion"], angles["hip_abduction"], side)
    f = np.radians(angles["hip_flexion"])
    back = _away(np.stack([0 * f, np.cos(f), -np.sin(f)], axis=-1), along)
    medial = _away(np.array([-1.0 * side, 0.0, 0.0]), along)
    swivel = np.radians(angles["leg_swivel"])[..., None]
    bend = _away(np.cos(swivel) * back + np.sin(swivel) * medial, along)
    calf, further = _bent(along, bend, angles["knee"])
    eta = np.radians(angles["ankle"])[..., None]
    sole = np.cos(eta) * calf - np.sin(eta) * further
    joints = np.cumsum(np.stack([0 * along, thigh * along, shank * calf, foot * sole], axis=-2), axis=-2)
    return joints, further


def interior_angle(start: Array, middle: Array, end: Array) -> float:
    """Angle at `middle` between the directions to `start` and `end`, degrees."""
    cosine = float(unit(np.asarray(start) - middle) @ unit(np.asarray(end) - middle))
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
