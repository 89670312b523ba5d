"""The supervisor of a batch: a parent process that survives crashes of the process that works on the files.

Native code can end a whole process: a crash in a reader, the kernel out of memory, an endless loop. So the commands
over many files run in a child process, with the same command line. The child reports what it begins and ends
(`cli.supervisor_link`); when it dies at a file, that file is refused with the reason and a new child continues with the
rest. The child inherits streams and terminal.

In the environment, FETUSMAP_SUPERVISOR=0 switches the supervisor off, and FETUSMAP_PATIENCE_S sets the seconds after
which a file without any progress is given up (0: never).
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
from FetusMapV2Lib.cli.global_options import command_name
from FetusMapV2Lib.cli.supervisor_link import CONNECTION, messages
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.stop_signals import SAME_REQUEST_S, stop_signal_numbers

COMMANDS = ("estimate", "evaluate", "calibrate")
#: Limits of seconds without progress: while a file is read (longer for large ones), and at any other time.
_READING_S, _READ_BYTES_PER_S, _WORKING_S = 300.0, 2**20, 3600.0
#: Parts (frames) that may be left out of one file before the file itself is given up.
_MOST_PARTS = 3
#: Seconds in which a child has to follow a request to stop.
_GRACE_S = 10.0
_TICK_S = 1.0
_SWITCH, _LIMIT = "FETUSMAP_SUPERVISOR", "FETUSMAP_PATIENCE_S"


def supervised() -> int | None:
    """The exit code of this process's command, run in a child process; None if this process is to run it itself."""
    command = _own_command()
    if command is None or os.environ.get(_SWITCH, "1") == "0" or not _in_main_thread():
        return None
    try:
        return _Supervisor(command).run()
    except OSError:  # no further process can be started: run without a supervisor
        return None


def _own_command() -> list[str] | None:
    """The command line that starts this process again; None if it is no batch, or did not start this process."""
    words = sys.argv[1:]
    if command_name(words) not in COMMANDS or not sys.executable:
        return None
    started_by = list(getattr(sys, "orig_argv", ()))
    program, given = started_by[1 : -len(words)], started_by[-len(words) :]
    if given != words or not program or program[-1] == "-":  # called from another program, or read from standard input
        return None
    return [sys.executable, *program, *words]


class _Supervisor:
    """Starts child processes until one of them completes the command."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._records: list[dict[str, Any]] = []
        self._stop: signal.Signals | None = None
        self._stop_at = 0.0
        self._stop_now = False
        self._child: _Child | None = None

    def run(self) -> int:
        """Run the command; returns its exit code.

        Raises:
            OSError: not even the first child can be started.
        """
        with self._handling_signals():
            while True:
                before = len(self._records)
                try:
                    code = self._run_child()
                except OSError as error:
                    if not self._records:
                        raise
                    print_error(UserError(f"no further process can be started ({error.strerror or error})"))
                    return 2
                if code is not None:
                    return code
                if len(self._records) == before:  # another child would end in the same way
                    return 2

    def _run_child(self) -> int | None:
        """Run one child to its end; None if another one has to continue with the rest."""
        with _Child(self._command, self._records) as child:
            self._child = child
            if self._stop is not None:
                child.send({"stop": int(self._stop)})
            self._watch(child)
            self._child = None
        if child.finished is not None:  # a crash during the shutdown of the interpreter does not count
            return child.finished if child.code < 0 else child.code
        if self._stop is not None:
            _show_cursor()
            print_message(STOPPED)
            return 128 + self._stop
        if not child.connected and child.code >= 0:
            return child.code
        _show_cursor()
        self._record_crash(child)
        return None

    def _watch(self, child: _Child) -> None:
        """Wait for the end of a child; kill it if it makes no progress, or does not follow a request to stop."""
        stopping = quiet = 0.0
        then = time.monotonic()
        while not child.has_ended(_TICK_S):
            now = time.monotonic()
            # time in which the computer slept, or the job was suspended, does not count
            passed, then = min(now - then, 2 * _TICK_S), now
            quiet = 0.0 if child.was_active() else quiet + passed
            stopping += passed if self._stop is not None else 0.0
            limit = _inactivity_limit(child.stage, child.size) if child.item is not None else _WORKING_S
            if child.finished is None and (self._stop_now or stopping > _GRACE_S):
                child.kill()
            elif limit and quiet >= limit:
                child.kill(f"there was no progress for {quiet:.0f} s")
        self._records += child.finished_items

    def _record_crash(self, child: _Child) -> None:
        """Record and print what a crashed child was working on."""
        how = child.ending()
        if child.item is None:
            what = "starting" if not self._records else "continuing"
            problem = f"the command's process {how} while {what}, not at a file"
            print_error(UserError(problem, remedy="Try --device cpu, and another --model"))
            return
        parts = [record for record in self._records if record["item"] == child.item and record["outcome"] == "part"]
        stage = f" ({child.stage})" if child.stage else ""
        problem = f"the process {how} while working on this{stage}"
        record = {"item": child.item, "where": child.name, "problem": problem}
        if child.part is not None and len(parts) < _MOST_PARTS:
            self._records.append({**record, "outcome": "part", "part": child.part})
            return
        error = UserError(problem, where=child.name, remedy="Export it again, or leave it out")
        print_error(error)
        self._records.append({**record, "outcome": "refused", "line": error.line()})

    @contextlib.contextmanager
    def _handling_signals(self) -> Iterator[None]:
        before = {}
        for number in stop_signal_numbers():
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, self._forward_stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _forward_stop(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if self._stop is not None:
            self._stop_now = self._stop_now or now - self._stop_at > SAME_REQUEST_S
            return
        self._stop, self._stop_at = signal.Signals(number), now
        if self._child is not None:
            self._child.send({"stop": int(number)})


class _Child:
    """A child process that runs the command, and what it has reported.

    Attributes:
        finished_items: records of the items that it finished.
        item, name, part, stage, size: what it works on; None and "" between two items.
        connected: whether it reported anything.
        finished: the exit code that it announced.
        code: exit code of the process; negative after a signal.
    """

    def __init__(self, command: list[str], earlier_records: list[dict[str, Any]]) -> None:
        self.finished_items: list[dict[str, Any]] = []
        self.item: str | None = None
        self.part: int | None = None
        self.name = self.stage = ""
        self.size = self.code = 0
        self.connected = False
        self.finished: int | None = None
        self._killed_for = ""
        self._active = False
        self._reports: queue.Queue[dict[str, Any] | None] = queue.Queue()
        theirs_in, self._to_child = os.pipe()
        from_child, theirs_out = os.pipe()
        try:
            self._popen = _started(command, theirs_in, theirs_out)
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self._reader = threading.Thread(target=self._read, args=(from_child,), daemon=True)
        self._reader.start()
        self.send({"earlier_records": earlier_records})

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._to_child)  # a child that is still running ends at this
        self._popen.poll()

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; one to a child that has ended is lost."""
        data = json.dumps(message).encode() + b"\n"
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._to_child, data) :]

    def has_ended(self, seconds: float) -> bool:
        """Process its reports for at most these seconds; true when it has ended and all reports are processed."""
        try:
            record = self._reports.get(timeout=seconds)
        except queue.Empty:
            if self._popen.poll() is None:
                return False
            record = None  # a process that it started may hold the pipe open
        if record is not None:
            self._process(record)
            return False
        self.code = _signed(self._popen.wait())
        return True

    def was_active(self) -> bool:
        """Whether it reported anything since the last call."""
        active, self._active = self._active, False
        return active

    def kill(self, reason: str = "") -> None:
        """Kill it."""
        self._killed_for = reason
        self._popen.kill()

    def ending(self) -> str:
        """How it ended, for a message."""
        if self._killed_for:
            return f"was ended, because {self._killed_for},"
        if self.code == -getattr(signal, "SIGKILL", 9):
            return "was killed, perhaps for lack of memory,"
        if self.code >= 0:
            return f"ended with code {self.code}"
        with contextlib.suppress(ValueError):
            name = signal.Signals(-self.code).name
            said = (signal.strsignal(-self.code) or "").lower()
            return f"ended by signal {-self.code} ({name}, {said})"
        return f"ended with code {self.code & 0xFFFFFFFF:#x}"

    def _process(self, record: dict[str, Any]) -> None:
        self.connected = self._active = True
        event = record.pop("event")
        if event == "begin":
            self.item, self.part, self.name = record["item"], None, record["name"]
            self.stage, self.size = "reading", record["size"]
        elif event == "part":
            self.part = record["part"]
        elif event == "activity":
            self.stage = record["stage"]
        elif event == "end":
            self.finished_items.append(record)
            self.item, self.part, self.name, self.stage = None, None, "", ""
        elif event == "finished":
            self.finished = record["code"]

    def _read(self, descriptor: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            for record in messages(descriptor):
                self._reports.put(record)
        os.close(descriptor)
        self._reports.put(None)


def _started(command: list[str], read: int, write: int) -> subprocess.Popen[bytes]:
    """The child, which inherits two ends of pipes; its environment describes them.

    It starts with Ctrl-C ignored, which a terminal sends to both processes: the supervisor forwards it.
    """
    interrupt = signal.getsignal(signal.SIGINT)
    ignored = interrupt not in (signal.SIG_IGN, None)
    options: dict[str, Any] = {"pass_fds": (read, write)}
    numbers = (read, write)
    if sys.platform == "win32":
        import msvcrt

        numbers = (msvcrt.get_osfhandle(read), msvcrt.get_osfhandle(write))
        for handle in numbers:
            os.set_handle_inheritable(handle, True)
        options = {"close_fds": False}
    environment = {**os.environ, CONNECTION: ":".join(map(str, (os.getpid(), int(ignored), *numbers)))}
    if ignored:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.Popen(command, env=environment, **options)
    finally:
        if ignored:
            signal.signal(signal.SIGINT, interrupt)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _signed(code: int) -> int:
    """An exit code, negative after a crash on Windows too, where it is a large number."""
    return code - 2**32 if code >= 2**31 else code


def _inactivity_limit(stage: str, size: int) -> float:
    """Seconds without progress after which a file is given up; 0 = never."""
    try:
        return max(0.0, float(os.environ[_LIMIT]))
    except (KeyError, ValueError):
        return _READING_S + size / _READ_BYTES_PER_S if stage.endswith("reading") else _WORKING_S


def _show_cursor() -> None:
    """Restore the cursor that the progress bar of a crashed process has hidden."""
    if log.is_terminal:
        log.show_cursor(True)
        log.print()


def size_of(path: Path) -> int:
    """Bytes of a file or of the files in a folder; 0 if unknown."""
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
