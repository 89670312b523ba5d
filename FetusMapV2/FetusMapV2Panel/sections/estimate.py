"""The section that estimates: volume, landmarks, device, and the button."""

from __future__ import annotations

from slicer.i18n import tr as _

from FetusMapV2Panel import requirements, views
from FetusMapV2Panel.report_text import warningsText
from FetusMapV2Panel.sections.base import Section
from FetusMapV2Panel.state import Change


class EstimateSection(Section):
    """From a volume to a pose on show."""

    UI = "FetusMapV2Estimate.ui"

    def __init__(self, state, widget):
        Section.__init__(self, state, widget)
        self.ui.estimateButton.connect("clicked(bool)", self.onEstimate)
        self._updateButtons()

    def onChange(self, change: Change) -> None:
        if change in (Change.PARAMETERS, Change.RUNNING):
            self._updateButtons()

    def onEstimate(self, checked: bool = False) -> None:
        if self.state.parameterNode is not None:
            self.run(self._estimate)

    def _estimate(self, onProgress, shouldCancel) -> None:
        parameters = self.state.parameterNode
        if not requirements.ensure(onProgress):
            return
        outcome = self.state.logic.process(
            parameters.inputVolume,
            landmarks=parameters.landmarks,
            device=parameters.device,
            onProgress=onProgress,
            shouldCancel=shouldCancel,
        )
        if self.state.closed:
            return
        if outcome.poseScene is None:
            self.say(outcome.estimate.reason, isError=True)
            return
        self.state.showPose(outcome.poseScene, outcome)
        self.say(warningsText(outcome.estimate))
        views.show(outcome.inputVolume, outcome.estimate.pose)

    def _updateButtons(self) -> None:
        parameters, running = self.state.parameterNode, self.state.running
        hasVolume = parameters is not None and parameters.inputVolume is not None
        self.ui.estimateButton.setEnabled(hasVolume and not running)
        for widget in (self.ui.inputSelector, self.ui.landmarksSelector, self.ui.deviceComboBox):
            widget.setEnabled(not running)
        ready, missing = _("Find the 22 landmarks in this volume."), _("Load and choose an ultrasound volume first.")
        self.ui.estimateButton.setToolTip(ready if hasVolume else missing)
