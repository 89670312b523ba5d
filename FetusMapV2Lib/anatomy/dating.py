"""Gestational age from the crown-rump length, by four published formulas.

Each result carries its uncertainty, the range the formula was made for, and its source.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from FetusMapV2Lib.anatomy.biometry import Z90
from FetusMapV2Lib.core.errors import InputError

#: Half-width of a two-sided 95 % interval of a normal distribution in standard deviations: published limits are such.
_Z95 = 1.9599640
#: No fetus is as long; beyond it the polynomials are meaningless or overflow.
_LARGEST_CRL_MM = 1000.0


def weeks_and_days(days: float) -> str:
    """Weeks and days, rounded to the day, e.g. ``12w3d``; empty for NaN."""
    if not math.isfinite(days):
        return ""
    weeks, rest = divmod(math.floor(days + 0.5), 7)
    return f"{weeks}w{rest}d"


@dataclass(frozen=True)
class Dating:
    """A gestational age.

    Attributes:
        days: gestational age in days, NaN without a sensible CRL.
        interval_days: half-width of the 90 % interval of a single fetus, in days.
        length_days: the same from the uncertainty of the length alone, None if that is unknown.
        valid: the CRL lies inside `valid_range_mm`; outside, the value is an extrapolation.
        formula: the equation, for people.
        source: the publication.
    """

    key: str
    name: str
    days: float
    interval_days: float
    length_days: float | None
    valid: bool
    valid_range_mm: tuple[float, float]
    formula: str
    source: str

    @property
    def combined_days(self) -> float:
        """Half-width of the 90 % interval from both sources, in days."""
        return math.hypot(self.interval_days, self.length_days or 0.0)

    @property
    def weeks_text(self) -> str:
        """Weeks and days, rounded to the day, e.g. ``12w3d``; empty if the age is unknown."""
        return weeks_and_days(self.days)


@dataclass(frozen=True)
class _Formula:
    name: str
    days: Callable[[float], float]
    sd_days: Callable[[float], float]
    valid_range_mm: tuple[float, float]
    equation: str
    source: str


def _intergrowth_days(crl: float) -> float:
    return 40.9041 + 3.21585 * math.sqrt(crl) + 0.348956 * crl


def _intergrowth_sd(crl: float) -> float:
    return 2.39102 + 0.0193474 * crl


def _robinson_days(crl: float) -> float:
    return 8.052 * math.sqrt(1.037 * crl) + 23.73


def _robinson_sd(_crl: float) -> float:
    # Published as +-4.7 days (95 %) for a single measurement.
    return 4.7 / _Z95


def _fmf_days(crl: float) -> float:
    return 8.052 * math.sqrt(1.037 * crl) + 23.53


def _hadlock_days(crl: float) -> float:
    c = crl / 10
    return 7 * math.exp(1.684969 + 0.315646 * c - 0.049306 * c**2 + 0.004057 * c**3 - 0.000120456 * c**4)


def _hadlock_sd(crl: float) -> float:
    # Published as 2 standard deviations = 8 % of the age.
    return 0.04 * _hadlock_days(crl)


_FORMULAS = {
    "intergrowth21": _Formula(
        "INTERGROWTH-21st",
        _intergrowth_days,
        _intergrowth_sd,
        (15.0, 95.0),
        "d = 40.9041 + 3.21585 √CRL + 0.348956 CRL",
        "Papageorghiou et al., Ultrasound Obstet Gynecol 2014;44:641-648",
    ),
    "robinson": _Formula(
        "Robinson and Fleming",
        _robinson_days,
        _robinson_sd,
        (7.0, 80.0),
        "d = 23.73 + 8.052 √(1.037 CRL)",
        "Robinson and Fleming, Br J Obstet Gynaecol 1975;82:702-710",
    ),
    "fmf": _Formula(
        "FMF",
        _fmf_days,
        _robinson_sd,
        (45.0, 84.0),
        "d = 23.53 + 8.052 √(1.037 CRL)",
        "Robinson and Fleming 1975 as the calculator of the Fetal Medicine Foundation has it; ± as theirs",
    ),
    "hadlock": _Formula(
        "Hadlock",
        _hadlock_days,
        _hadlock_sd,
        (2.0, 120.0),
        "ln(weeks) = 1.684969 + 0.315646 c - 0.049306 c² + 0.004057 c³ - 0.000120456 c⁴, c = CRL in cm",
        "Hadlock et al., Radiology 1992;182:501-505",
    ),
}

#: Keys of the formulas, in the order in which results are shown.
FORMULAS = tuple(_FORMULAS)


def check_formula(formula: str) -> None:
    """Raise `InputError` unless it is one of `FORMULAS`."""
    if formula not in _FORMULAS:
        raise InputError(f"unknown dating formula '{formula}'", remedy=f"Choose one of {', '.join(FORMULAS)}")


def gestational_age(crl_mm: float, formula: str = "intergrowth21", crl_uncertainty_mm: float | None = None) -> Dating:
    """Gestational age from the crown-rump length in mm and, if known, the half-width of its 90 % interval.

    - ``intergrowth21``: d = 40.9041 + 3.21585 sqrt(CRL) + 0.348956 CRL, SD = 2.39102 + 0.0193474 CRL, made
      from fetuses of 9+0 to 13+6 weeks (Papageorghiou et al. 2014); 15 to 95 mm is the range in which the R package
      gigs, after the same paper, answers.
    - ``robinson``: d = 8.052 sqrt(1.037 CRL) + 23.73, +-4.7 days (95 %, one measurement), made
      for 6-14 weeks; its table runs from 7 to 80 mm (Robinson and Fleming 1975).
    - ``fmf``: d = 8.052 sqrt(1.037 CRL) + 23.53, as the calculator of the Fetal Medicine Foundation has it, for 45 to
      84 mm, the lengths of its screening at 11-13 weeks; it names no spread, so that of Robinson and Fleming stands.
    - ``hadlock``, c in cm: ln(weeks) = 1.684969 + 0.315646 c - 0.049306 c^2 + 0.004057 c^3 - 0.000120456 c^4,
      2 SD = 8 % of the age, CRL of 2 mm to 12 cm (Hadlock et al. 1992).

    A CRL outside the range gives a value with ``valid=False``; NaN, a metre or more, zero or
    less give NaN days.

    Raises:
        InputError: an unknown formula.
    """
    check_formula(formula)
    chosen = _FORMULAS[formula]
    low, high = chosen.valid_range_mm
    usable = 0 < crl_mm < _LARGEST_CRL_MM
    return Dating(
        key=formula,
        name=chosen.name,
        days=chosen.days(crl_mm) if usable else math.nan,
        interval_days=Z90 * chosen.sd_days(crl_mm) if usable else math.nan,
        length_days=_length_days(chosen, crl_mm, crl_uncertainty_mm) if usable else None,
        valid=low <= crl_mm <= high,
        valid_range_mm=chosen.valid_range_mm,
        formula=chosen.equation,
        source=chosen.source,
    )


def _length_days(formula: _Formula, crl: float, uncertainty: float | None) -> float | None:
    """Half the days between the ends of the length's interval."""
    if uncertainty is None:
        return None
    low, high = max(crl - uncertainty, 0.1), min(crl + uncertainty, _LARGEST_CRL_MM)
    return abs(formula.days(high) - formula.days(low)) / 2


def expected_crl_mm(days: float) -> tuple[float, float]:
    """Mean and standard deviation of the CRL in mm at a gestational age of 58-105 days.

    CRL = -50.6562 + 0.815118 d + 0.00535302 d^2, SD = -2.21626 + 0.0984894 d (INTERGROWTH-21st,
    Papageorghiou et al., Ultrasound Obstet Gynecol 2014;44:641-648). Ages outside the range extrapolate.
    """
    return -50.6562 + 0.815118 * days + 0.00535302 * days**2, -2.21626 + 0.0984894 * days
