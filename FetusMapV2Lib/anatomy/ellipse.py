"""Ellipses in a plane: circumference, fit to points, and a fit that leaves outlying points out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Points needed for the five parameters of an ellipse.
MINIMUM_POINTS = 6
#: Residuals beyond this many robust standard deviations have no weight (Beaton and Tukey, Technometrics 16:147, 1974).
_TUKEY = 4.685
#: The median of absolute values of a normal distribution, in standard deviations.
_MEDIAN_IN_SD = 0.6745
_ROUNDS = 8
#: Ellipses through so few points are tried first, so many of them.
_FEW_POINTS, _SUBSETS = 8, 24


@dataclass(frozen=True)
class Ellipse:
    """An ellipse in a plane.

    Attributes:
        x_mm, y_mm: its centre.
        major_mm, minor_mm: the half axes, the longer one first.
        angle: of the longer half axis from the x axis, radians, -pi/2 to pi/2.
    """

    x_mm: float
    y_mm: float
    major_mm: float
    minor_mm: float
    angle: float

    @property
    def circumference_mm(self) -> float:
        """Ramanujan's second approximation: exact to 1e-6 for half axes that differ by less than a factor of 2."""
        total, difference = self.major_mm + self.minor_mm, self.major_mm - self.minor_mm
        h = (difference / total) ** 2
        return math.pi * total * (1 + 3 * h / (10 + math.sqrt(4 - 3 * h)))

    def points(self, angles: Array) -> Array:
        """(N, 2) points at parameter angles (N,), radians from the longer half axis."""
        local = np.stack([self.major_mm * np.cos(angles), self.minor_mm * np.sin(angles)], axis=-1)
        return np.asarray(local @ _turn(self.angle).T + [self.x_mm, self.y_mm])

    def radii(self, directions: Array) -> Array:
        """Distances (N,) of the ellipse from its centre along unit directions (N, 2)."""
        local = directions @ _turn(self.angle)
        return np.asarray(1.0 / np.hypot(local[:, 0] / self.major_mm, local[:, 1] / self.minor_mm))

    def residuals_mm(self, points: Array) -> Array:
        """Signed distances (N,) of points (N, 2) from the ellipse along the ray from its centre, positive outside."""
        offsets = np.asarray(points, dtype=np.float64) - [self.x_mm, self.y_mm]
        distance = np.maximum(np.linalg.norm(offsets, axis=1), 1e-9)
        return np.asarray(distance - self.radii(offsets / distance[:, None]))


def fit_ellipse(points: Array, weights: Array | None = None) -> Ellipse | None:
    """The ellipse of least squares through points (N, 2); None if they lie on none.

    The algebraic distance is minimised under the constraint that the conic is an ellipse (Fitzgibbon, Pilu and
    Fisher, IEEE TPAMI 21:476, 1999), in the numerically stable form of Halir and Flusser (WSCG 1998).

    Args:
        points: (N, 2) mm.
        weights: (N,) non-negative; equal if None.
    """
    points = np.asarray(points, dtype=np.float64)
    weights = np.ones(len(points)) if weights is None else np.asarray(weights, dtype=np.float64)
    if np.count_nonzero(weights) < MINIMUM_POINTS:
        return None
    middle = weights @ points / weights.sum()
    scale = float(np.sqrt(weights @ ((points - middle) ** 2).sum(axis=1) / weights.sum()))
    if not scale > 0:
        return None
    x, y = ((points - middle) / scale).T
    root = np.sqrt(weights)[:, None]
    quadratic = root * np.stack([x * x, x * y, y * y], axis=1)
    linear = root * np.stack([x, y, np.ones_like(x)], axis=1)
    try:
        into_linear = -np.linalg.solve(linear.T @ linear, linear.T @ quadratic)
        reduced = quadratic.T @ quadratic + quadratic.T @ linear @ into_linear
        _, vectors = np.linalg.eig(np.stack([reduced[2] / 2, -reduced[1], reduced[0] / 2]))
    except np.linalg.LinAlgError:
        return None
    vectors = np.real(vectors)
    chosen = np.flatnonzero(4 * vectors[0] * vectors[2] - vectors[1] ** 2 > 0)
    if not len(chosen):
        return None
    conic = np.concatenate([vectors[:, chosen[0]], into_linear @ vectors[:, chosen[0]]])
    return _from_conic(conic, middle, scale)


def fit_ellipse_robustly(points: Array) -> tuple[Ellipse, Array] | None:
    """An ellipse through most of the points, and the weights (N,) that they ended with, 0 to 1.

    It starts from the best of some ellipses through a few points each, by the median of the distances (Rousseeuw, J Am
    Stat Assoc 79:871, 1984), which stands almost half of the points lying elsewhere. Then follow iteratively reweighted
    least squares with Tukey's biweight; the scale is the median distance. The same points give the same ellipse.

    Args:
        points: (N, 2) mm.
    """
    points = np.asarray(points, dtype=np.float64)
    found = _least_median(points)
    weights = np.ones(len(points))
    for _ in range(_ROUNDS):
        if found is None:
            return None
        residuals = found.residuals_mm(points)
        spread = max(float(np.median(np.abs(residuals))) / _MEDIAN_IN_SD, 1e-3)
        weights = np.clip(1 - (residuals / (_TUKEY * spread)) ** 2, 0.0, None) ** 2
        found = fit_ellipse(points, weights)
    return None if found is None else (found, weights)


def _least_median(points: Array) -> Ellipse | None:
    """The ellipse with the least median distance among those through all points and through a few of them."""
    if len(points) < MINIMUM_POINTS:
        return None
    draws = np.random.default_rng(0)
    few = min(len(points), _FEW_POINTS)
    subsets = (points[draws.choice(len(points), few, replace=False)] for _ in range(_SUBSETS))
    fits = (fit_ellipse(points), *(fit_ellipse(subset) for subset in subsets))
    known = [fit for fit in fits if fit is not None]
    return min(known, key=lambda fit: float(np.median(np.abs(fit.residuals_mm(points)))), default=None)


def _from_conic(conic: Array, middle: Array, scale: float) -> Ellipse | None:
    """The ellipse of a conic a x^2 + b x y + c y^2 + d x + e y + f = 0 in coordinates of (p - middle) / scale."""
    a, b, c, d, e, f = conic
    matrix = np.array([[a, b / 2], [b / 2, c]])
    centre = np.linalg.solve(matrix, -np.array([d, e]) / 2)
    level = -(f + np.array([d, e]) @ centre / 2)
    values, axes = np.linalg.eigh(matrix / level) if level else (np.zeros(2), np.eye(2))
    if not (values > 0).all():
        return None
    minor, major = scale / np.sqrt(values[::-1])
    direction = axes[:, 0]
    angle = math.atan2(direction[1], direction[0])
    angle -= math.pi * round(angle / math.pi)
    x, y = middle + scale * centre
    return Ellipse(float(x), float(y), float(major), float(minor), float(angle))


def _turn(angle: float) -> Array:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
