"""Progress and cancellation of long jobs, the same for a progress bar, a worker pipe and a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from FetusMapV2Lib.core.errors import Cancelled

T = TypeVar("T")

#: Called with the fraction done (0-1) and a short stage name, e.g. ``(0.4, "close view")``.
OnProgress = Callable[[float, str], None]
#: Asked between steps; true ends the job with `Cancelled`.
ShouldCancel = Callable[[], bool]


class Stages:
    """Reports progress to `on_progress` and honours `should_cancel` at each step."""

    def __init__(self, on_progress: OnProgress | None = None, should_cancel: ShouldCancel | None = None) -> None:
        self._on_progress = on_progress
        self._should_cancel = should_cancel

    def reach(self, fraction: float, stage: str) -> None:
        """Say that `stage` begins with `fraction` of the job done.

        Raises:
            Cancelled: the caller asked to stop.
        """
        if self._should_cancel is not None and self._should_cancel():
            raise Cancelled(stage)
        if self._on_progress is not None:
            self._on_progress(fraction, stage)


class CaseRunner(Protocol):
    """Runs a job for one case of many, and decides what happens on an error."""

    def __call__(self, name: str, path: Path, job: Callable[[], T], /) -> T | None:
        """The job's result; None if it failed and the other cases continue.

        Args:
            name: of the case.
            path: its volume.
            job: works on the case.
        """


def run_directly(name: str, path: Path, job: Callable[[], T], /) -> T | None:
    """A `CaseRunner` that lets every error end the whole run."""
    return job()
