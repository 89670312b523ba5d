"""The movement at one frame as rows of text: speeds and joint angles, their range over the sequence, and periods."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from FetusMapV2Lib.anatomy.activity import Event
from FetusMapV2Lib.anatomy.movement import Movement, Period
from FetusMapV2Lib.presenting.translation import translator

_ = translator(__name__)

_NO_VALUE = "–"


@dataclass(frozen=True)
class MovementRow:
    """One row of the table.

    Attributes:
        name: the part of the body, or the joint.
        now: speed or angle at the frame.
        whole: its range over the sequence.
        periods: when the part moves.
        tip: definition and noise.
        moves: whether the part moves at the frame.
    """

    name: str
    now: str = _NO_VALUE
    whole: str = _NO_VALUE
    periods: str = ""
    tip: str = ""
    moves: bool = False

    def cells(self) -> tuple[str, str, str, str]:
        """The texts of the columns."""
        return self.name, self.now, self.whole, self.periods


def movement_rows(movement: Movement | None, frame: int) -> list[MovementRow]:
    """Speeds, rotation and joint angles at a frame, counted from 0; empty without a movement."""
    if movement is None:
        return []
    speeds = [_speed_row(movement, number, frame) for number in range(len(movement.part_list))]
    angles = [_angle_row(movement, number, frame) for number in range(len(movement.angle_list))]
    return [*_activity_rows(movement, frame), *speeds, _turning_row(movement, frame), *angles]


def _activity_rows(movement: Movement, frame: int) -> list[MovementRow]:
    """Rest or activity, and each kind of movement that occurred with its count and times."""
    activity = movement.activity
    now = next((event for event in activity.events if event.first <= frame <= event.last), None)
    names = {
        "arm": _("Arm alone"),
        "leg": _("Leg alone"),
        "trunk": _("Trunk"),
        "jump": _("Jump"),
        "other": _("Several limbs or head"),
    }
    state = _NO_VALUE if not activity.known[frame] else _("rest") if now is None else names[now.kind]
    share = activity.active_share
    tip = _("Kinds of movement of the late first trimester after Hata; a moving probe may look like one of the trunk.")
    whole = _("{0:.0f} % active").format(100 * share) if math.isfinite(share) else _NO_VALUE
    longest = activity.longest_rest
    rest = _("longest rest {0:.1f} {1}").format(longest, _time_unit(movement)) if math.isfinite(longest) else ""
    rows = [MovementRow(_("Activity"), state, whole, rest, tip, now is not None)]
    for kind, count in activity.counts.items():
        if count:
            spans = "; ".join(_span(event, movement) for event in activity.events if event.kind == kind)
            rows.append(MovementRow(names[kind], whole=_("{0} times").format(count), periods=spans, tip=tip))
    return rows


def _speed_row(movement: Movement, number: int, frame: int) -> MovementRow:
    part = movement.part_list[number]
    values, unit = movement.speeds[:, number], _speed_unit(movement)
    tip = _("Speed relative to the trunk.") if part.group is not None else _("Speed of the trunk in the volume.")
    now = values[frame]
    noise = _("Noise: {0:.1f} {1}.").format(movement.noise[frame, number], unit) if math.isfinite(now) else ""
    names = {
        "head": _("Head"),
        "left_arm": _("Left arm"),
        "right_arm": _("Right arm"),
        "left_leg": _("Left leg"),
        "right_leg": _("Right leg"),
        "body": _("Whole body"),
    }
    return MovementRow(
        names.get(part.key, part.name),
        f"{now:.1f} {unit}" if math.isfinite(now) else _NO_VALUE,
        _("up to {0:.1f}").format(np.nanmax(values)) if np.isfinite(values).any() else _NO_VALUE,
        "; ".join(_span(period, movement) for period in movement.periods_of(part.key)),
        f"{tip} {noise}".strip(),
        bool(movement.moving[frame, number]),
    )


def _turning_row(movement: Movement, frame: int) -> MovementRow:
    now, unit = movement.turning[frame], f"°/{_time_unit(movement)}"
    known = np.isfinite(movement.turning).any()
    return MovementRow(
        _("Body rotation"),
        f"{now:.1f} {unit}" if math.isfinite(now) else _NO_VALUE,
        _("up to {0:.1f}").format(np.nanmax(movement.turning)) if known else _NO_VALUE,
        tip=_("Rotation of the trunk in the volume; a moving probe causes one as well."),
    )


def _angle_row(movement: Movement, number: int, frame: int) -> MovementRow:
    angle, values = movement.angle_list[number], movement.angles[:, number]
    known = values[np.isfinite(values)]
    interval = movement.angle_intervals[frame, number]
    return MovementRow(
        angle.name,
        f"{values[frame]:.0f}° ± {interval:.0f}°" if math.isfinite(values[frame]) else _NO_VALUE,
        f"{known.min():.0f}° – {known.max():.0f}°" if len(known) else _NO_VALUE,
        tip=angle.definition,
    )


def frame_text(movement: Movement | None, frame: int, count: int) -> str:
    """The number of the shown frame and its time, e.g. "Frame 2 of 6, 0.25 s"."""
    text = _("Frame {0} of {1}").format(frame + 1, count)
    if movement is None or movement.time_unit != "s":
        return text
    return _("{0}, {1:.2f} s").format(text, movement.times[frame])


def _span(period: Period | Event, movement: Movement) -> str:
    if movement.time_unit == "s":
        return _("{0:.1f}–{1:.1f} s").format(period.start, period.end)
    return _("frames {0}–{1}").format(period.first + 1, period.last + 1)


def _speed_unit(movement: Movement) -> str:
    return f"mm/{_time_unit(movement)}"


def _time_unit(movement: Movement) -> str:
    return "s" if movement.time_unit == "s" else _("frame")
