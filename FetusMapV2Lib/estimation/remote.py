"""`RemoteEngine`: the pose engine in a process of its own, with the methods of the one that runs here.

Whoever calls it can be interrupted at any time and outlives whatever happens to that process. Needs no torch.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from FetusMapV2Lib.estimation import messages
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.foundation.errors import Cancelled, OutputError, UserError
from FetusMapV2Lib.foundation.progress import OnProgress, ShouldCancel
from FetusMapV2Lib.imaging.volume import Volume

#: Seconds without a sign of life after which the process counts as hung; loading torch can take long on a cold disk.
HUNG_S = 60.0
_POLL_S = 0.03
_END_S = 0.5
_LAST_LINES = 20
_MODULE = "FetusMapV2Lib.estimation.worker"


class EngineLostError(UserError):
    """The process ended, hung or sent something unreadable; a new one is started for the next estimate."""


class RemoteEngine:
    """A pose engine in another process, started on first use and kept warm.

    Args:
        model: name or path of a model, None = the default one.
        device: "auto", "cpu", "cuda" or "cuda:N".
        memory_budget: bytes for the network, None = as much as it takes.
        python: the interpreter to run, by custom the one that runs here.
        hung_s: seconds of silence after which the process is given up.

    Example:
        >>> with RemoteEngine(device="cpu") as engine:              # doctest: +SKIP
        ...     estimate = engine.estimate(volume, should_cancel=button.is_pressed)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        device: str = "auto",
        memory_budget: int | None = None,
        *,
        python: str | os.PathLike[str] | None = None,
        hung_s: float = HUNG_S,
    ) -> None:
        self._model = None if model is None else os.fspath(model)
        self._device, self._memory_budget = device, memory_budget
        self._python, self._hung_s = os.fspath(python or sys.executable), hung_s
        self._process: _Process | None = None
        self._numbers = itertools.count(1)

    def __enter__(self) -> RemoteEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Of the running process, None if there is none."""
        return self._process.pid if self._process is not None and self._process.is_running else None

    def warm_up(self, on_progress: OnProgress | None = None, should_cancel: ShouldCancel | None = None) -> str:
        """Start the process and load the model; gives the model's identity.

        Raises:
            UserError, Cancelled: see `estimate`.
        """
        return str(self._ask({"command": "load"}, on_progress, should_cancel)["model"])

    def estimate(
        self,
        volume: Volume,
        *,
        on_progress: OnProgress | None = None,
        should_cancel: ShouldCancel | None = None,
        **options: Any,
    ) -> Estimate:
        """See `PoseEngine.estimate`; `should_cancel` is asked thirty times a second, whatever the engine is doing.

        A process that is lost on the way is started once more, on the CPU; the estimate then says so.

        Raises:
            Cancelled: `should_cancel` said yes; the process has been ended.
            EngineLostError: the process was lost twice.
            UserError: what the engine itself refuses, or a volume that cannot be handed over.
        """
        return self._twice({"command": "estimate", "options": options}, on_progress, should_cancel, volume)

    def refine(
        self,
        volume: Volume,
        estimate: Estimate,
        pinned: Collection[int] = (),
        *,
        on_progress: OnProgress | None = None,
        should_cancel: ShouldCancel | None = None,
        **options: Any,
    ) -> Estimate:
        """See `PoseEngine.refine`; lost processes, cancelling and errors as in `estimate`."""
        request = {
            "command": "refine",
            "estimate": messages.estimate_message(estimate),
            "pinned": sorted(pinned),
            "options": options,
        }
        return self._twice(request, on_progress, should_cancel, volume)

    def _twice(
        self,
        request: Mapping[str, Any],
        on_progress: OnProgress | None,
        should_cancel: ShouldCancel | None,
        volume: Volume,
    ) -> Estimate:
        """The estimate that answers a request, asked once more on the CPU if the process is lost on the way."""
        try:
            answer = self._ask(request, on_progress, should_cancel, volume)
        except EngineLostError as lost:
            first = lost
        else:
            return messages.estimate_from(answer["estimate"])
        answer = self._ask({**request, "device": "cpu"}, on_progress, should_cancel, volume)
        estimate = messages.estimate_from(answer["estimate"])
        done = {"estimate": "the estimate was made again", "refine": "the pose was refined"}[request["command"]]
        warning = f"{first.problem[:1].upper()}{first.problem[1:]}; {done} on the CPU."
        return replace(estimate, warnings=(warning, *estimate.warnings))

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _ask(
        self,
        request: Mapping[str, Any],
        on_progress: OnProgress | None,
        should_cancel: ShouldCancel | None,
        volume: Volume | None = None,
    ) -> dict[str, Any]:
        """Send a request and wait for its answer; whatever goes wrong, no process is left in an unknown state."""
        if self._process is None or not self._process.is_running:
            self.close()
            self._process = _Process(self._python, self._hung_s)
        process, number = self._process, next(self._numbers)
        settings = {"model": self._model, "device": self._device, "memory_budget": self._memory_budget}
        with contextlib.ExitStack() as stack:
            handed = {} if volume is None else {"volume": stack.enter_context(_handed_over(volume))}
            try:
                process.send({"id": number, **settings, **request, **handed})
                return process.answer(number, on_progress, should_cancel)
            except (Cancelled, EngineLostError, KeyboardInterrupt):
                self.close()
                raise


class _Process:
    """The other process and what it says."""

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
            )
        except OSError as error:
            raise UserError(
                f"the pose engine cannot be started ({error})", where=python, remedy="Check this Python"
            ) from error
        for target, stream in ((self._hear, self._popen.stdout), (self._overhear, self._popen.stderr)):
            threading.Thread(target=target, args=(stream,), daemon=True).start()

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

    def answer(self, number: int, on_progress: OnProgress | None, should_cancel: ShouldCancel | None) -> dict[str, Any]:
        """Wait for the answer to a request."""
        heard = time.monotonic()
        fraction, stage = 0.0, "starting the pose engine"
        while True:
            if should_cancel is not None and should_cancel():
                raise Cancelled(stage)
            message = self._next()
            if message is None:
                if time.monotonic() - heard > self._hung_s:
                    raise EngineLostError("the pose engine does not answer any more", remedy=_TRY_AGAIN)
                if on_progress is not None:
                    on_progress(fraction, stage)  # keeps a window alive
                continue
            heard = time.monotonic()
            if message.get("id") != number:
                continue
            if message["event"] == "result":
                return message
            if message["event"] == "error":
                raise UserError(message["problem"], where=message["where"] or None, remedy=message["remedy"])
            fraction, stage = float(message["fraction"]), str(message["stage"])
            if on_progress is not None:
                on_progress(fraction, stage)

    def end(self) -> None:
        """End the process and all that it started; closing its input ends what a launcher started, too."""
        with contextlib.suppress(OSError, ValueError):
            assert self._popen.stdin is not None
            self._popen.stdin.close()
        with contextlib.suppress(OSError):
            self._popen.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_END_S)

    def _next(self) -> dict[str, Any] | None:
        """The next message, None if there is none yet.

        Raises:
            EngineLostError: the process has ended or talks nonsense.
        """
        try:
            line = self._lines.get(timeout=_POLL_S)
        except queue.Empty:
            return None
        if line is None:
            raise self._lost()
        try:
            return messages.decoded(line)
        except messages.MessageError as error:
            raise EngineLostError(f"the pose engine sent something unreadable ({error})", remedy=_TRY_AGAIN) from error

    def _lost(self) -> EngineLostError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_END_S)
        code = self._popen.poll()
        said = " ".join("".join(self._words).split())[-160:]
        how = {None: "closed its output", -9: "was killed, perhaps for lack of memory"}.get(
            code, f"ended with code {code}"
        )
        return EngineLostError(
            f"the pose engine {how}" + (f" ({said})" if said and code != -9 else ""), remedy=_TRY_AGAIN
        )

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


_TRY_AGAIN = "Try again; choose the CPU or a memory budget if it happens again"


@contextlib.contextmanager
def _handed_over(volume: Volume) -> Iterator[dict[str, Any]]:
    """The message of a volume whose voxels lie in a temporary file."""
    folder: Path | None = None
    try:
        try:
            folder = Path(tempfile.mkdtemp(prefix="fetusmap-"))
            message = messages.volume_message(volume, folder / "volume.npy")
        except OSError as error:
            raise OutputError(
                f"the volume cannot be handed to the pose engine ({error.strerror or error})",
                where=folder,
                remedy="Make room on the disk that holds temporary files",
            ) from error
        yield message
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _environment() -> dict[str, str]:
    """Lets the other process find this package, wherever it lies."""
    here = str(Path(__file__).resolve().parents[2])
    others = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([here, others] if others else [here])}
