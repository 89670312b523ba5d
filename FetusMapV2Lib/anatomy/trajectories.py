"""Paths of landmarks over a sequence: as seen from the trunk, their velocities with errors, smoothed for the eye.

Positions (T, N, 3) in mm, frame by frame; NaN = missing.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.signal import savgol_filter
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.registration import MINIMUM_POINTS, Similarity, register
from FetusMapV2Lib.anatomy.schema import Schema, default_schema

#: A velocity is the slope of a straight line through the frames up to so many before and after.
HALF_WINDOW = 2
#: Frames and order of the polynomial that smooths curves for the eye.
SMOOTHING_FRAMES, SMOOTHING_ORDER = 5, 2

_ROBUST_PASSES = 3
_MEAN_PASSES = 3
#: A trunk landmark this far from where the others put it counts half, mm.
_ODD_MM = 2.0


@lru_cache(maxsize=4)
def trunk_rows(schema: Schema) -> tuple[int, ...]:
    """Rows that hold together as the trunk: its midline, the rump, and the first joint of each limb."""
    limbs = (schema.rows(group)[0] for group in ("la", "ra", "ll", "rl"))
    return (*schema.trunk_frame_rows, schema.crl_rows[1], *limbs)


def in_body_frame(
    positions: np.ndarray, radius90_mm: np.ndarray, schema: Schema | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Poses as seen from the trunk, and how the trunk is turned.

    Each frame is moved rigidly so that its trunk lies on the mean trunk of the sequence (generalised Procrustes);
    a landmark that does not fit counts less (Cauchy weights).

    Args:
        positions: (T, N, 3) RAS mm.
        radius90_mm: (T, N), finite, to weigh landmarks against one another.

    Returns:
        (T, N, 3) mm in a frame of reference of one of the poses, NaN where fewer than three trunk landmarks are known;
        and (T, 3, 3) the rotations that led there.
    """
    rows = list(trunk_rows(schema or default_schema()))
    trunks = positions[:, rows]
    known = np.isfinite(trunks).all(axis=2)
    own, turns = np.full(positions.shape, np.nan), np.full((len(positions), 3, 3), np.nan)
    if known.sum(axis=1, initial=0).max(initial=0) < MINIMUM_POINTS:
        return own, turns
    mean = _mean_shape(trunks, known)
    shared = known & np.isfinite(mean).all(axis=1)
    for frame in np.flatnonzero(shared.sum(axis=1) >= MINIMUM_POINTS):
        fit = _robust_fit(trunks[frame], mean, 1.0 / radius90_mm[frame, rows] ** 2)
        own[frame], turns[frame] = fit.apply(positions[frame]), fit.rotation
    return own, turns


def _mean_shape(trunks: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(R, 3) mean of trunks (T, R, 3) after rigid fits, where the most complete one lies."""
    mean = trunks[known.sum(axis=1).argmax()]
    for _ in range(_MEAN_PASSES):
        laid = register(trunks, mean, scale=False).apply(trunks)
        fitted = np.isfinite(laid)
        count = fitted.sum(axis=0)
        total = np.where(fitted, laid, 0.0).sum(axis=0)
        mean = np.divide(total, count, out=np.full(mean.shape, np.nan), where=count > 0)
    return mean


def _robust_fit(trunk: np.ndarray, mean: np.ndarray, trust: np.ndarray) -> Similarity:
    fit = register(trunk, mean, weights=trust, scale=False)
    for _ in range(_ROBUST_PASSES):
        miss = np.linalg.norm(np.nan_to_num(fit.apply(trunk) - mean), axis=1)
        fit = register(trunk, mean, weights=trust / (1.0 + (miss / _ODD_MM) ** 2), scale=False)
    return fit


def velocities(positions: np.ndarray, times: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Velocity of every landmark in every frame and its standard error, by a local straight line.

    The line is fitted by weighted least squares to the frames up to `HALF_WINDOW` before and after in which the
    landmark is known; a frame in which it is missing has no velocity.

    Args:
        positions: (T, N, 3) mm.
        times: (T,) rising.
        spread: (T, N) standard deviation per axis of each position, mm, positive.

    Returns:
        (T, N, 3) mm per unit of time, and (T, N) its standard error per axis; NaN with fewer than two frames.
    """
    known = np.isfinite(positions).all(axis=2)
    found, errors = np.full(positions.shape, np.nan), np.full(spread.shape, np.nan)
    for frame in range(len(positions)):
        window = slice(max(frame - HALF_WINDOW, 0), frame + HALF_WINDOW + 1)
        weights = np.where(known[window], 1.0 / spread[window] ** 2, 0.0)
        points = np.where(known[window, :, None], positions[window], 0.0)
        total = weights.sum(axis=0)
        total = np.where(total > 0, total, np.nan)
        moments = times[window, None] - (weights * times[window, None]).sum(axis=0) / total
        information = (weights * moments**2).sum(axis=0)
        usable = known[frame] & ((weights > 0).sum(axis=0) >= 2)
        information = np.where(usable, information, np.nan)
        found[frame] = (weights[..., None] * moments[..., None] * points).sum(axis=0) / information[:, None]
        errors[frame] = 1.0 / np.sqrt(information)
    return found, errors


def turning_speed(turns: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(T,) degrees per unit of time by which rotations (T, 3, 3) change, over the same frames as `velocities`."""
    known = np.isfinite(turns).all(axis=(1, 2))
    speeds = np.full(len(turns), np.nan)
    for frame in np.flatnonzero(known):
        window = np.arange(max(frame - HALF_WINDOW, 0), min(frame + HALF_WINDOW + 1, len(turns)))
        window = window[known[window]]
        if len(window) >= 2:
            away = Rotation.from_matrix(turns[frame].T @ turns[window]).as_rotvec(degrees=True)
            moments = times[window] - times[window].mean()
            speeds[frame] = np.linalg.norm((moments[:, None] * away).sum(axis=0) / (moments**2).sum())
    return speeds


def smoothed(values: np.ndarray) -> np.ndarray:
    """Curves (T, ...) smoothed along the first axis, for the eye only (Savitzky and Golay, Anal Chem 36:1627, 1964).

    Missing values stay gaps: each unbroken run is smoothed by itself, and left as it is where it is too short.
    """
    columns = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    result = columns.copy()
    for column in range(columns.shape[1]):
        known = np.isfinite(columns[:, column])
        edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]])))
        for start, end in edges.reshape(-1, 2):
            if end - start >= SMOOTHING_FRAMES:
                run = columns[start:end, column]
                result[start:end, column] = savgol_filter(run, SMOOTHING_FRAMES, SMOOTHING_ORDER)
    return result.reshape(np.shape(values))
