"""The rows of the movement table."""

from __future__ import annotations

import numpy as np
from anatomy.moving_bodies import SCHEMA, bent_elbow

from FetusMapV2Lib.anatomy.movement import Movement, analyse_movement
from FetusMapV2Lib.presenting.movement_rows import frame_text, movement_rows


def bending(times: np.ndarray | None) -> Movement:
    """A left elbow that bends by 20 degrees from frame to frame."""
    frames = bent_elbow(20.0 * np.arange(6))
    return analyse_movement(frames, SCHEMA, times, np.full(frames.shape[:2], 2.0))


def test_the_part_that_moves_has_periods_and_a_range() -> None:
    rows = {row.name: row for row in movement_rows(bending(0.25 * np.arange(6)), 2)}
    arm = rows["Left arm"]
    assert arm.moves and arm.now.endswith("mm/s") and arm.whole.startswith("up to ") and arm.periods.endswith(" s")
    assert arm.tip.startswith("Speed relative to the trunk. Noise: ")
    activity = rows["Activity"]
    assert activity.moves and activity.now == "Arm alone" and activity.whole.endswith(" % active")
    assert rows["Arm alone"].whole == "1 times" and rows["Arm alone"].periods.endswith(" s")
    assert not any(row.moves for row in rows.values() if row not in (arm, activity))
    assert "±" in rows["Left elbow flexion"].now


def test_without_times_speeds_and_periods_are_in_frames() -> None:
    movement = bending(None)
    (arm,) = (row for row in movement_rows(movement, 2) if row.name == "Left arm")
    assert arm.now.endswith("mm/frame") and arm.periods.startswith("frames ")
    assert frame_text(movement, 2, 6) == "Frame 3 of 6"
    assert frame_text(bending(0.25 * np.arange(6)), 2, 6) == "Frame 3 of 6, 0.50 s"


def test_without_a_movement_there_are_no_rows() -> None:
    assert movement_rows(None, 0) == []
