"""The search for a plan: strategies propose patterns, which are priced, and changes that improve the best one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property, partial

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.cost_model import CostModel
from FetusMapV2Lib.memory.frontier import Frontier
from FetusMapV2Lib.memory.ledger import Ledger
from FetusMapV2Lib.memory.meter import Measured
from FetusMapV2Lib.memory.plan import (
    BudgetError,
    Choices,
    ExecutorKind,
    MemoryPlan,
    Prediction,
    UnitChoice,
    shown_bytes,
)
from FetusMapV2Lib.memory.segment_table import segment_plans
from FetusMapV2Lib.memory.strategies import EXACT, ON_DEVICE, Space, named
from FetusMapV2Lib.memory.strategies.base import with_unit
from FetusMapV2Lib.memory.unit_kinds import OpaqueUnit

#: Duration of a step, relative to plain PyTorch, when neither a budget nor a limit is given.
DEFAULT_SLOWDOWN = 1.1

# Prices looked at, which bound the planning time: for the least memory, and for ways that trade memory for time.
_EVALUATIONS = 90
_LEAN_EVALUATIONS = 45
_FRONT_EVALUATIONS = 250


class PlanSearch:
    """One search for a way to run a network.

    Args:
        cost_model: of the network at a size.
        budget: greatest peak in bytes, None = none.
        max_slowdown: greatest ratio of a step's predicted duration to plain PyTorch's; None = 1.1 without a budget.
        allowed: names of strategies, None = those on the device, then all exact ones.
    """

    def __init__(
        self,
        cost_model: CostModel,
        budget: int | None,
        max_slowdown: float | None,
        allowed: frozenset[str] | None,
    ) -> None:
        self.cost_model, self.graph, self.budget = cost_model, cost_model.graph, budget
        if max_slowdown is None and budget is None and cost_model.training:
            max_slowdown = DEFAULT_SLOWDOWN
        self.max_slowdown = float("inf") if max_slowdown is None else max_slowdown
        exact = EXACT if cost_model.machine.copies_beside else EXACT - {"host-offload"}  # a CPU's memory is the host's
        self.lean, self.wide = (
            Space(cost_model, named(names)) for names in ((ON_DEVICE, exact) if allowed is None else (allowed, allowed))
        )
        self.space = self.lean

    @cached_property
    def vanilla(self) -> Measured:
        """Plain autograd."""
        return self.cost_model.vanilla()

    @cached_property
    def max_seconds(self) -> float:
        """Longest that a step may take."""
        return self.max_slowdown * self.cost_model.plain_seconds() if self._limited else float("inf")

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
        return {unit.name for unit in self.graph.of_kind(OpaqueUnit) if unit.needs_gradient}

    def plan(self) -> MemoryPlan:
        """The plan."""
        self._check_trace()
        if self.budget is not None and self.vanilla.peak_bytes <= self.budget:
            return self._fastest()
        if self.budget is None and not self.cost_model.training:
            return self._result(self._fastest_inference())
        if self.budget is None:
            leanest = self.leanest(_EVALUATIONS)
            fits = self.cost_model.price(leanest).peak < self.vanilla.peak_bytes
            return self._result(leanest) if fits else self._fastest()
        return self._within(self.budget)

    def _within(self, budget: int) -> MemoryPlan:
        """The fastest plan within a budget that is less than plain PyTorch needs."""
        front = self.front
        if front.within(budget) is None:
            self._add_thin_slices()
        found = front.within(budget)
        if found is None or self.cost_model.seconds(found) > self.max_seconds:
            raise self._refusal(self._result(front.leanest(self.max_seconds)))
        return self._result(found)

    @cached_property
    def front(self) -> Frontier:
        """Ways that no other beats in both memory and time; the same whatever the budget is."""
        front = Frontier(self.cost_model, self._changes)
        if self.cost_model.training:  # the plan that is made without a budget is among them
            self.space, seconds = self.lean, DEFAULT_SLOWDOWN * self.cost_model.plain_seconds()
            self._search(self._patterns(), _EVALUATIONS, front, seconds)
        for space in (self.lean, self.wide):
            self.space = space
            self._look_for_leanest(front)
        front.improve(_FRONT_EVALUATIONS if self.cost_model.training else _LEAN_EVALUATIONS)
        return front

    def _add_thin_slices(self) -> None:
        """The last resort: slices of channels that are too thin for the machine to work on them well."""
        self.space = Space(self.cost_model, self.wide.allowed, thin_slices=True)
        self._look_for_leanest(self.front)

    def _look_for_leanest(self, front: Frontier) -> None:
        front.add(self._patterns())
        self._search(front.ways, _LEAN_EVALUATIONS, front)

    def leanest(self, evaluations: int) -> Choices:
        """The choices of the least peak that a short search on the device alone finds."""
        self.space = self.lean
        return self._search(self._patterns(), evaluations)

    def patterns(self) -> list[Choices]:
        """Ways that a search on the device alone starts from, plain autograd's first."""
        self.space = self.lean
        return self._patterns()

    def _fastest(self) -> MemoryPlan:
        """Plain PyTorch, with the channels innermost or not, or the fastest pattern where times are measured."""
        model = self.cost_model
        ways = [Choices()]
        if model.training and model.machine.by_rows:
            ways.append(Choices(channels_last=True))
        seconds = [model.plain_seconds(way.channels_last) for way in ways]
        quickest = seconds.index(min(seconds))
        if model.machine.measured and model.training:
            limit = self.vanilla.peak_bytes if self.budget is None else self.budget
            fitting = [way for way in self.patterns() if model.price(way).peak <= limit]
            best = min(fitting, key=model.seconds, default=None)
            if best is not None and model.seconds(best) < seconds[quickest]:
                return self._result(best)
        return self._vanilla_plan(ways[quickest], seconds[quickest])

    def _refusal(self, smallest: MemoryPlan) -> BudgetError:
        size, least = "x".join(str(n) for n in self.cost_model.input_size), smallest.prediction.peak_bytes
        told, needed = shown_bytes(self.budget or 0), shown_bytes(least)
        return BudgetError(
            f"{self._purpose} at {size} does not fit {told}: at least {needed} are needed",
            least,
            remedy="Give more memory or a smaller input size" + (", or allow more time" if self._limited else ""),
            smallest=smallest,
        )

    @property
    def _limited(self) -> bool:
        return self.max_slowdown != float("inf")

    # -- search ------------------------------------------------------------------------------------------------

    def _memory_score(self, price: Ledger, max_seconds: float) -> tuple[float, ...]:
        seconds = self.cost_model.machine.seconds(price)
        return (max(0.0, seconds - max_seconds), price.peak, seconds)

    def _search(
        self,
        starts: list[Choices],
        evaluations: int,
        front: Frontier | None = None,
        max_seconds: float | None = None,
    ) -> Choices:
        """The leanest start, made leaner by single changes until none helps or the effort is spent.

        Args:
            starts: where to begin.
            evaluations: prices looked at.
            front: takes up what is found on the way.
            max_seconds: longest that a step may take, None = what the search was asked for.
        """
        score = partial(self._memory_score, max_seconds=self.max_seconds if max_seconds is None else max_seconds)
        best, least = starts[0], score(self.cost_model.price(starts[0]))

        def is_worse(price: Ledger) -> bool:
            return price.peak >= least[1] and score(price) >= least

        def is_of_no_use(price: Ledger) -> bool:
            return is_worse(price) and (front is None or front.beats(price))

        for start in starts[1:]:
            price = self.cost_model.price_unless(start, is_worse)
            if price is not None and score(price) < least:
                best, least = start, score(price)
        end = self.cost_model.evaluations + evaluations
        improved = True
        while improved and self.cost_model.evaluations < end:
            improved = False
            for changed in self._changes(best):
                if self.cost_model.evaluations >= end:
                    break
                price = self.cost_model.price_unless(changed, is_of_no_use)
                if price is None:
                    continue
                if front is not None:
                    front.add([changed])
                if score(price) < least:
                    best, least, improved = changed, score(price), True
        return best

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

    def _patterns(self) -> list[Choices]:
        """Ways that suit encoder-decoder networks, from the fastest to the leanest."""
        units = {unit.name: UnitChoice(self.space.storages(unit)[0]) for unit in self.graph.units}
        inner = self.cost_model.machine.by_rows and self.cost_model.training
        patterns = [Choices(units=units, in_place=False, split_concat=False, fused_head=False, channels_last=inner)]
        for strategy in self.space.allowed:
            patterns = strategy.spread(patterns, self.space)
        return patterns

    # -- results -----------------------------------------------------------------------------------------------

    def _fastest_inference(self) -> Choices:
        return min(self._patterns()[:1], key=self.cost_model.seconds)

    def _vanilla_plan(self, choices: Choices, seconds: float) -> MemoryPlan:
        prediction = Prediction(
            peak_bytes=self.vanilla.peak_bytes,
            vanilla_peak_bytes=self.vanilla.peak_bytes,
            flops=self.vanilla.flops,
            vanilla_flops=self.vanilla.flops,
            seconds=seconds,
            vanilla_seconds=self.cost_model.plain_seconds(),
            timeline=self.vanilla.timeline,
            vanilla_timeline=self.vanilla.timeline,
            basis=self._basis,
        )
        return MemoryPlan(
            self.cost_model.input_size,
            self.cost_model.batch,
            self._purpose,
            ExecutorKind.VANILLA,
            (),
            prediction,
            choices,
        )

    @property
    def _purpose(self) -> str:
        return "training" if self.cost_model.training else "inference"

    @property
    def _basis(self) -> str:
        machine = self.cost_model.machine
        return f"{machine.basis}, {machine.name}"

    def _result(self, choices: Choices) -> MemoryPlan:
        price = self.cost_model.price(choices)
        prediction = Prediction(
            peak_bytes=price.peak,
            vanilla_peak_bytes=self.vanilla.peak_bytes,
            flops=price.flops,
            vanilla_flops=self.vanilla.flops,
            seconds=self.cost_model.machine.seconds(price),
            vanilla_seconds=self.cost_model.plain_seconds(),
            host_bytes=price.host_peak,
            transferred_bytes=price.transferred,
            timeline=tuple(price.timeline),
            vanilla_timeline=self.vanilla.timeline,
            basis=self._basis,
            workspace_bytes=price.largest_workspace,
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
