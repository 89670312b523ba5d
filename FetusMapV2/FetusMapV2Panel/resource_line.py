"""The line above the button: where an estimate would run and what it would take, asked in the background."""

from __future__ import annotations

from typing import Any

import qt

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.estimation.resource_estimate import ResourceEstimate
from FetusMapV2Lib.presenting.durations import seconds_elsewhere
from FetusMapV2Lib.presenting.estimate_text import resource_text
from FetusMapV2Panel import durations, requirements
from FetusMapV2Panel.jobs import BackgroundJob
from FetusMapV2Panel.parameters import Settings
from FetusMapV2Panel.state import PanelState
from FetusMapV2Panel.translations import translator
from FetusMapV2Panel.widget_widths import wrappable

_ = translator(__name__)

#: Milliseconds without another change before the engine is asked, e.g. while a number is typed.
_SETTLE_MS = 300


class ResourceLine:
    """Asks the engine as soon as there is a volume, and never waits for it; the engine loads its model for this.

    Args:
        state: of the panel.
        label: shows the line.
    """

    def __init__(self, state: PanelState, label: qt.QLabel) -> None:
        self._state, self._label = state, label
        self._resources: ResourceEstimate | None = None
        self._job: BackgroundJob[ResourceEstimate | None] | None = None
        self._asked: tuple[Any, ...] = ()
        self._timer = qt.QTimer(label)  # deleted with the label, and so are its connections
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SETTLE_MS)
        self._timer.connect("timeout()", self._ask)
        self._say("")

    def update(self) -> None:
        """Ask again if the volume or a setting has changed."""
        parameters = self._state.parameterNode
        volume = parameters.inputVolume if parameters is not None else None
        wanted: tuple[Any, ...] = ()
        if parameters is not None and volume is not None:
            wanted = volume.GetID(), Settings.of(parameters)
        if wanted == self._asked:
            return
        self.forget()
        if wanted and requirements.missingPackages():
            self._say(_("Python packages are missing; see First-time setup."))
        elif wanted:
            self._asked = wanted
            self._timer.start()

    def show(self) -> None:
        """Show the answer, with the time that estimates have taken so far."""
        if self._resources is None:
            self._say("")
        else:
            self._say(resource_text(self._resources, self.usualSeconds(), self._secondsElsewhere()))

    def usualSeconds(self) -> float | None:
        """How long an estimate usually takes, None if unknown."""
        if self._resources is None or self._state.parameterNode is None:
            return None
        return durations.usualSeconds(durations.kindOf(self._resources, Settings.of(self._state.parameterNode)))

    def _secondsElsewhere(self) -> float | None:
        """How long an estimate took on another computer; None if these settings were not measured."""
        parameters = self._state.parameterNode
        if self._resources is None or parameters is None or parameters.model or parameters.memoryBudget:
            return None
        return seconds_elsewhere(self._resources.device, parameters.refine.value)

    def stopAsking(self) -> None:
        """Cancel the question, because the engine is needed for something else; an answer is kept."""
        self._timer.stop()
        if self._job is not None:
            self._job.cancel()
            self._job, self._asked = None, ()
            self._say("")

    def forget(self) -> None:
        """Cancel the question and drop the answer."""
        self.stopAsking()
        self._resources, self._asked = None, ()
        self._say("")

    def _ask(self) -> None:
        parameters = self._state.parameterNode
        if self._state.running or parameters is None or parameters.inputVolume is None:
            self._asked = ()
            return
        self._say(_("Finding out where an estimate would run …"))
        job = BackgroundJob(
            self._state.logic.resources(parameters.inputVolume, Settings.of(parameters)), self._onAnswer
        )
        self._job = job if job.isRunning else None

    def _onAnswer(self, resources: ResourceEstimate | None, error: Exception | None) -> None:
        self._resources, self._job = resources, None
        if isinstance(error, UserError):
            self._say(error.line(with_option=False))
        elif error is not None:
            raise error
        else:
            self.show()

    def _say(self, text: str) -> None:
        if not self._state.closed:
            self._label.setText(wrappable(text))
            self._label.setVisible(bool(text))
