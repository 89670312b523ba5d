"""The findings of a check as one HTML page, the worst case first: pictures inside, no script, no link."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.version import SOFTWARE
from FetusMapV2Lib.training.checking.finding import CheckedCase, CheckedFolder, Finding

_STYLE = """
body { font-family: Arial, Helvetica, "DejaVu Sans", sans-serif; font-size: 14px; color: #1a1d23; margin: 24px; }
h1 { font-size: 22px; } h2 { font-size: 16px; margin: 0 0 6px 0; }
section { display: flex; gap: 16px; border-top: 1px solid #9aa4b2; padding: 12px 0; }
figure { margin: 0; } figcaption { font-size: 11px; color: #5b6472; }
svg { background: #000000; } path { stroke-width: 1.5; fill: none; } circle { stroke-width: 1.5; }
ul { margin: 0; padding-left: 18px; } li { margin-bottom: 4px; }
.error { color: #9c1c12; } .warning { color: #6b4e00; } .fine { color: #2b6b2b; }
""".strip()


def check_page(checked: CheckedFolder) -> str:
    """The page of a check."""
    title = _plain(f"Check of {checked.folder}")
    parts = [f"<h1>{title}</h1>", f"<p>{_plain(checked.summary())}. {_plain(SOFTWARE)}</p>"]
    if checked.general:
        parts.append(_list(checked.general))
    parts += map(_section, checked.cases)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _section(case: CheckedCase) -> str:
    schema, marked = default_schema(), _marked(case)
    figures = "".join(
        f"<figure>{one.svg(schema, marked)}<figcaption>{_plain(one.title)}</figcaption></figure>"
        for one in case.thumbnails
    )
    facts = f"{case.landmarks} landmarks" if case.fetus_present else "no fetus"
    said = _list(case.findings) if case.findings else '<p class="fine">Nothing was found.</p>'
    return f"<section>{figures}<div><h2>{_plain(case.name)}</h2><p>{facts}</p>{said}</div></section>"


def _marked(case: CheckedCase) -> frozenset[int]:
    """Rows of the landmarks that findings name; those that are missing cannot be seen anyway."""
    named = " ".join(finding.landmark for finding in case.findings if finding.kind != "missing")
    return frozenset(mark.row for mark in default_schema().landmarks if mark.name in named)


def _list(findings: Iterable[Finding]) -> str:
    return "<ul>" + "".join(f'<li class="{one.severity}">{_plain(one.line())}</li>' for one in findings) + "</ul>"


def _plain(text: str) -> str:
    """Text of a page: HTML has no control characters, and UTF-8 no lone surrogates."""
    return escape(re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", " ", text))
