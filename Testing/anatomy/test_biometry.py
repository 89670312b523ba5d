"""Lengths, their uncertainty, and the neck angle."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy
from anatomy.bodies import bodies, standing_body
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.biometry import Z90, measure, neck_flexion_deg, neck_uncertainty_deg
from FetusMapV2Lib.anatomy.laterality import RADIUS90_IN_SD
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema

SCHEMA = default_schema()


def by_key(pose):
    return {measurement.key: measurement for measurement in measure(pose)}


def nod(body, degrees):
    """Turn the head about the hind neck; positive brings the chin to the chest (right-hand turn about the left)."""
    turned = body.copy()
    turned[:6] = Rotation.from_rotvec([-math.radians(degrees), 0, 0]).apply(body[:6] - body[5]) + body[5]
    return turned


def test_the_lengths_are_the_distances_between_their_landmarks():
    found = by_key(Pose(standing_body()))
    assert list(found) == ["crl", "left_femur", "right_femur", "left_humerus", "right_humerus"]
    assert found["crl"].value_mm == pytest.approx(math.hypot(56, 3))
    assert found["left_femur"].value_mm == pytest.approx(math.sqrt(2**2 + 9**2 + 3**2))
    assert found["right_humerus"].value_mm == pytest.approx(math.sqrt(3**2 + 4**2 + 9**2))
    assert found["crl"].rows == (0, 9)
    assert found["left_humerus"].rows == (10, 11)


def test_bone_lengths_say_that_they_exceed_the_sonographic_ones():
    found = by_key(Pose(standing_body()))
    assert "longer than the sonographic femur length" in found["left_femur"].note
    assert "longer than the sonographic humerus length" in found["right_humerus"].note


def test_a_missing_end_gives_nan_and_no_uncertainty():
    body = standing_body()
    body[17] = np.nan
    found = by_key(Pose(body, radius90_mm=np.ones(22)))
    assert math.isnan(found["left_femur"].value_mm)
    assert found["left_femur"].uncertainty_mm is None
    assert found["right_femur"].uncertainty_mm is not None
    assert by_key(Pose(body))["crl"].uncertainty_mm is None


def test_an_end_set_by_hand_has_the_uncertainty_of_an_observer():
    radii = np.ones(22)
    radii[0] = np.nan
    found = by_key(Pose(standing_body(), radius90_mm=radii))
    assert found["crl"].placed_by_hand and "set by hand counts with a 90 % radius of 1.5 mm" in found["crl"].note
    assert found["crl"].uncertainty_mm == pytest.approx(math.hypot(1.5, 1.0) * Z90 / RADIUS90_IN_SD)
    assert not found["left_femur"].placed_by_hand
    # both ends by two observers: the published limits of agreement of 95 %
    both = by_key(Pose(standing_body(), radius90_mm=np.full(22, np.nan)))["crl"]
    assert both.uncertainty_mm / Z90 * math.sqrt(2) * 1.96 == pytest.approx(2.35, abs=0.02)


def test_without_any_radius_nobody_is_said_to_have_set_an_end():
    found = by_key(Pose(standing_body()))["crl"]
    assert not found.placed_by_hand and found.uncertainty_mm is None


def test_the_uncertainty_covers_90_percent_of_simulated_errors():
    body, rng = standing_body(), np.random.default_rng(0)
    radii = np.linspace(1, 4, 22)
    for key in ("crl", "left_femur"):
        measurement = by_key(Pose(body, radius90_mm=radii))[key]
        start, end = measurement.rows
        ends = rng.normal(size=(20_000, 2, 3))
        # scale so that 90 % of each end's errors stay inside its radius
        size90 = np.quantile(np.linalg.norm(ends, axis=2), 0.9, axis=0)
        ends = body[[start, end]] + ends * (radii[[start, end]] / size90)[:, None]
        errors = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1) - measurement.value_mm
        assert (np.abs(errors) <= measurement.uncertainty_mm).mean() == pytest.approx(0.9, abs=0.03)


def test_the_constants_are_the_quantiles_of_their_distributions():
    assert scipy.stats.norm.ppf(0.95) == pytest.approx(Z90, abs=1e-7)
    assert np.sqrt(scipy.stats.chi2(3).ppf(0.9)) == pytest.approx(RADIUS90_IN_SD, abs=1e-6)


def test_the_uncertainty_adds_the_variances_of_both_ends():
    found = by_key(Pose(standing_body(), radius90_mm=np.arange(1.0, 23.0)))
    assert found["crl"].uncertainty_mm == pytest.approx(Z90 / RADIUS90_IN_SD * math.hypot(1, 10))
    assert found["right_humerus"].uncertainty_mm == pytest.approx(Z90 / RADIUS90_IN_SD * math.hypot(14, 15))


@pytest.mark.parametrize("degrees", [0.0, 60.0, 180.0])
def test_the_neck_uncertainty_does_not_jump_at_half_a_turn(degrees):
    radii = np.linspace(0.5, 1.5, 22)
    body = standing_body()
    body[1:5:3] = nod(body, degrees - neck_flexion_deg(body, SCHEMA))[1:5:3]
    assert abs(neck_flexion_deg(body, SCHEMA)) == pytest.approx(degrees, abs=1e-6)
    face, trunk = body[4] - body[1], body[8] - body[6]
    # the errors of two ends turn a line of this length in the median plane
    turns = [np.hypot(*radii[[1, 4]]) / np.linalg.norm(face), np.hypot(*radii[[6, 8]]) / np.linalg.norm(trunk)]
    expected = np.degrees(np.hypot(*turns)) * Z90 / RADIUS90_IN_SD
    assert neck_uncertainty_deg(Pose(body, radius90_mm=radii)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("degrees", [-60, -20, 0, 20, 45, 80])
def test_the_neck_angle_follows_a_nod_in_any_orientation(degrees):
    neutral = neck_flexion_deg(standing_body(), SCHEMA)
    assert neutral == pytest.approx(0, abs=1)
    assert neck_flexion_deg(nod(standing_body(), degrees), SCHEMA) == pytest.approx(neutral + degrees)
    for body, turned in zip(bodies(9, 5), bodies(9, 5), strict=True):
        assert np.array_equal(body, turned)
        assert neck_flexion_deg(body, SCHEMA) == pytest.approx(neutral)


def test_the_neck_angle_ignores_a_turn_of_the_head_to_the_side():
    body = standing_body()
    body[:6] = Rotation.from_euler("y", 25, degrees=True).apply(body[:6] - body[5]) + body[5]
    assert neck_flexion_deg(body, SCHEMA) == pytest.approx(0, abs=2)


def test_the_crl_note_flags_a_flexed_and_an_extended_neck():
    assert "neck neutral" in by_key(Pose(standing_body()))["crl"].note
    assert "neck flexed by 60 deg: may be too short" in by_key(Pose(nod(standing_body(), 60)))["crl"].note
    assert "neck extended by 40 deg: may be too long" in by_key(Pose(nod(standing_body(), -40)))["crl"].note


@pytest.mark.parametrize(("offset_mm", "known"), [(1e-5, False), (1e-3, True)])
def test_a_trunk_in_a_line_gives_no_neck_angle(offset_mm, known):
    body = standing_body()
    body[6:9] = [[0, 0, 0], [0, offset_mm, -50], [0, 0, -100]]
    assert math.isfinite(neck_flexion_deg(body, SCHEMA)) is known


@pytest.mark.parametrize("missing", [1, 4, 6, 7, 8])
def test_the_neck_angle_of_an_incomplete_pose_is_unknown(missing):
    body = standing_body()
    body[missing] = np.nan
    assert math.isnan(neck_flexion_deg(body, SCHEMA))
    assert "neck angle unknown" in by_key(Pose(body))["crl"].note
    body[6:9] = [[0, 0, 0], [0, 0, -1], [0, 0, -2]]
    assert math.isnan(neck_flexion_deg(body, SCHEMA))


def test_the_neck_angle_is_unknown_where_the_trunk_landmarks_lie_on_a_line_wherever_it_runs():
    body = standing_body()
    body[6:9] = [[0, 0, 1], [1e-7, 0, -1], [0, 0, -3]]
    assert math.isnan(neck_flexion_deg(body, SCHEMA))
    body[7] = [0.1, 0, -1]
    assert not math.isnan(neck_flexion_deg(body, SCHEMA))
