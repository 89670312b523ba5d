"""Agreement of two ways to measure the same: intraclass correlation and limits of agreement, each with its interval.

Neither SciPy nor NumPy has them. Beside them stand the figures that were published for real volumes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri, stdtrit  # quantiles of F and t; `scipy.stats` has them too, and takes long to load

from FetusMapV2Lib.evaluation.statistics import LEVEL, Interval

Array = NDArray[np.float64]

#: Normal quantile of the limits of agreement: 95 % of differences lie between them.
_LIMIT_SD = 1.959964
#: Mean squares below this share of that between cases are rounding.
_ROUNDING = 1e-12
_NOTHING = Interval(math.nan, math.nan, math.nan)
#: A midsagittal plane counts as right within this angle and this distance of the true plane's middle. Our own
#: criterion: the published rate is a judgement of specialists.
PLANE_DEG, PLANE_MM = 10.0, 2.0


@dataclass(frozen=True)
class Anchor:
    """A published figure to read beside ours."""

    what: str
    value: str
    source: str


_CRL_NET = "3DCRL-Net, 126 volumes of 11-14 weeks, BMC Pregnancy Childbirth 2025"
_CRL_3D = "137 pregnancies of 6-13 weeks, Prenat Diagn 2012;32(3)"
#: Of real volumes; ours are of the cases at hand.
ANCHORS = (
    Anchor("Nine landmarks of the crown-rump plane, distance", "1.81 mm", _CRL_NET),
    Anchor("Crown-rump plane judged as standard: network / radiologists", "91.27 % / 80.16 %", _CRL_NET),
    Anchor("Crown-rump length, 3D against 2D, ICC", "0.992", _CRL_3D),
    Anchor("Crown-rump length in 3D, one / two observers, ICC", "0.999 / 0.993", _CRL_3D),
    Anchor(
        "Crown-rump length, two observers, limits of agreement",
        "± 2.35 mm",
        "56 pregnancies of 6-10 weeks, BMC Pregnancy Childbirth 2018, doi 10.1186/s12884-018-1769-2",
    ),
)


@dataclass(frozen=True)
class Agreement:
    """Two series of measurements of the same cases; NaN where there are too few.

    Attributes:
        cases: with a value of both.
        bias: mean of second minus first.
        lower, upper: limits of agreement: 95 % of the differences lie between them.
        icc_agreement: ICC(2,1), absolute agreement of a single measurement.
        icc_consistency: ICC(3,1), which forgives a constant difference.
    """

    cases: int
    bias: Interval
    lower: Interval
    upper: Interval
    icc_agreement: Interval
    icc_consistency: Interval


def agreement(first: Array, second: Array) -> Agreement:
    """How well two series (C,) agree, NaN = not measured.

    Raises:
        ValueError: the series differ in length.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"series differ in shape: {first.shape}, {second.shape}")
    known = np.isfinite(first) & np.isfinite(second)
    pairs = np.stack([first[known], second[known]], axis=1)
    bias, lower, upper = limits_of_agreement(pairs[:, 1] - pairs[:, 0])
    return Agreement(len(pairs), bias, lower, upper, icc(pairs, absolute=True), icc(pairs, absolute=False))


def limits_of_agreement(differences: Array) -> tuple[Interval, Interval, Interval]:
    """Bias and the two limits, bias -+ 1.96 SD, each with its interval.

    Bland and Altman, Stat Methods Med Res 1999;8:135-160: the variance of the bias is s^2 / n, that of a limit
    s^2 (1 / n + 1.96^2 / (2 (n - 1))); the interval is by Student's t with n - 1 degrees of freedom.

    Args:
        differences: (C,) without NaN.

    Returns:
        Bias, lower and upper limit; NaN for less than three differences.
    """
    count = len(differences)
    if count < 3:
        return _NOTHING, _NOTHING, _NOTHING
    bias, deviation = float(differences.mean()), float(differences.std(ddof=1))
    quantile = float(stdtrit(count - 1, (1 + LEVEL) / 2))

    def around(value: float, variance: float) -> Interval:
        half = quantile * math.sqrt(variance)
        return Interval(value, value - half, value + half)

    of_limit = deviation**2 * (1 / count + _LIMIT_SD**2 / (2 * (count - 1)))
    lower, upper = (around(bias + sign * _LIMIT_SD * deviation, of_limit) for sign in (-1, 1))
    return around(bias, deviation**2 / count), lower, upper


def icc(ratings: Array, *, absolute: bool) -> Interval:
    """Intraclass correlation of single measurements, two-way.

    ICC(2,1) = (MSR - MSE) / (MSR + (k - 1) MSE + k (MSC - MSE) / n), ICC(3,1) = (MSR - MSE) / (MSR + (k - 1) MSE) with
    the mean squares of rows, columns and error (Shrout and Fleiss, Psychol Bull 1979;86:420-428); intervals after
    McGraw and Wong, Psychol Methods 1996;1:30-46.

    Args:
        ratings: (n, k): n cases, k measurements each, without NaN.
        absolute: ICC(2,1), else ICC(3,1).

    Returns:
        NaN for less than three cases, or if all measurements are equal.
    """
    n, k = ratings.shape
    if n < 3 or not np.ptp(ratings) > 0:
        return _NOTHING
    rows, columns, error = _mean_squares(ratings)
    return _absolute(n, k, rows, columns, error) if absolute else _consistent(n, k, rows, error)


def _mean_squares(ratings: Array) -> tuple[float, float, float]:
    n, k = ratings.shape
    mean, row_means, column_means = ratings.mean(), ratings.mean(axis=1), ratings.mean(axis=0)
    residual = ratings - row_means[:, None] - column_means + mean
    rows = k * float(((row_means - mean) ** 2).sum()) / (n - 1)
    columns = n * float(((column_means - mean) ** 2).sum()) / (k - 1)
    return rows, columns, float((residual**2).sum()) / ((n - 1) * (k - 1))


def _consistent(n: int, k: int, rows: float, error: float) -> Interval:
    value = (rows - error) / (rows + (k - 1) * error)
    if not error > _ROUNDING * rows:
        return Interval(1.0, 1.0, 1.0)
    freedom = (n - 1, (n - 1) * (k - 1))
    low = rows / error / _f(*freedom)
    high = rows / error * _f(freedom[1], freedom[0])
    return Interval(value, (low - 1) / (low + k - 1), (high - 1) / (high + k - 1))


def _absolute(n: int, k: int, rows: float, columns: float, error: float) -> Interval:
    value = (rows - error) / (rows + (k - 1) * error + k * (columns - error) / n)
    if not error + columns > _ROUNDING * rows:
        return Interval(1.0, 1.0, 1.0)
    a, b = k * value / (n * (1 - value)), 1 + k * value * (n - 1) / (n * (1 - value))
    freedom = (a * columns + b * error) ** 2 / ((a * columns) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1)))
    if not freedom > 0:
        return Interval(value, math.nan, math.nan)
    below, above = _f(n - 1, freedom), _f(freedom, n - 1)
    rest = k * columns + (k * n - k - n) * error
    low = n * (rows - below * error) / (below * rest + n * rows)
    high = n * (above * rows - error) / (rest + n * above * rows)
    return Interval(value, low, high)


def _f(above: float, below: float) -> float:
    """Quantile of the F distribution for a two-sided interval."""
    return float(fdtri(above, below, (1 + LEVEL) / 2))
