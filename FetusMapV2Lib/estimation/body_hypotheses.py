"""Hypotheses of where the body lies: body frames that explain the heatmaps of head and trunk together.

A single heatmap often has two peaks where head and rump are confused; the canonical pose tells which peaks belong
together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from FetusMapV2Lib.anatomy.body_frame import BodyFrame
from FetusMapV2Lib.anatomy.schema import Schema, default_schema
from FetusMapV2Lib.estimation.host_copy import host_copies
from FetusMapV2Lib.estimation.map_filters import blurred
from FetusMapV2Lib.imaging.grid import Grid

Array = NDArray[np.float64]

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
#: Numbers that describe a frame (`likely_frames`).
_COLUMNS = 15


def torso_rows(schema: Schema) -> tuple[int, ...]:
    """Rows of the torso: head, trunk, and the first joint of each limb."""
    return (*schema.rows("ht"), *(schema.rows(group)[0] for group in ("la", "ra", "ll", "rl")))


@dataclass(frozen=True, eq=False)
class _Candidates:
    """N body frames on the device, float64: centres (N, 3) RAS mm, rotations (N, 3, 3), lengths (N,) mm."""

    centres: Tensor
    rotations: Tensor
    lengths: Tensor

    def rows(self, numbers: Tensor) -> _Candidates:
        """Those of the rows (M,)."""
        return _Candidates(*(one.index_select(0, numbers) for one in (self.centres, self.rotations, self.lengths)))


def body_hypotheses(maps: Tensor, grid: Grid, template: Array, count: int) -> list[BodyFrame]:
    """The distinct body frames that explain heatmaps best, most likely first (`likely_frames`)."""
    return frames_of(*host_copies([likely_frames(maps, grid, template, count)]))


def frames_of(found: Array) -> list[BodyFrame]:
    """The body frames in the rows of `likely_frames`, copied to the CPU."""
    return [BodyFrame(row[:3], row[3:12].reshape(3, 3), float(row[12])) for row in found if row[13] > 0]


def likely_frames(maps: Tensor, grid: Grid, template: Array, count: int) -> Tensor:
    """The distinct body frames that explain heatmaps best, most likely first.

    Every rotation of an even set is tried at several lengths around the centroid of the heatmaps; the best are
    refined by a random search with a fixed seed. The score of a frame is the sum, over the torso, of the logarithm of
    the heatmap where the canonical pose puts the landmark.

    Nothing waits for the device, and no shape depends on the values.

    Args:
        maps: (22, K, J, I) probabilities, each summing to one.
        grid: of the maps.
        template: (22, 3) canonical pose (`body_frame.canonical_template`).
        count: greatest number of frames.

    Returns:
        (count, 15) float64 on the maps' device: centre (RAS mm), rotation, length, 1, or 0 for a row without frame, and
        by how much the heatmaps are higher where the frame puts their landmarks than flat ones (mean logarithm).
    """
    if not count:
        return torch.zeros(0, _COLUMNS, device=maps.device)
    return torso_frames(torch.stack([maps[row] for row in torso_rows(default_schema())]), grid, template, count)


def torso_frames(torso: Tensor, grid: Grid, template: Array, count: int) -> Tensor:
    """`likely_frames` of the heatmaps of the torso alone, (L, K, J, I) in the order of `torso_rows`."""
    logs = _log_maps(torso)
    rows = list(torso_rows(default_schema()))
    score = _Score(logs, grid, np.asarray(template, dtype=np.float64)[rows])
    device = torso.device
    first = _first_candidates(_centroid(logs) @ score.to_world[:, :3].T + score.to_world[:, 3], device)
    # Each start is refined alone: a likelier one must not displace one of the opposite orientation.
    starts, there = _distinct(first, score(first), _STARTS)
    for turns, steps in zip(*_random_steps(device), strict=True):
        starts = _refined(starts, turns, steps, score)
    chosen, kept = _distinct(starts, score(starts).where(there, -torch.inf), count)
    above_flat = score(chosen) / len(logs) + math.log(torso[0].numel())
    columns = (
        chosen.centres,
        chosen.rotations.flatten(1),
        chosen.lengths[:, None],
        kept[:, None].double(),
        above_flat[:, None],
    )
    return torch.cat(columns, dim=1)


def _log_maps(maps: Tensor) -> Tensor:
    """Blurred log probabilities, at least a tenth of a flat map's, so that one lost landmark rules out no frame."""
    floor = 0.1 / maps[0].numel()
    return torch.log(blurred(torch.nan_to_num(maps), _BLUR_VOXELS) + floor)


def _centroid(logs: Tensor) -> Tensor:
    """Centre (i, j, k) of the voxels where the torso is likely: (1, 3) float64."""
    likely = logs.exp().sum(dim=0)
    likely = (likely - 0.05 * likely.max()).clamp_min(0)
    centre = []
    for away in ((0, 1), (0, 2), (1, 2)):
        weights = likely.sum(dim=away, dtype=torch.float64)
        centre.append((weights @ torch.arange(len(weights), device=logs.device, dtype=torch.float64)) / weights.sum())
    return torch.stack(centre)[None]


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


@cache
def _first_shapes(device: torch.device) -> tuple[Tensor, Tensor]:
    """Rotations (N, 3, 3) and lengths (N,) of the first candidates."""
    rotations = np.repeat(_even_rotations(), len(_LENGTHS_MM), axis=0)
    lengths = np.tile(_LENGTHS_MM, _ROTATIONS)
    return torch.from_numpy(rotations).to(device), torch.from_numpy(lengths).to(device)


@cache
def _random_steps(device: torch.device) -> tuple[Tensor, Tensor]:
    """For each round, each start and each neighbour: a rotation (3, 3), and (log length, shift) of it.

    The first neighbour of a start is the start itself.
    """
    steps = np.random.default_rng(0).normal(size=(len(_ROUNDS), _STARTS, _NEIGHBOURS, 7))
    steps[:, :, 0] = 0.0
    degrees, log_length, shift = (np.array(one)[:, None, None, None] for one in zip(*_ROUNDS, strict=True))
    turns = Rotation.from_rotvec((np.radians(degrees) / np.sqrt(3) * steps[..., :3]).reshape(-1, 3)).as_matrix()
    changes = np.concatenate([log_length * steps[..., 3:4], shift * steps[..., 4:]], axis=-1)
    turns = turns.reshape(*steps.shape[:3], 3, 3)
    return torch.from_numpy(turns).to(device), torch.from_numpy(changes).to(device)


def _first_candidates(centre: Tensor, device: torch.device) -> _Candidates:
    rotations, lengths = _first_shapes(device)
    return _Candidates(centre.expand(len(lengths), 3), rotations, lengths)


def _refined(starts: _Candidates, turns: Tensor, steps: Tensor, score: _Score) -> _Candidates:
    """Of each start (S) and its random neighbours (S, N) the best."""
    lengths = starts.lengths[:, None] * torch.exp(steps[..., 0])
    lengths = lengths.clamp(0.8 * _LENGTHS_MM[0], 1.3 * _LENGTHS_MM[-1])
    centres = starts.centres[:, None] + steps[..., 1:] * starts.lengths[:, None, None]
    near = _Candidates(centres.flatten(0, 1), (starts.rotations[:, None] @ turns).flatten(0, 1), lengths.flatten())
    scores = score(near).view(lengths.shape)
    first = torch.arange(len(scores), device=scores.device) * scores.shape[1]
    return near.rows(first + scores.argmax(dim=1))


class _Score:
    """Log-likelihood of body frames.

    Args:
        logs: (L, K, J, I) of `_log_maps`.
        grid: of the maps.
        shape: (L, 3) canonical pose.
    """

    def __init__(self, logs: Tensor, grid: Grid, shape: Array) -> None:
        matrices = np.stack([grid.grid_to_ras[:3], grid.ras_to_grid[:3]])
        constants = torch.from_numpy(np.concatenate([matrices.ravel(), shape.ravel()]))
        constants = constants.to(logs.device, non_blocking=True)
        #: (3, 4) from voxels (i, j, k) to RAS mm, and back
        self.to_world, self._to_voxel = constants[:24].view(2, 3, 4).unbind()
        self._shape = constants[24:].view(-1, 3)
        self._logs = logs
        self._lowest = logs.min().double()

    def __call__(self, candidates: _Candidates) -> Tensor:
        """(N,) float64."""
        scaled = candidates.rotations * candidates.lengths[:, None, None]
        world = self._shape @ scaled.mT + candidates.centres[:, None]
        voxels = (world @ self._to_voxel[:, :3].T + self._to_voxel[:, 3]).round().long()
        number = torch.arange(len(self._logs), device=voxels.device).expand(voxels.shape[:2])
        inside = torch.ones_like(number, dtype=torch.bool)
        for axis, size in enumerate(self._logs.shape[1:]):
            at = voxels[..., 2 - axis]
            inside = inside & (at >= 0) & (at < size)
            number = number * size + at.clamp(0, size - 1)
        values = self._logs.reshape(-1)[number].double()
        return values.where(inside, self._lowest).sum(dim=1)


def _distinct(candidates: _Candidates, scores: Tensor, count: int) -> tuple[_Candidates, Tensor]:
    """The best (count) candidates that are apart from one another, best first; which rows hold one, (count,) bool."""
    chosen, there = [], []
    for _ in range(count):
        best, number = scores.max(dim=0, keepdim=True)
        chosen.append(number)
        there.append(best > -torch.inf)
        scores = scores.where(_apart(candidates, candidates.rows(number)), -torch.inf)
    return candidates.rows(torch.cat(chosen)), torch.cat(there)


def _apart(candidates: _Candidates, one: _Candidates) -> Tensor:
    """(N,) whether candidates differ from one other."""
    cosine = ((candidates.rotations * one.rotations).sum(dim=(1, 2)) - 1) / 2
    distance = torch.linalg.vector_norm(candidates.centres - one.centres, dim=1)
    shift = distance / torch.minimum(candidates.lengths, one.lengths)
    apart: Tensor = (cosine < math.cos(math.radians(_APART_DEGREES))) | (shift > _APART_SHIFT)
    return apart
