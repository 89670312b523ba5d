"""Comparing models: what is scored, what the tests say, and that every page says what it was measured on."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from anatomy.bodies import bodies
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.evaluation.case_set import CaseSet, case_set
from FetusMapV2Lib.evaluation.comparison import Comparison, compare
from FetusMapV2Lib.evaluation.figures import write_pck_figure, write_reliability_figure, write_skeleton_figure
from FetusMapV2Lib.evaluation.metrics import swaps_by_case
from FetusMapV2Lib.evaluation.predictions import Prediction
from FetusMapV2Lib.imaging.markups import write_markups
from FetusMapV2Lib.imaging.training_cases import CaseFiles, find_cases

SCHEMA = default_schema()

COUNT = 12


def cases_of(truths: np.ndarray, empty: int = 2, simulated: bool = True) -> CaseSet:
    """Cases with these truths, and some without a fetus after them."""
    count = len(truths) + empty
    files = tuple(CaseFiles(f"case-{n}", Path("v"), Path("m"), Path("t")) for n in range(count))
    nowhere = np.full((empty, *truths.shape[1:]), np.nan)
    present = np.arange(count) < len(truths)
    return CaseSet(files, np.concatenate([truths, nowhere]), present, np.full(count, simulated))


def answers(positions: np.ndarray, empty: int = 2, alarms: int = 0, found: int | None = None) -> list[Prediction]:
    """Predictions in the order of `cases_of`; the first `alarms` cases without a fetus seem to have one."""
    made = []
    for n in range(len(positions) + empty):
        is_there = n < len(positions)
        claimed = n < (len(positions) if found is None else found) if is_there else n - len(positions) < alarms
        points = positions[n] if is_there else np.zeros((22, 3))
        made.append(Prediction(f"case-{n}", claimed, points, np.full(22, 4.0), 0.5, 1.0))
    return made


@pytest.fixture
def truths() -> np.ndarray:
    return bodies(8, COUNT)


@pytest.fixture
def two(truths: np.ndarray) -> Comparison:
    generator = np.random.default_rng(0)
    good = truths + generator.normal(0, 0.5, truths.shape)
    poor = truths + generator.normal(0, 3.0, truths.shape)
    predictions = {"good": answers(good), "poor": answers(poor, alarms=1, found=COUNT - 3)}
    return compare(cases_of(truths), predictions, {"good": "off", "poor": "off"})


def test_the_better_model_is_told(two: Comparison):
    (test,) = two.tests
    assert (test.first, test.second, test.cases) == ("good", "poor", COUNT)
    assert test.difference.low > 0
    assert test.p == pytest.approx(2 / 2**COUNT)  # every case worse: the smallest p there is
    assert test.p_holm == test.p


def test_found_and_false_alarms(two: Comparison):
    good, poor = two.models
    assert (good.found.value, good.false_alarms.value) == (1.0, 0.0)
    assert (poor.found.value, poor.false_alarms.value) == (0.75, 0.5)


def test_values_are_those_of_the_accuracy_table(two: Comparison):
    for model in two.models:
        for column in ("ed_mm", "auc", "sr_2_5", "sr_5", "sr_10"):
            each, mean = model.intervals[column]
            assert [one.value for one in each] == pytest.approx(
                [getattr(score, column) for score in model.table.landmarks]
            )
            assert mean.value == pytest.approx(getattr(model.table.mean, column))
            assert mean.low <= mean.value <= mean.high
        for key, interval in model.applications.items():
            assert interval.value == pytest.approx(model.table.applications[key])


def test_missing_landmarks(truths: np.ndarray):
    shifted = truths + np.array([1.0, 0, 0])
    with_gaps = shifted.copy()
    with_gaps[:6, 12] = np.nan  # missed: a failure for every rate, left out of the distance
    unknown = truths.copy()
    unknown[:, 3] = np.nan  # nobody annotated it: not scored
    predictions = {"whole": answers(shifted), "gaps": answers(with_gaps)}
    comparison = compare(cases_of(unknown), predictions, {"whole": "off", "gaps": "off"})
    whole, gaps = comparison.models
    assert (gaps.table.landmarks[12].missed, gaps.table.landmarks[12].n) == (6, COUNT)
    assert gaps.intervals["ed_mm"][0][12].value == pytest.approx(1.0)
    assert gaps.intervals["sr_10"][0][12].value == 0.5
    assert gaps.intervals["auc"][0][12].value == pytest.approx(0.95 / 2)
    assert whole.intervals["auc"][0][12].value == pytest.approx(0.95)
    assert np.isnan(whole.intervals["ed_mm"][0][3].value) and whole.table.landmarks[3].n == 0
    assert whole.intervals["ed_mm"][1].value == pytest.approx(1.0)
    (test,) = comparison.tests  # only landmarks that both found: no difference is left
    assert test.difference.value == pytest.approx(0.0, abs=1e-9)
    json.dumps(comparison.document(), allow_nan=False)


def test_swapped_sides(truths: np.ndarray):
    schema = SCHEMA
    arms = [row for group in ("la", "ra") for row in schema.rows(group)]
    exchanged = truths.copy()
    exchanged[:3, arms] = truths[:3][:, schema.mirror_rows[arms]]
    one_arm = truths.copy()
    one_arm[3, list(schema.rows("la"))] = truths[3, list(schema.rows("ra"))]
    swaps = swaps_by_case(exchanged, truths, SCHEMA)
    assert swaps["arms"].sum() == swaps["any"].sum() == 3 and swaps["legs"].sum() == 0
    alone = swaps_by_case(one_arm, truths, SCHEMA)
    assert alone["arms"].sum() == 0 and alone["any"].tolist() == [0.0, 0, 0, 1] + [0.0] * (COUNT - 4)
    unknown = truths.copy()
    unknown[0, 10:] = np.nan
    assert np.isnan(swaps_by_case(truths, unknown, SCHEMA)["any"][0])


def test_pages_say_what_they_were_measured_on(two: Comparison, truths: np.ndarray):
    page = two.markdown()
    assert page.startswith("# Evaluation on simulated volumes\n\nResearch use only.")
    assert "12 cases with a fetus, 2 without" in page
    assert all(line.split(",")[0] == "simulated volumes" for line in two.summary_csv().splitlines()[1:])
    assert two.document()["volumes"] == "simulated volumes" and "esearch use only" in two.document()["notice"]
    real = compare(cases_of(truths, simulated=False), {"one": answers(truths)}, {"one": "off"})
    assert "simulated" not in real.markdown() and "esearch use only" in real.markdown()


def test_one_model_has_no_test(truths: np.ndarray):
    comparison = compare(cases_of(truths, empty=0), {"one": answers(truths, empty=0)}, {"one": "prior"})
    assert comparison.tests == ()
    assert "## Models compared" not in comparison.markdown()
    assert comparison.models[0].intervals["ed_mm"][1].value == pytest.approx(0, abs=1e-9)
    assert np.isnan(comparison.models[0].false_alarms.value)


def test_csv_has_a_line_per_landmark(two: Comparison):
    rows = list(csv.DictReader(io.StringIO(two.landmarks_csv())))
    assert len(rows) == 2 * 23
    assert rows[22]["key"] == "mean" and float(rows[22]["ed_mm_low"]) <= float(rows[22]["ed_mm"])
    assert {row["measure"] for row in csv.DictReader(io.StringIO(two.summary_csv()))} >= {"auc", "crl", "swapped_any"}


def test_predictions_of_other_cases_are_refused(truths: np.ndarray):
    with pytest.raises(ValueError, match="not those of the cases"):
        compare(cases_of(truths), {"one": answers(truths)[::-1]}, {"one": "off"})


def test_cases_nobody_annotated_are_left_out(tmp_path: Path):
    write_toy_cases(tmp_path, 6)
    write_markups(tmp_path / "case-01.mrk.json", Pose(np.full((22, 3), np.nan)), overwrite=True)
    write_json(tmp_path / "case-02.json", {})
    found = case_set(find_cases(tmp_path))
    assert found.left_out == ("case-01",)
    assert found.present.tolist() == [True, True, True, True, False]
    assert found.volumes == "in part simulated volumes"


def test_a_folder_without_landmarks_is_refused(tmp_path: Path):
    write_toy_cases(tmp_path, 1)
    write_markups(tmp_path / "case-00.mrk.json", Pose(np.full((22, 3), np.nan)), overwrite=True)
    with pytest.raises(InputError, match="no case of this folder has landmarks"):
        case_set(find_cases(tmp_path))


def test_confidence_is_held_against_the_share_within_5_mm(truths: np.ndarray, tmp_path: Path):
    off = truths.copy()
    off[:, :11] += [0.0, 0.0, 10.0]
    sure = np.full(22, 0.95)
    told = [replace(answer, confidence=sure, status="doubtful" if n == 0 else "found", found=n > 0)
            for n, answer in enumerate(answers(off))]  # fmt: skip
    (model,) = compare(cases_of(truths), {"one": told}, {"one": "off"}).models
    assert model.confidence_error == pytest.approx(0.45)
    assert model.sure_but_wrong.value == pytest.approx(0.5)
    assert model.reliability == ((22 * COUNT, pytest.approx(0.95), pytest.approx(0.5)),)
    assert (model.found.value, model.doubtful.value) == (pytest.approx(1 - 1 / COUNT), pytest.approx(1 / COUNT))
    text = compare(cases_of(truths), {"one": told}, {"one": "off"}).markdown()
    assert "| doubtful |" in text and "0.45" in text
    write_reliability_figure(tmp_path / "reliability.png", {"one": model.reliability, "none": ()}, "heading")
    assert (tmp_path / "reliability.png").stat().st_size > 5_000


def test_predictions_without_confidences_have_no_calibration_error(two: Comparison):
    assert all(np.isnan(model.confidence_error) and model.reliability == () for model in two.models)


def test_figures_draw_every_model_and_survive_gaps(tmp_path: Path, two: Comparison, truths: np.ndarray):
    distances = {model.name: model.distances for model in two.models}
    write_pck_figure(tmp_path / "one.png", {"good": distances["good"]}, "heading", SCHEMA)
    write_pck_figure(tmp_path / "both.png", distances, "heading", SCHEMA)
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "both.png").read_bytes()
    gaps = truths.copy()
    gaps[0] = np.nan
    gaps[1, :10] = np.nan
    names = [f"case-{n}" for n in range(3)]
    write_skeleton_figure(tmp_path / "skeletons.png", names, truths[:3] + 1.0, gaps[:3], "heading", SCHEMA)
    write_skeleton_figure(tmp_path / "single.png", names[:1], truths[:1] + 1.0, truths[:1], "heading", SCHEMA)
    assert (tmp_path / "skeletons.png").stat().st_size > (tmp_path / "single.png").stat().st_size > 10_000


def test_agreement_and_planes_stand_beside_published_figures(two: Comparison) -> None:
    page = two.markdown()
    assert "## Agreement with the annotated length" in page and "Crown-rump length (mm)" in page
    assert "1.81 mm" in page and "91.27 %" in page and "0.992" in page
    measures = {row["measure"] for row in csv.DictReader(io.StringIO(two.summary_csv()))}
    assert {"crl_bias_mm", "crl_icc_2_1", "left_femur_upper_limit_mm", "plane_right"} <= measures
    assert all(model.agreement["crl"].cases == COUNT for model in two.models)


def test_a_perfect_estimate_agrees_and_its_planes_are_right(truths: np.ndarray) -> None:
    turned = truths.copy()
    turned[0] = np.nan
    answered = {"exact": answers(truths), "one without a plane": answers(turned)}
    exact, other = compare(cases_of(truths), answered, dict.fromkeys(answered, "off")).models
    assert exact.agreement["crl"].icc_agreement.value == 1.0 and exact.plane_right.value == 1.0
    assert other.plane_right.value == pytest.approx(1 - 1 / COUNT) and other.agreement["crl"].cases == COUNT - 1


def test_a_landmark_with_two_regions_may_lie_in_either(truths: np.ndarray) -> None:
    truth = truths[0].copy()
    truth[20] = np.nan
    far = truth[:, 0] + 40.0
    either = [[12, *truth[12], 3.0, far[12], 0, 0, 3.0], [15, far[15], 0, 0, 3.0, *(truth[15] + 1.0), 3.0]]
    neither = [[18, *(truth[18] + 5.0), 3.0, far[18], 0, 0, 3.0], [20, 0, 0, 0, 9.0, 1, 1, 1, 9.0]]
    (one,) = answers(truths[:1], empty=0)
    inside = replace(one, two_regions=np.array(either + neither)).inside_either(truth)
    assert inside.tolist() == [True, True, False], "what nobody knows is left out"
    assert one.inside_either(truth).shape == (0,)
