"""Charts of head, abdomen and femur: published values, where they end, centiles."""

from __future__ import annotations

import itertools
import math

import pytest

from FetusMapV2Lib.anatomy.growth_charts import CHARTED, chart_places, expected_size_mm


@pytest.mark.parametrize(
    ("key", "weeks", "middle", "low", "high"),
    [
        ("hc", 12, 71.1, 63.6, 79.6), ("bpd", 13, 22.8, 20.1, 25.8), ("ac", 10, 35.9, 31.3, 41.2),
        ("fl", 16, 19.5, 15.9, 23.8),
    ],
)  # fmt: skip
def test_the_nichd_centiles_stand_at_their_weeks(key, weeks, middle, low, high):
    assert expected_size_mm(key, 7 * weeks) == pytest.approx((middle, low, high))
    for value, centile in ((middle, 50), (low, 5), (high, 95)):
        assert chart_places(key, value, 7 * weeks)[0].centile == pytest.approx(centile, abs=0.01)


def test_between_weeks_sizes_grow():
    sizes = [expected_size_mm("hc", days)[0] for days in range(70, 113)]
    assert all(later > before for before, later in itertools.pairwise(sizes))


@pytest.mark.parametrize(
    ("key", "mean", "sd"), [("hc", 97.9, 5.58), ("bpd", 29.6, 1.74), ("ac", 80.6, 4.13), ("fl", 13.1, 1.52)]
)
def test_intergrowth_begins_at_14_weeks(key, mean, sd):
    nichd, intergrowth = chart_places(key, mean, 98)
    assert (nichd.chart, intergrowth.chart) == ("NICHD", "INTERGROWTH-21st")
    assert intergrowth.middle_mm == pytest.approx(mean, abs=0.1)
    assert (intergrowth.high_mm - intergrowth.middle_mm) / 1.645 == pytest.approx(sd, abs=0.01)
    assert [place.chart for place in chart_places(key, mean, 97.9)] == ["NICHD"]
    assert [place.chart for place in chart_places(key, mean, 113)] == ["INTERGROWTH-21st"]


@pytest.mark.parametrize("key", CHARTED)
@pytest.mark.parametrize(("value", "days"), [(math.nan, 90), (50, math.nan), (0, 90), (50, 69.9), (50, 281)])
def test_where_a_chart_ends_there_is_no_place(key, value, days):
    assert chart_places(key, value, days) == ()


def test_what_has_no_chart_is_an_error():
    with pytest.raises(KeyError):
        chart_places("foot", 10, 90)
    with pytest.raises(KeyError):
        chart_places("foot", math.nan, 90)
