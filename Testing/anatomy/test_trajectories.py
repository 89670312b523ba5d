"""Paths in the frame of the trunk, velocities with their errors, repeatability, and smoothed curves."""

from __future__ import annotations

import numpy as np
import pytest
import scipy
from anatomy.moving_bodies import LEFT_WRIST, SCHEMA, bent_elbow, carried
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.registration import register
from FetusMapV2Lib.anatomy.trajectories import (
    in_trunk_frame,
    known_radii,
    repeatability,
    smoothed,
    trunk_rows,
    turning_speed,
    velocities,
)

RESTING = bent_elbow(np.zeros(9))
SPREAD = np.full(RESTING.shape[:2], 0.5)
TRUNK = list(trunk_rows(SCHEMA))


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


def irregular(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames with errors of different sizes, an outlier and missing landmarks, and their standard deviations."""
    random = np.random.default_rng(seed)
    spread = random.uniform(0.3, 1.5, (6, 22))
    frames = carried(bent_elbow(np.linspace(0, 40, 6)), 5.0, 3.0) + random.normal(size=(6, 22, 3)) * spread[..., None]
    frames[2, TRUNK[1]] += 6.0
    frames[1, [TRUNK[0], TRUNK[4], LEFT_WRIST]] = np.nan
    frames[4, TRUNK[3:]] = np.nan
    return frames, spread


@pytest.mark.parametrize("seed", [1, 2])
def test_the_trunk_frame_is_that_of_robust_fits_to_the_mean_trunk(seed):
    frames, spread = irregular(seed)
    trunks = frames[:, TRUNK]
    mean = trunks[0]  # the first of the most complete ones
    for _ in range(3):
        mean = np.nanmean([register(trunk, mean, scale=False).apply(trunk) for trunk in trunks], axis=0)
    found = in_trunk_frame(frames, spread, SCHEMA)
    for frame, trunk in enumerate(trunks):
        trust = 1.0 / spread[frame, TRUNK] ** 2
        fit = register(trunk, mean, weights=trust, scale=False)
        for _ in range(3):
            residuals = np.linalg.norm(np.nan_to_num(fit.apply(trunk) - mean), axis=1)
            fit = register(trunk, mean, weights=trust / (1 + (residuals / 2.0) ** 2), scale=False)
        np.testing.assert_allclose(found.positions[frame], fit.apply(frames[frame]), atol=1e-9)
        np.testing.assert_allclose(found.turns[frame], fit.rotation, atol=1e-9)
        weights = np.where(np.isfinite(trunk).all(axis=1), trust, 0.0)
        aligned = np.nan_to_num(found.positions[frame])
        middle = weights @ aligned[TRUNK] / weights.sum()
        squares = ((aligned - middle) ** 2).sum(axis=1)
        fit_variance = 1 / weights.sum() + squares / (weights @ squares[TRUNK])
        present = np.isfinite(frames[frame]).all(axis=1)
        expected = np.sqrt(spread[frame] ** 2 + fit_variance)
        np.testing.assert_allclose(found.spread[frame, present], expected[present], rtol=1e-9)


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
    assert all(np.isnan(found).all() for found in velocities(alone, times, np.full((6, 22), 0.7)))


def test_velocity_errors_are_those_of_repeated_trials():
    random = np.random.default_rng(2)
    times, spread = np.arange(7) * 0.4, np.tile(random.uniform(0.3, 1.0, (7, 1)), (1, 4000))
    found, errors = velocities(random.normal(size=(7, 4000, 3)) * spread[..., None], times, spread)
    for frame in (0, 1, 3):
        assert found[frame].std() == pytest.approx(errors[frame, 0], rel=0.05)


def test_the_velocity_is_the_slope_of_a_weighted_line_through_five_frames():
    random = np.random.default_rng(6)
    times = np.cumsum(random.uniform(0.2, 1.0, 9))
    paths, spread = random.normal(0, 3, (9, 2, 3)), random.uniform(0.2, 2.0, (9, 2))
    paths[5, 1] = np.nan
    found, errors = velocities(paths, times, spread)
    for frame, row in ((0, 0), (1, 0), (4, 0), (4, 1), (8, 1)):
        window = np.arange(max(frame - 2, 0), min(frame + 3, 9))
        window = window[np.isfinite(paths[window, row, 0])]
        slope = np.polyfit(times[window], paths[window, row], 1, w=1 / spread[window, row])[0]
        np.testing.assert_allclose(found[frame, row], slope, atol=1e-9)
        weights = 1 / spread[window, row] ** 2
        moments = times[window] - np.average(times[window], weights=weights)
        assert errors[frame, row] == pytest.approx((weights @ moments**2) ** -0.5)


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


def test_repeatability_is_the_larger_of_two_medians_of_second_differences():
    random = np.random.default_rng(7)
    spread = random.uniform(0.5, 2.0, (9, 22))
    paths = random.normal(0, 0.5, (9, 22, 3)) * spread[..., None] * np.linspace(0.2, 1.2, 22)[:, None]
    paths[3:6, 20] = np.nan
    shares = np.full((7, 22), np.nan)
    for frame, row in np.ndindex(7, 22):
        change = paths[frame, row] - 2 * paths[frame + 1, row] + paths[frame + 2, row]
        variance = spread[frame, row] ** 2 + 4 * spread[frame + 1, row] ** 2 + spread[frame + 2, row] ** 2
        shares[frame, row] = np.linalg.norm(change) / np.sqrt(variance * scipy.stats.chi2(3).median())
    overall = np.nanmedian(shares)
    own = np.array([np.nanmedian(one) if np.isfinite(one).sum() >= 5 else 0.0 for one in shares.T])
    np.testing.assert_allclose(repeatability(paths, spread), np.clip(np.maximum(own, overall), 0.05, 1.0), rtol=2e-4)
    assert own[20] == 0.0 and (own > overall).any() and (own < overall).any()


def test_repeatability_has_a_lower_limit_and_needs_forty_values():
    still = np.zeros((5, 22, 3))
    assert repeatability(still, np.ones((5, 22))) == pytest.approx(0.05)
    assert repeatability(still[:, :14], np.ones((5, 14))) == pytest.approx(0.05)  # 42 values
    assert repeatability(still[:, :13], np.ones((5, 13))) == pytest.approx(1.0)  # 39 values
    assert repeatability(still[:4, :20], np.ones((4, 20))) == pytest.approx(0.05)  # 40 values


def test_radii_are_completed_and_have_a_lower_limit():
    positions = np.zeros((3, 22, 3))
    radii = np.full((3, 22), 2.0)
    radii[:, 1], radii[:, 2], radii[:, 3] = [1.0, np.nan, 4.0], np.nan, [0.0, 0.1, 0.3]
    found = known_radii(radii, positions)
    assert found[:, :4].T.tolist() == [[2.0] * 3, [1.0, 2.5, 4.0], [3.0] * 3, [0.1, 0.1, 0.3]]
    assert (known_radii(None, positions) == 3.0).all()


def test_the_turning_speed_is_the_slope_of_the_turns_at_uneven_times_and_beside_gaps():
    times = np.array([0.0, 0.3, 0.4, 1.0, 1.2, 2.0])
    turns = Rotation.from_rotvec(times[:, None] * [0.0, 12.0, 5.0], degrees=True).as_matrix()
    turns[3] = np.nan
    found = turning_speed(turns, times)
    assert np.isnan(found[3]) and np.delete(found, 3) == pytest.approx(13.0)
    alone = np.full((3, 3, 3), np.nan)
    alone[1] = np.eye(3)
    assert np.isnan(turning_speed(alone, times[:3])).all()


def test_curves_are_smoothed_by_parabolas_through_five_frames():
    values = np.random.default_rng(8).normal(size=9)
    inner = smoothed(values)[2:-2]
    fits = [np.polyval(np.polyfit(np.arange(-2, 3), values[i : i + 5], 2), 0) for i in range(5)]
    np.testing.assert_allclose(inner, fits)
    assert (smoothed(values[:5]) != values[:5]).any() and (smoothed(values[:4]) == values[:4]).all()


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
