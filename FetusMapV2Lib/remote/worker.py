"""The pose engine as a process of its own, started by `engine_process.EngineProcess`.

Requests come in on standard input, answers go out on standard output (`messages`). It ends when its input is closed.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.version import __version__
from FetusMapV2Lib.estimation.requests import InstallRequest
from FetusMapV2Lib.models.model_index import install_model
from FetusMapV2Lib.remote import messages, payloads
from FetusMapV2Lib.remote.messages import Answer, EngineSettings, Failure, FailureKind, Heartbeat, Progress, Question

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.engine import PoseEngine

#: Seconds between two heartbeats.
HEARTBEAT_S = 1.0
#: Seconds without a request after which the process ends, so that its memory is free for others.
IDLE_S = 1800.0
_OUT_OF_MEMORY = "there was not enough memory for this estimate"


def main() -> None:
    """Answer requests until the input ends, or until none has come for a long time."""
    out = _claim_output()
    worker = Worker(out)
    requests: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_read_requests, args=(sys.stdin.buffer, requests), daemon=True).start()
    threading.Thread(target=worker.send_heartbeats, daemon=True).start()
    worker.send(messages.Ready(os.getpid(), __version__))
    while True:
        try:
            line = requests.get(timeout=IDLE_S)
        except queue.Empty:
            return
        worker.serve(line)


def _claim_output() -> TextIO:
    """Standard output for messages alone: whatever a library prints goes to standard error."""
    own = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return os.fdopen(own, "w", encoding="utf-8", newline="\n")


def _read_requests(source: BinaryIO, requests: queue.Queue[bytes]) -> None:
    """Put lines into a queue; at the end of the input this process ends at once, even during an estimate.

    So nothing stays behind when the client is killed, or kills a launcher between the two.
    """
    while line := source.readline(messages.LONGEST + 2):
        requests.put(line)
        while line and not line.endswith(b"\n"):  # too long, and refused for that: the rest is skipped
            line = source.readline(messages.LONGEST)
    os._exit(0)


class Worker:
    """Answers requests, one after the other, with an engine that stays loaded.

    Args:
        out: where messages are written to.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._engine: PoseEngine | None = None
        self._loaded: EngineSettings | None = None
        self._busy = threading.Event()

    def send(self, message: Answer) -> None:
        """Send a message; ends the process if nobody reads it any more."""
        line = messages.encoded(message)
        try:
            with self._lock:
                print(line, file=self._out, flush=True)
        except (OSError, ValueError):
            os._exit(1)

    def send_heartbeats(self) -> None:
        """Send heartbeats for ever, while a request is being worked on."""
        while self._busy.wait():
            self.send(Heartbeat())
            time.sleep(HEARTBEAT_S)

    def serve(self, line: bytes) -> None:
        """Answer one request with a result or an error."""
        self._busy.set()
        try:
            self._serve(line.rstrip(b"\r\n"))
        finally:
            self._busy.clear()

    def _serve(self, line: bytes) -> None:
        number = messages.id_in(line)
        try:
            question = messages.question_from(line)
            result = messages.Result(question.id, self._result_of(question))
            messages.encoded(result)
        except UserError as error:
            self._fail(number, "user", error.problem, error.where, error.remedy, error.option)
        except ImportError as error:
            remedy = "Install the packages that the README names into the Python that runs the engine"
            self._fail(number, "packages", f"the pose engine cannot start ({error})", "", remedy)
        except MemoryError:
            self._fail(number, "memory", _OUT_OF_MEMORY, "", "Close other programs")
        except Exception as error:
            if "DefaultCPUAllocator" in str(error):  # torch has no exception of its own for this
                self._fail(number, "memory", _OUT_OF_MEMORY, "", "Close other programs")
                return
            traceback.print_exc(file=sys.stderr)
            problem = f"the pose engine failed ({type(error).__name__}: {error})"
            self._fail(number, "internal", problem, "", "The log has the details")
        else:
            self.send(result)

    def _fail(
        self, number: int | None, kind: FailureKind, problem: str, where: str, remedy: str, option: str = ""
    ) -> None:
        self.send(Failure(number, kind, *map(messages.sendable, (problem, where, remedy, option))))

    def _result_of(self, question: Question) -> Any:
        """The result of a request as JSON values."""
        request = payloads.request_from(question.command, question.request)
        if isinstance(request, InstallRequest):  # needs no engine, there may be no model yet
            install_model(request.file, request.name)
            return None

        def report(fraction: float, stage: str) -> None:
            self.send(Progress(question.id, fraction, stage))

        report(0.0, "loading the model")
        return payloads.result_values(request.run(self._engine_for(question.settings), report, None))

    def _engine_for(self, settings: EngineSettings) -> PoseEngine:
        """The engine for these settings; one at a time, as a GPU holds one model."""
        from FetusMapV2Lib.estimation.engine import PoseEngine

        if self._engine is None or self._loaded != settings:
            self._engine = None
            self._engine = PoseEngine.load(settings.model, settings.device, settings.memory_budget)
            if settings.less_memory:
                self._engine.reduce_memory()
            self._loaded = settings
        return self._engine


if __name__ == "__main__":
    main()
