"""The first sheet of a report: what goes into the record of one first-trimester examination, on one page.

Everything on it is limited in length, so that it stays one page; `details` has the rest in full.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from FetusMapV2Lib.anatomy.biometry import JOINT_CENTRES, Measurement
from FetusMapV2Lib.anatomy.body_sections import SectionSize
from FetusMapV2Lib.anatomy.dating import Dating, weeks_and_days
from FetusMapV2Lib.anatomy.known_dates import HEAD_SOURCE, LONGEST_CRL_MM
from FetusMapV2Lib.anatomy.nuchal import CUT_OFF_MM, NAME, Nuchal
from FetusMapV2Lib.anatomy.plausibility import Check
from FetusMapV2Lib.anatomy.result_line import result_line
from FetusMapV2Lib.core.notices import RESEARCH_USE
from FetusMapV2Lib.core.version import SOFTWARE
from FetusMapV2Lib.reporting import charts, crl_picture
from FetusMapV2Lib.reporting.blocks import (
    NO_BREAK,
    NOTHING,
    WIDTH,
    amount,
    elided,
    head_row,
    heading,
    image,
    limits,
    main_heading,
    ordinal,
    row,
    side_by_side,
    small,
    table,
    usual,
    with_uncertainty,
)
from FetusMapV2Lib.reporting.guide_map import guide_map
from FetusMapV2Lib.reporting.report import Report

#: Width of the two pictures beside each other at most and at least, pixels; they shrink where a sheet is short.
PICTURE_WIDTHS = (342, 300, 258, 216, 174, 132)
#: Characters and lines that the sheet has room for.
_LONG, _SHORT, _LONGEST_COMMENT, _MOST_FLAGS, _LONGEST_FLAG = 60, 34, 320, 6, 90
_VERDICTS = {"fine": "✓ fine", "borderline": "! borderline", "flagged": "! review", "unknown": "– not judged"}
_MAP_SIZE = (480, 320)


def sheet(report: Report, picture_width: int = PICTURE_WIDTHS[0]) -> str:
    """The first sheet, as HTML.

    Args:
        report: what it says.
        picture_width: of the picture of the length and of the skeleton, pixels; charts shrink with them.
    """
    left = [_measurements(report), _dating(report)]
    right = [_quality(report), _growth(report), _flags(report)]
    parts = [
        _heading(report),
        _identity(report),
        _line(report),
        _pictures(report, picture_width),
        _charts(report, picture_width),
        side_by_side(("".join(left), "".join(right)), (56, 44)),
        _comment(report),
        _signature(report),
        _foot(report),
    ]
    return "\n".join(filter(None, parts))


def _heading(report: Report) -> str:
    made = report.day.strftime("%Y" if report.identifiers_left_out else "%Y-%m-%d %H:%M")
    right = f'<td class="small number">{escape(elided(report.institution, _LONG))}<br>{made}</td>'
    title = f"<tr><td>{main_heading('Fetal pose report')}</td>{right}</tr>"
    notice = f'<tr><td class="notice">{escape(RESEARCH_USE)}</td></tr>'
    return table("", (title,)) + table("", (notice,))


def _identity(report: Report) -> str:
    study = report.reported_study
    pairs: list[tuple[str, str]] = []
    if study is not None:
        pairs = [
            ("Patient", study.readable_name),
            ("Patient ID", " ".join(filter(None, (study.patient_id, study.issuer_of_patient_id)))),
            ("Born", " ".join(filter(None, (study.readable_birth_date, study.sex)))),
            ("Study", " ".join(filter(None, (study.readable_date, study.description)))),
            ("Accession number", study.accession_number),
            ("Referring physician", study.referring_physician.replace("^", " ").strip()),
        ]
    examined = "" if report.dates is None else str(report.dates.examined)
    pairs += [("Volume", report.name), ("Examined", examined), ("Fetus", report.fetus_name.removeprefix("Fetus "))]
    known = [(name, elided(text, _SHORT)) for name, text in pairs if text]
    rows = []
    for start in range(0, len(known), 4):
        group = [*known[start : start + 4], *[("", "")] * (4 - len(known[start : start + 4]))]
        cells = (
            f'<td width="25%"><span class="small">{escape(name)}</span><br>{escape(text)}</td>' for name, text in group
        )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return table("", rows) if rows else ""


def _line(report: Report) -> str:
    line = result_line(report.pose, report.measurements, quality=report.crl_quality)
    doubt = f"<br>{escape(elided(report.doubt, 2 * _LONG))}" if report.doubt else ""
    return (
        f'<table width="100%" cellspacing="0"><tr><td class="line {line.grade}">{line.sign}&nbsp; {escape(line.text)}'
        f'<span class="small">{doubt}</span></td></tr></table>'
    )


def _pictures(report: Report, width: int) -> str:
    size = crl_picture.SIZE
    height = round(width * size[1] / size[0])
    skeleton = guide_map(
        report.pose, report.measurements.plane, size=_MAP_SIZE, scale=2.0, names=False, states=report.states, light=True
    )
    cells = [image(skeleton, "Skeleton, numbered as on page 2", width, height)]
    if report.crl_image:
        cells.insert(0, image(report.crl_image, "Crown-rump length in the midsagittal plane", width, height))
    return side_by_side(cells, (50, 50) if len(cells) == 2 else (100,))


def _charts(report: Report, picture_width: int) -> str:
    found = report.measurements
    crl, *bones = found.lengths
    drawn = [("Crown-rump length", charts.crl_chart(crl, report.days))]
    for bone in ("femur", "humerus"):
        pair = [one for one in bones if one.key.endswith(bone)]
        drawn.append((bone.capitalize(), charts.bone_chart(bone, pair, crl)))
    width = min((WIDTH - 24) // len(drawn), picture_width * 2 // 3 + 24)
    height = round(width * charts.SIZE[1] / charts.SIZE[0])
    cells = [image(svg, f"{name} on its reference chart", width, height) for name, svg in drawn]
    return side_by_side(cells, (34, 33, 33)) + small(_place_on_chart(report))


def _place_on_chart(report: Report) -> str:
    """Centile of the length, where an age is known that does not come from it."""
    decision = report.date_decision
    if decision is not None and math.isfinite(decision.z):
        return (
            f"Crown-rump length at the age by other dates: {ordinal(decision.centile)} centile (z {decision.z:+.1f})."
        )
    if decision is not None and decision.decides == "head":
        return "The age that counts is that of the head circumference; no other date is known."
    if decision is not None and decision.decides != "crl":
        return "The age that counts lies beyond the chart: no centile."
    return "No other date is known: the age comes from the length itself, which then lies near the 50th centile."


def _measurements(report: Report) -> str:
    found = report.measurements
    checks = {check.key: check for check in found.checks}
    crl, *bones = found.lengths
    rows = [_length_row(crl, None), *(_length_row(bone, checks[f"{bone.key}_for_crl"]) for bone in bones)]
    rows += [] if report.sections is None else [_size_row(size, report.days) for size in report.sections.sizes]
    rows += [] if report.nuchal is None else [_nuchal_row(report.nuchal)]
    rows += [_check_row(checks[key]) for key in ("femur_difference", "humerus_difference", "neck_posture")]
    head = head_row((("Measurement", 30), ("± 90 %", 24), ("Usual", 22), ("Remark", 24)))
    return heading("Measurements") + table(head, rows) + small(f"* {JOINT_CENTRES}")


def _length_row(length: Measurement, check: Check | None) -> str:
    value = with_uncertainty(length.value_mm, length.uncertainty_mm, "mm")
    if check is None:
        return row((length.name, value, "", "an end set by hand" if length.placed_by_hand else "straight line"))
    return row((f"{length.name} *", value, usual(check), _short(check)), doubtful=check.doubtful)


def _size_row(size: SectionSize, days: float) -> str:
    """A size of head or abdomen, and where it lies on the chart at the age that counts."""
    name = size.name.partition(",")[0]
    value = with_uncertainty(size.value_mm, size.uncertainty_mm, "mm")
    if not size.measured:
        return row((name, value, "", elided(size.note.partition(":")[0], _SHORT)))
    place = next(iter(size.places(days)), None)
    if place is None:
        return row((name, value, NOTHING, ""))
    usual_range = f"{place.low_mm:.1f}{NO_BREAK}to{NO_BREAK}{place.high_mm:.1f}"
    outside = not place.low_mm <= size.value_mm <= place.high_mm
    return row((name, value, usual_range, f"{ordinal(place.centile)}, {place.chart}"), doubtful=outside)


def _nuchal_row(nuchal: Nuchal) -> str:
    usual_range = f"below{NO_BREAK}{CUT_OFF_MM:g}{NO_BREAK}mm"
    return row((NAME, f"{nuchal.value_mm:.1f} mm", usual_range, "callipers set by hand"), doubtful=nuchal.is_above)


def _check_row(check: Check) -> str:
    value = with_uncertainty(check.value, check.uncertainty, check.unit)
    return row((check.name, value, usual(check), _short(check)), doubtful=check.doubtful)


def _short(check: Check) -> str:
    """The remark without its reason, which page 2 has."""
    return elided(check.remark.split(":")[0], _SHORT)


def _dating(report: Report) -> str:
    """Every formula side by side, what else is known of the age, which one decides, and when birth is due."""
    found = report.measurements
    ages = [found.dating, *(dating for dating in found.datings if dating is not found.dating)]
    rows = [_age_row(dating, chosen=dating is found.dating) for dating in ages]
    above = found.crl.value_mm > LONGEST_CRL_MM
    if report.head_age is not None and (above or report.head_age.valid):
        rows.append(_age_row(report.head_age, chosen=False, of="HC"))
    rows += _known_ages(report)
    head = head_row((("Gestational age", 36), ("Age", 18), ("± 90 %", 13), ("Made for / remark", 33)))
    notes = [] if report.date_decision is None else [report.date_decision.reason]
    if above:
        measured = "" if report.head_age is not None else ", which was not measured"
        notes.append(f"Above a CRL of {LONGEST_CRL_MM:g} mm the head circumference decides{measured} ({HEAD_SOURCE}).")
    return heading("Dating") + table(head, rows) + "".join(map(small, notes))


def _age_row(dating: Dating, *, chosen: bool, of: str = "CRL") -> str:
    name = f"{dating.name} (chosen)" if chosen else dating.name
    low, high = dating.valid_range_mm
    if not dating.weeks_text:
        return row((name, NOTHING, "", "no crown-rump length"))
    remark = f"{of} {low:g} to {high:g} mm" if dating.valid else f"outside its {low:g} to {high:g} mm"
    return row((name, dating.weeks_text, amount(dating.combined_days, "d"), remark), doubtful=not dating.valid)


def _known_ages(report: Report) -> list[str]:
    decision = report.date_decision
    if decision is None or decision.due is None:
        return []
    rows = []
    for age in decision.ages:
        known = math.isfinite(age.difference_days)
        remark = f"measured {age.difference_days:+.0f}{NO_BREAK}d" if known else ""
        if known and age.limit_days is not None:
            remark += f", limit {age.limit_days}{NO_BREAK}d"
        rows.append(row((f"By {age.name}", weeks_and_days(age.days), "", remark), doubtful=not age.agrees))
    rows.append(row(("Birth due", str(decision.due), "", f"counts {weeks_and_days(decision.days)}")))
    return rows


def _quality(report: Report) -> str:
    """The criteria of the image of the crown-rump length, each with value, limit and verdict."""
    head = head_row((("Image of the length", 40), ("Value", 17), ("Limit", 19), ("Verdict", 24)))
    rows = [
        row(
            (check.name, amount(check.value, check.unit) or NOTHING, limits(check), _VERDICTS[check.verdict]),
            doubtful=check.doubtful,
        )
        for check in report.crl_quality
    ]
    return heading("Quality") + table(head, rows)


def _growth(report: Report) -> str:
    """How every size grew since the earlier examination, a day, beside what the charts expect."""
    if report.earlier is None or report.dates is None:
        return ""
    days = (report.dates.examined - report.earlier.day).days
    rows = []
    for one in report.growth:
        expected = NOTHING if one.expected_mm is None else f"{one.expected_mm:.2f}"
        grown = f"{one.per_day_mm:.2f}"
        if one.uncertainty_mm is not None:
            grown += f"{NO_BREAK}±{NO_BREAK}{one.uncertainty_mm:.2f}"
        rows.append(row((one.name, f"{one.before_mm:.1f}", f"{one.now_mm:.1f}", grown, expected)))
    head = head_row((("Growth (mm)", 40), ("Before", 13), ("Now", 12), ("A day", 22), ("Usual", 13)))
    then = f" at {report.earlier.weeks}" if report.earlier.weeks else ""
    return heading(f"Since {report.earlier.day}{then}, {days} days") + table(head, rows)


def _flags(report: Report) -> str:
    """What deserves a look, each on a line of its own."""
    doubts = [check for check in (*report.measurements.checks, *report.crl_quality) if check.doubtful]
    found = [f"{check.name}: {check.remark}." for check in doubts] + _landmarks(report) + list(report.remarks)
    shown = found[:_MOST_FLAGS] if len(found) <= _MOST_FLAGS else found[: _MOST_FLAGS - 1]
    lines = [f'<p class="flag">! {escape(elided(text, _LONGEST_FLAG))}</p>' for text in shown]
    if len(shown) < len(found):
        lines.append(f'<p class="flag">! {len(found) - len(shown)} more on page 2.</p>')
    return heading("To look at again") + ("".join(lines) or "<p>No check raised a doubt.</p>")


def _landmarks(report: Report) -> list[str]:
    """Which landmarks are doubtful and which are missing, by their numbers; those of a doubtful fetus are all."""
    pose = report.pose
    groups = {"Doubtful": pose.doubtful & (not report.doubt), "Missing": ~pose.present}
    named = {
        title: ", ".join(f"{mark.number} {mark.name}" for mark in pose.schema.landmarks if rows[mark.row])
        for title, rows in groups.items()
    }
    return [f"{title}: {names}." for title, names in named.items() if names]


def _comment(report: Report) -> str:
    if not report.comment:
        return ""
    return heading("Comment") + f"<p>{escape(elided(report.comment, _LONGEST_COMMENT))}</p>"


def _signature(report: Report) -> str:
    """Who examined, where, and a line to sign on."""
    cells: Sequence[tuple[str, str, int]] = (
        ("Examiner", elided(report.operator, _SHORT), 28),
        ("Institution", elided(report.institution, _SHORT), 30),
        ("Date", "", 14),
        ("Signature", "", 28),
    )
    written = "".join(f'<td width="{width}%" class="signed">{escape(text)}&nbsp;</td>' for _, text, width in cells)
    below = "".join(f'<td class="small">{escape(name)}</td>' for name, _, _ in cells)
    return f'<table width="100%" cellspacing="6"><tr>{written}</tr><tr>{below}</tr></table>'


def _foot(report: Report) -> str:
    model = " – ".join(filter(None, (report.model, report.model_card)))
    texts = [f"Model: {elided(model, 4 * _LONG)}" if model else "", SOFTWARE, "± is half of the 90 % interval."]
    return small(" · ".join(filter(None, texts)))
