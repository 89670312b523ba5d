"""The sheets behind the first one: landmarks, views, how the case was computed, all remarks in full, and sources."""

from __future__ import annotations

import math
import struct
from base64 import b64encode
from html import escape

from FetusMapV2Lib.anatomy.growth_charts import INTERGROWTH_SOURCE, NICHD_SOURCE
from FetusMapV2Lib.anatomy.pose import HAND_RADIUS90_MM, HAND_RADIUS_SOURCE, shown_confidence
from FetusMapV2Lib.core.notices import HANDEDNESS, RESEARCH_USE
from FetusMapV2Lib.core.version import SOFTWARE
from FetusMapV2Lib.reporting.blocks import (
    NOTHING,
    WIDTH,
    facts,
    head_row,
    heading,
    image,
    main_heading,
    number,
    row,
    side_by_side,
    small,
    table,
)
from FetusMapV2Lib.reporting.edit_table import edits_table
from FetusMapV2Lib.reporting.guide_map import guide_map
from FetusMapV2Lib.reporting.report import Picture, Report
from FetusMapV2Lib.reporting.twins import twins_table

#: Largest width and height of a view.
_VIEW_BOX = (330, 300)
#: Sizes whose notes are told.
_TOLD = ("hc", "ac", "nt")
#: The guide map is drawn this much larger than shown, for printers.
_MAP_SIZE, _MAP_SCALE = (880, 270), 2.5


def details(report: Report) -> str:
    """The sheets behind the first one, as HTML."""
    parts = [
        main_heading("Details", new_sheet=True),
        twins_table(report),
        side_by_side((_case(report), _remarks(report)), (50, 50)),
        _map(report),
        _landmarks(report),
        edits_table(report),
        _sources(report),
        _pictures(report),
        small(RESEARCH_USE),
    ]
    return "\n".join(filter(None, parts))


def _case(report: Report) -> str:
    present = int(report.pose.present.sum())
    count = f"{present} of {len(report.pose.present)} {'shown' if report.doubt else 'found'}"
    if report.states:
        count += f", {report.edited} of them set or confirmed by hand"
    pairs = [
        ("Volume", report.name),
        ("Read by", report.operator),
        ("Fetus", "doubtful" if report.doubt else "found"),
        ("Landmarks", count),
        ("Sides", _sides(report)),
        ("Model", report.model),
        ("Model card", report.model_card),
        ("Computed on", report.device),
        ("Software", SOFTWARE),
        ("Comment", report.comment),
    ]
    return heading("Case") + facts(pairs, 90)


def _sides(report: Report) -> str:
    sides = report.pose.laterality
    if sides is None:
        return ""
    return f"arms {shown_confidence(sides.arms_confidence)}, legs {shown_confidence(sides.legs_confidence)} certain"


def _remarks(report: Report) -> str:
    """Every doubt and every warning, and what was not checked."""
    checks = (*report.measurements.checks, *report.crl_quality)
    lines = [small(report.doubt)] if report.doubt else []
    lines += [_remark(check.name, check.remark) for check in checks if check.doubtful]
    lines += [small(text) for text in report.remarks]
    unjudged: dict[str, list[str]] = {}
    for check in checks:
        if check.verdict == "unknown":
            unjudged.setdefault(check.remark, []).append(check.name)
    lines += [_remark(", ".join(names), remark) for remark, names in unjudged.items()]
    sizes = [size for size in report.sizes if size.key in _TOLD]
    lines += [small(f"{size.name}: {size.note}.") for size in sizes]
    return heading("Remarks") + "".join(lines)


def _remark(names: str, remark: str) -> str:
    return f'<p class="small"><b>{escape(names)}</b>: {escape(remark)}.</p>'


def _map(report: Report) -> str:
    svg = guide_map(
        report.pose, report.measurements.plane, size=_MAP_SIZE, scale=_MAP_SCALE, states=report.states, light=True
    )
    drawn = image(svg, "Guide map of the skeleton", WIDTH - 8, round((WIDTH - 8) * _MAP_SIZE[1] / _MAP_SIZE[0]))
    legend = "Open circles are estimated, filled ones were set or confirmed by hand." if report.states else ""
    return heading("Guide map") + drawn + (small(legend) if legend else "")


def _pictures(report: Report) -> str:
    if not report.pictures:
        return ""
    cells = [f"<td>{_view(one)}{small(one.title)}</td>" for one in report.pictures]
    rows = ("<tr>" + "".join(cells[start : start + 2]) + "</tr>" for start in range(0, len(cells), 2))
    return heading("Views", new_sheet=True) + f"<table>{''.join(rows)}</table>"


def _view(picture: Picture) -> str:
    data, (width, height) = b64encode(picture.png).decode("ascii"), _fitted(picture.png)
    return f'<img src="data:image/png;base64,{data}" width="{width}" height="{height}" alt="{escape(picture.title)}">'


def _fitted(png: bytes) -> tuple[int, int]:
    """The size at which a PNG fits into the box of a view; its own is in the header of the file."""
    width, height = struct.unpack(">II", png[16:24])
    scale = min(_VIEW_BOX[0] / max(width, 1), _VIEW_BOX[1] / max(height, 1))
    return max(round(width * scale), 1), max(round(height * scale), 1)


def _landmarks(report: Report) -> str:
    pose, rows = report.pose, []
    for mark in report.pose.schema.landmarks:
        place = [f"{value:.1f}" for value in pose.positions[mark.row]] if pose.present[mark.row] else [NOTHING] * 3
        sure = math.nan if pose.confidence is None else float(pose.confidence[mark.row])
        confidence = shown_confidence(sure) if math.isfinite(sure) else NOTHING
        radius = number(None if pose.radius90_mm is None else pose.radius90_mm[mark.row], 1)
        state: str = report.states[mark.row] if report.states else "found" if pose.present[mark.row] else "missing"
        if pose.doubt and state in ("found", "estimated"):
            state = "doubtful"
        name = f"{mark.name} †" if mark.assumed else mark.name
        rows.append(row((str(mark.number), name, state, confidence, radius, *place)))
    columns = (("No.", 5), ("Landmark", 28), ("State", 13), ("Confidence", 14), ("90 % radius (mm)", 16))
    head = head_row((*columns, ("R (mm)", 8), ("A (mm)", 8), ("S (mm)", 8)))
    assumed = any(mark.assumed for mark in report.pose.schema.landmarks)
    note = "† The paper does not name this landmark; its definition is assumed." if assumed else ""
    return heading("Landmarks") + f'<div class="dense">{table(head, rows)}</div>' + (small(note) if note else "")


def _sources(report: Report) -> str:
    datings = (*report.measurements.datings, *([] if report.head_age is None else [report.head_age]))
    ages = [f"{dating.name}: {dating.formula}. {dating.source}" for dating in datings]
    sources = dict.fromkeys(check.source for check in (*report.measurements.checks, *report.crl_quality))
    explained = (
        "± is half of the 90 % interval. For lengths, angles and differences it comes from the landmark radii; for "
        "ages from the scatter of single fetuses and the uncertainty of the length together. A landmark that a person "
        f"set counts with a radius of {HAND_RADIUS90_MM:g} mm: {HAND_RADIUS_SOURCE}."
    )
    charts = (NICHD_SOURCE, INTERGROWTH_SOURCE) if report.sections is not None else ()
    sources |= dict.fromkeys(charts)
    lines = (f"{explained} {HANDEDNESS}", *ages, f"{'. '.join(sources)}.")
    return heading("Formulas and sources") + "".join(map(small, lines))
