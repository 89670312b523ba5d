"""Hypotheses of where the body lies: body frames that explain the heatmaps of head and trunk together.

A single heatmap often has two peaks where head and rump are confused; the canonical pose tells which peaks belong
together.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.body_frame import BodyFrame
from FetusMapV2Lib.anatomy.schema import Schema, default_schema
from FetusMapV2Lib.imaging.grid import Grid

Array = NDArray[np.float64]
#: Centres (N, 3) RAS mm, rotations (N, 3, 3), crown-rump lengths (N,) mm.
Candidates = tuple[Array, Array, Array]

#: Crown-rump lengths to start from, mm.
_LENGTHS_MM = (28.0, 36.0, 46.0, 58.0, 73.0, 92.0)
_ROTATIONS = 480
#: Number of best candidates that are refined, and of random neighbours of each per round.
_STARTS, _NEIGHBOURS = 12, 80
#: Standard deviations of the neighbours in each round: rotation (degrees), logarithm of the length, shift (lengths).
_ROUNDS = ((25.0, 0.15, 0.10), (18.0, 0.12, 0.07), (12.0, 0.08, 0.05), (8.0, 0.05, 0.03), (5.0, 0.03, 0.02))
#: Two hypotheses differ by at least this rotation or this shift (lengths).
_APART_DEGREES = 35.0
_APART_SHIFT = 0.35
_BLUR_VOXELS = 1.0


def torso_rows(schema: Schema) -> tuple[int, ...]:
    """Rows of the torso: head, trunk, and the first joint of each limb."""
    return (*schema.rows("ht"), *(schema.rows(group)[0] for group in ("la", "ra", "ll", "rl")))


def body_hypotheses(maps: NDArray[np.float32], grid: Grid, template: Array, count: int) -> list[BodyFrame]:
    """The distinct body frames that explain heatmaps best, most likely first.

    Every rotation of an even set is tried at several lengths around the centroid of the heatmaps; the best are
    refined by a random search with a fixed seed. The score of a frame is the sum, over the torso, of the logarithm of
    the heatmap where the canonical pose puts the landmark.

    Args:
        maps: (22, K, J, I) probabilities, each summing to one.
        grid: of the maps.
        template: (22, 3) canonical pose (`body_frame.canonical_template`).
        count: greatest number of frames.
    """
    rows = list(torso_rows(default_schema()))
    logs = _log_maps(maps[rows])
    shape = np.asarray(template, dtype=np.float64)[rows]
    candidates = _first_candidates(grid.to_world(_centroid(logs)))
    # Each start is refined alone: a likelier one must not displace one of the opposite orientation.
    starts = _distinct(candidates, _scores(logs, grid, shape, candidates), _STARTS)
    generator = np.random.default_rng(0)
    for deviations in _ROUNDS:
        starts = [_refined(start, deviations, generator, logs, grid, shape) for start in starts]
    refined = _stacked(starts)
    return _distinct(refined, _scores(logs, grid, shape, refined), count)


def _log_maps(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blurred log probabilities, at least a tenth of a flat map's, so that one lost landmark rules out no frame."""
    floor = 0.1 / maps[0].size
    blurred = ndimage.gaussian_filter(
        np.nan_to_num(maps), (0, _BLUR_VOXELS, _BLUR_VOXELS, _BLUR_VOXELS), mode="constant"
    )
    return np.asarray(np.log(blurred + floor), dtype=np.float32)


def _centroid(logs: NDArray[np.float32]) -> Array:
    """Centre (i, j, k) of the voxels where the torso is likely: (1, 3)."""
    likely = np.exp(logs).sum(axis=0)
    likely = np.maximum(likely - 0.05 * likely.max(), 0)
    k, j, i = ndimage.center_of_mass(likely)
    return np.array([[i, j, k]])


@cache
def _even_rotations() -> Array:
    """Rotations spread evenly over all orientations, (N, 3, 3): the super-Fibonacci spiral (Alexa, CVPR 2022)."""
    phi, psi = np.sqrt(2.0), 1.533751168755204288118041
    s = np.arange(_ROTATIONS) + 0.5
    t = s / _ROTATIONS
    near, far = np.sqrt(t), np.sqrt(1 - t)
    alpha, beta = 2 * np.pi * s / phi, 2 * np.pi * s / psi
    quaternions = np.stack([near * np.sin(alpha), near * np.cos(alpha), far * np.sin(beta), far * np.cos(beta)], axis=1)
    return np.asarray(Rotation.from_quat(quaternions).as_matrix())


def _first_candidates(centre: Array) -> Candidates:
    rotations = np.repeat(_even_rotations(), len(_LENGTHS_MM), axis=0)
    lengths = np.tile(_LENGTHS_MM, _ROTATIONS)
    return np.repeat(centre, len(rotations), axis=0), rotations, lengths


def _stacked(frames: list[BodyFrame]) -> Candidates:
    return (
        np.stack([frame.centre for frame in frames]),
        np.stack([frame.axes for frame in frames]),
        np.array([frame.length_mm for frame in frames]),
    )


def _refined(
    start: BodyFrame,
    deviations: tuple[float, float, float],
    generator: np.random.Generator,
    logs: NDArray[np.float32],
    grid: Grid,
    shape: Array,
) -> BodyFrame:
    """The best of a frame and its random neighbours."""
    degrees, log_length, shift = deviations
    steps = generator.normal(size=(_NEIGHBOURS, 7))
    steps[0] = 0.0
    rotations = start.axes @ Rotation.from_rotvec(np.radians(degrees) / np.sqrt(3) * steps[:, :3]).as_matrix()
    lengths = start.length_mm * np.exp(log_length * steps[:, 3])
    lengths = np.clip(lengths, 0.8 * _LENGTHS_MM[0], 1.3 * _LENGTHS_MM[-1])
    centres = start.centre + shift * start.length_mm * steps[:, 4:]
    best = int(np.argmax(_scores(logs, grid, shape, (centres, rotations, lengths))))
    return BodyFrame(centres[best], rotations[best], float(lengths[best]))


def _scores(logs: NDArray[np.float32], grid: Grid, shape: Array, candidates: Candidates) -> Array:
    """Log-likelihood of each candidate, (N,)."""
    centres, rotations, lengths = candidates
    world = np.einsum("nab,lb->nla", rotations * lengths[:, None, None], shape) + centres[:, None]
    voxels = np.rint(grid.to_voxel(world)).astype(np.int64)
    limits = np.array(grid.shape[::-1]) - 1
    inside = ((voxels >= 0) & (voxels <= limits)).all(axis=2)
    i, j, k = np.moveaxis(np.clip(voxels, 0, limits), 2, 0)
    values = logs[np.arange(len(shape))[None], k, j, i]
    return np.asarray(np.where(inside, values, logs.min()).sum(axis=1), dtype=np.float64)


def _distinct(candidates: Candidates, scores: Array, count: int) -> list[BodyFrame]:
    centres, rotations, lengths = candidates
    chosen: list[BodyFrame] = []
    for n in np.argsort(-scores, kind="stable"):
        frame = BodyFrame(centres[n], rotations[n], float(lengths[n]))
        if all(_apart(frame, other) for other in chosen):
            chosen.append(frame)
            if len(chosen) == count:
                break
    return chosen


def _apart(one: BodyFrame, other: BodyFrame) -> bool:
    shift = np.linalg.norm(one.centre - other.centre) / min(one.length_mm, other.length_mm)
    return one.angle_to(other) > _APART_DEGREES or bool(shift > _APART_SHIFT)
