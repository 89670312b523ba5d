"""Single-letter shortcuts of buttons: active in the whole window, except while the user types into a widget."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import qt
import slicer

_FOCUS_CHANGED = "focusChanged(QWidget*,QWidget*)"
#: Widgets that use typed letters: combo boxes search by them, editors of tables and lists are line edits.
_LETTER_WIDGETS = ("QComboBox", "QAbstractSpinBox", "QLineEdit", "QTextEdit", "QPlainTextEdit")


class LetterShortcuts:
    """Replaces the shortcuts of buttons: a button's own shortcut fires whichever widget has the focus.

    Args:
        buttons: buttons with a shortcut in their .ui file. That of a hidden or disabled button does nothing.
        onChange: called with whether the letters are switched on, and whether they wait while the user types.
    """

    def __init__(self, buttons: Iterable[qt.QPushButton], onChange: Callable[[bool, bool], None]) -> None:
        self._onChange, self._isOn, self._isTyping = onChange, True, False
        self._shortcuts: list[qt.QShortcut] = []
        for button in buttons:
            shortcut = qt.QShortcut(button)
            shortcut.setKey(button.shortcut)
            shortcut.connect("activated()", button.click)
            button.shortcut = qt.QKeySequence()
            self._shortcuts.append(shortcut)
        slicer.app.connect(_FOCUS_CHANGED, self._onFocus)
        self._update()

    def setOn(self, isOn: bool) -> None:
        """Switch all letters on or off."""
        self._isOn = isOn
        self._update()

    def close(self) -> None:
        """Disconnect from the application."""
        slicer.app.disconnect(_FOCUS_CHANGED, self._onFocus)

    def _onFocus(self, before: qt.QWidget | None, now: qt.QWidget | None) -> None:
        self._isTyping = now is not None and any(now.inherits(name) for name in _LETTER_WIDGETS)
        self._update()

    def _update(self) -> None:
        for shortcut in self._shortcuts:
            shortcut.setEnabled(self._isOn and not self._isTyping)
        self._onChange(self._isOn, self._isTyping)
