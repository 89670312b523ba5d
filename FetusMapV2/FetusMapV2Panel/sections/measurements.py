"""The section that measures: table and guide map updated with every edit, and details."""

from __future__ import annotations

from html import escape

import qt

from FetusMapV2Lib.anatomy.measurements import Measurements
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.presenting.estimate_text import detail_rows
from FetusMapV2Lib.presenting.measurement_rows import measurement_rows
from FetusMapV2Panel import saved_settings
from FetusMapV2Panel.changes import Change
from FetusMapV2Panel.fitting import SizeObserver
from FetusMapV2Panel.guide_map_picture import showGuideMap
from FetusMapV2Panel.results_table import resultsTable
from FetusMapV2Panel.sections.base import Section
from FetusMapV2Panel.state import PanelState
from FetusMapV2Panel.translations import translator
from FetusMapV2Panel.widget_widths import wrappable

_ = translator(__name__)

_MAP_INTERVAL_MS = 40


class MeasurementsSection(Section):
    """Lengths, gestational age, checks, and the details of the estimate."""

    UI = "FetusMapV2Measurements.ui"

    def __init__(self, state: PanelState, widget: qt.QWidget) -> None:
        Section.__init__(self, state, widget)
        self._measured: Measurements | None = None
        self._table = resultsTable(self.ui.resultsTable)
        self.ui.formulaComboBox.connect("activated(int)", self.onFormulaChosen)
        # drawn at intervals during a drag, not with every move
        self._mapTimer = qt.QTimer(widget)
        self._mapTimer.setSingleShot(True)
        self._mapTimer.setInterval(_MAP_INTERVAL_MS)
        self._mapTimer.connect("timeout()", self._showMap)
        self._mapSize = SizeObserver(self.ui.guideMapLabel, self._mapTimer.start)
        self.ui.guideMapCollapsibleButton.connect("contentsCollapsed(bool)", lambda collapsed: self._showMap())
        self._show()

    def onChange(self, change: Change) -> None:
        if change in (Change.SHOWN_POSE_CHANGED, Change.POSE_EDITED, Change.PARAMETERS_CHANGED):
            self._show()
        if change is Change.COLOURS_CHANGED:
            self._table.updateColours()
        if change is Change.SHOWN_POSE_CHANGED:
            self.ui.guideMapLabel.clear()  # at once, even if collapsed: it shows another pose

    def onFormulaChosen(self, index: int) -> None:
        """Keep the user's choice for later scenes; the formula of a loaded scene is not kept."""
        if self.state.parameterNode is not None:
            saved_settings.savePreferences(self.state.parameterNode)

    def close(self) -> None:
        self._mapTimer.stop()
        Section.close(self)

    def _show(self) -> None:
        pose = self.state.pose()
        self._measured = self.state.measured()
        self._table.show(measurement_rows(self._measured) if self._measured is not None else [])
        self.ui.detailsLabel.setText(self._details(pose))
        if not self._mapTimer.isActive():
            self._mapTimer.start()

    def _showMap(self) -> None:
        """Draw the guide map, unless it is collapsed."""
        if self.ui.guideMapCollapsibleButton.collapsed:
            return
        poseScene = self.state.poseScene
        plane = self._measured.plane if self._measured is not None else None
        states = poseScene.states() if poseScene is not None else ()
        showGuideMap(self.ui.guideMapLabel, self.state.pose(), plane, states)

    def _details(self, pose: Pose | None) -> str:
        poseScene = self.state.poseScene
        if pose is None or poseScene is None:
            return _("No pose yet.")
        model = self.state.logic.modelOf(poseScene.landmarks_node)
        return _detailsHtml(detail_rows(pose, self.state.estimate, model))


def _detailsHtml(rows: list[tuple[str, str]]) -> str:
    lines = (f"<tr><td><b>{escape(name)}</b></td><td>{escape(wrappable(text))}</td></tr>" for name, text in rows)
    return "<table cellspacing='3'>" + "".join(lines) + "</table>"
