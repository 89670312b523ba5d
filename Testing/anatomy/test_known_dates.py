"""Which date of a pregnancy decides, after the rules that are published, and what follows from it."""

from __future__ import annotations

import math
from datetime import date, timedelta

import pytest

from FetusMapV2Lib.anatomy.dating import expected_crl_mm, gestational_age
from FetusMapV2Lib.anatomy.known_dates import KnownDates, decide_dates, parsed_date, parsed_scan
from FetusMapV2Lib.core.errors import InputError

TODAY = date(2026, 3, 1)


def crl_at(days: float) -> float:
    """The length that INTERGROWTH-21st dates to this age."""
    low, high = 10.0, 110.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if gestational_age(middle).days < days else (low, middle)
    return low


def decided(crl_days: float, **ages: int):
    """With the last period, the conception or an earlier scan so many days of age before today."""
    known = KnownDates(
        TODAY,
        last_period=TODAY - timedelta(ages["period"]) if "period" in ages else None,
        conceived=TODAY - timedelta(ages["conception"] - 14) if "conception" in ages else None,
        scanned=(TODAY - timedelta(20), ages["scan"] - 20) if "scan" in ages else None,
    )
    crl = crl_at(crl_days)
    return decide_dates(known, gestational_age(crl), crl)


@pytest.mark.parametrize(
    ("period", "by_length", "decides"),
    [(84, 84, "last_period"), (84, 91, "last_period"), (84, 92, "crl"), (84, 76, "crl"), (62, 67, "last_period"),
     (62, 68, "crl"), (63, 70, "last_period"), (111, 104, "last_period"), (111, 103, "crl")],
)  # fmt: skip
def test_the_length_redates_a_last_period_beyond_the_published_limits(period, by_length, decides) -> None:
    found = decided(by_length + 0.01 * (1 if by_length < period else -1), period=period)
    assert found.decides == decides
    assert found.due == TODAY + timedelta(280 - (period if decides == "last_period" else by_length))
    assert found.ages[0].agrees == (decides == "last_period")


@pytest.mark.parametrize(("origin", "decides"), [("conception", "conception"), ("scan", "scan")])
def test_conception_and_an_earlier_scan_are_never_changed(origin, decides) -> None:
    found = decided(100, period=80, **{origin: 84})
    assert found.decides == decides and found.days == 84
    assert [age.days for age in found.ages] == [84, 80]
    assert "decides" in found.reason and "ACOG" in found.reason
    assert decided(100, conception=82, scan=84).decides == "conception"


def test_without_anything_known_the_length_decides_and_has_no_centile() -> None:
    found = decided(84)
    assert found.decides == "crl" and found.due == TODAY + timedelta(196)
    assert math.isnan(found.z) and math.isnan(found.centile) and found.remarks == ()


def test_the_centile_is_that_of_the_chart_for_a_known_age() -> None:
    mean, deviation = expected_crl_mm(84)
    known = KnownDates(TODAY, conceived=TODAY - timedelta(70))
    found = decide_dates(known, gestational_age(mean + 1.2816 * deviation), mean + 1.2816 * deviation)
    assert found.centile == pytest.approx(90, abs=0.1) and found.z == pytest.approx(1.2816, abs=1e-3)
    early = KnownDates(TODAY, conceived=TODAY - timedelta(40))
    assert math.isnan(decide_dates(early, gestational_age(30), 30).z)


def test_a_long_crl_points_to_the_head() -> None:
    assert "head circumference" in decide_dates(KnownDates(TODAY), gestational_age(90), 90).remarks[0]
    assert decide_dates(KnownDates(TODAY), gestational_age(84), 84).remarks == ()


def test_an_unknown_length_leaves_what_is_known() -> None:
    found = decide_dates(KnownDates(TODAY, last_period=TODAY - timedelta(84)), gestational_age(math.nan), math.nan)
    assert found.decides == "last_period" and found.due is not None and math.isnan(found.z)
    assert decide_dates(KnownDates(TODAY), gestational_age(math.nan), math.nan).due is None


@pytest.mark.parametrize("days", [-1, 311])
def test_dates_that_cannot_be_are_refused(days) -> None:
    with pytest.raises(InputError, match="last menstrual period gives an age"):
        KnownDates(TODAY, last_period=TODAY - timedelta(days))


def test_dates_as_text() -> None:
    assert parsed_date("2026-03-01", "--examined") == TODAY
    assert parsed_scan("2026-02-01=8w3d", "--earlier-scan") == (date(2026, 2, 1), 59)
    for text in ("1.3.2026", "2026-02-30", ""):
        with pytest.raises(InputError, match="no date"):
            parsed_date(text, "--examined")
    for text in ("2026-02-01", "2026-02-01=8w7d", "2026-02-01=59"):
        with pytest.raises(InputError, match="no scan"):
            parsed_scan(text, "--earlier-scan")


def test_above_84_mm_the_measured_age_is_that_of_the_head() -> None:
    from FetusMapV2Lib.anatomy.head_dating import age_by_head

    day, head = date(2026, 3, 1), age_by_head(104.0)
    long, short = gestational_age(88.0), gestational_age(70.0)
    alone = decide_dates(KnownDates(day), long, 88.0, head)
    assert (alone.decides, alone.days) == ("head", head.days) and "head circumference decides" in alone.reason
    assert not alone.remarks and math.isnan(alone.z)
    assert decide_dates(KnownDates(day), long, 88.0).remarks
    assert decide_dates(KnownDates(day), short, 70.0, head).decides == "crl"
    agreed = decide_dates(KnownDates(day, last_period=date(2025, 11, 20)), long, 88.0, head)
    assert agreed.decides == "last_period" and agreed.ages[0].difference_days == head.days - agreed.ages[0].days
