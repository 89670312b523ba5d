"""The operating-system side of an engine in another process: starting it, hearing it, and ending all of it.

Needs no torch.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from FetusMapV2Lib.core.errors import Cancelled, UserError
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel
from FetusMapV2Lib.core.safe_text import printable
from FetusMapV2Lib.remote import messages
from FetusMapV2Lib.remote.pipes import Lines, LineTooLongError

#: Seconds without a sign of life after which the process counts as hung; loading torch can take long on a cold disk.
HUNG_S = 60.0
#: It counts as stalled when it lives but gets no further for this many times as long: a slow computer may need half an
#: hour for one look of a large network.
STALLED_FACTOR = 30.0
_END_S = 0.5
#: What lets the thread that hears run where it runs only while this one waits.
_WAIT_S = 0.002
_LAST_LINES = 20
#: Lines of the log that are passed on, and bytes of one of them.
_MOST_LOG_LINES, _LONGEST_LOG_LINE = 1000, 1 << 16
#: A request is answered with this many messages at most, and this many more each second; so many are heard at a time.
_MOST_MESSAGES, _MORE_MESSAGES, _AT_A_TIME = 1000, 200, 50
#: Exit codes of a process that was killed, and of launchers that pass this on.
_KILLED = (-9, 128 + 9, 256 - 9)
_TRY_AGAIN = "Try again; choose the CPU or a memory budget if it happens again"
#: The folder that holds this package.
_HOME = Path(__file__).resolve().parents[2]
#: What the other process runs. Nothing is imported before the folder in which it was started is off the path.
_BOOT = (
    "import sys; sys.path[:] = [sys.argv[1]] + [place for place in sys.path if place]; "
    "from FetusMapV2Lib.remote.worker import main; main()"
)


class EngineLostError(UserError):
    """The process ended, hung, ran out of memory or sent something unreadable; the next request starts a new one.

    Attributes:
        short_of_memory: a smaller memory plan may help.
        stalled: it lived but got no further; another try would take as long.
    """

    def __init__(self, problem: str, *, short_of_memory: bool = False, stalled: bool = False) -> None:
        super().__init__(problem, remedy=_TRY_AGAIN)
        self.short_of_memory = short_of_memory
        self.stalled = stalled


class EngineProcess:
    """A running worker.

    Args:
        python: the interpreter, or a launcher that starts it.
        hung_s: seconds of silence after which it is given up.
        stalled_s: seconds without progress after which it is; None = `STALLED_FACTOR` times as long.

    Raises:
        UserError: it cannot be started.
    """

    def __init__(self, python: str, hung_s: float, stalled_s: float | None = None) -> None:
        self._hung_s = hung_s
        self._stalled_s = stalled_s
        self._words: list[str] = []
        self._logged = 0
        try:
            self._popen = subprocess.Popen(
                [python, "-u", "-c", _BOOT, str(_HOME)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=_HOME,  # whatever lies in the folder that is the current one here is none of its business
                env=_environment(),
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                start_new_session=True,  # a process group of its own, which can be killed as one
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f"the pose engine cannot be started ({error})", where=python, remedy="Check this Python"
            ) from error
        assert self._popen.stdout is not None and self._popen.stderr is not None
        self._lines = Lines(self._popen.stdout, messages.LONGEST)
        self._log = Lines(self._popen.stderr, _LONGEST_LOG_LINE, last_words=True)
        self._sending: threading.Thread | None = None

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a request; a process that does not read it does not answer either.

        Raises:
            EngineLostError: the process has ended.
        """
        if not self.is_running:
            raise self._lost()
        line = (messages.encoded(message) + "\n").encode("utf-8")
        self._sending = threading.Thread(target=self._write, args=(line, self._sending), daemon=True)
        self._sending.start()

    def answering(
        self, number: int, on_progress: OnProgress | None, should_cancel: ShouldCancel | None
    ) -> Generator[None, None, Mapping[str, Any]]:
        """The answer to a request, in steps: yields while there is nothing to hear.

        Raises:
            Cancelled: `should_cancel` said yes.
            EngineLostError: see there.
            UserError: what the engine refuses.
        """
        waited, heard = _Waited(), 0
        fraction, stage = 0.0, "starting the pose engine"
        while True:
            if should_cancel is not None and should_cancel():
                raise Cancelled(stage)
            message = self._next()
            waited.go_on()
            if message is None:
                if waited.since_sign > self._hung_s:
                    raise EngineLostError("the pose engine does not answer any more")
                if on_progress is not None:
                    on_progress(fraction, stage)  # keeps a window alive
                yield
                continue
            heard += 1
            if heard > _MOST_MESSAGES + _MORE_MESSAGES * waited.in_all:
                raise EngineLostError("the pose engine sends messages without end")
            waited.since_sign = 0.0
            if message["event"] == "error" and message.get("id") in (number, None):
                raise _refusal(message)
            if message.get("id") == number and message["event"] == "result":
                return message
            if message.get("id") == number and message["event"] == "progress":
                reached = float(message["fraction"]), str(message["stage"])
                if reached != (fraction, stage):
                    waited.since_progress = 0.0
                fraction, stage = reached
                if on_progress is not None:
                    on_progress(fraction, stage)
            if waited.since_progress > self._patience_s:
                raise EngineLostError("the pose engine lives but gets no further", stalled=True)
            if heard % _AT_A_TIME == 0:
                yield

    @property
    def _patience_s(self) -> float:
        return STALLED_FACTOR * self._hung_s if self._stalled_s is None else self._stalled_s

    def end(self) -> None:
        """End the process and all that it started."""
        assert self._popen.stdin is not None
        writing = self._sending is not None and self._sending.is_alive()
        if not writing:  # else it would be waited for
            with contextlib.suppress(OSError, ValueError):
                self._popen.stdin.close()  # at this the worker ends by itself, wherever it runs
        _kill_tree(self._popen)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_END_S)
        if self._sending is not None:
            self._sending.join(_END_S)
            if writing and not self._sending.is_alive():
                with contextlib.suppress(OSError, ValueError):
                    self._popen.stdin.close()
        self._pass_on_log()
        for lines in (self._lines, self._log):
            lines.close(_END_S)

    def _next(self) -> Mapping[str, Any] | None:
        """The next message, None if there is none yet.

        Raises:
            EngineLostError: the process has ended or talks nonsense.
        """
        self._pass_on_log()
        try:
            line = self._lines.take(_WAIT_S)
        except queue.Empty:
            return None
        except LineTooLongError:
            raise EngineLostError("the pose engine sent something unreadable (a line without end)") from None
        if line is None:
            raise self._lost()
        try:
            return messages.checked_answer(messages.decoded(line))
        except messages.MessageError as error:
            raise EngineLostError(f"the pose engine sent something unreadable ({error.problem})") from error

    def _lost(self) -> EngineLostError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_END_S)
        code = self._popen.poll()
        if code is not None:
            self._log.wait(_END_S)  # its last words may still be on the way
        self._pass_on_log()
        said = printable(" ".join("".join(self._words).split())[-160:])
        killed = code in _KILLED
        how = "was killed, perhaps for lack of memory" if killed else f"ended with code {code}"
        if code is None:
            how = "closed its output"
        words = f" ({said})" if said and not killed else ""
        return EngineLostError(f"the pose engine {how}{words}", short_of_memory=killed)

    def _write(self, line: bytes, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            rest = memoryview(line)
            while rest:
                rest = rest[self._popen.stdin.write(rest) :]

    def _pass_on_log(self) -> None:
        """Pass on what the process writes for the log, as long as it is not without end, and keep its last words."""
        for _ in range(_AT_A_TIME):
            try:
                line = self._log.take()
            except (queue.Empty, LineTooLongError):
                return
            if line is None:
                return
            text = line.decode("utf-8", "replace").rstrip("\r")
            self._words = [*self._words, text + "\n"][-_LAST_LINES:]
            self._logged += 1
            if sys.stderr is not None and self._logged <= _MOST_LOG_LINES:
                left_out = "" if self._logged < _MOST_LOG_LINES else " (what follows is left out)"
                sys.stderr.write(f"{printable(text)}{left_out}\n")


class _Waited:
    """Seconds that were waited. While nobody asks, as in the sleep of a computer, at most one second passes."""

    def __init__(self) -> None:
        self.in_all = self.since_sign = self.since_progress = 0.0
        self._last = time.monotonic()

    def go_on(self) -> None:
        now = time.monotonic()
        passed, self._last = min(now - self._last, 1.0), now
        self.in_all += passed
        self.since_sign += passed
        self.since_progress += passed


def _refusal(message: Mapping[str, Any]) -> UserError:
    if message["kind"] == "memory":
        return EngineLostError(message["problem"], short_of_memory=True)
    return UserError(message["problem"], where=message["where"] or None, remedy=message["remedy"])


def _kill_tree(popen: subprocess.Popen[bytes]) -> None:
    """Kill a process with its children, e.g. what a launcher started."""
    if sys.platform == "win32":
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["taskkill", "/T", "/F", "/PID", str(popen.pid)],
                capture_output=True,
                timeout=_END_S,
                creationflags=subprocess.CREATE_NO_WINDOW,
            )
    else:
        with contextlib.suppress(OSError):
            os.killpg(popen.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        popen.kill()


def _environment() -> dict[str, str]:
    """Of this process, but with no module from the folder that happens to be the current one.

    What the user has put on Python's path stays, by its full name; an empty entry would mean the current folder.
    """
    places = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    path = os.pathsep.join([str(_HOME), *(str(Path(place).absolute()) for place in places)])
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
