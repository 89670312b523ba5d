"""Qt's printing for programs without a Qt application of their own."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

from FetusMapV2Lib.core.decimal_point import use_decimal_point
from FetusMapV2Lib.reporting.pdf import print_pdf
from FetusMapV2Lib.reporting.report import Report


def print_with_pyside(report: Report, path: Path) -> None:
    """Print a report as PDF with PySide6.

    Raises:
        OutputError: see `print_pdf`.
    """
    print_pdf(report, path, pyside_printing())


def pyside_printing() -> SimpleNamespace:
    """Qt's classes that print, from PySide6, with the one application object that they need."""
    from PySide6 import QtCore, QtGui, QtPrintSupport

    # Linux has no screen on a server; elsewhere the usual platform brings the fonts.
    platform = ["-platform", "offscreen"] if sys.platform.startswith("linux") else []
    application = QtGui.QGuiApplication.instance() or QtGui.QGuiApplication(["fetusmap", *platform])
    use_decimal_point()  # Qt has just set the user's
    return SimpleNamespace(
        application=application,
        QTextDocument=QtGui.QTextDocument,
        QPageSize=QtGui.QPageSize,
        QMarginsF=QtCore.QMarginsF,
        QSizeF=QtCore.QSizeF,
        QPrinter=QtPrintSupport.QPrinter,
    )
