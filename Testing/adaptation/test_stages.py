"""The parts of an adaptation by themselves: folds, the plan, averaged weights, thresholds, objections."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from adaptation.sites import calibration, write_simulated

from FetusMapV2Lib.adaptation.fine_tuning import averaged, fine_tuning_preset
from FetusMapV2Lib.adaptation.judging import Side, inside_radius, judge
from FetusMapV2Lib.adaptation.observing import Seen
from FetusMapV2Lib.adaptation.options import AdaptationOptions
from FetusMapV2Lib.adaptation.planning import (
    FEWEST_STEPS,
    MOST_STEPS,
    measured_once,
    parts_of,
    planned,
    rehearsal_count,
)
from FetusMapV2Lib.adaptation.recalibrating import cross_shifted, recalibrated
from FetusMapV2Lib.adaptation.rehearsal import make_case, make_rehearsal
from FetusMapV2Lib.anatomy.body_frame import body_frame
from FetusMapV2Lib.anatomy.landmark_shift import LandmarkShift
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.json_files import read_json
from FetusMapV2Lib.models.model_file import Model, ModelInfo
from FetusMapV2Lib.models.world_calibration import Observations
from FetusMapV2Lib.network.unet import UNet3d
from FetusMapV2Lib.training.case_folder import Case
from FetusMapV2Lib.training.preset import load_preset

MISSING = np.full((22, 3), np.nan)


def seen(errors: float, scores: list[float], empty: list[float]) -> Seen:
    count = len(scores)
    generator = np.random.default_rng(0)
    shape = (count, 22)
    values = Observations(
        errors * generator.lognormal(0, 0.4, shape),
        np.full(shape, 2.0),
        np.full(shape, 0.8),
        np.array(scores),
        np.array(empty),
    )
    return Seen(tuple(f"case-{n}" for n in range(count)), values, tuple(f"empty-{n}" for n in range(len(empty))))


def tiny_model() -> Model:
    network = UNet3d(widths=(2, 3))
    info = ModelInfo("tiny", dict(network.config), (16, 16, 16), 1.0)
    return Model(network, np.zeros((1, 22, 3)), np.zeros((22, 3)), info, calibration())


def test_every_case_is_in_one_part_and_fetuses_are_spread_evenly() -> None:
    cases = [Case(str(n), Path(f"{n}.nrrd"), MISSING, n < 7, {}) for n in range(9)]
    parts = parts_of(cases, 3, seed=1)
    assert sorted(case.name for part in parts for case in part) == [str(n) for n in range(9)]
    assert sorted(sum(case.fetus_present for case in part) for part in parts) == [2, 2, 3]
    assert parts == parts_of(cases, 3, seed=1) != parts_of(cases, 3, seed=2)


@pytest.mark.parametrize(
    "minutes,step,folds,steps", [(15, 1.0, 5, 132), (15, 0.01, 5, MOST_STEPS), (15, 3.0, 2, 110), (60, 1.0, 5, 400)]
)
def test_the_plan_fills_the_time(minutes: float, step: float, folds: int, steps: int) -> None:
    plan = planned(AdaptationOptions(minutes=minutes), 10, 5, 20, (60.0, step, 1.0))
    assert (plan.folds, plan.steps) == (folds, steps)
    assert plan.folds * plan.steps * step < 60 * minutes


def test_too_little_time_is_said_with_what_is_needed() -> None:
    with pytest.raises(UserError, match="1 minutes are too few") as error:
        planned(AdaptationOptions(minutes=1), 10, 5, 20, (30.0, 2.0, 1.0))
    needed = float(error.value.remedy.split()[3].rstrip(","))
    plan = planned(AdaptationOptions(minutes=needed), 10, 5, 20, (30.0, 2.0, 1.0))
    assert plan.steps >= FEWEST_STEPS


def test_times_are_measured_once(tmp_path: Path) -> None:
    """A case that was simulated before the process was killed would seem to take no time."""
    times = iter([2.5, 0.0])
    assert [measured_once(tmp_path / "time.json", lambda: next(times)) for _ in range(2)] == [2.5, 2.5]


def test_five_cases_are_left_out_one_or_two_at_a_time() -> None:
    plan = planned(AdaptationOptions(), 5, 5, 20, (60.0, 0.2, 1.0))
    parts = parts_of([Case(str(n), Path("x"), MISSING, True, {}) for n in range(5)], plan.folds, 0)
    assert all(len(part) in (1, 2) for part in parts)


@pytest.mark.parametrize("wrong", [{"folds": 1}, {"rehearsal": 5}, {"minutes": 0.0}, {"steps": 0}])
def test_options_that_mean_nothing_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError):
        AdaptationOptions(**wrong)


@pytest.mark.parametrize(("trained", "rate"), [(2e-2, 4e-3), (1e-3, 2e-4), (2.5e-4, 2e-4), (1e-4, 1e-4)])
def test_the_rate_is_low_but_not_for_a_second_time(trained: float, rate: float) -> None:
    """A model that was fine-tuned itself has a low one in its recipe already."""
    recipe = load_preset("bundled").with_overrides({"optimiser.learning_rate": trained})
    model = tiny_model().with_info(preset=recipe.to_dict())
    preset = fine_tuning_preset(model, 40)
    assert preset.optimiser.learning_rate == pytest.approx(rate) and preset.run.steps == 40


def test_the_bodies_of_a_site_are_learned_as_they_are() -> None:
    recipe = load_preset("robust").with_overrides({"proportions.probability": 0.7})
    assert recipe.proportions.active
    assert not fine_tuning_preset(tiny_model().with_info(preset=recipe.to_dict()), 40).proportions.active


def test_averaged_weights_lie_between_and_the_start_is_not_changed() -> None:
    start, tuned = tiny_model(), tiny_model()
    before = {name: value.clone() for name, value in start.network.state_dict().items()}
    mixed = averaged(start, [tuned], 0.25).network.state_dict()
    for name, value in before.items():
        torch.testing.assert_close(mixed[name], 0.75 * value + 0.25 * tuned.network.state_dict()[name])
        assert torch.equal(start.network.state_dict()[name], value)


def test_the_models_of_the_folds_are_averaged() -> None:
    start, *tuned = (tiny_model() for _ in range(4))
    mixed = averaged(start, tuned, 0.5).network.state_dict()
    for name, value in start.network.state_dict().items():
        mean = torch.stack([model.network.state_dict()[name] for model in tuned]).mean(0)
        torch.testing.assert_close(mixed[name], 0.5 * value + 0.5 * mean)


def test_without_negatives_the_threshold_never_falls() -> None:
    earlier = replace(calibration(), detection_threshold=0.8)
    simulated = seen(1.0, [0.95] * 3, [0.55])
    assert recalibrated(seen(4.0, [0.5] * 6, []), simulated, earlier).detection_threshold == 0.8
    sure = recalibrated(seen(4.0, [0.9] * 6, []), seen(1.0, [0.95] * 3, [0.83]), earlier)
    assert sure.detection_threshold == pytest.approx(0.835)


def test_negatives_lower_it_in_part_and_never_below_them() -> None:
    earlier = replace(calibration(), detection_threshold=0.8)
    simulated = seen(1.0, [0.95] * 3, [0.3])
    few = recalibrated(seen(4.0, [0.7] * 6, [0.4] * 2), simulated, earlier).detection_threshold
    many = recalibrated(seen(4.0, [0.7] * 6, [0.4] * 40), simulated, earlier).detection_threshold
    assert 0.55 < many < few < 0.8


@pytest.mark.parametrize(
    ("weakest", "empty", "doubtful"),
    [(0.70, 0.6, 0.70), (0.70, 0.71, 0.715), (0.70, 0.74, 0.72), (0.5, 0.4, 0.67), (0.73, 0.6, 0.72)],
)
def test_bodies_that_are_not_lost_are_shown_where_no_volume_without_one_looks_alike(
    weakest: float, empty: float, doubtful: float
) -> None:
    earlier = replace(calibration(), detection_threshold=0.78, doubtful_threshold=0.72)
    site = seen(2.0, [0.9] * 5 + [weakest, 0.2], [])
    site.values.errors_mm[-1] = 40.0  # a lost body lowers nothing
    fitted = recalibrated(site, seen(1.0, [0.95] * 3, [empty]), earlier)
    assert fitted.detection_threshold == 0.78
    assert fitted.least_detection_score == pytest.approx(doubtful)
    assert recalibrated(site, seen(1.0, [0.95] * 3, []), earlier).least_detection_score == 0.72


def test_few_cases_move_the_radii_a_little_towards_them() -> None:
    earlier = calibration()
    radii = [
        float(np.mean(recalibrated(seen(6.0, [0.9] * n, []), seen(1.0, [0.9], []), earlier).radius90_mm(2.0, 0.8)))
        for n in (5, 50)
    ]
    assert float(np.mean(earlier.radius90_mm(np.full(22, 2.0), np.full(22, 0.8)))) < radii[1]
    assert math.isfinite(radii[0])


def elsewhere(count: int, shift: float = 0.05, empty: int = 0) -> Seen:
    """Bodies of 60 mm seen to 1 mm, whose foreheads lie farther cranial by this share of the length."""
    misses = np.random.default_rng(1).normal(0, 0.01, (count, 22, 3))
    misses[:, default_schema().index("forehead"), 2] += shift
    lengths = np.full(count, 60.0)
    known = seen(1.0, [0.9] * count, [0.1] * empty)
    errors = 60.0 * np.linalg.norm(misses, axis=2)
    return replace(known, values=replace(known.values, errors_mm=errors, misses=misses, lengths_mm=lengths))


def test_where_a_site_has_its_landmarks_is_tried_on_each_case_by_the_others() -> None:
    site, earlier = elsewhere(10, empty=2), calibration()
    moved = cross_shifted(site, earlier)
    forehead = default_schema().index("forehead")
    assert site.values.errors_mm[:, forehead].mean() > 2.5
    assert moved.values.errors_mm[:, forehead].mean() < 1.3
    assert (moved.names, moved.empty_names, len(moved.values.empty_presence)) == (site.names, site.empty_names, 2)
    # one body that has it the other way round is not moved by itself
    site.values.misses[0, forehead, 2] = -0.05
    own = cross_shifted(site, earlier).values.errors_mm[0, forehead]
    assert own == pytest.approx(60 * 0.1, abs=0.5)


def test_a_shift_of_the_site_is_kept_and_its_radii_are_those_of_moved_landmarks() -> None:
    site, earlier = elsewhere(10), calibration()
    simulated = seen(1.0, [0.95] * 3, [0.01])
    fitted = recalibrated(site, simulated, earlier)
    assert fitted.shift is not None
    assert fitted.shift.by_landmark[default_schema().index("forehead")][2] == pytest.approx(0.05, abs=0.005)
    assert recalibrated(elsewhere(10, 0.0), simulated, earlier).offsets == pytest.approx(fitted.offsets, abs=0.01)
    radii = replace(fitted, offsets=(-1.5,) * 22)
    assert inside_radius(site, radii).mean() > inside_radius(site, replace(radii, shift=None)).mean() + 0.02


def test_too_few_cases_and_chance_move_nothing() -> None:
    earlier = calibration()
    few = elsewhere(5)
    assert cross_shifted(few, earlier) is few
    assert recalibrated(few, seen(1.0, [0.95], [0.01]), earlier).shift is None
    chance = elsewhere(8, 0.0)
    change = cross_shifted(chance, earlier).error_mm - chance.error_mm
    assert abs(change) < 0.05


def side(errors: float, simulated: float, scores: list[float], empty: list[float], threshold: float = 0.7) -> Side:
    own = seen(errors, scores, empty)
    both = replace(calibration(), detection_threshold=threshold)
    return Side(own, seen(simulated, [0.9] * 4, [0.2]), both, np.full(len(scores), 0.9))


@pytest.mark.parametrize(
    "after,objection",
    [
        (side(3.0, 2.0, [0.9] * 6, [0.5]), ""),
        (side(4.1, 2.0, [0.9] * 6, [0.5]), "did not fall"),
        (side(3.0, 2.9, [0.9] * 6, [0.5]), "has forgotten"),
        (side(3.0, 2.0, [0.9] * 5 + [0.6], [0.5]), "fewer fetuses"),
        (side(3.0, 2.0, [0.9] * 6, [0.75]), "where there is none"),
    ],
)
def test_what_is_worse_is_objected_to(after: Side, objection: str) -> None:
    judgement = judge(side(4.0, 2.0, [0.9] * 6, [0.5]), after)
    if objection:
        assert len(judgement.objections) >= 1 and objection in judgement.objections[0]
    else:
        assert judgement.objections == ()
    distance = judgement.measures[0]
    assert distance.difference is not None and distance.difference.low <= distance.difference.value


@pytest.mark.parametrize(
    ("errors", "scores", "kept"),
    [
        (3.0, [0.9] * 5 + [0.65], True),  # one is doubtful now, and every case is closer
        (3.95, [0.9] * 5 + [0.65], False),  # closer by chance
        (3.0, [0.9] * 4 + [0.65] * 2, False),  # two are
        (3.0, [0.9] * 5 + [0.55], False),  # it is not even shown
    ],
)
def test_one_case_that_is_doubtful_instead_of_found_is_made_up_for_if_all_are_clearly_closer(
    errors: float, scores: list[float], kept: bool
) -> None:
    before, after = side(4.0, 2.0, [0.9] * 6, []), side(errors, 2.0, scores, [])
    if errors == 3.95:  # some cases are farther off
        after.site.values.errors_mm[:2] += 0.1
    both = [replace(one, calibration=replace(one.calibration, doubtful_threshold=0.6)) for one in (before, after)]
    objections = judge(*both).objections
    assert (objections == ()) is kept and all("fewer fetuses" in one for one in objections)


def test_a_body_that_is_lost_before_and_after_is_not_forgotten_and_one_that_is_lost_is() -> None:
    def lost(*errors: float) -> Side:
        one = side(3.0, 2.0, [0.9] * 6, [0.5])
        one.simulated.values.errors_mm[: len(errors)] = np.array(errors)[:, None]
        return one

    assert judge(replace(lost(44.0), site=side(4.0, 2.0, [0.9] * 6, [0.5]).site), lost(51.0)).objections == ()
    assert lost(44.0).simulated.known_errors_mm[0] == pytest.approx(13.4)
    forgotten = judge(replace(lost(3.0), site=side(4.0, 2.0, [0.9] * 6, [0.5]).site), lost(30.0)).objections
    assert len(forgotten) == 1 and "has forgotten" in forgotten[0] and "+2.25" in forgotten[0]


def test_simulated_cases_are_made_once_and_some_are_held_out(tmp_path: Path) -> None:
    model = tiny_model()
    made = make_rehearsal(tmp_path, 6, model, say=lambda what, part: None)
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("case-*")}
    assert [case.fetus_present for case in made.training] == [True, True, False]
    assert [case.fetus_present for case in made.held_out] == [True, True, False]
    assert np.isfinite(made.held_out[0].positions).all() and made.held_out[0].name == "simulated case-0002"
    make_rehearsal(tmp_path, 6, model, say=lambda what, part: None)
    assert times == {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("case-*")}


@pytest.mark.parametrize(
    ("training", "anatomy"),
    [
        ({}, "2026-1"),  # one renderer: the first models
        ({"styles": ["A", "labels"]}, "2026-2"),  # before anatomies were recorded
        ({"styles": ["A", "labels"], "anatomies": ["2026-3", "2026-2"]}, "2026-3"),
        ({"styles": ["A", "labels"], "anatomies": ["another"]}, "2026-2"),
        ({"styles": ["A", "labels"], "anatomies": []}, "2026-2"),
    ],
)
def test_a_model_rehearses_the_newest_bodies_that_it_knows(
    training: dict[str, object], anatomy: str, tmp_path: Path
) -> None:
    model = tiny_model()
    make_case(tmp_path, 0, replace(model, info=replace(model.info, training=training)))
    assert read_json(tmp_path / "case-0000.json")["anatomy"] == anatomy


def test_simulated_landmarks_lie_where_the_model_has_them(tmp_path: Path) -> None:
    """Who gave the model another idea of a landmark wants it kept when the model is adapted."""
    model = tiny_model()
    shift = LandmarkShift(((0.0, 0.0, 0.05),) * 22)
    shifted = replace(model, calibration=replace(calibration(), shift=shift))
    plain, moved = (make_rehearsal(tmp_path, 6, one, say=lambda what, part: None) for one in (model, shifted))
    for before, after in zip(plain.training[:2], moved.training[:2], strict=True):
        frame = body_frame(before.positions, None, model.template, default_schema())
        assert frame is not None
        np.testing.assert_allclose(after.positions - before.positions, shift.in_world(frame))


def test_eight_fetuses_are_held_out_whatever_the_time_and_no_more(tmp_path: Path) -> None:
    """Two did not show that a model had become a millimetre worse."""
    folder = write_simulated(tmp_path, 30)
    for minutes, expected in ((0.1, 24), (15.0, 30)):
        count = rehearsal_count(AdaptationOptions(minutes=minutes), 3.0)
        assert count == expected
        made = make_rehearsal(folder, count, tiny_model(), say=lambda what, part: None)
        numbers = [int(case.name[-4:]) for case in made.held_out]
        assert numbers == [n for n in range(24) if n % 6 in (2, 3, 5)]
        assert len(made.training) == count - 12
    assert sum(number % 6 < 4 for number in numbers) == 8
