"""What can be asked of a pose engine, and what every engine offers: in this process, in another one, or a stand-in.

Needs no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from FetusMapV2Lib.core.jobs import Job
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel
from FetusMapV2Lib.estimation.detection import MODELS_RULE, PresenceRule
from FetusMapV2Lib.estimation.estimate import Estimate, RefineMode, check_mode
from FetusMapV2Lib.estimation.resource_estimate import ResourceEstimate
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.models.model_index import install_model

T = TypeVar("T")


class Engine(Protocol):
    """A pose engine.

    Examples:
        >>> job = engine.submit(EstimateRequest(volume))   # doctest: +SKIP
        >>> estimate = job.result()                        # doctest: +SKIP
    """

    def submit(
        self, request: Request[T], on_progress: OnProgress | None = None, should_cancel: ShouldCancel | None = None
    ) -> Job[T]:
        """A job that answers a request.

        Args:
            request: what is asked.
            on_progress: see `core.progress`.
            should_cancel: see `core.progress`.

        Raises:
            Cancelled: by the job, when `should_cancel` says yes.
            UserError: by the job: the volume, the model, the device or an option cannot be used.
        """

    def close(self) -> None:
        """Release what the engine holds; the next request takes it again."""


class LocalEngine(ABC):
    """An engine in this process: whoever has these methods takes requests, each as a job of a single step."""

    @abstractmethod
    def estimate(
        self,
        volume: Volume,
        *,
        before: Estimate | None = None,
        refine: RefineMode = "off",
        presence: PresenceRule = MODELS_RULE,
        on_progress: OnProgress | None = None,
        should_cancel: ShouldCancel | None = None,
    ) -> Estimate:
        """See `PoseEngine.estimate`."""

    @abstractmethod
    def refine(
        self,
        volume: Volume,
        estimate: Estimate,
        pinned: Collection[int] = (),
        *,
        mode: RefineMode = "prior",
        on_progress: OnProgress | None = None,
        should_cancel: ShouldCancel | None = None,
    ) -> Estimate:
        """See `PoseEngine.refine`."""

    @abstractmethod
    def resource_estimate(self, voxels: int, refine: RefineMode = "off") -> ResourceEstimate:
        """See `PoseEngine.resource_estimate`."""

    def install_model(self, file: str, name: str) -> None:
        """See `model_index.install_model`."""
        install_model(file, name)

    def submit(
        self, request: Request[T], on_progress: OnProgress | None = None, should_cancel: ShouldCancel | None = None
    ) -> Job[T]:
        """See `Engine.submit`."""

        def stop() -> bool:
            return job.is_cancelled or (should_cancel is not None and should_cancel())

        job = Job.of(lambda: request.run(self, on_progress, stop))
        return job

    def close(self) -> None:  # noqa: B027  # most have nothing to release
        """See `Engine.close`; nothing has to be released in this process."""


class Request(ABC, Generic[T]):
    """What is asked of an engine; `T` is the type of the answer. An unknown refinement is a `UserError` at once."""

    @abstractmethod
    def run(self, engine: LocalEngine, on_progress: OnProgress | None, should_cancel: ShouldCancel | None) -> T:
        """The answer of an engine in this process."""


@dataclass(frozen=True, eq=False)
class EstimateRequest(Request[Estimate]):
    """Estimate the pose in a volume; the fields are the arguments of `PoseEngine.estimate`."""

    volume: Volume
    before: Estimate | None = None
    refine: RefineMode = "off"
    presence: PresenceRule = MODELS_RULE

    def __post_init__(self) -> None:
        check_mode(self.refine)

    def run(self, engine: LocalEngine, on_progress: OnProgress | None, should_cancel: ShouldCancel | None) -> Estimate:
        """See `Request.run`."""
        return engine.estimate(
            self.volume,
            before=self.before,
            refine=self.refine,
            presence=self.presence,
            on_progress=on_progress,
            should_cancel=should_cancel,
        )


@dataclass(frozen=True, eq=False)
class RefineRequest(Request[Estimate]):
    """Refine a pose around landmarks that were set by hand; the fields are the arguments of `PoseEngine.refine`."""

    volume: Volume
    estimate: Estimate
    pinned: tuple[int, ...] = ()
    mode: RefineMode = "prior"

    def __post_init__(self) -> None:
        check_mode(self.mode)

    def run(self, engine: LocalEngine, on_progress: OnProgress | None, should_cancel: ShouldCancel | None) -> Estimate:
        """See `Request.run`."""
        return engine.refine(
            self.volume,
            self.estimate,
            self.pinned,
            mode=self.mode,
            on_progress=on_progress,
            should_cancel=should_cancel,
        )


@dataclass(frozen=True)
class ResourceRequest(Request[ResourceEstimate]):
    """Tell where an estimate would run and what it would take; the engine loads its model for this.

    Attributes:
        voxels: of the volume.
        refine: see `PoseEngine.estimate`.
    """

    voxels: int
    refine: RefineMode = "off"

    def __post_init__(self) -> None:
        check_mode(self.refine)

    def run(
        self, engine: LocalEngine, on_progress: OnProgress | None, should_cancel: ShouldCancel | None
    ) -> ResourceEstimate:
        """See `Request.run`."""
        return engine.resource_estimate(self.voxels, self.refine)


@dataclass(frozen=True)
class InstallRequest(Request[None]):
    """Check a model file and add it to the models of the user; see `model_index.install_model`.

    Attributes:
        file: path of the model file.
        name: of the model in the index.
    """

    file: str
    name: str

    def run(self, engine: LocalEngine, on_progress: OnProgress | None, should_cancel: ShouldCancel | None) -> None:
        """See `Request.run`."""
        engine.install_model(self.file, self.name)
