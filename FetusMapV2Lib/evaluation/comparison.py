"""Models on the same cases: tables with intervals and paired tests between models, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import write_json, write_text
from FetusMapV2Lib.core.serialisation import to_json
from FetusMapV2Lib.evaluation import metrics
from FetusMapV2Lib.evaluation.accuracy_table import (
    APPLICATION_NAMES,
    decimal,
    markdown_table,
    percent,
)
from FetusMapV2Lib.evaluation.agreement import ANCHORS, PLANE_DEG, PLANE_MM
from FetusMapV2Lib.evaluation.case_set import CaseSet
from FetusMapV2Lib.evaluation.model_scores import RATES, ModelScores, score_model
from FetusMapV2Lib.evaluation.predictions import Prediction
from FetusMapV2Lib.evaluation.statistics import (
    Interval,
    PairedTest,
    holm,
    paired_test,
    row_means,
)

Array = NDArray[np.float64]

RESEARCH_ONLY = "Research use only."
_RATE_HEADS = ("AUC", "<= 2.5 mm", "<= 5 mm", "<= 10 mm")
_SWAP_NAMES = {"arms": "Arms exchanged", "legs": "Legs exchanged", "any": "Any limb on the wrong side"}


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
        parts += ["## Agreement with the annotated length", self._agreement(), self._anchors()]
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
                    "p": to_json(test.p),
                    "p_holm": to_json(test.p_holm),
                }
                for test in self.tests
            ],
        }

    def landmarks_csv(self) -> str:
        """One line per model and landmark, and one for the mean; rates as fractions, empty where nothing was scored."""
        columns = ("ed_mm", *RATES)
        head = ["model", "number", "key", "name", "n", "missed"]
        lines = [[*head, *(f"{column}{end}" for column in columns for end in ("", "_low", "_high"))]]
        for model in self.models:
            for place, score in enumerate((*model.table.landmarks, model.table.mean)):
                cells = [model.name, score.number or "", score.key, score.name, score.n, score.missed]
                for column in columns:
                    cells += _cells(model.interval(column, place))
                lines.append([str(cell) for cell in cells])
        return _csv(lines)

    def summary_csv(self) -> str:
        """One line per model and measure: value and 95 % interval."""
        lines: list[list[str]] = [["volumes", "model", "measure", "value", "low", "high"]]
        for model in self.models:
            for measure, interval in model.measures():
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
            "that the network saw last are scored; a doubtful fetus is not counted as found. ECE: expected calibration "
            "error of the confidences, over ten bins; sure, > 5 mm: of the landmarks with a confidence of at least 0.9."
        )

    def _summary(self) -> str:
        head = (
            "Model", "refine", "ED (mm)", *_RATE_HEADS, "fetus found", "doubtful", "false alarms", "in 90 % radius",
            "ECE", "sure, > 5 mm", "s per estimate",
        )  # fmt: skip
        rows = []
        for model in self.models:
            rates = (with_bounds(model.intervals[rate][1], percent) for rate in RATES)
            shares = (with_bounds(share, percent) for share in (model.found, model.doubtful, model.false_alarms))
            trust = (percent(model.table.mean.coverage), decimal(model.confidence_error))
            wrong = with_bounds(model.sure_but_wrong, percent)
            ed = with_bounds(model.intervals["ed_mm"][1], decimal)
            rows.append((model.name, model.refine, ed, *rates, *shares, *trust, wrong, decimal(model.seconds)))
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

    def _agreement(self) -> str:
        head = ("Estimate minus annotation", "cases", "bias (mm)", "lower limit", "upper limit", "ICC(2,1)", "ICC(3,1)")
        rows = []
        for model in self.models:
            for key, one in model.agreement.items():
                bounds = (with_bounds(part, decimal) for part in (one.bias, one.lower, one.upper))
                correlations = (with_bounds(part, _three) for part in (one.icc_agreement, one.icc_consistency))
                rows.append((f"{model.name}: {APPLICATION_NAMES[key]}", str(one.cases), *bounds, *correlations))
        return markdown_table(head, rows) + (
            "\n\n95 % of differences lie between the limits (Bland and Altman 1999). ICC(2,1) is absolute agreement "
            "of single measurements, ICC(3,1) forgives a constant difference (Shrout and Fleiss 1979)."
        )

    def _anchors(self) -> str:
        within = f"Midsagittal plane within {PLANE_DEG:g} deg and {PLANE_MM:g} mm"
        ours = [(f"{within}, {model.name}", with_bounds(model.plane_right, percent), "-") for model in self.models]
        published = [(anchor.what, anchor.value, anchor.source) for anchor in ANCHORS]
        return markdown_table(("Beside published figures of real volumes", "", "source"), [*ours, *published])

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
    models = tuple(score_model(name, refine[name], cases, answers, seed) for name, answers in predictions.items())
    return Comparison(cases, models, _tests_between(models, seed))


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
        intervals = [model.interval(column, place) for column in ("ed_mm", *RATES)]
        label = score.name if score.number is None else f"{score.number} {score.name}"
        rates = (with_bounds(interval, percent) for interval in intervals[1:])
        rows.append(
            (label, str(score.n), str(score.missed), with_bounds(intervals[0], decimal), decimal(score.ed_median_mm),
             *rates, percent(score.coverage))
        )  # fmt: skip
    head = ("Landmark", "n", "missed", "ED (mm)", "median", *_RATE_HEADS, "in 90 % radius")
    return markdown_table(head, rows)


def _document(model: ModelScores) -> dict[str, Any]:
    keys = [*default_schema().keys, "mean"]
    return {
        "name": model.name,
        "refine": model.refine,
        **model.table.document(),
        "seconds_median": to_json(model.seconds),
        "case_ed_mm": to_json(model.case_ed_mm),
        "confidence_error": to_json(model.confidence_error),
        "reliability": [
            {"landmarks": count, "confidence": sure, "within_5_mm": share} for count, sure, share in model.reliability
        ],
        "intervals_95": {
            column: {key: _triple(model.interval(column, place)) for place, key in enumerate(keys)}
            for column in model.intervals
        },
        "measures": {measure: _triple(interval) for measure, interval in model.measures()},
    }


def _triple(interval: Interval) -> list[float | None]:
    triple: list[float | None] = to_json([interval.value, interval.low, interval.high])
    return triple


def _cells(interval: Interval) -> list[str]:
    return ["" if value is None else repr(value) for value in _triple(interval)]


def _csv(lines: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()


def _three(value: float) -> str:
    return f"{value:.3f}"


def _p(value: float) -> str:
    if math.isnan(value):
        return "-"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"
