"""What every section of the panel has: its own .ui file, the shared state, and a voice."""

from __future__ import annotations

import slicer

from FetusMapV2Panel import widget_widths
from FetusMapV2Panel.state import Change, PanelState


class Section:
    """One part of the clinician's work.

    Attributes:
        UI: its file in Resources/UI, set by the subclass. The top widget is a ctkCollapsibleButton, or a qMRMLWidget
            around it where there are node selectors (they get the scene by the connections of the file). Names of
            widgets are unique in the whole panel; `SlicerParameterName` binds them to the parameter node.
        state: what is on show.
        widget: the loaded top widget.
        ui: its named children.
    """

    UI = ""

    def __init__(self, state: PanelState, widget):
        self.state, self.widget = state, widget
        self.ui = slicer.util.childWidgetVariables(widget)
        widget_widths.limitWidths(widget)
        self._stopListening = state.addListener(self.onChange)

    def onChange(self, change: Change) -> None:
        """Something changed: show it. Called often; look at `change` first."""

    def leave(self) -> None:
        """The user goes to another module, or the scene closes: do not wait for a click any more."""

    def close(self) -> None:
        """The panel goes: let go of nodes and views."""
        self._stopListening()

    def say(self, text: str, isError: bool = False) -> None:
        """A line below this section."""
        self.state.say(text, isError, section=self)

    def run(self, work, **options) -> bool:
        """Do something long with progress and Cancel below this section, see `PanelState.run`."""
        return self.state.run(work, section=self, **options)
