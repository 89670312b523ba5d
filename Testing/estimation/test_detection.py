"""Whether there is a fetus: the score over the views, and the size of the body."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from FetusMapV2Lib.anatomy.body_frame import BodyFrame
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.estimation.detection import (
    PresenceRule,
    PresenceThresholds,
    detection_score_of,
    grade_presence,
)
from FetusMapV2Lib.estimation.estimate import ViewPrediction


def view(trunk_mass: float = 0.9, limb_mass: float = 0.85, length_mm: float | None = 60.0) -> ViewPrediction:
    mass = np.full(22, limb_mass)
    mass[list(default_schema().rows("ht"))] = trunk_mass
    frame = None if length_mm is None else BodyFrame(np.zeros(3), np.eye(3), length_mm)
    return ViewPrediction("close", np.zeros((22, 3)), np.ones(22), mass, frame)


def test_the_score_is_the_geometric_mean_over_the_first_and_the_last_view() -> None:
    assert detection_score_of([view(0.4), view(0.1), view(0.9)]) == pytest.approx(0.6)
    assert detection_score_of([view(0.7)]) == pytest.approx(0.7)


def test_the_surroundings_count_in_place_of_a_large_whole() -> None:
    surroundings = replace(view(0.9), view="surroundings")
    assert detection_score_of([view(0.4), surroundings, view(0.1), view(0.9)]) == pytest.approx(0.9)
    assert detection_score_of([view(0.4), replace(surroundings, peak_mass=np.zeros(22)), view(0.9)]) == pytest.approx(
        0.6
    )


THRESHOLDS = PresenceThresholds(found=0.8, doubtful=0.75)


@pytest.mark.parametrize(
    ("score", "status"), [(0.749, "none"), (0.75, "doubtful"), (0.799, "doubtful"), (0.8, "found"), (math.nan, "none")]
)
def test_a_score_has_one_of_three_grades(score: float, status: str) -> None:
    grade, reason = grade_presence(replace(view(), view="whole"), score, THRESHOLDS)
    assert grade == status
    assert (reason == "") == (status == "found")


@pytest.mark.parametrize(
    ("score", "limbs", "status"),
    [(0.82, 0.7, "doubtful"), (0.82, 0.81, "doubtful"), (0.82, 0.83, "found"), (0.95, 0.7, "found")],
)
def test_a_head_and_a_trunk_without_limbs_are_doubtful(score: float, limbs: float, status: str) -> None:
    """Both together have to be 0.02 above the threshold, half each."""
    grade, reason = grade_presence(view(limb_mass=limbs), score, THRESHOLDS)
    assert grade == status
    assert ("neither arms nor legs" in reason) == (status == "doubtful")


def test_legs_outside_the_picture_leave_the_arms_to_go_by() -> None:
    mass = view().peak_mass.copy()
    mass[[*default_schema().rows("ll"), *default_schema().rows("rl")]] = 0.05
    assert grade_presence(replace(view(), peak_mass=mass), 0.9, THRESHOLDS)[0] == "found"


@pytest.mark.parametrize(
    ("trunk", "limbs", "status"),
    [
        (0.81, 0.81, "doubtful"),
        (0.79, 0.95, "none"),
        (0.92, 0.76, "doubtful"),  # all landmarks together stand out
        (0.92, 0.74, "none"),
        (0.79, 0.99, "none"),
    ],
)
def test_a_whole_body_in_the_close_view_is_doubtful_however_faint_the_volume(
    trunk: float, limbs: float, status: str
) -> None:
    seen = view(trunk, limbs)
    grade, reason = grade_presence(seen, 0.6, THRESHOLDS)
    assert grade == status and ("0.60, below the 0.75" in reason)
    assert grade_presence(replace(seen, view="whole"), 0.6, THRESHOLDS)[0] == "none"
    assert grade_presence(replace(seen, frame=None), 0.6, THRESHOLDS)[0] == "none"
    assert grade_presence(seen, 0.6, THRESHOLDS.with_rule(PresenceRule(0.8)))[0] == "none"


def test_the_reason_names_the_score_and_the_threshold_that_it_misses() -> None:
    assert "0.77, below the 0.80 from which" in grade_presence(view(), 0.77, THRESHOLDS)[1]
    assert "0.54, below the 0.75 that" in grade_presence(view(limb_mass=0.3), 0.54, THRESHOLDS)[1]
    assert "0.799, below the 0.800 from which" in grade_presence(view(), 0.7994, THRESHOLDS)[1]


@pytest.mark.parametrize(
    ("length_mm", "found"), [(14.9, False), (15.0, True), (140.0, True), (140.1, False), (None, False)]
)
def test_a_fetus_of_10_to_15_weeks_is_15_to_140_mm_long(length_mm: float | None, found: bool) -> None:
    assert (grade_presence(view(length_mm=length_mm), 0.9, THRESHOLDS)[0] == "found") == found


@pytest.mark.parametrize(("asked", "found", "doubtful"), [(None, 0.8, 0.75), (0.9, 0.9, 0.75), (0.6, 0.6, 0.6)])
def test_a_rule_may_set_another_threshold(asked: float | None, found: float, doubtful: float) -> None:
    assert THRESHOLDS.with_rule(PresenceRule(asked)) == PresenceThresholds(found, doubtful, asked is None)


def test_a_score_that_the_user_chose_counts_whatever_the_limbs_are() -> None:
    headlike = view(limb_mass=0.3)
    assert grade_presence(headlike, 0.82, THRESHOLDS)[0] == "doubtful"
    assert grade_presence(headlike, 0.82, THRESHOLDS.with_rule(PresenceRule(0.8)))[0] == "found"


def test_a_body_that_only_the_turned_volume_shows_is_doubtful_at_best() -> None:
    grade, reason = grade_presence(view(), 0.9, THRESHOLDS, turned=True)
    assert grade == "doubtful" and "only when turned" in reason
    assert grade_presence(view(), 0.6, THRESHOLDS, turned=True)[0] == grade_presence(view(), 0.6, THRESHOLDS)[0]
    assert grade_presence(view(), 0.9, THRESHOLDS.with_rule(PresenceRule(0.8)), turned=True)[0] == "found"


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan])
def test_a_threshold_is_a_score(threshold: float) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        PresenceRule(threshold)
