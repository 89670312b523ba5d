"""What a memory plan is: choices per unit of the network, their predicted cost, and the words for both.

Plans are plain data: they can be written as JSON, compared, and run later by `managed.ManagedNetwork`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.serialisation import from_json, to_json

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


class BudgetError(UserError):
    """No plan fits the budget; `smallest_bytes` is the least peak that any plan reaches, `smallest` the plan itself."""

    def __init__(self, message: str, smallest_bytes: int, remedy: str, smallest: MemoryPlan | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.smallest_bytes, self.smallest = smallest_bytes, smallest


class Storage(str, Enum):
    """What stays of a Conv-Norm-ReLU unit between its forward and its backward pass."""

    BOTH = "both"  # the convolution's output and the unit's output, as plain autograd
    KEPT = "kept"  # the convolution's output
    RECOMPUTED = "recomputed"  # nothing; recomputed in its backward pass
    NEVER = "never"  # nothing, not even between two uses; recomputed slice by slice wherever it is read


class ExecutorKind(str, Enum):
    """What runs a plan."""

    VANILLA = "vanilla"  # the network as it is
    UNITS = "lean"  # unit by unit, as `Choices` say
    STREAMED = "streamed"  # the same, the full-resolution level slab by slab
    SEGMENTS = "segments"  # a scheme of the paper

    @property
    def runs_units(self) -> bool:
        """Whether the network is taken apart into units."""
        return self in (ExecutorKind.UNITS, ExecutorKind.STREAMED)

    @property
    def words(self) -> str:
        """For the summary of a plan."""
        return "checkpoint" if self is ExecutorKind.SEGMENTS else self.value


@dataclass(frozen=True)
class UnitChoice:
    """How one unit is run.

    Attributes:
        storage: what is kept for the backward pass.
        chunks: slices of channels worked on one after the other; 1 where a network is cut in rows.
        rows: height of the slabs of rows, along the first axis, that the unit is worked on in; 0 = it runs whole.
        host: what is kept waits in host memory.
        reduced: what is kept is stored in bfloat16.
    """

    storage: Storage = Storage.KEPT
    chunks: int = 1
    host: bool = False
    reduced: bool = False
    rows: int = 0

    @property
    def words(self) -> str:
        """For the table of a plan."""
        words = [
            {
                Storage.BOTH: "kept, normalised too",
                Storage.KEPT: "kept",
                Storage.RECOMPUTED: "recomputed",
                Storage.NEVER: "never stored",
            }[self.storage]
        ]
        if self.host:
            words.append("in host memory")
        if self.reduced:
            words.append("as bfloat16")
        if self.chunks > 1:
            words.append(f"{self.chunks} slices")
        if self.rows:
            words.append(f"slabs of {self.rows} rows")
        return ", ".join(words)


@dataclass(frozen=True)
class Choices:
    """How a whole network is run.

    Attributes:
        units: by unit name (see `units.Unit`); a unit that is not named is `KEPT` whole.
        in_place: the backward pass overwrites what was kept.
        split_concat: no concatenation is built.
        fused_head: head and loss are one operation.
        head_rows: rows of a slab of the fused head along the first axis.
        slab_rows: rows of a streamed slab; 0 = no streaming.
        channels_last: tensors lie with their channels innermost; networks that are cut in rows do so on a GPU anyway.
        streamed_to_host: full-resolution tensors that streaming writes to host memory instead of making them again:
            "z" and "dy" of all units, or of one, as "z down.0.first".
    """

    units: Mapping[str, UnitChoice] = field(default_factory=dict)
    in_place: bool = True
    split_concat: bool = True
    fused_head: bool = True
    head_rows: int = 8
    slab_rows: int = 0
    streamed_to_host: tuple[str, ...] = ()
    channels_last: bool = False

    @property
    def by_rows(self) -> bool:
        """Whether some unit is cut in slabs of rows: no unit is cut in slices of channels then."""
        return any(choice.rows for choice in self.units.values())

    @property
    def sliced(self) -> bool:
        """Whether some unit is cut in slices of channels."""
        return any(choice.chunks > 1 for choice in self.units.values())

    @property
    def executor(self) -> ExecutorKind:
        """What runs them."""
        return ExecutorKind.STREAMED if self.slab_rows else ExecutorKind.UNITS

    def streams_to_host(self, kind: str, unit: str) -> bool:
        """Whether streaming writes "z" or "dy" of a unit to host memory."""
        return kind in self.streamed_to_host or f"{kind} {unit}" in self.streamed_to_host

    def of(self, unit: str) -> UnitChoice:
        """The choice for a unit."""
        return self.units.get(unit, UnitChoice())


class Technique(IntEnum):
    """What the execution function f says of a segment."""

    PLAIN = 1
    CHECKPOINT = 2
    REVERSIBLE = 3

    @property
    def words(self) -> str:
        """For the table of a plan."""
        return {1: "kept", 2: "checkpoint", 3: "reversible block"}[int(self)]


@dataclass(frozen=True)
class Segment:
    """A subgraph: names of nodes in the order of execution, and how it is run."""

    nodes: tuple[str, ...]
    technique: Technique = Technique.PLAIN

    def without(self, node: str) -> Segment:
        """The rest when a node leaves it."""
        return Segment(tuple(name for name in self.nodes if name != node), self.technique)


@dataclass(frozen=True)
class SegmentPlan:
    """One line of a plan's table: what is done with a unit, what it saves and what it costs.

    Attributes:
        name: of the unit.
        technique: in words.
        bytes_saved: of this unit's tensors between forward and backward pass, against plain autograd.
        flops_added: floating point operations done again.
    """

    name: str
    technique: str
    bytes_saved: int
    flops_added: int


@dataclass(frozen=True)
class Prediction:
    """What one step (forward, loss, backward, Adam; or one inference) costs.

    Attributes:
        peak_bytes: of live tensors, parameters, optimiser state and, where the machine is known, the workspace of
            convolutions included.
        vanilla_peak_bytes: the same without a plan.
        flops, vanilla_flops: of all convolutions.
        seconds, vanilla_seconds: predicted durations, None where the machine's speed was not given.
        workspace_bytes: the most that a convolution takes for a moment, part of the peak; 0 = not known.
        basis: what they rest on: "measured", "from table" or "assumed", and of which device; "" = not known.
        host_bytes: held in host memory at most.
        transferred_bytes: between device and host in one step, both ways.
        timeline, vanilla_timeline: (what runs, live bytes) over the step.
    """

    peak_bytes: int
    vanilla_peak_bytes: int
    flops: int
    vanilla_flops: int
    seconds: float | None = None
    vanilla_seconds: float | None = None
    host_bytes: int = 0
    transferred_bytes: int = 0
    timeline: tuple[tuple[str, int], ...] = ()
    vanilla_timeline: tuple[tuple[str, int], ...] = ()
    basis: str = ""
    workspace_bytes: int = 0

    @property
    def told_seconds(self) -> str:
        """Predicted duration beside plain PyTorch's and what it rests on; "" where speeds are only assumed."""
        if self.seconds is None or not self.vanilla_seconds or self.basis.startswith("assumed") or not self.basis:
            return ""
        ratio = self.seconds / self.vanilla_seconds
        return f"{self.seconds:.3g} s predicted, {ratio:.2f}x plain PyTorch ({self.basis})"

    @property
    def peak_share(self) -> float:
        """Peak relative to the unmanaged network."""
        return self.peak_bytes / self.vanilla_peak_bytes

    @property
    def flops_ratio(self) -> float:
        """Operations relative to the unmanaged network."""
        return self.flops / self.vanilla_flops


@dataclass(frozen=True)
class MemoryPlan:
    """A network's way through one step at one input size.

    Attributes:
        input_size: (k, j, i).
        batch: volumes at once.
        purpose: "training" or "inference".
        executor: what runs it.
        segments: one line per unit.
        prediction: what it costs.
        choices: what the executor does.
        partition: what the executor of segments does.
        reversible: passes that must be reversible blocks in the network that is run.
    """

    input_size: tuple[int, int, int]
    batch: int
    purpose: str
    executor: ExecutorKind
    segments: tuple[SegmentPlan, ...]
    prediction: Prediction
    choices: Choices = field(default_factory=Choices)
    partition: tuple[Segment, ...] = ()
    reversible: tuple[str, ...] = ()

    @property
    def manages(self) -> bool:
        """Whether the network runs otherwise than it is."""
        return self.executor is not ExecutorKind.VANILLA or self.choices.channels_last

    def summary(self) -> str:
        """One sentence for logs and result files."""
        size = "x".join(str(n) for n in self.input_size)
        cost = self.prediction
        if self.executor is ExecutorKind.VANILLA:
            inner = ", channels innermost" if self.choices.channels_last else ""
            return f"no memory management at {size}: peak {shown_bytes(cost.peak_bytes)}{inner}"
        words = (
            f"{self.executor.words} plan at {size}: peak {shown_bytes(cost.peak_bytes)} instead of "
            f"{shown_bytes(cost.vanilla_peak_bytes)} ({100 * cost.peak_share:.0f} %)"
        )
        words += f", {cost.told_seconds or f'{cost.flops_ratio:.2f}x the operations (counted; time is another matter)'}"
        if cost.transferred_bytes:
            words += f", {shown_bytes(cost.transferred_bytes)} to and from host memory a step"
        return words

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; `from_dict` reads them back."""
        values: dict[str, Any] = to_json(self)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MemoryPlan:
        """Read what `to_dict` gave.

        Raises:
            UserError: not a plan.
        """
        return from_json(cls, values, "this memory plan", error=UserError)


def parse_bytes(text: str | int) -> int:
    """Bytes of "8GiB", "8 GB", "512MiB", or of a number of bytes.

    Args:
        text: a text names its unit, as a bare "8" would be taken for GiB by some and for bytes by others.

    Raises:
        UserError: not a positive amount of memory, or a text without a unit.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(text).lower())
    if not match or match[2] not in _UNITS or float(match[1]) <= 0:
        raise UserError(f"{text!r} is not an amount of memory", remedy="Write it as 8GiB, 8GB or 512MiB")
    if isinstance(text, str) and not match[2]:
        raise UserError(f"{text!r} names no unit of memory", remedy=f"Write {match[1]}GiB or {match[1]}MiB")
    return int(float(match[1]) * _UNITS[match[2]])


def shown_bytes(count: float) -> str:
    """In GiB or MiB, as everywhere in the product."""
    if count >= 2**30:
        return f"{count / 2**30:.2f} GiB"
    return f"{count / 2**20:.1f} MiB"
