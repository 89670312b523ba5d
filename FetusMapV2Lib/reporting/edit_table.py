"""The table of what was done to the landmarks by hand, for the sheets behind the first one."""

from __future__ import annotations

from FetusMapV2Lib.imaging.edit_log import Edit, Place, merged
from FetusMapV2Lib.reporting.blocks import NOTHING, head_row, heading, row, small, table
from FetusMapV2Lib.reporting.report import Report

#: Most rows of the table; the JSON has all of them.
_MOST = 30
_COLUMNS = (("Time (UTC)", 19), ("By", 17), ("Change", 18), ("Landmark", 20), ("From R, A, S (mm)", 13), ("To", 13))


def edits_table(report: Report) -> str:
    """The changes by hand as HTML; empty if there were none."""
    if not report.edits:
        return ""
    edits = merged(report.edits)
    rows = [row(_cells(report, edit)) for edit in edits[-_MOST:]]
    notes = ["Successive moves of one landmark are one row. What was undone stays in the list."]
    if len(edits) > _MOST:
        notes.append(f"The last {_MOST} of {len(edits)} rows; the JSON of the results has every step.")
    made = dict.fromkeys(", ".join(filter(None, (edit.software, edit.model))) for edit in edits)
    notes.append(f"Made in: {'; '.join(made)}.")
    return (
        heading("Changes by hand")
        + f'<div class="dense">{table(head_row(_COLUMNS), rows)}</div>'
        + small(" ".join(notes))
    )


def _cells(report: Report, edit: Edit) -> tuple[str, ...]:
    named, start, end = "all", NOTHING, NOTHING
    if len(edit.changes) == 1:
        change = edit.changes[0]
        named = report.pose.schema.landmarks[change.number - 1].name
        start, end = _place(change.before), _place(change.after)
    elif edit.changes:
        named = "Nos. " + ", ".join(str(change.number) for change in edit.changes)
    time = edit.time.replace("T", " ").rstrip("Z") or NOTHING
    action = edit.action if edit.frame is None else f"{edit.action} (frame {edit.frame + 1})"
    return time, edit.examiner or NOTHING, action, named, start, end


def _place(place: Place | None) -> str:
    return "missing" if place is None else ", ".join(f"{value:.1f}" for value in place)
