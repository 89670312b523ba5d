"""The layout of the picture: panels, labels beside them, scale bars, the table of measurements and the legend."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.fetal_slices import SlicePose
from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.core.label_layout import place_labels
from FetusMapV2Lib.scene.appearance import CRL_COLOUR, DOUBTFUL_COLOUR
from FetusMapV2Lib.scene.drawing import Canvas, Colour, Image, text_width

Array = NDArray[np.float64]

BACKGROUND: Colour = (0.043, 0.051, 0.067)
PANEL_COLOUR: Colour = (0.086, 0.102, 0.133)
WHITE: Colour = (0.95, 0.96, 0.97)
GREY: Colour = (0.64, 0.68, 0.74)
WARNING: Colour = (0.98, 0.80, 0.35)

WIDTH, HEIGHT = 1920, 1200
SKELETON_MARGIN = 170
_LABEL_SIZE = 18
_SLICE_LABEL_SIZE = 15
#: Of a line below the skeleton.
_DOUBT_CHARACTERS = 88
_TITLES = {"ht": "Head and trunk", "la": "Left arm", "ra": "Right arm", "ll": "Left leg", "rl": "Right leg"}


@dataclass(frozen=True)
class Panel:
    """A rectangle of the picture in pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.width / self.height


SKELETON = Panel(16, 72, 840, 1072)
SLICES = (Panel(872, 72, 508, 528), Panel(1396, 72, 508, 528), Panel(872, 616, 508, 528))
TABLE = Panel(1396, 616, 508, 528)


def new_sheet(title: str, footer: str) -> Canvas:
    """The empty sheet with head and foot line."""
    canvas = Canvas(WIDTH, HEIGHT, BACKGROUND)
    canvas.text(20, 38, "Fetal pose", WHITE, 28, bold=True)
    room = WIDTH - 60 - text_width("Fetal pose", 28, True)
    canvas.text(WIDTH - 20, 38, _shortened(title, 22, room), GREY, 22, align="right")
    canvas.text(20, HEIGHT - 28, _shortened(footer, 19, WIDTH - 40), WARNING, 19)
    return canvas


def add_skeleton(
    canvas: Canvas, panel: Panel, image: Image, pixels: Array, title: str, doubtful: NDArray[np.bool_], schema: Schema
) -> None:
    """The 3D view with the name of every landmark beside it."""
    canvas.paste(image, panel.x, panel.y)
    _panel_title(canvas, panel, title)
    _add_labels(canvas, panel, pixels, doubtful, schema, _LABEL_SIZE, top=64)


def add_slice(
    canvas: Canvas,
    panel: Panel,
    image: Image,
    pixels: Array,
    cut: SlicePose,
    doubtful: NDArray[np.bool_],
    schema: Schema,
) -> None:
    """A slice with the names of the landmarks in it (the others are NaN) and a scale bar."""
    canvas.paste(image, panel.x, panel.y)
    _add_labels(canvas, panel, pixels, doubtful, schema, _SLICE_LABEL_SIZE, top=52)
    _panel_title(canvas, panel, cut.title)
    length = 10 * panel.height / cut.height_mm
    right, y = panel.x + panel.width - 18, panel.y + panel.height - 16
    canvas.box(right - length - 10, y - 26, length + 20, 36, BACKGROUND, 0.6)
    canvas.line((right - length, y), (right, y), WHITE, 3)
    canvas.text(right - length / 2, y - 13, "10 mm", WHITE, 14, align="centre")


def _panel_title(canvas: Canvas, panel: Panel, title: str) -> None:
    canvas.box(panel.x, panel.y, text_width(title, 17, True) + 24, 34, BACKGROUND, 0.6)
    canvas.text(panel.x + 12, panel.y + 17, title, WHITE, 17, bold=True)


def _add_labels(
    canvas: Canvas, panel: Panel, pixels: Array, doubtful: NDArray[np.bool_], schema: Schema, size: int, top: int
) -> None:
    inside = np.isfinite(pixels).all(axis=1)
    inside &= (pixels >= 0).all(axis=1) & (pixels < np.array(panel.size)).all(axis=1)
    rows = np.flatnonzero(inside)
    points = pixels[rows]
    bottom = panel.height - 46.0
    widths = np.array([text_width(schema.landmarks[row].name, size) for row in rows]) + 34.0
    names = place_labels(points, widths, panel.width, float(top), bottom, size * 1.75)
    for label in names:
        mark = schema.landmarks[int(rows[label.index])]
        width = text_width(mark.name, size)
        left = label.side == "left"
        x = panel.x + (14 if left else panel.width - 14)
        y = panel.y + label.y
        inner = x + (width + 8 if left else -width - 8)
        point = (panel.x + points[label.index][0], panel.y + points[label.index][1])
        canvas.line((inner, y), point, BACKGROUND, 3.2, 0.55)
        canvas.line((inner, y), point, mark.colour, 1.4, 0.9)
        canvas.dot(point, BACKGROUND, 9)
        canvas.dot(point, DOUBTFUL_COLOUR if doubtful[mark.number - 1] else mark.colour, 6)
    for label in names:
        mark = schema.landmarks[int(rows[label.index])]
        width, left = text_width(mark.name, size), label.side == "left"
        x, y = panel.x + (14 if left else panel.width - 14), panel.y + label.y
        canvas.box(x - 5 if left else x - width - 5, y - size * 0.75, width + 10, size * 1.5, BACKGROUND, 0.65)
        canvas.text(x, y, mark.name, DOUBTFUL_COLOUR if doubtful[mark.number - 1] else WHITE, size, align=label.side)


def add_table(canvas: Canvas, pose: Pose) -> None:
    """Measurements, gestational age, and what the colours mean."""
    canvas.box(TABLE.x, TABLE.y, TABLE.width, TABLE.height, PANEL_COLOUR)
    y = TABLE.y + 26.0
    canvas.text(TABLE.x + 20, y, "Measurements", WHITE, 19, bold=True)
    found = measurements(pose)
    for length in found.lengths:
        y += 30
        _row(canvas, y, length.name, _length(length.value_mm, length.uncertainty_mm))
    y += 30
    neck = found.neck_flexion_deg
    _row(canvas, y, "Neck flexion (0° = neutral)", f"{round(neck)}°" if math.isfinite(neck) else "not available")
    y += 42
    canvas.text(TABLE.x + 20, y, "Gestational age from CRL", WHITE, 19, bold=True)
    for dating in found.datings:
        y += 30
        text = f"{dating.weeks_text} ± {dating.combined_days:.0f} d" if dating.weeks_text else "not available"
        outside = bool(dating.weeks_text) and not dating.valid
        _row(canvas, y, dating.name, text + (" (out of range)" if outside else ""), WARNING if outside else WHITE)
    _add_legend(canvas, pose, y + 30)


def add_doubt(canvas: Canvas, doubt: str) -> None:
    """Below the skeleton: why the pose is doubtful; nothing if it is not."""
    if not doubt:
        return
    lines = textwrap.wrap(f"DOUBTFUL. {doubt}", _DOUBT_CHARACTERS)
    height = 22 * len(lines) + 12
    top = SKELETON.y + SKELETON.height - height
    canvas.box(SKELETON.x, top, SKELETON.width, height, BACKGROUND, 0.8)
    for number, line in enumerate(lines):
        canvas.text(SKELETON.x + 12, top + 17 + 22 * number, line, DOUBTFUL_COLOUR, 16, bold=True)


def _row(canvas: Canvas, y: float, name: str, value: str, colour: Colour = WHITE) -> None:
    canvas.line((TABLE.x + 20, y + 15), (TABLE.x + TABLE.width - 20, y + 15), WHITE, 1, 0.10)
    canvas.text(TABLE.x + 20, y, name, GREY, 18)
    canvas.text(TABLE.x + TABLE.width - 20, y, value, colour, 18, align="right")


def _add_legend(canvas: Canvas, pose: Pose, top: float) -> None:
    schema = pose.schema
    entries = [(_TITLES.get(group, group), schema.landmarks[schema.rows(group)[0]].colour) for group in schema.groups]
    if pose.doubtful.any():
        entries.append(("Doubtful point", DOUBTFUL_COLOUR))
    entries.append(("CRL", CRL_COLOUR))
    for index, (name, colour) in enumerate(entries):
        x, y = TABLE.x + 28 + 160 * (index % 3), top + 10 + 30 * (index // 3)
        canvas.dot((x, y), colour, 13)
        canvas.text(x + 14, y, name, WHITE, 16)
    missing = int((~pose.present).sum())
    if missing:
        note = f"{missing} of {schema.count} landmarks are missing"
        canvas.text(TABLE.x + 20, TABLE.y + TABLE.height - 70, note, WARNING, 15)
    y = TABLE.y + TABLE.height - 44
    for text in ("Bone lengths run between joint centres:", "longer than the ossified shaft. ± is a 90 % interval."):
        canvas.text(TABLE.x + 20, y, text, GREY, 15)
        y += 22


def _length(value: float, uncertainty: float | None) -> str:
    if not math.isfinite(value):
        return "not available"
    return f"{value:.1f} mm" if uncertainty is None else f"{value:.1f} ± {uncertainty:.1f} mm"


def _shortened(text: str, size: int, room: float) -> str:
    """The text, its end replaced by dots if it is wider than `room` pixels."""
    text = " ".join(text.split())
    if text_width(text, size) <= room:
        return text
    while len(text) > 1 and text_width(text + "...", size) > room:
        text = text[:-1]
    return text + "..."
