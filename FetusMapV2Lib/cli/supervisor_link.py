"""The pipes between a command over many files and its supervisor: what it works on, and requests to stop."""

from __future__ import annotations

import _thread
import contextlib
import json
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

#: Environment variable that describes the two pipes: process, whether Ctrl-C comes through them, descriptors.
CONNECTION = "FETUSMAP_SUPERVISED"
_REPORT_INTERVAL_S = 1.0


class SupervisorLink:
    """The link of a command without a supervisor: it reports to nobody.

    Attributes:
        earlier_records: records of the items that earlier processes of the same command finished or crashed at.
        receives_stops: whether requests to stop come through the link.
    """

    def __init__(self) -> None:
        self.earlier_records: list[dict[str, Any]] = []
        self.receives_stops = False

    def begin(self, item: str, name: str, size: int = 0) -> None:
        """Report that an item begins; a crash from now on is attributed to it."""

    def part(self, number: int | None) -> None:
        """Report that a dispensable part of the item begins, such as a frame; None = work on no single part."""

    def report_activity(self, stage: str) -> None:
        """Report progress."""

    def end(self, item: str, **record: Any) -> None:
        """Report that an item has ended; a process that continues the command has the record in `earlier_records`."""

    def finish(self, code: int) -> None:
        """Report that the command is about to end with this exit code."""

    def listen(self) -> None:
        """Start to receive requests to stop, and to end with the supervisor."""


class _Connected(SupervisorLink):
    """The link to a supervisor: writes to one pipe and reads from another."""

    def __init__(self, receives_stops: bool, read: int, write: int) -> None:
        super().__init__()
        self.receives_stops = receives_stops
        self._incoming = messages(read)
        self._write = write
        self._lock = threading.Lock()
        self._stage, self._reported_at = "", 0.0
        first = next(self._incoming, None)
        if first is None:  # the supervisor has ended
            os._exit(1)
        self.earlier_records = first["earlier_records"]
        self._send(event="open")

    def begin(self, item: str, name: str, size: int = 0) -> None:
        self._stage = "reading"
        self._send(event="begin", item=item, name=name, size=size)

    def part(self, number: int | None) -> None:
        self._send(event="part", part=number)

    def report_activity(self, stage: str) -> None:
        now = time.monotonic()
        if stage != self._stage or now - self._reported_at > _REPORT_INTERVAL_S:
            self._stage, self._reported_at = stage, now
            self._send(event="activity", stage=stage)

    def end(self, item: str, **record: Any) -> None:
        self._send(event="end", item=item, **record)

    def finish(self, code: int) -> None:
        self._send(event="finished", code=code)

    def listen(self) -> None:
        threading.Thread(target=self._receive, daemon=True).start()

    def _send(self, **record: Any) -> None:
        data = json.dumps(record).encode() + b"\n"
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._write, data) :]
            except OSError:  # the supervisor has ended
                os._exit(1)

    def _receive(self) -> None:
        """Pass requests to stop to the main thread; when the supervisor ends, this process ends immediately."""
        main = threading.main_thread().ident
        with contextlib.suppress(OSError, ValueError):
            for message in self._incoming:
                number = message["stop"]
                if sys.platform != "win32" and main is not None:
                    signal.pthread_kill(main, number)
                else:
                    _thread.interrupt_main(number)
        os._exit(1)


def messages(descriptor: int) -> Iterator[dict[str, Any]]:
    """The messages that come through a pipe until its end, one JSON object per line.

    Not by a buffered file: a thread that waits in one blocks the shutdown of the interpreter.
    """
    rest = b""
    while data := os.read(descriptor, 1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        yield from map(json.loads, lines)


_current = SupervisorLink()


def supervisor_link() -> SupervisorLink:
    """The link of this process."""
    return _current


def connect() -> bool:
    """Connect to the supervisor, if there is one; child processes do not inherit the connection."""
    global _current
    words = os.environ.pop(CONNECTION, "").split(":")
    _current = SupervisorLink()
    try:
        parent, receives_stops, read, write = map(int, words)
        if sys.platform == "win32":
            import msvcrt

            read = msvcrt.open_osfhandle(read, os.O_RDONLY)
            write = msvcrt.open_osfhandle(write, os.O_WRONLY)
        elif not all(stat.S_ISFIFO(os.fstat(end).st_mode) for end in (read, write)):
            return False  # meant for another process, whose environment this one inherited
        for end in (read, write):
            os.set_inheritable(end, False)
        _die_with_parent()
        if sys.platform != "win32" and parent != os.getppid():
            os._exit(1)
        _current = _Connected(bool(receives_stops), read, write)
    except (OSError, ValueError, KeyError):
        return False
    return True


def _die_with_parent() -> None:
    """Native code in an endless loop does not outlive the supervisor; a crash writes no core dump with patient data."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            set_parent_death_signal = 1
            ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if sys.platform != "win32":
        import resource

        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
