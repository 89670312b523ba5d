"""One row of the table of a batch: what is known of a case, in columns with units in their names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from FetusMapV2Lib.anatomy.measurements import measurements

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.estimate import Estimate

Row = dict[str, Any]

#: Columns of the table, in their order.
COLUMNS = (
    "case", "file", "outcome", "reason", "frames", "fetuses", "presence", "crl_mm", "crl_plus_minus_mm", "age_days",
    "age_plus_minus_days", "left_femur_mm", "right_femur_mm", "left_humerus_mm", "right_humerus_mm",
    "mean_confidence", "doubtful_landmarks", "missing_landmarks", "warnings", "seconds", "device", "model", "software",
)  # fmt: skip


def row_of(estimate: Estimate) -> Row:
    """The columns that one estimate fills; numbers that are unknown are None."""
    row: Row = {
        "reason": estimate.reason,
        "frames": 1,
        "fetuses": len(estimate.fetuses),
        "presence": _number(estimate.detection_score, 4),
        "warnings": " ".join(estimate.warnings),
        "seconds": round(sum(estimate.timings.values()), 3),
        "device": estimate.device,
        "model": estimate.model,
    }
    return row | (_pose_columns(estimate) if estimate.has_pose else {})


def row_of_sequence(estimates: Sequence[Estimate]) -> Row:
    """The columns of a sequence: medians over the frames with a pose."""
    rows = [row_of(estimate) for estimate in estimates]
    found = [row for row, estimate in zip(rows, estimates, strict=True) if estimate.has_pose]
    medians = {name: _median([row.get(name) for row in found]) for name in COLUMNS if name not in rows[0] or found}
    kept = rows[0] if not found else found[0]
    counts = {"frames": len(estimates), "fetuses": max(row["fetuses"] for row in rows)}
    numbers = {name: value for name, value in medians.items() if value is not None and name not in counts}
    warnings = dict.fromkeys(estimate_warning for one in estimates for estimate_warning in one.warnings)
    seconds = round(sum(row["seconds"] for row in rows), 3)
    return kept | numbers | counts | {"warnings": " ".join(warnings), "seconds": seconds}


def _pose_columns(estimate: Estimate) -> Row:
    found, pose = measurements(estimate.pose), estimate.pose
    confidence = np.full(pose.schema.count, np.nan) if pose.confidence is None else pose.confidence
    known = confidence[np.isfinite(confidence)]
    columns: Row = {f"{length.key}_mm": _number(length.value_mm, 2) for length in found.lengths}
    return columns | {
        "crl_plus_minus_mm": _number(found.crl.uncertainty_mm, 2),
        "age_days": _number(found.dating.days, 1),
        "age_plus_minus_days": _number(found.dating.combined_days, 1),
        "mean_confidence": _number(known.mean() if known.size else None, 3),
        "doubtful_landmarks": int(pose.doubtful.sum()),
        "missing_landmarks": int((~pose.present).sum()),
    }


def _median(values: list[Any]) -> float | None:
    numbers = [value for value in values if isinstance(value, (int, float))]
    return round(float(np.median(numbers)), 4) if numbers else None


def _number(value: float | None, digits: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), digits)


def row_of_document(document: Mapping[str, Any]) -> Row:
    """The columns of an estimate that was written before, of its JSON (`exporting.result_document`)."""
    lengths = {one["key"]: one for one in document.get("measurements", ())}
    ages = document.get("gestational_age", ())
    landmarks = document.get("landmarks", ())
    confidence = [one["confidence"] for one in landmarks if one.get("confidence") is not None]
    row: Row = {
        "reason": document.get("reason", ""),
        "frames": 1,
        "fetuses": document.get("fetuses", 1) if "landmarks" in document else 0,
        "presence": _number(document.get("presence"), 4),
        "warnings": " ".join(document.get("warnings", ())),
        "seconds": round(sum(document.get("seconds", {}).values()), 3),
        "device": document.get("device", ""),
        "model": document.get("model", ""),
        "software": document.get("software", ""),
    }
    if "landmarks" not in document:
        return row
    columns: Row = {f"{key}_mm": _number(one["value_mm"], 2) for key, one in lengths.items()}
    age = ages[0] if ages else {}
    return (
        row
        | columns
        | {
            "crl_plus_minus_mm": _number(lengths.get("crl", {}).get("uncertainty_mm"), 2),
            "age_days": _number(age.get("days"), 1),
            "age_plus_minus_days": _number(age.get("interval_days"), 1),
            "mean_confidence": _number(float(np.mean(confidence)) if confidence else None, 3),
            "doubtful_landmarks": sum(bool(one.get("doubtful")) for one in landmarks),
            "missing_landmarks": sum(one.get("position") is None for one in landmarks),
        }
    )
