"""How long the ossified shafts of femur and humerus are at a crown-rump length, from a published chart.

Landmarks are joint centres, so a distance between them is longer than the shaft that charts are made of.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from FetusMapV2Lib.anatomy.dating import gestational_age

CHART_SOURCE = "Chen et al., Prenat Diagn 2007;27:133-138 (1489 fetuses; shaft length by week, dated by CRL)"
#: Gestational ages of the chart, days: 12+0 to 14+6 weeks.
CHART_DAYS = (84.0, 105.0)
#: Weeks 12, 13 and 14 stand at their middle.
_WEEK_MIDDLES = np.array([87.5, 94.5, 101.5])
_MEAN_MM = {"femur": np.array([9.15, 11.45, 13.64]), "humerus": np.array([9.63, 12.01, 14.29])}
_SD_MM = {"femur": np.array([1.44, 1.35, 1.60]), "humerus": np.array([1.44, 1.41, 1.48])}


class Shaft(NamedTuple):
    """Mean and standard deviation, mm, of the length of an ossified shaft."""

    mean_mm: float
    sd_mm: float


def expected_shaft(bone: str, crl_mm: float) -> Shaft | None:
    """The shaft of a ``femur`` or ``humerus`` at a crown-rump length; None where the chart ends or the CRL is NaN.

    The weekly means and standard deviations of Chen et al. (Prenat Diagn 2007;27:133-138) lie at the middles of
    their weeks, with straight lines between and half a week beyond. Their fetuses were dated by CRL; here
    the INTERGROWTH-21st formula gives the age, so that the chart covers a CRL of about 55 to 92 mm.
    Their weekly standard deviations hold a week's growth too, which makes the range a little wide.

    Raises:
        KeyError: another bone.
    """
    means, deviations = _MEAN_MM[bone], _SD_MM[bone]
    days = gestational_age(crl_mm).days
    low, high = CHART_DAYS
    if not low <= days < high:
        return None
    return Shaft(_along(days, means), max(_along(days, deviations), float(deviations.min())))


def _along(days: float, values: np.ndarray) -> float:
    """The straight line through the two nearest weeks."""
    first = 0 if days < _WEEK_MIDDLES[1] else 1
    share = (days - _WEEK_MIDDLES[first]) / (_WEEK_MIDDLES[first + 1] - _WEEK_MIDDLES[first])
    return float(values[first] + share * (values[first + 1] - values[first]))
