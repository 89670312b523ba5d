"""Published sizes of head, abdomen and femur by gestational age: NICHD from 10 weeks, INTERGROWTH-21st from 14."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from FetusMapV2Lib.anatomy.biometry import Z90

#: What there are charts of: head circumference, biparietal diameter, abdominal circumference, ossified femur.
CHARTED = ("hc", "bpd", "ac", "fl")

NICHD_SOURCE = (
    "NICHD Fetal Growth Studies (Buck Louis et al., Am J Obstet Gynecol 2015;213:449), mean of the 50th, 5th and 95th "
    "centiles of four maternal groups, 10 to 16 weeks"
)
INTERGROWTH_SOURCE = "INTERGROWTH-21st (Papageorghiou et al., Lancet 2014;384:869-879), 98 to 280 days"

_NICHD_WEEKS = np.arange(10.0, 17.0)
#: Mean of the four groups' 50th, 5th and 95th centiles at whole weeks, mm.
_NICHD = {
    "ac": (
        (35.9, 45.3, 55.7, 66.8, 78.5, 90.4, 102.4),
        (31.3, 39.7, 49.0, 59.1, 69.7, 80.6, 91.7),
        (41.2, 51.7, 63.2, 75.6, 88.4, 101.4, 114.4),
    ),
    "bpd": (
        (12.0, 15.4, 19.0, 22.8, 26.5, 30.1, 33.5),
        (10.4, 13.4, 16.7, 20.1, 23.4, 26.8, 29.9),
        (13.8, 17.6, 21.7, 25.8, 29.9, 33.9, 37.6),
    ),
    "fl": (
        (2.3, 4.0, 6.4, 9.2, 12.5, 16.0, 19.5),
        (1.7, 3.1, 4.9, 7.3, 10.0, 12.9, 15.9),
        (3.1, 5.3, 8.2, 11.8, 15.8, 19.8, 23.8),
    ),
    "hc": (
        (46.1, 58.2, 71.1, 84.5, 97.9, 111.1, 123.8),
        (40.8, 51.8, 63.6, 75.9, 88.4, 100.7, 112.7),
        (52.1, 65.4, 79.6, 94.1, 108.6, 122.6, 136.1),
    ),
}
#: INTERGROWTH-21st from 14+0 to 40+0 weeks, days.
_INTERGROWTH_DAYS = (98.0, 280.0)


@dataclass(frozen=True)
class ChartPlace:
    """Where a size lies on a chart.

    Attributes:
        chart: "NICHD" or "INTERGROWTH-21st".
        z: standard deviations from the middle.
        middle_mm: 50th centile.
        low_mm, high_mm: 5th and 95th centile.
        source: the publication.
    """

    chart: str
    z: float
    middle_mm: float
    low_mm: float
    high_mm: float
    source: str

    @property
    def centile(self) -> float:
        """0 to 100."""
        return centile_of(self.z)


def centile_of(z: float) -> float:
    """The centile, 0 to 100, of a normal distribution at so many standard deviations; NaN where `z` is."""
    return 50.0 * math.erfc(-z / math.sqrt(2.0))


def chart_places(key: str, value_mm: float, days: float) -> tuple[ChartPlace, ...]:
    """Where a size lies on each chart that covers the gestational age.

    NICHD (mean of the four maternal groups of Buck Louis et al. 2015): straight lines between the logarithms of the
    centiles at whole weeks, 10+0 to 16+0; z from ln(size) between the 5th and 95th centile, each side with its own
    spread. INTERGROWTH-21st: published mean and standard deviation by exact weeks, 14+0 weeks on.

    Args:
        key: one of `CHARTED`.
        value_mm: the size; NaN gives no place.
        days: gestational age.

    Raises:
        KeyError: there is no chart of `key`.
    """
    if not (value_mm > 0 and math.isfinite(value_mm) and math.isfinite(days)):
        _NICHD[key]
        return ()
    places = (_nichd(key, value_mm, days), _intergrowth(key, value_mm, days))
    return tuple(place for place in places if place is not None)


def expected_size_mm(key: str, days: float) -> tuple[float, float, float] | None:
    """50th, 5th and 95th centile of the NICHD chart, mm; None outside 10 to 16 weeks."""
    weeks = days / 7
    if not _NICHD_WEEKS[0] <= weeks <= _NICHD_WEEKS[-1]:
        return None
    middle, low, high = (float(np.exp(np.interp(weeks, _NICHD_WEEKS, np.log(row)))) for row in _NICHD[key])
    return middle, low, high


def _nichd(key: str, value: float, days: float) -> ChartPlace | None:
    sizes = expected_size_mm(key, days)
    if sizes is None:
        return None
    middle, low, high = sizes
    deviation = math.log(value / middle)
    spread = math.log(high / middle) if deviation > 0 else math.log(middle / low)
    return ChartPlace("NICHD", Z90 * deviation / spread, middle, low, high, NICHD_SOURCE)


def _intergrowth(key: str, value: float, days: float) -> ChartPlace | None:
    if not _INTERGROWTH_DAYS[0] <= days <= _INTERGROWTH_DAYS[1]:
        return None
    mean, deviation = (formula(days / 7) for formula in _INTERGROWTH[key])
    return ChartPlace(
        "INTERGROWTH-21st",
        (value - mean) / deviation,
        mean,
        mean - Z90 * deviation,
        mean + Z90 * deviation,
        INTERGROWTH_SOURCE,
    )


_Formula = Callable[[float], float]
#: Mean and standard deviation, mm, by exact weeks (Papageorghiou et al., Lancet 2014;384:869-879).
_INTERGROWTH: dict[str, tuple[_Formula, _Formula]] = {
    "hc": (
        lambda w: -28.2849 + 1.69267 * w**2 - 0.397485 * w**2 * math.log(w),
        lambda w: 1.98735 + 0.0136772 * w**3 - 0.00726264 * w**3 * math.log(w) + 0.000976253 * w**3 * math.log(w) ** 2,
    ),
    "bpd": (
        lambda w: 5.60878 + 0.158369 * w**2 - 0.00256379 * w**3,
        lambda w: math.exp(
            0.101242 + 0.00150557 * w**3 - 0.000771535 * w**3 * math.log(w) + 0.0000999638 * w**3 * math.log(w) ** 2
        ),
    ),
    "fl": (
        lambda w: -39.9616 + 4.32298 * w - 0.0380156 * w**2,
        lambda w: math.exp(0.605843 - 42.0014 * w**-2 + 0.00000917972 * w**3),
    ),
    "ac": (
        lambda w: -81.3243 + 11.6772 * w - 0.000561865 * w**3,
        lambda w: -4.36302 + 0.121445 * w**2 - 0.0130256 * w**3 + 0.00282143 * w**3 * math.log(w),
    ),
}
