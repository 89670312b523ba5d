"""The one line that matters: length, age, posture and landmarks to review, with a grade and a sign for it.

Panel, browser and report show the same line; a user interface passes its translator, everything else shows English.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from FetusMapV2Lib.anatomy.measurements import Measurements
from FetusMapV2Lib.anatomy.plausibility import Check
from FetusMapV2Lib.anatomy.pose import Pose

LineGrade = Literal["fine", "review", "doubtful"]

#: A colour alone does not tell everybody something.
SIGNS: dict[LineGrade, str] = {"fine": "✓", "review": "!", "doubtful": "?"}
_SEPARATOR = " · "


@dataclass(frozen=True)
class ResultLine:
    """The line in parts.

    Attributes:
        crl: length with its 90 % interval.
        age: by the chosen formula, with its 90 % interval; empty without a length.
        posture: of the neck.
        landmarks: how many are doubtful or missing.
        grade: "fine"; "review" if a check, the age or a landmark deserves a look; "doubtful" if the fetus is.
    """

    crl: str
    age: str
    posture: str
    landmarks: str
    grade: LineGrade

    @property
    def text(self) -> str:
        """All parts, e.g. ``CRL 53.2 ± 2.4 mm · 11w6d (± 6 d) · neutral · 2 doubtful``."""
        return _SEPARATOR.join(filter(None, (self.crl, self.age, self.posture, self.landmarks)))

    @property
    def sign(self) -> str:
        """The grade as one character."""
        return SIGNS[self.grade]


def result_line(
    pose: Pose, found: Measurements, translate: Callable[[str], str] = str, *, quality: Sequence[Check] = ()
) -> ResultLine:
    """The line of a pose and its measurements.

    Args:
        pose: RAS mm.
        found: everything derived from it.
        translate: from the English texts to those that are shown.
        quality: the criteria of the image of the crown-rump length; a doubt about it asks for a look, too.
    """
    _ = translate
    doubtful, missing = int(pose.doubtful.sum()), int((~pose.present).sum())
    counts = [(doubtful, _("{0} doubtful")), (missing, _("{0} missing"))]
    landmarks = ", ".join(text.format(count) for count, text in counts if count) or _("all landmarks clear")
    if pose.doubt:
        landmarks = _("fetus doubtful")
    doubts = found.doubts or any(check.doubtful for check in quality)
    review = doubtful or missing or doubts or not found.dating.valid
    return ResultLine(
        crl=_crl(found, _),
        age=_age(found, _),
        posture=_posture(found, _),
        landmarks=landmarks,
        grade="doubtful" if pose.doubt else "review" if review else "fine",
    )


def _crl(found: Measurements, _: Callable[[str], str]) -> str:
    value, uncertainty = found.crl.value_mm, found.crl.uncertainty_mm
    if not math.isfinite(value):
        return _("CRL missing")
    if uncertainty is None:
        return _("CRL {0:.1f} mm").format(value)
    return _("CRL {0:.1f} ± {1:.1f} mm").format(value, uncertainty)


def _age(found: Measurements, _: Callable[[str], str]) -> str:
    dating = found.dating
    return _("{0} (± {1:.0f} d)").format(dating.weeks_text, dating.combined_days) if dating.weeks_text else ""


def _posture(found: Measurements, _: Callable[[str], str]) -> str:
    neck = next(check for check in found.checks if check.key == "neck_posture")
    if neck.verdict == "unknown":
        return _("neck unknown")
    texts = {"low": _("neck extended"), "high": _("neck flexed"), "": _("neutral")}
    perhaps = {"low": _("neck perhaps extended"), "high": _("neck perhaps flexed"), "": ""}
    return perhaps[neck.beyond] if neck.verdict == "borderline" else texts[neck.beyond]
