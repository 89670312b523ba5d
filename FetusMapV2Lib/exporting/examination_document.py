"""Whose examination a result file is of, when, by whom, and how the fetus grew since an earlier one, as JSON values."""

from __future__ import annotations

from typing import Any

from FetusMapV2Lib.anatomy.dating import weeks_and_days
from FetusMapV2Lib.core.serialisation import to_json
from FetusMapV2Lib.reporting.earlier import PATIENT_FIELDS, patient_of
from FetusMapV2Lib.reporting.report import Report

_DIGITS = 4


def examination_document(report: Report) -> dict[str, Any]:
    """The examination of a report.

    Args:
        report: with identifiers; one without them has no examination to tell of.
    """
    patient = patient_of(report.study)
    document = {
        "day": None if report.dates is None else report.dates.examined.isoformat(),
        "weeks": weeks_and_days(report.days),
        "patient": dict(zip(PATIENT_FIELDS, patient, strict=True)) if patient[0] else None,
        "examiner": report.operator,
        "institution": report.institution,
        "comment": report.comment,
        "earlier": None if report.earlier is None else _earlier(report),
    }
    values: dict[str, Any] = to_json(document, digits=_DIGITS)
    return values


def _earlier(report: Report) -> dict[str, Any]:
    earlier = report.earlier
    assert earlier is not None
    return {"day": earlier.day.isoformat(), "weeks": earlier.weeks, "growth": report.growth}
