"""Agreement against the published worked examples, and against what is known by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest

from FetusMapV2Lib.evaluation.agreement import ANCHORS, agreement, icc, limits_of_agreement

#: Shrout and Fleiss 1979, table 2: six targets, four judges.
RATINGS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float)


def test_the_worked_example_of_shrout_and_fleiss() -> None:
    absolute, consistent = icc(RATINGS, absolute=True), icc(RATINGS, absolute=False)
    assert (absolute.value, consistent.value) == pytest.approx((0.2898, 0.7148), abs=1e-4)
    # the intervals that R's psych and DescTools print for it
    assert (absolute.low, absolute.high) == pytest.approx((0.0188, 0.7611), abs=1e-3)
    assert (consistent.low, consistent.high) == pytest.approx((0.3425, 0.9459), abs=1e-3)


def test_limits_of_agreement_and_their_intervals() -> None:
    differences = np.array([-1.0, 0.0, 1.0, 2.0, 3.0])
    bias, lower, upper = limits_of_agreement(differences)
    deviation = math.sqrt(2.5)
    assert (bias.value, lower.value, upper.value) == pytest.approx(
        (1.0, 1 - 1.96 * deviation, 1 + 1.96 * deviation), abs=1e-4
    )
    # Student's t of four degrees of freedom: 2.7764
    assert bias.high - bias.value == pytest.approx(2.7764 * deviation / math.sqrt(5), abs=1e-3)
    spread = deviation * math.sqrt(1 / 5 + 1.96**2 / 8)
    assert upper.high - upper.value == pytest.approx(2.7764 * spread, abs=1e-3)


def test_the_limits_hold_nineteen_of_twenty_differences() -> None:
    generator = np.random.default_rng(3)
    _, lower, upper = limits_of_agreement(generator.normal(0.4, 1.2, 400))
    fresh = generator.normal(0.4, 1.2, 20_000)
    assert ((fresh > lower.value) & (fresh < upper.value)).mean() == pytest.approx(0.95, abs=0.02)
    assert lower.low < 0.4 - 1.96 * 1.2 < lower.high


def test_a_constant_difference_counts_for_agreement_alone() -> None:
    first = np.random.default_rng(1).uniform(40, 90, 30)
    found = agreement(first, first + 5.0)
    assert found.icc_consistency.value == pytest.approx(1.0) and found.icc_agreement.value < 0.97
    assert found.bias.value == pytest.approx(5.0) and found.cases == 30
    same = agreement(first, first)
    assert same.icc_agreement.value == same.icc_agreement.low == 1.0


def test_an_interval_of_the_icc_covers_the_truth() -> None:
    generator, covered, truth = np.random.default_rng(5), 0, 100.0 / (100.0 + 4.0)
    for _ in range(300):
        targets = generator.normal(60, 10, 20)
        ratings = targets[:, None] + generator.normal(0, 2, (20, 2))
        interval = icc(ratings, absolute=False)
        covered += interval.low <= truth <= interval.high
    assert covered / 300 == pytest.approx(0.95, abs=0.04)


def test_too_few_cases_give_nothing_and_missing_ones_are_left_out() -> None:
    nothing = agreement(np.array([1.0, np.nan, 2.0]), np.array([1.0, 3.0, np.nan]))
    assert nothing.cases == 1 and math.isnan(nothing.bias.value) and math.isnan(nothing.icc_agreement.value)
    assert math.isnan(icc(np.ones((5, 2)), absolute=True).value)
    with pytest.raises(ValueError, match="shape"):
        agreement(np.zeros(2), np.zeros(3))


def test_every_published_figure_names_its_source() -> None:
    assert all(anchor.what and anchor.value and "20" in anchor.source for anchor in ANCHORS)
