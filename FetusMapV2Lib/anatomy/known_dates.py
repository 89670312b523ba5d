"""Gestational ages that are known otherwise beside that of the length: which of them decides, and when birth is due.

Rules of the American College of Obstetricians and Gynecologists (Committee Opinion 700, 2017).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from FetusMapV2Lib.anatomy.dating import Dating, expected_crl_mm
from FetusMapV2Lib.anatomy.growth_charts import centile_of
from FetusMapV2Lib.core.errors import InputError

Origin = Literal["conception", "scan", "last_period", "crl", "head"]

RULE_SOURCE = "ACOG Committee Opinion 700, Obstet Gynecol 2017;129:e150-e154"
HEAD_SOURCE = "ISUOG, Ultrasound Obstet Gynecol 2013;41:102-113"
#: Days from the last period to birth, and to conception.
TERM_DAYS, CONCEPTION_DAYS = 280, 14
#: Above this CRL ISUOG advises the head circumference.
LONGEST_CRL_MM = 84.0
#: Ages of the chart of CRL for gestational age, days (Papageorghiou et al. 2014).
CHART_DAYS = (58.0, 105.0)
#: Differences of more days than these redate a pregnancy that is dated by the last period: until 8w6d, and until 15w6d.
_LIMITS = ((62, 5), (111, 7))
_OLDEST_DAYS = 310
_NAMES: dict[Origin, str] = {
    "conception": "conception",
    "scan": "earlier scan",
    "last_period": "last menstrual period",
    "crl": "crown-rump length",
    "head": "head circumference",
}


@dataclass(frozen=True)
class KnownDates:
    """Dates of a pregnancy.

    Attributes:
        examined: day of the volume.
        last_period: first day of the last menstrual period.
        conceived: day of fertilisation; of an embryo transfer less the embryo's age.
        scanned: day of an earlier scan and the gestational age that it gave, in days.

    Raises:
        InputError: a date after the examination, or too long before it.
    """

    examined: date
    last_period: date | None = None
    conceived: date | None = None
    scanned: tuple[date, int] | None = None

    def __post_init__(self) -> None:
        for origin, days in self.ages().items():
            if not 0 <= days <= _OLDEST_DAYS:
                problem = f"the {_NAMES[origin]} gives an age of {days} days on {self.examined}"
                raise InputError(problem, remedy="Check both dates; they are written as 2026-01-31")

    def ages(self) -> dict[Origin, int]:
        """Gestational age in days at the examination by each date that is known, the most certain first."""
        found: dict[Origin, int] = {}
        if self.conceived is not None:
            found["conception"] = (self.examined - self.conceived).days + CONCEPTION_DAYS
        if self.scanned is not None:
            found["scan"] = (self.examined - self.scanned[0]).days + self.scanned[1]
        if self.last_period is not None:
            found["last_period"] = (self.examined - self.last_period).days
        return found


@dataclass(frozen=True)
class KnownAge:
    """A gestational age that is known otherwise, beside the measured one.

    Attributes:
        origin: what it comes from.
        name: the same in words.
        days: at the examination.
        difference_days: measured age minus this one, NaN without a measurement.
        limit_days: a larger difference redates the pregnancy; None = no difference does.
    """

    origin: Origin
    name: str
    days: int
    difference_days: float
    limit_days: int | None

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the limit; true where there is no limit or no length."""
        return self.limit_days is None or not abs(self.difference_days) > self.limit_days


@dataclass(frozen=True)
class DateDecision:
    """Which age counts, and what follows.

    Attributes:
        ages: all that are known otherwise.
        decides: which one counts.
        reason: one sentence.
        days: the age that counts, at the examination.
        due: expected date of birth; None without an age.
        z: of the crown-rump length for an age that does not come from it; NaN where the chart ends.
        remarks: what limits the decision.
    """

    ages: tuple[KnownAge, ...]
    decides: Origin
    reason: str
    days: float
    due: date | None
    z: float
    remarks: tuple[str, ...]

    @property
    def centile(self) -> float:
        """Of the crown-rump length, 0-100; NaN where z is."""
        return centile_of(self.z)


def decide_dates(dates: KnownDates, dating: Dating, crl_mm: float, head: Dating | None = None) -> DateDecision:
    """The age that counts.

    Conception counts always, then an earlier scan, as a due date is not changed by a later one; then the last period,
    unless the measured age differs by more than 5 days until 8w6d, or 7 days after that; then the measured age. That is
    the age by crown-rump length, and above `LONGEST_CRL_MM` the age by head circumference, where that was measured.

    Args:
        dates: that are known.
        dating: by the crown-rump length.
        crl_mm: the length, NaN if it is unknown.
        head: by the head circumference, None if it was not measured.
    """
    by_head = measured_by_head(crl_mm, head)
    if by_head and head is not None:
        dating = head
    ages = tuple(
        KnownAge(origin, _NAMES[origin], days, dating.days - days, _limit(origin, days))
        for origin, days in dates.ages().items()
    )
    decides, reason = _decision(ages, dating, "head" if by_head else "crl")
    known = next((age for age in ages if age.origin == decides), None)
    days = float(known.days) if known is not None else dating.days
    due = dates.examined + timedelta(days=TERM_DAYS - round(days)) if math.isfinite(days) else None
    remarks = []
    if not by_head and decides == "crl" and crl_mm > LONGEST_CRL_MM:
        remarks.append(f"Above a CRL of {LONGEST_CRL_MM:g} mm the head circumference dates better ({HEAD_SOURCE}).")
    z = _z(crl_mm, days) if known is not None else math.nan
    return DateDecision(ages, decides, reason, days, due, z, tuple(remarks))


def measured_by_head(crl_mm: float, head: Dating | None) -> bool:
    """Whether the measured age is that of the head circumference (ISUOG 2013: above a CRL of 84 mm)."""
    return crl_mm > LONGEST_CRL_MM and head is not None and math.isfinite(head.days)


def _limit(origin: Origin, days: int) -> int | None:
    if origin != "last_period":
        return None
    return next((limit for last, limit in _LIMITS if days <= last), None)


def _decision(ages: tuple[KnownAge, ...], dating: Dating, measured: Origin) -> tuple[Origin, str]:
    for age in ages:
        if age.origin in ("conception", "scan"):
            return age.origin, f"The {age.name} decides: a later length does not change it ({RULE_SOURCE})."
        if age.limit_days is not None and not age.agrees:
            reason = f"differs by {abs(age.difference_days):.0f} days, more than {age.limit_days}"
            return measured, f"The {_NAMES[measured]} decides: the {age.name} {reason} ({RULE_SOURCE})."
        return age.origin, f"The {age.name} decides: the {_NAMES[measured]} agrees ({RULE_SOURCE})."
    return measured, f"The {_NAMES[measured]} decides: nothing else is known ({dating.name})."


def _z(crl_mm: float, days: float) -> float:
    low, high = CHART_DAYS
    if not low <= days <= high:
        return math.nan
    mean, deviation = expected_crl_mm(days)
    return (crl_mm - mean) / deviation


def parsed_date(text: str, option: str) -> date:
    """A date as 2026-01-31.

    Raises:
        InputError: it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputError("this is no date", where=f"{option} {text}", remedy="Write it as 2026-01-31") from error


def parsed_scan(text: str, option: str) -> tuple[date, int]:
    """An earlier scan as ``2026-01-31=8w3d``: its day, and the age in days that it gave.

    Raises:
        InputError: it is none.
    """
    day, _, age = text.partition("=")
    match = re.fullmatch(r"(\d{1,2})w([0-6])d", age)
    if match is None:
        remedy = "Write its date and the age that it gave, as 2026-01-31=8w3d"
        raise InputError("this is no scan", where=f"{option} {text}", remedy=remedy)
    return parsed_date(day, option), 7 * int(match[1]) + int(match[2])
