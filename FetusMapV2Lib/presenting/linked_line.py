"""The line of a result with links to the landmarks that it is about, and what it says where there is no result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from FetusMapV2Lib.anatomy.measurements import Measurements
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.result_line import SIGNS, LineGrade, ResultLine, result_line
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.presenting.translation import translator

_ = translator(__name__)
#: Translates the texts of the line itself.
_of_line = translator(result_line.__module__)

_SEPARATOR = " · "
_TONES: dict[LineGrade, Tone] = {"fine": Tone.SUCCESS, "review": Tone.WARNING, "doubtful": Tone.WARNING}


@dataclass(frozen=True)
class LinePart:
    """One piece of the line.

    Attributes:
        text: what it says.
        rows: the landmarks that it is about, in the order of the list; a user interface makes it a link to them.
        tip: more about it, such as the names of these landmarks.
    """

    text: str
    rows: tuple[int, ...] = ()
    tip: str = ""


@dataclass(frozen=True)
class LinkedLine:
    """The line, its sign and its tone.

    Attributes:
        sign: says the same as the colour of the tone.
        tone: a success, a warning if something needs a look, a finding if there is no fetus, a note before a result.
        parts: the pieces of the line.
    """

    sign: str
    tone: Tone
    parts: tuple[LinePart, ...]

    @property
    def text(self) -> str:
        """The line with its sign, e.g. ``! CRL 53.2 ± 2.4 mm · 11w6d (± 6 d) · neutral · 2 doubtful``."""
        return f"{self.sign} {_SEPARATOR.join(part.text for part in self.parts)}"

    @property
    def tip(self) -> str:
        """What there is to say about the parts, one per line."""
        return "\n".join(part.tip for part in self.parts if part.tip)


def line_of_pose(pose: Pose, found: Measurements, *, outdated: bool = False) -> LinkedLine:
    """The line of a pose that is shown.

    Args:
        pose: RAS mm.
        found: everything derived from it.
        outdated: whether a newer estimate of the same volume found no fetus.
    """
    if not pose.present.any():
        return LinkedLine(Tone.FINDING.value, Tone.FINDING, (LinePart(_("No fetus: all landmarks are missing")),))
    line = result_line(pose, found, _of_line)
    earlier = LinePart(_("earlier pose"), tip=_("The newest estimate found no fetus."))
    parts = (*([earlier] if outdated else []), *_measured(pose, found, line), *_landmarks(pose, line))
    grade: LineGrade = "doubtful" if outdated else line.grade
    return LinkedLine(SIGNS[grade], _TONES[grade], parts)


def line_of_no_fetus() -> LinkedLine:
    """The line of a volume whose newest estimate found no fetus."""
    return LinkedLine(Tone.FINDING.value, Tone.FINDING, (LinePart(_("No fetus found")),))


def line_without_result(*, has_volume: bool) -> LinkedLine:
    """The line before an estimate.

    Args:
        has_volume: whether a volume is chosen.
    """
    text = _("No result yet: estimate the pose") if has_volume else _("No result yet: choose an ultrasound volume")
    return LinkedLine(Tone.NOTE.value, Tone.NOTE, (LinePart(text),))


def listed_rows(schema: Schema) -> list[int]:
    """The rows of all landmarks in the order of the list, group by group."""
    return [row for group in schema.groups for row in schema.rows(group)]


def next_row(rows: Sequence[int], current: int | None, schema: Schema) -> int | None:
    """The one of these rows that follows the current one in the list, which starts again at its end; None of none."""
    order = listed_rows(schema)
    start = order.index(current) + 1 if current is not None else 0
    return next((row for row in order[start:] + order[:start] if row in rows), None)


def _measured(pose: Pose, found: Measurements, line: ResultLine) -> list[LinePart]:
    """Length, age and posture; a length that is missing leads to the end that is missing."""
    ends = tuple(row for row in pose.schema.crl_rows if not pose.present[row])
    parts = [LinePart(line.crl, ends, _named(line.crl, ends, pose.schema))]
    if line.age:
        tip = _("The length is outside {0:g} to {1:g} mm, for which the formula was made.")
        tip = "" if found.dating.valid else tip.format(*found.dating.valid_range_mm)
        parts.append(LinePart(line.age, tip=tip))
    return [*parts, LinePart(line.posture)]


def _landmarks(pose: Pose, line: ResultLine) -> list[LinePart]:
    """The doubtful and the missing landmarks, each with a link; one part if the whole pose is doubtful."""
    order = listed_rows(pose.schema)
    # a landmark set by hand or confirmed has confidence 1: it stays a part of a doubtful pose, but needs no look
    settled = np.zeros(len(order), bool) if pose.confidence is None else pose.confidence == 1.0
    doubtful = tuple(row for row in order if pose.doubtful[row] and not settled[row])
    missing = tuple(row for row in order if not pose.present[row])
    if pose.doubt:
        return [LinePart(line.landmarks, doubtful, pose.doubt)]
    counted = ((_of_line("{0} doubtful"), doubtful), (_of_line("{0} missing"), missing))
    texts = [(text.format(len(rows)), rows) for text, rows in counted if rows]
    parts = [LinePart(text, rows, _named(text, rows, pose.schema)) for text, rows in texts]
    return parts or [LinePart(line.landmarks)]


def _named(text: str, rows: Sequence[int], schema: Schema) -> str:
    return f"{text}: {', '.join(schema.landmarks[row].name for row in rows)}" if rows else ""
