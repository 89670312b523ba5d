"""The scores of one model on annotated cases, each with its 95 % interval.

Only cases with annotated landmarks are scored; in cases without a fetus, the false alarms are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.evaluation import metrics
from FetusMapV2Lib.evaluation.accuracy_table import AccuracyTable, accuracy_table
from FetusMapV2Lib.evaluation.agreement import PLANE_DEG, PLANE_MM, Agreement, agreement
from FetusMapV2Lib.evaluation.case_set import CaseSet
from FetusMapV2Lib.evaluation.predictions import Prediction
from FetusMapV2Lib.evaluation.statistics import Interval, mean_interval, mean_intervals, row_means, share_interval
from FetusMapV2Lib.models.calibration import CLOSE_ENOUGH_MM
from FetusMapV2Lib.models.world_calibration import expected_calibration_error, reliability

Array = NDArray[np.float64]

#: Columns of the accuracy table that are rates.
RATES = ("auc", "sr_2_5", "sr_5", "sr_10")
#: A landmark of this confidence is called sure.
SURE = 0.9


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
        agreement: of the lengths with those of the truth, see `agreement.agreement`.
        plane_right: share of the cases with a fetus whose midsagittal plane lies within `agreement.PLANE_DEG` and
            `PLANE_MM` of the true one; no plane counts as wrong.
        found: share of the cases with a fetus in which one was found.
        doubtful: share of the cases with a fetus in which it was doubtful.
        false_alarms: share of the cases without a fetus in which one was found.
        case_ed_mm: (C,) mean distance per case with a fetus, its missed landmarks left out.
        distances: (C, 22) mm of the cases with a fetus, infinite = missed, NaN = no truth.
        seconds: median per estimate.
        reliability: of each bin of confidence how many landmarks, their mean confidence, and the share within 5 mm.
        confidence_error: expected calibration error of the confidences; NaN without any.
        sure_but_wrong: share beyond 5 mm of the landmarks with a confidence of at least 0.9.
    """

    name: str
    refine: str
    table: AccuracyTable
    intervals: Mapping[str, tuple[tuple[Interval, ...], Interval]]
    swaps: Mapping[str, Interval]
    applications: Mapping[str, Interval]
    agreement: Mapping[str, Agreement]
    plane_right: Interval
    found: Interval
    false_alarms: Interval
    case_ed_mm: Array
    distances: Array
    seconds: float
    doubtful: Interval
    reliability: tuple[tuple[int, float, float], ...]
    confidence_error: float
    sure_but_wrong: Interval

    def interval(self, column: str, place: int) -> Interval:
        """The interval of the landmark in row `place` of the table; beyond the landmarks, that of the mean."""
        each, mean = self.intervals[column]
        return each[place] if place < len(each) else mean

    def measures(self) -> Iterator[tuple[str, Interval]]:
        """Everything that is one figure per model: name and interval."""
        for column, (_, mean) in self.intervals.items():
            yield column, mean
        yield from self.applications.items()
        yield "plane_right", self.plane_right
        for key, one in self.agreement.items():
            yield f"{key}_bias_mm", one.bias
            yield f"{key}_lower_limit_mm", one.lower
            yield f"{key}_upper_limit_mm", one.upper
            yield f"{key}_icc_2_1", one.icc_agreement
            yield f"{key}_icc_3_1", one.icc_consistency
        for key, interval in self.swaps.items():
            yield f"swapped_{key}", interval
        yield "fetus_found", self.found
        yield "fetus_doubtful", self.doubtful
        yield "false_alarms", self.false_alarms
        yield "sure_but_wrong", self.sure_but_wrong


def score_model(name: str, refine: str, cases: CaseSet, answers: Sequence[Prediction], seed: int) -> ModelScores:
    """Score a model's answers.

    Args:
        name: of the model.
        refine: how its estimates were refined.
        cases: with their truth.
        answers: one for each case, in the same order.
        seed: of the bootstrap.
    """
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
    for column, within in zip(RATES[1:], metrics.SUCCESS_MM, strict=True):
        values[column] = np.where(scored, distances <= within, np.nan)
    confidence = np.stack([answer.confidence for answer in there])
    told = np.isfinite(confidence) & np.isfinite(distances)
    sure, close = confidence[told], distances[told] <= CLOSE_ENOUGH_MM
    swaps = metrics.swaps_by_case(positions, truths, schema)
    applications = metrics.application_errors_by_case(positions, truths, schema)
    lengths, true_lengths = (metrics.lengths_by_case(poses, schema) for poses in (positions, truths))
    return ModelScores(
        name=name,
        refine=refine,
        table=accuracy_table(positions, truths, schema, np.stack([answer.radii_mm for answer in there])),
        intervals={column: _intervals(column, value, seed) for column, value in values.items()},
        swaps={key: _share(cases_with) for key, cases_with in swaps.items()},
        applications={key: mean_interval(errors, seed=seed) for key, errors in applications.items()},
        agreement={key: agreement(true_lengths[key], lengths[key]) for key in lengths},
        plane_right=_planes_right(applications),
        found=share_interval(sum(answer.found for answer in there), len(there)),
        false_alarms=share_interval(sum(answer.found for answer in empty), len(empty)),
        case_ed_mm=row_means(finite),
        distances=distances,
        seconds=float(np.median([answer.seconds for answer in answers])),
        doubtful=share_interval(sum(answer.status == "doubtful" for answer in there), len(there)),
        reliability=tuple(reliability(sure, close)),
        confidence_error=expected_calibration_error(sure, close),
        sure_but_wrong=share_interval(int((~close[sure >= SURE]).sum()), int((sure >= SURE).sum())),
    )


def _intervals(column: str, values: Array, seed: int) -> tuple[tuple[Interval, ...], Interval]:
    """Per landmark and in the mean; within a distance or not is a share of cases for each landmark."""
    each, mean = mean_intervals(values, seed=seed)
    return (tuple(_share(hits) for hits in values.T) if column.startswith("sr_") else each), mean


def _planes_right(errors: Mapping[str, Array]) -> Interval:
    angle, distance = errors["plane_angle_deg"], errors["plane_distance_mm"]
    right = (angle <= PLANE_DEG) & (distance <= PLANE_MM)  # NaN, no plane, compares false
    return share_interval(int(right.sum()), len(right))


def _share(cases_with: Array) -> Interval:
    known = cases_with[np.isfinite(cases_with)]
    return share_interval(int(known.sum()), len(known))
