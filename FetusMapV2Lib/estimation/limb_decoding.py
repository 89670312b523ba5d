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
from torch import Tensor

from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.estimation.map_filters import blur_reach, blurred, highest_nearby
from FetusMapV2Lib.imaging.grid import Grid
from FetusMapV2Lib.network.heatmap import Decoded, voxels_of, window_moments, window_radius, windows

Array = NDArray[np.float64]

# The values were chosen on simulated volumes of seed 7 and held-out styles, which nothing else is measured on.
#: Numbers that describe a peak (`limb_peaks`).
_COLUMNS = 11
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
#: Mass from which a joint's own map has a second peak, and its least distance from the decoded place, sigmas: so far
#: apart the masses around them share no voxel.
_SECOND_MASS, _SECOND_SIGMAS = 0.1, 2 * _MASS_SIGMAS


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


def limb_peaks(maps: Tensor, sigma: float, pairs: LimbPairs) -> Tensor:
    """The strongest peaks of every joint's heatmap, its partner's counting half, with what lies around them.

    Nothing waits for the device, and on a GPU no shape depends on the values.

    Args:
        maps: (22, K, J, I) probabilities, each map summing to one.
        sigma: of the heatmaps, voxels.
        pairs: of `limb_pairs`.

    Returns:
        (R, 5, 11) float32 for the joints of all pairs, left limb before right: the peak's voxel (i, j, k); its
        height, -1 where there are fewer peaks; the mass around it in the joint's own and in its partner's map; centre
        of mass (i, j, k), mass and spread of its window.
    """
    if not pairs:
        return maps.new_zeros(0, _PEAKS, _COLUMNS)
    joints = [row for left, right, _ in pairs for row in (*left, *right)]
    partners = [row for left, right, _ in pairs for row in (*right, *left)]
    own, other = (torch.stack([maps[row] for row in rows]) for rows in (joints, partners))
    places, heights = _highest_peaks(own + 0.5 * other)
    radius = window_radius(sigma)
    edge = radius - max(1, math.ceil(_MASS_SIGMAS * sigma))
    inner = slice(edge, 2 * radius + 1 - edge)
    around, beside = (windows(one, places, radius) for one in (own, other))
    masses = [one[..., inner, inner, inner].sum(dim=(2, 3, 4)) for one in (around, beside)]
    point, mass, spread = window_moments(around + 1e-3 * beside, places)
    columns = [heights, *masses, *point.unbind(dim=-1), mass / (1 + 1e-3), spread]
    return torch.cat((places.to(mass.dtype), torch.stack(columns, dim=-1)), dim=-1)


def _highest_peaks(joints: Tensor) -> tuple[Tensor, Tensor]:
    """Voxels (R, 5, 3) in (i, j, k) order and heights (R, 5) of the strongest local maxima of maps (R, K, J, I)."""
    kept = _kept_along_axes(joints)
    # what no map needs is left out where shapes may depend on values: on a CPU, whose time it costs
    parts = [_span(one) if joints.device.type == "cpu" else slice(0, one.shape[1]) for one in kept]
    joints = joints[:, parts[0], parts[1], parts[2]]
    k, j, i = (one[:, part] for one, part in zip(kept, parts, strict=True))
    box = k[:, :, None, None] & j[:, None, :, None] & i[:, None, None, :]
    smooth = blurred(joints.masked_fill(~box, 0), _BLUR_VOXELS).masked_fill(~box, -1)
    heights = smooth.masked_fill(smooth < highest_nearby(smooth, _PEAK_REACH), -1).flatten(1)
    found, highest = [], []
    for _ in range(_PEAKS):  # of equal ones the first, on every device
        number = heights.argmax(dim=1, keepdim=True)
        found.append(number)
        highest.append(heights.gather(1, number))
        heights = heights.scatter(1, number, -1)
    first = [part.start for part in reversed(parts)]
    voxels = voxels_of(torch.cat(found, dim=1), joints.shape[1:])
    places = torch.stack([voxels[..., axis] + start for axis, start in enumerate(first)], dim=-1)
    return places, torch.cat(highest, dim=1)


def _kept_along_axes(joints: Tensor) -> list[Tensor]:
    """Of maps (R, K, J, I), (R, K), (R, J) and (R, I) bool: the box outside which nothing counts as a peak.

    Its margin is what the filters reach over.
    """
    counts = joints > _PEAK_FLOOR * joints.amax(dim=(1, 2, 3), keepdim=True)
    margin = _PEAK_REACH + blur_reach(_BLUR_VOXELS)
    kept = []
    for away in ((2, 3), (1, 3), (1, 2)):
        line = counts.any(dim=away).to(torch.uint8)
        steps = torch.arange(line.shape[1], device=line.device)
        first, last = line.argmax(dim=1, keepdim=True), len(steps) - 1 - line.flip(1).argmax(dim=1, keepdim=True)
        kept.append((steps >= first - margin) & (steps <= last + margin))
    return kept


def _span(kept: Tensor) -> slice:
    """The part of an axis that any of (R, n) maps needs."""
    places = kept.any(dim=0).nonzero()
    return slice(int(places[0]), int(places[-1]) + 1)


def decode_limbs(
    peaks: Array, decoded: Decoded, sigma: float, grid: Grid, length_mm: float, pairs: LimbPairs
) -> Decoded:
    """Landmarks with arms and legs decoded again, each pair as a whole.

    Of every joint's strongest peaks, in its own map and its partner's, those are chosen that maximise: the logarithm of
    the probability around each; less the squared deviation of each bone's length from the library's, in standard
    deviations; plus the logarithm of the share of both maps' probability that the two joints explain together, as in
    the second part of the Pair Loss (Eq. 6).

    Args:
        peaks: (R, 5, 11) of `limb_peaks`, on the CPU.
        decoded: from the same heatmaps, on the CPU; its other rows are kept.
        sigma: of the heatmaps, voxels.
        grid: of the heatmaps.
        length_mm: crown-rump length of the body frame.
        pairs: of `limb_pairs`.
    """
    points, mass, spread = decoded.points_ijk.clone(), decoded.peak_mass.clone(), decoded.spread.clone()
    joints = iter(peaks)
    for left, right, bones in pairs:
        limbs = [[_Peaks.of(next(joints), grid) for _ in rows] for rows in (left, right)]
        chosen = _best_pair(limbs, bones, sigma, grid, length_mm)
        for row, moments in zip((*left, *right), chosen, strict=True):
            points[row] = torch.from_numpy(moments[:3])
            mass[row], spread[row] = moments[3:]
    return replace(decoded, points_ijk=points, peak_mass=mass.clamp(max=1.0), spread=spread)


def second_peaks(peaks: Array, decoded: Decoded, sigma: float, pairs: LimbPairs) -> Array:
    """The other place of each joint whose own heatmap has two peaks, such as the other hand.

    Args:
        peaks: (R, 5, 11) of `limb_peaks`, on the CPU.
        decoded: of `decode_limbs`.
        sigma: of the heatmaps, voxels.
        pairs: of `limb_pairs`.

    Returns:
        (22, 5): centre of mass (i, j, k), mass in the joint's own map, and spread; NaN where there is one peak.
    """
    second = np.full((len(decoded.points_ijk), 5), np.nan)
    rows = [row for left, right, _ in pairs for row in (*left, *right)]
    for row, found in zip(rows, peaks, strict=True):
        apart = np.linalg.norm(found[:, 6:9] - decoded.points_ijk[row].double().numpy(), axis=1)
        mass = np.where((found[:, 3] >= 0) & (apart > _SECOND_SIGMAS * sigma), found[:, 4], 0.0)
        strongest = int(np.argmax(mass))
        if mass[strongest] >= _SECOND_MASS:
            second[row] = *found[strongest, 6:9], mass[strongest], found[strongest, 10]
    return second


@dataclass(frozen=True, eq=False)
class _Peaks:
    """Peaks of a joint: RAS mm (N, 3), mass around them (N,) in both maps, and moments (N, 5) of their windows."""

    world: Array
    own: Array
    other: Array
    moments: Array

    @classmethod
    def of(cls, found: Array, grid: Grid) -> _Peaks:
        """From the (5, 11) of a joint."""
        there = found[found[:, 3] >= 0]
        return cls(grid.to_world(there[:, :3]), there[:, 4], there[:, 5], there[:, 6:])


def _best_pair(
    limbs: Sequence[Sequence[_Peaks]], bones: BoneLengths, sigma: float, grid: Grid, length_mm: float
) -> list[Array]:
    """The moments (5,) of every joint of two limbs, from the peaks of each."""
    noise = _PLACE_NOISE_VOXELS * grid.spacing_mm
    expected = bones.mean * length_mm
    deviation = np.sqrt((bones.deviation * length_mm) ** 2 + noise**2)
    chains = [_chains(peaks, expected, deviation) for peaks in limbs]
    (choices, likely), (others, as_likely) = chains
    scores: Array = likely[:, None] + as_likely[None]
    reach_mm = _OVERLAP_SIGMAS * sigma * grid.spacing_mm
    for joint, (one, two) in enumerate(zip(*limbs, strict=True)):
        scores += _coverage(one, two, choices[:, joint], others[:, joint], reach_mm=reach_mm)
    best = np.unravel_index(int(np.argmax(scores)), scores.shape)
    picks = [chains[n][0][best[n]] for n in range(2)]
    return [
        joint.moments[pick]
        for limb, own in zip(limbs, picks, strict=True)
        for joint, pick in zip(limb, own, strict=True)
    ]


def _chains(peaks: Sequence[_Peaks], expected: Array, deviation: Array) -> tuple[NDArray[np.int64], Array]:
    """The likeliest choices of one peak per joint of a limb: (N, joints) indices and (N,) scores."""
    choices = np.array(list(itertools.product(*(range(len(one.own)) for one in peaks))))
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
