"""The summary of a batch as one self-contained HTML page: counts, and the cases that need a look first."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable
from html import escape
from pathlib import Path

from FetusMapV2Lib.batch.case_work import THUMBNAILS
from FetusMapV2Lib.batch.journal import Record
from FetusMapV2Lib.core.notices import RESEARCH_USE
from FetusMapV2Lib.core.version import SOFTWARE

#: Order in which cases are shown, and what the outcomes are called.
_OUTCOMES = {
    "doubtful": "doubtful",
    "none": "no fetus found",
    "refused": "cannot be used",
    "lost": "given up",
    "found": "found",
}
#: Cases listed of each outcome; the table has all of them.
_MOST = {"found": 100}
_MOST_OTHERS = 500
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 24px auto; max-width: 1100px; padding: 0 16px; }
table { border-collapse: collapse; width: 100%; }
td, th { padding: 6px 10px 6px 0; text-align: left; vertical-align: top; border-bottom: 1px solid #8884; }
td:first-child { width: 136px; } img { display: block; border-radius: 4px; }
.notice { padding: 8px 12px; border-left: 4px solid #c80; } .small { opacity: .75; font-size: 13px; }
td { overflow-wrap: anywhere; }
""".strip()


def summary_page(records: Iterable[Record], output: Path, table: str) -> str:
    """The page.

    Args:
        records: of all cases; read once.
        output: folder of the batch, for the thumbnails.
        table: name of the table beside the page.
    """
    counts: Counter[str] = Counter()
    listed: dict[str, list[Record]] = {name: [] for name in _OUTCOMES}
    for record in records:
        counts[record["outcome"]] += 1
        if len(listed[record["outcome"]]) < _MOST.get(record["outcome"], _MOST_OTHERS):
            listed[record["outcome"]].append(record)
    parts = [f"<h1>{sum(counts.values())} cases</h1>", f'<p class="notice">{escape(RESEARCH_USE)}</p>', _counts(counts)]
    parts.append(f'<p>All cases: <a href="{escape(table)}">{escape(table)}</a></p>')
    parts += [_section(name, listed[name], counts[name], output) for name in _OUTCOMES if listed[name]]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Batch: {sum(counts.values())} cases</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + f'\n<p class="small">{escape(SOFTWARE)}</p></body></html>\n'
    )


def _counts(counts: Counter[str]) -> str:
    return "<p>" + ", ".join(f"{counts[name]} {words}" for name, words in _OUTCOMES.items() if counts[name]) + "</p>"


def _section(outcome: str, records: list[Record], count: int, output: Path) -> str:
    more = f" (the first {len(records)} of {count})" if count > len(records) else ""
    rows = "\n".join(_row(record, output) for record in records)
    head = "<tr><th></th><th>case</th><th>CRL (mm)</th><th>age (weeks)</th><th>remarks</th></tr>"
    return f"<h2>{_OUTCOMES[outcome].capitalize()}{more}</h2>\n<table>{head}\n{rows}</table>"


def _row(record: Record, output: Path) -> str:
    row = record["row"]
    remarks = " ".join(filter(None, (record.get("problem"), row.get("reason"), row.get("warnings"))))
    cells = (
        _image(output / THUMBNAILS / f"{record['case']}.png"),
        escape(_text(record["case"])),
        _with_interval(row.get("crl_mm"), row.get("crl_plus_minus_mm")),
        _weeks(row.get("age_days")),
        escape(_text(remarks)),
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _image(path: Path) -> str:
    try:
        data = base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError:
        return ""
    return f'<img alt="" width="128" height="128" src="data:image/png;base64,{data}">'


def _with_interval(value: float | None, interval: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if interval is None else f"{value:.1f} ± {interval:.1f}"


def _weeks(days: float | None) -> str:
    if days is None:
        return "–"
    weeks, rest = divmod(round(days), 7)
    return f"{weeks}w{rest}d"


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
