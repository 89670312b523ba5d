"""Uncertainty of results: bootstrap intervals over cases, exact intervals of shares, paired tests of two models.

Cases are the unit throughout: the landmarks of one fetus are not independent observations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

Array = NDArray[np.float64]

#: Level of every interval.
LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """Two models on the same cases.

    Attributes:
        first, second: names.
        cases: with a value of both.
        difference: mean of second - first over these cases.
        p: of Wilcoxon's signed-rank test, two-sided; NaN without a case.
        p_holm: after Holm's correction for all tests of one comparison.
    """

    first: str
    second: str
    cases: int
    difference: Interval
    p: float
    p_holm: float = math.nan


def bootstrap_means(values: Array, *, resamples: int = RESAMPLES, seed: int = 0) -> Array:
    """Column means of resampled cases.

    Args:
        values: (C, M), a row per case, NaN = not scored.
        resamples: B.
        seed: same seed, same resamples for every table of as many cases.

    Returns:
        (B, M); NaN where a resample has no value.
    """
    values = np.asarray(values, dtype=np.float64)
    count = len(values)
    # a mean only needs how often each case is drawn
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    known = np.isfinite(values)
    number = drawn @ known
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Array = np.where(number > 0, (drawn @ np.where(known, values, 0.0)) / number, np.nan)
    return means


def mean_intervals(
    values: Array, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[tuple[Interval, ...], Interval]:
    """Means per column, and the mean over the columns, with percentile bootstrap intervals.

    Args:
        values: (C, M), NaN = not scored.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        M intervals, and that of the mean over all columns that have a value, as in the last column of the paper's
        tables 2 and 3.
    """
    values = np.asarray(values, dtype=np.float64)
    if not len(values):
        nothing = Interval(math.nan, math.nan, math.nan)
        return (nothing,) * values.shape[1], nothing
    drawn = bootstrap_means(values, resamples=resamples, seed=seed)
    means = [finite_mean(column) for column in values.T]
    columns = tuple(_percentiles(mean, column) for mean, column in zip(means, drawn.T, strict=True))
    return columns, _percentiles(finite_mean(np.array(means)), row_means(drawn))


def mean_interval(values: Array, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The mean of one value per case (C,) with its percentile bootstrap interval."""
    return mean_intervals(np.asarray(values, dtype=np.float64)[:, None], resamples=resamples, seed=seed)[1]


def share_interval(hits: int, count: int) -> Interval:
    """A share of cases with its exact (Clopper-Pearson) interval, which is valid for 0 of n, too."""
    if not count:
        return Interval(math.nan, math.nan, math.nan)
    # as `binomtest(hits, count).proportion_ci(method="exact")` of `scipy.stats`, which takes long to load
    low = betaincinv(hits, count - hits + 1, (1 - LEVEL) / 2) if hits else 0.0
    high = betaincinv(hits + 1, count - hits, (1 + LEVEL) / 2) if hits < count else 1.0
    return Interval(hits / count, float(low), float(high))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down correction (1979), in the order given; NaN stays NaN and does not count.

    SciPy has none (`scipy.stats.false_discovery_control` is Benjamini-Hochberg's), and ten lines are no reason for
    statsmodels and pandas.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    corrected = [math.nan] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[place] = largest
    return tuple(corrected)


def paired_test(first: str, second: str, values_first: Array, values_second: Array, *, seed: int = 0) -> PairedTest:
    """Wilcoxon's signed-rank test of one value per case (C,) of two models, NaN = not scored.

    Raises:
        ValueError: the arrays differ in shape.
    """
    values_first, values_second = (np.asarray(values, dtype=np.float64) for values in (values_first, values_second))
    if values_first.shape != values_second.shape:
        raise ValueError(f"values differ in shape: {values_first.shape}, {values_second.shape}")
    differences = values_second - values_first
    differences = differences[np.isfinite(differences)]
    if not differences.size:
        p = math.nan
    elif not differences.any():
        p = 1.0  # the test has nothing to rank
    else:
        from scipy.stats import wilcoxon  # loading it takes longer than all figures of an evaluation

        p = float(wilcoxon(differences).pvalue)
    return PairedTest(first, second, len(differences), mean_interval(differences, seed=seed), p)


def _percentiles(mean: float, drawn: Array) -> Interval:
    known = drawn[np.isfinite(drawn)]
    if not known.size:
        return Interval(mean, math.nan, math.nan)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(mean, float(low), float(high))


def row_means(values: Array) -> Array:
    """Mean of the finite values of each row, NaN for a row without one."""
    known = np.isfinite(values)
    number = known.sum(axis=1)
    sums = np.where(known, values, 0.0).sum(axis=1)
    return np.asarray(np.where(number > 0, sums / np.maximum(number, 1), np.nan))


def finite_mean(values: Array) -> float:
    """Mean of the finite values, NaN without one."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan
