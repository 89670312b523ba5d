"""Dating against published values, validity, and nonsense lengths."""

from __future__ import annotations

import math

import pytest

from FetusMapV2Lib.anatomy.dating import FORMULAS, expected_crl_mm, gestational_age
from FetusMapV2Lib.core.errors import InputError

# CRL in mm at completed weeks, as tabulated for INTERGROWTH-21st.
PUBLISHED = {10: 33, 11: 44, 12: 56, 13: 68, 14: 81, 15: 94}


@pytest.mark.parametrize(("week", "crl"), PUBLISHED.items())
def test_expected_crl_is_the_published_table(week, crl):
    mean, sd = expected_crl_mm(week * 7)
    assert mean == pytest.approx(crl, abs=0.51)
    assert 4 < sd < 9


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize(("week", "crl"), PUBLISHED.items())
def test_the_formulas_agree_with_the_table_and_each_other(formula, week, crl):
    assert gestational_age(crl, formula).days == pytest.approx(week * 7, abs=2.5)


@pytest.mark.parametrize(
    ("formula", "crl", "days"),
    [
        # by hand: 40.9041 + 3.21585 * 8 + 0.348956 * 64
        ("intergrowth21", 64.0, 88.964),
        # by hand: 8.052 * sqrt(1.037 * 64) + 23.73
        ("robinson", 64.0, 89.326),
        # 0.2 days less
        ("fmf", 64.0, 89.126),
        # by hand: 7 * exp(1.684969 + 0.315646 * 6 - 0.049306 * 36 + 0.004057 * 216 - 0.000120456 * 1296)
        ("hadlock", 60.0, 87.351),
    ],
)
def test_single_values(formula, crl, days):
    assert gestational_age(crl, formula).days == pytest.approx(days, abs=0.01)


def test_the_intervals_are_the_published_ones_at_90_percent():
    assert gestational_age(60, "intergrowth21").interval_days == pytest.approx(1.645 * (2.39102 + 0.0193474 * 60), 1e-3)
    # 4.7 days are 95 %
    assert gestational_age(60, "robinson").interval_days == pytest.approx(4.7 * 1.645 / 1.96, 1e-3)
    # 8 % are two standard deviations
    hadlock = gestational_age(60, "hadlock")
    assert hadlock.interval_days == pytest.approx(hadlock.days * 0.04 * 1.645, 1e-3)


def test_the_ranges_are_those_of_the_publications():
    ranges = {formula: gestational_age(50, formula).valid_range_mm for formula in FORMULAS}
    expected = {"intergrowth21": (15.0, 95.0), "robinson": (7.0, 80.0), "fmf": (45.0, 84.0), "hadlock": (2.0, 120.0)}
    assert ranges == expected


@pytest.mark.parametrize(
    ("formula", "coefficients"),
    [("hadlock", (1.684969, 0.315646, -0.049306, 0.004057, -0.000120456))],
)
def test_the_polynomial_is_exact(formula, coefficients):
    for crl in (5.0, 45.0, 110.0):
        weeks = math.exp(sum(value * (crl / 10) ** power for power, value in enumerate(coefficients)))
        assert gestational_age(crl, formula).days == pytest.approx(7 * weeks, rel=1e-12)


def test_expected_lengths_are_exact():
    assert expected_crl_mm(80.0) == pytest.approx(
        (-50.6562 + 0.815118 * 80 + 0.00535302 * 6400, -2.21626 + 0.0984894 * 80)
    )


@pytest.mark.parametrize("formula", FORMULAS)
def test_outside_its_range_the_value_is_given_but_not_valid(formula):
    low, high = gestational_age(50, formula).valid_range_mm
    assert gestational_age(low, formula).valid
    assert gestational_age(high, formula).valid
    for crl in (low - 0.1, high + 0.1):
        dating = gestational_age(crl, formula)
        assert not dating.valid
        assert math.isfinite(dating.days)
        assert math.isfinite(dating.interval_days)


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("crl", [math.nan, math.inf, -math.inf, 0.0, -5.0, 1e300])
def test_no_length_gives_no_age(formula, crl):
    dating = gestational_age(crl, formula)
    assert math.isnan(dating.days)
    assert math.isnan(dating.interval_days)
    assert not dating.valid
    assert dating.weeks_text == ""


@pytest.mark.parametrize("formula", FORMULAS)
def test_age_grows_with_length_inside_the_range(formula):
    low, high = gestational_age(50, formula).valid_range_mm
    days = [gestational_age(low + share * (high - low) / 50, formula).days for share in range(51)]
    assert days == sorted(days)


def test_dating_and_expected_length_are_inverse():
    for week in range(10, 15):
        assert gestational_age(expected_crl_mm(week * 7)[0]).days == pytest.approx(week * 7, abs=1)


def test_the_age_in_words():
    assert gestational_age(64.0).weeks_text == "12w5d"
    dating = gestational_age(67.0)
    assert dating.days == pytest.approx(90.607, abs=0.01)
    assert dating.weeks_text == "13w0d"
    assert all("7d" not in gestational_age(crl / 10).weeks_text for crl in range(150, 950))


def test_every_formula_names_its_source_and_an_unknown_one_is_refused():
    assert FORMULAS == ("intergrowth21", "robinson", "fmf", "hadlock")
    for formula, year in zip(FORMULAS, ("2014", "1975", "1975", "1992"), strict=True):
        assert year in gestational_age(50, formula).source
        assert gestational_age(50, formula).key == formula
    with pytest.raises(InputError, match="unknown dating formula 'naegele'"):
        gestational_age(50, "naegele")


@pytest.mark.parametrize("formula", FORMULAS)
def test_an_uncertain_length_widens_the_interval(formula):
    sure, unsure = gestational_age(60, formula), gestational_age(60, formula, 4.0)
    assert sure.length_days is None and sure.combined_days == sure.interval_days
    assert unsure.days == sure.days
    # half the days between the ends of the length's interval
    ends = gestational_age(64, formula).days - gestational_age(56, formula).days
    assert unsure.length_days == pytest.approx(ends / 2)
    assert unsure.combined_days == pytest.approx(math.hypot(unsure.interval_days, ends / 2))
    assert math.isfinite(gestational_age(3.0, formula, 10.0).combined_days)
    assert gestational_age(math.nan, formula, 4.0).length_days is None
