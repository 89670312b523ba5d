"""One simulated fetus: its size, posture, landmarks and the shapes it is drawn with.

Everything is in the body frame: origin on the spine at mid-thorax, x to the fetal left, y posterior, z cranial, mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.phantom.body_shapes import body_shapes
from FetusMapV2Lib.phantom.build import warped_points, warped_shape
from FetusMapV2Lib.phantom.collisions import limb_balls, surface_points
from FetusMapV2Lib.phantom.joints import SIDES, interior_angle
from FetusMapV2Lib.phantom.limbs import Limb, Posture, pose_limbs
from FetusMapV2Lib.phantom.shapes import Array, Shape
from FetusMapV2Lib.phantom.sizes import Size
from FetusMapV2Lib.phantom.skeleton import Skeleton, head_and_trunk_marks, pose_skeleton, spine_length


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
        """Points (N, 3) on or just below its surface, to test whether it fits into a cavity or a volume."""
        parts = [surface_points(body) for body in (*self.skeleton.trunk, self.skeleton.cranium, *self.skeleton.face)]
        for limb in self.limbs:
            centres, radii = limb_balls(limb.joints, limb.radii)
            steps = np.concatenate([np.eye(3), -np.eye(3)])
            parts.append((centres[:, None, :] + radii[:, None, None] * steps).reshape(-1, 3))
        return warped_points(np.concatenate(parts), self.size.build)


def landmarks(skeleton: Skeleton, limbs: tuple[Limb, ...]) -> Array:
    """(22, 3) landmark positions in the schema's order, body frame, mm."""
    marks = head_and_trunk_marks(skeleton)
    names = {"arm": ("shoulder", "elbow", "wrist"), "leg": ("hip", "knee", "ankle")}
    for limb in limbs:
        for name, joint in zip(names[limb.kind], limb.joints, strict=False):
            marks[f"{limb.side}_{name}"] = joint
    return np.array([marks[key] for key in default_schema().keys])


def make_fetus(size: Size, posture: Posture, variation: np.random.Generator, length: float | None = None) -> Fetus:
    """The fetus of a size in a posture.

    Args:
        size: its measures.
        posture: every angle of `joints`, limb angles with "left_" or "right_" before the name.
        variation: source of the small differences between individuals inside (organs); give the same state for the
            same individual.
        length: of the spine, mm; found from the size if None.
    """
    length = spine_length(size) if length is None else length
    skeleton = pose_skeleton(size, length, posture)
    limbs = pose_limbs(skeleton, posture)
    pose = warped_points(landmarks(skeleton, limbs), size.build)
    shapes = tuple(warped_shape(shape, size.build) for shape in body_shapes(skeleton, limbs, variation))
    return Fetus(size, posture, skeleton, limbs, pose, shapes, _truth(size, posture, skeleton, pose))


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
            f"{side}_{bone}": {
                "diaphysis": round(diaphysis, 4),
                "joint_to_joint": round(float(np.linalg.norm(at(f"{side}_{first}") - at(f"{side}_{last}"))), 4),
            }
            for side in SIDES
            for bone, diaphysis, first, last in (
                ("femur", size.femur, "hip", "knee"),
                ("humerus", size.humerus, "shoulder", "elbow"),
            )
        },
        "posture_deg": {key: round(value, 3) for key, value in sorted(posture.items())},
        "joint_angles_deg": {key: round(value, 3) for key, value in angles.items()},
        "spine_length_mm": round(skeleton.spine.length, 4),
    }
