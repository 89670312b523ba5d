"""The guide map: the skeleton of one fetus from the front and from the side, with every landmark, as SVG.

Drawn from the pose alone, fast enough to follow a drag; sharp at any size in browsers, Qt and print.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.planes import Axes, Plane, fetal_axes
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.core.colours import hex_colour
from FetusMapV2Lib.core.label_layout import spread
from FetusMapV2Lib.imaging.training_cases import VOUCHED_STATES
from FetusMapV2Lib.reporting.svg import circle, document, line, rectangle, text

Array = NDArray[np.float64]

#: Relative luminance that a line on white has at most: a contrast of three to one (WCAG 2.1, graphical objects).
_LIGHTEST = 0.30
_LINE_HEIGHT = 17.0
_TITLE_HEIGHT, _FOOT_HEIGHT = 34.0, 26.0
_SMALLEST_HEIGHT_MM = 20.0
#: Smallest and largest letters of a title, pixels, and the mean width of a bold letter in units of its size.
_TITLE_SIZES, _BOLD_LETTER = (8, 14), 0.68


@dataclass(frozen=True, eq=False)
class _View:
    """One of the two drawings: unit vectors to the right and up on the page, and the rows labelled in it."""

    title: str
    ends: tuple[str, str]
    right: Array
    up: Array
    labelled: tuple[int, ...]


@dataclass(frozen=True)
class _Colours:
    """Of ground, texts and remarks, and whether bright landmarks are darkened for it."""

    ground: str
    text: str
    remark: str
    darkened: bool


_DARK = _Colours("#161a22", "#f2f4f7", "#a3adbd", darkened=False)
_LIGHT = _Colours("#ffffff", "#1a1d23", "#5b6472", darkened=True)


@dataclass(frozen=True)
class _Frame:
    """Where a view is drawn, pixels; `margin` is reserved on either side for labels; size of the title's letters."""

    left: float
    width: float
    height: float
    margin: float
    title_size: int = 14

    @property
    def middle(self) -> float:
        return self.left + self.width / 2


def guide_map(
    pose: Pose,
    plane: Plane | None,
    *,
    size: tuple[int, int] = (880, 420),
    scale: float = 1.0,
    names: bool = True,
    states: Sequence[str] = (),
    light: bool = False,
) -> str:
    """The map of a pose as an SVG document.

    Front and side stand next to each other at one scale. The limbs are labelled in the front view, head and trunk in
    the side view. Open circles are landmarks that nobody has confirmed or moved; missing ones are left out.

    Args:
        pose: (N, 3) RAS mm.
        plane: its midsagittal plane; without one the scanner's axes are used.
        size: width and height in which the map is laid out, pixels.
        scale: the document's own size is `size` times this.
        names: names of the landmarks, or only their numbers where there is little room.
        states: per landmark "estimated", "edited", "confirmed" or "missing"; all count as estimated if not given.
        light: on white, for print, with bright colours darkened.
    """
    colours = _LIGHT if light else _DARK
    schema = pose.schema
    width, height = size
    views = _views(fetal_axes(plane), schema)
    vouched = np.array([state in VOUCHED_STATES for state in states] or [False] * schema.count)
    frames = _frames(views, schema, names, width, height)
    room = frames[0].width - 2 * frames[0].margin
    mm = _pixels_per_mm(pose.positions, views, room, height - _TITLE_HEIGHT - _FOOT_HEIGHT)
    parts = [rectangle(0, 0, width, height, colours.ground)]
    for view, frame in zip(views, frames, strict=True):
        parts += _drawing(view, pose, vouched, names, mm, frame, colours)
    parts += _scale_bar(mm, frames[0], colours)
    return document(parts, size, scale)


def _views(axes: Axes, schema: Schema) -> tuple[_View, _View]:
    trunk = schema.rows(schema.groups[0])
    limbs = tuple(row for group in schema.groups[1:] for row in schema.rows(group))
    return (
        _View("From the front", ("R", "L"), axes.left, axes.cranial, limbs),
        _View("From the fetal right", ("back", "front"), -axes.dorsal, axes.cranial, trunk),
    )


def _frames(views: Sequence[_View], schema: Schema, names: bool, width: float, height: float) -> list[_Frame]:
    """Side by side, with equal room for both drawings beside their labels."""
    margins = [max(_text_room(_label(schema, row, names)) for row in view.labelled) + 10.0 for view in views]
    room = max((width - 2 * sum(margins)) / len(views), 40.0)
    frames, left = [], 0.0
    for margin in margins:
        frames.append(_Frame(left, room + 2 * margin, float(height), margin))
        left += frames[-1].width
    size = min(_title_size(view.title, frame.width) for view, frame in zip(views, frames, strict=True))
    return [replace(frame, title_size=size) for frame in frames]


def _pixels_per_mm(positions: Array, views: Sequence[_View], width: float, height: float) -> float:
    """The largest scale at which both drawings fit."""
    present = positions[np.isfinite(positions).all(axis=1)]
    if not len(present):
        return height / _SMALLEST_HEIGHT_MM
    tall = max(float(np.ptp(present @ views[0].up)), _SMALLEST_HEIGHT_MM)
    wide = max(max(float(np.ptp(present @ view.right)) for view in views), 1.0)
    return min(height / tall, width / wide) * 0.92


def _drawing(
    view: _View,
    pose: Pose,
    vouched: NDArray[np.bool_],
    names: bool,
    mm: float,
    frame: _Frame,
    colours: _Colours,
) -> list[str]:
    parts = [text(frame.middle, 21, view.title, colours.text, "middle", "bold", frame.title_size)]
    foot, schema = frame.height - 9, pose.schema
    parts.append(text(frame.left + 12, foot, view.ends[0], colours.remark))
    parts.append(text(frame.left + frame.width - 12, foot, view.ends[1], colours.remark, "end"))
    present = np.flatnonzero(pose.present)
    if not len(present):
        return parts
    flat = np.stack([pose.positions @ view.right, -pose.positions @ view.up], axis=1) * mm
    centre = (flat[present].max(axis=0) + flat[present].min(axis=0)) / 2
    points = flat - centre + [frame.middle, (frame.height + _TITLE_HEIGHT - _FOOT_HEIGHT) / 2]
    there = set(present.tolist())
    for edge in schema.edges:
        if edge.start in there and edge.end in there:
            colour = _colour(schema, schema.rows(edge.group)[0], colours)
            parts.append(line(points[edge.start], points[edge.end], colour, 3.0))
    for row in present.tolist():
        colour = _colour(schema, row, colours)
        fill = colour if vouched[row] else colours.ground
        parts.append(circle(points[row], 3.6, fill=fill, stroke=colour, width=1.8))
    rows = [row for row in view.labelled if row in there]
    return parts + _labels(rows, points, schema, names, frame, colours)


def _labels(rows: list[int], points: Array, schema: Schema, names: bool, frame: _Frame, colours: _Colours) -> list[str]:
    """Two columns beside the drawing, each label on the side of its point, as near to it as the other labels allow."""
    parts = []
    top, bottom = _TITLE_HEIGHT + _LINE_HEIGHT / 2, frame.height - _FOOT_HEIGHT - _LINE_HEIGHT / 2
    for on_right in (False, True):
        members = [row for row in rows if (points[row][0] >= frame.middle) == on_right]
        members.sort(key=lambda row: points[row][1])
        heights = spread(points[members, 1] if members else np.zeros(0), top, bottom, _LINE_HEIGHT)
        x = frame.left + frame.width - 10 if on_right else frame.left + 10
        for row, y in zip(members, heights, strict=True):
            words = _label(schema, row, names)
            inner = x - _text_room(words) if on_right else x + _text_room(words)
            parts.append(line((inner, y), points[row], _colour(schema, row, colours), 0.8, opacity=0.75))
            parts.append(text(x, y + 4, words, colours.text, "end" if on_right else "start"))
    return parts


def _label(schema: Schema, row: int, names: bool) -> str:
    mark = schema.landmarks[row]
    return f"{mark.number} {mark.name}" if names else str(mark.number)


def _text_room(text: str) -> float:
    """Greatest width of a label in pixels, with a gap."""
    return 6.4 * len(text) + 6.0


def _title_size(title: str, width: float) -> int:
    """Size of the letters of a bold title in a frame so wide, pixels."""
    return max(_TITLE_SIZES[0], min(_TITLE_SIZES[1], int(width / (_BOLD_LETTER * len(title)))))


def _scale_bar(mm: float, frame: _Frame, colours: _Colours) -> list[str]:
    half, y = 5 * mm, frame.height - 9
    return [
        line((frame.middle - half, y), (frame.middle + half, y), colours.text, 2.0),
        text(frame.middle, y - 5, "10 mm", colours.text, "middle", size=11),
    ]


def _colour(schema: Schema, row: int, colours: _Colours) -> str:
    channels = np.asarray(schema.landmarks[row].colour, dtype=np.float64)
    if colours.darkened:
        # luminance goes about with the power 2.2 of the channels
        channels = channels * min(1.0, (_LIGHTEST / max(_luminance(channels), 1e-6)) ** (1 / 2.2))
    return hex_colour(channels.tolist())


def _luminance(channels: Array) -> float:
    """Relative luminance of an sRGB colour (0..1), 0..1; equation of WCAG 2.1 with a plain power of 2.2."""
    return float(np.asarray([0.2126, 0.7152, 0.0722]) @ channels**2.2)
