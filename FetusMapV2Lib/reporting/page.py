"""The report as one self-contained HTML page: pictures inside, no script, no link to anything.

Built of plain tables, so that browsers and Qt's rich text, which prints it as PDF, show the same.
"""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Iterable, Sequence
from html import escape

from FetusMapV2Lib.anatomy.biometry import JOINT_CENTRES
from FetusMapV2Lib.anatomy.dating import Dating
from FetusMapV2Lib.anatomy.plausibility import Check
from FetusMapV2Lib.anatomy.pose import shown_confidence
from FetusMapV2Lib.core.notices import HANDEDNESS, RESEARCH_USE
from FetusMapV2Lib.core.version import SOFTWARE
from FetusMapV2Lib.reporting.guide_map import guide_map
from FetusMapV2Lib.reporting.report import Report

#: Width of the page's content in CSS pixels: that of an A4 sheet between margins of 2 cm, at 96 an inch.
_WIDTH = 620
#: Largest width and height of a view, so that the guide map and four of them fit on a sheet.
_VIEW_BOX = (262, 274)
_NOTHING, _NO_BREAK = "–", "\u00a0"
#: The guide map is drawn this much larger than shown, for printers.
_MAP_SIZE, _MAP_SCALE = (880, 360), 2.5

_STYLE = """
body { font-family: Arial, Helvetica, "DejaVu Sans", sans-serif; font-size: 9pt; color: #1a1d23; background: #ffffff; }
h1 { font-size: 17pt; margin: 0; }
h2 { font-size: 11pt; margin-top: 8px; margin-bottom: 3px; color: #1f3a5f; }
p { margin-top: 3px; margin-bottom: 3px; }
td, th { font-size: 8pt; padding: 1px 8px 1px 0; text-align: left; vertical-align: top; }
th { color: #5b6472; font-weight: normal; }
.head { border-bottom: 1px solid #9aa4b2; }
.notice { background-color: #fff3cd; color: #6b4e00; font-weight: bold; padding: 6px; }
.doubt { color: #9c1c12; }
.doubtful { background-color: #fbe3e0; color: #9c1c12; font-weight: bold; padding: 6px; }
.small { font-size: 7pt; color: #5b6472; }
.number { text-align: right; }
""".strip()
_SCREEN_STYLE = f"body {{ max-width: {_WIDTH}px; margin: 24px auto; padding: 0 16px; }}"


def report_page(report: Report, *, screen: bool = True) -> str:
    """The page of a report.

    Args:
        report: what it says.
        screen: with margins for the window of a browser; without them for Qt, which would print them too.
    """
    title = _without_controls(f"Fetal pose report {report.name}".strip())
    parts = [
        _heading(report),
        _notice(),
        _doubt(report),
        _patient_and_case(report),
        _measurements(report),
        _dates(report),
        _quality(report),
        _doubts(report),
        _map(report),
        _pictures(report),
        _landmarks(report),
        _sources(report),
        _notice(),
    ]
    style = f"{_STYLE}\n@media screen {{ {_SCREEN_STYLE} }}" if screen else _STYLE
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style></head>\n<body>\n"
        + "\n".join(filter(None, map(_without_controls, parts)))
        + "\n</body></html>\n"
    )


def _without_controls(text: str) -> str:
    """HTML has no control characters but line breaks, and UTF-8 no lone surrogates."""
    return re.sub("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]", " ", text)


def _heading(report: Report) -> str:
    made = report.day.strftime("%Y" if report.identifiers_left_out else "%Y-%m-%d %H:%M")
    right = f'<td class="small number">{escape(SOFTWARE)}<br>{made}</td>'
    return f'<table width="100%"><tr><td><h1>Fetal pose report</h1></td>{right}</tr></table>'


def _notice() -> str:
    return f'<table width="100%"><tr><td class="notice">{escape(RESEARCH_USE)}</td></tr></table>'


def _doubt(report: Report) -> str:
    """On top of the page: why it is doubtful whether this is a fetus."""
    if not report.doubt:
        return ""
    return f'<table width="100%"><tr><td class="doubtful">Doubtful. {escape(report.doubt)}</td></tr></table>'


def _patient_and_case(report: Report) -> str:
    """Patient and case side by side; the case alone without a patient."""
    cells = filter(None, (_patient(report), _case(report)))
    return f'<table width="100%"><tr>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr></table>'


def _patient(report: Report) -> str:
    study = report.reported_study
    if study is None:
        return ""
    facts = [
        ("Patient", study.readable_name),
        ("Patient ID", " ".join(filter(None, (study.patient_id, study.issuer_of_patient_id)))),
        ("Born", study.readable_birth_date),
        ("Sex", study.sex),
        ("Study", " ".join(filter(None, (study.readable_date, study.description)))),
        ("Accession number", study.accession_number),
        ("Referring physician", study.referring_physician.replace("^", " ").strip()),
    ]
    return "<h2>Patient and study</h2>" + _facts(facts)


def _case(report: Report) -> str:
    present = int(report.pose.present.sum())
    count = f"{present} of {len(report.pose.present)} {'shown' if report.doubt else 'found'}"
    if report.states:
        count += f", {report.edited} of them set or confirmed by hand"
    facts = [
        ("Volume", report.name),
        ("Read by", report.operator),
        ("Fetus", "doubtful" if report.doubt else "found"),
        ("Landmarks", count),
        ("Sides", _sides(report)),
        ("Model", report.model),
        ("Computed on", report.device),
        ("Warnings", "; ".join(report.remarks)),
    ]
    return "<h2>Case</h2>" + _facts(facts)


def _sides(report: Report) -> str:
    sides = report.pose.laterality
    if sides is None:
        return ""
    return f"arms {shown_confidence(sides.arms_confidence)}, legs {shown_confidence(sides.legs_confidence)} certain"


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    rows = (f"<tr><th width='110'>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in facts if text)
    return f"<table>{''.join(rows)}</table>"


def _measurements(report: Report) -> str:
    found = report.measurements
    checks = {check.key: check for check in found.checks}
    crl, *bones = found.lengths
    ages = [found.dating, *(dating for dating in found.datings if dating is not found.dating)]
    length = _amount(crl.value_mm, "mm") or _NOTHING
    rows = [_row(crl.name, length, _amount(crl.uncertainty_mm, "mm"), "", "straight line, crown to rump")]
    rows += [_age_row(dating, chosen=dating is found.dating) for dating in ages]
    for bone in bones:
        check = checks[f"{bone.key}_for_crl"]
        value, plus_minus = _amount(bone.value_mm, "mm") or _NOTHING, _amount(bone.uncertainty_mm, "mm")
        rows.append(_row(f"{bone.name} *", value, plus_minus, _limits(check), check.remark, check.doubtful))
    rows += [_check_row(checks[key]) for key in ("femur_difference", "humerus_difference", "neck_posture")]
    plus_minus = f"±{_NO_BREAK}(90{_NO_BREAK}%)"
    head = _head_row((("Measurement", 29), ("Value", 11), (plus_minus, 12), ("Usual", 22), ("Remark", 26)))
    return f"<h2>Measurements</h2><table width='100%'>{head}{''.join(rows)}</table>" + _small(f"* {JOINT_CENTRES}")


def _age_row(dating: Dating, *, chosen: bool) -> str:
    low, high = dating.valid_range_mm
    name = f"Gestational age, {dating.name}" + (" (chosen)" if chosen else "")
    if not dating.weeks_text:
        return _row(name, _NOTHING, "", "", "the crown-rump length is missing")
    inside = "made for" if dating.valid else "outside"
    remark = f"{inside} a CRL of {low:g} to {high:g} mm"
    return _row(name, dating.weeks_text, _amount(dating.combined_days, "d"), "", remark, not dating.valid)


def _check_row(check: Check) -> str:
    value = _amount(check.value, check.unit) or _NOTHING
    plus_minus = _amount(check.uncertainty, check.unit)
    return _row(check.name, value, plus_minus, _limits(check), check.remark, check.doubtful)


def _row(name: str, value: str, plus_minus: str, usual: str, remark: str, doubtful: bool = False) -> str:
    style = ' class="doubt"' if doubtful else ""
    cells = (f"<td{style}>{escape(text)}</td>" for text in (value, plus_minus, usual, remark))
    return f"<tr><td>{escape(name)}</td>{''.join(cells)}</tr>"


def _head_row(columns: Sequence[tuple[str, int]]) -> str:
    """The titles of columns with their widths in percent."""
    cells = (f'<th class="head" width="{width}%">{escape(title)}</th>' for title, width in columns)
    return f"<tr>{''.join(cells)}</tr>"


def _dates(report: Report) -> str:
    """Ages that are known otherwise, which one decides, the due date, and where the length lies for that age."""
    decision = report.date_decision
    if decision is None or decision.due is None or report.dates is None:
        return ""
    rows = []
    for age in decision.ages:
        weeks, days = divmod(age.days, 7)
        limit = "" if age.limit_days is None else f"up to {age.limit_days} d"
        known = math.isfinite(age.difference_days)
        difference = f"{age.difference_days:+.0f}{_NO_BREAK}d by the length" if known else ""
        remark = "" if not known else "agrees" if age.agrees else "does not agree"
        rows.append(_row(f"Age by {age.name}", f"{weeks}w{days}d", difference, limit, remark, not age.agrees))
    weeks, days = divmod(round(decision.days), 7)
    rows.append(_row("Age that counts", f"{weeks}w{days}d", "", "", f"on {report.dates.examined}"))
    rows.append(_row("Birth due", str(decision.due), "", "", "280 days after the last period that this age means"))
    if math.isfinite(decision.z):
        place = f"{decision.centile:.0f}. centile"
        rows.append(_row("Crown-rump length for that age", place, f"z {decision.z:+.1f}", "", "INTERGROWTH-21st"))
    columns = (("Dates", 29), ("Value", 14), ("Difference", 15), ("Usual", 12), ("Remark", 30))
    notes = " ".join((decision.reason, *decision.remarks))
    return f"<h2>Dates</h2><table width='100%'>{_head_row(columns)}{''.join(rows)}</table>{_small(notes)}"


def _quality(report: Report) -> str:
    """The criteria of the image of the crown-rump length."""
    head = _head_row((("Criterion", 29), ("Value", 9), ("± (90 %)", 9), ("Usual", 15), ("Remark", 38)))
    known = [check for check in report.crl_quality if math.isfinite(check.value)]
    others = "; ".join(f"{check.name}: {check.remark}" for check in report.crl_quality if check not in known)
    table = f"<table width='100%'>{head}{''.join(map(_check_row, known))}</table>" if known else ""
    return f"<h2>Image of the crown-rump length</h2>{table}" + (_small(f"{others}.") if others else "")


def _doubts(report: Report) -> str:
    """Every check that failed."""
    doubts = [check for check in (*report.measurements.checks, *report.crl_quality) if check.doubtful]
    unknown = [check for check in report.measurements.checks if check.verdict == "unknown"]
    lines = [f'<p class="doubt"><b>{escape(check.name)}</b>: {escape(check.remark)}.</p>' for check in doubts]
    if not doubts:
        lines.append("<p>No check raised a doubt.</p>")
    if unknown:
        lines.append(_small("Not checked: " + ", ".join(check.name for check in unknown) + "."))
    return "<h2>To look at again</h2>" + "".join(lines)


def _map(report: Report) -> str:
    svg = guide_map(report.pose, report.measurements.plane, size=_MAP_SIZE, scale=_MAP_SCALE, states=report.states)
    image = _image("image/svg+xml", svg.encode("utf-8"), "Guide map of the skeleton", _WIDTH)
    legend = "Open circles are estimated, filled ones were set or confirmed by hand." if report.states else ""
    # in its own paragraph: Qt 5 draws a bare picture into the line of the heading, over its text
    return f"{_new_sheet('Guide map')}<p>{image}</p>" + (_small(legend) if legend else "")


def _pictures(report: Report) -> str:
    if not report.pictures:
        return ""
    views = ((_image("image/png", one.png, one.title, _fitted(one.png)), one.title) for one in report.pictures)
    cells = [f"<td>{image}{_small(title)}</td>" for image, title in views]
    rows = ("<tr>" + "".join(cells[start : start + 2]) + "</tr>" for start in range(0, len(cells), 2))
    return f"<h2>Views</h2><table>{''.join(rows)}</table>"


def _fitted(png: bytes) -> int:
    """The width at which a PNG fits into the box of a view; its size is in the header of the file."""
    width, height = struct.unpack(">II", png[16:24])
    fitted: float = min(_VIEW_BOX[0], _VIEW_BOX[1] * width / max(height, 1))
    return max(round(fitted), 1)


def _image(kind: str, content: bytes, title: str, width: int) -> str:
    data = base64.b64encode(content).decode("ascii")
    return f'<img src="data:{kind};base64,{data}" width="{width}" alt="{escape(title)}">'


def _landmarks(report: Report) -> str:
    pose, rows = report.pose, []
    for mark in report.pose.schema.landmarks:
        place = [f"{value:.1f}" for value in pose.positions[mark.row]] if pose.present[mark.row] else [_NOTHING] * 3
        sure = math.nan if pose.confidence is None else float(pose.confidence[mark.row])
        confidence = shown_confidence(sure) if math.isfinite(sure) else _NOTHING
        radius = _number(None if pose.radius90_mm is None else pose.radius90_mm[mark.row], 1)
        state: str = report.states[mark.row] if report.states else "found" if pose.present[mark.row] else "missing"
        if pose.doubt and state in ("found", "estimated"):
            state = "doubtful"
        name = f"{mark.name} †" if mark.assumed else mark.name
        cells = (str(mark.number), name, state, confidence, radius, *place)
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    columns = (("No.", 5), ("Landmark", 28), ("State", 13), ("Confidence", 14), ("90 % radius (mm)", 16))
    head = _head_row((*columns, ("R (mm)", 8), ("A (mm)", 8), ("S (mm)", 8)))
    table = f"<table width='100%'>{head}{''.join(rows)}</table>"
    assumed = any(mark.assumed for mark in report.pose.schema.landmarks)
    note = "† The paper does not name this landmark; its definition is assumed." if assumed else ""
    return _new_sheet("Landmarks") + table + (_small(note) if note else "")


def _sources(report: Report) -> str:
    ages = [f"{dating.name}: {dating.source}" for dating in report.measurements.datings]
    limits = dict.fromkeys(check.source for check in (*report.measurements.checks, *report.crl_quality))
    explained = (
        "± is half of the 90 % interval. For lengths, angles and differences it comes from the landmark radii; for "
        "ages from the scatter of single fetuses and the uncertainty of the length together."
    )
    return "<h2>Sources</h2>" + "".join(_small(line) for line in (explained, HANDEDNESS, *ages, *limits))


def _new_sheet(title: str) -> str:
    """A heading that starts a new sheet when printed."""
    return f'<h2 style="page-break-before: always">{escape(title)}</h2>'


def _small(text: str) -> str:
    return f'<p class="small">{escape(text)}</p>'


def _amount(value: float | None, unit: str) -> str:
    """A value with its unit; empty if unknown."""
    if value is None or not math.isfinite(value):
        return ""
    digits, sign = {"deg": (0, "°"), "d": (0, " d")}.get(unit, (1, f" {unit}"))
    text = f"{round(value, digits) + 0.0:.{digits}f}{sign}"  # no "-0.0"
    return text.replace(" ", _NO_BREAK)


def _limits(check: Check) -> str:
    low, high = (_amount(limit, check.unit) for limit in check.limits)
    text = f"{low} to {high}" if low and high else f"at least {low}" if low else f"up to {high}" if high else _NOTHING
    return text.replace(" ", _NO_BREAK)


def _number(value: float | None, digits: int) -> str:
    return _NOTHING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"
