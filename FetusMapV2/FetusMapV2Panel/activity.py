"""The strip below the section of the running job or the last message: progress, Cancel, and that message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import qt
import slicer

from FetusMapV2Lib.presenting.durations import duration_text
from FetusMapV2Panel.changes import Change
from FetusMapV2Panel.colours import textColour
from FetusMapV2Panel.state import PanelState
from FetusMapV2Panel.translations import translator
from FetusMapV2Panel.widget_widths import limitWidths, wrappable

if TYPE_CHECKING:
    from FetusMapV2Panel.sections.base import Section

_ = translator(__name__)

_BOX = "#messageWidget {{ border: 1px solid {0}; border-radius: 4px; }}"


class ActivityStrip:
    """Shows the job and the message of `PanelState` below the section that they come from.

    Args:
        state: the shared state of the panel.
        frame: the panel's widget, whose layout contains the sections and the strip.
    """

    def __init__(self, state: PanelState, frame: qt.QWidget) -> None:
        self._state, self._frame = state, frame
        self._ui = slicer.util.childWidgetVariables(frame)
        self._fittings = limitWidths(self._ui.activityWidget)
        self._ui.cancelButton.connect("clicked(bool)", lambda checked=False: state.cancel())
        self._ui.messageButton.connect("clicked(bool)", self._onRemedy)
        self._stopListening = state.addListener(self.onChange)
        self._show()

    def onChange(self, change: Change) -> None:
        if change is Change.PROGRESS_CHANGED:
            self._showProgress()
        elif change in (Change.RUNNING_CHANGED, Change.MESSAGE_CHANGED, Change.COLOURS_CHANGED):
            self._show()

    def close(self) -> None:
        self._stopListening()

    def _show(self) -> None:
        self._moveBelow(self._state.speaker)
        running, text = self._state.running, self._state.message
        for widget in (self._ui.progressBar, self._ui.stageLabel, self._ui.cancelButton):
            widget.setVisible(running)
        self._ui.cancelButton.setEnabled(self._state.cancellable)
        self._showMessage(text)
        self._ui.activityWidget.setVisible(running or bool(text))
        self._showProgress()

    def _showMessage(self, text: str) -> None:
        """Show the message with the sign and the colour of its tone, and the button of its remedy."""
        tone, remedy = self._state.tone, self._state.remedy
        colour = textColour(tone, self._frame)
        self._ui.messageWidget.setStyleSheet(_BOX.format(colour))
        self._ui.messageSignLabel.setText(tone.value)
        self._ui.messageLabel.setText(wrappable(text))
        for label in (self._ui.messageSignLabel, self._ui.messageLabel):
            label.setStyleSheet(f"color: {colour}; font-weight: 600;")
        self._ui.messageButton.setText(remedy.text if remedy is not None else "")
        self._ui.messageButton.setVisible(remedy is not None)
        self._ui.messageWidget.setVisible(bool(text))

    def _onRemedy(self, checked: bool = False) -> None:
        if self._state.remedy is not None:
            self._state.remedy.apply()

    def _showProgress(self) -> None:
        self._ui.progressBar.setValue(round(100 * self._state.fraction))
        stage, remaining = self._state.stage, self._state.remaining
        if remaining is not None:
            stage = _("{0}, about {1} left").format(stage, duration_text(remaining))
        self._ui.stageLabel.setText(wrappable(stage))

    def _moveBelow(self, section: Section | None) -> None:
        if section is None:
            return
        layout, strip = self._frame.layout(), self._ui.activityWidget
        if layout.indexOf(strip) != layout.indexOf(section.widget) + 1:
            layout.removeWidget(strip)
            layout.insertWidget(layout.indexOf(section.widget) + 1, strip)
