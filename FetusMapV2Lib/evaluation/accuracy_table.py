"""The table of accuracy per landmark for a set of cases, as Markdown, CSV and JSON.

The mean row is the mean over the landmarks, as in tables 2 and 3 of the paper.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.core.atomic_files import write_json, write_text
from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.core.serialisation import to_json
from FetusMapV2Lib.evaluation import metrics

_COLUMNS = ("n", "missed", "ed_mm", "ed_sd_mm", "ed_median_mm", "auc", "sr_2_5", "sr_5", "sr_10", "coverage")
_HEADS = ("n", "missed", "ED (mm)", "SD", "median", "AUC", "<= 2.5 mm", "<= 5 mm", "<= 10 mm", "in 90 % radius")
_SIDE_NAMES = {
    "la": "left arm",
    "ra": "right arm",
    "ll": "left leg",
    "rl": "right leg",
    "arms": "both arms",
    "legs": "both legs",
    "all": "all four limbs",
}
#: What is read off a pose (`metrics.application_errors`).
APPLICATION_NAMES = {
    "crl": "Crown-rump length (mm)",
    "left_femur": "Left femur (mm)",
    "right_femur": "Right femur (mm)",
    "left_humerus": "Left humerus (mm)",
    "right_humerus": "Right humerus (mm)",
    "plane_angle_deg": "Midsagittal plane, angle (deg)",
    "plane_distance_mm": "Midsagittal plane, distance (mm)",
}


@dataclass(frozen=True)
class Score:
    """Accuracy of one landmark, or the mean over landmarks. Rates are fractions 0..1, NaN if nothing was scored.

    Attributes:
        n: landmarks scored (the truth is there); `missed` of them have no estimate.
        coverage: share of truths inside the 90 % radius.
    """

    number: int | None
    key: str
    name: str
    n: int
    missed: int
    ed_mm: float
    ed_sd_mm: float
    ed_median_mm: float
    auc: float
    sr_2_5: float
    sr_5: float
    sr_10: float
    coverage: float


@dataclass(frozen=True)
class AccuracyTable:
    """Accuracy of a set of cases: per landmark, in the mean, of the sides, and of lengths and planes."""

    cases: int
    landmarks: tuple[Score, ...]
    mean: Score
    sides: dict[str, float]
    applications: dict[str, float]

    def markdown(self) -> str:
        """The tables as GitHub Markdown."""
        head = ("Landmark", *_HEADS)
        rows = [(_label(score), *_shown(score)) for score in (*self.landmarks, self.mean)]
        sides = [(name, percent(self.sides[key])) for key, name in _SIDE_NAMES.items()]
        lengths = [(name, decimal(self.applications[key])) for key, name in APPLICATION_NAMES.items()]
        parts = [
            f"{self.cases} cases. AUC: area under the PCK curve from 0 to {metrics.AUC_LIMIT_MM:g} mm.",
            markdown_table(head, rows),
            markdown_table(("Right side", "cases"), sides),
            markdown_table(("Mean absolute error", ""), lengths),
        ]
        return "\n\n".join(parts) + "\n"

    def csv(self) -> str:
        """One line per landmark and one for the mean; rates as fractions, empty where nothing was scored."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("number", "key", "name", *_COLUMNS))
        for score in (*self.landmarks, self.mean):
            values = (to_json(getattr(score, column)) for column in _COLUMNS)
            writer.writerow([_blank(value) for value in (score.number, score.key, score.name, *values)])
        return out.getvalue()

    def document(self) -> dict[str, Any]:
        """The same as strict JSON data."""
        return {
            "cases": self.cases,
            "auc_limit_mm": metrics.AUC_LIMIT_MM,
            "mean": _fields(self.mean),
            "sides": to_json(self.sides),
            "applications": to_json(self.applications),
            "landmarks": [_fields(score) for score in self.landmarks],
        }

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
        """Write by the suffix of `path`: ``.md``, ``.csv`` or ``.json``.

        Raises:
            OutputError: another suffix, or the file cannot be written.
        """
        suffix = Path(path).suffix.lower()
        if suffix == ".json":
            write_json(path, self.document(), overwrite=overwrite)
        elif suffix == ".csv":
            write_text(path, self.csv(), overwrite=overwrite)
        elif suffix == ".md":
            write_text(path, self.markdown(), overwrite=overwrite)
        else:
            raise OutputError(f"no table format '{suffix}'", where=path, remedy="Use .md, .csv or .json")


def accuracy_table(
    predictions: np.ndarray, truths: np.ndarray, schema: Schema, radii_mm: np.ndarray | None = None
) -> AccuracyTable:
    """Score estimated poses against true ones.

    Args:
        predictions: (C, N, 3) RAS mm, NaN = missing.
        truths: likewise.
        schema: of the N landmarks.
        radii_mm: (C, N) 90 % radii of the estimates, if known.

    Raises:
        ValueError: shapes that do not fit each other or the schema.
    """
    distances = metrics.distances_mm(predictions, truths)
    if distances.shape[1] != schema.count:
        raise ValueError(f"poses have {distances.shape[1]} landmarks, the schema {schema.count}")
    radii = np.full(distances.shape, np.nan) if radii_mm is None else np.asarray(radii_mm, dtype=np.float64)
    scores = tuple(
        _score(distances[:, mark.row], radii[:, mark.row], mark.number, mark.key, mark.name)
        for mark in schema.landmarks
    )
    return AccuracyTable(
        cases=len(distances),
        landmarks=scores,
        mean=_mean_score(scores),
        sides=metrics.side_rates(predictions, truths, schema),
        applications=metrics.application_errors(predictions, truths, schema),
    )


def _score(distances: np.ndarray, radii: np.ndarray, number: int, key: str, name: str) -> Score:
    finite = distances[np.isfinite(distances)]
    return Score(
        number=number,
        key=key,
        name=name,
        n=int((~np.isnan(distances)).sum()),
        missed=int(np.isinf(distances).sum()),
        ed_mm=metrics.mean_distance_mm(distances),
        ed_sd_mm=float(finite.std(ddof=1)) if finite.size > 1 else math.nan,
        ed_median_mm=float(np.median(finite)) if finite.size else math.nan,
        auc=metrics.auc(distances),
        sr_2_5=metrics.success_rate(distances, metrics.SUCCESS_MM[0]),
        sr_5=metrics.success_rate(distances, metrics.SUCCESS_MM[1]),
        sr_10=metrics.success_rate(distances, metrics.SUCCESS_MM[2]),
        coverage=metrics.radius_coverage(distances, radii),
    )


def _mean_score(scores: tuple[Score, ...]) -> Score:
    def mean(column: str) -> float:
        values = [getattr(score, column) for score in scores]
        known = [value for value in values if math.isfinite(value)]
        return float(np.mean(known)) if known else math.nan

    means = {column: mean(column) for column in _COLUMNS[2:]}
    n, missed = sum(score.n for score in scores), sum(score.missed for score in scores)
    return Score(None, "mean", "Mean", n, missed, **means)


def _label(score: Score) -> str:
    return score.name if score.number is None else f"{score.number} {score.name}"


def _shown(score: Score) -> tuple[str, ...]:
    lengths = (decimal(value) for value in (score.ed_mm, score.ed_sd_mm, score.ed_median_mm))
    rates = (score.auc, score.sr_2_5, score.sr_5, score.sr_10, score.coverage)
    return (str(score.n), str(score.missed), *lengths, *(percent(rate) for rate in rates))


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as GitHub Markdown, numbers to the right."""
    lines = [head, ("---", *("--:" for _ in head[1:])), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(rate: float) -> str:
    """A fraction as a percentage, "-" for NaN."""
    return f"{100 * rate:.1f} %" if math.isfinite(rate) else "-"


def decimal(value: float) -> str:
    """Two decimals, "-" for NaN."""
    return f"{value:.2f}" if math.isfinite(value) else "-"


def _blank(value: object) -> object:
    return "" if value is None else value


def _fields(score: Score) -> dict[str, Any]:
    values: dict[str, Any] = to_json(score)
    return {name: values[name] for name in ("number", "key", "name", *_COLUMNS)}
