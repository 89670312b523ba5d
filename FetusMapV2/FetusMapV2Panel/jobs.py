"""Jobs that the event loop carries on: the window lives between their steps, and no loop runs inside another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import qt

from FetusMapV2Lib.core.jobs import Job

_INTERVAL_MS = 20

T = TypeVar("T")


class BackgroundJob(Generic[T]):
    """Carries a job on until it ends; starts at once, so what need not wait is done when this returns.

    Args:
        job: the job.
        onEnd: called with (result, None) or (None, exception), unless `cancel` came first.
    """

    def __init__(self, job: Job[T], onEnd: Callable[[T | None, Exception | None], None]):
        self._job, self._onEnd = job, onEnd
        self._advance()

    @property
    def isRunning(self) -> bool:
        """Whether it goes on."""
        return not self._job.is_done and not self._job.is_cancelled

    def cancel(self) -> None:
        """Go no further, which also ends what the job has started; `onEnd` is not called."""
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
