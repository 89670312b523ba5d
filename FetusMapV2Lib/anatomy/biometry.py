"""Lengths of a pose (crown-rump, femora, humeri), with their uncertainty, and the neck's angle.

Landmarks are joint centres, so bone lengths here exceed the sonographic ones; every measurement says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from FetusMapV2Lib.anatomy.laterality import RADIUS90_IN_SD
from FetusMapV2Lib.anatomy.pose import HAND_RADIUS90_MM, Pose
from FetusMapV2Lib.anatomy.schema import Schema

#: Half-width of a two-sided 90 % interval of a normal distribution in standard deviations.
Z90 = 1.6448536
#: Neck angles outside this range are reported, as CRL is meant for a neutral neck; the limits are our own.
NEUTRAL_NECK_DEG = (-15.0, 40.0)

#: Note on bone lengths.
JOINT_CENTRES = (
    "Bone lengths are distances between joint centres, longer than the ossified diaphysis that FL and HL charts use."
)
#: Step of the numeric derivatives of angles.
_STEP_MM = 1e-4

_BONE_NOTE = "Between joint centres; longer than the sonographic {bone} length, which is the ossified shaft only"
_NAMES = {
    "left_femur": "Left femur",
    "right_femur": "Right femur",
    "left_humerus": "Left humerus",
    "right_humerus": "Right humerus",
}


@dataclass(frozen=True)
class Measurement:
    """A length between two landmarks.

    Attributes:
        value_mm: NaN if a landmark is missing.
        uncertainty_mm: half-width of the 90 % interval, or None without landmark radii; an end that a person set
            counts with `pose.HAND_RADIUS90_MM`.
        rows: pose rows of the two ends.
        note: on how to interpret the value.
        placed_by_hand: whether a person set an end.
    """

    key: str
    name: str
    value_mm: float
    uncertainty_mm: float | None
    rows: tuple[int, int]
    note: str
    placed_by_hand: bool = False


def measure(pose: Pose) -> tuple[Measurement, ...]:
    """CRL, left and right femur, left and right humerus, in this order.

    The uncertainty takes the two landmark errors as independent isotropic Gaussians with the pose's 90 % radii:
    along the line the variances add, and the half-width is 1.645 standard deviations.
    """
    schema = pose.schema
    crl_note = _crl_note(neck_flexion_deg(pose.positions, schema))
    crl = _measurement(pose, "crl", "Crown-rump length", schema.crl_rows, crl_note)
    bones = (
        _measurement(pose, key, _NAMES[key], rows, _BONE_NOTE.format(bone=key.split("_")[-1]))
        for key, rows in schema.bones.items()
    )
    return (crl, *bones)


def neck_flexion_deg(positions: np.ndarray, schema: Schema) -> float:
    """Angle in degrees between face and trunk in the median plane of one pose (N, 3); see `neck_flexions_deg`."""
    return float(neck_flexions_deg(positions, schema))


def neck_flexions_deg(positions: np.ndarray, schema: Schema) -> np.ndarray:
    """Angles in degrees between face and trunk in the median plane; NaN where a landmark is missing.

    0 = neutral (the line forehead-chin runs parallel to the line from the upper thoracic to the lumbosacral
    spine), positive = flexed (chin towards the chest), negative = extended. The median plane is that of the
    trunk frame.

    Args:
        positions: (..., N, 3) mm.
        schema: of the landmarks.

    Returns:
        (...,).
    """
    rows = [*schema.face_rows, *schema.trunk_frame_rows]
    return _neck_angles(np.asarray(positions, dtype=np.float64)[..., rows, :])


def neck_uncertainty_deg(pose: Pose) -> float | None:
    """Half-width in degrees of the 90 % interval of the neck flexion; None if angle or radii are unknown.

    The errors of the landmarks are taken as independent isotropic Gaussians with the pose's 90 % radii and carried
    through the angle to first order.
    """
    schema = pose.schema
    rows = [*schema.face_rows, *schema.trunk_frame_rows]
    radii = pose.assumed_radius90_mm
    if radii is None:
        return None
    points = pose.positions[rows]
    moves = np.eye(points.size).reshape(-1, *points.shape) * _STEP_MM
    turned = (_neck_angles(points + moves) - _neck_angles(points) + 180.0) % 360.0 - 180.0
    deviations = np.repeat(radii[rows] / RADIUS90_IN_SD, 3)
    spread = float(np.linalg.norm(turned / _STEP_MM * deviations))
    return Z90 * spread if math.isfinite(spread) else None


def _neck_angles(points: np.ndarray) -> np.ndarray:
    """Neck flexion in degrees, (...,), of (..., 5, 3): forehead, chin, and the trunk frame; NaN where undefined."""
    forehead, chin, upper, middle, lower = np.moveaxis(points, -2, 0)
    trunk, face = lower - upper, chin - forehead
    left = np.cross(middle - upper, trunk)
    with np.errstate(invalid="ignore", divide="ignore"):
        sine = _length(left) / (_length(middle - upper) * _length(trunk))
        # Collinear trunk landmarks give no median plane; NaN compares false as well.
        left = np.where(sine > 1e-6, left / _length(left), np.nan)
    across = trunk - (trunk * left).sum(axis=-1, keepdims=True) * left
    # Turning the face line about the left axis by the right hand brings the chin to the chest.
    angle = np.arctan2((left * np.cross(trunk, face)).sum(axis=-1), (across * face).sum(axis=-1))
    return np.asarray(np.degrees(angle))


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(vectors, axis=-1, keepdims=True))


def _crl_note(flexion: float) -> str:
    note = "Straight line from crown to rump"
    if math.isnan(flexion):
        return f"{note}; neck angle unknown"
    low, high = NEUTRAL_NECK_DEG
    if flexion > high:
        return f"{note}; neck flexed by {flexion:.0f} deg: may be too short for dating"
    if flexion < low:
        return f"{note}; neck extended by {-flexion:.0f} deg: may be too long for dating"
    return f"{note}; neck neutral ({flexion:.0f} deg)"


def _measurement(pose: Pose, key: str, name: str, rows: tuple[int, int], note: str) -> Measurement:
    start, end = rows
    value = float(np.linalg.norm(pose.positions[end] - pose.positions[start]))
    uncertainty, radii = None, pose.assumed_radius90_mm
    by_hand = bool(pose.placed_by_hand[[start, end]].any())
    if radii is not None:
        combined = float(np.hypot(radii[start], radii[end])) * Z90 / RADIUS90_IN_SD
        uncertainty = combined if math.isfinite(value) and math.isfinite(combined) else None
    if by_hand:
        note += f"; an end set by hand counts with a 90 % radius of {HAND_RADIUS90_MM:g} mm"
    return Measurement(key, name, value, uncertainty, rows, note, by_hand)
