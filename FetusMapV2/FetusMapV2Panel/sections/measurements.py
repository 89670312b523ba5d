"""The section that measures: a table that follows every edit, and the details of the estimate."""

from __future__ import annotations

from FetusMapV2Panel import results_table
from FetusMapV2Panel.report_text import detailsHtml
from FetusMapV2Panel.sections.base import Section
from FetusMapV2Panel.state import Change


class MeasurementsSection(Section):
    """Lengths, gestational age, neck angle, and what is known about the estimate."""

    UI = "FetusMapV2Measurements.ui"

    def __init__(self, state, widget):
        Section.__init__(self, state, widget)
        results_table.prepare(self.ui.resultsTable)
        self._show()

    def onChange(self, change: Change) -> None:
        if change in (Change.POSE_SHOWN, Change.POSE_MOVED):
            self._show()

    def _show(self) -> None:
        pose, outcome = self.state.pose(), self.state.outcome
        results_table.fill(self.ui.resultsTable, results_table.rows(pose))
        model = self.state.logic.modelOf(self.state.poseScene.landmarks_node) if pose is not None else ""
        self.ui.detailsLabel.setText(detailsHtml(pose, outcome.estimate if outcome else None, model))
