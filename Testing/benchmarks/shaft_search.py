"""A search for the ossified shafts of femora and humeri along the joint line: what a picture can say of their length.

The volume is straightened along the line between the joints. Across it every place is compared with its surroundings
(a line of bone is brighter than the muscle around it). A shaft is bright inside and has dark cartilage at both ends;
speckle makes that a matter of likelihood. All lines within the joints' errors and all pairs of ends are weighed. The
length of the cartilage is taken as nearly the same at all eight ends, and the shafts as nearly equally long on both
sides. Nothing of it is in the product: see docs/accuracy.md for what stands in the way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from FetusMapV2Lib.imaging.sampling import greys_at
from FetusMapV2Lib.imaging.volume import Volume

Array = NDArray[np.float64]

#: Steps along and across the straightened volume, its reach beyond the joints and aside, mm.
_ALONG_MM, _ACROSS_MM, _BEYOND_MM, _ASIDE_MM = 0.25, 0.5, 4.0, 4.5
#: Widths of the bone and of what it is compared with, and smoothing along the line, mm.
_INNER_MM, _OUTER_MM, _SMOOTH_MM = 0.5, 1.4, 0.3
#: Mean and standard deviation of the contrast (in its own deviations over the whole tube) on a shaft, on cartilage
#: beside it, and anywhere. Taken from 25 simulated bodies of both anatomies and formers, seed 990031.
_SHAFT, _CARTILAGE, _ANYTHING = (2.1, 0.87), (0.35, 1.0), (1.0, 1.1)
#: Speckle is alike over this length, and so much beyond an end is taken as cartilage, mm.
_SPECKLE_MM, _CARTILAGE_MM = 1.3, 1.5
#: Ends lie at most this far beyond a joint, and a shaft is at least so long, mm.
_FARTHEST_MM, _SHORTEST_MM = 2.5, 1.5
#: Cartilage from joint to shaft: mean and spread between fetuses, spread between the ends of one; spread of length
#: between the sides, mm.
_GAP_MM, _GAP_SD_MM, _END_SD_MM, _SIDES_SD_MM = 0.5, 0.5, 0.3, 0.8
#: Error of a joint, as a standard deviation per axis: at least and at most, and as a share of its 90 % radius, mm.
_LEAST_SD_MM, _MOST_SD_MM, _SD_OF_RADIUS = 0.2, 1.8, 0.32
_GAPS = np.arange(-0.6, 2.41, 0.1)
_LENGTHS = np.arange(1.0, 30.0, 0.25)


@dataclass(frozen=True)
class ShaftGuess:
    """A shaft's length by the picture: mean and standard deviation of what is likely, mm."""

    length_mm: float
    sd_mm: float


@dataclass(frozen=True, eq=False)
class _Ends:
    """Pairs of ends (N,) mm from the first joint, their log-likelihoods, and the joints' distance and errors."""

    first: Array
    last: Array
    likely: Array
    apart_mm: float
    errors_mm: tuple[float, float]


def find_shafts(
    volume: Volume, bones: list[tuple[Array, Array]], radii90_mm: list[tuple[float, float]]
) -> list[ShaftGuess]:
    """The shafts of bones between joints, two sides of each after one another.

    Args:
        volume: ultrasound.
        bones: both joints of each, RAS mm: left femur, right femur, left humerus, right humerus.
        radii90_mm: within which the joints lie.
    """
    ends = [_ends(volume, *joints, errors) for joints, errors in zip(bones, radii90_mm, strict=True)]
    tables = [_lengths_by_gap(each) for each in ends]
    blur = np.exp(-0.5 * ((_LENGTHS[:, None] - _LENGTHS) / _SIDES_SD_MM) ** 2)
    blur /= blur.sum(axis=1, keepdims=True)
    prior = np.exp(-0.5 * ((_GAPS - _GAP_MM) / _GAP_SD_MM) ** 2)
    pairs = [(tables[n], tables[n + 1]) for n in range(0, len(tables), 2)]
    shown = [(left * (right @ blur)).sum(axis=1) for left, right in pairs]
    found = []
    for number, (left, right) in enumerate(pairs):
        others = prior * np.prod([each for n, each in enumerate(shown) if n != number], axis=0)
        found += [_guess(others, left * (right @ blur)), _guess(others, right * (left @ blur))]
    return found


def _guess(weights: Array, table: Array) -> ShaftGuess:
    share = (weights[:, None] * table).sum(axis=0)
    share /= share.sum()
    mean = float(share @ _LENGTHS)
    return ShaftGuess(mean, float(np.sqrt(share @ (_LENGTHS - mean) ** 2)))


def _lengths_by_gap(ends: _Ends) -> Array:
    """(gaps, lengths) how likely each length is if the cartilage at the ends is about as long as a gap."""
    spread = [np.hypot(_END_SD_MM, error) for error in ends.errors_mm]
    off = ((ends.first - _GAPS[:, None]) / spread[0], (ends.apart_mm - ends.last - _GAPS[:, None]) / spread[1])
    likely = ends.likely - 0.5 * (off[0] ** 2 + off[1] ** 2)
    places = np.clip(np.round((ends.last - ends.first - _LENGTHS[0]) / 0.25).astype(int), 0, len(_LENGTHS) - 1)
    table = np.zeros((len(_LENGTHS), len(_GAPS)))
    np.add.at(table, places, np.exp(likely - likely.max()).T)
    return np.asarray((table / table.sum()).T)


def _ends(volume: Volume, first: Array, last: Array, radii90_mm: tuple[float, float]) -> _Ends:
    errors = [float(np.clip(_SD_OF_RADIUS * each, _LEAST_SD_MM, _MOST_SD_MM)) for each in radii90_mm]
    apart = float(np.linalg.norm(last - first))
    steps = np.arange(-_BEYOND_MM, apart + _BEYOND_MM, _ALONG_MM)
    contrast, prior = _on_lines(_contrast(volume, first, last, steps), steps / apart, errors)
    anything = _log_normal(contrast, *_ANYTHING)
    inside = _running(_log_normal(contrast, *_SHAFT) - anything)
    beside = _running(_log_normal(contrast, *_CARTILAGE) - anything)
    count, reach = len(steps), round(_CARTILAGE_MM / _ALONG_MM)
    edges = np.arange(count + 1)
    before = beside - beside[:, np.maximum(edges - reach, 0)] - inside
    after = beside[:, np.minimum(edges + reach, count)] - beside + inside
    places = steps[0] + (edges - 0.5) * _ALONG_MM
    starts = np.flatnonzero((places >= -_FARTHEST_MM) & (places <= apart / 2 + 1))
    stops = np.flatnonzero((places <= apart + _FARTHEST_MM) & (places >= apart / 2 - 1))
    best = before[:, starts].max(axis=1) + after[:, stops].max(axis=1) + prior
    kept = best > best.max() - 8
    left = np.exp(before[kept][:, starts] + prior[kept, None] - best.max() / 2)
    right = np.exp(after[kept][:, stops] - best.max() / 2)
    likely = np.log(np.einsum("la,lb->ab", left, right) + 1e-300)
    a, b = np.meshgrid(places[starts], places[stops], indexing="ij")
    long_enough = b - a > _SHORTEST_MM
    return _Ends(a[long_enough], b[long_enough], likely[long_enough], apart, (errors[0], errors[1]))


def _contrast(volume: Volume, first: Array, last: Array, steps: Array) -> Array:
    """(along, x, y) how much brighter a place is than its surroundings across the line."""
    along = (last - first) / np.linalg.norm(last - first)
    x = np.cross(along, np.eye(3)[int(np.argmin(np.abs(along)))])
    x /= np.linalg.norm(x)
    aside = _aside()
    across = x * aside[:, None, None] + np.cross(along, x) * aside[:, None]
    greys = greys_at(volume, first + along * steps[:, None, None, None] + across)
    greys = np.nan_to_num(greys, nan=float(np.nanmean(greys)))
    wide, narrow = (
        gaussian_filter(greys, (_SMOOTH_MM / _ALONG_MM, width / _ACROSS_MM, width / _ACROSS_MM))
        for width in (_OUTER_MM, _INNER_MM)
    )
    difference = narrow - wide
    return np.asarray(difference / max(float(difference[:, 3:-3, 3:-3].std()), 1e-6))


def _aside() -> Array:
    return np.arange(-_ASIDE_MM, _ASIDE_MM + 0.01, _ACROSS_MM)


def _on_lines(field: Array, shares: Array, errors_mm: list[float]) -> tuple[Array, Array]:
    """Contrast on straight lines that pass the joints within their errors (L, along), and the lines' log prior (L,)."""
    shifts = [_disc(error) for error in errors_mm]
    one, other = (grid.ravel() for grid in np.meshgrid(*(np.arange(len(each)) for each in shifts), indexing="ij"))
    at = shifts[0][one][:, None] * (1 - shares[:, None]) + shifts[1][other][:, None] * shares[:, None]
    aside = _aside()
    places = np.clip(np.round((at - aside[0]) / _ACROSS_MM).astype(int), 0, len(aside) - 1)
    prior = sum(-0.5 * (each[rows] ** 2).sum(axis=1) / error**2 for each, rows, error in
                zip(shifts, (one, other), errors_mm, strict=True))  # fmt: skip
    return field[np.arange(len(shares)), places[..., 0], places[..., 1]], np.asarray(prior)


def _disc(error_mm: float) -> Array:
    """(N, 2) shifts of a joint across the line, mm."""
    step = max(0.35, 0.5 * error_mm)
    reach = min(3.0, 2.2 * error_mm)
    line = np.arange(-np.floor(reach / step), np.floor(reach / step) + 1) * step
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    return grid[np.linalg.norm(grid, axis=1) <= reach + 1e-9]


def _log_normal(values: Array, mean: float, sd: float) -> Array:
    return np.asarray(-0.5 * ((values - mean) / sd) ** 2 - np.log(sd))


def _running(values: Array) -> Array:
    """(L, along + 1) sums from the start, each step counted by its share of a speckle."""
    sums = np.cumsum(values * (_ALONG_MM / _SPECKLE_MM), axis=1)
    return np.concatenate([np.zeros((len(values), 1)), sums], axis=1)
