"""The chart of ossified shafts: its published points, and where it ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from FetusMapV2Lib.anatomy.dating import gestational_age
from FetusMapV2Lib.anatomy.shafts import expected_shaft


def crl_at(days: float) -> float:
    """The CRL whose INTERGROWTH-21st age is `days`."""
    low, high = 15.0, 120.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if gestational_age(middle).days < days else (low, middle)
    return low


@pytest.mark.parametrize(
    ("bone", "week", "mean", "sd"),
    [
        ("femur", 12, 9.15, 1.44), ("femur", 13, 11.45, 1.35), ("femur", 14, 13.64, 1.60),
        ("humerus", 12, 9.63, 1.44), ("humerus", 13, 12.01, 1.41), ("humerus", 14, 14.29, 1.48),
    ],
)  # fmt: skip
def test_the_published_means_stand_at_the_middles_of_their_weeks(bone, week, mean, sd):
    shaft = expected_shaft(bone, crl_at(7 * week + 3.5))
    assert shaft.mean_mm == pytest.approx(mean, abs=1e-6)
    assert shaft.sd_mm == pytest.approx(sd, abs=1e-6)


def test_between_and_beyond_the_middles_the_shaft_grows_steadily():
    lengths = [expected_shaft("femur", crl_at(84.01 + step)).mean_mm for step in range(21)]
    growth = np.diff(lengths)
    assert all(0.29 < each < 0.35 for each in growth)
    assert all(expected_shaft("femur", crl_at(84.01 + step)).sd_mm >= 1.35 for step in range(21))


@pytest.mark.parametrize("crl", [math.nan, -3.0, 15.0, crl_at(83.9), crl_at(105.1), 400.0])
def test_the_chart_says_nothing_outside_its_weeks(crl):
    assert expected_shaft("humerus", crl) is None


def test_there_is_no_chart_of_other_bones():
    with pytest.raises(KeyError):
        expected_shaft("tibia", 60.0)
