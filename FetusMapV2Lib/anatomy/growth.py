"""Growth between two examinations of one fetus, beside what the charts expect between the two ages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from FetusMapV2Lib.anatomy.dating import expected_crl_mm
from FetusMapV2Lib.anatomy.growth_charts import CHARTED, expected_size_mm
from FetusMapV2Lib.anatomy.known_dates import CHART_DAYS

#: What is compared, in the order in which it is shown.
NAMES = {
    "crl": "Crown-rump length",
    "hc": "Head circumference",
    "bpd": "Biparietal diameter",
    "ac": "Abdominal circumference",
    "left_femur": "Left femur",
    "right_femur": "Right femur",
    "left_humerus": "Left humerus",
    "right_humerus": "Right humerus",
}


@dataclass(frozen=True)
class Size:
    """A size in mm with the half-width of its 90 % interval, None if that is unknown."""

    value_mm: float
    uncertainty_mm: float | None = None


@dataclass(frozen=True)
class Growth:
    """How one size grew.

    Attributes:
        key, name: of the size.
        before_mm, now_mm: at the two examinations.
        per_day_mm: growth a day.
        uncertainty_mm: half-width of its 90 % interval, a day; None if that of either size is unknown.
        expected_mm: growth a day of the median fetus between the two ages; None where no chart covers both.
    """

    key: str
    name: str
    before_mm: float
    now_mm: float
    per_day_mm: float
    uncertainty_mm: float | None
    expected_mm: float | None


def growth(
    before: Mapping[str, Size], now: Mapping[str, Size], days_between: int, age_now: float
) -> tuple[Growth, ...]:
    """Growth of every size that both examinations have.

    The errors of the two examinations are taken as independent. The expected growth is that of the medians of
    INTERGROWTH-21st (crown-rump length, 58 to 105 days) and NICHD (head and abdomen, 10 to 16 weeks); bones between
    joint centres have no chart.

    Args:
        before: of the earlier examination, by `NAMES`.
        now: of this one.
        days_between: at least one.
        age_now: gestational age now in days, NaN if unknown.

    Raises:
        ValueError: fewer days than one.
    """
    if days_between < 1:
        raise ValueError("growth needs a day between two examinations at least")
    found = []
    for key, name in NAMES.items():
        first, second = before.get(key), now.get(key)
        if first is None or second is None or not math.isfinite(first.value_mm + second.value_mm):
            continue
        known = first.uncertainty_mm is not None and second.uncertainty_mm is not None
        spread = math.hypot(first.uncertainty_mm or 0.0, second.uncertainty_mm or 0.0) / days_between
        found.append(
            Growth(
                key=key,
                name=name,
                before_mm=first.value_mm,
                now_mm=second.value_mm,
                per_day_mm=(second.value_mm - first.value_mm) / days_between,
                uncertainty_mm=spread if known else None,
                expected_mm=_expected(key, age_now - days_between, age_now),
            )
        )
    return tuple(found)


def _expected(key: str, first_days: float, last_days: float) -> float | None:
    medians = [_median(key, days) for days in (first_days, last_days)]
    if medians[0] is None or medians[1] is None:
        return None
    return (medians[1] - medians[0]) / (last_days - first_days)


def _median(key: str, days: float) -> float | None:
    if key == "crl":
        return expected_crl_mm(days)[0] if CHART_DAYS[0] <= days <= CHART_DAYS[1] else None
    sizes = expected_size_mm(key, days) if key in CHARTED and math.isfinite(days) else None
    return None if sizes is None else sizes[0]
