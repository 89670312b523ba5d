"""The section for 4D: estimate all frames of a sequence, step through them, and see who moves when."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
import vtk

from FetusMapV2Lib.core.atomic_files import safe_stem
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.presenting.movement_rows import frame_text, movement_rows
from FetusMapV2Lib.scene import movement_nodes
from FetusMapV2Lib.scene.node_names import node_name
from FetusMapV2Panel import pose_ownership, requirements, view_orientation
from FetusMapV2Panel.movement_table import movementTable
from FetusMapV2Panel.parameters import Settings
from FetusMapV2Panel.sections.base import Section
from FetusMapV2Panel.state import Change
from FetusMapV2Panel.translations import translator

_ = translator(__name__)

#: Keys of the charts in the order of the combo box.
_CHARTS = ("speeds", "arms", "legs")


def _nothing() -> None:
    """No listener to remove."""


class MovementSection(Section):
    """Poses of all frames of a sequence, and the movement between them."""

    UI = "FetusMapV2Movement.ui"

    def __init__(self, state, widget):
        Section.__init__(self, state, widget)
        self._browser = None
        self._browserTag = None
        self._poseSequence = None
        self._stopFollowing = _nothing
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
            self._follow()
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
        self._watch(None)

    # --- the sequence on show

    @property
    def _shown(self):
        """The poses of the sequence, while it is theirs that are on show."""
        known = self._poseSequence
        return known if known is not None and self.state.poseScene is known.pose_scene else None

    def _follow(self) -> None:
        """Watch the browser that is chosen, and what is known of its frames."""
        parameters = self.state.parameterNode
        browser = parameters.sequenceBrowser if parameters is not None else None
        if browser is not self._browser:
            self._watch(browser)
        if self._poseSequence is not None:
            given = parameters.frameInterval or None
            if given != self._poseSequence.frame_interval_s:
                self._poseSequence.frame_interval_s = given

    def _watch(self, browser) -> None:
        self._stopFollowing()
        self._stopFollowing = _nothing
        if self._browserTag is not None:
            self._browser.RemoveObserver(self._browserTag)
            self._browserTag = None
        another = self._browser is not None and browser is not None
        self._browser, self._poseSequence = browser, None
        if browser is None:
            return
        self._browserTag = browser.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onBrowser)
        if another and self.state.parameterNode is not None:
            self.state.parameterNode.frameInterval = 0.0  # what was given was of another sequence
        try:
            self._take(self.state.logic.poseSequenceOf(browser))
        except UserError as error:
            self.say(error.line(with_option=False), isError=True)

    def _take(self, poseSequence) -> None:
        """Show the poses of a sequence; None if it has none yet."""
        self._stopFollowing()
        self._poseSequence = poseSequence
        self._hideCharts()
        self._stopFollowing = poseSequence.add_listener(self._onPoses) if poseSequence is not None else _nothing
        if poseSequence is None:
            return
        parameters = self.state.parameterNode
        if parameters is not None:
            parameters.frameInterval = poseSequence.frame_interval_s or 0.0

    def _onBrowser(self, caller, event) -> None:
        self._showFrame()

    def _onPoses(self, poseSequence) -> None:
        """Another frame is on show, a landmark moved, or the landmarks are gone."""
        if not poseSequence.is_open:
            self._poseSequence = None
        self._show()

    # --- the estimate

    def onEstimateFrames(self, checked: bool = False) -> None:
        if self.state.parameterNode is not None and not self.state.running:
            self.run(self._estimateFrames)

    def _estimateFrames(self, onProgress, shouldCancel):
        parameters = self.state.parameterNode
        volume = pose_ownership.volumeOf(parameters.sequenceBrowser)
        if volume is not None:
            parameters.inputVolume = volume
        outcome = yield from self.state.logic.processSequence(
            parameters.sequenceBrowser,
            settings=Settings.of(parameters),
            frameInterval=parameters.frameInterval or None,
            onProgress=onProgress,
            shouldCancel=shouldCancel,
        )
        if self.state.closed:
            return
        fetus = outcome.poseSequence.pose_scene if outcome.poseSequence is not None else None
        if fetus is not None and outcome.browser is self._browser:
            self._take(outcome.poseSequence)
        self.state.patient.addEstimate(pose_ownership.volumeOf(outcome.browser), fetus, None)
        if fetus is None:
            self.say(outcome.reason, isError=True)
            return
        self.say(_outcomeText(outcome))
        pose = fetus.pose()
        if self.state.poseScene is fetus and pose.present.any():
            view_orientation.showPose(fetus.volume_node, pose)

    # --- frames

    def onFrameChosen(self, value: int) -> None:
        if self._browser is not None and self._browser.GetSelectedItemNumber() != value:
            self._browser.SetSelectedItemNumber(value)

    def _step(self, by: int) -> None:
        slider = self.ui.frameSlider
        slider.setValue(max(slider.minimum, min(slider.maximum, slider.value + by)))

    # --- table, plots, export

    def onShowChart(self, checked: bool = False) -> None:
        """In Slicer's plot view; the layout changes to one that has it."""
        if self._shown is not None:
            chart = self._shown.nodes.charts[_CHARTS[self.ui.chartComboBox.currentIndex]]
            slicer.modules.plots.logic().ShowChartInLayout(chart)

    def onExport(self, checked: bool = False) -> None:
        if self._shown is None:
            return
        name = f"{safe_stem(node_name(self._shown.pose_scene.landmarks_node))}.movement.csv"
        path = qt.QFileDialog.getSaveFileName(self.widget, _("Export the movement table"), name, _("Table (*.csv)"))
        path = path[0] if isinstance(path, tuple) else path  # PythonQt gives the name alone
        if path:
            self.exportTo(Path(path))

    def exportTo(self, path: Path) -> None:
        """Write the movement as CSV, one row per frame."""
        from FetusMapV2Lib.exporting import write_movement_table

        try:
            write_movement_table(self._shown.movement(), path)
        except UserError as error:
            self.say(error.line(with_option=False), isError=True)
        else:
            self.say(_("Written: {0}").format(path))

    # --- what is shown

    def _hideCharts(self) -> None:
        """Plot and table views show no movement of what is not on show."""
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
        """Slider, label and table of the frame on show."""
        master = self._browser.GetMasterSequenceNode() if self._browser is not None else None
        count = master.GetNumberOfDataNodes() if master is not None else 0
        frame = max(self._browser.GetSelectedItemNumber(), 0) if count else 0
        slider = self.ui.frameSlider
        slider.setMaximum(max(count - 1, 0))
        slider.setValue(frame)
        for widget in (slider, self.ui.previousFrameButton, self.ui.nextFrameButton):
            widget.setEnabled(count > 1 and not self.state.running)
        movement = self._shown.movement() if self._shown is not None else None
        text = frame_text(movement, frame, count) if count else _("No sequence is chosen.")
        self.ui.frameLabel.setText(text)
        self._table.show(movement_rows(movement, frame))


def _outcomeText(outcome) -> str:
    """In how many frames a fetus was found, and what to know about the sequence."""
    count, found = len(outcome.estimates), outcome.found
    lines = [_("A fetus was found in {0} of {1} frames.").format(found, count)]
    if found < count:
        lines.append(outcome.reason)
    lines += dict.fromkeys(warning for estimate in outcome.estimates for warning in estimate.warnings)
    if outcome.poseSequence.times_s is None:
        lines.append(_("The times of the frames are not known: speeds are per frame."))
    return "\n".join(lines)
