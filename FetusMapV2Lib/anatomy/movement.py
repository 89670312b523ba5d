"""Movement of a fetus over a sequence of poses: joint angles, speeds of its parts, and when each part moves.

Limbs and head are analysed in the frame of the trunk, so that motion of the probe or of the whole body does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from FetusMapV2Lib.anatomy.activity import Activity, classify
from FetusMapV2Lib.anatomy.joint_angles import JointAngle, angle_list, angle_uncertainty, joint_angles
from FetusMapV2Lib.anatomy.laterality import RADIUS90_IN_SD
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.anatomy.trajectories import (
    in_trunk_frame,
    known_radii,
    repeatability,
    runs,
    trunk_rows,
    turning_speed,
    velocities,
)

#: A movement starts at the first and ends below the second multiple of the noise, the speed that landmark errors alone
#: stay below in 90 % of cases. Errors have longer tails than a Gaussian, so that the onset lies well above 1.
ONSET, RELEASE = 2.0, 1.0
#: Shorter periods count as noise.
LEAST_FRAMES = 2

_LIMBS = {"la": "Left arm", "ra": "Right arm", "ll": "Left leg", "rl": "Right leg"}


@dataclass(frozen=True)
class Part:
    """A part of the body whose movement is analysed.

    Attributes:
        key: ``head``, ``left_arm``, ``right_arm``, ``left_leg``, ``right_leg`` or ``body``.
        name: for display.
        rows: the landmarks whose speeds are averaged.
        group: the schema's group that it belongs to; None for the whole body, which is analysed in world coordinates.
    """

    key: str
    name: str
    rows: tuple[int, ...]
    group: str | None


@dataclass(frozen=True)
class Period:
    """A part moves from one frame to another, both included.

    Attributes:
        part: key of the part.
        first, last: frames, from 0.
        start, end: their times.
        peak_speed: mm per unit of time.
    """

    part: str
    first: int
    last: int
    start: float
    end: float
    peak_speed: float


@dataclass(frozen=True, eq=False)
class Movement:
    """Movement over T frames; NaN = unknown.

    Attributes:
        times: (T,) in `time_unit`.
        time_unit: "s", or "frame" where the times of the frames are unknown.
        angle_list: the columns of the angles.
        angles, angle_intervals: (T, A) degrees, and half-widths of their 90 % intervals.
        part_list: the columns of the speeds.
        speeds: (T, P) mm per unit of time.
        noise: (T, P) the speed below which landmark errors alone stay in 90 % of cases.
        turning: (T,) degrees per unit of time that the body turns in the world.
        moving: (T, P) bool.
        periods: in the order of parts and times.
        activity: rest and activity, and the kind of each movement.
    """

    times: np.ndarray
    time_unit: str
    angle_list: tuple[JointAngle, ...]
    angles: np.ndarray
    angle_intervals: np.ndarray
    part_list: tuple[Part, ...]
    speeds: np.ndarray
    noise: np.ndarray
    turning: np.ndarray
    moving: np.ndarray
    periods: tuple[Period, ...]
    activity: Activity

    def periods_of(self, part: str) -> tuple[Period, ...]:
        """The periods of one part."""
        return tuple(period for period in self.periods if period.part == part)


def analyse_movement(
    positions: np.ndarray,
    schema: Schema,
    times_s: np.ndarray | None = None,
    radius90_mm: np.ndarray | None = None,
) -> Movement:
    """Angles, speeds and movement periods of a sequence of poses.

    Limbs and head are analysed in the frame of the trunk (`trajectories.in_trunk_frame`). Each landmark's velocity is
    the slope of a straight line through up to five frames (`trajectories.velocities`), with a standard error from its
    90 % radii and the share of them that changes from frame to frame (`trajectories.repeatability`). The speed of a
    part is the mean over its landmarks, weighted by the inverse of that error's square, and so is its noise. A part
    moves from the frame in which its speed reaches `ONSET` times the noise until it falls below `RELEASE` times; a
    missing value ends a period.

    Args:
        positions: (T, N, 3) RAS mm, with consistent sides (`side_tracking`), NaN = missing.
        schema: of the landmarks.
        times_s: (T,) seconds, increasing; None = unknown, then frames are counted.
        radius90_mm: (T, N), NaN or None = unknown: then the landmark's median over the sequence, or 3 mm.

    Raises:
        ValueError: an array of the wrong shape, or times that do not increase.
    """
    points = np.asarray(positions, dtype=np.float64)
    if points.ndim != 3 or points.shape[1:] != (schema.count, 3):
        raise ValueError(f"positions must have the shape (T, {schema.count}, 3), found {points.shape}")
    times: np.ndarray = np.asarray(np.arange(len(points)) if times_s is None else times_s, dtype=np.float64)
    if times.shape != points.shape[:1] or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise ValueError("times must be one finite number per frame, and increase")
    radii = known_radii(radius90_mm, points)
    spread = radii / RADIUS90_IN_SD
    trunk = in_trunk_frame(points, spread, schema)
    parts = part_list(schema)
    speeds, noise = _part_speeds(
        velocities(points, times, spread * repeatability(points, spread)),
        velocities(trunk.positions, times, trunk.spread * repeatability(trunk.positions, trunk.spread)),
        parts,
    )
    moving = np.stack([_moving(*column) for column in zip(speeds.T, noise.T, strict=True)], axis=1)
    flags = {part.key: column for part, column in zip(parts, moving.T, strict=True)}
    known = np.isfinite(speeds).any(axis=1)
    return Movement(
        times=times,
        time_unit="frame" if times_s is None else "s",
        angle_list=angle_list(schema),
        angles=joint_angles(points, schema),
        angle_intervals=angle_uncertainty(points, radii, schema),
        part_list=parts,
        speeds=speeds,
        noise=noise,
        turning=turning_speed(trunk.turns, times),
        moving=moving,
        periods=_periods(moving, speeds, times, parts),
        activity=classify(points, trunk.positions, trunk.turns, times, flags, known, schema),
    )


@lru_cache(maxsize=4)
def part_list(schema: Schema) -> tuple[Part, ...]:
    """The parts whose movement is analysed: head, limbs, and the whole body."""
    trunk = trunk_rows(schema)
    head = Part("head", "Head", tuple(row for row in schema.rows("ht") if row not in trunk), "ht")
    limbs = (
        Part(name.lower().replace(" ", "_"), name, schema.rows(group)[1:], group) for group, name in _LIMBS.items()
    )
    return (head, *limbs, Part("body", "Whole body", trunk, None))


def _part_speeds(
    in_world: tuple[np.ndarray, np.ndarray], in_body: tuple[np.ndarray, np.ndarray], parts: tuple[Part, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Speeds and noise of the parts, both (T, P), from velocities of landmarks and their errors."""
    speeds, noise = [], []
    for part in parts:
        found, error = in_world if part.group is None else in_body
        rows = list(part.rows)
        weights = np.nan_to_num(1.0 / error[:, rows] ** 2)
        total = weights.sum(axis=1)
        weights = weights / np.where(total > 0, total, np.nan)[:, None]
        speeds.append(_weighted(np.linalg.norm(found[:, rows], axis=2), weights))
        noise.append(_weighted(RADIUS90_IN_SD * error[:, rows], weights))
    return np.stack(speeds, axis=1), np.stack(noise, axis=1)


def _weighted(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(T,) sums over landmarks; those of weight 0 may be NaN."""
    return np.asarray(np.where(weights == 0, 0.0, values * weights).sum(axis=1))


def _moving(speed: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """(T,) whether a part moves: from `ONSET` until below `RELEASE`, for at least `LEAST_FRAMES`."""
    moving = np.zeros(len(speed), dtype=bool)
    state = False
    for frame, (value, least) in enumerate(zip(speed, noise, strict=True)):
        state = bool(value >= (RELEASE if state else ONSET) * least)  # false for NaN
        moving[frame] = state
    for first, last in runs(moving):
        if last - first + 1 < LEAST_FRAMES:
            moving[first : last + 1] = False
    return moving


def _periods(moving: np.ndarray, speeds: np.ndarray, times: np.ndarray, parts: tuple[Part, ...]) -> tuple[Period, ...]:
    return tuple(
        Period(part.key, first, last, float(times[first]), float(times[last]), float(speed[first : last + 1].max()))
        for part, flags, speed in zip(parts, moving.T, speeds.T, strict=True)
        for first, last in runs(flags)
    )
