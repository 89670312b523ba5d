"""The journal of a batch: one line for each case that was processed, so that an interrupted batch goes on."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

from FetusMapV2Lib.core.atomic_files import output_error
from FetusMapV2Lib.core.errors import OutputError

#: "lost": the process that worked on it ended, or was ended for making no progress.
Outcome = Literal["found", "doubtful", "none", "refused", "lost"]
#: Outcomes with results.
DONE: tuple[Outcome, ...] = ("found", "doubtful", "none")
#: A case is given up when it was lost this often.
MOST_LOSSES = 2

Record = Mapping[str, Any]


class Journal:
    """Records of a batch, appended to a file; the last one of a case counts.

    Args:
        path: of the file; it is created if it does not exist.
        private: only this user may read it.

    Raises:
        OutputError: it cannot be read or written.
    """

    def __init__(self, path: Path, *, private: bool = True) -> None:
        self.path = path
        try:
            self._outcomes, whole = _read(path)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._stream: IO[str] = os.fdopen(os.open(path, flags, 0o600 if private else 0o666), "a", encoding="utf-8")
            if not whole:  # the last line was cut: what follows begins a line of its own
                self._stream.write("\n")
        except OSError as error:
            raise output_error(error, path) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # a full disk was reported when the line was written
            self._stream.close()

    def outcome(self, key: str) -> Outcome | None:
        """How a case ended, None if it was never processed."""
        return self._outcomes[key][0] if key in self._outcomes else None

    def losses(self, key: str) -> int:
        """How often in succession the process that worked on a case was lost."""
        return self._outcomes[key][1] if key in self._outcomes else 0

    def add(self, record: Record) -> None:
        """Append the record of a case.

        Raises:
            OutputError: the disk is full.
        """
        try:
            self._stream.write(json.dumps(record, separators=(",", ":")) + "\n")
            self._stream.flush()
        except OSError as error:
            raise output_error(error, self.path) from error
        _note(self._outcomes, record)


def records_of(paths: Sequence[Path]) -> Iterator[Record]:
    """The last record of every case in several journals, in the order of the cases; one at a time is in memory.

    Raises:
        OutputError: a journal cannot be read.
    """
    places: dict[str, tuple[int, int]] = {}
    for number, path in enumerate(paths):
        for record, start in _records(path):
            places[record["case"]] = (number, start)
    with contextlib.ExitStack() as stack:
        try:
            streams = [stack.enter_context(path.open("rb")) for path in paths]
            for key in sorted(places):
                number, start = places[key]
                streams[number].seek(start)
                yield json.loads(streams[number].readline())
        except OSError as error:
            raise OutputError(f"a journal cannot be read ({error.strerror or error})", where=paths[0].parent) from error


def _read(path: Path) -> tuple[dict[str, tuple[Outcome, int]], bool]:
    outcomes: dict[str, tuple[Outcome, int]] = {}
    if not path.exists():
        return outcomes, True
    for record, _ in _records(path):
        _note(outcomes, record)
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(size - 1, 0))
        return outcomes, size == 0 or stream.read(1) == b"\n"


def _note(outcomes: dict[str, tuple[Outcome, int]], record: Record) -> None:
    before = outcomes.get(record["case"], ("found", 0))[1]
    outcomes[record["case"]] = (record["outcome"], before + 1 if record["outcome"] == "lost" else 0)


def _records(path: Path) -> Iterator[tuple[Record, int]]:
    """Records with the place where their line begins; a line that was cut when the computer stopped is skipped."""
    start = 0
    try:
        with path.open("rb") as stream:
            for line in stream:
                with contextlib.suppress(ValueError):
                    record = json.loads(line)
                    if isinstance(record, dict) and isinstance(record.get("case"), str) and "outcome" in record:
                        yield record, start
                start += len(line)
    except OSError as error:
        problem = f"the journal cannot be read ({error.strerror or error})"
        raise OutputError(problem, where=path, remedy="Check that you may read it") from error
