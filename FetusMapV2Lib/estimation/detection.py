"""Whether a search has found a fetus: found, doubtful or none. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.estimation.estimate import Status, ViewPrediction

#: A crown-rump length outside this range is no fetus of 10-15 weeks, whatever the heatmaps say.
PLAUSIBLE_LENGTH_MM = (15.0, 140.0)
#: By so much the score and the mass of the limbs together, half each, have to be above the threshold: a head alone may
#: reach it with something that the network takes for limbs.
_LIMBS_ABOVE = 0.02
#: All landmarks together stand out in a close view if their mean mass is this much above the threshold: that makes two
#: of 230 volumes without a fetus doubtful, and four of six with one that were not shown (docs/accuracy.md).
_ALL_ABOVE = 0.03
ONE_GREY = "No fetus found: the whole volume has one and the same grey."


@dataclass(frozen=True)
class PresenceRule:
    """From which detection score a fetus counts as found, and what becomes of the other volumes.

    Attributes:
        threshold: score from which a fetus is found, 0-1; None = that of the model.
        accept_doubtful: whether a doubtful fetus counts as found; a warning stays.
        show_seen: whether what the network saw is shown, as doubtful, where no fetus was found.

    Raises:
        UserError: the threshold is no score.
    """

    threshold: float | None = None
    accept_doubtful: bool = False
    show_seen: bool = False

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise UserError(
                "a presence threshold lies between 0 and 1",
                where=f"{self.threshold:g}",
                remedy="Leave it out for that of the model",
            )


#: What holds if nobody asks for anything else.
MODELS_RULE = PresenceRule()


@dataclass(frozen=True)
class PresenceThresholds:
    """Detection scores from which a fetus is found, and from which it is doubtful; lower ones are none.

    Attributes:
        found, doubtful: the scores.
        limbs_count: whether arms or legs have to stand out as well for a fetus to be found, a body that only the
            turned volume shows is doubtful, and with all of a body in the close view it is doubtful at least; not where
            the user chose the score.
    """

    found: float
    doubtful: float
    limbs_count: bool = True

    def with_rule(self, rule: PresenceRule) -> PresenceThresholds:
        """The thresholds where a rule may set another one; no score is doubtful that the rule calls found."""
        found = self.found if rule.threshold is None else rule.threshold
        return PresenceThresholds(found, min(found, self.doubtful), self.limbs_count and rule.threshold is None)


def detection_score_of(views: Sequence[ViewPrediction]) -> float:
    """Probability mass around head and trunk, 0-1: the geometric mean over the first and the last view.

    A close view of something else may look like a body; the first view, of the whole volume, then has shown none. In
    a large volume a body is small, and its surroundings, where they were shown, count in place of the whole.
    """
    first = max(torso_mass(view) for view in (views[0], *views) if view is views[0] or view.view == "surroundings")
    return math.sqrt(first * torso_mass(views[-1]))


def torso_mass(view: ViewPrediction) -> float:
    """Probability mass around head and trunk in a view, 0-1; NaN where the network gave no numbers."""
    mass = float(view.peak_mass[list(default_schema().rows("ht"))].mean())
    return max(mass, 0.0)


def limb_mass(view: ViewPrediction) -> float:
    """Probability mass around arms or legs in a view, whichever stand out more, 0-1: a body may be shown in part."""
    schema = default_schema()
    arms, legs = ([*schema.rows(f"l{limb}"), *schema.rows(f"r{limb}")] for limb in "al")
    return max(float(view.peak_mass[rows].mean()) for rows in (arms, legs))


def shows_whole_body(view: ViewPrediction, least: float) -> bool:
    """Whether a close view shows all of a body: head and trunk with this mass or more, and the limbs together as well.

    Limbs of a smaller mass do if all landmarks together are clearly above it: one that is hidden hides no body.
    """
    limbs = [row for limb in ("la", "ra", "ll", "rl") for row in default_schema().rows(limb)]
    as_clear = float(view.peak_mass[limbs].mean()) >= least or view.mean_peak_mass >= least + _ALL_ABOVE
    return view.view == "close" and torso_mass(view) >= least and as_clear


def grade_presence(
    view: ViewPrediction,
    detection_score: float,
    thresholds: PresenceThresholds,
    turned: bool = False,
    one_grey: bool = False,
) -> tuple[Status, str]:
    """The grade of presence and why it is not "found", one sentence with the score and the threshold.

    What looks like head and trunk may be a head alone, a spine or an organ: with arms and legs so faint that their mass
    and the score, half each, are not well above the threshold together, it is doubtful. And a body that the whole
    volume hardly shows may stand out when it is looked at closely, limbs and all: then it is doubtful, not none. What
    only the turned volume shows is doubtful as well: something else may look like a body, looked at often enough. Where
    nothing is to be seen, a network may be as sure of a body as anywhere.

    Args:
        view: the last one.
        detection_score: of all views.
        thresholds: that hold for this volume.
        turned: whether the body was seen clearly in the turned volume only.
        one_grey: whether the volume has one and the same grey throughout.
    """
    if one_grey:
        return "none", ONE_GREY
    faint = not detection_score >= thresholds.doubtful
    if faint and not (thresholds.limbs_count and shows_whole_body(view, thresholds.found)):
        return "none", f"No fetus found: {_below(detection_score, thresholds.doubtful)} that this model needs."
    low, high = PLAUSIBLE_LENGTH_MM
    if view.frame is None or not low <= view.frame.length_mm <= high:
        return "none", "No fetus found: the landmarks do not make up a body of 10-15 weeks."
    if faint:
        return (
            "doubtful",
            "It is doubtful whether this is a fetus: a close view shows all of a body, but with the whole volume "
            f"{_below(detection_score, thresholds.doubtful)} that this model needs; check every landmark.",
        )
    if detection_score < thresholds.found:
        return (
            "doubtful",
            f"It is doubtful whether this is a fetus: {_below(detection_score, thresholds.found)} from which a fetus "
            "counts as found; check every landmark.",
        )
    limbs = limb_mass(view)
    if thresholds.limbs_count and (detection_score + limbs) / 2 < thresholds.found + _LIMBS_ABOVE:
        return (
            "doubtful",
            f"It is doubtful whether this is a fetus: head and trunk stand out with a score of {detection_score:.2f}, "
            f"but neither arms nor legs do ({limbs:.2f}); check every landmark.",
        )
    if thresholds.limbs_count and turned:
        return (
            "doubtful",
            "It is doubtful whether this is a fetus, and how it lies: the whole volume shows it only when turned; "
            "check every landmark.",
        )
    return "found", ""


def _below(score: float, threshold: float) -> str:
    """The score and the threshold that it does not reach, with as many decimals as show the difference."""
    digits = next((digits for digits in (2, 3, 4) if f"{score:.{digits}f}" != f"{threshold:.{digits}f}"), 6)
    return f"head and trunk stand out with a score of {score:.{digits}f}, below the {threshold:.{digits}f}"
