"""A table of text rows, quick enough to follow a drag."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import qt

from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Panel.colours import cellColour
from FetusMapV2Panel.fitting import FittedColumns, SizeObserver

_MIN_HEIGHT = 60


class TextRow(Protocol):
    """A row of texts, and the tip of its cells."""

    @property
    def tip(self) -> str: ...

    def cells(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Style:
    """How a cell is drawn; without a tone in the colour of the palette."""

    tone: Tone | None = None
    bold: bool = False


_Row = TypeVar("_Row", bound=TextRow)


class TextTable(Generic[_Row]):
    """Shows rows in a QTableWidget; only cells of rows that changed are updated.

    Args:
        table: the widget.
        headers: the titles of the columns; long texts are cut in the middle, the tool tips have all of them.
        style: the style of a cell from its row and column.
        fitsHeight: whether the table is as tall as its rows, without a scroll bar.
        firm: columns that are cut last, such as those with values.
    """

    def __init__(
        self,
        table: qt.QTableWidget,
        headers: Sequence[str],
        style: Callable[[_Row, int], Style],
        fitsHeight: bool = False,
        firm: Collection[int] = (),
    ) -> None:
        self._table, self._style, self._fitsHeight = table, style, fitsHeight
        self._shown: list[_Row] = []
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels(list(headers))
        table.setWordWrap(False)
        table.setTabKeyNavigation(False)  # Tab leaves the table; arrow keys move in it
        self._letters = SizeObserver(table, self._fitHeight) if fitsHeight else None
        self._columns = FittedColumns(table, table.horizontalHeader(), len(headers), firm)
        table.verticalHeader().hide()
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        table.setAlternatingRowColors(True)

    def show(self, rows: Sequence[_Row]) -> None:
        """Show these rows."""
        before, self._shown = self._shown, list(rows)
        isResized = len(before) != len(rows)
        if isResized:
            self._table.setRowCount(len(rows))
            if self._fitsHeight:
                self._fitHeight()
        changed = [index for index, row in enumerate(rows) if isResized or row != before[index]]
        for index in changed:
            self._showRow(index, rows[index])
        if changed:
            self._columns.measure(forget=isResized)

    def updateColours(self) -> None:
        """Draw all rows again; call after a change of the palette."""
        for index, row in enumerate(self._shown):
            self._showRow(index, row)

    def _showRow(self, index: int, row: _Row) -> None:
        for column, text in enumerate(row.cells()):
            item = self._table.item(index, column)
            if item is None:
                item = qt.QTableWidgetItem()
                self._table.setItem(index, column, item)
            item.setText(text)
            item.setToolTip(f"{text}\n{row.tip}".strip())
            style, font = self._style(row, column), item.font()
            item.setData(qt.Qt.ForegroundRole, self._brush(style.tone))
            font.setBold(style.bold)
            item.setFont(font)

    def _brush(self, tone: Tone | None) -> qt.QBrush | None:
        return None if tone is None else qt.QBrush(qt.QColor(cellColour(tone, self._table)))

    def _fitHeight(self) -> None:
        table = self._table
        table.resizeRowsToContents()
        height = table.horizontalHeader().height + 2 * table.frameWidth + table.verticalHeader().length()
        height = max(height, _MIN_HEIGHT)
        if table.height != height:
            table.setFixedHeight(height)
