"""Colours of texts, from the palette that the application has now: a light one, a dark one, or any other."""

from __future__ import annotations

from collections.abc import Callable

import qt

from FetusMapV2Lib.presenting.tones import READABLE_CONTRAST, Tone, contrast


def textColour(tone: Tone, widget: qt.QWidget) -> str:
    """The colour of a text in a label or another widget without a background of its own."""
    return tone.colour(_name(widget, qt.QPalette.Window))


def cellColour(tone: Tone, table: qt.QWidget) -> str:
    """The colour of a text in a table or list, which can be read in every second row as well."""
    base, alternate = _name(table, qt.QPalette.Base), _name(table, qt.QPalette.AlternateBase)
    colour = tone.colour(base)
    return colour if contrast(colour, alternate) >= READABLE_CONTRAST else tone.colour(alternate)


class PaletteObserver(qt.QObject):
    """Calls a function when a widget gets another palette, as all do when the application's changes.

    Args:
        widget: the widget.
        onChange: the function, called soon after.
    """

    def __init__(self, widget: qt.QWidget, onChange: Callable[[], None]) -> None:
        qt.QObject.__init__(self)
        self._widget, self._onChange, self._closed = widget, onChange, False
        widget.installEventFilter(self)

    def close(self) -> None:
        """Stop observing."""
        self._closed = True
        self._widget.removeEventFilter(self)

    def eventFilter(self, watched: qt.QObject, event: qt.QEvent) -> bool:
        """Called by Qt with every event of the widget."""
        if event.type() == qt.QEvent.PaletteChange:
            qt.QTimer.singleShot(0, self._notify)  # once its children have their palettes, too
        return False

    def _notify(self) -> None:
        if not self._closed:
            self._onChange()


def _name(widget: qt.QWidget, role: int) -> str:
    name: str = widget.palette.color(role).name()
    return name
