"""The `ctk` module of Slicer: the few CTK widgets that a module panel needs, in PySide6."""

from __future__ import annotations

import re

import slicer
from PySide6 import QtWidgets
from PySide6.QtCore import Property, QEvent, QSize, Qt, Signal
from PySide6.QtGui import QRegularExpressionValidator

from bench.qt_shim import custom_widget

_HEADER_HEIGHT = 24


@custom_widget
class ctkCollapsibleButton(QtWidgets.QWidget):
    """A header that collapses the widgets below it; a widget that was hidden itself stays hidden when it expands."""

    contentsCollapsed = Signal(bool)
    SIGNATURES = frozenset({"contentsCollapsed(bool)"})

    def __init__(self, text=None, parent=None):
        super().__init__(text if isinstance(text, QtWidgets.QWidget) else parent)
        self._collapsed = self._folding = False
        self._is_shown = {}  # child -> whether it is shown while expanded
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
                self._fold(child)
        self.contentsCollapsed.emit(self._collapsed)

    def childEvent(self, event):
        # A .ui file sets `collapsed` before it adds the contents.
        super().childEvent(event)
        child = event.child()
        if event.polished() and isinstance(child, QtWidgets.QWidget) and child is not self._header:
            child.installEventFilter(self)
            hidden = child.isHidden() and child.testAttribute(Qt.WA_WState_ExplicitShowHide)
            self._is_shown.setdefault(child, not hidden)
            self._fold(child)

    def eventFilter(self, child, event):
        shown = event.type() == QEvent.Type.ShowToParent
        if not self._folding and (shown or event.type() == QEvent.Type.HideToParent):
            self._is_shown[child] = shown
            self._fold(child)
        return False

    def _fold(self, child):
        self._folding = True
        child.setVisible(not self._collapsed and self._is_shown.get(child, True))
        # so that Qt sends an event for the next call of setVisible, even if it changes nothing
        child.setAttribute(Qt.WA_WState_ExplicitShowHide, False)
        self._folding = False

    text = Property(str, lambda self: self._header.text, lambda self, value: self._header.setText(value))
    collapsed = Property(bool, lambda self: self._collapsed, _set_collapsed)


@custom_widget
class ctkPathLineEdit(QtWidgets.QWidget):
    """A line with the path of a file or folder; the button that browses does nothing here.

    As in CTK it emits a path only if its validator accepts it: never an empty one, and with name filters only one that
    fits them. Its history is a list in the settings under a key of its own, and it is as wide as its path unless
    `sizeAdjustPolicy` is set.
    """

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    SIGNATURES = frozenset({"currentPathChanged(QString)", "validInputChanged(bool)"})
    Dirs, Files = 0x001, 0x002
    AdjustToContents, AdjustToContentsOnFirstShow, AdjustToMinimumContentsLength = range(3)
    _MAX_HISTORY = 5

    def __init__(self, parent=None):
        super().__init__(parent)
        self._key, self._filters, self._name_filters = "", 0, []
        self._policy, self._least, self._was_valid = self.AdjustToContentsOnFirstShow, 0, False
        self._combo = QtWidgets.QComboBox()
        self._combo.setEditable(True)
        self._combo.setInsertPolicy(QtWidgets.QComboBox.NoInsert)
        self.line = self._combo.lineEdit()
        self._set_name_filters([])
        self.line.textChanged.connect(self._on_text)
        self._browse = QtWidgets.QToolButton()
        self._browse.setText("...")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        layout.addWidget(self._browse)
        self.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)

    def _on_text(self, text):
        valid = self.line.hasAcceptableInput()
        if valid:
            self.currentPathChanged.emit(text)
        if valid != self._was_valid:
            self._was_valid = valid
            self.validInputChanged.emit(valid)

    def _settings_key(self):
        return f"ctkPathLineEdit/{self._key or self.objectName}"

    def _history(self):
        kept = slicer.app.userSettings().value(self._settings_key())
        return [kept] if isinstance(kept, str) else list(kept or [])

    def _set_key(self, key):
        """Store the last paths in the application's settings under a key."""
        self._key = key
        path, history = self.line.text, self._history()[: self._MAX_HISTORY]
        blocked = self.blockSignals(bool(path))
        self._combo.clear()
        self._combo.addItems(history)
        if path:
            self.line.setText(path)
        self.blockSignals(blocked)

    def _set_filters(self, filters):
        self._filters = filters

    def _set_name_filters(self, filters):
        self._name_filters = list(filters)
        patterns = [pattern for one in filters for pattern in re.findall(r"\*(\.\w+)", one)]
        ending = "|".join(re.escape(pattern) for pattern in patterns)
        self.line.setValidator(QRegularExpressionValidator(f".*({ending})" if ending else ".+", self))

    def _set_policy(self, policy):
        self._policy = policy

    def _set_least(self, characters):
        self._least = characters

    def addCurrentPathToHistory(self):
        path = self.line.text
        if not path:
            return
        history = [path, *(other for other in self._history() if other != path)]
        slicer.app.userSettings().setValue(self._settings_key(), history)
        self._combo.removeItem(self._combo.findText(path))
        self._combo.insertItem(0, path)
        self._combo.setCurrentIndex(0)

    def _hint(self, adjusts):
        metrics, characters = self.line.fontMetrics(), 0
        if adjusts and self._policy != self.AdjustToMinimumContentsLength:
            characters = metrics.boundingRect(self.line.text or 7 * "x").width() + 8
        width = max(characters, self._least * metrics.horizontalAdvance("X"))
        return QSize(width + 30 + self._browse.minimumSizeHint().width(), self._combo.minimumSizeHint().height())

    def sizeHint(self):
        return self._hint(True)

    def minimumSizeHint(self):
        return self._hint(self._least == 0)

    currentPath = Property(str, lambda self: self.line.text, lambda self, value: self.line.setText(value))
    settingKey = Property(str, lambda self: self._key, _set_key)
    filters = Property(int, lambda self: self._filters, _set_filters)
    nameFilters = Property("QStringList", lambda self: self._name_filters, _set_name_filters)
    sizeAdjustPolicy = Property(int, lambda self: self._policy, _set_policy)
    minimumContentsLength = Property(int, lambda self: self._least, _set_least)


@custom_widget
class ctkComboBox(QtWidgets.QComboBox):
    """A combo box with a default text."""


@custom_widget
class ctkMessageBox(QtWidgets.QMessageBox):
    """A message box; it must never be opened on the bench, where nobody answers it."""

    def exec_(self):
        raise RuntimeError("a modal message box was opened on the bench: " + self.text)
