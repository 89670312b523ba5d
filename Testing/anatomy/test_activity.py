"""Rest, activity and kinds of movement: simulated sequences of known kinds, and what cannot be told."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from benchmarks.movement_kinds import confusion, f1_scores, table

from FetusMapV2Lib.anatomy.activity import KINDS, Activity
from FetusMapV2Lib.anatomy.movement import analyse_movement
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.phantom.kinds_of_movement import MOVEMENT_FRAMES, REST_FRAMES, moving_poses, seen_with_errors

SCHEMA = default_schema()
INTERVAL_S = 0.25


def activity_of(positions: np.ndarray) -> Activity:
    times = INTERVAL_S * np.arange(len(positions))
    return analyse_movement(positions, SCHEMA, times, np.full(positions.shape[:2], 2.5)).activity


def test_kinds_are_told_apart_as_well_as_the_documents_say():
    counts = confusion(8, 0.35, first_seed=500)
    assert np.mean(list(f1_scores(counts).values())) >= 0.85
    assert sum(count for (true, _), count in counts.items() if true != "rest") == 64
    assert "Macro F1 0." in table(counts) or "Macro F1 1." in table(counts)


@pytest.mark.parametrize("kind", ["arm", "leg", "trunk", "jump"])
def test_one_movement_without_errors_is_one_event(kind):
    generator = np.random.default_rng(7)
    positions, (known,) = moving_poses(generator, [kind])
    activity = activity_of(seen_with_errors(generator, positions, 1.0, 0.1))
    assert activity.counts == {**dict.fromkeys(KINDS, 0), kind: 1}
    (event,) = activity.events
    assert event.first <= known.first + 1 and event.last >= known.last - 1
    assert event.start == INTERVAL_S * event.first and event.end == INTERVAL_S * event.last
    assert activity.active.sum() == event.last - event.first + 1
    assert activity.longest_rest >= INTERVAL_S * (REST_FRAMES[0] - 4)


def test_a_jump_in_any_direction_is_a_jump_and_the_volume_may_lie_anywhere():
    positions, _ = moving_poses(np.random.default_rng(3), ["jump"])
    positions = seen_with_errors(np.random.default_rng(4), positions, 1.0, 0.05)
    kinds = [activity_of(moved).counts["jump"] for moved in (positions, positions[..., [2, 0, 1]], positions + 300.0)]
    assert kinds == [1, 1, 1]


def test_who_rests_is_not_active():
    positions, _ = moving_poses(np.random.default_rng(5), [])
    still = np.repeat(positions[:1], 40, axis=0)
    activity = activity_of(seen_with_errors(np.random.default_rng(6), still))
    assert activity.active_share < 0.15
    assert activity_of(still).events == ()
    assert activity_of(still).longest_rest == pytest.approx(39 * INTERVAL_S)


def test_frames_without_a_fetus_are_neither_rest_nor_activity():
    positions, _ = moving_poses(np.random.default_rng(8), ["leg"])
    gone = positions.copy()
    gone[:4] = np.nan
    activity = activity_of(gone)
    assert not activity.known[:4].any() and not activity.active[:4].any()
    nobody = activity_of(np.full((6, 22, 3), np.nan))
    assert nobody.events == () and math.isnan(nobody.active_share) and math.isnan(nobody.longest_rest)


def test_events_do_not_overlap_and_lie_in_the_sequence():
    generator = np.random.default_rng(9)
    positions, known = moving_poses(generator, ["arm", "jump", "trunk", "leg", "arm"])
    activity = activity_of(seen_with_errors(generator, positions))
    assert all(before.last < after.first for before, after in itertools.pairwise(activity.events))
    assert all(0 <= event.first <= event.last < len(positions) for event in activity.events)
    lengths = [one.last - one.first + 1 for one in known]
    assert MOVEMENT_FRAMES[0] <= min(lengths) and max(lengths) <= MOVEMENT_FRAMES[1]
