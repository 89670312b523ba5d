"""The report as one self-contained HTML page: pictures inside, no script, no link to anything."""

from __future__ import annotations

from html import escape

from FetusMapV2Lib.reporting.blocks import WIDTH, without_controls
from FetusMapV2Lib.reporting.details import details
from FetusMapV2Lib.reporting.paper import PAPERS
from FetusMapV2Lib.reporting.report import Report
from FetusMapV2Lib.reporting.sheet import PICTURE_WIDTHS, sheet

# sizes in pixels: a page is laid out the same whatever resolution a screen or a printer claims
_STYLE = """
body { font-family: Arial, Helvetica, "DejaVu Sans", sans-serif; font-size: 11px; color: #1a1d23; background: #ffffff; }
.name { font-size: 19px; font-weight: bold; margin: 0; color: #1f3a5f; }
.title { font-size: 12px; font-weight: bold; margin-top: 6px; margin-bottom: 1px; color: #1f3a5f; }
p { margin-top: 2px; margin-bottom: 2px; }
.picture { margin-top: 0; margin-bottom: 2px; }
td, th { font-size: 10px; padding: 1px 6px 1px 0; text-align: left; vertical-align: top; }
th { color: #4d5563; font-weight: normal; }
.dense td { font-size: 9px; padding-top: 0; padding-bottom: 0; }
.columns td { padding-top: 0; padding-bottom: 0; }
.head { border-bottom: 1px solid #9aa4b2; }
.notice { font-size: 10px; background-color: #fff3cd; color: #6b4e00; font-weight: bold; padding: 3px; }
.line { font-size: 16px; font-weight: bold; padding: 6px 8px; }
.fine { background-color: #e3f1e7; color: #14532d; }
.review { background-color: #fff3cd; color: #6b4e00; }
.doubtful { background-color: #fbe3e0; color: #9c1c12; }
.doubt, .flag { color: #9c1c12; }
.flag { font-size: 10px; margin: 0; }
.small { font-size: 9px; color: #4d5563; }
.number { text-align: right; }
.signed { border-bottom: 1px solid #1a1d23; padding-top: 12px; }
""".strip()


def report_page(
    report: Report,
    *,
    screen: bool = True,
    picture_width: int = PICTURE_WIDTHS[0],
    with_details: bool = True,
) -> str:
    """The page of a report: the sheet for the record, and behind it the details.

    Args:
        report: what it says.
        screen: with margins for the window of a browser; without them for Qt, which would print them too.
        picture_width: of the pictures on the first sheet, pixels.
        with_details: whether the sheets behind the first one follow.
    """
    title = without_controls(f"Fetal pose report {report.name}".strip())
    parts = [sheet(report, picture_width), details(report) if with_details else ""]
    style = _STYLE
    if screen:
        style += (
            f"\n@page {{ size: {PAPERS[report.paper][2]}; margin: 12mm; }}"
            f"\n@media screen {{ body {{ width: {WIDTH}px; margin: 24px auto; padding: 0 16px; }} }}"
        )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style></head>\n<body>\n"
        + "\n".join(filter(None, map(without_controls, parts)))
        + "\n</body></html>\n"
    )
