"""Registering point sets by a similarity or rigid transform, one or thousands at a time.

Closed form of Umeyama (IEEE TPAMI 13:376, 1991); no reflections, as they exchange left and right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Fewer common points leave a rotation undetermined.
MINIMUM_POINTS = 3


@dataclass(frozen=True, eq=False)
class Similarity:
    """``target = scale * rotation @ source + translation``, in the units of the points.

    For a batch of B sources every field has a leading axis of length B.

    Attributes:
        matrix: (4, 4) or (B, 4, 4), source to target.
        scale: float, or (B,).
        rotation: (3, 3) or (B, 3, 3), determinant +1.
        residual: weighted mean distance of the moved source points from the target (Eq. 9 over the number of
            landmarks), float or (B,); infinite where a batch entry could not be registered (matrix NaN).
    """

    matrix: np.ndarray
    scale: float | np.ndarray
    rotation: np.ndarray
    residual: float | np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Move points: (N, 3), or (B, N, 3) with one transform each. NaN stays NaN."""
        linear, translation = self.matrix[..., :3, :3], self.matrix[..., :3, 3]
        moved: np.ndarray = np.asarray(points) @ np.swapaxes(linear, -1, -2) + translation[..., None, :]
        return moved


def register(
    source: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None, scale: bool = True
) -> Similarity:
    """The transform that brings `source` closest to `target` (weighted least squares), reflection excluded.

    Points that are NaN in either set are ignored. Collinear points do not determine the turn about their line; any of
    the equally good transforms is returned.

    Args:
        source: (N, 3), or (B, N, 3) for a batch registered to one target.
        target: (N, 3).
        weights: (N,) non-negative, for a batch also (B, N), or None for equal weights.
        scale: estimate a scale; without it the transform is rigid.

    Raises:
        ValueError: shapes that do not fit, negative weights, or (single source) fewer than three common points.
    """
    sources = np.asarray(source, dtype=np.float64)
    target = np.asarray(target, dtype=np.float64)
    if target.ndim != 2 or target.shape[1] != 3 or sources.ndim not in (2, 3):
        shapes = f"{sources.shape}, {target.shape}"
        raise ValueError(f"source must be (N, 3) or (B, N, 3) and target (N, 3): {shapes}")
    if sources.shape[-2:] != target.shape:
        raise ValueError(f"source and target differ in their points: {sources.shape}, {target.shape}")
    single = sources.ndim == 2
    if single:
        sources = sources[None]
    shares = _shares(sources, target, weights)
    usable = (shares > 0).sum(axis=1) >= MINIMUM_POINTS
    if single and not usable[0]:
        raise ValueError(f"registration needs at least {MINIMUM_POINTS} common points")
    result = _registered(sources, target, shares, usable, scale)
    if not single:
        return result
    return Similarity(
        result.matrix[0],
        float(np.ravel(result.scale)[0]),
        result.rotation[0],
        float(np.ravel(result.residual)[0]),
    )


def _shares(sources: np.ndarray, target: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """(B, N) weights that add to 1 over the points both sets have; all zero without common points."""
    given = np.ones(len(target)) if weights is None else np.asarray(weights, dtype=np.float64)
    fits = given.shape in (target.shape[:1], sources.shape[:2])
    if not fits or not np.all(given >= 0) or np.isinf(given).any():
        raise ValueError("weights must be one finite number, zero or more, per point")
    common = np.isfinite(sources).all(axis=2) & np.isfinite(target).all(axis=1)
    shares = np.where(common, given, 0.0)
    totals = shares.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(shares, totals, out=np.zeros_like(shares), where=totals > 0))


def _registered(
    sources: np.ndarray, target: np.ndarray, shares: np.ndarray, usable: np.ndarray, scale: bool
) -> Similarity:
    used = shares > 0
    moving = np.where(used[..., None], sources, 0.0)
    fixed = np.where(used[..., None], target, 0.0)
    moving_centre = np.einsum("bn,bnc->bc", shares, moving)
    fixed_centre = np.einsum("bn,bnc->bc", shares, fixed)
    moving = moving - moving_centre[:, None]
    fixed = fixed - fixed_centre[:, None]
    covariance = np.swapaxes(fixed * shares[..., None], 1, 2) @ moving
    u, singular, vt = np.linalg.svd(covariance)
    signs = np.ones_like(singular)
    # A reflection is turned into the best proper rotation by flipping the weakest direction.
    signs[:, 2] = np.where(np.linalg.det(u) * np.linalg.det(vt) < 0, -1.0, 1.0)
    rotation = (u * signs[:, None, :]) @ vt
    factor = np.ones(len(sources))
    if scale:
        spread = np.einsum("bn,bnc->b", shares, moving**2)
        # The scale is undetermined if all source points coincide, or if the best scale is zero.
        gain = (singular * signs).sum(axis=1)
        np.divide(gain, spread, out=factor, where=(spread > 0) & (gain > 0))
    linear = factor[:, None, None] * rotation
    translation = fixed_centre - (linear @ moving_centre[..., None])[..., 0]
    distances = np.linalg.norm(moving @ np.swapaxes(linear, 1, 2) - fixed, axis=2)
    residual = np.where(usable, (distances * shares).sum(axis=1), np.inf)
    matrix = np.zeros((len(sources), 4, 4))
    matrix[:, :3, :3], matrix[:, :3, 3], matrix[:, 3, 3] = linear, translation, 1.0
    matrix[~usable] = np.nan
    return Similarity(matrix, factor, rotation, residual)
