"""Several fetuses in one volume, side by side: a column for each, how they differ, and what is told of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from FetusMapV2Lib.anatomy.result_line import result_line
from FetusMapV2Lib.reporting.blocks import NOTHING, head_row, heading, row, small, table, with_uncertainty
from FetusMapV2Lib.reporting.report import Report

#: From this difference of the crown-rump lengths, percent of the larger one, a specialist is asked: a limit that is
#: widely used. It was not compared with the text of a guideline, and the report says so.
DISCORDANCE_LIMIT = 10.0
#: Which of the two dates: guidelines name the larger one, as this abstract tells (ISUOG's text was not read); in 359
#: pregnancies of known age the smaller one was closer.
GUIDELINE = "J Obstet Gynaecol Can 2023, PubMed 37633645"
_NOT_TOLD = "not told; it cannot be read off the landmarks"
_ORDER = (
    "The numbers are the order in which the fetuses were seen; they name no fetus in another volume or examination."
)


def twins_table(report: Report) -> str:
    """A column for each fetus, as HTML; empty if the volume shows one."""
    fetuses = report.fetuses
    if len(fetuses) < 2:
        return ""
    names = [f"Fetus {number}" for number in range(1, len(fetuses) + 1)]
    width = 70 // len(names)
    rows = [row(("Presence", *("doubtful" if one.doubt else "found" for one in fetuses)), doubtful=_any_doubt(report))]
    for index, length in enumerate(fetuses[0].measurements.lengths):
        values = [one.measurements.lengths[index] for one in fetuses]
        rows.append(row((length.name, *(with_uncertainty(one.value_mm, one.uncertainty_mm, "mm") for one in values))))
    rows += _size_rows(fetuses)
    rows.append(row(("Gestational age", *(one.measurements.dating.weeks_text or NOTHING for one in fetuses))))
    lines = [result_line(one.pose, one.measurements, quality=one.crl_quality) for one in fetuses]
    rows.append(row(("Posture", *(line.posture or NOTHING for line in lines))))
    rows.append(row(("Landmarks", *(line.landmarks for line in lines))))
    head = head_row((("Measurement", 30), *((name, width) for name in names)))
    notes = [f"Chorionicity and amnionicity: {report.chorionicity or _NOT_TOLD}.", *discordance(report), _ORDER]
    return heading(f"{len(names)} fetuses") + table(head, rows) + "".join(map(small, notes))


def _size_rows(fetuses: Sequence[Report]) -> list[str]:
    """A row for each size of head, abdomen and neck that was measured of one of them."""
    sizes = [{size.key: size for size in one.sizes if size.measured} for one in fetuses]
    names = {size.key: size.name for one in fetuses for size in one.sizes}
    rows = []
    for key, name in names.items():
        found = [one.get(key) for one in sizes]
        if any(found):
            cells = (
                NOTHING if one is None else with_uncertainty(one.value_mm, one.uncertainty_mm, "mm") for one in found
            )
            rows.append(row((name, *cells)))
    return rows


def discordance(report: Report) -> list[str]:
    """How much the crown-rump lengths differ, and which one dates; empty unless two are known."""
    lengths = [one.measurements.crl.value_mm for one in report.fetuses]
    known = [length for length in lengths if math.isfinite(length)]
    if len(known) < 2:
        return []
    percent = 100 * (max(known) - min(known)) / max(known)
    reason = "on a reason to ask a specialist (a customary limit, not compared with the text of a guideline)"
    advice = f", from {DISCORDANCE_LIMIT:g} % {reason}" if percent >= DISCORDANCE_LIMIT else ""
    return [
        f"The crown-rump lengths differ by {percent:.0f} % of the larger one{advice}; clinical practice guidelines "
        f"date by the larger one ({GUIDELINE})."
    ]


def _any_doubt(report: Report) -> bool:
    return any(one.doubt for one in report.fetuses)
