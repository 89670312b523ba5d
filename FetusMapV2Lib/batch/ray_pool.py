"""The engines of a batch on a Ray cluster: each takes the next case; a lost process or computer loses only its try.

Engines write the results themselves, whole, into a folder that all computers share. Ray is loaded when a pool begins.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from FetusMapV2Lib.batch.case_work import BatchSettings
from FetusMapV2Lib.batch.cases import BatchCase
from FetusMapV2Lib.batch.journal import Record
from FetusMapV2Lib.batch.ray_engine import RayEngine
from FetusMapV2Lib.batch.tasks import PATIENCE_S, Task, after_loss, next_task
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.process_messages import failure_in
from FetusMapV2Lib.core.ray_cluster import HeadWatch, gpus_for, ray_cluster, telling_line
from FetusMapV2Lib.core.serialisation import to_json
from FetusMapV2Lib.core.version import SOFTWARE

#: A case is not blamed for the loss of a computer, but not for ever.
MOST_MOVES = 5
#: Engines in succession that may end before they are ready.
_MOST_STARTS = 3
#: Seconds between two looks at a cluster that may have grown, and until one without room for an engine is given up.
_LOOK_S, _ROOM_S = 5.0, 600.0
_TICK_S = 0.5


@dataclass(frozen=True)
class EngineRoom:
    """What one engine takes of a cluster.

    Attributes:
        cpus: cores, also the threads of an engine on the CPU.
        gpus: GPUs, None = one where the cluster has GPUs and the device of the batch is not the CPU.
        at_most: engines at once, None = as many as the cluster has room for. A cluster that grows by itself is asked
            for as many.
    """

    cpus: int = 2
    gpus: int | None = None
    at_most: int | None = None


class RayPool:
    """Engines on a cluster.

    Args:
        settings: of the batch; the threads are those of `room`.
        address: of the cluster: "auto" = the one that runs on this computer, "local" = one is started for this batch.
        room: of one engine.
        patience_s: seconds after which an engine that works on one case counts as hung.
        engine: the class of the actors.
    """

    def __init__(
        self,
        settings: BatchSettings,
        address: str,
        room: EngineRoom = EngineRoom(),
        *,
        patience_s: float = PATIENCE_S,
        engine: type = RayEngine,
    ) -> None:
        self._settings = replace(settings, threads=room.cpus)
        self._address, self._room, self._patience_s, self._class = address, room, patience_s, engine
        self._engines: list[_Engine] = []
        self._failed_starts = 0
        self._looked = -_LOOK_S
        self._wanted = 0
        self._gpus = 0
        self._connection = contextlib.ExitStack()

    def __enter__(self) -> RayPool:
        """Connect to the cluster.

        Raises:
            UserError: Ray is not installed, or the cluster cannot be reached.
        """
        self._ray = self._connection.enter_context(ray_cluster(self._address))
        self._head = HeadWatch(self._ray)
        wanted = self._room.gpus
        self._gpus = gpus_for(self._ray, self._settings.device) if wanted is None else wanted
        return self

    def __exit__(self, *_: object) -> None:
        self._end(self._engines)
        self._connection.close()

    def _end(self, engines: Iterable[_Engine]) -> None:
        """End engines; a cluster that is gone has none."""
        if self._head.answers():
            with contextlib.suppress(Exception):  # they are gone already
                for engine in engines:
                    self._ray.kill(engine.actor)

    def run(self, tasks: Iterable[Task], on_stage: Callable[[BatchCase, str], None] | None = None) -> Iterator[Record]:
        """See `Pool.run`; the only stage is "started"."""
        waiting, again = iter(tasks), deque[Task]()
        task = next_task(again, waiting)
        self._last_ready = time.monotonic()
        while task is not None or any(engine.task for engine in self._engines):
            self._head.look()
            if task is not None:
                self._grow()
            while task is not None and (engine := self._free()) is not None:
                engine.give(task)
                if on_stage is not None:
                    on_stage(task.case, "started")
                task = next_task(again, waiting)
            lost = yield from self._receive()
            if lost is not None:
                again.append(lost)
            task = task or next_task(again, waiting)

    def _grow(self) -> None:
        """Ask for engines where there is room; looks at the cluster now and then."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_S:
            if not self._head.answers():
                return
            self._looked = now
            self._wanted = self._room.at_most or self._capacity()
            if not any(engine.ready for engine in self._engines) and now - self._last_ready > _ROOM_S:
                raise UserError(
                    f"the cluster has no room for an engine of {self._room.cpus} cores and {self._gpus} GPUs",
                    remedy="Let an engine take less, or add computers",
                )
        while len(self._engines) < max(1, self._wanted) and not self._start_failed_last():
            self._engines.append(_Engine(self._ray, self._class, self._settings, self._room.cpus, self._gpus))

    def _start_failed_last(self) -> bool:
        """After a failed start, one at a time."""
        return self._failed_starts > 0 and any(not engine.ready for engine in self._engines)

    def _capacity(self) -> int:
        found = self._ray.cluster_resources()
        rooms = [int(found.get("CPU", 0) // self._room.cpus)]
        if self._gpus:
            rooms.append(int(found.get("GPU", 0) // self._gpus))
        return min(rooms)

    def _free(self) -> _Engine | None:
        return next((engine for engine in self._engines if engine.ready and engine.task is None), None)

    def _receive(self) -> Generator[Record, None, Task | None]:
        """Handle the next answer; yields a record if it ends a try, returns a task that has to be tried again."""
        pending = {engine.answer: engine for engine in self._engines if engine.answer is not None}
        done, _ = self._ray.wait(list(pending), timeout=_TICK_S) if pending else ([], None)
        if not done:
            return (yield from self._end_hung())
        engine = pending[done[0]]
        try:
            answer = self._ray.get(done[0])
        except self._ray.exceptions.RayError as error:
            return (yield from self._lost(engine, str(error), computer=self._computer_is_lost(engine, error)))
        engine.answer = None
        if engine.ready:
            engine.task = None
            yield answer
        else:
            self._check_start(engine, answer)
        return None

    def _check_start(self, engine: _Engine, answer: dict[str, Any]) -> None:
        if (failure := failure_in(answer)) is not None:
            raise failure
        if answer["software"] != SOFTWARE:
            problem = f"a computer of the cluster has {answer['software']}, this one {SOFTWARE}"
            raise UserError(problem, remedy="Install the same version on all of them")
        engine.ready, engine.computer = True, answer["computer"]
        self._failed_starts, self._last_ready = 0, time.monotonic()

    def _end_hung(self) -> Generator[Record, None, Task | None]:
        for engine in self._engines:
            if engine.task is not None and engine.busy_s > self._patience_s:
                return (yield from self._lost(engine, "it made no progress"))
        return None

    def _computer_is_lost(self, engine: _Engine, error: Exception) -> bool:
        """Whether the computer of an engine is gone or out of reach, so that nothing can be said against the case."""
        if isinstance(error, self._ray.exceptions.ActorUnavailableError) or not self._head.answers():
            return True
        alive = {computer["NodeID"] for computer in self._ray.nodes() if computer["Alive"]}
        return engine.computer not in ("", *alive)

    def _lost(self, engine: _Engine, error: str, *, computer: bool = False) -> Generator[Record, None, Task | None]:
        self._engines.remove(engine)
        self._end([engine])
        task = engine.task
        if not engine.ready and not computer:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_STARTS:
                remedy = "Install FetusMapV2 with the same version on every computer of the cluster"
                raise UserError(f"no engine can be started ({telling_line(error)})", remedy=remedy)
        if task is None:
            return None
        if computer and task.moves < MOST_MOVES:
            return replace(task, moves=task.moves + 1)
        record, again = after_loss(task, telling_line(error), self._settings)
        yield record
        return again


class _Engine:
    """One actor, and the case that it works on."""

    def __init__(self, ray: Any, engine: type, settings: BatchSettings, cpus: int, gpus: int) -> None:
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": 0, "max_task_retries": 0}
        self.actor = ray.remote(engine).options(**options).remote(to_json(settings))
        self.answer: Any = self.actor.load.remote()
        self.task: Task | None = None
        self.ready = False
        self.computer = ""
        self._since = 0.0

    @property
    def busy_s(self) -> float:
        """Seconds since its case was given to it."""
        return time.monotonic() - self._since

    def give(self, task: Task) -> None:
        """Let it process a case."""
        self.task, self._since = task, time.monotonic()
        case = replace(task.case, path=task.case.path.absolute())
        self.answer = self.actor.process.remote(to_json(case), task.thumbnail)
