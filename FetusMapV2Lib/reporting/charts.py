"""Reference charts with one value drawn in: the 5th, 50th and 95th centile over an age or a length, as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from FetusMapV2Lib.anatomy.biometry import Z90, Measurement
from FetusMapV2Lib.anatomy.dating import expected_crl_mm
from FetusMapV2Lib.anatomy.known_dates import CHART_DAYS
from FetusMapV2Lib.anatomy.shafts import expected_shaft
from FetusMapV2Lib.reporting.svg import circle, document, line, polyline, rectangle, text

#: Size in which a chart is laid out, and how much finer it is drawn, for printers.
SIZE, SCALE = (300, 190), 2.5
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 14.0, 24.0, 34.0
_BAND, _MIDDLE, _GRID, _TEXT, _REMARK = "#dbe7f5", "#2f5d8c", "#d5dae1", "#1a1d23", "#5b6472"
_POINTS = ("#c0392b", "#1f6f4a")
_STEPS = 60

#: 5th, 50th and 95th centile at a place; None outside the chart.
Centiles = Callable[[float], tuple[float, float, float] | None]


@dataclass(frozen=True)
class Mark:
    """A value in a chart.

    Attributes:
        name: its letter beside the point; empty for a single one.
        x, y: where it lies.
        y_uncertainty: half-width of the 90 % interval of y, None if unknown.
        x_uncertainty: the same of x.
    """

    name: str
    x: float
    y: float
    y_uncertainty: float | None = None
    x_uncertainty: float | None = None


@dataclass(frozen=True)
class Chart:
    """What a chart shows.

    Attributes:
        title: above it.
        x_title: below it.
        x_range, y_range: of the axes.
        x_ticks, y_ticks: their numbers.
        centiles: of the reference.
        marks: the values.
    """

    title: str
    x_title: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_ticks: Sequence[float]
    y_ticks: Sequence[float]
    centiles: Centiles
    marks: Sequence[Mark]


def crl_chart(crl: Measurement, days: float) -> str:
    """The crown-rump length at a gestational age on the chart of INTERGROWTH-21st (`dating.expected_crl_mm`).

    Args:
        crl: the length.
        days: the age that counts.
    """
    mark = Mark("", days / 7, crl.value_mm, crl.uncertainty_mm)
    return chart(
        Chart(
            title="Crown-rump length (mm)",
            x_title="weeks, INTERGROWTH-21st 5th-50th-95th",
            x_range=(8.0, 15.5),
            y_range=(0.0, 120.0),
            x_ticks=range(8, 16),
            y_ticks=range(0, 121, 20),
            centiles=_crl_centiles,
            marks=(mark,),
        )
    )


def bone_chart(bone: str, lengths: Sequence[Measurement], crl: Measurement) -> str:
    """Left and right femur or humerus over the crown-rump length, on the chart of ossified shafts (`expected_shaft`).

    Args:
        bone: "femur" or "humerus".
        lengths: left and right, between joint centres.
        crl: the crown-rump length.
    """
    marks = [Mark(one.name[0], crl.value_mm, one.value_mm, one.uncertainty_mm) for one in lengths]
    return chart(
        Chart(
            title=f"{bone.capitalize()} (mm), joint to joint",
            x_title="CRL (mm), shaft 5th-50th-95th",
            x_range=(35.0, 100.0),
            y_range=(0.0, 32.0),
            x_ticks=range(40, 101, 10),
            y_ticks=range(0, 31, 5),
            centiles=lambda length: _shaft_centiles(bone, length),
            marks=marks,
        )
    )


def _crl_centiles(weeks: float) -> tuple[float, float, float] | None:
    days = 7 * weeks
    if not CHART_DAYS[0] <= days <= CHART_DAYS[1]:
        return None
    mean, deviation = expected_crl_mm(days)
    return mean - Z90 * deviation, mean, mean + Z90 * deviation


def _shaft_centiles(bone: str, crl_mm: float) -> tuple[float, float, float] | None:
    shaft = expected_shaft(bone, crl_mm)
    return (
        None if shaft is None else (shaft.mean_mm - Z90 * shaft.sd_mm, shaft.mean_mm, shaft.mean_mm + Z90 * shaft.sd_mm)
    )


def chart(content: Chart) -> str:
    """The drawing; values beyond the axes lie on their border, those that are unknown are left out."""
    width, height = SIZE
    parts = [rectangle(0, 0, width, height, "#ffffff"), *_axes(content), *_reference(content)]
    marks = [mark for mark in content.marks if math.isfinite(mark.x) and math.isfinite(mark.y)]
    for number, mark in enumerate(marks):
        parts += _mark(content, mark, _POINTS[number % len(_POINTS)], shift=(number - (len(marks) - 1) / 2) * 9.0)
    if not marks:
        middle = (_LEFT + width - _RIGHT) / 2
        parts.append(text(middle, height / 2, "not measured", _REMARK, "middle"))
    return document(parts, SIZE, SCALE)


def _at(content: Chart, x: float, y: float) -> tuple[float, float]:
    across = (x - content.x_range[0]) / (content.x_range[1] - content.x_range[0])
    up = (y - content.y_range[0]) / (content.y_range[1] - content.y_range[0])
    across, up = (min(max(share, 0.0), 1.0) for share in (across, up))
    return _LEFT + across * (SIZE[0] - _LEFT - _RIGHT), SIZE[1] - _BOTTOM - up * (SIZE[1] - _TOP - _BOTTOM)


def _axes(content: Chart) -> list[str]:
    (left, bottom), (right, top) = (_at(content, *ends) for ends in zip(content.x_range, content.y_range, strict=True))
    parts = [text(_LEFT, 15, content.title, _TEXT, weight="bold", size=13)]
    parts.append(text((left + right) / 2, SIZE[1] - 5, content.x_title, _REMARK, "middle", size=11))
    for tick in content.y_ticks:
        _, y = _at(content, content.x_range[0], tick)
        parts.append(line((left, y), (right, y), _GRID, 0.7))
        parts.append(text(left - 5, y + 4, f"{tick:g}", _REMARK, "end", size=11))
    for tick in content.x_ticks:
        x, _ = _at(content, tick, content.y_range[0])
        parts.append(line((x, bottom), (x, bottom + 4), _REMARK, 0.7))
        parts.append(text(x, bottom + 16, f"{tick:g}", _REMARK, "middle", size=11))
    return [
        *parts,
        line((left, bottom), (right, bottom), _REMARK, 1.0),
        line((left, bottom), (left, top), _REMARK, 1.0),
    ]


def _reference(content: Chart) -> list[str]:
    places = [(x, content.centiles(x)) for x in np.linspace(*content.x_range, _STEPS + 1).tolist()]
    known = [(x, values) for x, values in places if values is not None]
    if len(known) < 2:
        return []
    low, middle, high = ([_at(content, x, values[which]) for x, values in known] for which in range(3))
    return [polyline([*low, *reversed(high)], "none", 0.0, fill=_BAND), polyline(middle, _MIDDLE, 1.6)]


def _mark(content: Chart, mark: Mark, colour: str, shift: float) -> list[str]:
    """A point with its interval; `shift` moves one of two apart, that both are seen."""
    x, y = _at(content, mark.x, mark.y)
    x += shift
    parts = []
    if mark.y_uncertainty is not None:
        ends = [_at(content, mark.x, mark.y + sign * mark.y_uncertainty)[1] for sign in (-1, 1)]
        parts.append(line((x, ends[0]), (x, ends[1]), colour, 1.6))
        parts += [line((x - 3, end), (x + 3, end), colour, 1.6) for end in ends]
    parts.append(circle((x, y), 4.0, fill=colour, stroke="#ffffff", width=1.0))
    if mark.name:
        side = -1 if shift < 0 else 1
        parts.append(text(x + 7 * side, y + 4, mark.name, colour, "end" if side < 0 else "start", "bold", 12))
    return parts
