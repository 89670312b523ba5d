"""The table of measurements."""

from __future__ import annotations

import qt

from FetusMapV2Lib.presenting.measurement_rows import MeasurementRow
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Panel.text_table import Style, TextTable
from FetusMapV2Panel.translations import translator

_ = translator(__name__)


def resultsTable(table: qt.QTableWidget) -> TextTable[MeasurementRow]:
    """The measurements of a pose in a table widget."""
    return TextTable(table, [_("Measurement"), _("Value ± 90 %"), _("Remark")], _style, fitsHeight=True, firm=[1])


def _style(row: MeasurementRow, column: int) -> Style:
    return Style(Tone.WARNING if row.doubtful and column > 0 else None, row.strong)
