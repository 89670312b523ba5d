"""Sequences: searched near the previous pose, found again when lost, sides settled, progress, cancelling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from anatomy.moving_bodies import bent_elbow
from cli.synthetic_balls import ball_engine, ball_volume
from imaging.samples import oblique

from FetusMapV2Lib.anatomy.laterality import resolve_sides
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import Cancelled, InputError
from FetusMapV2Lib.core.jobs import Job
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.requests import EstimateRequest
from FetusMapV2Lib.estimation.sequence import (
    EXCHANGED,
    estimate_sequence,
    movement_of,
    sequence_job,
    with_tracked_sides,
)
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.models.calibration import uncalibrated

SCHEMA = default_schema()
CLOSE_MM = 1.8


@pytest.fixture(scope="module")
def engine() -> PoseEngine:
    """Reads balls, from afar and closer; without balls there is no fetus."""
    calibration = replace(uncalibrated(), detection_threshold=0.2)
    return ball_engine(("whole", "close"), calibration, input_size=(112, 96, 96))


@pytest.fixture(scope="module")
def first(engine: PoseEngine) -> tuple[Estimate, np.ndarray]:
    volume, truth = ball_volume()
    return engine.estimate(volume), truth


def views(estimate: Estimate) -> list[str]:
    return [one.view for one in estimate.views]


def apart(estimate: Estimate, truth: np.ndarray) -> float:
    return float(np.linalg.norm(estimate.pose.positions - truth, axis=1).max())


# --- one frame after another


def test_a_body_that_lies_elsewhere_is_searched_in_the_whole_volume(engine, first):
    volume, truth = ball_volume(rotation=oblique((120.0, 20.0, 75.0)))
    again = engine.estimate(volume, before=first[0])
    assert views(again)[0] == "whole"
    assert again.found and apart(again, truth) < CLOSE_MM


def test_a_model_without_close_views_always_sees_the_whole_volume(first):
    assert views(ball_engine().estimate(ball_volume()[0], before=first[0])) == ["whole"]


# --- whole sequences


def test_a_moving_body_is_searched_near_its_previous_pose_and_followed(engine):
    angles = [(0.0, 0.0, 0.0), (2.0, -1.5, 2.5), (18.0, -12.0, 14.0)]
    frames, truths = zip(*(ball_volume(rotation=oblique(turn)) for turn in angles), strict=True)
    seen: list[tuple[float, str]] = []
    estimates = estimate_sequence(engine, frames, on_progress=lambda fraction, stage: seen.append((fraction, stage)))
    assert views(estimates[0])[0] == "whole"
    assert views(estimates[1]) == ["close"]  # a little movement takes a single view
    assert set(views(estimates[2])) == {"close"} and len(estimates[2].views) > 1
    assert max(apart(estimate, truth) for estimate, truth in zip(estimates, truths, strict=True)) < CLOSE_MM
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert {stage.split(":")[0] for _, stage in seen} == {"frame 1 of 3", "frame 2 of 3", "frame 3 of 3", "done"}


def test_a_frame_without_a_fetus_is_an_answer_and_the_next_is_searched_near_the_pose_before(engine, monkeypatch):
    monkeypatch.setattr("FetusMapV2Lib.estimation.body_search.MAXIMUM_HYPOTHESES", 1)  # an empty volume takes less time
    volume, truth = ball_volume()
    empty = volume.with_(array=np.zeros_like(volume.array))
    estimates = estimate_sequence(engine, [volume, empty, volume])
    assert [estimate.found for estimate in estimates] == [True, False, True]
    assert views(estimates[1])[0] == "whole"  # a body that is gone is searched everywhere
    assert np.isnan(estimates[1].pose.positions).all()
    assert views(estimates[2]) == ["close"] and apart(estimates[2], truth) < CLOSE_MM
    movement = movement_of([estimate.pose for estimate in estimates])
    assert np.isnan(movement.angles[1]).all() and np.isfinite(movement.angles[[0, 2]]).all()


class Script:
    """An engine that answers with given poses, in several steps, and keeps what it was asked."""

    def __init__(self, poses: Sequence[np.ndarray]) -> None:
        self.left = list(poses)
        self.asked: list[EstimateRequest] = []
        self.waits = 0

    def close(self) -> None:
        """See `Engine`."""

    def submit(self, request, on_progress=None, should_cancel=None):
        return Job(self._answer(request, on_progress))

    def _answer(self, request, on_progress):
        self.asked.append(request)
        yield from [None] * self.waits
        positions = self.left.pop(0)
        if on_progress is not None:
            on_progress(0.5, "looking")
        positions, sides = resolve_sides(positions, SCHEMA)
        radius = np.arange(22.0) + 1
        estimate = Estimate.given(Pose(positions, np.full(22, 0.9), radius, sides), "script")
        return estimate if np.isfinite(positions).any() else replace(estimate, status="none")


VOLUME = Volume(np.zeros((4, 4, 4), np.uint8), np.eye(4), "nothing")


def test_the_frame_before_is_the_last_in_which_there_was_a_fetus_and_options_reach_every_frame():
    poses = [*bent_elbow(np.zeros(4))]
    poses[1] = np.full((22, 3), np.nan)
    script = Script(poses)
    estimate_sequence(script, [VOLUME] * 4, refine="prior")
    before = [request.before for request in script.asked]
    assert before[0] is None and before[1] is before[2]
    assert before[1] is not None and before[3] is not before[1]
    assert [request.refine for request in script.asked] == ["prior"] * 4


def head_from_behind(frame: np.ndarray) -> np.ndarray:
    """Nasal bone and hind neck confused: Eq. 7 then exchanges the arms."""
    _, front, back = SCHEMA.head_frame_rows
    frame = frame.copy()
    frame[[front, back]] = frame[[back, front]]
    return frame


def test_arms_that_change_sides_in_one_frame_are_mended_with_all_that_belongs_to_them():
    truth = bent_elbow(np.linspace(0, 40, 8))
    given = [head_from_behind(frame) if number == 3 else frame for number, frame in enumerate(truth)]
    estimates = estimate_sequence(Script(given), [VOLUME] * 8)
    for number, estimate in enumerate(estimates):
        np.testing.assert_array_equal(estimate.pose.positions, given[number])
        assert estimate.pose.radius90_mm.tolist() == (np.arange(22.0) + 1)[_order(number == 3)].tolist()
        assert (EXCHANGED in estimate.warnings) == (number == 3)
    third = estimates[3].pose.laterality
    assert third is not None and not third.arms_swapped  # by geometry, and back again
    assert third.arms_confidence == estimates[0].pose.laterality.arms_confidence < 0.8


def _order(arms: bool) -> list[int]:
    """The stand-in numbers radii after sides were resolved; the mended frame exchanges them."""
    limbs = {row for group in ("la", "ra") for row in SCHEMA.rows(group)} if arms else set()
    return [int(SCHEMA.mirror_rows[row]) if row in limbs else row for row in range(22)]


def test_frames_without_any_fetus_stay_as_they_are():
    estimates = estimate_sequence(Script([np.full((22, 3), np.nan)] * 3), [VOLUME] * 3)
    assert not any(estimate.found for estimate in estimates)
    assert with_tracked_sides([]) == ()


def test_cancelling_ends_it_between_and_within_frames():
    script = Script([*bent_elbow(np.zeros(5))])
    with pytest.raises(Cancelled):
        estimate_sequence(script, [VOLUME] * 5, should_cancel=lambda: len(script.left) == 3)
    assert len(script.left) == 3


class Broken(Sequence):
    """Frames of which some cannot be read."""

    def __init__(self, count: int, bad: set[int]) -> None:
        self.count, self.bad = count, bad

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        if number in self.bad:
            raise InputError("all voxels have the same value", where="m.seq.nrrd")
        return VOLUME


def test_its_job_waits_whenever_that_of_the_engine_does():
    poses = [*bent_elbow(np.zeros(2))]
    script, waits = Script(poses), 0
    script.waits = 3
    job = sequence_job(script, [VOLUME] * 2)
    while not job.step():
        waits += 1
    assert waits == 2 * (3 + 1)
    estimates = job.result()
    assert [estimate.pose.positions.tolist() for estimate in estimates] == [pose.tolist() for pose in poses]


def test_a_frame_that_cannot_be_read_says_so_and_the_others_go_on():
    first, *_, last = estimate_sequence(Script([*bent_elbow(np.zeros(2))]), Broken(4, {1, 2}))
    assert first.found and last.found
    estimates = estimate_sequence(Script([*bent_elbow(np.zeros(2))]), Broken(3, {0}))
    assert [estimate.status for estimate in estimates] == ["unreadable", "found", "found"]
    assert "all voxels have the same value" in estimates[0].reason


def test_no_fetus_is_an_answer_of_an_engine_that_names_no_model_too():
    class Nameless(Script):
        def _answer(self, request, on_progress):
            return replace((yield from super()._answer(request, on_progress)), model="")

    estimates = estimate_sequence(Nameless([np.full((22, 3), np.nan)]), Broken(2, {0}))
    assert [estimate.status for estimate in estimates] == ["unreadable", "none"]


def test_a_sequence_of_which_no_frame_can_be_read_is_refused():
    with pytest.raises(InputError, match="same value"):
        estimate_sequence(Script([]), Broken(2, {0, 1}))
