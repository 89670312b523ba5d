"""The section that estimates: volume, landmarks, options, expected resources, and the button."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import qt

from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel
from FetusMapV2Lib.presenting.estimate_text import warnings_text
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Panel import durations, pose_ownership, requirements, saved_settings
from FetusMapV2Panel.changes import Change
from FetusMapV2Panel.model_choice import ModelChoice
from FetusMapV2Panel.parameters import Settings
from FetusMapV2Panel.patient_line import PatientLine
from FetusMapV2Panel.resource_line import ResourceLine
from FetusMapV2Panel.saved_settings_choice import SavedSettingsChoice
from FetusMapV2Panel.sections.base import Section
from FetusMapV2Panel.state import PanelState
from FetusMapV2Panel.translations import translator
from FetusMapV2Panel.voxel_size import VoxelSize

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.estimate import Estimate
    from FetusMapV2Panel.estimation import Outcome

_ = translator(__name__)


class EstimateSection(Section):
    """Estimates the pose in a volume and shows it."""

    UI = "FetusMapV2Estimate.ui"

    def __init__(self, state: PanelState, widget: qt.QWidget) -> None:
        Section.__init__(self, state, widget)
        self._models = ModelChoice(state, self.ui.modelComboBox, self.ui.modelPathLineEdit)
        self._setups = SavedSettingsChoice(state, self.ui)
        self._resourceLine = ResourceLine(state, self.ui.resourceLabel)
        self._patient = PatientLine(state, self.ui.patientLabel, self.ui.patientButton)
        self._voxelSize = VoxelSize(state, self.ui, self.onEstimate)
        self._shownWarnings: tuple[str, Estimate | None] = ("", None)
        self._unseen: Outcome | None = None  # the last one without a fetus
        self.ui.estimateButton.connect("clicked(bool)", self.onEstimate)
        self.ui.seenButton.connect("clicked(bool)", self.onShowSeen)
        self._updateSeenButton()
        self._updateButtons()

    def onChange(self, change: Change) -> None:
        if change in (Change.PARAMETERS_CHANGED, Change.RUNNING_CHANGED):
            self._updateButtons()
            self._resourceLine.update()
        if change is Change.PARAMETERS_CHANGED:
            self._models.update()
        if change is Change.SOFTWARE_INSTALLED:
            self._updateButtons()
            self._models.fill()
            self._resourceLine.update()
        if change is Change.VOLUME_SELECTED:
            self.state.views.showVolume()
            if not self.state.running:
                self.say("")  # the message was about another volume
        if change is Change.SHOWN_POSE_CHANGED:
            self._removeWarnings()
        if change in (
            Change.VOLUME_SELECTED,
            Change.SHOWN_POSE_CHANGED,
            Change.PARAMETERS_CHANGED,
            Change.RUNNING_CHANGED,
        ):
            self._patient.update()
            self._updateSeenButton()
        if change in (Change.VOLUME_SELECTED, Change.RUNNING_CHANGED):
            self._voxelSize.update()
        if change is Change.POSE_EDITED and self._patient.showsDoubt:
            self._patient.update()

    def close(self) -> None:
        self._patient.close()
        self._unseen = None
        self._resourceLine.forget()
        Section.close(self)

    def onEstimate(self, checked: bool = False) -> None:
        if self.state.parameterNode is None or self.state.running:
            return
        if self._models.problem():
            self.say(self._models.problem(), Tone.ERROR)
            return
        saved_settings.saveLastUsed(Settings.of(self.state.parameterNode))
        self.run(self._estimate, usualSeconds=self._resourceLine.usualSeconds())

    def onShowSeen(self, checked: bool = False) -> None:
        """Show, as doubtful, what the network saw in the chosen volume although it found no fetus."""
        outcome, parameters = self._unseen, self.state.parameterNode
        if outcome is None or parameters is None or self.state.running:
            return
        self._showOutcome(self.state.logic.showSeen(outcome, parameters.landmarks))

    def _estimate(self, onProgress: OnProgress, shouldCancel: ShouldCancel) -> Generator[None, None, None]:
        parameters = self.state.parameterNode
        if parameters is None:
            return
        settings = Settings.of(parameters)
        self._resourceLine.stopAsking()
        outcome = yield from self.state.logic.process(
            parameters.inputVolume,
            landmarks=parameters.landmarks,
            settings=settings,
            onProgress=onProgress,
            shouldCancel=shouldCancel,
        )
        if self.state.closed:
            return
        durations.record(durations.kindOf(outcome.estimate, settings), outcome.seconds)
        self._resourceLine.show()
        self._showOutcome(outcome)

    def _showOutcome(self, outcome: Outcome) -> None:
        self._unseen = outcome if outcome.estimate.seen is not None else None
        warnings = warnings_text(outcome.estimate)
        for poseScene, estimate in zip(outcome.others, outcome.estimate.others, strict=False):
            self.state.patient.keepEstimate(poseScene, estimate)
        self.state.patient.addEstimate(outcome.inputVolume, outcome.poseScene, outcome.estimate)
        if self.state.patient.volume is not outcome.inputVolume:
            self.say(_hiddenOutcomeText(outcome), Tone.FINDING)
        elif outcome.poseScene is None:
            self._sayWarnings(f"{outcome.estimate.reason}\n{warnings}".strip(), Tone.FINDING)
        else:
            self._shownWarnings = (warnings, outcome.estimate)
            self._sayWarnings(warnings, Tone.WARNING)
            self.state.views.showPose(outcome.inputVolume, outcome.estimate.pose)
        self._updateSeenButton()

    def _sayWarnings(self, text: str, tone: Tone) -> None:
        self.say(text, tone, self._voxelSize.remedyFor(text))

    def _updateSeenButton(self) -> None:
        """Offer what was seen as long as the chosen volume is the one that was estimated last, without a fetus."""
        volume, outcome = self.state.patient.volume, self._unseen
        offered = (
            outcome is not None
            and volume is outcome.inputVolume
            and pose_ownership.noFetusFound(volume)
            and pose_ownership.shownFrame(volume) == outcome.frame
            and self.state.poseScene is None
        )
        self.ui.seenButton.setVisible(offered)
        self.ui.seenButton.setEnabled(not self.state.running)

    def _removeWarnings(self) -> None:
        """Remove the warnings of an estimate that was undone."""
        warnings, estimate = self._shownWarnings
        if warnings and self.state.message == warnings and self.state.estimate is not estimate:
            self.say("")

    def _updateButtons(self) -> None:
        parameters, running = self.state.parameterNode, self.state.running
        hasVolume = parameters is not None and parameters.inputVolume is not None
        self.ui.estimateButton.setEnabled(hasVolume and not running and not requirements.missingPackages())
        for widget in (self.ui.inputSelector, self.ui.landmarksSelector, self.ui.optionsCollapsibleButton):
            widget.setEnabled(not running)
        ready, missing = _("Find the 22 landmarks in this volume."), _("Load and choose an ultrasound volume first.")
        self.ui.estimateButton.setToolTip(ready if hasVolume else missing)


def _hiddenOutcomeText(outcome: Outcome) -> str:
    """The outcome of an estimate during which another volume was selected."""
    name = pose_ownership.displayName(outcome.inputVolume)
    if outcome.poseScene is None:
        return _("{0}: {1}").format(name, outcome.estimate.reason)
    return _("{0} has a new pose. It is hidden while another volume is chosen.").format(name)
