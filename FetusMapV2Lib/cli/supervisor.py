"""A second process over a batch: it outlives whatever a file does to the one that reads it, and has the others go on.

Native code can take a whole process with it: a crash in a reader, the kernel short of memory, an endless loop. So the
commands that go over many files run in a child process, by the very command line of this one. The child tells what it
begins and ends (`cli.journal`); when it dies at a file, that file is refused with the reason and a new child goes on
with the rest. Streams and terminal are the child's own, nothing is copied.

In the environment, FETUSMAP_SUPERVISOR=0 leaves all of this out, and FETUSMAP_PATIENCE_S sets the seconds after which a
file without any progress is given up (0: never).
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from FetusMapV2Lib.cli.console import STOPPED, log, print_error, print_message
from FetusMapV2Lib.cli.journal import CONNECTION, messages
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.stop_signals import SAME_REQUEST_S, stop_signal_numbers

COMMANDS = ("estimate", "evaluate", "calibrate")
#: Seconds without progress: while a file is read (and more by its size), and at any other time.
_READING_S, _READ_BYTES_PER_S, _WORKING_S = 300.0, 2**20, 3600.0
#: Parts (frames) that may be left out of one file before the file itself is given up.
_MOST_PARTS = 3
#: Seconds that a child has to stop by itself.
_GRACE_S = 10.0
_TICK_S = 1.0
_SWITCH, _PATIENCE = "FETUSMAP_SUPERVISOR", "FETUSMAP_PATIENCE_S"


def supervised() -> int | None:
    """The exit code of this process's command, run in a child process; None if this process is to run it itself."""
    command = _own_command()
    if command is None or os.environ.get(_SWITCH, "1") == "0" or not _in_main_thread():
        return None
    try:
        return _Supervisor(command).run()
    except OSError:  # no further process can be started: then without one
        return None


def _own_command() -> list[str] | None:
    """The command line that starts this process again; None if it is no batch, or is not what started this process."""
    words = sys.argv[1:]
    if not words or words[0] not in COMMANDS or "--help" in words or not sys.executable:
        return None
    started_by = list(getattr(sys, "orig_argv", ()))
    program, given = started_by[1 : -len(words)], started_by[-len(words) :]
    if given != words or not program or program[-1] == "-":  # called from another program, or read from its input
        return None
    return [sys.executable, *program, *words]


class _Supervisor:
    """Starts children until one of them comes to the end."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._past: list[dict[str, Any]] = []
        self._stop: signal.Signals | None = None
        self._stop_at = 0.0
        self._impatient = False
        self._child: _Child | None = None

    def run(self) -> int:
        """Start them; returns the exit code of the command.

        Raises:
            OSError: not even the first one can be started.
        """
        with self._hearing_signals():
            while True:
                before = len(self._past)
                try:
                    code = self._attempt()
                except OSError as error:
                    if not self._past:
                        raise
                    print_error(UserError(f"no further process can be started ({error.strerror or error})"))
                    return 2
                if code is not None:
                    return code
                if len(self._past) == before:  # it would end in the same way again
                    return 2

    def _attempt(self) -> int | None:
        """Run one child to its end; None if another is to go on with the rest."""
        with _Child(self._command, self._past) as child:
            self._child = child
            if self._stop is not None:
                child.tell({"stop": int(self._stop)})
            self._accompany(child)
            self._child = None
        if child.finished is not None:  # what happens while an interpreter is taken down does not count
            return child.finished if child.code < 0 else child.code
        if self._stop is not None:
            _show_cursor()
            print_message(STOPPED)
            return 128 + self._stop
        if not child.connected and child.code >= 0:
            return child.code
        _show_cursor()
        self._bury(child)
        return None

    def _accompany(self, child: _Child) -> None:
        """Wait for the end of a child; end one on which nothing moves any more, or that is deaf to a wish to stop."""
        asked = quiet = 0.0
        then = time.monotonic()
        while not child.has_ended(_TICK_S):
            now = time.monotonic()
            # a computer that slept, or a job that was suspended, was not without progress
            passed, then = min(now - then, 2 * _TICK_S), now
            quiet = 0.0 if child.moved() else quiet + passed
            asked += passed if self._stop is not None else 0.0
            limit = _patience(child.stage, child.size) if child.item is not None else _WORKING_S
            if child.finished is None and (self._impatient or asked > _GRACE_S):
                child.kill()
            elif limit and quiet >= limit:
                child.kill(f"nothing moved for {quiet:.0f} s")
        self._past += child.ended

    def _bury(self, child: _Child) -> None:
        """Note what a dead child was working on, and say it."""
        how = child.death()
        if child.item is None:
            what = "starting" if not self._past else "going on"
            problem = f"the command's process {how} while {what}, at no file"
            print_error(UserError(problem, remedy="Try --device cpu, and another --model"))
            return
        parts = [record for record in self._past if record["item"] == child.item and record["outcome"] == "part"]
        stage = f" ({child.stage})" if child.stage else ""
        problem = f"the process {how} while this was worked on{stage}"
        record = {"item": child.item, "where": child.name, "problem": problem}
        if child.part is not None and len(parts) < _MOST_PARTS:
            self._past.append({**record, "outcome": "part", "part": child.part})
            return
        error = UserError(problem, where=child.name, remedy="Export it again, or leave it out")
        print_error(error)
        self._past.append({**record, "outcome": "refused", "line": error.line()})

    @contextlib.contextmanager
    def _hearing_signals(self) -> Iterator[None]:
        before = {}
        for number in stop_signal_numbers():
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, self._pass_on)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _pass_on(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if self._stop is not None:
            self._impatient = self._impatient or now - self._stop_at > SAME_REQUEST_S
            return
        self._stop, self._stop_at = signal.Signals(number), now
        if self._child is not None:
            self._child.tell({"stop": int(number)})


class _Child:
    """One run of the command, and what it has told.

    Attributes:
        ended: records of the items that it came to the end of.
        item, name, part, stage, size: what it works on; None and "" between two items.
        connected: whether it told anything.
        finished: its exit code by its own word.
        code: exit code; negative after a signal.
    """

    def __init__(self, command: list[str], past: list[dict[str, Any]]) -> None:
        self.ended: list[dict[str, Any]] = []
        self.item: str | None = None
        self.part: int | None = None
        self.name = self.stage = ""
        self.size = self.code = 0
        self.connected = False
        self.finished: int | None = None
        self._killed_for = ""
        self._moved = False
        self._records: queue.Queue[dict[str, Any] | None] = queue.Queue()
        theirs_in, self._to_child = os.pipe()
        from_child, theirs_out = os.pipe()
        try:
            self._popen = _started(command, theirs_in, theirs_out)
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self._reader = threading.Thread(target=self._read, args=(from_child,), daemon=True)
        self._reader.start()
        self.tell({"past": past})

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._to_child)  # at this a child that still lives ends
        self._popen.poll()

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message; a child that has ended does not hear it."""
        data = json.dumps(message).encode() + b"\n"
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._to_child, data) :]

    def has_ended(self, seconds: float) -> bool:
        """Take in what it tells for so long at most; true when it has ended and all is told."""
        try:
            record = self._records.get(timeout=seconds)
        except queue.Empty:
            if self._popen.poll() is None:
                return False
            record = None  # a process of its own may hold the pipe open
        if record is not None:
            self._take(record)
            return False
        self.code = _signed(self._popen.wait())
        return True

    def moved(self) -> bool:
        """Whether it told anything since this was asked last."""
        moved, self._moved = self._moved, False
        return moved

    def kill(self, reason: str = "") -> None:
        """End it at once."""
        self._killed_for = reason
        self._popen.kill()

    def death(self) -> str:
        """How it ended, for a message."""
        if self._killed_for:
            return f"was ended, as {self._killed_for},"
        if self.code == -getattr(signal, "SIGKILL", 9):
            return "was killed, perhaps for lack of memory,"
        if self.code >= 0:
            return f"ended with code {self.code}"
        with contextlib.suppress(ValueError):
            name = signal.Signals(-self.code).name
            said = (signal.strsignal(-self.code) or "").lower()
            return f"ended by signal {-self.code} ({name}, {said})"
        return f"ended with code {self.code & 0xFFFFFFFF:#x}"

    def _take(self, record: dict[str, Any]) -> None:
        self.connected = self._moved = True
        event = record.pop("event")
        if event == "begin":
            self.item, self.part, self.name = record["item"], None, record["name"]
            self.stage, self.size = "reading", record["size"]
        elif event == "part":
            self.part = record["part"]
        elif event == "sign":
            self.stage = record["stage"]
        elif event == "end":
            self.ended.append(record)
            self.item, self.part, self.name, self.stage = None, None, "", ""
        elif event == "finished":
            self.finished = record["code"]

    def _read(self, descriptor: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            for record in messages(descriptor):
                self._records.put(record)
        os.close(descriptor)
        self._records.put(None)


def _started(command: list[str], read: int, write: int) -> subprocess.Popen[bytes]:
    """The child, which inherits two ends of pipes, and learns of them through its environment.

    It starts deaf to Ctrl-C, which a terminal sends to both processes: it learns of it here as soon as it can answer.
    """
    interrupt = signal.getsignal(signal.SIGINT)
    deaf = interrupt not in (signal.SIG_IGN, None)
    options: dict[str, Any] = {"pass_fds": (read, write)}
    numbers = (read, write)
    if sys.platform == "win32":
        import msvcrt

        numbers = (msvcrt.get_osfhandle(read), msvcrt.get_osfhandle(write))
        for handle in numbers:
            os.set_handle_inheritable(handle, True)
        options = {"close_fds": False}
    environment = {**os.environ, CONNECTION: ":".join(map(str, (os.getpid(), int(deaf), *numbers)))}
    if deaf:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.Popen(command, env=environment, **options)
    finally:
        if deaf:
            signal.signal(signal.SIGINT, interrupt)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _signed(code: int) -> int:
    """An exit code, negative after a crash on Windows too, which has large ones for it."""
    return code - 2**32 if code >= 2**31 else code


def _patience(stage: str, size: int) -> float:
    """Seconds without progress after which a file is given up; 0 = never."""
    try:
        return max(0.0, float(os.environ[_PATIENCE]))
    except (KeyError, ValueError):
        return _READING_S + size / _READ_BYTES_PER_S if stage.endswith("reading") else _WORKING_S


def _show_cursor() -> None:
    """A progress bar that died left the terminal without it."""
    if log.is_terminal:
        log.show_cursor(True)
        log.print()


def size_of(path: Path) -> int:
    """Bytes that reading a file or folder may take, as far as that can be seen."""
    total = 0
    with contextlib.suppress(OSError, ValueError):
        if path.is_dir():
            with os.scandir(path) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        total += entry.stat().st_size if entry.is_file() else 0
        else:
            total = path.stat().st_size
    return total
