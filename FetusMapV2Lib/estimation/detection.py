"""Whether a search has found a fetus."""

from __future__ import annotations

import math
from collections.abc import Sequence

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.estimation.estimate import ViewPrediction

#: A crown-rump length outside this range is no fetus of 10-15 weeks, whatever the heatmaps say.
PLAUSIBLE_LENGTH_MM = (15.0, 140.0)


def detection_score_of(views: Sequence[ViewPrediction]) -> float:
    """Probability mass around head and trunk, 0-1: the geometric mean over the first and the last view.

    A close view of something else may look like a body; the first view, of the whole volume, then has shown none.
    """
    rows = list(default_schema().rows("ht"))
    first, last = (float(view.peak_mass[rows].mean()) for view in (views[0], views[-1]))
    return math.sqrt(max(first, 0.0) * max(last, 0.0))


def reason_for_absence(view: ViewPrediction, detection_score: float, threshold: float) -> str:
    """Why there is no fetus, one sentence; empty if there is one.

    Args:
        view: the last one.
        detection_score: of all views.
        threshold: score from which there is a fetus (`Calibration.detection_threshold`).
    """
    if detection_score < threshold:
        return (
            f"No fetus found: head and trunk stand out with a score of {detection_score:.2f}, "
            f"below the {threshold:.2f} that this model needs."
        )
    low, high = PLAUSIBLE_LENGTH_MM
    if view.frame is None or not low <= view.frame.length_mm <= high:
        return "No fetus found: the landmarks do not make up a body of 10-15 weeks."
    return ""
