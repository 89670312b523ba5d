"""Chooses how a network is run: the fastest way within a memory budget, or the leanest within a price in operations.

The strategies propose patterns, which are priced first, and single changes, by which the best is then improved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import nn

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.cost_model import CostModel, Size
from FetusMapV2Lib.memory.machine import Machine
from FetusMapV2Lib.memory.plan import (
    BudgetError,
    Choices,
    ExecutorKind,
    MemoryPlan,
    Prediction,
    Storage,
    UnitChoice,
    shown_bytes,
)
from FetusMapV2Lib.memory.segment_table import segment_plans
from FetusMapV2Lib.memory.strategies import EXACT, ON_DEVICE, Space, check_strategies, named
from FetusMapV2Lib.memory.strategies.base import with_unit
from FetusMapV2Lib.memory.units import ConvUnit, OpaqueUnit, build_units

#: Operations of a step, relative to plain autograd, when neither a budget nor a limit is given.
DEFAULT_SLOWDOWN = 1.25

_EVALUATIONS = 90  # prices looked at in one search: bounds the planning time


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
        max_slowdown: greatest ratio of a step's operations to plain autograd's; without a budget 1.25 by default.
        allowed: strategies (`strategies.STRATEGIES`); by default those that stay on the device, then all exact ones.
        batch: volumes at once.
        autocast: type that convolutions run in.
        machine: speeds for predicted durations.

    Raises:
        BudgetError: nothing fits; it tells the smallest possible peak.
        UserError: a network that cannot be planned for, or an unknown strategy.
    """
    check_strategies(allowed or ())
    graph = build_units(network)
    cost_model = CostModel(graph, input_size, batch=batch, autocast=autocast, machine=machine)
    return _Planner(cost_model, budget_bytes, max_slowdown, allowed).plan()


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
    cost_model = CostModel(graph, input_size, batch=batch, training=False, autocast=autocast, machine=machine)
    return _Planner(cost_model, budget_bytes, None, None).plan()


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
        cost_model = CostModel(graph, size, batch=batch, autocast=autocast, machine=machine)
        slowdown = max_slowdown if max_slowdown is not None else float("inf")
        return _Planner(cost_model, budget_bytes, slowdown, allowed).smallest(evaluations=24) <= budget_bytes

    sizes = list(_growing(aspect, multiple))
    low, high = 0, len(sizes)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if fits(sizes[middle]) else (low, middle)
    chosen = sizes[max(0, low - 1)]
    cost_model = CostModel(graph, chosen, batch=batch, autocast=autocast, machine=machine)
    return _Planner(cost_model, budget_bytes, max_slowdown, allowed).plan()


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


class _Planner:
    """One search."""

    def __init__(
        self,
        cost_model: CostModel,
        budget: int | None,
        max_slowdown: float | None,
        allowed: frozenset[str] | None,
    ) -> None:
        self.cost_model, self.graph, self.budget = cost_model, cost_model.graph, budget
        self.vanilla = cost_model.vanilla(timeline=True)
        self._check_trace()
        if max_slowdown is None and budget is None and cost_model.training:
            max_slowdown = DEFAULT_SLOWDOWN
        self.max_flops = float("inf") if max_slowdown is None else max_slowdown * self.vanilla.flops
        rounds = [ON_DEVICE, EXACT] if allowed is None else [allowed]
        self.rounds = [Space(cost_model, named(names)) for names in rounds]
        if budget is not None:  # the last resort
            self.rounds.append(Space(cost_model, named(rounds[-1]), thin_slices=True))
        self.space = self.rounds[0]

    def _check_trace(self) -> None:
        """Refuse a network that tracing has misread, by a question about its input's type for example."""
        choices = Choices(fused_head=False)
        again = sum(unit.name in self._opaque_names for unit in self.graph.units)  # opaque units run twice in training
        found = self.cost_model.price(choices).flops
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
        if self.budget is None and not self.cost_model.training:
            return self._result(self._fastest_inference())
        smallest: int | None = None
        for space in self.rounds:
            self.space = space
            effort = _EVALUATIONS if self.budget is None else _EVALUATIONS // 3
            leanest = self._search(self._memory_score, self._patterns(), effort)
            peak = self.cost_model.price(leanest).peak
            smallest = peak if smallest is None else min(smallest, peak)
            if self.budget is None:
                return self._result(leanest) if peak < self.vanilla.peak_bytes else self._vanilla_plan()
            if peak <= self.budget:
                return self._result(self._search(self._time_score, [*self._patterns(), leanest], 2 * effort))
        raise self._refusal(smallest or 0)

    def smallest(self, evaluations: int) -> int:
        """The least peak that a short search finds."""
        self.space = self.rounds[0]
        return self.cost_model.price(self._search(self._memory_score, self._patterns(), evaluations)).peak

    def _refusal(self, smallest: int) -> BudgetError:
        size = "x".join(str(n) for n in self.cost_model.input_size)
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
        price = self.cost_model.price(choices)
        return (max(0.0, price.flops - self.max_flops), price.peak, self.cost_model.machine.seconds(price))

    def _time_score(self, choices: Choices) -> tuple[float, ...]:
        price = self.cost_model.price(choices)
        over = max(0.0, price.peak - (self.budget or 0)) + max(0.0, price.flops - self.max_flops)
        return (over, self.cost_model.machine.seconds(price), price.peak)

    def _search(
        self,
        score: Callable[[Choices], tuple[float, ...]],
        starts: list[Choices],
        evaluations: int = _EVALUATIONS,
    ) -> Choices:
        """The best start, improved by single changes until none helps or the effort is spent."""
        best = min(starts, key=score)
        end = self.cost_model.evaluations + evaluations
        improved = True
        while improved and self.cost_model.evaluations < end:
            improved = False
            for changed in self._changes(best):
                if self.cost_model.evaluations >= end:
                    break
                if score(changed) < score(best):
                    best, improved = changed, True
        return best

    def _patterns(self) -> list[Choices]:
        """Ways that suit encoder-decoder networks, from the fastest to the leanest."""
        units = {unit.name: UnitChoice(self.space.storages(unit)[0]) for unit in self.graph.units}
        patterns = [Choices(units=units, in_place=False, split_concat=False, fused_head=False)]
        for strategy in self.space.allowed:
            patterns = strategy.spread(patterns, self.space)
        return patterns

    def _changes(self, choices: Choices) -> Iterator[Choices]:
        """Neighbours: a setting of the whole network, or one unit's storage."""
        for strategy in self.space.allowed:
            yield from strategy.moves(choices, self.space)
        for unit in self.space.free:
            current = choices.of(unit.name)
            for storage in self.space.storages(unit):
                if storage is not current.storage:
                    yield with_unit(choices, unit.name, replace(current, storage=storage))
            for strategy in self.space.allowed:
                yield from strategy.unit_moves(choices, unit)

    # -- results -----------------------------------------------------------------------------------------------

    def _fastest_inference(self) -> Choices:
        return min(self._patterns()[:1], key=self.cost_model.seconds)

    def _vanilla_plan(self) -> MemoryPlan:
        price = self.cost_model.price(self._reference())
        seconds = self.cost_model.machine.seconds(price)
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
            self.cost_model.input_size,
            self.cost_model.batch,
            self._purpose,
            ExecutorKind.VANILLA,
            (),
            prediction,
            Choices(),
        )

    @property
    def _purpose(self) -> str:
        return "training" if self.cost_model.training else "inference"

    def _reference(self) -> Choices:
        """The choices nearest to plain autograd, for its predicted duration."""
        units = {
            unit.name: UnitChoice(Storage.BOTH if isinstance(unit, ConvUnit) else Storage.KEPT)
            for unit in self.graph.units
        }
        return Choices(units=units, in_place=False, split_concat=False, fused_head=False)

    def _result(self, choices: Choices) -> MemoryPlan:
        price = self.cost_model.price(choices)
        prediction = Prediction(
            peak_bytes=price.peak,
            vanilla_peak_bytes=self.vanilla.peak_bytes,
            flops=price.flops,
            vanilla_flops=self.vanilla.flops,
            seconds=self.cost_model.machine.seconds(price),
            vanilla_seconds=self.cost_model.seconds(self._reference()),
            host_bytes=price.host_peak,
            transferred_bytes=price.transferred,
            timeline=tuple(price.timeline),
            vanilla_timeline=self.vanilla.timeline,
        )
        return MemoryPlan(
            self.cost_model.input_size,
            self.cost_model.batch,
            self._purpose,
            choices.executor,
            tuple(segment_plans(self.space, choices)),
            prediction,
            choices,
        )
