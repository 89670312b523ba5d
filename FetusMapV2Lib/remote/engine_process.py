"""The operating-system side of an engine in another process: starting it, reading its messages, and ending all of it.

Needs no torch.
"""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from typing import Any

from FetusMapV2Lib.core.errors import Cancelled, UserError
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel
from FetusMapV2Lib.core.python_process import kill_tree, start_python
from FetusMapV2Lib.core.safe_text import printable
from FetusMapV2Lib.remote import messages
from FetusMapV2Lib.remote.messages import Answer, Failure, Progress, Question, Result
from FetusMapV2Lib.remote.pipes import Lines, LineTooLongError

#: Seconds without a message after which the process counts as hung; loading torch can take long on a cold disk.
HUNG_S = 60.0
#: It counts as stalled when it sends heartbeats but no progress for this many times as long: a slow computer may need
#: half an hour for one view of a large network.
STALLED_FACTOR = 30.0
#: Seconds that the end of a process or of a thread is waited for.
_END_S = 0.5
#: Seconds that each look for a message waits: inside Slicer the reading thread runs only while the main thread waits.
_WAIT_S = 0.002
_LAST_LOG_LINES = 20
#: Lines of the log that are passed on, and bytes of one of them.
_MOST_LOG_LINES, _LONGEST_LOG_LINE = 1000, 1 << 16
#: A request is answered with this many messages at most, and this many more each second.
_MOST_MESSAGES, _MORE_MESSAGES = 1000, 200
#: Lines that are read before the caller gets its turn.
_AT_A_TIME = 50
#: Exit codes of a process that was killed, and of launchers that pass this on.
_KILLED = (-9, 128 + 9, 256 - 9)
_TRY_AGAIN = "Try again; choose the CPU or a memory budget if it happens again"


class EngineLostError(UserError):
    """The process ended, hung, ran out of memory or sent something unreadable; the next request starts a new one.

    Attributes:
        short_of_memory: a smaller memory plan may help.
        stalled: it sent heartbeats but no progress; another try would take as long.
    """

    def __init__(self, problem: str, *, short_of_memory: bool = False, stalled: bool = False) -> None:
        super().__init__(problem, remedy=_TRY_AGAIN)
        self.short_of_memory = short_of_memory
        self.stalled = stalled


class EngineProcess:
    """A running worker.

    Args:
        python: the interpreter, or a launcher that starts it.
        hung_s: seconds without a message after which it counts as lost.
        stalled_s: seconds without progress after which it does; None = `STALLED_FACTOR` times as long.

    Raises:
        UserError: it cannot be started.
    """

    def __init__(self, python: str, hung_s: float, stalled_s: float | None = None) -> None:
        self._hung_s = hung_s
        self._stalled_s = STALLED_FACTOR * hung_s if stalled_s is None else stalled_s
        self._last_log: list[str] = []
        self._log_lines = 0
        try:
            self._popen = start_python("FetusMapV2Lib.remote.worker", python)
        except (OSError, ValueError) as error:
            raise UserError(
                f"the pose engine cannot be started ({error})", where=python, remedy="Check this Python"
            ) from error
        assert self._popen.stdout is not None and self._popen.stderr is not None
        self._answers = Lines(self._popen.stdout, messages.LONGEST)
        self._log = Lines(self._popen.stderr, _LONGEST_LOG_LINE, unended=True)
        self._sending: threading.Thread | None = None

    @property
    def pid(self) -> int:
        """Number of the process that was started."""
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def send(self, question: Question) -> None:
        """Send a request, in a thread: a process that does not read it must not block this one.

        Raises:
            EngineLostError: the process has ended.
        """
        if not self.is_running:
            raise self._lost()
        line = (messages.encoded(question) + "\n").encode("utf-8")
        self._sending = threading.Thread(target=self._write, args=(line, self._sending), daemon=True)
        self._sending.start()

    def answer(
        self, number: int, on_progress: OnProgress | None, should_cancel: ShouldCancel | None
    ) -> Generator[None, None, Any]:
        """The result of a request as JSON values, in steps: yields while there is no message.

        Raises:
            Cancelled: `should_cancel` said yes.
            EngineLostError: see there.
            UserError: what the engine refuses.
        """
        waited, received = _Waited(), 0
        progress = Progress(number, 0.0, "starting the pose engine")
        while True:
            if should_cancel is not None and should_cancel():
                raise Cancelled(progress.stage)
            message = self._next()
            waited.update()
            if message is None:
                if waited.since_message > self._hung_s:
                    raise EngineLostError("the pose engine does not answer any more")
                if on_progress is not None:
                    on_progress(progress.fraction, progress.stage)  # keeps a window responsive
                yield
                continue
            received += 1
            if received > _MOST_MESSAGES + _MORE_MESSAGES * waited.in_all:
                raise EngineLostError("the pose engine sends messages without end")
            waited.since_message = 0.0
            if isinstance(message, Failure) and message.id in (number, None):
                raise _error_of(message)
            if isinstance(message, Result) and message.id == number:
                return message.result
            if isinstance(message, Progress) and message.id == number:
                if message != progress:
                    waited.since_progress = 0.0
                progress = message
                if on_progress is not None:
                    on_progress(progress.fraction, progress.stage)
            if waited.since_progress > self._stalled_s:
                raise EngineLostError("the pose engine is running but makes no progress", stalled=True)
            if received % _AT_A_TIME == 0:
                yield

    def end(self) -> None:
        """End the process and all that it started."""
        assert self._popen.stdin is not None
        writing = self._sending is not None and self._sending.is_alive()
        if not writing:  # closing would wait for the writing thread
            with contextlib.suppress(OSError, ValueError):
                self._popen.stdin.close()  # the worker ends when its input is closed
        kill_tree(self._popen)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_END_S)
        if self._sending is not None:
            self._sending.join(_END_S)
            if writing and not self._sending.is_alive():
                with contextlib.suppress(OSError, ValueError):
                    self._popen.stdin.close()
        self._pass_on_log()
        for lines in (self._answers, self._log):
            lines.close(_END_S)

    def _next(self) -> Answer | None:
        """The next message, None if there is none yet.

        Raises:
            EngineLostError: the process has ended or has sent something that is no message.
        """
        self._pass_on_log()
        try:
            line = self._answers.take(_WAIT_S)
        except queue.Empty:
            return None
        except LineTooLongError:
            raise EngineLostError("the pose engine sent something unreadable (a line without end)") from None
        if line is None:
            raise self._lost()
        try:
            return messages.answer_from(line)
        except messages.MessageError as error:
            raise EngineLostError(f"the pose engine sent something unreadable ({error.problem})") from error

    def _lost(self) -> EngineLostError:
        """Why there is no process any more, with the end of its log."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_END_S)
        code = self._popen.poll()
        if code is not None:
            self._log.wait(_END_S)  # the end of its log may still be in the pipe
        self._pass_on_log()
        log = printable(" ".join("".join(self._last_log).split())[-160:])
        if code in _KILLED:
            return EngineLostError("the pose engine was killed, perhaps for lack of memory", short_of_memory=True)
        how = "closed its output" if code is None else f"ended with code {code}"
        return EngineLostError(f"the pose engine {how}" + (f" ({log})" if log else ""))

    def _write(self, line: bytes, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            rest = memoryview(line)
            while rest:
                rest = rest[self._popen.stdin.write(rest) :]

    def _pass_on_log(self) -> None:
        """Copy what the process has written to its log to standard error, up to a limit, and keep the end of it."""
        for _ in range(_AT_A_TIME):
            try:
                line = self._log.take()
            except (queue.Empty, LineTooLongError):
                return
            if line is None:
                return
            text = line.decode("utf-8", "replace").rstrip("\r")
            self._last_log = [*self._last_log, text + "\n"][-_LAST_LOG_LINES:]
            self._log_lines += 1
            if sys.stderr is not None and self._log_lines <= _MOST_LOG_LINES:
                left_out = "" if self._log_lines < _MOST_LOG_LINES else " (what follows is left out)"
                sys.stderr.write(f"{printable(text)}{left_out}\n")


class _Waited:
    """Seconds of waiting. Between two updates at most one second counts, as the computer may have been suspended."""

    def __init__(self) -> None:
        self.in_all = self.since_message = self.since_progress = 0.0
        self._last = time.monotonic()

    def update(self) -> None:
        now = time.monotonic()
        passed, self._last = min(now - self._last, 1.0), now
        self.in_all += passed
        self.since_message += passed
        self.since_progress += passed


def _error_of(failure: Failure) -> UserError:
    if failure.kind == "memory":
        return EngineLostError(failure.problem, short_of_memory=True)
    return UserError(failure.problem, where=failure.where or None, remedy=failure.remedy, option=failure.option)
