"""Radii hold in worlds that were left out, few cases move an earlier calibration little, and no safety is lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from FetusMapV2Lib.core.errors import ModelError
from FetusMapV2Lib.models.calibration import Calibration, conformal_quantile
from FetusMapV2Lib.models.world_calibration import (
    Observations,
    calibrate,
    coverage,
    expected_calibration_error,
    left_out_coverages,
    presence_thresholds,
    reliability,
)


def world(seed: int, cases: int = 40, *, harder: float = 0.0, empty: int = 10, score: float = 0.9) -> Observations:
    """Errors that follow the spread, larger by a factor that grows as the features depart from zero."""
    generator = np.random.default_rng(seed)
    spread = np.exp(generator.normal(0.5, 0.3, (cases, 22)))
    away = generator.uniform(0.0, 2 * harder, cases) if harder else np.zeros(cases)
    scale = 0.7 * spread * np.exp(0.35 * away)[:, None]
    return Observations(
        np.linalg.norm(generator.normal(size=(cases, 22, 3)), axis=2) * scale,
        spread,
        np.full((cases, 22), 0.7),
        np.clip(generator.normal(score, 0.02, cases), 0, 1),
        generator.uniform(0.5, 0.7, empty),
        generator.normal(size=(cases, 12)) + 1.5 * away[:, None],
    )


@pytest.fixture(scope="module")
def worlds() -> dict[str, Observations]:
    return {
        "own": world(1),
        "odd": world(2, harder=1.0),
        "odder": world(3, harder=1.5),
        "oddest": world(4, harder=2.0),
    }


@pytest.fixture(scope="module")
def earlier() -> Calibration:
    return calibrate({"own": world(5, 60)})


def test_radii_cover_nine_in_ten_at_home_and_in_a_world_that_was_left_out(worlds: dict[str, Observations]) -> None:
    at_home = calibrate({"own": worlds["own"]})
    assert coverage("oddest", worlds["oddest"], at_home).inside_radius < 0.75
    calibration = calibrate(worlds)
    assert calibration.widening > 0.2
    assert 0.87 <= coverage("own", world(9), calibration).inside_radius <= 0.96
    rows = {row.name: row for row in left_out_coverages(worlds)}
    assert set(rows) == {"odd", "odder", "oddest"}, "the own world is familiar in any case"
    assert min(row.inside_radius for row in rows.values()) >= 0.85
    assert rows["oddest"].unfamiliarity > rows["odd"].unfamiliarity > 1


def test_two_peaks_count_as_inside_where_either_region_holds_the_landmark() -> None:
    seen = world(1)
    calibration = calibrate({"own": seen})
    second = np.full((40, 22, 3), np.nan)
    second[0, 20:] = 1.0, 0.25, 1.0  # 1 mm from the truth
    second[1, 20:] = 60.0, 0.25, 1.0
    seen.second_peaks = second
    seen.errors_mm[:2, 20:] = 60.0
    seen.errors_mm[1, 20], seen.errors_mm[1, 21] = 0.1, np.nan
    row = coverage("own", seen, calibration)
    assert (row.two_peaked, row.inside_either) == (3, 3)
    seen.errors_mm[1, 20] = 60.0
    assert coverage("own", seen, calibration).inside_either == 2
    calibration = replace(calibration, mass_weight=0.5)
    shape = seen.spread_mm[0], seen.peak_mass[0]
    first, second_radius = calibration.radii_of_two_mm(*shape, second[0, :, 2], second[0, :, 1])
    assert (first[20:] < calibration.radius90_mm(*shape)[20:]).all() and np.isnan(first[:20]).all()
    assert np.isnan(second_radius[:20]).all() and (second_radius[20:] > 0).all()


def test_confidence_means_what_it_says_in_the_unfamiliar_too(worlds: dict[str, Observations]) -> None:
    calibration = calibrate(worlds)
    for name in ("own", "odd", "odder"):
        assert coverage(name, worlds[name], calibration).confidence_error < 0.06
    assert coverage("oddest", worlds["oddest"], calibration).sure_but_wrong < 0.1


def log_radius(calibration: Calibration) -> float:
    """Logarithm of the 90 % radius of a heatmap that spreads by 1 mm, averaged over the landmarks."""
    return float(np.log(calibration.radius90_mm(np.ones(22), np.full(22, 0.7))).mean())


def test_a_small_world_weighs_as_much_as_a_large_one() -> None:
    few, many = world(1, 12, harder=1.0), world(2, 120)
    without = {"own": replace(many, features=None), "odd": replace(few, features=None)}
    both = calibrate(without)
    again = calibrate({"own": without["own"], "odd": replace(world(3, 120, harder=1.0), features=None)})
    alone = calibrate({"own": without["own"]})
    assert both.widening == 0.0
    assert log_radius(both) == pytest.approx(log_radius(again), abs=0.1)
    assert log_radius(both) > log_radius(alone) + 0.2


def test_few_cases_move_an_earlier_calibration_little_and_many_much(earlier: Calibration) -> None:
    def typical(calibration: Calibration) -> float:
        return float(np.mean(calibration.offsets))

    harder = {cases: replace(world(7, cases), errors_mm=3 * world(7, cases).errors_mm) for cases in (3, 300)}
    few, many = (calibrate({"site": harder[cases]}, earlier) for cases in (3, 300))
    assert typical(earlier) < typical(few) < typical(earlier) + 0.3 * np.log(3)
    assert typical(many) > typical(earlier) + 0.8 * np.log(3)
    for calibration, cases in ((few, 3), (many, 300)):  # radii are safe at once
        assert coverage("site", harder[cases], calibration).inside_radius >= 0.88
    assert (few.spread_weight, few.mass_weight) == (earlier.spread_weight, earlier.mass_weight)


def test_better_cases_shrink_radii_only_as_far_as_they_are_many(earlier: Calibration) -> None:
    better = replace(world(8, 5), errors_mm=world(8, 5).errors_mm / 3)
    few = calibrate({"site": better}, earlier)
    ratio = np.exp(np.mean(few.offsets) - np.mean(earlier.offsets)) * few.radius_factors[0] / earlier.radius_factors[0]
    assert 0.7 < ratio < 1.0


def test_what_could_not_be_fitted_is_said(earlier: Calibration) -> None:
    said: list[str] = []
    known = replace(earlier, familiarity=calibrate({"own": world(1)}).familiarity)
    result = calibrate({"site": world(6, 5, empty=0)}, known, on_remark=said.append)
    assert result.familiarity == known.familiarity
    assert [text.split(":")[0].split(" are")[0] for text in said] == [
        "5 cases",
        "5 cases, against 30 of the earlier calibration",
        "No case shows no fetus",
    ]


def test_nothing_to_calibrate_on_is_refused() -> None:
    with pytest.raises(ModelError, match="no case with a fetus"):
        calibrate({"own": world(1, 0)})
    with pytest.raises(ModelError, match="too few"):
        calibrate({"own": replace(world(1, 9), features=None)})


# --- presence


def test_found_lies_between_and_doubtful_below_it() -> None:
    found, doubtful = presence_thresholds(np.linspace(0.9, 1.0, 101), np.array([0.5, 0.7]))
    assert found == pytest.approx((0.901 + 0.7) / 2)
    assert doubtful == pytest.approx((0.7 + found) / 2)


def test_no_case_without_a_fetus_is_found_even_where_fetuses_are_weaker() -> None:
    said: list[str] = []
    empty = np.linspace(0.5, 0.8, 31)
    found, doubtful = presence_thresholds(np.array([0.6, 0.9, 0.95]), empty, on_remark=said.append)
    assert found > empty.max()
    assert doubtful == pytest.approx(np.quantile(empty, 0.9))
    assert "1 of 3 cases" in said[0]


def test_without_negatives_the_earlier_safety_stays(earlier: Calibration) -> None:
    strict = replace(earlier, detection_threshold=0.8, doubtful_threshold=0.75)
    none = np.zeros(0)
    assert presence_thresholds(np.full(10, 0.5), none, strict) == (0.8, 0.75)
    few = presence_thresholds(np.full(10, 0.9), np.full(5, 0.4), strict)[0]
    many = presence_thresholds(np.full(10, 0.9), np.full(500, 0.4), strict)[0]
    assert 0.65 < many < 0.67 < few < 0.8


# --- measures


def test_the_conformal_quantile_counts_a_new_case() -> None:
    assert conformal_quantile(np.arange(10.0)) == 9.0
    assert conformal_quantile(np.arange(19.0)) == 17.0
    assert conformal_quantile(np.array([np.nan, 1.0])) == 1.0
    assert conformal_quantile(np.arange(100.0), np.where(np.arange(100) < 50, 1.0, 1e-9)) <= 50.0


def test_a_confidence_that_is_right_has_no_calibration_error() -> None:
    confidence = np.repeat([0.25, 0.75], 4)
    right = np.array([1, 0, 0, 0, 1, 1, 1, 0], bool)
    assert expected_calibration_error(confidence, right) == 0.0
    assert expected_calibration_error(confidence, ~right) == pytest.approx(0.5)
    assert reliability(confidence, right) == [(4, 0.25, 0.25), (4, 0.75, 0.75)]
    assert np.isnan(expected_calibration_error(np.zeros(0), np.zeros(0, bool)))
