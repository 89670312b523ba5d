"""Paths of landmarks over a sequence: in the frame of the trunk, their velocities with errors, and smoothed curves.

Positions (T, N, 3) in mm, frame by frame; NaN = missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.registration import MINIMUM_POINTS, Similarity, register
from FetusMapV2Lib.anatomy.schema import Schema

#: A velocity is the slope of a straight line through so many frames before and after.
HALF_WINDOW = 2
#: Frames and order of the polynomial that smooths plotted curves.
SMOOTHING_FRAMES, SMOOTHING_ORDER = 5, 2

#: 90 % radius of a landmark that has none in any frame, mm.
UNKNOWN_RADIUS_MM = 3.0
#: Smaller radii are raised to this, mm.
_LEAST_RADIUS_MM = 0.1
#: Median of the squared length of a standard normal vector in 3D.
_CHI2_3_MEDIAN = 2.366
#: Second differences needed to estimate the repeatability of one landmark, and of all together.
_REPEATED_FRAMES, _REPEATED_VALUES = 5, 40
#: Lower limit of the share of an error that changes from frame to frame.
_LEAST_SHARE = 0.05
_TINY = 1e-12
_ROBUST_PASSES = 3
_MEAN_PASSES = 3
#: A trunk landmark with this residual has half its weight, mm.
_OUTLIER_MM = 2.0


def known_radii(radius90_mm: np.ndarray | None, positions: np.ndarray) -> np.ndarray:
    """(T, N) radii without gaps: unknown ones become the landmark's median over the sequence, or 3 mm.

    Raises:
        ValueError: another shape than that of the positions (T, N, 3).
    """
    if radius90_mm is None:
        return np.full(positions.shape[:2], UNKNOWN_RADIUS_MM)
    radii = np.asarray(radius90_mm, dtype=np.float64)
    if radii.shape != positions.shape[:2]:
        raise ValueError(f"radius90_mm must have the shape {positions.shape[:2]}, found {radii.shape}")
    filled = radii.copy()
    for row in range(radii.shape[1]):
        known = np.isfinite(radii[:, row])
        filled[~known, row] = np.median(radii[known, row]) if known.any() else UNKNOWN_RADIUS_MM
    return np.maximum(filled, _LEAST_RADIUS_MM)


@lru_cache(maxsize=4)
def trunk_rows(schema: Schema) -> tuple[int, ...]:
    """Rows of the rigid trunk: its midline, the rump, and the first joint of each limb."""
    limbs = (schema.rows(group)[0] for group in ("la", "ra", "ll", "rl"))
    return (*schema.trunk_frame_rows, schema.crl_rows[1], *limbs)


@dataclass(frozen=True, eq=False)
class TrunkFramePoses:
    """Poses in the frame of the trunk.

    Attributes:
        positions: (T, N, 3) mm, in the position of one of the poses; NaN with fewer than three known trunk landmarks.
        turns: (T, 3, 3) the rotations into that frame.
        spread: (T, N) standard deviation per axis of these positions, mm: that of the landmark and that of the fit.
    """

    positions: np.ndarray
    turns: np.ndarray
    spread: np.ndarray


def in_trunk_frame(positions: np.ndarray, spread: np.ndarray, schema: Schema) -> TrunkFramePoses:
    """Move every frame rigidly so that its trunk lies on the mean trunk of the sequence (generalised Procrustes).

    Landmarks with large residuals get less weight (Cauchy weights).

    Args:
        positions: (T, N, 3) RAS mm.
        spread: (T, N) standard deviation per axis of each landmark, mm, positive.
        schema: of the landmarks.
    """
    rows = list(trunk_rows(schema))
    trunks = positions[:, rows]
    known = np.isfinite(trunks).all(axis=2)
    aligned, turns = np.full(positions.shape, np.nan), np.full((len(positions), 3, 3), np.nan)
    if known.sum(axis=1, initial=0).max(initial=0) < MINIMUM_POINTS:
        return TrunkFramePoses(aligned, turns, spread)
    mean = _mean_shape(trunks, known)
    shared = known & np.isfinite(mean).all(axis=1)
    usable = shared.sum(axis=1) >= MINIMUM_POINTS
    if usable.any():
        fits = _robust_fits(trunks[usable], mean, 1.0 / spread[usable][:, rows] ** 2)
        aligned[usable], turns[usable] = fits.apply(positions[usable]), fits.rotation
    trunk_spread = np.where(known, spread[:, rows], np.inf)
    return TrunkFramePoses(aligned, turns, np.hypot(spread, _fit_spread(aligned, trunk_spread, rows)))


def _fit_spread(aligned: np.ndarray, trunk_spread: np.ndarray, rows: list[int]) -> np.ndarray:
    """(T, N) error of each landmark from errors of the trunk landmarks (T, R): a shift, and a turn times its distance.

    The turn is assumed to be equally uncertain about all axes.
    """
    weights = 1.0 / trunk_spread**2
    total = np.maximum(weights.sum(axis=1), _TINY)
    middle = (weights[..., None] * np.nan_to_num(aligned[:, rows])).sum(axis=1) / total[:, None]
    reach = ((np.nan_to_num(aligned - middle[:, None])) ** 2).sum(axis=2)
    inertia = np.maximum((weights * reach[:, rows]).sum(axis=1), _TINY)
    return np.asarray(np.sqrt(1.0 / total[:, None] + reach / inertia[:, None]))


def _mean_shape(trunks: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(R, 3) mean of trunks (T, R, 3) after rigid fits, in the position of the most complete one."""
    mean: np.ndarray = trunks[known.sum(axis=1).argmax()]
    for _ in range(_MEAN_PASSES):
        fitted = register(trunks, mean, scale=False).apply(trunks)
        present = np.isfinite(fitted)
        count = present.sum(axis=0)
        total = np.where(present, fitted, 0.0).sum(axis=0)
        mean = np.divide(total, count, out=np.full(mean.shape, np.nan), where=count > 0)
    return mean


def _robust_fits(trunks: np.ndarray, mean: np.ndarray, trust: np.ndarray) -> Similarity:
    fits = register(trunks, mean, weights=trust, scale=False)
    for _ in range(_ROBUST_PASSES):
        miss = np.linalg.norm(np.nan_to_num(fits.apply(trunks) - mean), axis=2)
        fits = register(trunks, mean, weights=trust / (1.0 + (miss / _OUTLIER_MM) ** 2), scale=False)
    return fits


def repeatability(positions: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """How much of each landmark's error changes from frame to frame, (N,) shares of `spread`, 0.05-1.

    A constant error causes no apparent movement. The changing part shows in second differences of the path, in which
    steady movement cancels: their median, relative to that of independent errors of that spread, over all landmarks and
    over each one, if there are enough; the larger one is used. 1 where nothing is known.

    Args:
        positions: (T, N, 3) mm.
        spread: (T, N) standard deviation per axis, mm.
    """
    if len(positions) < 3:
        return np.ones(positions.shape[1])
    seconds = np.linalg.norm(np.diff(positions, 2, axis=0), axis=2)
    variance = spread[2:] ** 2 + 4 * spread[1:-1] ** 2 + spread[:-2] ** 2
    shares = seconds / np.sqrt(variance * _CHI2_3_MEDIAN)
    known = np.isfinite(shares)
    overall = float(np.median(shares[known])) if known.sum() >= _REPEATED_VALUES else 1.0
    own = [
        np.median(one[seen]) if seen.sum() >= _REPEATED_FRAMES else 0.0
        for one, seen in zip(shares.T, known.T, strict=True)
    ]
    return np.clip(np.maximum(own, overall), _LEAST_SHARE, 1.0)


def velocities(positions: np.ndarray, times: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Velocity of every landmark in every frame and its standard error, by a local straight line.

    The line is fitted by weighted least squares to the frames up to `HALF_WINDOW` before and after in which the
    landmark is known; a frame in which it is missing has no velocity.

    Args:
        positions: (T, N, 3) mm.
        times: (T,) increasing.
        spread: (T, N) standard deviation per axis of each position, mm, positive.

    Returns:
        (T, N, 3) mm per unit of time, and (T, N) its standard error per axis; NaN with fewer than two frames.
    """
    known = np.isfinite(positions).all(axis=2)
    weights = _windows(np.where(known, 1.0 / spread**2, 0.0))  # (T, N, frames of the window)
    points = _windows(np.where(known[..., None], positions, 0.0))
    total = weights.sum(axis=-1)
    moments = _windows(times)[:, None]
    moments = moments - ((weights * moments).sum(axis=-1) / np.where(total > 0, total, np.nan))[..., None]
    usable = known & ((weights > 0).sum(axis=-1) >= 2)
    information = np.where(usable, (weights * moments**2).sum(axis=-1), np.nan)
    slopes = ((weights * moments)[:, :, None] * points).sum(axis=-1) / information[..., None]
    return slopes, 1.0 / np.sqrt(information)


def _windows(values: np.ndarray) -> np.ndarray:
    """(T, ..., 2 HALF_WINDOW + 1): each frame with its neighbours, zeros beyond the ends."""
    padded = np.pad(values, [(HALF_WINDOW, HALF_WINDOW)] + [(0, 0)] * (values.ndim - 1))
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * HALF_WINDOW + 1, axis=0)


def turning_speed(turns: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(T,) degrees per unit of time by which rotations (T, 3, 3) change, over the same frames as `velocities`."""
    known = np.isfinite(turns).all(axis=(1, 2))
    usable = np.where(known[:, None, None], turns, np.eye(3))
    around = np.moveaxis(_windows(usable), -1, 1)  # (T, window, 3, 3); zeros beyond the ends
    inside = _windows(known.astype(float)) > 0
    around = np.where(inside[..., None, None], around, usable[:, None])
    steps = np.swapaxes(usable, 1, 2)[:, None] @ around
    away = Rotation.from_matrix(steps.reshape(-1, 3, 3)).as_rotvec(degrees=True).reshape(*inside.shape, 3)
    moments = _windows(times)
    count = inside.sum(axis=1)
    moments = np.where(inside, moments - (np.where(inside, moments, 0).sum(axis=1) / np.maximum(count, 1))[:, None], 0)
    information = np.where(known & (count >= 2), (moments**2).sum(axis=1), np.nan)
    return np.asarray(np.linalg.norm((moments[..., None] * away).sum(axis=1), axis=1) / information)


def smoothed(values: np.ndarray) -> np.ndarray:
    """Curves (T, ...) smoothed along the first axis, for plots only (Savitzky and Golay, Anal Chem 36:1627, 1964).

    Missing values stay gaps: each run without gaps is smoothed separately, or left unchanged if it is too short.
    """
    from scipy.signal import savgol_filter  # loading it takes longer than every other part of an estimate's start

    columns = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    result = columns.copy()
    for column in range(columns.shape[1]):
        known = np.isfinite(columns[:, column])
        for first, last in runs(known):
            if last - first + 1 >= SMOOTHING_FRAMES:
                run = columns[first : last + 1, column]
                result[first : last + 1, column] = savgol_filter(run, SMOOTHING_FRAMES, SMOOTHING_ORDER)
    return result.reshape(np.shape(values))


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """First and last index of every run of true values of (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    return [(int(start), int(end) - 1) for start, end in edges.reshape(-1, 2)]
