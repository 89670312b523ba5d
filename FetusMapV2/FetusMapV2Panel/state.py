"""The state that the sections of the panel share, and the one long job that may run at a time.

It knows no widgets: sections and the activity strip listen to its changes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import slicer

from FetusMapV2Lib.anatomy.measurements import Measurements, measurements
from FetusMapV2Lib.core.errors import Cancelled, UserError
from FetusMapV2Lib.core.jobs import Job
from FetusMapV2Lib.core.listeners import Listeners
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel
from FetusMapV2Lib.core.safe_text import printable_sentence
from FetusMapV2Lib.presenting.durations import remaining_seconds
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.scene.slice_focus import focus_on
from FetusMapV2Panel.changes import Change
from FetusMapV2Panel.fetal_views import FetalViews
from FetusMapV2Panel.jobs import BackgroundJob
from FetusMapV2Panel.patient import Patient
from FetusMapV2Panel.translations import translator

if TYPE_CHECKING:
    from FetusMapV2Lib.anatomy.pose import Pose
    from FetusMapV2Lib.estimation.estimate import Estimate
    from FetusMapV2Lib.scene.pose_scene import PoseScene
    from FetusMapV2Lib.scene.pose_snapshot import PoseSnapshot
    from FetusMapV2Panel.movement import SequenceEstimation
    from FetusMapV2Panel.parameters import FetusMapV2ParameterNode
    from FetusMapV2Panel.sections.base import Section

_ = translator(__name__)

#: The work of a section: a function, or a generator function that yields whenever it waits.
Work = Callable[[OnProgress, ShouldCancel], "Generator[None, None, None] | None"]


@dataclass(frozen=True)
class Remedy:
    """The button beside a message.

    Attributes:
        text: its text.
        apply: called when it is clicked.
    """

    text: str
    apply: Callable[[], None]


class PanelState:
    """Shared by all sections.

    Attributes:
        logic: the module's logic.
        parameterNode: the settings, None while a scene closes.
        patient: the chosen volume and the shown pose.
        running: whether a job runs; inputs are locked meanwhile.
        cancellable: whether the job can be cancelled.
        closed: whether the panel was closed, perhaps during a job.
        fraction: how much of the job is done, 0-1.
        stage: name of its stage.
        remaining: seconds that it will still take, None if unknown.
        message: the last message.
        tone: what that message is.
        remedy: what its button does; None without one.
        speaker: the section of the job or of the message, None at first.
        views: how the slice views are turned.
        currentLandmark: the row of the landmark that was selected last, in the list, a view or by a link.

    Args:
        logic: the module's logic.
    """

    def __init__(self, logic: SequenceEstimation) -> None:
        self.logic = logic
        self.parameterNode: FetusMapV2ParameterNode | None = None
        self.patient = Patient(logic, self.announce, lambda line: self.say(line, Tone.ERROR))
        self.running = self.closed = False
        self.cancellable = True
        self.fraction, self.stage, self.message = 0.0, "", ""
        self.tone = Tone.NOTE
        self.remedy: Remedy | None = None
        self.remaining: float | None = None
        self.speaker: Section | None = None
        self.currentLandmark: int | None = None
        self.views = FetalViews(self)
        self._measured: tuple[PoseSnapshot, str, Measurements] | None = None
        self._cancelRequested = False
        self._job: BackgroundJob[None] | None = None
        self._started = 0.0
        self._usual: float | None = None
        self._listeners = Listeners[Change]()

    # --- listeners

    def addListener(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call `callback(change)` on every change; returns a function that removes the listener."""
        return self._listeners.add(callback)

    def announce(self, change: Change) -> None:
        """Tell all listeners; nothing once the panel is closed."""
        if not self.closed:
            self._listeners.notify(change)

    def close(self) -> None:
        """Cancel the job and remove all listeners; called when the panel is closed."""
        self.cancel()
        self.patient.close()
        self.closed = True
        self._listeners.clear()
        if self._job is not None:
            self._job.cancel()

    @property
    def isError(self) -> bool:
        """Whether the message is an error."""
        return bool(self.message) and self.tone is Tone.ERROR

    # --- settings and the shown pose

    @property
    def poseScene(self) -> PoseScene | None:
        """The live nodes of the shown pose, None without a pose."""
        return self.patient.poseScene

    @property
    def estimate(self) -> Estimate | None:
        """The estimate that the shown pose comes from, None if it was not made in this session."""
        return self.patient.estimate

    def pose(self) -> Pose | None:
        """The shown pose as it is now, None without one."""
        return self.poseScene.pose() if self.poseScene is not None else None

    def measured(self) -> Measurements | None:
        """All that is derived from the shown pose, computed once after each change; None without a pose or settings."""
        if self.poseScene is None or self.parameterNode is None:
            self._measured = None
            return None
        snapshot, formula = self.poseScene.current(), self.parameterNode.datingFormula.value
        if self._measured is None or self._measured[0] is not snapshot or self._measured[1] != formula:
            self._measured = (snapshot, formula, measurements(snapshot.pose, formula=formula))
        return self._measured[2]

    def selectLandmark(self, row: int) -> None:
        """Make a landmark the current one."""
        self.currentLandmark = row
        self.announce(Change.LANDMARK_SELECTED)

    def goToLandmark(self, row: int) -> None:
        """Make a landmark the current one and move the slice views to it, if it is present."""
        self.selectLandmark(row)
        self.announce(Change.LANDMARK_SOUGHT)
        pose = self.pose()
        if pose is not None and pose.present[row]:
            focus_on(slicer.mrmlScene, pose.positions[row])

    def setParameterNode(self, parameterNode: FetusMapV2ParameterNode | None) -> None:
        """Use other settings, None while a scene closes."""
        self.parameterNode = parameterNode
        self.patient.setParameters(parameterNode)
        self.followParameters()

    def followParameters(self) -> None:
        """Show the pose of the chosen volume; called when a parameter was modified or a volume left the scene."""
        if not self.patient.isBusy:
            self.patient.synchronize()
            self.announce(Change.PARAMETERS_CHANGED)

    # --- one long job at a time

    def run(
        self,
        work: Work,
        section: Section | None = None,
        usualSeconds: float | None = None,
        cancellable: bool = True,
    ) -> bool:
        """Run a job with progress and Cancel; errors are shown below the section.

        Args:
            work: gets `onProgress(fraction, stage)` and `shouldCancel()`, and raises Cancelled when the latter is
                true. A plain function must call `onProgress` often, which keeps the window responsive; a generator
                function yields instead, and continues after this method has returned.
            section: the section of the job.
            usualSeconds: how long such a job usually takes, for the remaining time.
            cancellable: false if it must not be interrupted.

        Returns:
            Whether it has ended without an error; false at once while another job runs.
        """
        if self.running or self.closed:
            return False
        self._cancelRequested, self.cancellable = False, cancellable
        self._started, self._usual, self._job = time.monotonic(), usualSeconds, None
        self.say("", section=section)
        self._setRunning(True)
        problems: list[Exception] = []

        def ended(result: None, error: Exception | None) -> None:
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
            self.say(error.line(with_option=False), Tone.ERROR)
        else:
            logging.error("FetusMapV2: a job failed", exc_info=error)
            self.say(_("Something went wrong: {0}. The log has the details.").format(error), Tone.ERROR)

    def cancel(self) -> None:
        """Ask the running job to stop."""
        self._cancelRequested = True

    def say(
        self, text: str, tone: Tone = Tone.NOTE, section: Section | None = None, remedy: Remedy | None = None
    ) -> None:
        """Show a message below a section; no dialog, which would wait for a click.

        Args:
            text: the message; none if it is empty.
            tone: what it is.
            section: the section that it belongs to; the last one by default.
            remedy: a button beside it, for what the message asks for.
        """
        self.message, self.tone, self.remedy = printable_sentence(text), tone, remedy
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
        if self._job is None:  # within the call that started the job; later the event loop runs anyway
            slicer.app.processEvents()


def _inSteps(work: Work, onProgress: OnProgress, shouldCancel: ShouldCancel) -> Generator[None, None, None]:
    """The steps of a generator function, or a function as a single step."""
    steps = work(onProgress, shouldCancel)
    if isinstance(steps, Generator):
        yield from steps
