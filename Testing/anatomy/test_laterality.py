"""Left and right by Eq. 7: on constructed bodies, mirrored ones, and with missing landmarks."""

from __future__ import annotations

import numpy as np
import pytest
from anatomy.bodies import bodies, standing_body
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.laterality import RADIUS90_IN_SD, left_direction, resolve_sides
from FetusMapV2Lib.anatomy.schema import default_schema

SCHEMA = default_schema()
ARMS, LEGS = slice(10, 16), slice(16, 22)


def exchange(poses, rows):
    """Exchange left and right names within a block of six rows."""
    changed = poses.copy()
    block = poses[..., rows, :]
    changed[..., rows, :] = np.concatenate([block[..., 3:, :], block[..., :3, :]], axis=-2)
    return changed


@pytest.mark.parametrize("arms_wrong", [False, True])
@pytest.mark.parametrize("legs_wrong", [False, True])
def test_wrong_names_are_corrected_in_any_orientation(arms_wrong, legs_wrong):
    for true in bodies(seed=1, count=40):
        given = exchange(true, ARMS) if arms_wrong else true
        given = exchange(given, LEGS) if legs_wrong else given
        before = given.copy()
        resolved, laterality = resolve_sides(given, SCHEMA)
        assert np.array_equal(resolved, true)
        assert np.array_equal(given, before)
        assert (laterality.arms_swapped, laterality.legs_swapped) == (arms_wrong, legs_wrong)
        assert laterality.arms_confidence > 0.9
        assert laterality.legs_confidence > 0.9
        assert laterality.consistent is True


def test_in_a_mirrored_body_the_names_change_sides():
    mirror = np.diag([1.0, -1, 1])
    for true in bodies(seed=2, count=20):
        mirrored = true @ mirror
        resolved, _ = resolve_sides(mirrored, SCHEMA)
        # the mirror image of the left arm is a right arm
        assert np.allclose(resolved, mirrored[SCHEMA.mirror_rows])


@pytest.mark.parametrize("frame", [SCHEMA.head_frame_rows, SCHEMA.trunk_frame_rows])
def test_both_frames_point_to_the_fetal_left(frame):
    assert np.allclose(np.sign(left_direction(standing_body(), frame)), [-1, 0, 0])


def test_the_trunk_frame_holds_in_a_curled_and_an_arched_body():
    for bend in (-40, 40, 70):
        body = standing_body()
        # bend the lower body about the left-right axis through the waist
        waist = np.array([0, 0, -5.0])
        lower = [7, 8, 9, *range(16, 22)]
        body[lower] = Rotation.from_euler("x", bend / 2, degrees=True).apply(body[lower] - waist) + waist
        resolved, laterality = resolve_sides(body, SCHEMA)
        assert np.array_equal(resolved, body), bend
        assert laterality.legs_confidence > 0.5


def test_eq7_as_printed_in_the_paper():
    for body in bodies(seed=3, count=20, noise_mm=6.0):
        v14, v16 = body[3] - body[0], body[5] - body[0]
        angle = np.dot(np.cross(v14, v16), body[13] - body[10])
        resolved, laterality = resolve_sides(body, SCHEMA)
        assert laterality.arms_swapped == bool(angle > 0)
        assert np.array_equal(resolved[10], body[10] if angle <= 0 else body[13])


def test_the_confidence_falls_to_zero_as_the_frame_turns_collinear():
    confidences = []
    for flat in (1.0, 0.3, 0.1, 0.0):
        body = standing_body()
        # draw nasal bone and hind neck towards the line straight down from the crest
        body[[3, 5], 1] *= flat
        confidences.append(resolve_sides(body, SCHEMA)[1].arms_confidence)
    assert confidences[0] == 1.0
    assert confidences == sorted(confidences, reverse=True)
    assert confidences[-1] == 0.0


def test_the_confidence_falls_as_the_limb_pair_turns_into_the_median_plane():
    confidences = []
    for angle in (0, 70, 85, 90):
        body = standing_body()
        turn = Rotation.from_euler("z", angle, degrees=True)
        body[ARMS] = turn.apply(body[ARMS])
        confidences.append(resolve_sides(body, SCHEMA)[1].arms_confidence)
    assert confidences[0] == 1.0
    assert confidences[1] > confidences[2] > confidences[3]
    assert confidences[3] < 0.01


@pytest.mark.parametrize("noise_mm", [2.5, 6.0])
def test_the_confidence_with_radii_tells_how_often_the_answer_is_right(noise_mm):
    right, confidence = [], []
    for body in bodies(seed=4, count=1500, noise_mm=noise_mm):
        _, laterality = resolve_sides(body, SCHEMA, radius90_mm=np.full(22, noise_mm * RADIUS90_IN_SD))
        right.append(not laterality.legs_swapped)
        confidence.append(laterality.legs_confidence)
    right, confidence = np.array(right), np.array(confidence)
    sure, unsure = confidence > 0.9, confidence < 0.2
    assert sure.sum() > 20
    assert unsure.sum() > 20
    assert right[sure].mean() > 0.95
    assert right[unsure].mean() < 0.9


def test_larger_radii_never_raise_the_confidence():
    body = standing_body()
    values = [
        resolve_sides(body, SCHEMA, radius90_mm=np.full(22, radius))[1].legs_confidence for radius in (0, 2, 5, 10, 30)
    ]
    assert values[0] == resolve_sides(body, SCHEMA)[1].legs_confidence
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.4 < values[0]
    unknown = resolve_sides(body, SCHEMA, radius90_mm=np.full(22, np.nan))[1]
    assert unknown.legs_confidence == values[0]


@pytest.mark.parametrize("missing", [[5], [10], [13, 5]])
def test_another_landmark_replaces_a_missing_landmark_at_half_the_confidence(missing):
    for swapped in (False, True):
        body = exchange(standing_body(), ARMS) if swapped else standing_body()
        body[missing] = np.nan
        resolved, laterality = resolve_sides(body, SCHEMA)
        assert laterality.arms_swapped is swapped
        assert 0 < laterality.arms_confidence <= 0.5 ** len(missing)
        assert np.isnan(resolved).any(axis=1).sum() == len(missing)


def test_whole_limbs_are_exchanged_with_their_missing_joints():
    body = exchange(standing_body(), LEGS)
    body[18] = np.nan  # named left ankle, truly the right one
    resolved, laterality = resolve_sides(body, SCHEMA)
    assert laterality.legs_swapped
    assert np.isnan(resolved[21]).all()
    assert np.isfinite(resolved[18]).all()


def test_without_an_answer_nothing_is_exchanged():
    for body in (np.full((22, 3), np.nan), np.zeros((22, 3))):
        resolved, laterality = resolve_sides(body, SCHEMA)
        assert np.array_equal(resolved, body, equal_nan=True)
        assert laterality.arms_confidence == laterality.legs_confidence == 0.0
        assert not laterality.arms_swapped
        assert not laterality.legs_swapped
    assert resolve_sides(np.full((22, 3), np.nan), SCHEMA)[1].consistent is None


def test_a_head_turned_back_to_front_is_inconsistent():
    body = standing_body()
    body[:6] = Rotation.from_euler("z", 180, degrees=True).apply(body[:6])
    assert resolve_sides(body, SCHEMA)[1].consistent is False
