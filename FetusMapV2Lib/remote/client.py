"""`RemoteEngine`: the pose engine in a process of its own, with the methods of the one that runs here.

Whoever calls it can be interrupted at any time and outlives whatever happens to that process. Needs no torch.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from FetusMapV2Lib.core.errors import OutputError, UserError
from FetusMapV2Lib.core.json_files import field
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel
from FetusMapV2Lib.core.staging import owned_folder, remove_abandoned
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.resource_estimate import ResourceEstimate
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.models.model_index import whole_path
from FetusMapV2Lib.remote import messages
from FetusMapV2Lib.remote.engine_process import HUNG_S, EngineLostError, EngineProcess

_POLL_S = 0.03

T = TypeVar("T")
#: A long job as a generator: it yields whenever it waits, and returns its result.
Steps = Generator[None, None, T]


class RemoteEngine:
    """A pose engine in another process, started on first use and kept warm.

    Every request comes twice: as a method that waits, and as a generator (`estimating` for `estimate`) that yields
    while it waits, for a window whose event loop must go on. A generator that is closed early ends the process.

    Args:
        model: name or path of a model, None = the default one.
        device: "auto", "cpu", "cuda" or "cuda:N".
        memory_budget: bytes for the network, None = as much as it takes.
        python: the interpreter to run, by custom the one that runs here.
        hung_s: seconds of silence after which the process is given up.
        stalled_s: seconds without progress after which it is, however often it says that it lives; by custom thirty
            times as long.

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
        stalled_s: float | None = None,
    ) -> None:
        self._model = None if model is None else whole_path(model)
        self._device, self._memory_budget = device, memory_budget
        self._python, self._hung_s, self._stalled_s = os.fspath(python or sys.executable), hung_s, stalled_s
        self._process: EngineProcess | None = None
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
        answer = finished(self._asking({"command": "load"}, on_progress, should_cancel))
        return str(answer.get("model", ""))

    def resource_estimate(self, voxels: int, refine: str = "off") -> ResourceEstimate:
        """Where an estimate would run and what it would take; starts the process and loads the model.

        Args:
            voxels: of the volume.
            refine: see `estimate`.

        Raises:
            UserError: see `estimate`.
        """
        return finished(self.looking_out(voxels, refine))

    def looking_out(self, voxels: int, refine: str = "off") -> Steps[ResourceEstimate]:
        """`resource_estimate` in steps; closed early, it leaves the process as it is."""
        request = {"command": "outlook", "voxels": voxels, "refine": refine}
        answer = yield from self._asking(request, None, None, leave=True)
        return self._taken(answer, "outlook", messages.resource_estimate_from)

    def installing(self, file: str | os.PathLike[str], name: str) -> Steps[None]:
        """`model_index.install_model` in the other process, which has the torch that checks the file; in steps."""
        yield from self._asking({"command": "install", "file": str(Path(file).absolute()), "name": name}, None, None)

    def estimate(
        self,
        volume: Volume,
        *,
        before: Estimate | None = None,
        on_progress: OnProgress | None = None,
        should_cancel: ShouldCancel | None = None,
        **options: Any,
    ) -> Estimate:
        """See `PoseEngine.estimate`; `should_cancel` is asked thirty times a second, whatever the engine is doing.

        A process that is lost on the way is started once more, on the CPU, and with the next smaller memory plan if
        the memory seems to have been short; the estimate then says so.

        Raises:
            Cancelled: `should_cancel` said yes; the process has been ended.
            EngineLostError: the process was lost twice.
            UserError: what the engine itself refuses, or a volume that cannot be handed over.
        """
        steps = self.estimating(volume, before=before, on_progress=on_progress, should_cancel=should_cancel, **options)
        return finished(steps)

    def estimating(
        self,
        volume: Volume,
        *,
        before: Estimate | None = None,
        on_progress: OnProgress | None = None,
        should_cancel: ShouldCancel | None = None,
        **options: Any,
    ) -> Steps[Estimate]:
        """`estimate` in steps."""
        known = None if before is None else messages.estimate_message(before)
        request = {"command": "estimate", "options": options, "before": known}
        return self._twice(request, on_progress, should_cancel, volume)

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
        steps = self.refining(volume, estimate, pinned, on_progress=on_progress, should_cancel=should_cancel, **options)
        return finished(steps)

    def refining(
        self,
        volume: Volume,
        estimate: Estimate,
        pinned: Collection[int] = (),
        *,
        on_progress: OnProgress | None = None,
        should_cancel: ShouldCancel | None = None,
        **options: Any,
    ) -> Steps[Estimate]:
        """`refine` in steps."""
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
    ) -> Steps[Estimate]:
        """The estimate that answers a request, asked once more on the CPU if the process is lost on the way."""
        try:
            answer = yield from self._asking(request, on_progress, should_cancel, volume)
            return self._taken(answer, "estimate", messages.estimate_from)
        except EngineLostError as lost:
            if lost.stalled:
                raise
            first = lost
        again = {**request, "device": "cpu", "leaner": first.short_of_memory}
        answer = yield from self._asking(again, on_progress, should_cancel, volume)
        estimate = self._taken(answer, "estimate", messages.estimate_from)
        done = {"estimate": "the estimate was made again", "refine": "the pose was refined"}[request["command"]]
        how = "on the CPU with a smaller memory plan" if first.short_of_memory else "on the CPU"
        warning = f"{first.problem[:1].upper()}{first.problem[1:]}; {done} {how}."
        return replace(estimate, warnings=(warning, *estimate.warnings))

    def _taken(self, answer: Mapping[str, Any], key: str, take: Callable[[Mapping[str, Any]], T]) -> T:
        """Part of an answer; a process that answers something else is ended."""
        try:
            return _read(answer, key, take)
        except EngineLostError:
            self.close()
            raise

    def close(self) -> None:
        """End the process and all that it started, whatever it is doing."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _asking(
        self,
        request: Mapping[str, Any],
        on_progress: OnProgress | None,
        should_cancel: ShouldCancel | None,
        volume: Volume | None = None,
        leave: bool = False,
    ) -> Steps[Mapping[str, Any]]:
        """Send a request and wait for its answer; whatever goes wrong, no process is left in an unknown state."""
        if self._process is None or not self._process.is_running:
            self.close()
            self._process = EngineProcess(self._python, self._hung_s, self._stalled_s)
        process, number = self._process, next(self._numbers)
        settings = {"model": self._model, "device": self._device, "memory_budget": self._memory_budget}
        with contextlib.ExitStack() as stack:
            handed = {} if volume is None else {"volume": stack.enter_context(_handed_over(volume))}
            try:
                process.send({"id": number, **settings, **request, **handed})
                return (yield from process.answering(number, on_progress, should_cancel))
            except GeneratorExit:
                if not leave:
                    self.close()
                raise
            except BaseException as error:
                if not isinstance(error, UserError) or isinstance(error, EngineLostError):
                    self.close()
                raise


def finished(steps: Steps[T]) -> T:
    """Wait for the result of a job in steps."""
    with contextlib.closing(steps):
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            time.sleep(_POLL_S)


@contextlib.contextmanager
def _handed_over(volume: Volume) -> Iterator[dict[str, Any]]:
    """The message of a volume whose voxels lie in a temporary file; those of owners that were killed are swept."""
    remove_abandoned()
    with contextlib.ExitStack() as stack:
        folder: Path | None = None
        try:
            folder = stack.enter_context(owned_folder())
            message = messages.volume_message(volume, folder / "volume.npy")
        except OSError as error:
            raise OutputError(
                f"the volume cannot be handed to the pose engine ({error.strerror or error})",
                where=folder,
                remedy="Make room on the disk that holds temporary files",
            ) from error
        yield message


def _read(answer: Mapping[str, Any], key: str, take: Callable[[Mapping[str, Any]], T]) -> T:
    """Part of an answer.

    Raises:
        EngineLostError: it is not what was asked for.
    """
    try:
        return take(field(dict(answer), key, dict, error=messages.MessageError))
    except messages.MessageError as error:
        raise EngineLostError(f"the pose engine sent something unreadable ({error.problem})") from error
