"""Whether there is a fetus: the score over the views, and the size of the body."""

from __future__ import annotations

import numpy as np
import pytest

from FetusMapV2Lib.anatomy.body_frame import BodyFrame
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.estimation.detection import detection_score_of, reason_for_absence
from FetusMapV2Lib.estimation.estimate import ViewPrediction


def view(trunk_mass: float = 0.9, limb_mass: float = 0.1, length_mm: float | None = 60.0) -> ViewPrediction:
    mass = np.full(22, limb_mass)
    mass[list(default_schema().rows("ht"))] = trunk_mass
    frame = None if length_mm is None else BodyFrame(np.zeros(3), np.eye(3), length_mm)
    return ViewPrediction("close", np.zeros((22, 3)), np.ones(22), mass, frame)


def test_the_score_is_the_geometric_mean_over_the_first_and_the_last_view() -> None:
    assert detection_score_of([view(0.4), view(0.1), view(0.9)]) == pytest.approx(0.6)
    assert detection_score_of([view(0.7)]) == pytest.approx(0.7)


@pytest.mark.parametrize(("score", "found"), [(0.499, False), (0.5, True)])
def test_a_fetus_reaches_the_threshold(score: float, found: bool) -> None:
    assert (reason_for_absence(view(), score, 0.5) == "") == found


@pytest.mark.parametrize(
    ("length_mm", "found"), [(14.9, False), (15.0, True), (140.0, True), (140.1, False), (None, False)]
)
def test_a_fetus_of_10_to_15_weeks_is_15_to_140_mm_long(length_mm: float | None, found: bool) -> None:
    assert (reason_for_absence(view(length_mm=length_mm), 0.9, 0.5) == "") == found
