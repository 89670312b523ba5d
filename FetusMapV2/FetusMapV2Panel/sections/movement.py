"""The section for 4D: estimate all frames of a sequence, step through them, and show the movement."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer
import vtk

from FetusMapV2Lib.core.atomic_files import safe_stem
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel
from FetusMapV2Lib.presenting.estimate_text import frames_text
from FetusMapV2Lib.presenting.movement_rows import frame_text, movement_rows
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.scene import movement_nodes
from FetusMapV2Lib.scene.node_names import node_name
from FetusMapV2Lib.scene.observations import Observations
from FetusMapV2Panel import pose_ownership, requirements
from FetusMapV2Panel.changes import Change
from FetusMapV2Panel.movement_table import movementTable
from FetusMapV2Panel.nodes import BrowserNode
from FetusMapV2Panel.parameters import Settings
from FetusMapV2Panel.sections.base import Section
from FetusMapV2Panel.state import PanelState
from FetusMapV2Panel.translations import translator

if TYPE_CHECKING:
    from FetusMapV2Lib.scene.pose_sequence import PoseSequence

_ = translator(__name__)

#: Keys of the charts in the order of the combo box.
_CHARTS = ("speeds", "arms", "legs")


def _doNothing() -> None:
    """Removes no listener."""


class MovementSection(Section):
    """Poses of all frames of a sequence, and the movement between them."""

    UI = "FetusMapV2Movement.ui"

    def __init__(self, state: PanelState, widget: qt.QWidget) -> None:
        Section.__init__(self, state, widget)
        self._browser: BrowserNode | None = None
        self._browserObservations = Observations()
        self._poseSequence: PoseSequence | None = None
        self._stopObserving: Callable[[], None] = _doNothing
        self._table = movementTable(self.ui.movementTable)
        for text in (_("Speeds"), _("Arm angles"), _("Leg and neck angles")):
            self.ui.chartComboBox.addItem(text)
        for button, slot in (
            (self.ui.estimateFramesButton, self.onEstimateFrames),
            (self.ui.previousFrameButton, lambda checked=False: self._step(-1)),
            (self.ui.nextFrameButton, lambda checked=False: self._step(1)),
            (self.ui.showChartButton, self.onShowChart),
            (self.ui.exportMovementButton, self.onExport),
        ):
            button.connect("clicked(bool)", slot)
        self.ui.frameSlider.connect("valueChanged(int)", self.onFrameChosen)
        self._show()

    def onChange(self, change: Change) -> None:
        if change is Change.PARAMETERS_CHANGED:
            self._followParameters()
        if change is Change.COLOURS_CHANGED:
            self._table.updateColours()
        if change is Change.SHOWN_POSE_CHANGED:
            self._hideCharts()
        if change in (
            Change.PARAMETERS_CHANGED,
            Change.SHOWN_POSE_CHANGED,
            Change.RUNNING_CHANGED,
            Change.SOFTWARE_INSTALLED,
        ):
            self._show()

    def close(self) -> None:
        Section.close(self)
        self._observe(None)

    # --- the shown sequence

    @property
    def _shown(self) -> PoseSequence | None:
        """The poses of the sequence, if one of them is shown."""
        known = self._poseSequence
        return known if known is not None and self.state.poseScene is known.pose_scene else None

    def _followParameters(self) -> None:
        """Observe the selected browser and the poses of its frames."""
        parameters = self.state.parameterNode
        browser = parameters.sequenceBrowser if parameters is not None else None
        if browser is not self._browser:
            self._observe(browser)
        if self._poseSequence is not None and parameters is not None:
            given = parameters.frameInterval or None
            if given != self._poseSequence.frame_interval_s:
                self._poseSequence.frame_interval_s = given

    def _observe(self, browser: BrowserNode | None) -> None:
        self._stopObserving()
        self._stopObserving = _doNothing
        self._browserObservations.clear()
        isOther = self._browser is not None and browser is not None
        self._browser, self._poseSequence = browser, None
        if browser is None:
            return
        self._browserObservations.observe(browser, vtk.vtkCommand.ModifiedEvent, self._onBrowser)
        if isOther and self.state.parameterNode is not None:
            self.state.parameterNode.frameInterval = 0.0  # the interval was that of another sequence
        try:
            self._setPoseSequence(self.state.logic.poseSequenceOf(browser))
        except UserError as error:
            self.say(error.line(with_option=False), Tone.ERROR)

    def _setPoseSequence(self, poseSequence: PoseSequence | None) -> None:
        """Show the poses of a sequence; None if it has none yet."""
        self._stopObserving()
        self._poseSequence = poseSequence
        self._hideCharts()
        self._stopObserving = poseSequence.add_listener(self._onPoses) if poseSequence is not None else _doNothing
        if poseSequence is None:
            return
        parameters = self.state.parameterNode
        if parameters is not None:
            parameters.frameInterval = poseSequence.frame_interval_s or 0.0

    def _onBrowser(self, caller: BrowserNode, event: str) -> None:
        self._showFrame()

    def _onPoses(self, poseSequence: PoseSequence) -> None:
        """Handle another frame, a moved landmark, or landmarks that left the scene."""
        if not poseSequence.is_open:
            self._poseSequence = None
        self._show()

    # --- the estimate

    def onEstimateFrames(self, checked: bool = False) -> None:
        if self.state.parameterNode is not None and not self.state.running:
            self.run(self._estimateFrames)

    def _estimateFrames(self, onProgress: OnProgress, shouldCancel: ShouldCancel) -> Generator[None, None, None]:
        parameters = self.state.parameterNode
        if parameters is None:
            return
        volume = pose_ownership.volumeOf(parameters.sequenceBrowser)
        if volume is not None:
            parameters.inputVolume = volume
        outcome = yield from self.state.logic.processSequence(
            parameters.sequenceBrowser,
            settings=Settings.of(parameters),
            frameInterval=parameters.frameInterval or None,
            showFrames=True,
            onProgress=onProgress,
            shouldCancel=shouldCancel,
        )
        if self.state.closed:
            return
        found = outcome.poseSequence
        fetus = found.pose_scene if found is not None else None
        if fetus is not None and outcome.browser is self._browser:
            self._setPoseSequence(outcome.poseSequence)
        self.state.patient.addEstimate(pose_ownership.volumeOf(outcome.browser), fetus, None)
        if found is None or fetus is None:
            self.say(outcome.reason, Tone.FINDING)
            return
        self.say(*frames_text(outcome.estimates, are_times_known=found.times_s is not None))
        pose = fetus.pose()
        if self.state.poseScene is fetus and pose.present.any():
            self.state.views.showPose(fetus.volume_node, pose)

    # --- frames

    def onFrameChosen(self, value: int) -> None:
        if self._browser is not None and self._browser.GetSelectedItemNumber() != value:
            self._browser.SetSelectedItemNumber(value)

    def _step(self, by: int) -> None:
        slider = self.ui.frameSlider
        slider.setValue(max(slider.minimum, min(slider.maximum, slider.value + by)))

    # --- table, plots, export

    def onShowChart(self, checked: bool = False) -> None:
        """Show the chart in Slicer's plot view; the layout changes to one that has it."""
        if self._shown is not None:
            chart = self._shown.nodes.charts[_CHARTS[self.ui.chartComboBox.currentIndex]]
            slicer.modules.plots.logic().ShowChartInLayout(chart)

    def onExport(self, checked: bool = False) -> None:
        if self._shown is None:
            return
        name = f"{safe_stem(node_name(self._shown.pose_scene.landmarks_node))}.movement.csv"
        path = qt.QFileDialog.getSaveFileName(self.widget, _("Export the movement table"), name, _("Table (*.csv)"))
        path = path[0] if isinstance(path, tuple) else path  # PythonQt returns the name only
        if path:
            self.exportTo(Path(path))

    def exportTo(self, path: Path) -> None:
        """Write the movement as CSV, one row per frame."""
        from FetusMapV2Lib.exporting import write_movement_table

        if self._shown is None:
            return
        try:
            write_movement_table(self._shown.movement(), path)
        except UserError as error:
            self.say(error.line(with_option=False), Tone.ERROR)
        else:
            self.say(_("Written: {0}").format(path), Tone.SUCCESS)

    # --- the widgets

    def _hideCharts(self) -> None:
        """Remove the charts and tables of other movements from plot and table views."""
        movement_nodes.show_only(slicer.mrmlScene, self._shown.nodes if self._shown is not None else None)

    def _show(self) -> None:
        running, known = self.state.running, self._shown is not None
        ready = self._browser is not None and not running and not requirements.missingPackages()
        self.ui.estimateFramesButton.setEnabled(ready)
        for widget in (self.ui.sequenceSelector, self.ui.frameIntervalSpinBox):
            widget.setEnabled(not running)
        for widget in (self.ui.chartComboBox, self.ui.showChartButton, self.ui.exportMovementButton):
            widget.setEnabled(known and not running)
        self._showFrame()

    def _showFrame(self) -> None:
        """Update slider, label and table for the shown frame."""
        browser = self._browser
        master = browser.GetMasterSequenceNode() if browser is not None else None
        count = master.GetNumberOfDataNodes() if master is not None else 0
        frame = max(browser.GetSelectedItemNumber(), 0) if browser is not None and count else 0
        slider = self.ui.frameSlider
        slider.setMaximum(max(count - 1, 0))
        slider.setValue(frame)
        for widget in (slider, self.ui.previousFrameButton, self.ui.nextFrameButton):
            widget.setEnabled(count > 1 and not self.state.running)
        movement = self._shown.movement() if self._shown is not None else None
        text = frame_text(movement, frame, count) if count else _("No sequence is chosen.")
        self.ui.frameLabel.setText(text)
        self._table.show(movement_rows(movement, frame))
