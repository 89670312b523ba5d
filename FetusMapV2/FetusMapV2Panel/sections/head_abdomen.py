"""The section of head and abdomen: their sizes, the planes that they are measured in, and outlines to be dragged."""

from __future__ import annotations

import qt

from FetusMapV2Lib.anatomy.body_sections import SectionKey
from FetusMapV2Lib.presenting.section_rows import section_reasons, section_rows
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.scene.section_editing import propose_again, use_shown_plane
from FetusMapV2Lib.scene.volume_nodes import volume_from_node
from FetusMapV2Panel import view_orientation
from FetusMapV2Panel.changes import Change
from FetusMapV2Panel.outline_search import OutlineSearch
from FetusMapV2Panel.results_table import resultsTable
from FetusMapV2Panel.sections.base import Section
from FetusMapV2Panel.state import PanelState
from FetusMapV2Panel.translations import translator

_ = translator(__name__)


class HeadAbdomenSection(Section):
    """Searches the outlines while it is open, and shows them in the slice views."""

    UI = "FetusMapV2HeadAbdomen.ui"

    def __init__(self, state: PanelState, widget: qt.QWidget) -> None:
        Section.__init__(self, state, widget)
        self._table = resultsTable(self.ui.sectionsTable, firm=[0, 1])
        self._search = OutlineSearch(state, widget, self._show)
        self.ui.headAbdomenCollapsibleButton.connect("contentsCollapsed(bool)", self.onCollapsed)
        self.ui.headPlaneButton.connect("clicked(bool)", lambda checked: self.onShowPlane("head"))
        self.ui.abdomenPlaneButton.connect("clicked(bool)", lambda checked: self.onShowPlane("abdomen"))
        self.ui.shownPlaneButton.connect("clicked(bool)", self.onUseShownPlane)
        self.ui.proposeAgainButton.connect("clicked(bool)", self.onProposeAgain)
        self._show()

    def onChange(self, change: Change) -> None:
        if change is Change.SHOWN_POSE_CHANGED:
            self._search.forget()
        if change in (Change.SHOWN_POSE_CHANGED, Change.POSE_EDITED, Change.PARAMETERS_CHANGED, Change.RUNNING_CHANGED):
            if self._isOpen():
                self._search.startSoon()
            self._show()
        if change is Change.COLOURS_CHANGED:
            self._table.updateColours()

    def onCollapsed(self, collapsed: bool) -> None:
        if collapsed:
            self._search.forget()
        else:
            self._search.search()
        self._show()

    def onShowPlane(self, key: SectionKey) -> None:
        """Turn a slice view to the plane of head or abdomen."""
        self._search.search()
        fetus = self.state.poseScene
        shown = None if fetus is None else fetus.sections.sections()
        if shown is None:
            return
        section = shown.section(key)
        if section.plane is None:
            self.say(_("No plane: {0}.").format(section.reason), Tone.WARNING)
        elif not view_orientation.showCut(section.cut, view_orientation.FetalPlane.TRANSVERSE):
            self.say(_("Open a slice view first, for example with the layout Four-Up."), Tone.WARNING)

    def onUseShownPlane(self, checked: bool = False) -> None:
        """Measure head or abdomen in the plane that the slice view shows now."""
        self._search.search()
        fetus, view = self.state.poseScene, view_orientation.viewOf(view_orientation.FetalPlane.TRANSVERSE)
        if fetus is None or view is None or fetus.volume_node is None:
            return
        measured, seen = use_shown_plane(fetus, volume_from_node(fetus.volume_node), view)
        if measured is None:
            self.say(_("The slice view cuts neither head nor abdomen across. Go to one of them first."), Tone.WARNING)
        elif measured.ellipse is None:
            self.say(_("Not measured in this plane: {0}.").format(measured.reason), Tone.WARNING)
        elif not seen:
            self.say(_("The edge is not seen in this plane: drag the ellipse onto it."), Tone.WARNING)

    def onProposeAgain(self, checked: bool = False) -> None:
        if self.state.poseScene is not None:
            propose_again(self.state.poseScene, "head", "abdomen")

    def close(self) -> None:
        self._search.forget()
        Section.close(self)

    def _isOpen(self) -> bool:
        return not self.ui.headAbdomenCollapsibleButton.collapsed

    def _show(self) -> None:
        fetus, measured = self.state.poseScene, self.state.measured()
        shown = None if fetus is None or measured is None else fetus.sections.sections()
        self._table.show(section_rows(shown, float("nan") if measured is None else measured.dating.days))
        self.ui.sectionsNoteLabel.setText(section_reasons(shown))
        self.ui.sectionsNoteLabel.setVisible(bool(section_reasons(shown)))
        for button in (self.ui.headPlaneButton, self.ui.abdomenPlaneButton, self.ui.shownPlaneButton):
            button.setEnabled(fetus is not None and fetus.volume_node is not None)
        self.ui.proposeAgainButton.setEnabled(fetus is not None and bool(fetus.sections.sections_by_hand()))
