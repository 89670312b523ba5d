"""The items of one command, one after the other: an error ends one item, not the others, and the summary names it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from FetusMapV2Lib.cli.console import print_message
from FetusMapV2Lib.cli.running import report
from FetusMapV2Lib.cli.supervisor import size_of
from FetusMapV2Lib.cli.supervisor_link import supervisor_link
from FetusMapV2Lib.core.errors import Cancelled, InputError, UserError
from FetusMapV2Lib.core.faults import as_user_error
from FetusMapV2Lib.core.jobs import Job
from FetusMapV2Lib.core.progress import CaseRunner, OnProgress, ShouldCancel

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.requests import Engine, Request

T = TypeVar("T")

#: Outcomes of an item in the order of the summary, and their words there.
_OUTCOMES = {
    "found": "with a fetus",
    "doubtful": "doubtful",
    "empty": "without a fetus",
    "kept": "done before",
    "twice": "given twice",
}


class CommandItems:
    """The outcomes of the items of a command, in this process and in those before it that crashed at an item.

    Args:
        what: the items in the plural, for the summary; without it the summary lists the refused items only.
    """

    def __init__(self, what: str = "") -> None:
        self._what = what
        self._link = supervisor_link()
        self._done: dict[str, dict[str, Any]] = {}
        self._parts: dict[str, dict[int, str]] = {}
        for record in self._link.earlier_records:
            if record["outcome"] == "part":
                self._parts.setdefault(record["item"], {})[record["part"]] = record["problem"]
            else:
                self._done[record["item"]] = record

    def is_done(self, item: str) -> bool:
        """Whether an item was processed, in this process or one before it."""
        return item in self._done

    def stored_by(self, item: str) -> Any:
        """The `Attempt.stored` of a processed item."""
        return self._done.get(item, {}).get("stored")

    @property
    def refused(self) -> list[str]:
        """The lines of error of the refused items."""
        return [str(record["line"]) for record in self._done.values() if record["outcome"] == "refused"]

    @contextlib.contextmanager
    def attempt(self, item: str, path: Path, *, outcome: str = "found") -> Iterator[Attempt]:
        """Work on an item; an error is printed in one line, and ends this item only.

        Args:
            item: its key among the items of the command.
            path: of the item, as the user gave it, for errors.
            outcome: of an attempt that sets no other one.
        """
        attempt = Attempt(outcome)
        self._link.begin(item, str(path), size_of(path))
        record: dict[str, Any] = {}
        try:
            yield attempt
        except Exception as error:
            attempt.outcome, record["line"] = "refused", report(error, path).line()
        record |= {"outcome": attempt.outcome, "stored": attempt.stored}
        self._done[item] = record
        self._link.end(item, **record)

    def case_runner(self, what: str) -> CaseRunner:
        """Runs the cases of a library function, each as an item of its own.

        Args:
            what: is done with the cases; part of the keys of the items.
        """

        def do(name: str, path: Path, job: Callable[[], T], /) -> T | None:
            item = f"{what}: {name}"
            if self._done.get(item, {}).get("outcome") == "refused":
                return None
            with self.attempt(item, path, outcome="done"):
                return job()
            return None

        return do

    def report_activity(self, stage: str) -> None:
        """Report progress to the supervisor."""
        self._link.report_activity(stage)

    def guarded_parts(self, item: str, parts: Sequence[T]) -> GuardedParts[T]:
        """The parts of an item; accessing one that fails, or crashed an earlier process, raises `InputError`."""
        return GuardedParts(parts, self._parts.get(item, {}), self._link.part)

    def guarded_engine(self, engine: Engine) -> GuardedEngine:
        """The engine for such parts."""
        return GuardedEngine(engine)

    def summary(self) -> None:
        """Print the outcomes of all items, if there were several."""
        records = list(self._done.values())
        if len(records) < 2:
            return
        counts = {name: sum(record["outcome"] == name for record in records) for name in _OUTCOMES}
        listed = ", ".join(f"{counts[name]} {words}" for name, words in _OUTCOMES.items() if counts[name])
        done = len(records) - len(self.refused)
        finished = f"{done} of {len(records)} {self._what} done" + (f": {listed}" if listed else "")
        parts = [finished] if self._what else []
        parts += [f"{len(self.refused)} refused"] if self.refused else []
        if parts:
            print_message("; ".join(parts) + (":" if self.refused else "."))
        for line in self.refused:
            print_message(f"  {line}")

    def end(self) -> None:
        """Print the summary; exit code 2 if an item was refused.

        Raises:
            typer.Exit: an item was refused.
        """
        self.summary()
        if self.refused:
            raise typer.Exit(2)


class Attempt:
    """The work on one item.

    Attributes:
        outcome: "found", "doubtful", "empty", "kept", "twice", or another word, which the summary does not count
            separately.
        stored: JSON values that `CommandItems.stored_by` returns in a later process.
    """

    def __init__(self, outcome: str) -> None:
        self.outcome = outcome
        self.stored: Any = None


class GuardedParts(Sequence[T]):
    """Parts of an item, such as frames; accessing one that crashed a process, or fails now, raises `InputError`."""

    def __init__(self, parts: Sequence[T], bad: dict[int, str], begin: Callable[[int | None], None]) -> None:
        self._parts, self._bad, self._begin = parts, bad, begin

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if number in self._bad:
            raise InputError(self._bad[number])
        self._begin(number)
        try:
            return self._parts[number]
        except (InputError, IndexError):
            raise
        except Exception as error:
            raise InputError(as_user_error(error).problem) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parts, name)

    def leave_parts(self) -> None:
        """A crash from now on is attributed to no single part."""
        self._begin(None)


class GuardedEngine:
    """An engine whose unexpected errors with one volume are `InputError`s."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def submit(
        self, request: Request[T], on_progress: OnProgress | None = None, should_cancel: ShouldCancel | None = None
    ) -> Job[T]:
        """See `Engine.submit`."""
        return Job(self._answer(self._engine.submit(request, on_progress, should_cancel)))

    def close(self) -> None:
        """See `Engine.close`."""
        self._engine.close()

    def _answer(self, job: Job[T]) -> Generator[None, None, T]:
        try:
            return (yield from job)
        except (UserError, Cancelled):
            raise
        except Exception as error:
            raise InputError(as_user_error(error).problem) from error
