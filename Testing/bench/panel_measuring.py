"""Measures a panel as a user with a narrow screen, large letters or a dark theme sees it: what is cut, what is pale."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

from PySide6 import QtWidgets
from PySide6.QtGui import QPalette

from FetusMapV2Lib.presenting.tones import contrast

_COLOUR = r"#[0-9a-fA-F]{6}"


def visible_widgets(panel: Any) -> list[Any]:
    return [one for one in panel.findChildren(QtWidgets.QWidget) if one.isVisible()]


def cut(panel: Any) -> Iterator[str]:
    """What does not fit: widgets that reach out of their parents, and texts that are cut without a tool tip."""
    yield from _overlaps(panel)
    for one in visible_widgets(panel):
        name = f"{type(one).__name__} {one.objectName or one.parent().objectName}"
        parent = one.parentWidget()
        if one.geometry.right() > parent.width and not isinstance(parent.parentWidget(), QtWidgets.QAbstractScrollArea):
            yield f"{name} reaches {one.geometry.right() - parent.width} px out of its parent"
        if isinstance(one, QtWidgets.QLabel):
            yield from (f"{name}: {problem}" for problem in _cut_label(one))
        elif isinstance(one, QtWidgets.QPushButton | QtWidgets.QCheckBox):
            if one.sizeHint().width() > one.width and "…" not in one.text:
                yield f"{name}: {one.text!r} needs {one.sizeHint().width()} px of {one.width}"
        elif isinstance(one, QtWidgets.QTableWidget | QtWidgets.QTreeWidget):
            yield from (f"{name}: {problem}" for problem in _cut_cells(one))
        elif isinstance(one, QtWidgets.QAbstractSpinBox) and one.minimumSizeHint().width() > one.width:
            yield f"{name}: needs {one.minimumSizeHint().width()} px of {one.width}"


def _overlaps(panel: Any) -> Iterator[str]:
    """Neighbours that lie on each other, because there is too little height."""
    for parent in [panel, *visible_widgets(panel)]:
        if parent.layout() is None:
            continue
        children = [parent.layout().itemAt(number).widget() for number in range(parent.layout().count())]
        shown = [one for one in children if one is not None and one.isVisible()]
        for first, second in itertools.pairwise(shown):
            if first.geometry.intersects(second.geometry):
                yield f"{first.objectName} and {second.objectName} overlap"


def _cut_label(label: Any) -> Iterator[str]:
    if label.pixmap is not None and not label.pixmap.isNull():
        wide = label.pixmap.deviceIndependentSize().width()
        if wide > label.width:
            yield f"its picture needs {wide} px of {label.width}"
        tall = label.pixmap.deviceIndependentSize().height()
        if tall > label.height:
            yield f"its picture needs {tall} px of height, has {label.height}"
        return
    if not label.text:
        return
    if not label.wordWrap:
        if label.sizeHint().width() > label.width:
            yield f"{label.text!r} needs {label.sizeHint().width()} px of {label.width}"
    elif label.heightForWidth(label.width) > label.height:
        yield f"{label.text[:40]!r} needs {label.heightForWidth(label.width)} px of height, has {label.height}"
    elif label.minimumSizeHint().width() > label.width:
        yield f"{label.text[:40]!r} needs {label.minimumSizeHint().width()} px for a word, has {label.width}"


def _cut_cells(view: Any) -> Iterator[str]:
    header = view.horizontalHeader() if isinstance(view, QtWidgets.QTableWidget) else view.header()
    if isinstance(view, QtWidgets.QTableWidget) and view.minimumHeight == view.maximumHeight:
        rows = view.verticalHeader().length()
        yield from [f"rows take {rows} px of {view.viewport().height}"] if rows > view.viewport().height else []
    if header.length() > view.viewport().width:
        yield f"columns take {header.length()} px of {view.viewport().width}"
    for index, text, tip in _cells(view):
        needed = view.fontMetrics().horizontalAdvance(text)
        if needed > view.visualRect(index).width() and text not in re.sub("<[^>]+>", "", tip):
            yield f"{text!r} is cut and not in its tool tip {tip!r}"


def _cells(view: Any) -> Iterator[tuple[Any, str, str]]:
    model = view.model()
    roots = [model.index(row, 0) for row in range(model.rowCount())]
    leaves = [model.index(row, 0, root) for root in roots for row in range(model.rowCount(root))]
    for first in [*roots, *leaves]:
        for column in range(model.columnCount()):
            index = first.siblingAtColumn(column)
            yield index, str(index.data() or ""), str(index.data(_TIP_ROLE) or "")


_TIP_ROLE = 3  # Qt::ToolTipRole
_FOREGROUND_ROLE = 9


def buttons_that_are_cut(panel: Any) -> list[Any]:
    return [one for one in visible_widgets(panel) if isinstance(one, QtWidgets.QAbstractButton) and "…" in one.text]


def pale(panel: Any, least: float = 4.5) -> Iterator[str]:
    """Texts whose colour has too little contrast with what is behind them, by palette and style sheets."""
    for one in visible_widgets(panel):
        if not one.isEnabled():
            continue
        if isinstance(one, QtWidgets.QLabel) and one.text:
            background = _background(one)
            for colour in _label_colours(one):
                if contrast(colour, background) < least:
                    yield f"{one.objectName}: {colour} on {background}"
        elif isinstance(one, QtWidgets.QTableWidget):
            backgrounds = [one.palette.color(role).name() for role in (QPalette.Base, QPalette.AlternateBase)]
            for index, text, _tip in _cells(one):
                brush = index.data(_FOREGROUND_ROLE)
                colour = brush.color().name() if brush is not None else one.palette.color(QPalette.Text).name()
                if text and min(contrast(colour, background) for background in backgrounds) < least:
                    yield f"{one.objectName}: {text!r} {colour} on {backgrounds}"


def _label_colours(label: Any) -> list[str]:
    inside = re.findall(rf"(?<![-\w])color:\s*({_COLOUR})", label.text)
    own = re.findall(rf"(?<![-\w])color:\s*({_COLOUR})", label.styleSheet)
    return inside or own or [label.palette.color(QPalette.WindowText).name()]


def _background(widget: Any) -> str:
    found = re.search(rf"background(?:-color)?:\s*({_COLOUR})", widget.styleSheet)
    behind = widget
    while behind.styleSheet and behind.parentWidget() is not None:  # one with a style sheet keeps an old palette
        behind = behind.parentWidget()
    return found[1] if found else behind.palette.color(QPalette.Window).name()
