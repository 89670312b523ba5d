"""The landmarks of a pose as rows of text: confidence, state and definition."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from FetusMapV2Lib.anatomy.pose import DOUBTFUL_CONFIDENCE, shown_confidence
from FetusMapV2Lib.anatomy.schema import Landmark
from FetusMapV2Lib.presenting.translation import translator

if TYPE_CHECKING:
    from FetusMapV2Lib.scene.pose_snapshot import PoseSnapshot

_ = translator(__name__)

_NO_VALUE = "–"


@dataclass(frozen=True)
class LandmarkRow:
    """What the list shows of one landmark.

    Attributes:
        state: "estimated", "edited", "confirmed" or "missing".
        confidence: of the model; None if it does not apply (edited, confirmed, missing) or is unknown.
        radius90_mm: of the model; None if it does not apply (edited, missing) or is unknown.
        refined: moved by refinement and not by hand since.
        locked: protected from moves.
        of_doubtful_pose: of a pose of which it is doubtful whether it is a fetus.
    """

    state: str
    confidence: float | None = None
    radius90_mm: float | None = None
    refined: bool = False
    locked: bool = False
    of_doubtful_pose: bool = False

    @property
    def doubtful(self) -> bool:
        """Whether it is an estimate of a doubtful pose, or one below `DOUBTFUL_CONFIDENCE`."""
        if self.of_doubtful_pose and self.state == "estimated":
            return True
        return self.confidence is not None and self.confidence < DOUBTFUL_CONFIDENCE

    @property
    def set_by_hand(self) -> bool:
        """Whether refinement keeps it in place, see `LandmarkEditor.pinned`."""
        return self.state in ("edited", "confirmed") or (self.locked and self.state != "missing")

    def state_text(self) -> str:
        """The state in the user's language, e.g. "estimated, doubtful"."""
        names = {
            "estimated": _("estimated"),
            "edited": _("edited"),
            "confirmed": _("confirmed"),
            "missing": _("missing"),
        }
        marks = ((self.refined, _("refined")), (self.doubtful, _("doubtful")), (self.locked, _("locked")))
        return ", ".join([names[self.state], *(text for holds, text in marks if holds)])

    def confidence_text(self) -> str:
        """The confidence in per cent; a dash without one."""
        return _NO_VALUE if self.confidence is None else shown_confidence(self.confidence)


def landmark_rows(snapshot: PoseSnapshot) -> list[LandmarkRow]:
    """One row per landmark of a pose, in the order of its schema."""
    estimate = snapshot.provenance.named
    rows = zip(
        snapshot.states,
        estimate.confidence.tolist(),
        np.where(snapshot.moved, np.nan, estimate.radius90_mm).tolist(),
        snapshot.refined.tolist(),
        snapshot.locked.tolist(),
        strict=True,
    )
    return [
        LandmarkRow(
            state,
            _known(confidence) if state == "estimated" else None,
            _known(radius) if state != "missing" else None,
            refined and state == "estimated",
            locked,
            bool(snapshot.doubt),
        )
        for state, confidence, radius, refined, locked in rows
    ]


def definition_html(landmark: Landmark) -> str:
    """Name and definition of a landmark as HTML, and whether the definition is assumed."""
    text = f"<b>{escape(landmark.name)}.</b> {escape(landmark.definition)}"
    if landmark.assumed:
        text += " <i>" + escape(_("Assumed: the paper does not define this landmark.")) + "</i>"
    return text


def group_name(group: str) -> str:
    """The name of a group of landmarks in the user's language."""
    names = {
        "ht": _("Head and trunk"),
        "la": _("Left arm"),
        "ra": _("Right arm"),
        "ll": _("Left leg"),
        "rl": _("Right leg"),
    }
    return names.get(group, group)


def confidence_tip(row: LandmarkRow | None, landmark: Landmark) -> str:
    """The 90 % radius of a landmark; its definition as HTML if there is none."""
    if row is None or row.radius90_mm is None:
        return definition_html(landmark)
    return _("In 9 of 10 cases the landmark lies within {0:.1f} mm of this position.").format(row.radius90_mm)


def summary_text(rows: list[LandmarkRow]) -> str:
    """How many landmarks are doubtful, edited, confirmed and missing; empty without a pose."""
    if not rows:
        return ""
    counts = [
        (_("{0} doubtful"), sum(row.doubtful for row in rows)),
        (_("{0} edited"), sum(row.state == "edited" for row in rows)),
        (_("{0} confirmed"), sum(row.state == "confirmed" for row in rows)),
        (_("{0} missing"), sum(row.state == "missing" for row in rows)),
    ]
    return " · ".join(text.format(count) for text, count in counts)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
