"""Profiles of greys across an edge: what lies beside it, and how far outside its clearest place a skin ends."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

Array = NDArray[np.float64]

#: The skin's surface is where the mean profile has fallen to this share of its height over the fluid. Greys are
#: logarithms of amplitudes: half the grey lies far outside half the amplitude. Set on simulated volumes that are in no
#: table.
_SKIN_LEVEL = 0.81
#: Where something touches the skin no fluid is seen: that of the darkest share of the rays counts for all.
_FLUID = 0.1
#: A seam of fluid too thin to be seen dark, not farther out than this (mm), begins at this share of what it falls.
_SEAM_MM, _SEAM_LEVEL = 1.5, 0.5
#: Smoothing of the mean profile, and of each, mm.
_MEAN_MM, _EACH_MM = 0.2, 0.3


def means_beside(greys: Array, width: int) -> tuple[Array, Array]:
    """Mean of the `width` samples before, and after, each sample of (N, R); NaN near the ends and outside."""
    known = np.isfinite(greys)
    total = np.cumsum(np.where(known, greys, 0.0), axis=1)
    count = np.cumsum(known, axis=1)
    total = np.concatenate([np.zeros((len(greys), 1)), total], axis=1)
    count = np.concatenate([np.zeros((len(greys), 1), dtype=count.dtype), count], axis=1)
    whole = np.where(
        count[:, width:] - count[:, :-width] == width, (total[:, width:] - total[:, :-width]) / width, np.nan
    )  # of samples k to k + width - 1
    missing = np.full((len(greys), width), np.nan)
    before = np.concatenate([missing, whole], axis=1)[:, : greys.shape[1]]
    after = np.concatenate([whole[:, 1:], missing], axis=1)[:, : greys.shape[1]]
    return before, after


def skin_beyond_mm(greys: Array, steps: Array) -> float:
    """How far the skin's surface lies outside the clearest places of an edge, mm, by the mean profile there.

    Args:
        greys: (N, R) along rays through the edge; NaN outside the volume.
        steps: (R,) evenly spaced distances from the clearest place, mm, positive outwards.
    """
    step = float(steps[1] - steps[0])
    profile = gaussian_filter1d(np.nanmean(greys, axis=0), _MEAN_MM / step)
    top = int(np.argmax(np.where(steps <= 0, profile, -np.inf)))
    each = gaussian_filter1d(np.nan_to_num(greys, nan=np.inf), _EACH_MM / step, axis=1)
    fluid = float(np.quantile(each[:, steps > 0].min(axis=1), _FLUID))
    seam = float(profile[top:][steps[top:] < _SEAM_MM].min(initial=profile[top]))
    level = max(fluid + _SKIN_LEVEL * (profile[top] - fluid), seam + _SEAM_LEVEL * (profile[top] - seam))
    below = top + np.flatnonzero(profile[top:] <= level)
    if not len(below) or below[0] == top:
        return 0.0
    higher, lower = profile[below[0] - 1], profile[below[0]]
    return float(steps[below[0] - 1] + step * (higher - level) / (higher - lower))
