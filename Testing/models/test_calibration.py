"""Radii cover nine of ten, confidences mean what they say, and damage is noticed."""

from dataclasses import replace

import numpy as np
import pytest

from FetusMapV2Lib.core.errors import ModelError
from FetusMapV2Lib.models.calibration import Calibration, fit_calibration, uncalibrated


def _population(cases, seed):
    generator = np.random.default_rng(seed)
    spread = np.exp(generator.normal(0.5, 0.5, size=(cases, 22)))
    mass = np.clip(generator.beta(5, 2, size=(cases, 22)), 0, 1)
    scale = np.linspace(0.5, 2.0, 22) * spread**0.7 * (1.02 - mass) ** 0.4
    errors = scale * np.linalg.norm(generator.normal(size=(cases, 22, 3)), axis=2)
    return errors, spread, mass


def test_radius_covers_ninety_percent_of_new_cases():
    calibration = fit_calibration(*_population(150, seed=1))
    errors, spread, mass = _population(400, seed=2)
    covered = errors <= calibration.radius90_mm(spread, mass)
    assert 0.87 <= covered.mean() <= 0.93
    assert (covered.mean(axis=0) > 0.8).all()


def test_confidence_is_the_rate_of_close_landmarks():
    calibration = fit_calibration(*_population(300, seed=3))
    errors, spread, mass = _population(400, seed=4)
    confidence = calibration.confidence(spread, mass)
    close = errors <= 5.0
    assert abs(confidence.mean() - close.mean()) < 0.03
    unsure = confidence < 0.6
    assert abs(confidence[unsure].mean() - close[unsure].mean()) < 0.12


def test_missing_truth_is_left_out():
    errors, spread, mass = _population(50, seed=5)
    errors[::3, 4] = np.nan
    calibration = fit_calibration(errors, spread, mass)
    assert np.isfinite(calibration.radius90_mm(spread, mass)).all()


def test_the_typical_error_is_the_documented_formula():
    calibration = replace(uncalibrated(), offsets=(0.1,) * 22, spread_weight=0.7, mass_weight=0.4)
    spread, mass = np.full(22, 2.0), np.full(22, 0.8)
    assert calibration.typical_error_mm(spread, mass) == pytest.approx(np.exp(0.1) * 2.0**0.7 * 0.22**0.4)
    least = calibration.typical_error_mm(np.full(22, 0.01), np.ones(22))  # of a point with all of the mass
    assert least == pytest.approx(np.exp(0.1) * 0.1**0.7 * 0.02**0.4)


def test_errors_below_a_tenth_of_a_millimetre_count_as_that():
    _, spread, mass = _population(30, seed=8)
    calibration = fit_calibration(np.zeros((30, 22)), spread, mass)
    assert calibration.typical_error_mm(spread, mass) == pytest.approx(0.1)


def test_of_ten_cases_the_radius_covers_all():
    """Split-conformal: the 90 % quantile of ten cases and a new one is the largest."""
    errors = np.repeat(np.arange(1.0, 11.0)[:, None], 22, axis=1)
    flat = np.ones((10, 22))
    assert fit_calibration(errors, flat, 0.5 * flat).radius90_mm(flat, 0.5 * flat) == pytest.approx(10.0)


def test_the_weights_of_a_fixed_population():
    """Recorded."""
    calibration = fit_calibration(*_population(30, seed=6))
    assert (calibration.spread_weight, calibration.mass_weight) == pytest.approx((0.6747, 0.4315), abs=1e-4)


def test_a_wider_spread_never_means_a_smaller_error():
    _, spread, mass = _population(30, seed=9)
    calibration = fit_calibration(1 / spread, spread, mass)
    assert calibration.spread_weight == 0.0


def test_without_a_calibration_the_radius_is_two_and_a_half_spreads():
    """90 % of an isotropic Gaussian lie within 2.5 standard deviations."""
    assert uncalibrated().radius90_mm(np.full(22, 2.0), np.full(22, 0.5)) == pytest.approx(5.0)
    assert uncalibrated().confidence(np.full(22, 5.0), np.full(22, 0.5)) == pytest.approx(0.5)


def test_it_survives_the_model_file():
    calibration = fit_calibration(*_population(30, seed=6), detection_threshold=0.4)
    assert Calibration.from_dict(calibration.to_dict()) == calibration


@pytest.mark.parametrize("damage", [{"offsets": None}, {"spread_weight": "x"}, {"cases": []}])
def test_damage_is_a_model_error(damage):
    with pytest.raises(ModelError, match="the model's calibration"):
        Calibration.from_dict(uncalibrated().to_dict() | damage)


def test_too_few_cases_are_refused():
    with pytest.raises(ModelError, match="too few"):
        fit_calibration(*_population(5, seed=7))


def test_a_file_without_a_doubtful_threshold_has_a_share_of_the_other_one():
    """The rule for models calibrated before there were three grades."""
    older = replace(uncalibrated(), detection_threshold=0.804)
    assert older.least_detection_score == pytest.approx(0.7477, abs=1e-4)
    assert "doubtful_threshold" not in older.to_dict()  # so that its fingerprint stays
    newer = replace(older, doubtful_threshold=0.75)
    assert newer.least_detection_score == 0.75
    assert Calibration.from_dict(newer.to_dict()) == newer


def test_no_score_is_found_and_not_even_doubtful():
    data = replace(uncalibrated(), detection_threshold=0.7, doubtful_threshold=0.8).to_dict()
    with pytest.raises(ModelError, match="doubtful_threshold"):
        Calibration.from_dict(data)
