"""Models on the same cases: their tables with intervals, paired tests between them, as Markdown, CSV and JSON.

Only cases with annotated landmarks are scored; cases without a fetus say how often one is seen all the same.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import write_json, write_text
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.progress import CaseRunner, run_directly
from FetusMapV2Lib.evaluation import metrics
from FetusMapV2Lib.evaluation.accuracy_table import (
    APPLICATION_NAMES,
    AccuracyTable,
    accuracy_table,
    decimal,
    markdown_table,
    null,
    percent,
)
from FetusMapV2Lib.evaluation.predictions import Prediction
from FetusMapV2Lib.evaluation.statistics import (
    Interval,
    PairedTest,
    holm,
    mean_interval,
    mean_intervals,
    paired_test,
    row_means,
    share_interval,
)
from FetusMapV2Lib.imaging.training_cases import CaseFiles

Array = NDArray[np.float64]

RESEARCH_ONLY = "Research use only."
_RATES = ("auc", "sr_2_5", "sr_5", "sr_10")
_RATE_HEADS = ("AUC", "<= 2.5 mm", "<= 5 mm", "<= 10 mm")
_SWAP_NAMES = {"arms": "Arms exchanged", "legs": "Legs exchanged", "any": "Any limb on the wrong side"}


@dataclass(frozen=True, eq=False)
class CaseSet:
    """Annotated cases and their truth.

    Attributes:
        cases: those with landmarks, and those that say they show no fetus.
        truths: (C, 22, 3) RAS mm, NaN = missing; all NaN for a case without a fetus.
        present: (C,) whether the case shows a fetus.
        simulated: (C,) whether the volume was made by the phantom.
        left_out: names of cases without any landmark, which nobody annotated yet.
        refused: names of cases that could not be used.
    """

    cases: tuple[CaseFiles, ...]
    truths: Array
    present: NDArray[np.bool_]
    simulated: NDArray[np.bool_]
    left_out: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def only(self, names: Collection[str]) -> CaseSet:
        """The cases of these names; the others count as refused.

        Raises:
            InputError: none of them shows a fetus.
        """
        kept = np.array([case.name in names for case in self.cases])
        if not (self.present & kept).any():
            raise InputError("no case with a fetus could be used", remedy="Look at the reasons above")
        refused = tuple(case.name for case in self.cases if case.name not in names)
        return replace(
            self,
            cases=tuple(case for case in self.cases if case.name in names),
            truths=self.truths[kept],
            present=self.present[kept],
            simulated=self.simulated[kept],
            refused=(*self.refused, *refused),
        )

    @property
    def volumes(self) -> str:
        """What the volumes are, for every heading."""
        if self.simulated.all():
            return "simulated volumes"
        return "in part simulated volumes" if self.simulated.any() else "volumes of a site"


def case_set(cases: Sequence[CaseFiles], run_case: CaseRunner = run_directly) -> CaseSet:
    """Read the truth of some cases.

    Args:
        run_case: decides what happens to a case that cannot be read; such cases are `CaseSet.refused`.

    Raises:
        InputError: no case has landmarks, or one cannot be read.
    """
    kept, truths, present, simulated, left_out, refused = [], [], [], [], [], []
    for case in cases:
        truth = run_case(case.name, case.landmarks_path, partial(_truth_of, case))
        if truth is None:
            refused.append(case.name)
            continue
        there, positions, is_simulated = truth
        if there and not np.isfinite(positions).any():
            left_out.append(case.name)
            continue
        kept.append(case)
        truths.append(positions if there else np.full_like(positions, np.nan))
        present.append(there)
        simulated.append(is_simulated)
    if not any(present):
        remedy = "Annotate landmarks in some cases first"
        raise InputError("no case of this folder has landmarks", where=cases[0].landmarks_path.parent, remedy=remedy)
    facts = (np.array(truths), np.array(present), np.array(simulated))
    return CaseSet(tuple(kept), *facts, tuple(left_out), tuple(refused))


def _truth_of(case: CaseFiles) -> tuple[bool, Array, bool]:
    """Whether a case shows a fetus, its landmarks, and whether it was simulated."""
    return case.fetus_present, np.array(case.pose().positions), "style" in case.truth()


@dataclass(frozen=True, eq=False)
class ModelScores:
    """One model on the cases.

    Attributes:
        name: of the model.
        refine: how its estimates were refined.
        table: the values.
        intervals: column of `table` -> an interval per landmark, and that of the mean row.
        swaps: see `metrics.swaps_by_case`.
        applications: mean absolute errors, see `metrics.application_errors_by_case`.
        found: share of the cases with a fetus in which one was found.
        false_alarms: share of the cases without a fetus in which one was found.
        case_ed_mm: (C,) mean distance per case with a fetus, its missed landmarks left out.
        distances: (C, 22) mm of the cases with a fetus, infinite = missed, NaN = no truth.
        seconds: median per estimate.
    """

    name: str
    refine: str
    table: AccuracyTable
    intervals: Mapping[str, tuple[tuple[Interval, ...], Interval]]
    swaps: Mapping[str, Interval]
    applications: Mapping[str, Interval]
    found: Interval
    false_alarms: Interval
    case_ed_mm: Array
    distances: Array
    seconds: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """All models on the same cases, and the tests between them."""

    cases: CaseSet
    models: tuple[ModelScores, ...]
    tests: tuple[PairedTest, ...]

    def markdown(self) -> str:
        """The whole evaluation as GitHub Markdown."""
        parts = [f"# Evaluation on {self.cases.volumes}", f"{RESEARCH_ONLY} {self._says()}", self._summary()]
        if self.tests:
            parts += ["## Models compared", self._tests()]
        parts += ["## Lengths, plane and sides", self._applications(), self._sides()]
        for model in self.models:
            parts += [f"## Landmarks: {model.name}", _landmark_table(model)]
        return "\n\n".join(parts) + "\n"

    def document(self) -> dict[str, Any]:
        """The same as strict JSON data (NaN as null)."""
        return {
            "notice": RESEARCH_ONLY,
            "volumes": self.cases.volumes,
            "cases": [case.name for case, there in zip(self.cases.cases, self.cases.present, strict=True) if there],
            "cases_without_fetus": [
                case.name for case, there in zip(self.cases.cases, self.cases.present, strict=True) if not there
            ],
            "left_out": list(self.cases.left_out),
            "refused": list(self.cases.refused),
            "models": [_document(model) for model in self.models],
            "tests": [
                {
                    "first": test.first,
                    "second": test.second,
                    "cases": test.cases,
                    "difference_ed_mm": _triple(test.difference),
                    "p": null(test.p),
                    "p_holm": null(test.p_holm),
                }
                for test in self.tests
            ],
        }

    def landmarks_csv(self) -> str:
        """One line per model and landmark, and one for the mean; rates as fractions, empty where nothing was scored."""
        columns = ("ed_mm", *_RATES)
        head = ["model", "number", "key", "name", "n", "missed"]
        lines = [[*head, *(f"{column}{end}" for column in columns for end in ("", "_low", "_high"))]]
        for model in self.models:
            for place, score in enumerate((*model.table.landmarks, model.table.mean)):
                cells = [model.name, score.number or "", score.key, score.name, score.n, score.missed]
                for column in columns:
                    each, mean = model.intervals[column]
                    cells += _cells(each[place] if place < len(each) else mean)
                lines.append([str(cell) for cell in cells])
        return _csv(lines)

    def summary_csv(self) -> str:
        """One line per model and measure: value and 95 % interval."""
        lines: list[list[str]] = [["volumes", "model", "measure", "value", "low", "high"]]
        for model in self.models:
            for measure, interval in _measures(model):
                lines.append([self.cases.volumes, model.name, measure, *map(str, _cells(interval))])
        return _csv(lines)

    def write(self, folder: Path) -> list[Path]:
        """Write ``evaluation.md``, ``evaluation.json``, ``landmarks.csv`` and ``summary.csv``, over those that exist.

        Raises:
            OutputError: one cannot be written.
        """
        paths = [folder / name for name in ("evaluation.md", "evaluation.json", "landmarks.csv", "summary.csv")]
        write_text(paths[0], self.markdown())
        write_json(paths[1], self.document())
        write_text(paths[2], self.landmarks_csv())
        write_text(paths[3], self.summary_csv())
        return paths

    def _says(self) -> str:
        with_fetus = int(self.cases.present.sum())
        text = f"{with_fetus} cases with a fetus, {len(self.cases.cases) - with_fetus} without."
        if self.cases.left_out:
            text += f" {len(self.cases.left_out)} cases without any landmark were left out."
        if self.cases.refused:
            text += f" {len(self.cases.refused)} cases could not be used: {', '.join(self.cases.refused)}."
        return (
            f"{text} In brackets: 95 % intervals (bootstrap over cases; exact for shares of cases). ED: Euclidean "
            f"distance in mm, missed landmarks left out; AUC: area under the PCK curve from 0 to "
            f"{metrics.AUC_LIMIT_MM:g} mm, missed landmarks count as failures. Where no fetus was found, the points "
            "that the network saw last are scored."
        )

    def _summary(self) -> str:
        head = ("Model", "refine", "ED (mm)", *_RATE_HEADS, "fetus found", "false alarms", "s per estimate")
        rows = []
        for model in self.models:
            rates = (with_bounds(model.intervals[rate][1], percent) for rate in _RATES)
            shares = (with_bounds(share, percent) for share in (model.found, model.false_alarms))
            ed = with_bounds(model.intervals["ed_mm"][1], decimal)
            rows.append((model.name, model.refine, ed, *rates, *shares, decimal(model.seconds)))
        return markdown_table(head, rows)

    def _tests(self) -> str:
        rows = [
            (f"{test.second} - {test.first}", str(test.cases), with_bounds(test.difference, decimal),
             _p(test.p), _p(test.p_holm))
            for test in self.tests
        ]  # fmt: skip
        head = ("Mean ED per case", "cases", "difference (mm)", "p (Wilcoxon)", "p (Holm)")
        return (
            markdown_table(head, rows) + "\n\nWilcoxon signed-rank test, two-sided, over cases; only landmarks that "
            "both models found count. Holm's correction is for all tests of this table."
        )

    def _applications(self) -> str:
        rows = [
            (name, *(with_bounds(model.applications[key], decimal) for model in self.models))
            for key, name in APPLICATION_NAMES.items()
        ]
        return markdown_table(("Mean absolute error", *(model.name for model in self.models)), rows)

    def _sides(self) -> str:
        rows = [
            (name, *(with_bounds(model.swaps[key], percent) for model in self.models))
            for key, name in _SWAP_NAMES.items()
        ]
        return markdown_table(("Cases with", *(model.name for model in self.models)), rows)


def compare(
    cases: CaseSet, predictions: Mapping[str, Sequence[Prediction]], refine: Mapping[str, str], *, seed: int = 0
) -> Comparison:
    """Score models on the same cases and test them against each other.

    Args:
        cases: C of them.
        predictions: model -> C predictions, in the order of the cases.
        refine: model -> how its estimates were refined.
        seed: of the bootstrap.

    Raises:
        ValueError: predictions of other cases.
    """
    names = [case.name for case in cases.cases]
    for model, answers in predictions.items():
        if [answer.case for answer in answers] != names:
            raise ValueError(f"the predictions of {model} are not those of the cases")
    models = tuple(_scores(name, refine[name], cases, answers, seed) for name, answers in predictions.items())
    return Comparison(cases, models, _tests_between(models, seed))


def _scores(name: str, refine: str, cases: CaseSet, answers: Sequence[Prediction], seed: int) -> ModelScores:
    schema = default_schema()
    there = [answer for answer, present in zip(answers, cases.present, strict=True) if present]
    empty = [answer for answer, present in zip(answers, cases.present, strict=True) if not present]
    positions = np.stack([answer.positions for answer in there])
    truths = cases.truths[cases.present]
    distances = metrics.distances_mm(positions, truths)
    finite = np.where(np.isfinite(distances), distances, np.nan)
    scored = ~np.isnan(distances)
    values = {
        "ed_mm": finite,
        "auc": np.where(scored, np.clip(1 - distances / metrics.AUC_LIMIT_MM, 0, None), np.nan),
    }
    for column, within in zip(_RATES[1:], metrics.SUCCESS_MM, strict=True):
        values[column] = np.where(scored, distances <= within, np.nan)
    swaps = metrics.swaps_by_case(positions, truths, schema)
    applications = metrics.application_errors_by_case(positions, truths, schema)
    return ModelScores(
        name=name,
        refine=refine,
        table=accuracy_table(positions, truths, schema, np.stack([answer.radii_mm for answer in there])),
        intervals={column: _intervals(column, value, seed) for column, value in values.items()},
        swaps={key: _share(cases_with) for key, cases_with in swaps.items()},
        applications={key: mean_interval(errors, seed=seed) for key, errors in applications.items()},
        found=share_interval(sum(answer.found for answer in there), len(there)),
        false_alarms=share_interval(sum(answer.found for answer in empty), len(empty)),
        case_ed_mm=row_means(finite),
        distances=distances,
        seconds=float(np.median([answer.seconds for answer in answers])),
    )


def _tests_between(models: Sequence[ModelScores], seed: int) -> tuple[PairedTest, ...]:
    tests = []
    for first, second in itertools.combinations(models, 2):
        both = np.isfinite(first.distances) & np.isfinite(second.distances)
        means = [row_means(np.where(both, model.distances, np.nan)) for model in (first, second)]
        tests.append(paired_test(first.name, second.name, *means, seed=seed))
    corrected = holm([test.p for test in tests])
    return tuple(replace(test, p_holm=p) for test, p in zip(tests, corrected, strict=True))


def with_bounds(interval: Interval, shown: Any) -> str:
    """A value with its interval in brackets, each as `shown` writes it."""
    if not math.isfinite(interval.value):
        return "-"
    if not math.isfinite(interval.low):
        return str(shown(interval.value))
    low, high = (str(shown(bound)).removesuffix(" %") for bound in (interval.low, interval.high))
    return f"{shown(interval.value)} [{low}{'-' if interval.low >= 0 else ', '}{high}]"


def _landmark_table(model: ModelScores) -> str:
    rows = []
    for place, score in enumerate((*model.table.landmarks, model.table.mean)):
        intervals = [_at(model.intervals[column], place) for column in ("ed_mm", *_RATES)]
        label = score.name if score.number is None else f"{score.number} {score.name}"
        rates = (with_bounds(interval, percent) for interval in intervals[1:])
        rows.append(
            (label, str(score.n), str(score.missed), with_bounds(intervals[0], decimal), decimal(score.ed_median_mm),
             *rates, percent(score.coverage))
        )  # fmt: skip
    head = ("Landmark", "n", "missed", "ED (mm)", "median", *_RATE_HEADS, "in 90 % radius")
    return markdown_table(head, rows)


def _at(intervals: tuple[tuple[Interval, ...], Interval], place: int) -> Interval:
    each, mean = intervals
    return each[place] if place < len(each) else mean


def _measures(model: ModelScores) -> Iterator[tuple[str, Interval]]:
    for column, (_, mean) in model.intervals.items():
        yield column, mean
    for key, interval in model.applications.items():
        yield key, interval
    for key, interval in model.swaps.items():
        yield f"swapped_{key}", interval
    yield "fetus_found", model.found
    yield "false_alarms", model.false_alarms


def _document(model: ModelScores) -> dict[str, Any]:
    keys = [*default_schema().keys, "mean"]
    return {
        "name": model.name,
        "refine": model.refine,
        **model.table.document(),
        "seconds_median": null(model.seconds),
        "case_ed_mm": [null(value) for value in model.case_ed_mm.tolist()],
        "intervals_95": {
            column: {key: _triple(_at(intervals, place)) for place, key in enumerate(keys)}
            for column, intervals in model.intervals.items()
        },
        "measures": {measure: _triple(interval) for measure, interval in _measures(model)},
    }


def _intervals(column: str, values: Array, seed: int) -> tuple[tuple[Interval, ...], Interval]:
    """Per landmark and in the mean; within a distance or not is a share of cases for each landmark."""
    each, mean = mean_intervals(values, seed=seed)
    return (tuple(_share(hits) for hits in values.T) if column.startswith("sr_") else each), mean


def _share(cases_with: Array) -> Interval:
    known = cases_with[np.isfinite(cases_with)]
    return share_interval(int(known.sum()), len(known))


def _triple(interval: Interval) -> list[float | None]:
    return [null(interval.value), null(interval.low), null(interval.high)]


def _cells(interval: Interval) -> list[str]:
    return ["" if value is None else repr(value) for value in _triple(interval)]


def _csv(lines: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()


def _p(value: float) -> str:
    if math.isnan(value):
        return "-"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"
