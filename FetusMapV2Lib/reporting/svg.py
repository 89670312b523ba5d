"""Elements of SVG drawings: the few that browsers and Qt draw alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

Point = Sequence[float] | NDArray[np.float64]

FONTS = "Arial, Helvetica, DejaVu Sans, sans-serif"


def document(parts: Iterable[str], size: tuple[int, int], scale: float = 1.0) -> str:
    """A drawing that is laid out in `size` pixels and shown `scale` times as large."""
    width, height = size
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width * scale:.0f}" height="{height * scale:.0f}" '
        f'viewBox="0 0 {width} {height}" font-family="{FONTS}" font-size="12">' + "".join(parts) + "</svg>"
    )


def line(start: Point, end: Point, colour: str, width: float, *, opacity: float = 1.0, dashes: str = "") -> str:
    """A straight line with round ends; `dashes` are the lengths of its strokes and gaps."""
    pattern = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
        f'stroke="{colour}" stroke-width="{width}" stroke-opacity="{opacity}" stroke-linecap="round"{pattern}/>'
    )


def polyline(points: Iterable[Point], colour: str, width: float, *, fill: str = "none", dashes: str = "") -> str:
    """A line through points; with `fill` the area that it encloses."""
    places = " ".join(f"{point[0]:.1f},{point[1]:.1f}" for point in points)
    pattern = f' stroke-dasharray="{dashes}"' if dashes else ""
    kind = "polyline" if fill == "none" else "polygon"
    return f'<{kind} points="{places}" fill="{fill}" stroke="{colour}" stroke-width="{width}"{pattern}/>'


def circle(centre: Point, radius: float, *, fill: str, stroke: str, width: float) -> str:
    """A circle."""
    return (
        f'<circle cx="{centre[0]:.1f}" cy="{centre[1]:.1f}" r="{radius}" fill="{fill}" '
        f'stroke="{stroke}" stroke-width="{width}"/>'
    )


def rectangle(left: float, top: float, width: float, height: float, fill: str, *, opacity: float = 1.0) -> str:
    """A filled rectangle."""
    place = f'x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {place} fill="{fill}" fill-opacity="{opacity}"/>'


def text(
    x: float, y: float, words: str, colour: str, anchor: str = "start", weight: str = "normal", size: int = 12
) -> str:
    """A text on one line; `anchor` is start, middle or end, `y` its base line."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" font-weight="{weight}" '
        f'font-size="{size}">{escape(words)}</text>'
    )
