"""Radii hold in worlds that were left out, few cases move an earlier calibration little, and no safety is lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from FetusMapV2Lib.anatomy.landmark_shift import LandmarkShift
from FetusMapV2Lib.core.errors import ModelError
from FetusMapV2Lib.models.calibration import SHARE_IN_DOUBT, Calibration, conformal_quantile
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


def test_confidences_are_those_of_found_bodies_and_lower_for_one_in_doubt() -> None:
    """Bodies that were taken for others look as sharp as those that are right, and would make all less sure."""
    seen = world(1, 80)
    seen.detection_score[40:] = 0.6
    seen.empty_presence[:] = 0.65  # so that the threshold lies above these
    seen.errors_mm[40:60] += 30.0
    calibration = calibrate({"own": seen})
    found, doubtful = seen.chosen(range(40), range(10)), seen.chosen(range(40, 80), range(10))
    assert coverage("found", found, calibration).confidence_error < 0.03
    assert coverage("found", found, calibration).found == 1 and coverage("doubtful", doubtful, calibration).found == 0
    shape = doubtful.spread_mm, doubtful.peak_mass
    assert (calibration.confidence(*shape) >= 0.9).any() and SHARE_IN_DOUBT < 0.9
    assert coverage("doubtful", doubtful, calibration).sure_but_wrong == 0, "none of them is sure"
    few = seen.chosen(range(32, 80), range(10))  # eight found bodies tell nothing by themselves
    assert coverage("found", found, calibrate({"own": few})).confidence_error > 0.1


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


# --- where landmarks lie


def shifted_world(seed: int, shift: LandmarkShift, cases: int = 30) -> Observations:
    """Bodies of 60 mm of which the network sees every landmark by a shift away from the truth, and a little noise."""
    generator = np.random.default_rng(seed)
    misses = generator.normal(0, 0.01, (cases, 22, 3)) + np.array(shift.by_landmark)
    lengths = np.full(cases, 60.0)
    second = np.dstack([np.full((cases, 22), 5.0), np.full((cases, 22, 2), 0.2)])
    return replace(
        world(seed, cases), errors_mm=60.0 * np.linalg.norm(misses, axis=2), lengths_mm=lengths, misses=misses,
        second_peaks=second, second_misses=misses + np.array([0.1, 0.0, 0.0]),
    )  # fmt: skip


def test_a_shift_is_fitted_where_asked_and_the_radii_are_those_of_shifted_landmarks() -> None:
    shift = LandmarkShift(((0.0, 0.0, 0.05),) * 22)
    plain = calibrate({"site": shifted_world(1, shift)})
    assert plain.shift is None and coverage("site", shifted_world(2, shift), plain).error_mm > 2.9
    fitted = calibrate({"site": shifted_world(1, shift)}, shift=True)
    assert fitted.shift is not None
    np.testing.assert_allclose(fitted.shift.by_landmark, shift.by_landmark, atol=0.01)
    row = coverage("site", shifted_world(2, shift), fitted)
    assert row.error_mm < 1.2 and 0.85 <= row.inside_radius <= 0.97
    assert np.median(fitted.radius90_mm(np.full(22, 1.5), np.full(22, 0.7))) < 2.5
    assert Calibration.from_dict(fitted.to_dict()) == fitted


def test_an_earlier_shift_stays_unless_a_new_one_is_asked_for(earlier: Calibration) -> None:
    before, now = (LandmarkShift(((0.0, 0.0, share),) * 22) for share in (0.05, 0.02))
    shifted = replace(earlier, shift=before)
    assert calibrate({"site": shifted_world(3, now)}, shifted).shift == before
    moved = calibrate({"site": shifted_world(3, now)}, shifted, shift=True).shift
    assert moved is not None and np.median(moved.by_landmark, axis=0)[2] == pytest.approx(0.02, abs=0.01)


def test_a_shift_that_is_known_counts_where_there_is_no_earlier_calibration() -> None:
    """That of a model between two others; coverage in a world left out is that of shifted landmarks, too."""
    shift = LandmarkShift(((0.0, 0.0, 0.05),) * 22)
    worlds = {name: shifted_world(seed, shift) for name, seed in (("own", 6), ("one", 7), ("two", 8))}
    assert calibrate(worlds, known_shift=shift).shift == shift
    kept, lost = left_out_coverages(worlds, known_shift=shift), left_out_coverages(worlds)
    assert [row.name for row in kept] == ["one", "two"]
    assert max(row.error_mm for row in kept) < 1.2 < 2.9 < min(row.error_mm for row in lost)


def test_presence_thresholds_that_stay_count_in_a_world_left_out_as_well(earlier: Calibration) -> None:
    worlds = {name: world(seed, empty=0, score=0.9) for name, seed in (("own", 6), ("one", 7), ("two", 8))}
    strict = replace(earlier, detection_threshold=0.95, doubtful_threshold=0.5)
    assert calibrate(worlds, safe=strict).detection_threshold == 0.95
    rows = left_out_coverages(worlds, safe=strict)
    assert max(row.found for row in rows) < 0.2 and min(row.doubtful for row in rows) > 0.8
    assert min(row.found for row in left_out_coverages(worlds)) == 1.0


def test_second_peaks_are_shifted_along_and_bodies_that_were_not_seen_are_not() -> None:
    shift = LandmarkShift(((0.0, 0.0, 0.05),) * 22)
    seen = shifted_world(4, shift)
    assert seen.lengths_mm is not None
    seen.lengths_mm[0] = np.nan
    moved = seen.with_shift(shift)
    assert moved.second_peaks is not None
    np.testing.assert_allclose(np.median(moved.second_peaks[1:, :, 0]), 6.0, atol=0.3)
    np.testing.assert_array_equal(moved.errors_mm[0], seen.errors_mm[0])
    assert world(5).with_shift(shift).errors_mm.shape == (40, 22)  # kept without where they were seen


def test_landmarks_of_the_skin_have_the_errors_that_are_left_at_its_edge() -> None:
    shift = LandmarkShift(((0.0, 0.0, 0.05),) * 22)
    worlds = {"own": shifted_world(6, shift), "one": shifted_world(7, shift)}
    rump = 9
    for seen in worlds.values():
        seen.skin_misses = np.full((30, 22, 3), np.nan)
        seen.skin_misses[:20, rump] = [0.005, 0.0, 0.0]
    fitted = calibrate(worlds, shift=True)
    assert fitted.shift is not None and fitted.shift.on_skin
    moved, inside = (worlds["one"].with_shift(one) for one in (fitted.shift, replace(fitted.shift, on_skin=False)))
    np.testing.assert_allclose(moved.errors_mm[:20, rump], 0.3)
    np.testing.assert_array_equal(moved.errors_mm[20:], inside.errors_mm[20:])
    np.testing.assert_array_equal(np.delete(moved.errors_mm, rump, 1), np.delete(inside.errors_mm, rump, 1))
    radii = fitted.radius90_mm(np.full(22, 1.5), np.full(22, 0.7))
    assert radii[rump] < 0.9 * np.median(radii)


def test_a_calibration_says_only_of_landmarks_at_the_skin_that_they_are(earlier: Calibration) -> None:
    """What a model file of before says, its checksum above all, stays as it was."""
    skin, inside = (replace(earlier, shift=LandmarkShift(((0.0, 0.0, 0.0),) * 22, one)) for one in (True, False))
    assert skin.to_dict()["shift"]["on_skin"] is True and "on_skin" not in inside.to_dict()["shift"]
    for one in (skin, inside):
        assert Calibration.from_dict(one.to_dict()) == one


@pytest.mark.parametrize("by_landmark", [[[0, 0, 0]] * 3, [[0, 0, 9]] * 22, "everywhere"])
def test_a_damaged_shift_is_refused(earlier: Calibration, by_landmark: object) -> None:
    with pytest.raises(ModelError, match="calibration"):
        Calibration.from_dict({**earlier.to_dict(), "shift": {"by_landmark": by_landmark}})


def test_thresholds_that_are_known_stay_where_no_case_shows_no_fetus(earlier: Calibration) -> None:
    safe = replace(earlier, detection_threshold=0.8, doubtful_threshold=0.75)
    without = calibrate({"site": world(6, empty=0)}, safe=safe)
    assert (without.detection_threshold, without.doubtful_threshold) == (0.8, 0.75)
    assert without.offsets == calibrate({"site": world(6, empty=0)}).offsets
    assert calibrate({"site": world(6)}, safe=safe) == calibrate({"site": world(6)})
