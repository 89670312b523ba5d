"""Lightning's data-parallel strategy, which starts the other processes of this computer as `rank_process`.

Not by repeating the command line, as Lightning does: so it works from any program, and from a notebook too.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from torch import distributed

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.process_messages import failure_in, messages_from
from FetusMapV2Lib.core.python_process import kill_tree, start_python
from FetusMapV2Lib.core.safe_text import printable
from FetusMapV2Lib.core.serialisation import to_json
from FetusMapV2Lib.models.model_index import absolute_model
from FetusMapV2Lib.training.lightning_loading import (
    ClusterEnvironment,
    DDPStrategy,
    LightningEnvironment,
    ProcessLauncher,
)
from FetusMapV2Lib.training.preset import Preset
from FetusMapV2Lib.training.pulse import Pulse, lost_by
from FetusMapV2Lib.training.ranks import Ranks
from FetusMapV2Lib.training.training_options import TrainingOptions

#: While the first process validates and writes, the others wait; Lightning's half an hour may be too short.
_LONGEST_WAIT = timedelta(hours=2)
#: Seconds until a lost process counts as the reason of an error here, and until the others end by themselves.
_LOST_S, _END_S = 5.0, 10.0
_TICK_S = 0.2
_LAST_LOG = 300
_PROCESS = "FetusMapV2Lib.training.rank_process"
#: Paths among the options.
_PATHS = ("negatives", "cache_dir")


def _nothing() -> None:
    pass


@dataclass(frozen=True, eq=False)
class Others:
    """How this process gets the others.

    Attributes:
        request: what those of this computer are asked to train, as JSON (`rank_process`).
        on_meeting: called when this process is ready to meet them.
    """

    request: Mapping[str, Any] = field(default_factory=dict)
    on_meeting: Callable[[], None] = _nothing


def request_of(preset: Preset, data_dir: Any, output_dir: Any, options: TrainingOptions) -> dict[str, Any]:
    """What another process is asked to train, as JSON; it runs in another folder, so paths are absolute."""
    values = to_json(options)
    for name in _PATHS:
        if values[name] is not None:
            values[name] = str(Path(values[name]).absolute())
    if values["initial_model"] is not None:
        values["initial_model"] = absolute_model(values["initial_model"])
    folders = {"data": str(Path(data_dir).absolute()), "output": str(Path(output_dir).absolute())}
    return {"preset": preset.to_dict(), "options": values, **folders}


class RankStrategy(DDPStrategy):
    """Each process computes the gradients of its part of every batch; all take the step with their mean.

    Args:
        ranks: the processes.
        others: how this one gets the others.
    """

    def __init__(self, ranks: Ranks, others: Others) -> None:
        # gradients lie in the buffers that are averaged, and not a second time beside them
        super().__init__(cluster_environment=ranks.environment, timeout=_LONGEST_WAIT, gradient_as_bucket_view=True)
        self._ranks, self._others = ranks, others
        self._pulse: Pulse | None = None

    def _configure_launcher(self) -> None:
        launcher = _RankLauncher(self._ranks, self._others)
        self._launcher = launcher
        if launcher.is_watched_from_afar:
            self._pulse = launcher.pulse

    def setup_distributed(self) -> None:
        """Meet the others; from then on they hear that this process lives."""
        super().setup_distributed()
        if self._pulse is not None:
            self._pulse.start()


class _RankLauncher(ProcessLauncher):
    """Starts the other processes of this computer, if nobody else does, and ends them."""

    def __init__(self, ranks: Ranks, others: Others) -> None:
        assert ranks.environment is not None
        super().__init__(ranks.environment, ranks.devices, ranks.nodes)
        self._ranks, self._others = ranks, others
        self.pulse = Pulse(ranks.rank, ranks.count, self._end_without)

    @property
    def is_watched_from_afar(self) -> bool:
        """Whether no process watches all the others: some are of other computers, or torchrun or Slurm started them."""
        return self._ranks.nodes > 1 or not isinstance(self.cluster_environment, LightningEnvironment)

    @property
    def is_interactive_compatible(self) -> bool:
        """A notebook is not run again by the other processes."""
        return True

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        """Call a function in all processes.

        Raises:
            UserError: another one ended before its time.
        """
        variables = {name: os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT")}
        try:
            if self.cluster_environment.creates_processes_externally:
                self._others.on_meeting()
                try:
                    return function(*args, **kwargs)
                except RuntimeError as error:
                    reason = lost_by(error)
                    if reason is None:
                        raise
                    raise reason from error
            with _OtherRanks(self._ranks, self._others.request) as others:
                self.procs = others.processes
                others.wait_until_ready()
                self._others.on_meeting()
                try:
                    return function(*args, **kwargs)
                except RuntimeError as error:  # also of torch, when another process does not answer
                    reason = others.lost() or lost_by(error)
                    if reason is None:
                        raise
                    raise reason from error
        finally:
            self.pulse.stop()
            if distributed.is_initialized():
                distributed.destroy_process_group()
            for name, value in variables.items():  # Lightning sets them; the next training has another port
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})

    def _end_without(self, reason: UserError) -> None:
        """A process that waits for a lost one hears nothing else."""
        os.write(2, (reason.line() + "\n").encode("utf-8", "replace"))
        for process in self.procs:
            kill_tree(process)
        os._exit(1)


class _OtherRanks:
    """The other processes of this computer."""

    def __init__(self, ranks: Ranks, request: Mapping[str, Any]) -> None:
        self._messages: queue.Queue[tuple[_Rank, dict[str, Any] | None]] = queue.Queue()
        self._ranks = [_Rank(ranks, local, request, self._messages) for local in range(1, ranks.devices)]
        self.processes = [rank.popen for rank in self._ranks]
        self._left = threading.Event()

    def __enter__(self) -> _OtherRanks:
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        for rank in self._ranks:
            rank.end()

    def wait_until_ready(self) -> None:
        """Return when all of them are about to meet this one.

        Raises:
            UserError: one of them cannot.
        """
        waiting = set(self._ranks)
        while waiting:
            rank, message = self._messages.get()
            if message is None or "failed" in message:
                raise rank.error(message)
            if "ready" in message:
                waiting.discard(rank)
        threading.Thread(target=self._end_with_them, daemon=True).start()

    def lost(self) -> UserError | None:
        """Why one of them ended; None if all are there."""
        try:
            rank, message = self._messages.get(timeout=_LOST_S)
        except queue.Empty:
            return None
        return rank.error(message)

    def _end_with_them(self) -> None:
        """GPUs wait for a lost process without an end: so does this one not."""
        while all(process.poll() in (None, 0) for process in self.processes):
            if self._left.wait(_TICK_S):
                return
        if not self._left.wait(_LOST_S + _END_S):
            with contextlib.suppress(queue.Empty):
                rank, message = self._messages.get(timeout=_TICK_S)
                os.write(2, (rank.error(message).line() + "\n").encode("utf-8", "replace"))
            for process in self.processes:
                kill_tree(process)
            os._exit(1)


class _Rank:
    """One other process."""

    def __init__(
        self,
        ranks: Ranks,
        local: int,
        request: Mapping[str, Any],
        messages: queue.Queue[tuple[_Rank, dict[str, Any] | None]],
    ) -> None:
        self._number, self._count = ranks.rank + local + 1, ranks.count
        self._log: deque[str] = deque(maxlen=4)
        assert ranks.environment is not None
        try:
            self.popen = start_python(_PROCESS, variables=_variables(ranks.environment, ranks, local))
        except (OSError, ValueError) as error:
            raise UserError(f"no process can be started ({error})", remedy="Train on one device") from error
        assert self.popen.stdin is not None
        with contextlib.suppress(OSError):  # its end is reported by the thread that reads
            self.popen.stdin.write(json.dumps(request).encode("ascii") + b"\n")
        self._logging = threading.Thread(target=self._read_log, args=(self.popen.stderr,), daemon=True)
        self._logging.start()
        threading.Thread(target=self._read, args=(self.popen.stdout, messages), daemon=True).start()

    def error(self, message: Mapping[str, Any] | None) -> UserError:
        """Why it failed: as it says itself, or how it ended."""
        name = f"process {self._number} of {self._count}"
        if (failure := failure_in(message or {}, name)) is not None:
            return failure
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(_LOST_S)
        self._logging.join(_TICK_S)
        code = self.popen.returncode
        how = "no longer answers" if code is None else f"ended by signal {-code}" if code < 0 else f"ended with {code}"
        log = printable(" ".join(" ".join(self._log).split())[-_LAST_LOG:])
        problem = f"{name} of this training {how}" + (f" ({log})" if log and code != -9 else "")
        return UserError(problem, remedy="Go on from the last checkpoint", option="--resume")

    def end(self) -> None:
        """Let it end, and end it if it does not."""
        with contextlib.suppress(OSError):
            assert self.popen.stdin is not None
            self.popen.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(_END_S)
        kill_tree(self.popen)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(_END_S)

    def _read(self, stream: IO[bytes] | None, messages: queue.Queue[tuple[_Rank, dict[str, Any] | None]]) -> None:
        for message in messages_from(stream):
            messages.put((self, message))
        messages.put((self, None))

    def _read_log(self, stream: IO[bytes] | None) -> None:
        assert stream is not None
        for line in stream:
            self._log.append(line.decode("utf-8", "replace"))


def _variables(environment: ClusterEnvironment, ranks: Ranks, local: int) -> dict[str, str]:
    """What the environment of another process says about who it is; the words are torch's."""
    return {
        "MASTER_ADDR": environment.main_address,
        "MASTER_PORT": str(environment.main_port),
        "NODE_RANK": str(ranks.rank // ranks.devices),
        "LOCAL_RANK": str(local),
        "WORLD_SIZE": str(ranks.count),
    }
