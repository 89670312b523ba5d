"""What the sheets of a report are made of: plain tables, small print, pictures, amounts with their units.

Browsers and Qt's rich text, which prints the page as PDF, show these the same.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Sequence
from html import escape

from FetusMapV2Lib.anatomy.plausibility import Check

NOTHING, NO_BREAK = "–", "\u00a0"
#: Width of a sheet's content in CSS pixels, at 96 an inch: that of A4 between margins of 12 mm.
WIDTH = 703


def without_controls(text: str) -> str:
    """HTML has no control characters but line breaks, and UTF-8 no lone surrogates."""
    return re.sub("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]", " ", text)


def elided(text: str, most: int) -> str:
    """A text of at most `most` characters, the middle left out where it is longer."""
    if len(text) <= most:
        return text
    kept = most - 1
    return f"{text[: kept - kept // 2].rstrip()}…{text[len(text) - kept // 2 :].lstrip()}"


def heading(title: str, *, new_sheet: bool = False) -> str:
    """The title of a part of a sheet, at the top of a new one if asked for; Qt enlarges h2 beyond the size told."""
    return _heading(title, "title", 2, new_sheet)


def main_heading(title: str, *, new_sheet: bool = False) -> str:
    """The title of a sheet."""
    return _heading(title, "name", 1, new_sheet)


def _heading(title: str, style: str, level: int, new_sheet: bool) -> str:
    place = ' style="page-break-before: always"' if new_sheet else ""
    return f'<p class="{style}" role="heading" aria-level="{level}"{place}>{escape(title)}</p>'


def small(text: str) -> str:
    """A paragraph of small print."""
    return f'<p class="small">{escape(text)}</p>'


def image(svg: str, title: str, width: int, height: int) -> str:
    """A drawing, inside the page; in a paragraph, as Qt 5 draws a bare picture over the line before it."""
    data = base64.b64encode(svg.encode("utf-8")).decode("ascii")
    return (
        f'<p class="picture"><img src="data:image/svg+xml;base64,{data}" '
        f'width="{width}" height="{height}" alt="{escape(title)}"></p>'
    )


def table(head: str, rows: Iterable[str]) -> str:
    """A table over the whole width of its place."""
    return f'<table width="100%" cellspacing="0">{head}{"".join(rows)}</table>'


def side_by_side(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Parts of a sheet beside each other, widths in percent."""
    places = (f'<td width="{width}%">{cell}</td>' for cell, width in zip(cells, widths, strict=True))
    return f'<table width="100%" cellspacing="0" class="columns"><tr>{"".join(places)}</tr></table>'


def head_row(columns: Sequence[tuple[str, int]]) -> str:
    """The titles of columns with their widths in percent."""
    cells = (f'<th class="head" width="{width}%">{escape(title)}</th>' for title, width in columns)
    return f"<tr>{''.join(cells)}</tr>"


def row(cells: Iterable[str], *, doubtful: bool = False) -> str:
    """A row of a table; all cells but the first stand out where the value is doubtful."""
    first, *others = cells
    style = ' class="doubt"' if doubtful else ""
    return f"<tr><td>{escape(first)}</td>{''.join(f'<td{style}>{escape(text)}</td>' for text in others)}</tr>"


def facts(pairs: Iterable[tuple[str, str]], width: int = 110) -> str:
    """Names and texts, one pair per line; pairs without a text are left out."""
    rows = (f'<tr><th width="{width}">{escape(name)}</th><td>{escape(text)}</td></tr>' for name, text in pairs if text)
    return f'<table cellspacing="0">{"".join(rows)}</table>'


def amount(value: float | None, unit: str) -> str:
    """A value with its unit; empty if unknown."""
    if value is None or not math.isfinite(value):
        return ""
    digits, sign = {"deg": (0, "°"), "d": (0, " d")}.get(unit, (1, f" {unit}"))
    text = f"{round(value, digits) + 0.0:.{digits}f}{sign}"  # no "-0.0"
    return text.replace(" ", NO_BREAK)


def with_uncertainty(value: float, uncertainty: float | None, unit: str) -> str:
    """A value with the half-width of its 90 % interval, e.g. ``53.2 ± 2.4 mm``; a dash if it is unknown."""
    shown, plus_minus = amount(value, unit), amount(uncertainty, unit)
    if not shown or not plus_minus:
        return shown or NOTHING
    digits = 0 if unit in ("deg", "d") else 1
    return f"{round(value, digits) + 0.0:.{digits}f}{NO_BREAK}±{NO_BREAK}{plus_minus}"


def limits(check: Check) -> str:
    """The usual range of a check, e.g. ``8.5 to 18.2 mm`` or ``≥ 50.0 %``; a dash if there is none."""
    low, high = (amount(limit, check.unit) for limit in check.limits)
    if low and high:
        return f"{low.partition(NO_BREAK)[0]} to {high}".replace(" ", NO_BREAK)
    return f"≥{NO_BREAK}{low}" if low else f"≤{NO_BREAK}{high}" if high else NOTHING


def usual(check: Check) -> str:
    """The limits of a check whose unit stands beside its value: without millimetres."""
    return limits(check).replace(f"{NO_BREAK}mm", "")


def ordinal(value: float) -> str:
    """A number of an order, e.g. ``21st``."""
    whole = round(value)
    last = whole % 10 if whole % 100 not in (11, 12, 13) else 0
    return f"{whole}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(last, 'th') }"


def number(value: float | None, digits: int) -> str:
    """A number with so many digits; a dash if it is unknown."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"
