"""Age by the head circumference against the growth standard it belongs to."""

from __future__ import annotations

import math

import pytest

from FetusMapV2Lib.anatomy.growth_charts import chart_places
from FetusMapV2Lib.anatomy.head_dating import age_by_head


@pytest.mark.parametrize(("weeks", "hc"), [(14, 97.9), (15, 110.4), (16, 122.9), (20, 174.6)])
def test_the_median_head_of_a_week_dates_to_that_week(weeks: int, hc: float) -> None:
    places = chart_places("hc", hc, 7.0 * weeks)
    assert next(one for one in places if one.chart == "INTERGROWTH-21st").z == pytest.approx(0.0, abs=0.35)
    assert age_by_head(hc).days == pytest.approx(7 * weeks, abs=2.0)


def test_the_interval_holds_the_spread_of_fetuses_and_the_uncertainty_of_the_measurement() -> None:
    sure, unsure = age_by_head(100.0), age_by_head(100.0, 4.0)
    assert 2.0 < sure.interval_days < 6.0 and sure.length_days is None
    assert unsure.length_days == pytest.approx((age_by_head(104.0).days - age_by_head(96.0).days) / 2, rel=0.01)
    assert unsure.combined_days > sure.combined_days


def test_smaller_heads_than_those_of_14_weeks_are_outside() -> None:
    assert not age_by_head(80.0).valid and age_by_head(100.0).valid
    for nothing in (math.nan, 0.0, 1000.0):
        assert math.isnan(age_by_head(nothing).days) and not age_by_head(nothing).weeks_text
