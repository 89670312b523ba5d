"""The processes of a batch on one computer: each takes the next case; one that dies or hangs loses nothing but its try.

A case that was lost twice is given up and named. Needs no torch.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from typing import IO, Any

from FetusMapV2Lib.batch.case_work import BatchSettings
from FetusMapV2Lib.batch.cases import BatchCase
from FetusMapV2Lib.batch.journal import Record
from FetusMapV2Lib.batch.tasks import PATIENCE_S, Task, after_loss, next_task
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.process_messages import failure_in, messages_from
from FetusMapV2Lib.core.python_process import kill_tree, start_python
from FetusMapV2Lib.core.safe_text import printable
from FetusMapV2Lib.core.serialisation import to_json

#: Processes in succession that may end before they are ready, and seconds that each end is waited for.
_MOST_STARTS, _END_S = 3, 2.0
_LAST_LOG = 300
_TICK_S = 0.5
_WORKER = "FetusMapV2Lib.batch.worker"


class WorkerPool:
    """Processes that process cases.

    Args:
        settings: of the batch.
        jobs: how many processes.
        patience_s: seconds without a message after which one is ended.
        module: what they run, see `core.python_process.start_python`; by default `batch.worker`.
    """

    def __init__(self, settings: BatchSettings, jobs: int, *, patience_s: float = PATIENCE_S, module: str = "") -> None:
        self._settings, self._patience_s, self._module = settings, patience_s, module or _WORKER
        self._messages: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()
        self._jobs = jobs
        self._workers: list[_Worker] = []
        self._failed_starts = 0

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end()

    def run(self, tasks: Iterable[Task], on_stage: Callable[[BatchCase, str], None] | None = None) -> Iterator[Record]:
        """See `Pool.run`."""
        waiting, again = iter(tasks), deque[Task]()
        task = next_task(again, waiting)
        while task is not None or any(worker.task for worker in self._workers):
            while task is not None and (worker := self._free()) is not None:
                worker.give(task)
                task = next_task(again, waiting)
            lost = yield from self._receive(on_stage)
            if lost is not None:
                again.append(lost)
            task = task or next_task(again, waiting)

    def _free(self) -> _Worker | None:
        """A process without a case; a new one if there may be more."""
        for worker in self._workers:
            if worker.task is None:
                return worker
        if len(self._workers) == self._jobs:
            return None
        worker = _Worker(self._settings, self._module, self._messages)
        self._workers.append(worker)
        return worker

    def _receive(self, on_stage: Callable[[BatchCase, str], None] | None) -> Generator[Record, None, Task | None]:
        """Handle the next message; yields a record if it ends a try, returns a task that has to be tried again."""
        try:
            worker, message = self._messages.get(timeout=_TICK_S)
        except queue.Empty:
            return (yield from self._end_hung())
        if worker not in self._workers:  # of a process that was ended meanwhile
            return None
        if message is None:
            return (yield from self._lost(worker, worker.why_it_ended()))
        worker.heard()
        if (failure := failure_in(message)) is not None:
            raise failure
        if "ready" in message:
            self._failed_starts = 0
        if "stage" in message and on_stage is not None and worker.task is not None:
            on_stage(worker.task.case, message["stage"])
        if "record" in message:
            worker.task = None
            yield message["record"]
        return None

    def _end_hung(self) -> Generator[Record, None, Task | None]:
        for worker in self._workers:
            if worker.task is not None and worker.silent_s > self._patience_s:
                return (yield from self._lost(worker, "it made no progress"))
        return None

    def _lost(self, worker: _Worker, reason: str) -> Generator[Record, None, Task | None]:
        worker.end()
        self._workers.remove(worker)
        if not worker.was_ready:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_STARTS:
                raise UserError(f"no process can be started ({reason})", remedy="Try one process at a time")
            return worker.task
        if worker.task is None:
            return None
        record, again = after_loss(worker.task, reason, self._settings)
        yield record
        return again


class _Worker:
    """One process, and the case that it works on."""

    def __init__(
        self,
        settings: BatchSettings,
        module: str,
        messages: queue.Queue[tuple[_Worker, dict[str, Any] | None]],
    ) -> None:
        self.task: Task | None = None
        self.was_ready = False
        self._log = ""
        try:
            self._popen = start_python(module)
        except (OSError, ValueError) as error:
            raise UserError(f"no process can be started ({error})", remedy="Estimate the volumes one by one") from error
        self._last = time.monotonic()
        threading.Thread(target=self._read, args=(self._popen.stdout, messages), daemon=True).start()
        self._logging = threading.Thread(target=self._read_log, args=(self._popen.stderr,), daemon=True)
        self._logging.start()
        self._write(to_json(settings))

    @property
    def silent_s(self) -> float:
        """Seconds since its last message, or since its case was given to it."""
        return time.monotonic() - self._last

    def heard(self) -> None:
        """It has sent a message."""
        self.was_ready = True
        self._last = time.monotonic()

    def give(self, task: Task) -> None:
        """Let it process a case."""
        self.task, self._last = task, time.monotonic()
        case = replace(task.case, path=task.case.path.absolute())  # it runs in another folder
        self._write({"case": to_json(case), "thumbnail": task.thumbnail})

    def why_it_ended(self) -> str:
        """Its exit code, or the signal that ended it, and the end of its log."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_END_S)
        self._logging.join(_END_S)
        code = self._popen.returncode
        if code in (-9, 137):
            return "it was killed, perhaps for lack of memory: fewer at once need less"
        log = printable(" ".join(self._log.split())[-160:])
        how = "it closed its output" if code is None else f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"{how}: {log}" if log else how

    def end(self) -> None:
        """End it and all that it started."""
        kill_tree(self._popen)
        with contextlib.suppress(OSError, ValueError):
            assert self._popen.stdin is not None
            self._popen.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_END_S)

    def _write(self, value: Any) -> None:
        """Lines are short: a process that does not read them cannot block this one."""
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):  # its end is reported by the thread that reads
            self._popen.stdin.write(json.dumps(value).encode("ascii") + b"\n")

    def _read(self, stream: IO[bytes] | None, messages: queue.Queue[tuple[_Worker, dict[str, Any] | None]]) -> None:
        for message in messages_from(stream):
            messages.put((self, message))
        messages.put((self, None))

    def _read_log(self, stream: IO[bytes] | None) -> None:
        assert stream is not None
        while block := stream.read(4096):
            self._log = (self._log + block.decode("utf-8", "replace"))[-_LAST_LOG:]
