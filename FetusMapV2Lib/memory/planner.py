"""Chooses how a network is run: the fastest way within a memory budget, or the leanest within a price in operations.

A few patterns that suit encoder-decoder networks are priced first; the best is then improved by single changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import torch
from torch import nn

from FetusMapV2Lib.foundation.errors import UserError
from FetusMapV2Lib.memory.costing import Costing, Machine, Size
from FetusMapV2Lib.memory.plan import (
    EXACT,
    STRATEGIES,
    BudgetError,
    Choices,
    MemoryPlan,
    Prediction,
    SegmentPlan,
    Storage,
    UnitChoice,
    shown_bytes,
)
from FetusMapV2Lib.memory.streaming import split_top
from FetusMapV2Lib.memory.units import ConvUnit, InputUnit, OpaqueUnit, PoolUnit, Unit, build_units

#: Operations of a step, relative to plain autograd, when neither a budget nor a limit is given.
DEFAULT_SLOWDOWN = 1.25

#: Tried first; what they save costs little time.
ON_DEVICE = EXACT - {"host-offload", "slab-streaming"}

_EVALUATIONS = 90  # prices looked at in one search: bounds the planning time
_CHUNKS = (1, 2, 4, 8, 16)


def plan_training(
    network: nn.Module,
    input_size: Size,
    *,
    budget_bytes: int | None = None,
    max_slowdown: float | None = None,
    allowed: frozenset[str] | None = None,
    batch: int = 1,
    autocast: torch.dtype | None = None,
    machine: Machine | None = None,
) -> MemoryPlan:
    """Plan a training step: forward, loss, backward and Adam.

    With a budget: the least predicted time within it. Without: the least memory within `max_slowdown`.

    Args:
        network: one tensor in, one out, static control flow.
        input_size: (k, j, i).
        budget_bytes: for all live tensors, parameters and optimiser state included; leave 10-25 % of a GPU's memory
            for the workspace of its convolutions.
        max_slowdown: greatest ratio of a step's operations to plain autograd's; 1.25 by custom without a budget.
        allowed: strategies (`plan.STRATEGIES`); by custom those that stay on the device, then all exact ones.
        batch: volumes at once.
        autocast: type that convolutions run in.
        machine: speeds for predicted durations.

    Raises:
        BudgetError: nothing fits; it tells the smallest possible peak.
        UserError: a network that cannot be planned for, or an unknown strategy.
    """
    check_strategies(allowed or ())
    graph = build_units(network)
    costing = Costing(graph, input_size, batch=batch, autocast=autocast, machine=machine)
    return _Planner(costing, budget_bytes, max_slowdown, allowed).plan()


def plan_inference(
    network: nn.Module,
    input_size: Size,
    *,
    budget_bytes: int | None = None,
    batch: int = 1,
    autocast: torch.dtype | None = None,
    machine: Machine | None = None,
) -> MemoryPlan:
    """Plan one inference; see `plan_training`. Without a budget: the fastest plan, whose peak is stated.

    Raises:
        BudgetError: nothing fits; it tells the smallest possible peak.
        UserError: a network that cannot be planned for.
    """
    graph = build_units(network)
    costing = Costing(graph, input_size, batch=batch, training=False, autocast=autocast, machine=machine)
    return _Planner(costing, budget_bytes, None, None).plan()


def largest_input(
    network: nn.Module,
    *,
    budget_bytes: int,
    aspect: Size = (208, 128, 144),
    multiple: int = 16,
    max_slowdown: float | None = None,
    allowed: frozenset[str] | None = None,
    batch: int = 1,
    autocast: torch.dtype | None = None,
    machine: Machine | None = None,
) -> MemoryPlan:
    """The plan for the largest input, of about an aspect, that trains within a budget.

    Sizes grow along the aspect, each side rounded to the multiple; of the sizes that fit, the last is taken.

    Raises:
        BudgetError: not even the smallest size fits.
    """
    check_strategies(allowed or ())
    graph = build_units(network)

    def fits(size: Size) -> bool:
        costing = Costing(graph, size, batch=batch, autocast=autocast, machine=machine)
        slowdown = max_slowdown if max_slowdown is not None else float("inf")
        return _Planner(costing, budget_bytes, slowdown, allowed).smallest(evaluations=24) <= budget_bytes

    sizes = list(_growing(aspect, multiple))
    low, high = 0, len(sizes)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if fits(sizes[middle]) else (low, middle)
    chosen = sizes[max(0, low - 1)]
    costing = Costing(graph, chosen, batch=batch, autocast=autocast, machine=machine)
    return _Planner(costing, budget_bytes, max_slowdown, allowed).plan()


def _growing(aspect: Size, multiple: int, steps: int = 400) -> Iterator[Size]:
    """Growing sizes of about an aspect, each once."""
    last: Size | None = None
    longest = max(aspect)
    for step in range(1, steps):
        scale = step * multiple / longest / 2
        k, j, i = (max(multiple, round(n * scale / multiple) * multiple) for n in aspect)
        if (k, j, i) != last and max(k, j, i) <= 1024:
            last = (k, j, i)
            yield last


def check_strategies(names: Iterable[str]) -> None:
    """Refuse unknown strategies.

    Raises:
        UserError: a name that is not in `plan.STRATEGIES`.
    """
    unknown = sorted(set(names) - set(STRATEGIES))
    if unknown:
        raise UserError(f"unknown strategy {unknown[0]!r}", remedy=f"Known: {', '.join(STRATEGIES)}")


class _Planner:
    """One search."""

    def __init__(
        self,
        costing: Costing,
        budget: int | None,
        max_slowdown: float | None,
        allowed: frozenset[str] | None,
    ) -> None:
        self.costing, self.graph, self.budget = costing, costing.graph, budget
        self.vanilla = costing.vanilla(timeline=True)
        self._check_trace()
        if max_slowdown is None and budget is None and costing.training:
            max_slowdown = DEFAULT_SLOWDOWN
        self.max_flops = float("inf") if max_slowdown is None else max_slowdown * self.vanilla.flops
        self.rounds = [ON_DEVICE, EXACT] if allowed is None else [allowed]
        self.allowed = self.rounds[0]
        self.levels = _levels(costing)

    def _check_trace(self) -> None:
        """Refuse a network that tracing has misread, by a question about its input's type for example."""
        choices = Choices(fused_head=False)
        again = sum(unit.name in self._opaque_names for unit in self.graph.units)  # opaque units run twice in training
        found = self.costing.price(choices).flops
        if found < 0.999 * self.vanilla.flops or (not again and found > 1.001 * self.vanilla.flops):
            raise UserError(
                "the network does something else when it is traced than when it runs",
                remedy="Memory plans need a forward pass without questions about types, shapes or values",
            )

    @property
    def _opaque_names(self) -> set[str]:
        return {unit.name for unit in self.graph.units if isinstance(unit, OpaqueUnit) and unit.needs_gradient}

    def plan(self) -> MemoryPlan:
        """The plan."""
        if self.budget is not None and self.vanilla.peak_bytes <= self.budget:
            return self._vanilla_plan()
        if self.budget is None and not self.costing.training:
            return self._result(self._fastest_inference())
        smallest: int | None = None
        for allowed in self.rounds:
            self.allowed = allowed
            effort = _EVALUATIONS if self.budget is None else _EVALUATIONS // 3
            leanest = self._search(self._memory_score, self._patterns(), effort)
            peak = self.costing.price(leanest).peak
            smallest = peak if smallest is None else min(smallest, peak)
            if self.budget is None:
                return self._result(leanest) if peak < self.vanilla.peak_bytes else self._vanilla_plan()
            if peak <= self.budget:
                return self._result(self._search(self._time_score, [*self._patterns(), leanest], 2 * effort))
        raise self._refusal(smallest or 0)

    def smallest(self, evaluations: int) -> int:
        """The least peak that a short search finds."""
        self.allowed = self.rounds[-1] if len(self.rounds) == 1 else self.rounds[0]
        return self.costing.price(self._search(self._memory_score, self._patterns(), evaluations)).peak

    def _refusal(self, smallest: int) -> BudgetError:
        size = "x".join(str(n) for n in self.costing.input_size)
        told, needed = shown_bytes(self.budget or 0), shown_bytes(smallest)
        return BudgetError(
            f"{self._purpose} at {size} does not fit {told}: at least {needed} are needed",
            smallest,
            remedy="Give more memory or a smaller input size" + (", or allow more operations" if self._limited else ""),
        )

    @property
    def _limited(self) -> bool:
        return self.max_flops != float("inf")

    # -- search ------------------------------------------------------------------------------------------------

    def _memory_score(self, choices: Choices) -> tuple[float, ...]:
        price = self.costing.price(choices)
        return (max(0.0, price.flops - self.max_flops), price.peak, self.costing.machine.seconds(price))

    def _time_score(self, choices: Choices) -> tuple[float, ...]:
        price = self.costing.price(choices)
        over = max(0.0, price.peak - (self.budget or 0)) + max(0.0, price.flops - self.max_flops)
        return (over, self.costing.machine.seconds(price), price.peak)

    def _search(
        self,
        score: Callable[[Choices], tuple[float, ...]],
        starts: list[Choices],
        evaluations: int = _EVALUATIONS,
    ) -> Choices:
        """The best start, improved by single changes until none helps or the effort is spent."""
        best = min(starts, key=score)
        end = self.costing.evaluations + evaluations
        improved = True
        while improved and self.costing.evaluations < end:
            improved = False
            for changed in self._changes(best):
                if self.costing.evaluations >= end:
                    break
                if score(changed) < score(best):
                    best, improved = changed, True
        return best

    @property
    def _free(self) -> list[Unit]:
        """Units that a choice makes a difference for."""
        fixed = [] if self.graph.head is None else list(self.graph.head)
        return [unit for unit in self.graph.units if unit not in fixed]

    def _changes(self, choices: Choices) -> Iterator[Choices]:
        """Neighbours: one level's slices, one unit's storage, or the height of a slab."""
        if choices.slab_rows:
            for rows in (4, 8, 16, 32):
                if rows != choices.slab_rows:
                    yield replace(choices, slab_rows=rows)
        if "channel-chunks" in self.allowed:
            for level in self.levels:
                for factor in (2, 0.5):
                    yield _with_chunks(choices, level, factor)
        for unit in self._free:
            current = choices.of(unit.name)
            for storage in self._storages(unit):
                if storage is not current.storage:
                    yield _with(choices, unit, replace(current, storage=storage))
            if "host-offload" in self.allowed and isinstance(unit, ConvUnit):
                yield _with(choices, unit, replace(current, host=not current.host))
        for rows in (4, 8, 16, 32):
            if rows != choices.head_rows and choices.fused_head:
                yield replace(choices, head_rows=rows)

    def _storages(self, unit: Unit) -> list[Storage]:
        """What may be kept of a unit."""
        kinds: list[Storage] = []
        if isinstance(unit, ConvUnit) and (unit.norm is not None or unit.slope is not None):
            kinds.append(Storage.BOTH)
            if "recompute-norm" in self.allowed:
                kinds.append(Storage.KEPT)
        else:
            kinds.append(Storage.KEPT)
        if "checkpoint" in self.allowed:
            kinds.append(Storage.RECOMPUTED)
            if _depth(unit) <= 2:
                kinds.append(Storage.NEVER)
        return kinds

    def _patterns(self) -> list[Choices]:
        """Ways that suit encoder-decoder networks, from the fastest to the leanest."""
        base = Choices(
            in_place="in-place" in self.allowed,
            split_concat="no-concat" in self.allowed,
            fused_head="fused-head" in self.allowed and self.graph.head is not None,
        )
        reduced = "reduced-storage" in self.allowed
        hosts = (False, True) if "host-offload" in self.allowed else (False,)
        chunks = (1, 2, 4, 8) if "channel-chunks" in self.allowed else (1,)
        result = []
        for kept in self._kept_patterns():
            for top in chunks:
                for host in hosts:
                    units = {
                        name: UnitChoice(storage, self._chunks_of(name, top), host and storage is Storage.KEPT, reduced)
                        for name, storage in kept.items()
                    }
                    result.append(replace(base, units=units))
        return [*result, *self._streamed(result)]

    def _streamed(self, whole: list[Choices]) -> list[Choices]:
        """The same ways for the levels below a streamed top level."""
        if "slab-streaming" not in self.allowed or not self._can_stream:
            return []
        stores: list[tuple[str, ...]] = [()] if "host-offload" not in self.allowed else [(), ("z", "dy")]
        return [
            replace(choices, slab_rows=rows, streamed_to_host=store)
            for choices in whole
            if not any(choice.host for choice in choices.units.values())
            for rows in (16,)
            for store in stores
        ]

    @property
    def _can_stream(self) -> bool:
        try:
            split_top(self.graph)
        except UserError:
            return False
        return self.costing.input_size[0] % 2 == 0 and self.costing.autocast is None

    def _chunks_of(self, name: str, top: int) -> int:
        """Finer slices for larger tensors: half as many on every coarser level."""
        level = next((number for number, names in enumerate(self.levels) if name in names), len(self.levels))
        return max(1, top >> level)

    def _kept_patterns(self) -> Iterator[dict[str, Storage]]:
        units = self.graph.units
        plain = {unit.name: self._storages(unit)[0] for unit in units}
        yield plain
        if "recompute-norm" not in self.allowed and "checkpoint" not in self.allowed:
            return
        lean = {unit.name: Storage.KEPT if Storage.KEPT in self._storages(unit) else plain[unit.name] for unit in units}
        yield lean
        if "checkpoint" not in self.allowed:
            return
        never = {**lean, **{unit.name: Storage.NEVER for unit in units if _depth(unit) == 1}}
        yield never
        inner = {unit.name for unit in units if self._is_inner(unit)}
        yield {**never, **dict.fromkeys(inner, Storage.RECOMPUTED)}
        deeper = {
            **never,
            **{unit.name: Storage.NEVER for unit in units if _depth(unit) <= 2 and isinstance(unit, ConvUnit)},
        }
        yield deeper
        yield {
            **deeper,
            **dict.fromkeys(inner - {n for n, s in deeper.items() if s is Storage.NEVER}, Storage.RECOMPUTED),
        }

    def _is_inner(self, unit: Unit) -> bool:
        """First of two convolutions on a coarse level: cheap to make again from what is kept around it."""
        top = self.levels[0] if self.levels else frozenset()
        one_reader = len(unit.readers) == 1 and isinstance(unit.readers[0][0], ConvUnit)
        return (
            isinstance(unit, ConvUnit) and one_reader and unit.name not in top and unit.readers[0][1].upsample is None
        )

    # -- results -----------------------------------------------------------------------------------------------

    def _fastest_inference(self) -> Choices:
        return min(self._patterns()[:1], key=self.costing.seconds)

    def _vanilla_plan(self) -> MemoryPlan:
        price = self.costing.price(self._reference())
        seconds = self.costing.machine.seconds(price)
        prediction = Prediction(
            peak_bytes=self.vanilla.peak_bytes,
            vanilla_peak_bytes=self.vanilla.peak_bytes,
            flops=self.vanilla.flops,
            vanilla_flops=self.vanilla.flops,
            seconds=seconds,
            vanilla_seconds=seconds,
            timeline=self.vanilla.timeline,
            vanilla_timeline=self.vanilla.timeline,
        )
        return MemoryPlan(
            self.costing.input_size, self.costing.batch, self._purpose, "vanilla", (), prediction, Choices()
        )

    @property
    def _purpose(self) -> str:
        return "training" if self.costing.training else "inference"

    def _reference(self) -> Choices:
        """The choices nearest to plain autograd, for its predicted duration."""
        units = {
            unit.name: UnitChoice(Storage.BOTH if isinstance(unit, ConvUnit) else Storage.KEPT)
            for unit in self.graph.units
        }
        return Choices(units=units, in_place=False, split_concat=False, fused_head=False)

    def _result(self, choices: Choices) -> MemoryPlan:
        price = self.costing.price(choices)
        prediction = Prediction(
            peak_bytes=price.peak,
            vanilla_peak_bytes=self.vanilla.peak_bytes,
            flops=price.flops,
            vanilla_flops=self.vanilla.flops,
            seconds=self.costing.machine.seconds(price),
            vanilla_seconds=self.costing.seconds(self._reference()),
            host_bytes=price.host_peak,
            transferred_bytes=price.transferred,
            timeline=tuple(price.timeline),
            vanilla_timeline=self.vanilla.timeline,
        )
        return MemoryPlan(
            self.costing.input_size,
            self.costing.batch,
            self._purpose,
            "streamed" if choices.slab_rows else "lean",
            tuple(self._segments(choices)),
            prediction,
            choices,
        )

    def _segments(self, choices: Choices) -> Iterator[SegmentPlan]:
        """What each unit's choice saves between the passes, and how much it computes again."""
        shapes = self.costing.shapes()
        for unit in self.graph.units:
            if isinstance(unit, OpaqueUnit) and not unit.needs_gradient:
                continue
            choice = choices.of(unit.name)
            if choices.slab_rows and unit.name in self.levels[0]:
                yield self._streamed_segment(unit, choices, shapes)
                continue
            size = 4 * _count(shapes[unit.name])
            tensors = {Storage.BOTH: 0, Storage.KEPT: 1, Storage.RECOMPUTED: 2, Storage.NEVER: 2}[choice.storage]
            if isinstance(unit, PoolUnit) or unit is self.graph.output:
                tensors = min(1, tensors) if choice.storage is not Storage.KEPT else 0
            dropped = choice.storage in (Storage.RECOMPUTED, Storage.NEVER) and self.costing.training
            again = self._forward_flops(unit, shapes) * (_times_made(unit, choice) - 1) if dropped else 0
            saved = size * tensors + (size if choice.host and choice.storage is Storage.KEPT else 0)
            yield SegmentPlan(unit.name, choice.words, saved if self.costing.training else 0, again)

    def _streamed_segment(self, unit: Unit, choices: Choices, shapes: dict[str, tuple[int, ...]]) -> SegmentPlan:
        host = bool(choices.streamed_to_host)
        words = f"streamed, slabs of {choices.slab_rows} rows, " + ("in host memory" if host else "made again")
        again = 0 if host or not self.costing.training else 2 * self._forward_flops(unit, shapes)
        return SegmentPlan(unit.name, words, 2 * 4 * _count(shapes[unit.name]), again)

    def _forward_flops(self, unit: Unit, shapes: dict[str, tuple[int, ...]]) -> int:
        if not isinstance(unit, ConvUnit):
            return 0
        shape = shapes[unit.name]
        return 2 * unit.conv.weight.numel() * shape[0] * shape[2] * shape[3] * shape[4]


def _times_made(unit: Unit, choice: UnitChoice) -> int:
    """How often a dropped unit is computed: forward, and again for the backward pass and later readers."""
    return 2 + (len(unit.readers) - 1 if choice.storage is Storage.NEVER else 0)


def _depth(unit: Unit) -> int:
    """Convolutions between the input and a unit's value, 99 where the way is not a plain chain."""
    if isinstance(unit, InputUnit):
        return 0
    if isinstance(unit, OpaqueUnit):
        return 0 if not unit.needs_gradient and all(_depth(s.unit) == 0 for s in unit.sources) else 99
    if isinstance(unit, PoolUnit) or any(source.upsample is not None for source in unit.sources):
        return 99
    return min(99, 1 + max(_depth(source.unit) for source in unit.sources))


def _with(choices: Choices, unit: Unit, choice: UnitChoice) -> Choices:
    return replace(choices, units={**choices.units, unit.name: choice})


def _with_chunks(choices: Choices, level: frozenset[str], factor: float) -> Choices:
    units = dict(choices.units)
    for name in level:
        choice = choices.of(name)
        units[name] = replace(choice, chunks=max(_CHUNKS[0], min(_CHUNKS[-1], int(choice.chunks * factor))))
    return replace(choices, units=units)


def _count(shape: tuple[int, ...]) -> int:
    result = 1
    for n in shape:
        result *= n
    return result


def _levels(costing: Costing) -> list[frozenset[str]]:
    """Names of the convolutions by resolution, finest first."""
    shapes = costing.shapes()
    by_size: dict[int, set[str]] = {}
    for unit in costing.graph.units:
        if isinstance(unit, ConvUnit):
            by_size.setdefault(_count(shapes[unit.name][2:]), set()).add(unit.name)
    return [frozenset(by_size[size]) for size in sorted(by_size, reverse=True)]
