"""The section that measures: table and guide map that follow every edit, planes of the fetus, details."""

from __future__ import annotations

import qt

from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Panel import results_table, saved_settings, view_orientation
from FetusMapV2Panel.guide_map_picture import showGuideMap
from FetusMapV2Panel.report_text import detailsHtml
from FetusMapV2Panel.sections.base import Section
from FetusMapV2Panel.state import Change
from FetusMapV2Panel.translations import translator
from FetusMapV2Panel.view_orientation import FetalPlane

_ = translator(__name__)

_MAP_INTERVAL_MS = 40


class MeasurementsSection(Section):
    """Lengths, gestational age, checks, and what is known about the estimate."""

    UI = "FetusMapV2Measurements.ui"

    def __init__(self, state, widget):
        Section.__init__(self, state, widget)
        self._found = None
        results_table.prepare(self.ui.resultsTable)
        for button, directions in (
            (self.ui.midsagittalButton, (FetalPlane.MIDSAGITTAL,)),
            (self.ui.coronalButton, (FetalPlane.CORONAL,)),
            (self.ui.transverseButton, (FetalPlane.TRANSVERSE,)),
            (self.ui.allPlanesButton, tuple(FetalPlane)),
        ):
            button.connect("clicked(bool)", lambda checked, chosen=directions: self.onTurnTo(*chosen))
        self.ui.ownAxesButton.connect(
            "clicked(bool)", lambda checked: view_orientation.resetOrientations(self.state.pose())
        )
        self.ui.formulaComboBox.connect("activated(int)", self.onFormulaChosen)
        # A drag moves faster than anyone looks at the map: it is drawn once in a while, not with every move.
        self._mapTimer = qt.QTimer(widget)
        self._mapTimer.setSingleShot(True)
        self._mapTimer.setInterval(_MAP_INTERVAL_MS)
        self._mapTimer.connect("timeout()", self._showMap)
        self.ui.guideMapCollapsibleButton.connect("contentsCollapsed(bool)", lambda collapsed: self._showMap())
        self._show()

    def onChange(self, change: Change) -> None:
        if change in (Change.SHOWN_POSE_CHANGED, Change.POSE_EDITED, Change.PARAMETERS_CHANGED):
            self._show()
        if change is Change.SHOWN_POSE_CHANGED:
            self.ui.guideMapLabel.clear()  # at once, and where nobody sees it, too: it is not of this pose

    def onFormulaChosen(self, index: int) -> None:
        """The user's choice holds for later scenes, too; a scene's own formula does not."""
        saved_settings.savePreferences(self.state.parameterNode)

    def close(self) -> None:
        self._mapTimer.stop()
        Section.close(self)

    def onTurnTo(self, *directions: FetalPlane) -> None:
        pose = self.state.pose()
        if pose is not None and not view_orientation.showPlanes(pose, *directions):
            self.say(_("Open a slice view first, for example with the layout Four-Up."))

    def _show(self) -> None:
        pose, parameters = self.state.pose(), self.state.parameterNode
        self._found = None
        if pose is not None and parameters is not None:
            self._found = measurements(pose, formula=parameters.datingFormula.value)
        contents = results_table.rowsOf(self._found) if self._found is not None else []
        results_table.fill(self.ui.resultsTable, contents)
        model = self.state.logic.modelOf(self.state.poseScene.landmarks_node) if pose is not None else ""
        self.ui.detailsLabel.setText(detailsHtml(pose, self.state.estimate, model))
        if not self._mapTimer.isActive():
            self._mapTimer.start()
        for button in (
            self.ui.midsagittalButton,
            self.ui.coronalButton,
            self.ui.transverseButton,
            self.ui.allPlanesButton,
        ):
            button.setEnabled(pose is not None)

    def _showMap(self) -> None:
        """Draw the guide map, unless nobody sees it."""
        if self.ui.guideMapCollapsibleButton.collapsed:
            return
        pose = self.state.pose()
        plane = self._found.plane if self._found is not None else None
        states = self.state.poseScene.states() if pose is not None else ()
        showGuideMap(self.ui.guideMapLabel, pose, plane, states)
