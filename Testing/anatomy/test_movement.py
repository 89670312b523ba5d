"""Movement of a body that moves in a known way: who moves when, how fast, and what does not count as movement."""

from __future__ import annotations

import numpy as np
import pytest
from anatomy.moving_bodies import LEFT_ELBOW, LEFT_WRIST, SCHEMA, bent_elbow, carried, uneven_sequence

from FetusMapV2Lib.anatomy import movement as movement_module
from FetusMapV2Lib.anatomy.movement import analyse_movement
from FetusMapV2Lib.anatomy.trajectories import in_trunk_frame, known_radii, repeatability, velocities

REST, STEP_DEG = 8, 12.0
#: The elbow rests for 8 frames, bends by 12 degrees a frame for 8 frames, and rests again.
ANGLES = np.concatenate([np.zeros(REST), STEP_DEG * np.arange(1, 9), np.full(REST, STEP_DEG * 8)])
TIMES = 0.5 * np.arange(len(ANGLES))
RADII = np.full((len(ANGLES), 22), 2.5)


def noisy(frames: np.ndarray, spread_mm: float = 0.15, seed: int = 0) -> np.ndarray:
    """Frames whose landmark errors stay the same but for a small part."""
    random = np.random.default_rng(seed)
    return frames + random.normal(0, 1.0, (1, 22, 3)) + random.normal(0, spread_mm, frames.shape)


def parts(movement) -> list[str]:
    return [part.key for part in movement.part_list]


def test_only_the_arm_that_moves_moves_and_about_when_it_does():
    movement = analyse_movement(noisy(bent_elbow(ANGLES)), SCHEMA, TIMES, RADII)
    assert {period.part for period in movement.periods} == {"left_arm"}
    (period,) = movement.periods
    assert abs(period.first - (REST - 1)) <= 2 and abs(period.last - (REST + 8)) <= 2
    assert (period.start, period.end) == (TIMES[period.first], TIMES[period.last])
    speeds = movement.speeds[:, parts(movement).index("left_arm")]
    assert period.peak_speed == speeds[period.first : period.last + 1].max() == speeds.max()
    assert movement.moving[:, parts(movement).index("left_arm")].sum() == period.last - period.first + 1


def test_the_speed_is_that_of_the_mean_of_elbow_and_wrist_in_mm_per_second():
    frames = bent_elbow(ANGLES)
    movement = analyse_movement(frames, SCHEMA, TIMES, RADII)
    step = np.linalg.norm(frames[REST + 3, LEFT_WRIST] - frames[REST + 2, LEFT_WRIST]) / 0.5
    middle = movement.speeds[REST + 4, parts(movement).index("left_arm")]
    assert middle == pytest.approx(step / 2, rel=0.06)  # the elbow rests; the line cuts the arc a little short
    per_frame = analyse_movement(frames, SCHEMA, None, RADII)
    assert per_frame.time_unit == "frame" and movement.time_unit == "s"
    assert per_frame.speeds == pytest.approx(0.5 * movement.speeds)


def test_speeds_and_their_errors_at_uneven_times_and_radii_are_those_recorded():
    frames, radii, times = uneven_sequence()
    movement = analyse_movement(frames, SCHEMA, times, radii)
    speeds = [0.375352, 3.715341, 0.748879, 0.623120, 0.489996, 4.175582]
    noise = [0.911083, 0.913838, 0.660542, 0.980760, 0.676681, 0.530134]
    intervals = [20.45606, 31.218809, 57.439937, 6.837598, 30.611488, 39.746573, 53.933995, 34.572392, 44.877847]
    np.testing.assert_allclose(movement.speeds[3], speeds, atol=1e-6)
    np.testing.assert_allclose(movement.noise[3], noise, atol=1e-6)
    np.testing.assert_allclose(movement.angle_intervals[3], intervals, atol=1e-6)
    assert movement.turning[3] == pytest.approx(8.559565)


def test_speeds_do_not_depend_on_how_large_equal_radii_are():
    frames, radii, times = uneven_sequence()
    one, other = (analyse_movement(frames, SCHEMA, times, np.full_like(radii, radius)) for radius in (2.0, 40.0))
    np.testing.assert_allclose(one.speeds[:, :-1], other.speeds[:, :-1], rtol=1e-6)
    assert np.isfinite(other.noise).all()


def test_a_body_carried_and_turned_moves_as_a_whole_and_no_limb_does():
    frames = noisy(carried(bent_elbow(np.zeros(len(ANGLES))), 3.0, 1.5))
    movement = analyse_movement(frames, SCHEMA, TIMES, RADII)
    assert {period.part for period in movement.periods} == {"body"}
    assert np.median(movement.turning) == pytest.approx(6.0, rel=0.2)
    assert movement.moving[:, parts(movement).index("body")].all()


@pytest.mark.parametrize("seed", range(5))
def test_errors_that_repeat_badly_are_not_movement(seed):
    frames = noisy(bent_elbow(np.zeros(len(ANGLES))), 0.8, seed)
    assert analyse_movement(frames, SCHEMA, TIMES, RADII).moving.mean() < 0.03


def test_a_single_lost_landmark_in_one_frame_is_not_movement():
    frames = noisy(bent_elbow(np.zeros(len(ANGLES))))
    radii = RADII.copy()
    frames[10, LEFT_WRIST] += 15.0
    radii[10, LEFT_WRIST] = 20.0  # it is known to be doubtful
    assert not analyse_movement(frames, SCHEMA, TIMES, radii).periods


def test_missing_landmarks_and_frames_are_gaps():
    frames = noisy(bent_elbow(ANGLES))
    frames[REST + 3] = np.nan  # no fetus in this frame
    frames[2, [LEFT_ELBOW, LEFT_WRIST]] = np.nan
    movement = analyse_movement(frames, SCHEMA, TIMES, RADII)
    arm = parts(movement).index("left_arm")
    assert np.flatnonzero(np.isnan(movement.speeds[:, arm])).tolist() == [2, REST + 3]
    assert np.isnan(movement.angles[REST + 3]).all() and np.isnan(movement.turning[REST + 3])
    assert np.isfinite(np.delete(movement.speeds, [2, REST + 3], axis=0)).all()
    first, second = movement.periods_of("left_arm")
    assert first.last == REST + 2 and second.first == REST + 4


def test_a_wrist_placed_by_hand_takes_the_usual_radius():
    radii = RADII.copy()
    radii[:, 3] = [*np.full(12, 2.0), *np.full(12, 4.0)]
    radii[5, [3, LEFT_WRIST]] = np.nan
    filled = known_radii(radii, np.zeros((len(radii), 22, 3)))
    assert filled[5, 3] == 2.0 or filled[5, 3] == 4.0
    assert filled[5, LEFT_WRIST] == 2.5
    assert (known_radii(None, np.zeros((4, 22, 3))) == 3.0).all()
    assert np.isfinite(analyse_movement(bent_elbow(ANGLES), SCHEMA, TIMES, radii).noise).all()


def test_speeds_are_means_weighted_by_their_errors_and_periods_follow_the_thresholds():
    random = np.random.default_rng(3)
    radii = random.uniform(1.0, 6.0, (len(ANGLES), 22))
    frames = noisy(bent_elbow(ANGLES), 0.4, 3)
    frames[4, LEFT_WRIST] = np.nan
    movement = analyse_movement(frames, SCHEMA, TIMES, radii)
    sds = radii / 2.5002777
    trunk = in_trunk_frame(frames, sds, SCHEMA)
    in_body = velocities(trunk.positions, TIMES, trunk.spread * repeatability(trunk.positions, trunk.spread))
    in_world = velocities(frames, TIMES, sds * repeatability(frames, sds))
    found = []
    for column, part in enumerate(movement.part_list):
        speeds, errors = in_world if part.key == "body" else in_body
        moves, runs = False, []
        for frame in range(len(ANGLES)):
            rows = [row for row in part.rows if np.isfinite(errors[frame, row])]
            weights = errors[frame, rows] ** -2
            speed = np.average(np.linalg.norm(speeds[frame, rows], axis=1), weights=weights)
            noise = np.average(2.5002777 * errors[frame, rows], weights=weights)
            assert movement.speeds[frame, column] == pytest.approx(speed)
            assert movement.noise[frame, column] == pytest.approx(noise)
            before, moves = moves, speed >= (1.0 if moves else 2.0) * noise
            if moves:
                runs = [*runs[:-1], [*runs[-1], frame]] if before else [*runs, [frame]]
        runs = [run for run in runs if len(run) >= 2]
        assert np.flatnonzero(movement.moving[:, column]).tolist() == [frame for run in runs for frame in run]
        found += [(part.key, run[0], run[-1], TIMES[run[0]], TIMES[run[-1]]) for run in runs]
    assert [(one.part, one.first, one.last, one.start, one.end) for one in movement.periods] == found
    assert found


def test_a_period_has_two_frames_at_least_and_starts_at_twice_the_noise():
    noise = np.full(9, 1.0)
    for speeds, expected in (
        ([0, 1.9, 1.9, 0, 0, 0, 0, 0, 0], []),
        ([0, 2.0, 1.0, 0.9, 0, 0, 0, 0, 0], [1, 2]),
        ([0, 5.0, 0.9, 0, 0, 5.0, 0.9, 0, 0], []),
        ([3.0, 1.5, 1.5, np.nan, 1.5, 1.5, 0, 2.0, 1.0], [0, 1, 2, 7, 8]),
    ):
        assert np.flatnonzero(movement_module._moving(np.array(speeds), noise)).tolist() == expected


def test_a_movement_of_a_few_frames_or_of_none():
    for count in (1, 2, 4):
        movement = analyse_movement(bent_elbow(np.zeros(count)), SCHEMA)
        assert movement.speeds.shape == (count, 6) and not movement.periods
        assert np.isfinite(movement.angles).all()
    nobody = analyse_movement(np.full((4, 22, 3), np.nan), SCHEMA)
    assert np.isnan(nobody.speeds).all() and not nobody.periods


@pytest.mark.parametrize("times", [[0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 2.0, 1.0], [0.0, 1.0, np.nan]])
def test_times_must_rise(times):
    with pytest.raises(ValueError, match="times"):
        analyse_movement(bent_elbow(np.zeros(3)), SCHEMA, np.array(times))


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="positions"):
        analyse_movement(np.zeros((3, 5, 3)), SCHEMA)
    with pytest.raises(ValueError, match="radius90_mm"):
        analyse_movement(np.zeros((3, 22, 3)), SCHEMA, None, np.zeros((2, 22)))


def test_the_parts_are_those_of_the_schema():
    movement = analyse_movement(bent_elbow(np.zeros(2)), SCHEMA)
    assert parts(movement) == ["head", "left_arm", "right_arm", "left_leg", "right_leg", "body"]
    rows = {part.key: part.rows for part in movement.part_list}
    assert rows["left_arm"] == (LEFT_ELBOW, LEFT_WRIST)
    everything = [row for key in rows for row in rows[key]]
    assert sorted(everything) == list(range(SCHEMA.count))
