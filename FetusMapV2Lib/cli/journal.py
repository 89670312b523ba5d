"""What a command over many files tells the process that watches over it, and what it hears from there."""

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

#: Environment variable that names the two pipes: process, whether Ctrl-C comes through them, and their ends.
CONNECTION = "FETUSMAP_SUPERVISED"
_SIGN_EVERY_S = 1.0


class Journal:
    """Tells nobody anything: a command without a process over it.

    Attributes:
        past: records of items that earlier processes of the same command came to the end of, or died at.
        hears_stops: whether wishes to stop come this way.
    """

    def __init__(self) -> None:
        self.past: list[dict[str, Any]] = []
        self.hears_stops = False

    def begin(self, item: str, name: str, size: int = 0) -> None:
        """An item begins; if the process dies now, it was at this."""

    def part(self, number: int | None) -> None:
        """A part of the item begins that the item can do without; None = no such part any more."""

    def report_activity(self, stage: str) -> None:
        """Something moves."""

    def end(self, item: str, **record: Any) -> None:
        """An item has come to its end; the record is among `past` in a process that follows on this one."""

    def finish(self, code: int) -> None:
        """The command is about to end with this exit code."""

    def listen(self) -> None:
        """Begin to hear wishes to stop, and the end of the process above."""


class _Connected(Journal):
    """Writes to one pipe and reads from another."""

    def __init__(self, hears_stops: bool, read: int, write: int) -> None:
        super().__init__()
        self.hears_stops = hears_stops
        self._incoming = messages(read)
        self._write = write
        self._lock = threading.Lock()
        self._stage, self._told_at = "", 0.0
        first = next(self._incoming, None)
        if first is None:  # nobody is there any more
            os._exit(1)
        self.past = first["past"]
        self._tell(event="open")

    def begin(self, item: str, name: str, size: int = 0) -> None:
        self._stage = "reading"
        self._tell(event="begin", item=item, name=name, size=size)

    def part(self, number: int | None) -> None:
        self._tell(event="part", part=number)

    def report_activity(self, stage: str) -> None:
        now = time.monotonic()
        if stage != self._stage or now - self._told_at > _SIGN_EVERY_S:
            self._stage, self._told_at = stage, now
            self._tell(event="sign", stage=stage)

    def end(self, item: str, **record: Any) -> None:
        self._tell(event="end", item=item, **record)

    def finish(self, code: int) -> None:
        self._tell(event="finished", code=code)

    def listen(self) -> None:
        threading.Thread(target=self._hear, daemon=True).start()

    def _tell(self, **record: Any) -> None:
        data = json.dumps(record).encode() + b"\n"
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._write, data) :]
            except OSError:  # nobody is there any more
                os._exit(1)

    def _hear(self) -> None:
        """Hand wishes to stop to the main thread; when the process above ends, however, this one ends at once."""
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
    """What comes through a pipe, one JSON object a line, to its end.

    Not by a buffered file: a thread that waits in one keeps the interpreter from ending in peace.
    """
    rest = b""
    while data := os.read(descriptor, 1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        yield from map(json.loads, lines)


_current = Journal()


def journal() -> Journal:
    """Of this process."""
    return _current


def connect() -> bool:
    """Take up the connection to the process above, if there is one; it is not handed on to further processes."""
    global _current
    words = os.environ.pop(CONNECTION, "").split(":")
    _current = Journal()
    try:
        parent, hears_stops, read, write = map(int, words)
        if sys.platform == "win32":
            import msvcrt

            read = msvcrt.open_osfhandle(read, os.O_RDONLY)
            write = msvcrt.open_osfhandle(write, os.O_WRONLY)
        elif not all(stat.S_ISFIFO(os.fstat(end).st_mode) for end in (read, write)):
            return False  # meant for another process, from which this one has its environment
        for end in (read, write):
            os.set_inheritable(end, False)
        _die_with_parent()
        if sys.platform != "win32" and parent != os.getppid():
            os._exit(1)
        _current = _Connected(bool(hears_stops), read, write)
    except (OSError, ValueError, KeyError):
        return False
    return True


def _die_with_parent() -> None:
    """Native code in an endless loop does not outlive the process above; a crash leaves no patient's data in a dump."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            set_parent_death_signal = 1
            ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if sys.platform != "win32":
        import resource

        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
