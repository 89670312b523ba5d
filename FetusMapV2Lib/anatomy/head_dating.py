"""Gestational age from the head circumference, which decides where the crown-rump length is too long to date by."""

from __future__ import annotations

import math

from FetusMapV2Lib.anatomy.dating import Dating
from FetusMapV2Lib.anatomy.growth_charts import chart_places

#: Ages that the standard was made for, days; and the head circumference at their ends, mm.
_DAYS = (98.0, 280.0)
_RANGE_MM = (98.0, 334.0)
_SOURCE = (
    "INTERGROWTH-21st, Papageorghiou et al., Ultrasound Obstet Gynecol 2016;48:719-726; ± from Lancet 2014;384:869-879"
)


def age_by_head(hc_mm: float, hc_uncertainty_mm: float | None = None) -> Dating:
    """Gestational age from the head circumference.

    ln(d) = 0.0597 ln^2(HC) + 6.409e-9 HC^3 + 3.3258, HC in mm, made for 14 weeks on (INTERGROWTH-21st). The paper's
    spread of single fetuses is not at hand; it is taken from the growth standard instead: half of its range from the
    5th to the 95th centile of the circumference, divided by the growth per day.

    Args:
        hc_mm: NaN, or beyond what a head may be, gives NaN days.
        hc_uncertainty_mm: half-width of its 90 % interval, None if unknown.
    """
    low, high = _RANGE_MM
    usable = 10 < hc_mm < 500
    days = _days(hc_mm) if usable else math.nan
    per_mm = (_days(hc_mm + 0.5) - _days(hc_mm - 0.5)) if usable else math.nan
    return Dating(
        key="head",
        name="Head circumference",
        days=days,
        interval_days=_half_range_mm(days) * per_mm if usable else math.nan,
        length_days=None if hc_uncertainty_mm is None or not usable else hc_uncertainty_mm * per_mm,
        valid=low <= hc_mm <= high,
        valid_range_mm=_RANGE_MM,
        formula="ln(d) = 0.0597 ln²(HC) + 6.409e-9 HC³ + 3.3258",
        source=_SOURCE,
    )


def _days(hc_mm: float) -> float:
    return math.exp(0.0597 * math.log(hc_mm) ** 2 + 6.409e-9 * hc_mm**3 + 3.3258)


def _half_range_mm(days: float) -> float:
    """Half of the way from the 5th to the 95th centile at an age, or at the nearest one that the standard has."""
    inside = min(max(days, _DAYS[0]), _DAYS[1])
    place = next(one for one in chart_places("hc", 100.0, inside) if one.chart == "INTERGROWTH-21st")
    return (place.high_mm - place.low_mm) / 2
