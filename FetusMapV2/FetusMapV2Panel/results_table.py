"""The table of measurements."""

from __future__ import annotations

from collections.abc import Collection

import qt

from FetusMapV2Lib.presenting.measurement_rows import MeasurementRow
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Panel.text_table import Style, TextTable
from FetusMapV2Panel.translations import translator

_ = translator(__name__)


def resultsTable(table: qt.QTableWidget, firm: Collection[int] = (1,)) -> TextTable[MeasurementRow]:
    """Measurements in a table widget; `firm` are the columns that are cut last."""
    return TextTable(table, [_("Measurement"), _("Value ± 90 %"), _("Remark")], _style, fitsHeight=True, firm=firm)


def _style(row: MeasurementRow, column: int) -> Style:
    return Style(Tone.WARNING if row.doubtful and column > 0 else None, row.strong)
