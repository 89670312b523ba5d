"""Paths seen from the trunk, velocities with their errors, how well landmarks repeat, and smoothing for the eye."""

from __future__ import annotations

import numpy as np
import pytest
from anatomy.moving_bodies import LEFT_WRIST, SCHEMA, bent_elbow, carried

from FetusMapV2Lib.anatomy.trajectories import (
    in_trunk_frame,
    repeatability,
    smoothed,
    trunk_rows,
    turning_speed,
    velocities,
)

RESTING = bent_elbow(np.zeros(9))
SPREAD = np.full(RESTING.shape[:2], 0.5)


def test_the_body_and_the_probe_may_move_without_moving_a_limb():
    seen = in_trunk_frame(carried(RESTING, 4.0, 3.0), SPREAD, SCHEMA)
    assert np.ptp(seen.positions, axis=0) == pytest.approx(0.0, abs=1e-9)
    assert turning_speed(seen.turns, np.arange(9) * 0.5) == pytest.approx(8.0)


def test_a_lost_trunk_landmark_does_not_move_the_limbs():
    frames = RESTING.copy()
    frames[4, SCHEMA.index("rump")] += [0, 0, 25.0]
    seen = in_trunk_frame(frames, SPREAD, SCHEMA)
    limbs = [row for row in range(22) if row not in trunk_rows(SCHEMA)]
    assert np.abs(seen.positions[4, limbs] - seen.positions[3, limbs]).max() < 0.5


def test_too_few_trunk_landmarks_leave_a_gap():
    frames = RESTING.copy()
    frames[2, list(trunk_rows(SCHEMA))[2:]] = np.nan
    seen = in_trunk_frame(frames, SPREAD, SCHEMA)
    assert np.isnan(seen.positions[2]).all() and np.isnan(seen.turns[2]).all()
    assert np.isfinite(seen.positions[[1, 3]]).all()
    nothing = in_trunk_frame(np.full((3, 22, 3), np.nan), SPREAD[:3], SCHEMA)
    assert np.isnan(nothing.positions).all()


def test_the_fit_adds_to_the_error_of_what_is_far_from_the_trunk():
    random = np.random.default_rng(1)
    noisy = RESTING[0] + random.normal(0, 0.5, (3000, 22, 3))
    seen = in_trunk_frame(noisy, np.full(noisy.shape[:2], 0.5), SCHEMA)
    found = np.sqrt(seen.positions.var(axis=0).mean(axis=1))
    outside = [row for row in range(22) if row not in trunk_rows(SCHEMA)]
    assert seen.spread[0, outside] == pytest.approx(found[outside], rel=0.15)
    assert seen.spread[0, 0] > 0.6  # the crown is far from the trunk


def test_steady_movement_has_its_velocity_at_uneven_times_and_beside_gaps():
    times = np.array([0.0, 0.2, 0.5, 0.6, 1.0, 1.3])
    paths = np.zeros((6, 22, 3))
    paths[:, 5] = times[:, None] * [3.0, 0.0, -4.0]
    paths[3, 5] = np.nan
    found, errors = velocities(paths, times, np.full((6, 22), 0.7))
    assert found[[0, 1, 2, 4, 5], 5] == pytest.approx(np.tile([3.0, 0.0, -4.0], (5, 1)))
    assert np.isnan(found[3, 5]).all() and np.isnan(errors[3, 5])
    assert found[:, 6] == pytest.approx(0.0)
    alone = np.full((6, 22, 3), np.nan)
    alone[2] = 1.0
    assert np.isnan(velocities(alone, times, np.full((6, 22), 0.7))[0]).all()


def test_velocity_errors_are_those_of_repeated_trials():
    random = np.random.default_rng(2)
    times, spread = np.arange(7) * 0.4, np.tile(random.uniform(0.3, 1.0, (7, 1)), (1, 4000))
    found, errors = velocities(random.normal(size=(7, 4000, 3)) * spread[..., None], times, spread)
    for frame in (0, 1, 3):
        assert found[frame].std() == pytest.approx(errors[frame, 0], rel=0.05)


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_only_what_changes_of_an_error_counts(share):
    random = np.random.default_rng(3)
    steady = random.normal(0, 2.0, (1, 22, 3))
    moving = np.linspace(0, 30, 40)[:, None, None] * np.eye(3)[0]
    paths = steady + moving + random.normal(0, 2.0 * share, (40, 22, 3))
    assert np.median(repeatability(paths, np.full((40, 22), 2.0))) == pytest.approx(share, rel=0.2)


def test_a_landmark_that_jumps_repeats_worse_than_the_others_and_few_frames_say_nothing():
    random = np.random.default_rng(4)
    paths = random.normal(0, 0.2, (20, 22, 3))
    paths[::2, 7] += 6.0
    shares = repeatability(paths, np.full((20, 22), 2.0))
    assert shares[7] == 1.0
    assert np.delete(shares, 7).max() < 0.25
    few = repeatability(paths[:5], np.full((5, 22), 2.0))
    assert few == pytest.approx(few[0])  # too few frames to tell one from another
    assert few[0] < 0.25
    assert (repeatability(paths[:3], np.full((3, 22), 2.0)) == 1.0).all()


def test_smoothing_keeps_gaps_slow_curves_and_short_runs():
    times = np.arange(20.0)
    values = np.stack([times**2, np.where(times == 9, np.nan, 5.0)], axis=1)
    noisy = values + np.random.default_rng(5).normal(0, 1, values.shape)
    curves = smoothed(values)
    assert curves[:, 0] == pytest.approx(values[:, 0])
    assert np.flatnonzero(np.isnan(curves[:, 1])).tolist() == [9]
    assert np.nanstd(smoothed(noisy)[:, 1]) < 0.8 * np.nanstd(noisy[:, 1])
    assert smoothed(noisy[:3]) == pytest.approx(noisy[:3])


def test_the_wrist_alone_moves_when_the_elbow_bends():
    seen = in_trunk_frame(carried(bent_elbow(np.linspace(0, 80, 9)), 2.0, 1.0), SPREAD, SCHEMA)
    moved = np.linalg.norm(seen.positions[-1] - seen.positions[0], axis=1)
    assert moved[LEFT_WRIST] > 5
    assert np.delete(moved, LEFT_WRIST) == pytest.approx(0.0, abs=1e-6)
