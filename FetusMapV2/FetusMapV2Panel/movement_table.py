"""The table of the movement at one frame."""

from __future__ import annotations

import qt

from FetusMapV2Lib.presenting.movement_rows import MovementRow
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Panel.text_table import Style, TextTable
from FetusMapV2Panel.translations import translator

_ = translator(__name__)


def movementTable(table: qt.QTableWidget) -> TextTable[MovementRow]:
    """Speeds and angles at a frame in a table widget."""
    return TextTable(table, [_("Part or joint"), _("This frame"), _("All frames"), _("Moves")], _style, firm=[1])


def _style(row: MovementRow, column: int) -> Style:
    return Style(Tone.FINDING if row.moves else None)
