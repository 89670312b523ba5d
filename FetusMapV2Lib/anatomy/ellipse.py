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
#: A fit that moves by less than this at every point has settled, mm.
_SETTLED_MM = 0.001
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
    return _ellipse(_fits(points[None], weights[None])[0])


def _ellipse(parameters: Array) -> Ellipse | None:
    """The ellipse of a row of `_fits`; None for NaN."""
    return Ellipse(*map(float, parameters)) if np.isfinite(parameters).all() else None


def _fits(points: Array, weights: Array) -> Array:
    """Centre, half axes and angle (S, 5) of an ellipse through each of some sets of points, see `fit_ellipse`.

    Args:
        points: (S, N, 2).
        weights: (S, N).

    Returns:
        NaN where a set lies on no ellipse.
    """
    total = weights.sum(axis=1)
    middles = np.einsum("sn,sni->si", weights, points) / total[:, None]
    offsets = points - middles[:, None]
    scales = np.sqrt(np.einsum("sn,sni->s", weights, offsets**2) / total)
    usable = scales > 0
    x, y = np.moveaxis(offsets / np.where(usable, scales, 1.0)[:, None, None], -1, 0)
    root = np.sqrt(weights)
    quadratic = np.stack([root * x * x, root * x * y, root * y * y], axis=-1)
    linear = np.stack([root * x, root * y, root], axis=-1)
    across = linear.swapaxes(1, 2)
    lines, mixed = across @ linear, across @ quadratic
    usable &= np.linalg.det(lines) != 0
    lines[~usable] = np.eye(3)
    into_linear = -np.linalg.solve(lines, mixed)
    reduced = quadratic.swapaxes(1, 2) @ quadratic + mixed.swapaxes(1, 2) @ into_linear
    pencil = np.stack([reduced[:, 2] / 2, -reduced[:, 1], reduced[:, 0] / 2], axis=1)
    pencil[~np.isfinite(pencil).all(axis=(1, 2))] = 0.0
    vectors = np.real(np.linalg.eig(pencil)[1])
    elliptic = 4 * vectors[:, 0] * vectors[:, 2] - vectors[:, 1] ** 2 > 0
    usable &= elliptic.any(axis=1)
    chosen = np.take_along_axis(vectors, elliptic.argmax(axis=1)[:, None, None], axis=2)
    conics = np.concatenate([chosen, into_linear @ chosen], axis=1)[:, :, 0]
    return np.where(usable[:, None], _from_conics(conics, middles, scales), np.nan)


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
    residuals = np.full(len(points), np.inf)
    for _ in range(_ROUNDS):
        if found is None:
            return None
        before, residuals = residuals, found.residuals_mm(points)
        if np.abs(residuals - before).max() < _SETTLED_MM:
            break
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
    subsets = points[np.stack([draws.choice(len(points), few, replace=False) for _ in range(_SUBSETS)])]
    fits = np.concatenate([_fits(points[None], np.ones((1, len(points)))), _fits(subsets, np.ones(subsets.shape[:2]))])
    fits = fits[np.isfinite(fits).all(axis=1)]
    if not len(fits):
        return None
    offsets = points - fits[:, None, :2]
    majors, minors, angles = fits[:, 2:].T
    turns = np.moveaxis(np.array([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]]), -1, 0)
    within = offsets @ turns / np.stack([majors, minors], axis=1)[:, None]
    # along the ray from the centre, as `Ellipse.residuals_mm` has them
    lengths, shares = (np.sqrt(np.einsum("spi,spi->sp", ways, ways)) for ways in (offsets, within))
    residuals = lengths * np.abs(1 - 1 / np.maximum(shares, 1e-9))
    half = len(points) // 2
    return _ellipse(fits[np.partition(residuals, half, axis=1)[:, half].argmin()])


def _from_conics(conics: Array, middles: Array, scales: Array) -> Array:
    """Ellipses (S, 5) of conics a x^2 + b x y + c y^2 + d x + e y + f = 0 in coordinates of (p - middle) / scale."""
    a, b, c, d, e, f = conics.T
    matrices = np.moveaxis(np.array([[a, b / 2], [b / 2, c]]), -1, 0)
    determinants = a * c - b * b / 4
    linear = np.stack([d, e], axis=1) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        centres = np.stack([b * linear[:, 1] / 2 - c * linear[:, 0], b * linear[:, 0] / 2 - a * linear[:, 1]], axis=1)
        centres /= determinants[:, None]
        levels = -(f + (linear * centres).sum(axis=1))
        matrices /= levels[:, None, None]
    real = np.isfinite(matrices).all(axis=(1, 2))
    values, axes = np.linalg.eigh(np.where(real[:, None, None], matrices, np.eye(2)))
    real &= (values > 0).all(axis=1)
    minor, major = scales / np.sqrt(np.where(real[:, None], values, 1.0)[:, ::-1].T)
    angles = np.arctan2(axes[:, 1, 0], axes[:, 0, 0])
    angles -= math.pi * np.round(angles / math.pi)
    found = np.column_stack([middles + scales[:, None] * centres, major, minor, angles])
    return np.where(real[:, None], found, np.nan)


def _turn(angle: float) -> Array:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
