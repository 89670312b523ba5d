"""Metrics against hand-computed cases and their properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from anatomy.bodies import bodies, standing_body
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.evaluation import metrics

SCHEMA = default_schema()
DISTANCES = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 60))


def test_distances_with_missing_landmarks():
    truths = np.zeros((2, 3, 3))
    predictions = np.zeros((2, 3, 3))
    predictions[0, 0] = [3, 4, 0]
    predictions[0, 1] = np.nan  # a miss
    truths[1, 2] = np.nan  # nothing to find
    predictions[1, 1] = truths[1, 1] = np.nan
    distances = metrics.distances_mm(predictions, truths)
    expected = [[5, np.inf, 0], [0, np.nan, np.nan]]
    assert np.array_equal(distances, expected, equal_nan=True)
    assert metrics.mean_distance_mm(distances) == pytest.approx(5 / 3)


def test_a_miss_is_a_failure_for_every_rate():
    distances = np.array([0.0, np.inf, np.nan])
    assert metrics.success_rate(distances, 10) == 0.5
    assert metrics.auc(distances) == 0.5
    assert metrics.mean_distance_mm(distances) == 0.0


def test_hand_computed_curve_and_area():
    distances = np.array([1.0, 5.0, 10.0, 30.0])
    assert np.allclose(metrics.pck(distances, [0, 1, 4.999, 5, 20, 30]), [0, 0.25, 0.25, 0.5, 0.75, 1])
    # widths right of each step: 19, 15, 10, 0 of 20 mm
    assert metrics.auc(distances) == pytest.approx((19 + 15 + 10) / 20 / 4)
    assert [metrics.success_rate(distances, limit) for limit in metrics.SUCCESS_MM] == [0.25, 0.5, 0.75]


def test_the_area_goes_with_the_papers_tables():
    # Table 2 and 3, FetusMapV2: a mean ED of 3.46 mm with an AUC of 83.23 %; without outliers AUC = 1 - ED / 20.
    assert metrics.auc(np.full(22, 3.46)) == pytest.approx(0.827)
    assert metrics.auc(np.full(22, 3.46)) == pytest.approx(0.8323, abs=0.01)


@given(DISTANCES)
@settings(max_examples=80)
def test_the_area_is_that_of_the_curve(distances):
    thresholds = np.linspace(0, 20, 20_001)
    curve = metrics.pck(distances, thresholds)
    assert metrics.auc(distances) == pytest.approx((curve[1:] + curve[:-1]).sum() / 2 * 0.001 / 20, abs=1e-3)
    assert np.all(np.diff(curve) >= 0)
    assert curve[-1] == metrics.success_rate(distances, 20)


@given(DISTANCES, st.floats(0.1, 5))
@settings(max_examples=80)
def test_larger_errors_never_score_better(distances, more):
    assert 0 <= metrics.auc(distances) <= 1
    assert metrics.auc(distances + more) <= metrics.auc(distances)
    assert metrics.mean_distance_mm(distances + more) == pytest.approx(metrics.mean_distance_mm(distances) + more)
    assert metrics.auc(distances) >= 1 - metrics.mean_distance_mm(distances) / 20 - 1e-12
    assert metrics.auc(np.append(distances, np.nan)) == pytest.approx(metrics.auc(distances))


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_distances_do_not_depend_on_the_frame(seed):
    predictions, truths = bodies(seed, 3, 4.0), bodies(seed, 3)
    turn = Rotation.from_quat(np.random.default_rng(seed).normal(size=4)).as_matrix()
    moved = metrics.distances_mm(predictions @ turn + 7, truths @ turn + 7)
    assert np.allclose(moved, metrics.distances_mm(predictions, truths))


def test_nothing_scored_gives_nan():
    nothing = np.full(5, np.nan)
    assert math.isnan(metrics.mean_distance_mm(nothing))
    assert math.isnan(metrics.auc(nothing))
    assert math.isnan(metrics.success_rate(nothing, 5))
    assert math.isnan(metrics.radius_coverage(nothing, nothing))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        metrics.distances_mm(np.zeros((2, 22, 3)), np.zeros((3, 22, 3)))
    with pytest.raises(ValueError, match="poses must have"):
        metrics.distances_mm(np.zeros((22, 3)), np.zeros((22, 3)))
    with pytest.raises(ValueError, match="differ in shape"):
        metrics.radius_coverage(np.zeros(3), np.zeros(4))


def test_radius_coverage():
    distances = np.array([1.0, 2.0, 3.0, 4.0, np.nan, np.inf, 1.0])
    radii = np.array([1.0, 1.9, 3.5, 9.0, 9.0, 9.0, np.nan])
    assert metrics.radius_coverage(distances, radii) == 0.75


def exchanged(body, rows):
    changed = body.copy()
    changed[rows] = body[SCHEMA.mirror_rows[rows]]
    return changed


def test_sides_of_exchanged_limbs():
    true = standing_body()
    arms, legs = [*SCHEMA.rows("la"), *SCHEMA.rows("ra")], [*SCHEMA.rows("ll"), *SCHEMA.rows("rl")]
    only_left_arm = true.copy()
    only_left_arm[list(SCHEMA.rows("la"))] = true[list(SCHEMA.rows("ra"))]  # both arms found on the right
    cases = np.stack([true, exchanged(true, arms), exchanged(true, legs), only_left_arm])
    right = metrics.limb_sides_right(cases, np.stack([true] * 4), SCHEMA)
    assert right.tolist() == [[1, 1, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 1, 1]]
    assert metrics.side_rates(cases, np.stack([true] * 4), SCHEMA) == {
        "la": 0.5,
        "ra": 0.75,
        "ll": 0.75,
        "rl": 0.75,
        "arms": 0.5,
        "legs": 0.75,
        "all": 0.25,
    }


def test_sides_with_noise_and_missing_joints():
    true = standing_body()
    noisy = true + np.random.default_rng(0).normal(0, 1, true.shape)
    noisy[[10, 11]] = np.nan
    assert metrics.limb_sides_right(noisy[None], true[None], SCHEMA).tolist() == [[1, 1, 1, 1]]
    noisy[12] = np.nan
    right = metrics.limb_sides_right(noisy[None], true[None], SCHEMA)[0]
    assert math.isnan(right[0])
    assert right[1:].tolist() == [1, 1, 1]
    rates = metrics.side_rates(noisy[None], true[None], SCHEMA)
    assert math.isnan(rates["la"])
    assert math.isnan(rates["arms"])
    assert rates["legs"] == 1.0


def test_lengths_and_plane_errors():
    true = standing_body()
    estimate = true.copy()
    estimate[9, 2] -= 4  # a longer body
    estimate[17] = estimate[16] + 2 * (true[17] - true[16])
    errors = metrics.application_errors(estimate[None], true[None], SCHEMA)
    assert errors["crl"] == pytest.approx(math.hypot(60, 3) - math.hypot(56, 3))
    assert errors["left_femur"] == pytest.approx(np.linalg.norm(true[17] - true[16]))
    assert errors["right_femur"] == 0
    assert errors["plane_angle_deg"] == pytest.approx(0, abs=1e-5)
    assert errors["plane_distance_mm"] == pytest.approx(0, abs=1e-9)


def test_a_turned_and_moved_plane():
    true = standing_body()
    turned = Rotation.from_euler("z", 10, degrees=True).apply(true)
    assert metrics.application_errors(turned[None], true[None], SCHEMA)["plane_angle_deg"] == pytest.approx(10)
    moved = metrics.application_errors((true + np.array([3, 50, 0]))[None], true[None], SCHEMA)
    assert moved["plane_distance_mm"] == pytest.approx(3)
    assert moved["crl"] == pytest.approx(0)


def test_missing_landmarks_leave_the_measure_unknown():
    true = standing_body()
    estimate = true.copy()
    estimate[:10] = np.nan
    errors = metrics.application_errors(np.stack([estimate, true]), np.stack([true, true]), SCHEMA)
    assert errors["crl"] == 0
    only = metrics.application_errors(estimate[None], true[None], SCHEMA)
    assert math.isnan(only["crl"])
    assert math.isnan(only["plane_angle_deg"])
    assert only["left_femur"] == 0
