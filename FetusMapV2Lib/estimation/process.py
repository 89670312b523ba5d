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
from typing import IO, Any

from FetusMapV2Lib.estimation import messages
from FetusMapV2Lib.foundation.errors import Cancelled, UserError
from FetusMapV2Lib.foundation.progress import OnProgress, ShouldCancel

#: Seconds without a sign of life after which the process counts as hung; loading torch can take long on a cold disk.
HUNG_S = 60.0
_END_S = 0.5
_LAST_LINES = 20
#: Exit codes of a process that was killed, and of launchers that pass this on.
_KILLED = (-9, 128 + 9, 256 - 9)
_MODULE = "FetusMapV2Lib.estimation.worker"
_TRY_AGAIN = "Try again; choose the CPU or a memory budget if it happens again"


class EngineLostError(UserError):
    """The process ended, hung, ran out of memory or sent something unreadable; the next request starts a new one.

    Attributes:
        short_of_memory: a smaller memory plan may help.
    """

    def __init__(self, problem: str, *, short_of_memory: bool = False) -> None:
        super().__init__(problem, remedy=_TRY_AGAIN)
        self.short_of_memory = short_of_memory


class EngineProcess:
    """A running worker.

    Args:
        python: the interpreter, or a launcher that starts it.
        hung_s: seconds of silence after which it is given up.

    Raises:
        UserError: it cannot be started.
    """

    def __init__(self, python: str, hung_s: float) -> None:
        self._hung_s = hung_s
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._words: list[str] = []
        try:
            self._popen = subprocess.Popen(
                [python, "-u", "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                env=_environment(),
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                start_new_session=True,  # a process group of its own, which can be killed as one
            )
        except OSError as error:
            raise UserError(
                f"the pose engine cannot be started ({error})", where=python, remedy="Check this Python"
            ) from error
        threading.Thread(target=self._hear, args=(self._popen.stdout,), daemon=True).start()
        self._log = threading.Thread(target=self._overhear, args=(self._popen.stderr,), daemon=True)
        self._log.start()

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a request.

        Raises:
            EngineLostError: nobody reads it.
        """
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(messages.encoded(message) + "\n")
            self._popen.stdin.flush()
        except (OSError, ValueError) as error:
            raise self._lost() from error

    def answering(
        self, number: int, on_progress: OnProgress | None, should_cancel: ShouldCancel | None
    ) -> Generator[None, None, dict[str, Any]]:
        """The answer to a request, in steps: yields while there is nothing to hear.

        Raises:
            Cancelled: `should_cancel` said yes.
            EngineLostError: see there.
            UserError: what the engine refuses.
        """
        heard = time.monotonic()
        fraction, stage = 0.0, "starting the pose engine"
        while True:
            if should_cancel is not None and should_cancel():
                raise Cancelled(stage)
            message = self._next()
            if message is None:
                if time.monotonic() - heard > self._hung_s:
                    raise EngineLostError("the pose engine does not answer any more")
                if on_progress is not None:
                    on_progress(fraction, stage)  # keeps a window alive
                yield
                continue
            heard = time.monotonic()
            if message.get("id") != number:
                continue
            if message["event"] == "result":
                return message
            if message["event"] == "error":
                raise _refusal(message)
            fraction, stage = float(message["fraction"]), str(message["stage"])
            if on_progress is not None:
                on_progress(fraction, stage)

    def end(self) -> None:
        """End the process and all that it started."""
        with contextlib.suppress(OSError, ValueError):
            assert self._popen.stdin is not None
            self._popen.stdin.close()  # at this the worker ends by itself, wherever it runs
        _kill_tree(self._popen)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_END_S)

    def _next(self) -> dict[str, Any] | None:
        """The next message, None if there is none yet.

        Raises:
            EngineLostError: the process has ended or talks nonsense.
        """
        try:
            line = self._lines.get_nowait()
        except queue.Empty:
            return None
        if line is None:
            raise self._lost()
        try:
            return messages.decoded(line)
        except messages.MessageError as error:
            raise EngineLostError(f"the pose engine sent something unreadable ({error})") from error

    def _lost(self) -> EngineLostError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_END_S)
        code = self._popen.poll()
        if code is not None:
            self._log.join(_END_S)  # its last words may still be on the way
        said = " ".join("".join(self._words).split())[-160:]
        killed = code in _KILLED
        how = "was killed, perhaps for lack of memory" if killed else f"ended with code {code}"
        if code is None:
            how = "closed its output"
        words = f" ({said})" if said and not killed else ""
        return EngineLostError(f"the pose engine {how}{words}", short_of_memory=killed)

    def _hear(self, stream: IO[str]) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in stream:
                self._lines.put(line)
        self._lines.put(None)

    def _overhear(self, stream: IO[str]) -> None:
        """Pass on what the process writes for the log, and keep its last words."""
        with contextlib.suppress(OSError, ValueError):
            for line in stream:
                sys.stderr.write(line)
                self._words = [*self._words, line][-_LAST_LINES:]


def _refusal(message: Mapping[str, Any]) -> UserError:
    if message["kind"] == "memory":
        return EngineLostError(message["problem"], short_of_memory=True)
    where, option = message["where"] or None, message.get("option", "")
    return UserError(message["problem"], where=where, remedy=message["remedy"], option=option)


def _kill_tree(popen: subprocess.Popen[str]) -> None:
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
    """Lets the other process find this package, wherever it lies."""
    here = str(Path(__file__).resolve().parents[2])
    others = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([here, others] if others else [here])}
