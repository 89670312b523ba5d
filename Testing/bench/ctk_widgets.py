"""The `ctk` module of Slicer: the few CTK widgets that a module panel needs, in PySide6."""

from __future__ import annotations

import slicer
from PySide6 import QtWidgets
from PySide6.QtCore import Property, Qt, Signal

from bench.qt_shim import custom_widget

_HEADER_HEIGHT = 24


@custom_widget
class ctkCollapsibleButton(QtWidgets.QWidget):
    """A header that folds the widgets below it."""

    contentsCollapsed = Signal(bool)
    SIGNATURES = frozenset({"contentsCollapsed(bool)"})

    def __init__(self, text=None, parent=None):
        super().__init__(text if isinstance(text, QtWidgets.QWidget) else parent)
        self._collapsed = False
        self._header = QtWidgets.QToolButton(self)
        self._header.setToolButtonStyle(Qt.ToolButtonTextBesideIcon)
        self._header.setArrowType(Qt.DownArrow)
        self._header.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        self._header.setText(text if isinstance(text, str) else "")
        self._header.clicked.connect(lambda: self._set_collapsed(not self._collapsed))
        self.setContentsMargins(0, _HEADER_HEIGHT + 2, 0, 0)

    def resizeEvent(self, event):
        self._header.setGeometry(0, 0, event.size().width(), _HEADER_HEIGHT)

    def _set_collapsed(self, collapsed):
        self._collapsed = bool(collapsed)
        self._header.setArrowType(Qt.RightArrow if collapsed else Qt.DownArrow)
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget) and child is not self._header:
                child.setVisible(not collapsed)
        self.contentsCollapsed.emit(self._collapsed)

    def childEvent(self, event):
        # A .ui file sets `collapsed` before it adds the contents.
        super().childEvent(event)
        child = event.child()
        if event.polished() and isinstance(child, QtWidgets.QWidget) and child is not self._header:
            child.setVisible(not self._collapsed)

    text = Property(str, lambda self: self._header.text, lambda self, value: self._header.setText(value))
    collapsed = Property(bool, lambda self: self._collapsed, _set_collapsed)


@custom_widget
class ctkPathLineEdit(QtWidgets.QWidget):
    """A line with the path of a file or folder; the button that browses does nothing here."""

    currentPathChanged = Signal(str)
    SIGNATURES = frozenset({"currentPathChanged(QString)"})
    Dirs, Files = 0x001, 0x002

    def __init__(self, parent=None):
        super().__init__(parent)
        self._key, self._filters = "", 0
        self.line = QtWidgets.QLineEdit()
        self.line.textChanged.connect(self.currentPathChanged)
        browse = QtWidgets.QToolButton()
        browse.setText("...")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line)
        layout.addWidget(browse)

    def _set_key(self, key):
        """Under a key the last paths are remembered in the application's settings."""
        self._key = key
        kept = slicer.app.userSettings().value(key)
        if kept:
            self.line.setText(kept)

    def _set_filters(self, filters):
        self._filters = filters

    def addCurrentPathToHistory(self):
        slicer.app.userSettings().setValue(self._key, self.line.text)

    currentPath = Property(str, lambda self: self.line.text, lambda self, value: self.line.setText(value))
    settingKey = Property(str, lambda self: self._key, _set_key)
    filters = Property(int, lambda self: self._filters, _set_filters)


@custom_widget
class ctkComboBox(QtWidgets.QComboBox):
    """A combo box with a default text."""


@custom_widget
class ctkMessageBox(QtWidgets.QMessageBox):
    """A message box; on the bench it must never be opened, because nobody would answer it."""

    def exec_(self):
        raise RuntimeError("a modal message box was opened on the bench: " + self.text)
