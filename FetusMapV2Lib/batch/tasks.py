"""What the processes of a batch are given, in which order, and what becomes of a case whose process was lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from FetusMapV2Lib.batch.case_work import BatchSettings
from FetusMapV2Lib.batch.cases import BatchCase
from FetusMapV2Lib.batch.journal import MOST_LOSSES, Record
from FetusMapV2Lib.core.version import SOFTWARE

#: Seconds without a sign of life after which a process that works on a case counts as hung.
PATIENCE_S = 1800.0


@dataclass(frozen=True)
class Task:
    """A case to be processed, and what is known of earlier tries.

    Attributes:
        case: the case.
        losses: processes that were lost while they worked on it.
        thumbnail: see `case_work.process_case`.
        moves: computers that were lost while they worked on it.
    """

    case: BatchCase
    losses: int = 0
    thumbnail: bool = False
    moves: int = 0


class Pool(Protocol):
    """Processes of a batch, on this computer (`worker_pool.WorkerPool`) or a cluster (`ray_pool.RayPool`)."""

    def __enter__(self) -> Pool:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End all processes."""

    def run(self, tasks: Iterable[Task], on_stage: Callable[[BatchCase, str], None] | None = None) -> Iterator[Record]:
        """The records of the cases, as they are finished; see `Journal`.

        A lost try is a record too; the case follows again, or is given up.

        Args:
            tasks: taken one at a time, when a process is free.
            on_stage: called with the stage that a case has reached.

        Raises:
            UserError: no process can be started, or the model cannot be loaded.
        """


def next_task(again: deque[Task], waiting: Iterator[Task]) -> Task | None:
    """The next task: new ones first, so that a poisonous case does not stop the others."""
    found = next(waiting, None)
    return found if found is not None else (again.popleft() if again else None)


def after_loss(task: Task, reason: str, settings: BatchSettings) -> tuple[Record, Task | None]:
    """The record of a lost try, and the task that is tried again, or None if it is given up.

    Args:
        task: that the lost process worked on.
        reason: why the process ended.
        settings: of the batch.
    """
    tried = replace(task, losses=task.losses + 1)
    given_up = tried.losses >= MOST_LOSSES
    problem = f"the process that worked on it was lost ({reason})"
    row = {"software": SOFTWARE} | ({"file": str(task.case.path.absolute())} if settings.identifiers else {})
    remedy = ". It was tried twice and is given up" if given_up else ""
    record = {"case": task.case.key, "outcome": "lost", "problem": problem + remedy, "row": row}
    return record, None if given_up else tried
