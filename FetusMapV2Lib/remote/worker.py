"""The pose engine as a process of its own; `process.EngineProcess` starts it.

Messages (`messages`) come in on standard input and go out on standard output. It ends when its input is closed.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.version import __version__
from FetusMapV2Lib.remote import messages

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.engine import PoseEngine

#: Seconds between two signs of life.
HEARTBEAT_S = 1.0
#: A process that nobody has asked anything for so long gives its memory back by ending.
IDLE_S = 1800.0
_TOO_LITTLE_MEMORY = "there was not enough memory for this estimate"


def main() -> None:
    """Serve requests until the input ends, or until nobody asks for long."""
    out = _claim_output()
    worker = _Worker(out)
    requests: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, requests), daemon=True).start()
    threading.Thread(target=worker.beat, daemon=True).start()
    worker.say(event="ready", pid=os.getpid(), software=__version__)
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


def _read(source: BinaryIO, requests: queue.Queue[bytes]) -> None:
    """Hand on lines; at their end this process ends at once, in the midst of an estimate too.

    So nothing stays behind when the other side is killed, or kills a launcher that stands between.
    """
    while line := source.readline(messages.LONGEST + 2):
        requests.put(line)
        while line and not line.endswith(b"\n"):  # too long, and refused as such: its end is of no use
            line = source.readline(messages.LONGEST)
    os._exit(0)


class _Worker:
    """Answers requests, one after the other, with an engine that stays loaded."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._engine: PoseEngine | None = None
        self._loaded: tuple[Any, ...] = ()
        self._busy = threading.Event()

    def say(self, **message: Any) -> None:
        """Send a message; ends the process if nobody listens any more."""
        line = messages.encoded(message)
        try:
            with self._lock:
                print(line, file=self._out, flush=True)
        except (OSError, ValueError):
            os._exit(1)

    def beat(self) -> None:
        """Tell that this process lives, however long an estimate takes; while nobody waits, nothing is said."""
        while self._busy.wait():
            self.say(event="alive")
            time.sleep(HEARTBEAT_S)

    def serve(self, line: bytes) -> None:
        """Answer one request with a result or an error."""
        self._busy.set()
        try:
            self._serve(line)
        finally:
            self._busy.clear()

    def _serve(self, line: bytes) -> None:
        identifier: int | None = None
        try:
            request = messages.decoded(line.rstrip(b"\r\n"))
            identifier = request["id"] if type(request.get("id")) is int else None
            result = self._answer(messages.checked_request(request))
            messages.encoded(result)
        except UserError as error:
            self._fail(identifier, "user", error.problem, error.where, error.remedy, error.option)
        except ImportError as error:
            remedy = "Install the packages that the README names into the Python that runs the engine"
            self._fail(identifier, "packages", f"the pose engine cannot start ({error})", "", remedy)
        except MemoryError:
            self._fail(identifier, "memory", _TOO_LITTLE_MEMORY, "", "Close other programs")
        except Exception as error:
            if "DefaultCPUAllocator" in str(error):  # torch has no type of its own for this
                self._fail(identifier, "memory", _TOO_LITTLE_MEMORY, "", "Close other programs")
                return
            traceback.print_exc(file=sys.stderr)
            problem = f"the pose engine failed ({type(error).__name__}: {error})"
            self._fail(identifier, "internal", problem, "", "The log has the details")
        else:
            self.say(id=identifier, event="result", **result)

    def _fail(self, identifier: Any, kind: str, problem: str, where: str, remedy: str, option: str = "") -> None:
        said = {"kind": kind, "problem": problem, "where": where, "remedy": remedy, "option": option}
        self.say(id=identifier, event="error", **said)

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        command = request["command"]
        if command == "install":
            from FetusMapV2Lib.models.model_index import install_model

            install_model(request["file"], request["name"])
            return {}
        identifier = request.get("id")
        self.say(id=identifier, event="progress", fraction=0.0, stage="loading the model")
        engine = self._engine_for(request)
        if command == "load":
            return {"model": engine.model.identity}
        if command == "outlook":
            return {"outlook": asdict(engine.resource_estimate(request["voxels"], request["refine"]))}

        def tell(fraction: float, stage: str) -> None:
            self.say(id=identifier, event="progress", fraction=fraction, stage=stage)

        options = dict(request.get("options", {}))
        volume = messages.volume_from(request["volume"])
        if command == "estimate":
            if request.get("before") is not None:
                options["before"] = messages.estimate_from(request["before"])
            estimate = engine.estimate(volume, on_progress=tell, **options)
        else:
            known = messages.estimate_from(request["estimate"])
            estimate = engine.refine(volume, known, tuple(request["pinned"]), on_progress=tell, **options)
        return {"estimate": messages.estimate_message(estimate)}

    def _engine_for(self, request: Mapping[str, Any]) -> PoseEngine:
        """The engine of the model, device and memory asked for; one at a time, as a GPU holds one model."""
        from FetusMapV2Lib.estimation.engine import PoseEngine

        asked = (request.get("model"), request.get("device") or "auto", request.get("memory_budget"))
        wanted = (*asked, bool(request.get("leaner")))
        if self._engine is None or self._loaded != wanted:
            self._engine = None
            self._engine = PoseEngine.load(*asked)
            if wanted[-1]:
                self._engine.reduce_memory()
            self._loaded = wanted
        return self._engine


if __name__ == "__main__":
    main()
