"""The movement at one frame as rows of text: joint angles and speeds, their range over the sequence, and who moves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import qt

from FetusMapV2Lib.anatomy.movement import Movement
from FetusMapV2Panel.translations import translator

_ = translator(__name__)

_NOTHING = "–"
_MOVES_COLOUR = "#b3571e"


@dataclass(frozen=True)
class Line:
    """One line of the table; `moves` marks a part that moves in this frame."""

    name: str
    now: str = _NOTHING
    whole: str = _NOTHING
    periods: str = ""
    tip: str = ""
    moves: bool = False

    def cells(self) -> tuple[str, str, str, str]:
        return self.name, self.now, self.whole, self.periods


def lines(movement: Movement | None, frame: int) -> list[Line]:
    """All lines at a frame, from 0; empty without a movement."""
    if movement is None:
        return []
    speeds = [_speedLine(movement, number, frame) for number in range(len(movement.part_list))]
    angles = [_angleLine(movement, number, frame) for number in range(len(movement.angle_list))]
    return [*speeds, _turningLine(movement, frame), *angles]


def _speedLine(movement: Movement, number: int, frame: int) -> Line:
    part = movement.part_list[number]
    values, unit = movement.speeds[:, number], _speedUnit(movement)
    tip = _("Speed as seen from the trunk.") if part.group is not None else _("Speed of the trunk in the volume.")
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
    return Line(
        names.get(part.key, part.name),
        f"{now:.1f} {unit}" if math.isfinite(now) else _NOTHING,
        _("up to {0:.1f}").format(np.nanmax(values)) if np.isfinite(values).any() else _NOTHING,
        "; ".join(_span(period, movement) for period in movement.periods_of(part.key)),
        f"{tip} {noise}".strip(),
        bool(movement.moving[frame, number]),
    )


def _turningLine(movement: Movement, frame: int) -> Line:
    now, unit = movement.turning[frame], f"°/{_timeUnit(movement)}"
    known = np.isfinite(movement.turning).any()
    return Line(
        _("Body turns"),
        f"{now:.1f} {unit}" if math.isfinite(now) else _NOTHING,
        _("up to {0:.1f}").format(np.nanmax(movement.turning)) if known else _NOTHING,
        tip=_("How fast the trunk turns in the volume; a moving probe looks the same."),
    )


def _angleLine(movement: Movement, number: int, frame: int) -> Line:
    angle, values = movement.angle_list[number], movement.angles[:, number]
    known = values[np.isfinite(values)]
    interval = movement.angle_intervals[frame, number]
    return Line(
        angle.name,
        f"{values[frame]:.0f}° ± {interval:.0f}°" if math.isfinite(values[frame]) else _NOTHING,
        f"{known.min():.0f}° – {known.max():.0f}°" if len(known) else _NOTHING,
        tip=angle.definition,
    )


def frameText(movement: Movement | None, frame: int, count: int) -> str:
    """Which frame is on show."""
    text = _("Frame {0} of {1}").format(frame + 1, count)
    if movement is None or movement.time_unit != "s":
        return text
    return _("{0}, {1:.2f} s").format(text, movement.times[frame])


def _span(period, movement: Movement) -> str:
    if movement.time_unit == "s":
        return _("{0:.1f}–{1:.1f} s").format(period.start, period.end)
    return _("frames {0}–{1}").format(period.first + 1, period.last + 1)


def _speedUnit(movement: Movement) -> str:
    return f"mm/{_timeUnit(movement)}"


def _timeUnit(movement: Movement) -> str:
    return "s" if movement.time_unit == "s" else _("frame")


def prepare(table) -> None:
    """Columns, headers and behaviour of the table."""
    table.setColumnCount(4)
    table.setHorizontalHeaderLabels([_("Part or joint"), _("This frame"), _("All frames"), _("Moves")])
    header = table.horizontalHeader()
    for column in range(3):
        header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
    header.setSectionResizeMode(3, qt.QHeaderView.Stretch)
    table.verticalHeader().hide()
    table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
    table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
    table.setAlternatingRowColors(True)


def fill(table, contents: list[Line]) -> None:
    """Show lines; cells are reused, so that a step changes only texts."""
    if table.rowCount != len(contents):
        table.setRowCount(len(contents))
    for index, line in enumerate(contents):
        for column, text in enumerate(line.cells()):
            item = table.item(index, column)
            if item is None:
                item = qt.QTableWidgetItem()
                table.setItem(index, column, item)
            if item.text() != text:
                item.setText(text)
            item.setToolTip(line.tip)
            item.setData(qt.Qt.ForegroundRole, qt.QBrush(qt.QColor(_MOVES_COLOUR)) if line.moves else None)
