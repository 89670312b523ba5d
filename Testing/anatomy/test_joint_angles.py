"""Joint angles: known poses, independence of place and side, gaps, and propagated uncertainty against a simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from anatomy.bodies import bodies, standing_body
from anatomy.moving_bodies import LEFT_WRIST, SCHEMA, bent_elbow
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.biometry import neck_uncertainty_deg
from FetusMapV2Lib.anatomy.joint_angles import angle_list, angle_uncertainty, joint_angles
from FetusMapV2Lib.anatomy.laterality import RADIUS90_IN_SD
from FetusMapV2Lib.anatomy.pose import Pose

KEYS = [angle.key for angle in angle_list(SCHEMA)]


def column(key: str) -> int:
    return KEYS.index(key)


def test_neck_shoulders_elbows_hips_and_knees_of_both_sides():
    assert KEYS[0] == "neck_flexion"
    assert sorted(KEYS[1:]) == sorted(
        f"{side}_{joint}"
        for side in ("left", "right")
        for joint in ("shoulder_elevation", "elbow_flexion", "hip_flexion", "knee_flexion")
    )


def test_limbs_of_two_landmarks_have_one_angle_and_of_one_none():
    wrists = (SCHEMA.index("left_wrist"), SCHEMA.index("right_wrist"))
    apart = [replace(mark, group="ht", side=None, partner=None) for mark in SCHEMA.landmarks]
    without = tuple(apart[mark.row] if mark.row in wrists else mark for mark in SCHEMA.landmarks)
    keys = [angle.key for angle in angle_list(replace(SCHEMA, landmarks=without))]
    assert [key for key in KEYS if key not in keys] == ["left_elbow_flexion", "right_elbow_flexion"]
    alone = tuple(apart[mark.row] if "knee" in mark.key or "ankle" in mark.key else mark for mark in SCHEMA.landmarks)
    keys = [angle.key for angle in angle_list(replace(SCHEMA, landmarks=alone))]
    assert [key for key in KEYS if key not in keys] == [key for key in KEYS if "hip" in key or "knee" in key]


def test_straight_and_right_angles():
    body = standing_body()
    shoulder, hip = SCHEMA.index("left_shoulder"), SCHEMA.index("left_hip")
    down = (body[hip] - body[shoulder]) / np.linalg.norm(body[hip] - body[shoulder])
    forward = np.array([0.0, 1.0, 0.0]) - down[1] * down
    forward /= np.linalg.norm(forward)
    body[SCHEMA.index("left_elbow")] = body[shoulder] + 8 * down
    body[LEFT_WRIST] = body[shoulder] + 15 * down
    body[SCHEMA.index("left_knee")] = body[hip] + 9 * forward
    body[SCHEMA.index("left_ankle")] = body[hip] + 9 * forward - 5 * down
    angles = joint_angles(body, SCHEMA)
    found = [angles[column(f"left_{key}")] for key in
             ("shoulder_elevation", "elbow_flexion", "hip_flexion", "knee_flexion")]  # fmt: skip
    assert found == pytest.approx([0, 0, 90, 90], abs=1e-4)


def test_bending_one_elbow_moves_one_angle():
    angles = joint_angles(bent_elbow(np.array([0.0, -10.0, 25.0])), SCHEMA)
    change = angles - angles[0]
    # turning the forearm towards the upper arm closes the joint
    assert np.abs(change[:, column("left_elbow_flexion")]) == pytest.approx([0, 10, 25])
    assert np.delete(change, column("left_elbow_flexion"), axis=1) == pytest.approx(0.0)


def test_place_turn_and_size_of_the_body_do_not_matter_and_sides_are_alike():
    angles = joint_angles(bodies(3, 20), SCHEMA)
    assert angles == pytest.approx(np.tile(joint_angles(standing_body(), SCHEMA), (20, 1)), abs=1e-6)
    for key in ("shoulder_elevation", "elbow_flexion", "hip_flexion", "knee_flexion"):
        assert angles[0, column(f"left_{key}")] == pytest.approx(angles[0, column(f"right_{key}")])


def test_a_missing_landmark_leaves_only_the_angles_that_need_it_unknown():
    body = standing_body()
    body[LEFT_WRIST] = np.nan
    unknown = [KEYS[number] for number in np.flatnonzero(np.isnan(joint_angles(body, SCHEMA)))]
    assert unknown == ["left_elbow_flexion"]
    interval = angle_uncertainty(body, np.full(22, 1.0), SCHEMA)
    assert [KEYS[number] for number in np.flatnonzero(np.isnan(interval))] == ["left_elbow_flexion"]


def test_uncertainty_is_what_errors_of_that_size_make():
    random = np.random.default_rng(4)
    body, radius = standing_body(), random.uniform(0.2, 0.6, 22)
    noisy = body + random.normal(size=(20_000, 22, 3)) * (radius / RADIUS90_IN_SD)[:, None]
    half_width = np.quantile(np.abs(joint_angles(noisy, SCHEMA) - joint_angles(body, SCHEMA)), 0.9, axis=0)
    assert angle_uncertainty(body, radius, SCHEMA) == pytest.approx(half_width, rel=0.03)


@pytest.mark.parametrize("degrees", [0.0, 180.0])
def test_the_uncertainty_of_the_neck_does_not_jump_at_half_a_turn(degrees):
    radii, body = np.linspace(0.5, 1.5, 22), standing_body()
    turn = degrees - joint_angles(body, SCHEMA)[0]
    body[4] = body[1] + Rotation.from_rotvec([-turn, 0, 0], degrees=True).apply(body[4] - body[1])
    assert abs(joint_angles(body, SCHEMA)[0]) == pytest.approx(degrees, abs=1e-6)
    found = angle_uncertainty(body, radii, SCHEMA)[0]
    assert found == pytest.approx(neck_uncertainty_deg(Pose(body, radius90_mm=radii)), rel=1e-3)
    assert found < 15.0


def test_uncertainty_ends_at_half_a_turn():
    assert (angle_uncertainty(standing_body(), np.full(22, 500.0), SCHEMA) == 180.0).all()
