"""Files of one command, one after the other: whatever happens to one, the others go on, and the summary names it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from FetusMapV2Lib.cli.console import print_message
from FetusMapV2Lib.cli.journal import journal
from FetusMapV2Lib.cli.running import report
from FetusMapV2Lib.cli.supervisor import size_of
from FetusMapV2Lib.core.errors import Cancelled, InputError, UserError
from FetusMapV2Lib.core.faults import as_user_error
from FetusMapV2Lib.core.jobs import Job
from FetusMapV2Lib.core.progress import CaseRunner, OnProgress, ShouldCancel

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.requests import Engine, Request

T = TypeVar("T")

#: What may become of an item, in the order of the summary, and how that is put there.
_OUTCOMES = {"found": "with a fetus", "empty": "without a fetus", "kept": "done before", "twice": "given twice"}


class Batch:
    """What became of the items of a command, in this process and in those before it that a file took with it.

    Args:
        what: the items in the plural, for the summary; without it that tells of the refused ones alone.
    """

    def __init__(self, what: str = "") -> None:
        self._what = what
        self._journal = journal()
        self._settled: dict[str, dict[str, Any]] = {}
        self._parts: dict[str, dict[int, str]] = {}
        for record in self._journal.past:
            if record["outcome"] == "part":
                self._parts.setdefault(record["item"], {})[record["part"]] = record["problem"]
            else:
                self._settled[record["item"]] = record

    def is_settled(self, item: str) -> bool:
        """Whether an item was dealt with, perhaps by a process before this one."""
        return item in self._settled

    def stored_by(self, item: str) -> Any:
        """What `Attempt.keep` kept of an item that is settled."""
        return self._settled.get(item, {}).get("kept")

    @property
    def refused(self) -> list[str]:
        """The lines that say what was refused, and why."""
        return [str(record["line"]) for record in self._settled.values() if record["outcome"] == "refused"]

    @contextlib.contextmanager
    def attempt(self, item: str, path: Path, *, outcome: str = "found") -> Iterator[Attempt]:
        """Work on an item; any error is said in one line, and ends this item alone.

        Args:
            item: its key among the items of the command.
            path: what errors are about, as the user named it.
            outcome: of an attempt that says nothing else.
        """
        attempt = Attempt(outcome)
        self._journal.begin(item, str(path), size_of(path))
        record: dict[str, Any] = {}
        try:
            yield attempt
        except Exception as error:
            attempt.outcome, record["line"] = "refused", report(error, path).line()
        record |= {"outcome": attempt.outcome, "kept": attempt.stored}
        self._settled[item] = record
        self._journal.end(item, **record)

    def case_runner(self, what: str) -> CaseRunner:
        """For functions of the library that go over cases, under items of their own.

        Args:
            what: is done with each; part of the item's key.
        """

        def do(name: str, path: Path, job: Callable[[], T], /) -> T | None:
            item = f"{what}: {name}"
            if self._settled.get(item, {}).get("outcome") == "refused":
                return None
            with self.attempt(item, path, outcome="done"):
                return job()
            return None

        return do

    def report_activity(self, stage: str) -> None:
        """Say that something moves."""
        self._journal.report_activity(stage)

    def guarded_parts(self, item: str, parts: Sequence[T]) -> GuardedParts[T]:
        """The parts of an item, of which one that cannot be had is an `InputError`, whatever happens to it."""
        return GuardedParts(parts, self._parts.get(item, {}), self._journal.part)

    def guarded_engine(self, engine: Engine) -> GuardedEngine:
        """The engine for such parts."""
        return GuardedEngine(engine)

    def summary(self) -> None:
        """Say what became of all items, if there were several."""
        records = list(self._settled.values())
        if len(records) < 2:
            return
        counts = {name: sum(record["outcome"] == name for record in records) for name in _OUTCOMES}
        told = ", ".join(f"{counts[name]} {words}" for name, words in _OUTCOMES.items() if counts[name])
        done = len(records) - len(self.refused)
        parts = [f"{done} of {len(records)} {self._what} done" + (f": {told}" if told else "")] if self._what else []
        parts += [f"{len(self.refused)} refused"] if self.refused else []
        if parts:
            print_message("; ".join(parts) + (":" if self.refused else "."))
        for line in self.refused:
            print_message(f"  {line}")

    def end(self) -> None:
        """Say the summary; exit code 2 if anything was refused.

        Raises:
            typer.Exit: something was refused.
        """
        self.summary()
        if self.refused:
            raise typer.Exit(2)


class Attempt:
    """How the work on an item came out.

    Attributes:
        outcome: "found", "empty", "kept", "twice", or another word, which the summary does not count apart.
        kept: JSON values that `Batch.stored_by` gives to a later process.
    """

    def __init__(self, outcome: str) -> None:
        self.outcome = outcome
        self.stored: Any = None


class GuardedParts(Sequence[T]):
    """Parts of an item, such as frames; a part that took a process with it, or fails now, is an `InputError`."""

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
        """What comes now is the matter of no single part."""
        self._begin(None)


class GuardedEngine:
    """An engine for which whatever goes wrong with one volume is an `InputError`."""

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
