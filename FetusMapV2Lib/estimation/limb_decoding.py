"""Limbs decoded as wholes: of the peaks of each joint's heatmap, those that together form two arms and two legs.

Decoded one by one, both ankles often end up on one foot; bone lengths and the probability on the other foot prevent
that.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.imaging.grid import Grid
from FetusMapV2Lib.network.heatmap import Decoded, window_moments, window_radius

Array = NDArray[np.float64]

# The values were chosen on simulated volumes of seed 7 and held-out styles, which nothing else is measured on.
#: Peaks per joint, chains of peaks per limb that are combined with those of the other limb.
_PEAKS, _CHAINS = 5, 60
#: Blur of a map before its peaks are found, and distance to either side within which a peak is the maximum, voxels.
_BLUR_VOXELS, _PEAK_REACH = 1.0, 3
#: Distance from a peak within which its mass is summed, sigmas, and weight of the mass in the partner's map.
_MASS_SIGMAS, _OTHER_SIDE = 2.0, 0.03
#: Added to each mass, so that the logarithm of none is finite.
_FLOOR = 0.01
#: Position error of a peak, voxels, and the greatest penalty of one bone length.
_PLACE_NOISE_VOXELS, _LARGEST_PENALTY = 3.0, 8.0
#: Weight of the covered probability, what is added to it, and the distance within which two joints cover the same.
_COVERAGE, _COVERAGE_FLOOR, _OVERLAP_SIGMAS = 3.0, 0.05, 1.5
#: Share of a map's maximum below which nothing counts as a peak; a peak of that height is far below `_FLOOR`.
_PEAK_FLOOR = 1e-4


@dataclass(frozen=True, eq=False)
class BoneLengths:
    """Lengths of the bones of a limb pair in crown-rump lengths of the registered body, both sides taken together.

    Attributes:
        mean, deviation: (joints - 1,) from the trunk outwards.
    """

    mean: Array
    deviation: Array


#: For each pair of limbs: rows of the left and the right one from the trunk outwards, and their bones.
LimbPairs = tuple[tuple[tuple[int, ...], tuple[int, ...], BoneLengths], ...]


def limb_pairs(poses: Array, template: Array, schema: Schema) -> LimbPairs:
    """Bone lengths of arms and legs in a pose library.

    Args:
        poses: (N, 22, 3) mm, NaN = missing; only those with all of head and trunk count.
        template: (22, 3) canonical pose (`body_frame.canonical_template`).
        schema: of the poses.

    Returns:
        Pairs for which at least one pose has every joint of a limb; none for an empty library.
    """
    trunk = list(schema.rows("ht"))
    sized = poses * (_extent(template[trunk]) / _extent(poses[:, trunk]))[:, None, None]
    pairs = []
    for left, right in (("la", "ra"), ("ll", "rl")):
        sides = tuple(schema.rows(left)), tuple(schema.rows(right))
        limbs = np.concatenate([sized[:, list(side)] for side in sides])
        bones = np.linalg.norm(np.diff(limbs, axis=1), axis=2)
        bones = bones[np.isfinite(bones).all(axis=1)]
        if len(bones):
            pairs.append((*sides, BoneLengths(bones.mean(axis=0), bones.std(axis=0))))
    return tuple(pairs)


def _extent(points: Array) -> Array:
    """Root mean square distance of points (..., P, 3) from their centroid; NaN where one is missing."""
    return np.asarray(np.sqrt(((points - points.mean(axis=-2, keepdims=True)) ** 2).sum(axis=-1).mean(axis=-1)))


def decode_limbs(
    logits: Tensor, decoded: Decoded, sigma: float, grid: Grid, length_mm: float, pairs: LimbPairs
) -> Decoded:
    """Landmarks with arms and legs decoded again, each pair as a whole.

    Of every joint's strongest peaks, in its own map and its partner's, those are chosen that maximise: the logarithm of
    the probability around each; less the squared deviation of each bone's length from the library's, in standard
    deviations; plus the logarithm of the share of both maps' probability that the two joints explain together, as in
    the second part of the Pair Loss (Eq. 6).

    Args:
        logits: (22, K, J, I) heatmaps.
        decoded: from the same heatmaps; its other rows are kept.
        sigma: of the heatmaps, voxels.
        grid: of the heatmaps.
        length_mm: crown-rump length of the body frame.
        pairs: of `limb_pairs`.
    """
    points, mass, spread = decoded.points_ijk.clone(), decoded.peak_mass.clone(), decoded.spread.clone()
    for left, right, bones in pairs:
        maps = {row: torch.softmax(logits[row].flatten().float(), 0).view_as(logits[row]).cpu() for row in left + right}
        chosen = _best_pair(maps, left, right, bones, sigma, grid, length_mm)
        for row, partner in zip(left + right, right + left, strict=True):
            points[row], mass[row], spread[row] = _moments_at(chosen[row], maps[row], maps[partner], sigma)
    return replace(decoded, points_ijk=points, peak_mass=mass.clamp(max=1.0), spread=spread)


@dataclass(frozen=True, eq=False)
class _Peaks:
    """Peaks of a joint: voxels (N, 3) in (k, j, i) order, RAS mm (N, 3), mass around them (N,) in both maps."""

    voxels: NDArray[np.int64]
    world: Array
    own: Array
    other: Array


def _best_pair(
    maps: dict[int, Tensor],
    left: Sequence[int],
    right: Sequence[int],
    bones: BoneLengths,
    sigma: float,
    grid: Grid,
    length_mm: float,
) -> dict[int, NDArray[np.int64]]:
    """The voxel (k, j, i) of every joint of two limbs."""
    sides = [
        [_peaks(maps[row].numpy(), maps[partner].numpy(), sigma, grid) for row, partner in zip(*rows, strict=True)]
        for rows in ((left, right), (right, left))
    ]
    noise = _PLACE_NOISE_VOXELS * grid.spacing_mm
    expected = bones.mean * length_mm
    deviation = np.sqrt((bones.deviation * length_mm) ** 2 + noise**2)
    chains = [_chains(peaks, expected, deviation) for peaks in sides]
    (choices, likely), (others, as_likely) = chains
    scores: Array = likely[:, None] + as_likely[None]
    reach_mm = _OVERLAP_SIGMAS * sigma * grid.spacing_mm
    for joint, (one, two) in enumerate(zip(*sides, strict=True)):
        scores += _coverage(one, two, choices[:, joint], others[:, joint], reach_mm=reach_mm)
    best = np.unravel_index(int(np.argmax(scores)), scores.shape)
    return {
        row: sides[n][joint].voxels[chains[n][0][best[n], joint]]
        for n, rows in enumerate((left, right))
        for joint, row in enumerate(rows)
    }


def _peaks(own: NDArray[np.float32], other: NDArray[np.float32], sigma: float, grid: Grid) -> _Peaks:
    """The strongest local maxima of a joint's map, its partner's counting half."""
    joint = own + 0.5 * other
    box = _box_of(joint > _PEAK_FLOOR * joint.max())
    blurred = ndimage.gaussian_filter(joint[box], _BLUR_VOXELS, mode="constant")
    top = np.flatnonzero(blurred == ndimage.maximum_filter(blurred, 2 * _PEAK_REACH + 1, mode="constant"))
    top = top[np.argsort(-blurred.ravel()[top], kind="stable")[:_PEAKS]]
    voxels = np.stack(np.unravel_index(top, blurred.shape), axis=1) + [part.start for part in box]
    reach = max(1, math.ceil(_MASS_SIGMAS * sigma))
    around = [tuple(slice(max(0, at - reach), at + reach + 1) for at in voxel) for voxel in voxels]
    masses = (np.array([float(one[window].sum()) for window in around]) for one in (own, other))
    return _Peaks(voxels, grid.to_world(voxels[:, ::-1].astype(float)), *masses)


def _box_of(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The part of a map outside which nothing is set, with a margin that the filters reach over."""
    margin = _PEAK_REACH + math.ceil(4 * _BLUR_VOXELS)
    (box,) = ndimage.find_objects(mask.view(np.int8))
    return tuple(slice(max(0, part.start - margin), part.stop + margin) for part in box)


def _chains(peaks: Sequence[_Peaks], expected: Array, deviation: Array) -> tuple[NDArray[np.int64], Array]:
    """The likeliest choices of one peak per joint of a limb: (N, joints) indices and (N,) scores."""
    choices = np.array(list(itertools.product(*(range(len(one.voxels)) for one in peaks))))
    scores = np.zeros(len(choices))
    for joint, one in enumerate(peaks):
        scores += np.log(_FLOOR + one.own + _OTHER_SIDE * one.other)[choices[:, joint]]
    for bone in range(len(peaks) - 1):
        ends = peaks[bone].world[choices[:, bone]], peaks[bone + 1].world[choices[:, bone + 1]]
        off = (np.linalg.norm(ends[1] - ends[0], axis=1) - expected[bone]) / deviation[bone]
        scores -= np.minimum(off**2 / 2, _LARGEST_PENALTY)
    best = np.argsort(-scores, kind="stable")[:_CHAINS]
    return choices[best], scores[best]


def _coverage(
    one: _Peaks, two: _Peaks, picks: NDArray[np.int64], others: NDArray[np.int64], *, reach_mm: float
) -> Array:
    """Score (N, M) of the share of both maps' probability around two joints; what both cover counts once."""
    masses = [(peaks.own + peaks.other)[pick] for peaks, pick in ((one, picks), (two, others))]
    distance = np.linalg.norm(one.world[picks][:, None] - two.world[others][None], axis=2)
    shared = np.exp(-(distance**2) / (2 * reach_mm**2)) * np.minimum(masses[0][:, None], masses[1][None])
    covered = np.minimum((masses[0][:, None] + masses[1][None] - shared) / 2, 1.0)
    return np.asarray(_COVERAGE * np.log(_COVERAGE_FLOOR + covered))


def _moments_at(voxel: NDArray[np.int64], own: Tensor, other: Tensor, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
    """Point, mass in the joint's own map, and spread around a peak that may be the other map's."""
    centre = [int(at) for at in voxel[::-1]]
    point, mass, spread = window_moments(own + 1e-3 * other, centre, window_radius(sigma))
    return point, mass / (1 + 1e-3), spread
