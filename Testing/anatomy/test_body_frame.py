"""Body frames: the canonical template, frames from imperfect landmarks, and what counts as the same body."""

from __future__ import annotations

import numpy as np
import pytest
from anatomy.bodies import standing_body
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.body_frame import BodyFrame, body_frame, canonical_template
from FetusMapV2Lib.anatomy.registration import register
from FetusMapV2Lib.anatomy.schema import default_schema

SCHEMA = default_schema()
TRUNK = list(SCHEMA.rows("ht"))


@pytest.fixture(scope="module")
def poses() -> np.ndarray:
    """(12, 22, 3) bodies of different sizes and slightly different shapes, anywhere."""
    generator = np.random.default_rng(0)
    return np.stack([_placed(generator) for _ in range(12)])


@pytest.fixture(scope="module")
def template(poses: np.ndarray) -> np.ndarray:
    return canonical_template(poses, SCHEMA)


def _placed(generator: np.random.Generator) -> np.ndarray:
    body = standing_body() * generator.uniform(0.8, 1.25) + generator.normal(scale=0.5, size=(22, 3))
    return body @ Rotation.random(random_state=generator).as_matrix().T + generator.normal(scale=20, size=3)


def test_template_stands_upright_with_unit_length(template):
    crown, rump = SCHEMA.crl_rows
    assert np.linalg.norm(template[crown] - template[rump]) == pytest.approx(1.0)
    assert template[crown, 2] - template[rump, 2] == pytest.approx(1.0)
    for left in ("left_shoulder", "left_hip"):
        row = SCHEMA.index(left)
        assert template[row, 0] > 0 > template[SCHEMA.mirror_rows[row], 0]
    # x left, y posterior, z cranial: the nose lies in front of the neck
    assert template[SCHEMA.index("nasal_tip"), 1] < template[SCHEMA.index("hind_neck"), 1]


def test_frame_turns_with_the_fetus(poses, template):
    turn = Rotation.from_rotvec([0.4, -2.0, 1.0]).as_matrix()
    before = body_frame(poses[3], None, template, SCHEMA)
    after = body_frame(poses[3] @ turn.T + [5.0, -7.0, 11.0], None, template, SCHEMA)
    np.testing.assert_allclose(after.axes, turn @ before.axes, atol=1e-6)
    np.testing.assert_allclose(after.centre, turn @ before.centre + [5.0, -7.0, 11.0], atol=1e-6)
    assert np.linalg.det(after.axes) == pytest.approx(1.0)


def test_frame_survives_one_landmark_gone_astray(poses, template):
    true = body_frame(poses[5], None, template, SCHEMA)
    astray = poses[5].copy()
    astray[SCHEMA.index("chin")] += 60.0
    found = body_frame(astray, None, template, SCHEMA)
    assert true.angle_to(found) < 10.0
    assert found.length_mm == pytest.approx(true.length_mm, rel=0.12)


def test_frame_needs_four_landmarks(poses, template):
    sparse = np.full((22, 3), np.nan)
    sparse[:3] = poses[0][:3]
    assert body_frame(sparse, None, template, SCHEMA) is None


def test_the_template_is_the_mean_of_the_aligned_poses():
    body = standing_body()
    low, high = body.copy(), body.copy()
    low[15] -= [0.0, 0.0, 2.0]
    high[15] += [0.0, 0.0, 2.0]
    turn = Rotation.from_rotvec([0.3, 1.0, -2.0]).as_matrix()
    mean = canonical_template(np.stack([low, 1.7 * high @ turn.T + 9.0]), SCHEMA)
    np.testing.assert_allclose(mean, canonical_template(body[None], SCHEMA), atol=1e-9)
    np.testing.assert_allclose(mean[TRUNK].mean(axis=0), 0.0, atol=1e-9)


def test_the_template_is_made_by_five_alignments_to_the_mean(poses: np.ndarray, template: np.ndarray):
    mean = poses[0] - poses[0][TRUNK].mean(axis=0)
    for _ in range(5):
        mean = np.mean([register(pose[TRUNK], mean[TRUNK]).apply(pose) for pose in poses], axis=0)
    length = np.linalg.norm(mean[0] - mean[9])
    cranial = (mean[0] - mean[9]) / length
    left = sum(mean[one] - mean[other] for one, other in SCHEMA.pairs)
    left = left - (left @ cranial) * cranial
    left = left / np.linalg.norm(left)
    axes = np.stack([left, np.cross(cranial, left), cranial], axis=1)
    np.testing.assert_allclose(template, mean @ axes / length, atol=1e-12)


def test_landmarks_missing_in_some_poses_are_averaged_over_the_others():
    body = standing_body()
    without = body.copy()
    without[[12, 20]] = np.nan
    mean = canonical_template(np.stack([without, body]), SCHEMA)
    np.testing.assert_allclose(mean, canonical_template(body[None], SCHEMA))
    with pytest.raises(ValueError, match="no training pose has all"):
        canonical_template(np.where(np.arange(22)[:, None] == TRUNK[3], np.nan, body)[None], SCHEMA)


def test_a_frame_is_exact_where_the_pose_has_the_shape_of_the_template(template: np.ndarray):
    turn = Rotation.from_rotvec([0.4, -2.0, 1.0]).as_matrix()
    pose = 63.0 * template @ turn.T + [5.0, -7.0, 11.0]
    frame = body_frame(pose, None, template, SCHEMA)
    assert frame is not None and frame.length_mm == pytest.approx(63.0)
    np.testing.assert_allclose(frame.axes, turn, atol=1e-9)
    np.testing.assert_allclose(frame.centre, [5.0, -7.0, 11.0], atol=1e-9)


def test_landmarks_without_weight_and_limbs_are_not_used(template: np.ndarray):
    pose = 63.0 * template
    pose[10:] = np.nan
    weights = np.ones(22)
    pose[TRUNK[0]], weights[TRUNK[0]] = 500.0, 0.0
    frame = body_frame(pose, weights, template, SCHEMA)
    assert frame is not None and frame.length_mm == pytest.approx(63.0)
    weights[TRUNK[:7]] = 0.0
    assert body_frame(pose, weights, template, SCHEMA) is None
    weights[TRUNK[6]] = 1.0
    assert body_frame(pose, weights, template, SCHEMA) is not None


def test_the_residual_of_an_outlier_reduces_its_weight(template: np.ndarray):
    pose = 60.0 * template
    pose[TRUNK[4]] += [0.0, -20.0, 0.0]
    frame = body_frame(pose, None, template, SCHEMA)
    assert frame is not None
    once = register(template[TRUNK], pose[TRUNK])
    assert np.linalg.norm(once.matrix[:3, 3]) > 1.5
    np.testing.assert_allclose(np.linalg.norm(frame.centre), 0.19, atol=0.02)
    np.testing.assert_allclose(frame.angle_to(FRAME), 0.16, atol=0.02)


FRAME = BodyFrame(np.array([30.0, -40.0, 20.0]), np.eye(3), 60.0)


def changed(degrees: float = 0.0, scale: float = 1.0, shift_mm: float = 0.0) -> BodyFrame:
    return FRAME.turned(Rotation.from_rotvec([0.0, 0.0, degrees], degrees=True), scale, np.array([0.0, shift_mm, 0.0]))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (changed(), True),
        (changed(degrees=4.9), True),
        (changed(degrees=5.1), False),
        (changed(scale=np.exp(0.049)), True),
        (changed(scale=np.exp(-0.049)), True),
        (changed(scale=np.exp(0.051)), False),
        (changed(scale=np.exp(-0.051)), False),
        (changed(shift_mm=500.0), True),
    ],
)
def test_frames_of_nearly_the_same_view(other: BodyFrame, expected: bool):
    assert FRAME.gives_same_view_as(other) is expected


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (None, False),
        (changed(), True),
        (changed(degrees=44.0), True),
        (changed(degrees=46.0), False),
        (changed(shift_mm=29.9), True),
        (changed(shift_mm=30.1), False),
        (changed(scale=np.exp(0.199)), True),
        (changed(scale=np.exp(-0.201)), False),
    ],
)
def test_frames_of_one_body_in_consecutive_frames(other: BodyFrame | None, expected: bool):
    assert FRAME.is_near(other) is expected


def test_distances_are_between_the_centres_wherever_they_are():
    away = np.array([500.0, -200.0, 90.0])
    first, other = (BodyFrame(away + np.array([0, shift, 0]), np.eye(3), 60.0) for shift in (0.0, 29.0))
    assert first.is_near(other) and not FRAME.is_near(first)


def test_a_turn_is_about_the_axes_of_the_frame():
    first = FRAME.turned(Rotation.from_rotvec([90.0, 0.0, 0.0], degrees=True))
    second = first.turned(Rotation.from_rotvec([0.0, 0.0, 90.0], degrees=True), 2.0, [1.0, 2.0, 3.0])
    np.testing.assert_allclose(second.axes[:, 0], first.axes[:, 1], atol=1e-12)
    np.testing.assert_allclose(second.centre - FRAME.centre, [1.0, 2.0, 3.0])
    assert second.length_mm == 120.0 and first.length_mm == 60.0


def test_jitter_is_reproducible_and_about_as_large_as_asked():
    frame = BodyFrame(np.zeros(3), np.eye(3), 60.0)
    one = frame.jittered(np.random.default_rng(1), 10.0, 0.1, 0.05)
    two = frame.jittered(np.random.default_rng(1), 10.0, 0.1, 0.05)
    np.testing.assert_array_equal(one.axes, two.axes)
    generator = np.random.default_rng(2)
    many = [frame.jittered(generator, 10.0, 0.1, 0.05) for _ in range(300)]
    assert np.sqrt(np.mean([frame.angle_to(j) ** 2 for j in many])) == pytest.approx(10.0, rel=0.15)
    assert np.std([j.centre[0] for j in many]) == pytest.approx(3.0, rel=0.15)
    assert np.std([np.log(j.length_mm / 60.0) for j in many]) == pytest.approx(0.1, rel=0.15)
    assert max(abs(np.log(j.length_mm / 60.0)) for j in many) <= 0.25 + 1e-9
