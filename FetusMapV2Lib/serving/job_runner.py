"""`JobRunner`: one job of a tab at a time, with stage, remaining time and Cancel; its errors become messages."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import statistics
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from FetusMapV2Lib.core.errors import Cancelled, UserError
from FetusMapV2Lib.core.jobs import POLL_S, Job
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel
from FetusMapV2Lib.presenting.durations import remaining_seconds
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.presenting.translation import translator
from FetusMapV2Lib.serving.shown import stage_shown

_ = translator(__name__)

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
#: A job, from the functions that report its progress and ask whether it was cancelled.
Work = Callable[[OnProgress, ShouldCancel], Job[T]]
#: Shows a message in a tone.
Say = Callable[[str, Tone], None]

#: Seconds between two reports of progress to the page.
_REPORT_S = 0.1
_REMEMBERED = 5


class JobRunner:
    """Runs jobs and shows them in the state of the page.

    Args:
        state: of trame's server.
        say: shows a message.
        on_change: called when a job begins and ends.
    """

    def __init__(self, state: Any, say: Say, on_change: Callable[[], None]) -> None:
        self._state, self._say, self._on_change = state, say, on_change
        self._cancelled = self._busy = False
        self._durations: dict[str, list[float]] = {}

    @property
    def is_busy(self) -> bool:
        """Whether a job runs; nothing else may change the case meanwhile."""
        return self._busy  # not what the page says: a browser can change its state

    def cancel(self) -> None:
        """Ask the running job to stop."""
        self._cancelled = True

    async def run(self, work: Work[T], kind: str) -> T | None:
        """The result of a job; None if it was cancelled or went wrong, which the page says.

        Args:
            work: gives the job.
            kind: jobs of one kind take about as long.
        """
        self._cancelled, started, reported = False, time.monotonic(), 0.0
        known = self._durations.get(kind)
        usual = statistics.median(known) if known else None

        def progress(fraction: float, stage: str) -> None:
            nonlocal reported
            now = time.monotonic()
            if now - reported < _REPORT_S:
                return
            reported = now
            with self._state as state:
                state.fraction = round(100 * fraction)
                state.stage = stage_shown(stage, remaining_seconds(now - started, fraction, usual))

        with self.running(_("starting the pose engine")):
            job = work(progress, lambda: self._cancelled)
            while not job.step():
                await asyncio.sleep(POLL_S)
            self._durations[kind] = [*(known or ()), time.monotonic() - started][-_REMEMBERED:]
            return job.result()
        return None

    @contextlib.contextmanager
    def running(self, stage: str, *, cancellable: bool = True) -> Generator[None, None, None]:
        """Lock the page during the block, and say how it went wrong."""
        self._busy = True
        with self._state as state:
            state.update({"running": True, "cancellable": cancellable, "fraction": 0, "stage": stage, "message": ""})
        self._on_change()
        try:
            yield
        except Cancelled:
            self._say(_("Cancelled; everything is as it was."), Tone.NOTE)
        except UserError as error:
            self._say(error.line(with_option=False), Tone.ERROR)
        except Exception as error:
            _LOG.exception("a job failed")
            self._say(_("Something went wrong: {0}.").format(error), Tone.ERROR)
        finally:
            self._busy = False
            with self._state as state:
                state.update({"running": False, "fraction": 0, "stage": ""})
            self._on_change()
