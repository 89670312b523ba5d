"""Intervals and tests against what is known by hand or from scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy

from FetusMapV2Lib.evaluation.statistics import (
    bootstrap_means,
    holm,
    mean_interval,
    mean_intervals,
    paired_test,
    share_interval,
)


def test_bootstrap_intervals_cover_the_mean_as_often_as_they_say():
    generator = np.random.default_rng(5)
    hits = 0
    for seed in range(200):
        found = mean_interval(
            generator.gamma(2.0, 1.5, 60), resamples=500, seed=seed
        )  # mean 3, skewed as distances are
        hits += found.low <= 3.0 <= found.high
    assert 180 <= hits <= 198  # 95 % of 200, four standard deviations each way; percentile intervals are a bit short


def test_bootstrap_is_that_of_whole_cases():
    # two landmarks of a case err alike: resampling landmarks one by one would make the interval too short
    values = np.repeat(np.random.default_rng(0).normal(5, 2, 40)[:, None], 2, axis=1)
    _, mean = mean_intervals(values)
    single = mean_interval(values[:, 0])
    assert (mean.low, mean.high) == pytest.approx((single.low, single.high))


def test_bootstrap_spread_is_that_of_the_mean():
    values = np.random.default_rng(1).normal(0, 3, (100, 1))
    assert bootstrap_means(values, resamples=4000).std() == pytest.approx(values.std() / 10, rel=0.05)


def test_missing_values_do_not_count():
    values = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]])
    (first, second), mean = mean_intervals(values)
    assert first.value == mean.value == 2
    assert 1 <= first.low <= first.high <= 3
    assert math.isnan(second.value) and math.isnan(second.low)


def test_no_case_gives_no_interval():
    each, mean = mean_intervals(np.empty((0, 3)))
    assert len(each) == 3 and math.isnan(mean.value)


def test_same_seed_same_interval():
    values = np.random.default_rng(2).normal(size=30)
    assert mean_interval(values, seed=4) == mean_interval(values, seed=4)
    assert mean_interval(values, seed=4) != mean_interval(values, seed=5)


def test_shares_have_exact_bounds():
    # "rule of three": 0 of n excludes more than about 3.7 / n at 95 %, two-sided
    none = share_interval(0, 50)
    assert (none.value, none.low) == (0, 0)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 50))
    assert math.isnan(share_interval(0, 0).value)
    for hits, count in ((0, 7), (3, 11), (7, 7)):
        exact, found = scipy.stats.binomtest(hits, count).proportion_ci(0.95, "exact"), share_interval(hits, count)
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-12)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.5, 0.9]) == (1.0, 1.0)
    corrected = holm([0.02, math.nan, 0.03])
    assert corrected[0] == pytest.approx(0.04) and math.isnan(corrected[1]) and corrected[2] == pytest.approx(0.04)
    assert holm([]) == ()


def test_paired_test_is_symmetric():
    generator = np.random.default_rng(3)
    a = generator.gamma(2, 2, 25)
    b = a + generator.normal(0.5, 1, 25)
    b[4] = np.nan
    there, back = paired_test("a", "b", a, b), paired_test("b", "a", b, a)
    assert there.p == back.p
    assert there.cases == back.cases == 24
    assert there.difference.value == pytest.approx(-back.difference.value)
    assert there.difference.low == pytest.approx(-back.difference.high)
    known = np.isfinite(b)
    assert there.p == scipy.stats.wilcoxon(a[known], b[known]).pvalue


def test_paired_test_sees_a_shift_and_only_a_shift():
    generator = np.random.default_rng(4)
    a = generator.gamma(2, 2, 40)
    assert paired_test("a", "b", a, a + generator.normal(1, 0.5, 40)).p < 1e-4
    assert paired_test("a", "b", a, a).p == 1.0
    assert math.isnan(paired_test("a", "b", np.full(3, np.nan), np.ones(3)).p)


def test_paired_test_refuses_other_cases():
    with pytest.raises(ValueError, match="differ in shape"):
        paired_test("a", "b", np.ones(3), np.ones(4))
