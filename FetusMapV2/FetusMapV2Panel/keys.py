"""The letters of buttons: they count in the whole window, but not where the keyboard is used for something else."""

from __future__ import annotations

from collections.abc import Iterable

import qt
import slicer

_FOCUS_CHANGED = "focusChanged(QWidget*,QWidget*)"
#: What takes the letters that are typed: combo boxes search by them, editors of tables and lists are line edits.
_TAKE_LETTERS = ("QComboBox", "QAbstractSpinBox", "QLineEdit", "QTextEdit", "QPlainTextEdit")


class Letters:
    """Takes the shortcuts over from the buttons: a button's own one fires whatever has the focus.

    Args:
        buttons: those that have a shortcut in their .ui file. A hidden or disabled one has no key.
    """

    def __init__(self, buttons: Iterable):
        self._shortcuts = []
        for button in buttons:
            shortcut = qt.QShortcut(button)
            shortcut.setKey(button.shortcut)
            shortcut.connect("activated()", button.click)
            button.shortcut = qt.QKeySequence()
            self._shortcuts.append(shortcut)
        slicer.app.connect(_FOCUS_CHANGED, self._onFocus)

    def close(self) -> None:
        """Let go of the application."""
        slicer.app.disconnect(_FOCUS_CHANGED, self._onFocus)

    def _onFocus(self, before, now) -> None:
        typing = now is not None and any(now.inherits(name) for name in _TAKE_LETTERS)
        for shortcut in self._shortcuts:
            shortcut.setEnabled(not typing)
