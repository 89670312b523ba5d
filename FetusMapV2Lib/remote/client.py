"""`RemoteEngine`: the pose engine in a process of its own.

Whoever calls it can be interrupted at any time and outlives whatever happens to that process. Needs no torch.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

from FetusMapV2Lib.core.errors import OutputError, UserError
from FetusMapV2Lib.core.jobs import Job
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel
from FetusMapV2Lib.core.staging import owned_folder, remove_abandoned
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.requests import EstimateRequest, RefineRequest, Request, ResourceRequest
from FetusMapV2Lib.models.model_index import absolute_model
from FetusMapV2Lib.remote import messages, payloads
from FetusMapV2Lib.remote.engine_process import HUNG_S, EngineLostError, EngineProcess
from FetusMapV2Lib.remote.messages import EngineSettings, Question

T = TypeVar("T")

#: Requests that are repeated on the CPU when the process is lost, and how a warning says that this was done.
_REPEATED: Mapping[type[Request[Any]], str] = {
    EstimateRequest: "the pose was estimated again",
    RefineRequest: "the pose was refined",
}


class RemoteEngine:
    """A pose engine in another process, started with the first request and kept warm; an `Engine`.

    A job that is cancelled ends the process, whatever it is doing; the next request starts a new one. Only cancelling
    a `ResourceRequest` leaves the process alive.

    A process that is lost during an estimate or a refinement is restarted on the CPU, and with the next
    smaller memory plan if it seems to have run out of memory; a warning of the result says so.

    Args:
        model: name or path of a model, None = the default one.
        device: "auto", "cpu", "cuda" or "cuda:N".
        memory_budget: bytes for the network, None = no limit.
        python: the interpreter to run, by default the one that runs here.
        hung_s: seconds without a message after which the process counts as lost.
        stalled_s: seconds without progress after which it does, even if it sends heartbeats; by default thirty times
            as long.

    Examples:
        >>> with RemoteEngine(device="cpu") as engine:              # doctest: +SKIP
        ...     estimate = engine.submit(EstimateRequest(volume)).result()
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
        self._settings = EngineSettings(None if model is None else absolute_model(model), device, memory_budget)
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

    def submit(
        self, request: Request[T], on_progress: OnProgress | None = None, should_cancel: ShouldCancel | None = None
    ) -> Job[T]:
        """A job that answers a request; `should_cancel` is asked at each of its steps.

        Raises:
            Cancelled: by the job: `should_cancel` said yes; the process was ended.
            EngineLostError: by the job: the process was lost, and lost again if the request was repeated.
            UserError: by the job: what the engine itself refuses, or a volume that cannot be handed over.
        """
        return Job(self._answer(request, on_progress, should_cancel))

    def close(self) -> None:
        """End the process and all that it started, whatever it is doing."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _answer(
        self, request: Request[T], on_progress: OnProgress | None, should_cancel: ShouldCancel | None
    ) -> Generator[None, None, T]:
        """The answer to a request, which is repeated on the CPU if the process is lost."""
        repeated = _REPEATED.get(type(request))
        try:
            return (yield from self._ask(request, self._settings, on_progress, should_cancel))
        except EngineLostError as lost:
            if repeated is None or lost.stalled:
                raise
            first = lost
        on_cpu = replace(self._settings, device="cpu", less_memory=first.short_of_memory)
        answer = yield from self._ask(request, on_cpu, on_progress, should_cancel)
        how = "on the CPU with a smaller memory plan" if first.short_of_memory else "on the CPU"
        warning = f"{first.problem[:1].upper()}{first.problem[1:]}; {repeated} {how}."
        estimate = cast(Estimate, answer)
        return cast(T, replace(estimate, warnings=(warning, *estimate.warnings)))

    def _ask(
        self,
        request: Request[T],
        settings: EngineSettings,
        on_progress: OnProgress | None,
        should_cancel: ShouldCancel | None,
    ) -> Generator[None, None, T]:
        """Send a request and wait for its answer; whatever goes wrong, no process is left in an unknown state."""
        if self._process is None or not self._process.is_running:
            self.close()
            self._process = EngineProcess(self._python, self._hung_s, self._stalled_s)
        process, number = self._process, next(self._numbers)
        try:
            with _handed_over(request) as values:
                process.send(Question(number, payloads.command_of(request), settings, values))
                result = yield from process.answer(number, on_progress, should_cancel)
            return _result_of(request, result)
        except GeneratorExit:
            if not isinstance(request, ResourceRequest):
                self.close()
            raise
        except BaseException as error:
            if not isinstance(error, UserError) or isinstance(error, EngineLostError):
                self.close()
            raise


@contextlib.contextmanager
def _handed_over(request: Request[Any]) -> Iterator[Any]:
    """A request as JSON values, its voxels in a temporary file; files of clients that were killed are removed."""
    if not isinstance(request, (EstimateRequest, RefineRequest)):
        yield payloads.request_values(request)
        return
    remove_abandoned()
    with contextlib.ExitStack() as stack:
        folder: Path | None = None
        try:
            folder = stack.enter_context(owned_folder())
            values = payloads.request_values(request, folder / "volume.npy")
        except OSError as error:
            raise OutputError(
                f"the volume cannot be handed to the pose engine ({error.strerror or error})",
                where=folder,
                remedy="Make room on the disk that holds temporary files",
            ) from error
        yield values


def _result_of(request: Request[T], values: Any) -> T:
    try:
        return payloads.result_from(request, values)
    except messages.MessageError as error:
        raise EngineLostError(f"the pose engine sent something unreadable ({error.problem})") from error
