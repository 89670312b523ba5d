"""Lines from a pipe, read by a thread of their own: few of them are kept at a time, and none is longer than a limit.

Nothing waits for the thread: inside Slicer it runs only now and then, and a full pipe makes the writer wait.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from typing import IO

_BLOCK = 1 << 16
#: Seconds that the thread waits for room before it checks whether the lines are still wanted.
_ROOM_S = 0.1


class LineTooLongError(Exception):
    """A line is longer than the limit."""


class Lines:
    """What is written into a pipe, line by line.

    Args:
        stream: the reading end.
        longest: bytes of a line.
        ahead: lines that are kept until they are taken.
        unended: text after the last line end counts as a line.
    """

    def __init__(self, stream: IO[bytes], longest: int, *, ahead: int = 256, unended: bool = False) -> None:
        self._stream = stream
        self._unended = unended
        self._longest = longest
        self._lines: queue.Queue[bytes | Exception | None] = queue.Queue(ahead)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read_lines, daemon=True)
        self._thread.start()

    def take(self, wait_s: float = 0.0) -> bytes | None:
        """The next line without its end.

        Args:
            wait_s: seconds to wait for one; in that time the thread can run.

        Returns:
            None at the end of the pipe.

        Raises:
            queue.Empty: there is none yet.
            LineTooLongError: the next line is too long; no other follows.
        """
        found = self._lines.get(timeout=wait_s) if wait_s else self._lines.get_nowait()
        if isinstance(found, Exception):
            raise found
        return found

    def wait(self, seconds: float) -> None:
        """Wait for the end of the pipe, at most so long."""
        self._thread.join(seconds)

    def close(self, seconds: float) -> None:
        """Stop reading; the pipe is closed if its other end is, within so many seconds."""
        self._closed.set()
        self._thread.join(seconds)
        if not self._thread.is_alive():
            self._stream.close()

    def _read_lines(self) -> None:
        rest = b""
        while block := self._read():
            *whole, rest = (rest + block).split(b"\n")
            if any(len(line) > self._longest for line in (*whole, rest)):
                self._put(LineTooLongError())
                break
            for line in whole:
                self._put(line)
        else:
            if rest and self._unended:
                self._put(rest)
            self._put(None)
        while not self._closed.is_set() and self._read():  # a writer must not block on a full pipe
            pass

    def _read(self) -> bytes:
        try:
            return os.read(self._stream.fileno(), _BLOCK)
        except (OSError, ValueError):
            return b""

    def _put(self, line: bytes | Exception | None) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._lines.put(line, timeout=_ROOM_S)
                return
