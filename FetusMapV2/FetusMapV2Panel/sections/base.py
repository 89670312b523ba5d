"""The base class of the panel's sections: its .ui file, the shared state, and messages."""

from __future__ import annotations

import qt
import slicer

from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Panel import widget_widths
from FetusMapV2Panel.changes import Change
from FetusMapV2Panel.state import PanelState, Remedy, Work


class Section:
    """One part of the clinician's work.

    Attributes:
        UI: its file in Resources/UI, set by the subclass. The top widget is a ctkCollapsibleButton, or a qMRMLWidget
            around it if there are node selectors (they get the scene through the connections of the file). Names of
            widgets are unique in the whole panel; `SlicerParameterName` binds them to the parameter node.
        state: the shared state of the panel.
        widget: the loaded top widget.
        ui: its named children.
    """

    UI = ""

    def __init__(self, state: PanelState, widget: qt.QWidget) -> None:
        self.state, self.widget = state, widget
        self.ui = slicer.util.childWidgetVariables(widget)
        self._fittings = widget_widths.limitWidths(widget)
        self._stopListening = state.addListener(self.onChange)

    def onChange(self, change: Change) -> None:
        """Show a change; called often, so check which one it is first."""

    def leave(self) -> None:
        """Stop waiting for a click; called when the user goes to another module, or the scene closes."""

    def close(self) -> None:
        """Release nodes and views; called when the panel closes."""
        self._stopListening()

    def say(self, text: str, tone: Tone = Tone.NOTE, remedy: Remedy | None = None) -> None:
        """Show a message below this section, see `PanelState.say`."""
        self.state.say(text, tone, section=self, remedy=remedy)

    def run(self, work: Work, usualSeconds: float | None = None, cancellable: bool = True) -> bool:
        """Run a long job with progress and Cancel below this section, see `PanelState.run`."""
        return self.state.run(work, section=self, usualSeconds=usualSeconds, cancellable=cancellable)
