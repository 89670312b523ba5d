"""Fits columns of tables, rows of widgets and texts of buttons into the width that the panel has.

Each part observes the size of its widget. Nothing here makes a widget wider than it may be.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import qt

from FetusMapV2Lib.presenting.column_widths import column_widths, columns_that_fit

#: Property of a button that holds its text while a shorter one is shown.
_FULL_TEXT = "fullText"
#: Property of a widget in a .ui file: its layout is a grid that has this many columns at most.
_MOST_COLUMNS = "mostColumns"
_LEAST_WIDTH = 24
#: Characters that a row of widgets has room for at least.
_ROW_CHARACTERS = 14


class _Fitting(qt.QObject):
    """Calls `fit` when a widget gets another size, and shows `wholeText` as tool tip where it is cut."""

    def __init__(self, widget: qt.QWidget) -> None:
        qt.QObject.__init__(self, widget)
        self._observed = widget
        widget.installEventFilter(self)

    def eventFilter(self, watched: qt.QObject, event: qt.QEvent) -> bool:
        """Called by Qt with every event of the widget."""
        if event.type() in (qt.QEvent.Resize, qt.QEvent.Show, qt.QEvent.FontChange):
            self.fit()
        elif event.type() == qt.QEvent.ToolTip and self.wholeText():
            tip = f"{self.wholeText()}\n{self._observed.toolTip}".strip()
            qt.QToolTip.showText(qt.QCursor.pos(), tip, self._observed)
            return True
        return False

    def fit(self) -> None:
        """Use the width that there is now."""

    def wholeText(self) -> str:
        """The whole text, if a part of it is shown; else empty."""
        return ""


class SizeObserver(_Fitting):
    """Calls a function when a widget gets another size or larger letters."""

    def __init__(self, widget: qt.QWidget, onChange: Callable[[], None]) -> None:
        self._onChange = onChange
        _Fitting.__init__(self, widget)

    def fit(self) -> None:
        self._onChange()


class FittedColumns(_Fitting):
    """The columns of a table or tree: they fill it exactly, and texts that do not fit are cut in the middle.

    Args:
        view: the table or tree.
        header: its horizontal header.
        count: how many columns it has.
        firm: columns that are cut last.
    """

    def __init__(
        self, view: qt.QTableWidget | qt.QTreeWidget, header: qt.QHeaderView, count: int, firm: Collection[int] = ()
    ) -> None:
        self._view, self._header, self._firm = view, header, firm
        self._natural = [0] * count
        header.setStretchLastSection(False)
        header.setMinimumSectionSize(1)
        for one in (view, header):
            one.setTextElideMode(qt.Qt.ElideMiddle)
        view.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        _Fitting.__init__(self, view.viewport())

    def measure(self, forget: bool = True) -> None:
        """Measure the texts and fit the columns; those that only grow do not jump during a drag.

        Args:
            forget: whether columns may also become narrower.
        """
        natural = []
        for column in range(len(self._natural)):
            self._view.resizeColumnToContents(column)
            natural.append(self._header.sectionSize(column))
        self._natural = natural if forget else [max(pair) for pair in zip(natural, self._natural, strict=True)]
        for column, width in enumerate(column_widths(self._natural, self._view.viewport().width, self._firm)):
            self._header.resizeSection(column, width)

    def fit(self) -> None:
        self.measure()


class WrappedRow(_Fitting):
    """A row of widgets that becomes a grid of fewer columns where the panel is narrow.

    Args:
        box: a widget whose layout is a grid; its property `mostColumns` is the largest number of columns.
        widgets: the widgets in the grid, in order.
    """

    def __init__(self, box: qt.QWidget, widgets: Sequence[qt.QWidget]) -> None:
        self._box, self._widgets, self._columns = box, list(widgets), 0
        for widget in self._widgets:
            widget.setMinimumWidth(_LEAST_WIDTH)
        _Fitting.__init__(self, box)
        self.fit()

    def fit(self) -> None:
        most = min(int(self._box.property(_MOST_COLUMNS)), len(self._widgets))
        hints = [_naturalWidth(widget) for widget in self._widgets]
        grid: Any = self._box.layout()
        columns = min(most, columns_that_fit(hints, self._box.width, max(grid.horizontalSpacing(), 0)))
        # a form puts the row below its label if it has less room than this beside it
        self._box.setMinimumWidth(min(max(hints), _ROW_CHARACTERS * _textWidth(self._box, "x")))
        if columns == self._columns:
            return
        self._columns = columns
        for widget in self._widgets:
            grid.removeWidget(widget)
        for number, widget in enumerate(self._widgets):
            grid.addWidget(widget, number // columns, number % columns)
        for column in range(most):
            grid.setColumnStretch(column, 1 if column < columns else 0)


class ElidedText(_Fitting):
    """A button or check box whose text is cut in the middle where it does not fit; the tool tip has all of it."""

    def __init__(self, button: qt.QAbstractButton) -> None:
        self._button, self._shown = button, button.text
        button.setMinimumWidth(_LEAST_WIDTH)
        _Fitting.__init__(self, button)

    def fit(self) -> None:
        button = self._button
        if button.text != self._shown:  # it was given another text
            button.setProperty(_FULL_TEXT, None)
        full = fullText(button)
        around = _hintWidth(button) - _textWidth(button, button.text)
        fits = _textWidth(button, full) + around <= button.width
        text = full if fits else _cut(button, full, button.width - around)
        button.setProperty(_FULL_TEXT, full)
        self._shown = text
        if button.text != text:
            button.setText(text)

    def wholeText(self) -> str:
        full = fullText(self._button)
        return full.replace("&", "") if self._button.text != full else ""


class CutChoice(_Fitting):
    """A combo box, which cuts its text itself; the tool tip has all of it."""

    def __init__(self, combo: qt.QComboBox) -> None:
        self._combo = combo
        _Fitting.__init__(self, combo)

    def wholeText(self) -> str:
        text = self._combo.currentText
        around = 2 * self._combo.height  # the arrow and the frame
        return text if _textWidth(self._combo, text) + around > self._combo.width else ""


def fitContents(children: Sequence[Any]) -> list[qt.QObject]:
    """Let rows, buttons and combo boxes follow their widths; keep the result as long as they are shown."""
    fittings: list[qt.QObject] = []
    for child in children:
        if child.inherits("QPushButton") or child.inherits("QCheckBox"):
            fittings.append(ElidedText(child))
        elif child.inherits("QComboBox"):
            fittings.append(CutChoice(child))
        elif child.property(_MOST_COLUMNS):
            grid = child.layout()
            fittings.append(WrappedRow(child, [grid.itemAt(number).widget() for number in range(grid.count())]))
    return fittings


def fullText(button: qt.QAbstractButton) -> str:
    """The text of a button, even if a part of it is shown."""
    return str(button.property(_FULL_TEXT) or button.text)


def _naturalWidth(widget: Any) -> int:
    width = _hintWidth(widget)
    if widget.inherits("QAbstractButton"):
        width += _textWidth(widget, fullText(widget)) - _textWidth(widget, widget.text)
    return width


def _hintWidth(widget: Any) -> int:
    hint = widget.sizeHint  # a property in Slicer's Qt, a method elsewhere
    return int((hint() if callable(hint) else hint).width())


def _textWidth(button: Any, text: str) -> int:
    return int(button.fontMetrics().horizontalAdvance(text.replace("&", "")))


def _cut(button: Any, text: str, width: int) -> str:
    return str(button.fontMetrics().elidedText(text.replace("&", ""), qt.Qt.ElideMiddle, max(width, 0)))
