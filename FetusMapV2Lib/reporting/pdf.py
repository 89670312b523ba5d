"""The report as PDF, printed from its page by Qt's rich text.

The caller passes Qt: Slicer's own `qt` in the panel, PySide6 on the command line. So nothing has to be installed in
Slicer, and names in any script are printed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.reporting.page import report_page
from FetusMapV2Lib.reporting.paper import MARGIN, PAPERS, Paper
from FetusMapV2Lib.reporting.report import Report
from FetusMapV2Lib.reporting.sheet import PICTURE_WIDTHS


def print_pdf(report: Report, path: Path, qt: Any) -> None:
    """Print the page of a report; its first sheet holds all that goes into the record.

    Args:
        report: what is printed.
        path: the file; an existing one is replaced.
        qt: a namespace with Qt's QTextDocument, QPrinter, QSizeF and, from Qt 6 on, QPageSize and QMarginsF; a Qt
            application is running.

    Raises:
        OutputError: Qt wrote no file.
    """
    printer = qt.QPrinter(qt.QPrinter.HighResolution)
    printer.setOutputFormat(qt.QPrinter.PdfFormat)
    printer.setOutputFileName(str(path))
    _use_whole_sheet(printer, qt, report.paper)
    document = _document(qt, report.paper)
    document.setHtml(report_page(report, screen=False, picture_width=_fitting_width(report, qt)))
    # PythonQt names the method as C++ does; PySide6 kept its name from Python 2
    (document.print_ if hasattr(document, "print_") else document.print)(printer)
    if not path.is_file() or not path.stat().st_size:
        raise OutputError("the PDF could not be written", where=path, remedy="Check the free space on the disk")
    if report.identifiers_left_out:
        path.write_bytes(_without_day(path.read_bytes()))


def _without_day(pdf: bytes) -> bytes:
    """The PDF with the first day of the year in place of the day of printing; no byte changes its place."""
    pdf = re.sub(rb"(Date \(D:\d{4})\d{10}", rb"\g<1>0101000000", pdf)
    return re.sub(rb"(xmp:\w+Date\W{1,3}\d{4})-\d\d-\d\dT\d\d:\d\d:\d\d", rb"\g<1>-01-01T00:00:00", pdf)


def _document(qt: Any, paper: Paper) -> Any:
    """An empty document on sheets of this size; Qt scales it to the printer, whatever the resolution of either."""
    document = qt.QTextDocument()
    document.setDocumentMargin(MARGIN)
    document.setPageSize(qt.QSizeF(*PAPERS[paper][:2]))
    return document


def _fitting_width(report: Report, qt: Any) -> int:
    """The largest pictures with which the first sheet is one page, the smallest if none of them fits."""
    for width in PICTURE_WIDTHS[:-1]:
        document = _document(qt, report.paper)
        document.setHtml(report_page(report, screen=False, picture_width=width, with_details=False))
        if document.pageCount() == 1:
            return width
    return PICTURE_WIDTHS[-1]


def _use_whole_sheet(printer: Any, qt: Any, paper: Paper) -> None:
    """Sheets without margins: the document has its own."""
    if hasattr(printer, "setPaperSize"):  # Qt 5, as in Slicer 5.10
        printer.setPaperSize(qt.QPrinter.A4 if paper == "a4" else qt.QPrinter.Letter)
        printer.setPageMargins(0.0, 0.0, 0.0, 0.0, qt.QPrinter.Millimeter)
    else:
        size = qt.QPageSize.A4 if paper == "a4" else qt.QPageSize.Letter
        printer.setPageSize(qt.QPageSize(size))
        printer.setPageMargins(qt.QMarginsF(0.0, 0.0, 0.0, 0.0))
