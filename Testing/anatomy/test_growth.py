"""Growth between two examinations: per day, with its uncertainty, beside what charts expect."""

from __future__ import annotations

import math

import pytest

from FetusMapV2Lib.anatomy.dating import expected_crl_mm
from FetusMapV2Lib.anatomy.growth import NAMES, Size, growth
from FetusMapV2Lib.anatomy.growth_charts import expected_size_mm


def test_growth_a_day_and_its_uncertainty() -> None:
    (crl,) = growth({"crl": Size(45.0, 3.0)}, {"crl": Size(59.0, 4.0)}, 10, 87.0)
    assert (crl.name, crl.before_mm, crl.now_mm) == ("Crown-rump length", 45.0, 59.0)
    assert crl.per_day_mm == pytest.approx(1.4) and crl.uncertainty_mm == pytest.approx(0.5)
    assert growth({"crl": Size(45.0)}, {"crl": Size(59.0, 4.0)}, 10, 87.0)[0].uncertainty_mm is None


def test_a_median_fetus_grows_as_expected() -> None:
    first, last = 77.0, 91.0
    before = {key: Size(expected_size_mm(key, first)[0]) for key in ("hc", "bpd", "ac")}
    now = {key: Size(expected_size_mm(key, last)[0]) for key in ("hc", "bpd", "ac")}
    before["crl"], now["crl"] = (Size(expected_crl_mm(days)[0]) for days in (first, last))
    found = growth(before, now, 14, last)
    assert [one.key for one in found] == ["crl", "hc", "bpd", "ac"]
    for one in found:
        assert one.expected_mm == pytest.approx(one.per_day_mm)


def test_without_a_chart_or_an_age_nothing_is_expected() -> None:
    sizes = {"left_femur": Size(9.0), "crl": Size(50.0)}
    femur = next(one for one in growth(sizes, sizes, 7, 90.0) if one.key == "left_femur")
    assert femur.expected_mm is None and femur.per_day_mm == 0
    assert growth(sizes, sizes, 7, math.nan)[0].expected_mm is None
    assert growth(sizes, sizes, 40, 90.0)[0].expected_mm is None, "the chart begins at 58 days"


def test_only_what_both_examinations_have_is_compared() -> None:
    assert not growth({"crl": Size(50.0)}, {"hc": Size(60.0)}, 7, 90.0)
    assert not growth({"crl": Size(math.nan)}, {"crl": Size(60.0)}, 7, 90.0)
    everything = {key: Size(10.0) for key in NAMES}
    assert len(growth(everything, everything, 1, 90.0)) == len(NAMES)
    with pytest.raises(ValueError, match="a day"):
        growth(everything, everything, 0, 90.0)
