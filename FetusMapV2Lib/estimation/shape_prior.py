"""The shape prior: a library of poses that tells where uncertain landmarks should lie, given the certain ones.

Eq. 9 and 10 of the paper (nearest poses, pseudo labels), and the posterior of heatmaps and library.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.laterality import RADIUS90_IN_SD
from FetusMapV2Lib.anatomy.registration import MINIMUM_POINTS, register
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.core.errors import UserError

Array = NDArray[np.float64]

#: K of Eq. 9.
NEAREST_POSES = 8
#: Number of most similar poses that give the mean and covariance of shapes.
SIMILAR_POSES = 128
#: 90 % radius of a landmark whose radius is unknown.
UNKNOWN_RADIUS_MM = 6.0
#: Standard deviation of a landmark that was set by hand.
_PINNED_SD_MM = 1e-3
_SMALLEST_SD_MM = 0.3
_MISSING_SD_MM = 1e4
#: A landmark is not moved by less than this.
_SMALLEST_SHIFT_MM = 0.1
#: Shrinkage of the covariance towards its diagonal, and the variance added to every axis.
_SHRINKAGE = 0.1
_OWN_VARIANCE_MM2 = 0.25
#: Degrees of freedom of Student's t: heatmap errors have heavy tails.
_TAIL = 4.0
_ROBUST_PASSES = 4


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """Pseudo labels of one predicted pose, from the nearest poses of the library.

    Attributes:
        positions: (22, 3) RAS mm, pseudo labels P_p of Eq. 10; NaN outside the refined set.
        shape: (22, 3) RAS mm, mean of the aligned nearest poses.
        chosen: (K,) rows of the library, nearest first (D_t of Eq. 9).
        residual_mm: mean distance of the registration landmarks to the chosen poses: Eq. 9 per landmark and pose.
    """

    positions: Array
    shape: Array
    chosen: NDArray[np.intp]
    residual_mm: float


@dataclass(frozen=True, eq=False)
class _Shapes:
    """Similar poses, aligned: their mean (L, 3) and covariance (3 L, 3 L)."""

    mean: Array
    covariance: Array


class ShapePrior:
    """A library S of poses.

    Args:
        poses: (N, 22, 3) mm in any frame, right-handed, NaN = missing.
        schema: which landmarks register (M) and which are refined.
        neighbours: K of Eq. 9; fewer if the library is smaller.
        scale: register by similarities (the size of a fetus says little about its shape) instead of rigidly.

    Raises:
        UserError: the library has no pose with enough registration landmarks.
    """

    def __init__(self, poses: Array, schema: Schema, *, neighbours: int = NEAREST_POSES, scale: bool = True) -> None:
        self.schema = schema
        self.poses = np.asarray(poses, dtype=np.float64)
        self.neighbours, self.scale = neighbours, scale
        known = np.isfinite(self.poses[:, list(self.schema.registration_rows)]).all(axis=2)
        if not (known.sum(axis=1) >= MINIMUM_POINTS).any():
            raise UserError(
                "the model's pose library is empty, so that nothing can be refined with it",
                remedy="Use another model, or add poses to this one",
                option="fetusmap models add-poses",
            )

    def registration_rows(self, pinned: Collection[int] = ()) -> list[int]:
        """M of Eq. 9 with the rows set by hand."""
        return sorted({*self.schema.registration_rows, *pinned})

    def refined_rows(self, pinned: Collection[int] = ()) -> list[int]:
        """The rows of Eq. 10 without those set by hand."""
        return sorted({*self.schema.refined_rows} - set(pinned))

    def aligned(
        self, positions: Array, rows: Sequence[int], count: int, weights: Array | None = None
    ) -> tuple[Array, NDArray[np.intp], Array]:
        """The library poses nearest to a pose after registration, no reflection (Eq. 9).

        Poses that lack a landmark which others have come after those; equal ones stay in the library's order.

        Args:
            positions: (22, 3) RAS mm, NaN = missing.
            rows: landmarks to register by.
            count: how many poses.
            weights: (22,) trust in each landmark, or None for equal trust.

        Returns:
            (K, 22, 3) poses moved onto `positions`, (K,) their rows in the library, (K,) mean distance in mm.
            K is smaller than `count` if the library is; 0 with fewer than three landmarks to register by.
        """
        rows = [row for row in rows if np.isfinite(positions[row]).all()]
        if len(rows) < MINIMUM_POINTS:
            return np.empty((0, *positions.shape)), np.empty(0, np.intp), np.empty(0)
        share = None if weights is None else weights[rows]
        found = register(self.poses[:, rows], positions[rows], weights=share, scale=self.scale)
        residual = np.asarray(found.residual)
        lacking = (~np.isfinite(self.poses[:, rows]).all(axis=2)).sum(axis=1)
        order = np.lexsort((residual, lacking))  # stable
        chosen = order[np.isfinite(residual[order])][:count]
        moving = np.asarray(found.matrix)[chosen]
        moved = self.poses[chosen] @ np.swapaxes(moving[:, :3, :3], 1, 2) + moving[:, None, :3, 3]
        return moved, chosen, residual[chosen]

    def pseudo_labels(self, positions: Array, pinned: Collection[int] = ()) -> PseudoLabels | None:
        """Pseudo labels of the refined set (Eq. 10): halfway between the prediction and the mean of K aligned poses.

        A landmark that the prediction lacks comes from the library alone, one that the library lacks from the
        prediction alone.

        Args:
            positions: (22, 3) RAS mm, predicted pose P_t, NaN = missing.
            pinned: rows set by hand; they register too and get no label.

        Returns:
            None with fewer than three registration landmarks.
        """
        moved, chosen, residuals = self.aligned(positions, self.registration_rows(pinned), self.neighbours)
        if not len(chosen):
            return None
        shape = _mean(moved)
        halfway = _mean(np.stack([positions, shape]))
        labels = np.full_like(shape, np.nan)
        rows = self.refined_rows(pinned)
        labels[rows] = halfway[rows]
        return PseudoLabels(labels, shape, chosen, float(residuals.mean()))

    def posterior(
        self, positions: Array, radius90_mm: Array | None, pinned: Collection[int] = (), rows: Sequence[int] = ()
    ) -> Array | None:
        """The pose after heatmaps and library are combined: uncertain landmarks move to where the others expect them.

        Each landmark is an observation with the error that its 90 % radius tells; the similar poses of the library,
        aligned, give the mean and the covariance of shapes. The result is the mean of the Gaussian posterior, in which
        observations that contradict all others have less weight (Student's t, reweighted).

        Around landmarks set by hand the others move by the difference that these make: the posterior with them less
        the posterior without them. A landmark put where the others expect it hardly moves them.

        Args:
            positions: (22, 3) RAS mm, NaN = missing, and stays so.
            radius90_mm: (22,) 90 % radii, NaN = unknown, or None.
            pinned: rows set by hand; kept as they are.
            rows: landmarks that may move; the refined set by default.

        Returns:
            (22, 3), only `rows` changed; None if there is too little to register by or too small a library.
        """
        positions = np.asarray(positions, dtype=np.float64)
        spread = self._deviations(positions, radius90_mm)
        spread[list(pinned)] = _PINNED_SD_MM
        shift = self._robust_posterior(positions, spread, self.registration_rows(pinned))
        if shift is not None:
            shift = shift - positions
        if pinned and shift is not None:
            spread[list(pinned)] = _MISSING_SD_MM
            without = self._robust_posterior(positions, spread, sorted({*self.schema.registration_rows} - set(pinned)))
            shift = None if without is None else shift + positions - without
        if shift is None:
            return None
        free = sorted(set(rows or self.refined_rows(pinned)) - set(pinned))
        moved = [row for row in free if np.linalg.norm(shift[row]) >= _SMALLEST_SHIFT_MM]  # false for NaN
        result = positions.copy()
        result[moved] += shift[moved]
        return result

    def _robust_posterior(self, positions: Array, spread: Array, registering: Sequence[int]) -> Array | None:
        """(22, 3) robust mean of the posterior of observations with standard deviations (22,), mm."""
        fixed = (spread <= _PINNED_SD_MM) | (spread >= _MISSING_SD_MM)
        by = sorted({*self.schema.rows("ht"), *registering} - set(np.flatnonzero(spread >= _MISSING_SD_MM)))
        variance, posterior = spread**2, positions
        for _ in range(_ROBUST_PASSES):
            shapes = self._shapes(positions, by, 1.0 / np.maximum(variance, _SMALLEST_SD_MM**2))
            if shapes is None:
                return None
            posterior = _gaussian_posterior(positions, variance, shapes)
            miss = np.nansum((positions - posterior) ** 2, axis=1)
            variance = np.where(fixed, spread**2, spread**2 * (_TAIL + miss / spread**2) / (_TAIL + 3.0))
        return posterior

    def _deviations(self, positions: Array, radius90_mm: Array | None) -> Array:
        """(22,) standard deviation per axis of each observation, mm."""
        radius = np.full(len(positions), np.nan) if radius90_mm is None else np.asarray(radius90_mm, dtype=np.float64)
        spread = np.where(np.isfinite(radius), radius, UNKNOWN_RADIUS_MM) / RADIUS90_IN_SD
        spread = np.maximum(spread, _SMALLEST_SD_MM)
        spread[~np.isfinite(positions).all(axis=1)] = _MISSING_SD_MM
        return spread

    def _shapes(self, positions: Array, rows: list[int], weights: Array) -> _Shapes | None:
        moved, chosen, _ = self.aligned(positions, rows, SIMILAR_POSES, weights)
        if len(chosen) < NEAREST_POSES:
            return None
        mean = _mean(moved)
        away = np.where(np.isfinite(moved), moved - mean, 0.0).reshape(len(moved), -1)
        covariance = away.T @ away / (len(moved) - 1)
        own = np.diag(np.diag(covariance) * _SHRINKAGE + _OWN_VARIANCE_MM2)
        return _Shapes(mean, (1 - _SHRINKAGE) * covariance + own)


def _gaussian_posterior(positions: Array, variance: Array, shapes: _Shapes) -> Array:
    """Mean of the shapes given observations with independent errors; (22, 3), NaN where the library has no landmark."""
    noise = np.diag(np.repeat(variance, 3))
    away = np.nan_to_num(positions - shapes.mean)
    gain = np.linalg.solve(shapes.covariance + noise, away.ravel())
    return np.asarray(shapes.mean + (shapes.covariance @ gain).reshape(away.shape))


def _mean(points: Array) -> Array:
    """(K, 22, 3) to (22, 3): mean over the known points, NaN where none is known."""
    known = np.isfinite(points)
    count = known.sum(axis=0)
    total = np.where(known, points, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0))
