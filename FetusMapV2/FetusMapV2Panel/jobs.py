"""Jobs in the background: the event loop calls their steps and stays responsive, and no loop runs inside another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import qt

from FetusMapV2Lib.core.jobs import Job

_INTERVAL_MS = 20

T = TypeVar("T")


class BackgroundJob(Generic[T]):
    """Runs a job to its end, the first step at once: a job that need not wait is done when this returns.

    Args:
        job: the job.
        onEnd: called with (result, None) or (None, exception), unless the job was cancelled before.
    """

    def __init__(self, job: Job[T], onEnd: Callable[[T | None, Exception | None], None]) -> None:
        self._job, self._onEnd = job, onEnd
        self._advance()

    @property
    def isRunning(self) -> bool:
        """Whether the job has neither ended nor been cancelled."""
        return not self._job.is_done and not self._job.is_cancelled

    def cancel(self) -> None:
        """Cancel the job, which ends what it has started; `onEnd` is not called."""
        self._job.cancel()

    def _advance(self) -> None:
        if not self.isRunning:
            return
        try:
            isDone = self._job.step()
        except Exception as error:
            if not self._job.is_cancelled:
                self._onEnd(None, error)
            return
        if isDone:
            self._onEnd(self._job.result(), None)
        else:
            # Not a timer of its own: Slicer never collects what is connected to one.
            qt.QTimer.singleShot(_INTERVAL_MS, self._advance)
