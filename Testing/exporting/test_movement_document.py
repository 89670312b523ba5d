"""The files of a movement: rest and the kinds of movement, per frame and counted."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
from anatomy.moving_bodies import SCHEMA, bent_elbow

from FetusMapV2Lib.anatomy.movement import Movement, analyse_movement
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.exporting.movement_document import movement_csv, movement_document


def estimate(points: np.ndarray) -> Estimate:
    return Estimate(
        pose=Pose(points), status="found", detection_score=0.9, reason="", model="m", device="cpu", device_reason="",
        timings={}, warnings=(), views=(),
    )  # fmt: skip


def an_arm_moves() -> tuple[Movement, list[Estimate]]:
    """Twelve frames at rest, six in which an elbow bends, eight at rest; none of the first two is known."""
    angles = np.concatenate([np.zeros(12), np.linspace(15, 90, 6), np.full(8, 90.0)])
    frames = bent_elbow(angles)
    frames[:2] = np.nan
    movement = analyse_movement(frames, SCHEMA, 0.25 * np.arange(len(frames)), np.full(frames.shape[:2], 2.0))
    return movement, [estimate(points) for points in frames]


def test_every_frame_says_whether_it_is_rest_or_which_movement():
    movement, estimates = an_arm_moves()
    kinds = [row["activity"] for row in csv.DictReader(io.StringIO(movement_csv(movement, estimates)))]
    assert kinds[:2] == ["", ""] and kinds[2:8] == ["rest"] * 6
    assert kinds[13:17] == ["arm"] * 4 and kinds[-4:] == ["rest"] * 4
    assert set(kinds) == {"", "rest", "arm"}


def test_the_document_counts_the_kinds():
    movement, estimates = an_arm_moves()
    activity = json.loads(json.dumps(movement_document(movement, estimates)))["activity"]
    assert activity["counts"] == {"arm": 1, "leg": 0, "trunk": 0, "jump": 0, "other": 0}
    (event,) = activity["events"]
    assert event["kind"] == "arm" and "left_arm" in event["parts"] and event["start"] < event["end"]
    assert 0 < activity["active_share"] < 1 and activity["longest_rest"] >= 1.5
    assert "Hata" in activity["note"]
