"""What is on show in the panel, shared by all its sections, and the one long job that may run at a time.

Knows no widgets: sections and the activity strip listen to its changes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from typing import Any

import slicer

from FetusMapV2Lib.core.errors import Cancelled, UserError
from FetusMapV2Lib.core.jobs import Job
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel
from FetusMapV2Lib.core.safe_text import printable_sentence
from FetusMapV2Lib.presenting.durations import remaining_seconds
from FetusMapV2Panel.changes import Change
from FetusMapV2Panel.jobs import BackgroundJob
from FetusMapV2Panel.patient import Patient
from FetusMapV2Panel.translations import translator

_ = translator(__name__)

#: What a section asks to be run: a function, or a generator function that yields whenever it waits.
Work = Callable[[OnProgress, ShouldCancel], "Generator[None, None, None] | None"]


class PanelState:
    """Shared by all sections.

    Attributes:
        logic: the module's logic.
        parameterNode: the settings, None while a scene closes.
        patient: the chosen volume and the pose on show.
        running: whether a job runs; inputs are locked meanwhile.
        cancellable: whether the job can be cancelled.
        closed: whether the panel is gone, perhaps in the midst of a job.
        fraction, stage: how far the job is.
        remaining: about how many seconds it will still take, None if that cannot be told.
        message, isError: the last thing said.
        speaker: the section that works or speaks, None at first.
    """

    def __init__(self, logic):
        self.logic = logic
        self.parameterNode: Any | None = None
        self.patient = Patient(logic, self.announce, lambda line: self.say(line, isError=bool(line)))
        self.running = self.closed = self.isError = False
        self.cancellable = True
        self.fraction, self.stage, self.message = 0.0, "", ""
        self.remaining: float | None = None
        self.speaker: Any | None = None
        self._cancelRequested = False
        self._job: BackgroundJob[None] | None = None
        self._started, self._usual = 0.0, None
        self._listeners: list[Callable[[Change], None]] = []

    # --- listeners

    def addListener(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call `callback(change)` on every change; returns a function that ends this."""
        self._listeners.append(callback)

        def remove() -> None:
            if callback in self._listeners:
                self._listeners.remove(callback)

        return remove

    def announce(self, change: Change) -> None:
        """Tell all listeners; nothing once the panel is closed."""
        for listener in [] if self.closed else list(self._listeners):
            listener(change)

    def close(self) -> None:
        """The panel goes: a job is left where it is, nobody is told anything any more."""
        self.cancel()
        self.patient.close()
        self.closed = True
        self._listeners = []
        if self._job is not None:
            self._job.cancel()

    # --- settings and the pose on show

    @property
    def poseScene(self):
        """The live nodes of the pose on show, None without a pose."""
        return self.patient.poseScene

    @property
    def estimate(self):
        """The estimate of this session that gave this pose, None otherwise."""
        return self.patient.estimate

    def pose(self):
        """The pose on show as it is now, None without one."""
        return self.poseScene.pose() if self.poseScene is not None else None

    def setParameterNode(self, parameterNode) -> None:
        """Use other settings, None while a scene closes."""
        self.parameterNode = parameterNode
        self.patient.setParameters(parameterNode)
        self.followParameters()

    def followParameters(self) -> None:
        """A parameter was modified, or a volume left the scene: the pose of the chosen volume is put on show."""
        if not self.patient.isBusy:
            self.patient.synchronize()
            self.announce(Change.PARAMETERS_CHANGED)

    # --- one long job at a time

    def run(self, work: Work, section=None, usualSeconds: float | None = None, cancellable: bool = True) -> bool:
        """Do something long with progress and Cancel; whatever goes wrong is said below the section.

        Args:
            work: gets `onProgress(fraction, stage)` and `shouldCancel()`, and raises Cancelled when that says yes. A
                plain function must call `onProgress` often, which keeps the window alive; a generator function
                yields instead, and goes on after this returns.
            section: the section that asks for it.
            usualSeconds: how long this takes as a rule, for the remaining time.
            cancellable: false if it must not be stopped on the way.

        Returns:
            Whether it is done and went well; false at once while another job runs.
        """
        if self.running or self.closed:
            return False
        self._cancelRequested, self.cancellable = False, cancellable
        self._started, self._usual, self._job = time.monotonic(), usualSeconds, None
        self.say("", section=section)
        self._setRunning(True)
        problems: list[Exception] = []

        def ended(result: Any, error: Exception | None) -> None:
            if error is not None:
                problems.append(error)
                self._sayFailure(error)
            self._setRunning(False)

        job = BackgroundJob(Job(_inSteps(work, self._onProgress, lambda: self._cancelRequested)), ended)
        self._job = job if job.isRunning else None
        return not job.isRunning and not problems

    def _sayFailure(self, error: Exception) -> None:
        if isinstance(error, Cancelled):
            self.say(_("Cancelled; the scene is as it was."))
        elif isinstance(error, UserError):
            self.say(error.line(with_option=False), isError=True)
        else:
            logging.error("FetusMapV2: a job failed", exc_info=error)
            self.say(_("Something went wrong: {0}. The log has the details.").format(error), isError=True)

    def cancel(self) -> None:
        """Ask the running job to stop."""
        self._cancelRequested = True

    def say(self, text: str, isError: bool = False, section=None) -> None:
        """A line in the panel, below a section; no pop-up, so that nothing waits for a click."""
        self.message, self.isError = printable_sentence(text), isError
        self.speaker = section or self.speaker
        self.announce(Change.MESSAGE_CHANGED)

    def _setRunning(self, running: bool) -> None:
        self.running = running
        self.fraction, self.stage, self.remaining = 0.0, "", None
        self.announce(Change.RUNNING_CHANGED)

    def _onProgress(self, fraction: float, stage: str) -> None:
        self.fraction, self.stage = fraction, stage
        self.remaining = remaining_seconds(time.monotonic() - self._started, fraction, self._usual)
        self.announce(Change.PROGRESS_CHANGED)
        if self._job is None:  # within the call that started it; afterwards the event loop runs by itself
            slicer.app.processEvents()


def _inSteps(work: Work, *arguments: Any) -> Generator[None, None, None]:
    """A job as a generator, whichever it is."""
    going = work(*arguments)
    if isinstance(going, Generator):
        yield from going
