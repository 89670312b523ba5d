"""What a memory strategy is: how the planner turns it on, and which single changes it offers.

Its cost model is the executor itself, walked without data (`cost_model.CostModel`): bytes, operations, transfers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from FetusMapV2Lib.memory.cost_model import CostModel
from FetusMapV2Lib.memory.plan import Choices, Storage, UnitChoice
from FetusMapV2Lib.memory.units import Unit


class Space:
    """What there is to choose for a network at one size with some strategies.

    Attributes:
        cost_model: prices choices.
        allowed: the strategies.
        thin_slices: slices may be thinner than the machine works on well.
    """

    def __init__(self, cost_model: CostModel, allowed: Sequence[Strategy], thin_slices: bool = False) -> None:
        self.cost_model, self.allowed, self.thin_slices = cost_model, tuple(allowed), thin_slices
        self.graph = cost_model.graph

    @cached_property
    def free(self) -> list[Unit]:
        """Units that a choice makes a difference for."""
        fixed = [] if self.graph.head is None else list(self.graph.head)
        return [unit for unit in self.graph.units if unit not in fixed]

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every unit's value (B, C, K, J, I), by name."""
        return self.cost_model.shapes()

    @cached_property
    def levels(self) -> list[frozenset[str]]:
        """Names of the convolutions by resolution, finest first."""
        by_size: dict[int, set[str]] = {}
        for unit in self.graph.convolutions:
            by_size.setdefault(math.prod(self.shapes[unit.name][2:]), set()).add(unit.name)
        return [frozenset(by_size[size]) for size in sorted(by_size, reverse=True)]

    def level_of(self, name: str) -> int:
        """Number of a unit's level; that of the coarsest and one more where it has none."""
        return next((number for number, names in enumerate(self.levels) if name in names), len(self.levels))

    def storages(self, unit: Unit) -> list[Storage]:
        """What may be kept of a unit, the most first."""
        kinds = [Storage.BOTH if unit.makes_two else Storage.KEPT]
        for strategy in self.allowed:
            kinds += [kind for kind in strategy.storages(unit) if kind not in kinds]
        return kinds


class Strategy:
    """One way to save memory; the files beside this one hold them all.

    Attributes:
        name: on the command line and in plans.
        summary: what it does, one line.
        exact: gradients stay those of the unmanaged network up to rounding.
        on_device: it needs no host memory; such strategies are tried first.
        changes_network: it trains another network.
    """

    name: str
    summary: str
    exact = True
    on_device = True
    changes_network = False

    def storages(self, unit: Unit) -> tuple[Storage, ...]:
        """Ways to store a unit that it adds."""
        return ()

    def spread(self, patterns: list[Choices], space: Space) -> list[Choices]:
        """The patterns that a search starts from, with this strategy in them."""
        return patterns

    def moves(self, choices: Choices, space: Space) -> Iterator[Choices]:
        """Choices that differ in one setting of the whole network."""
        yield from ()

    def unit_moves(self, choices: Choices, unit: Unit) -> Iterator[Choices]:
        """Choices that differ in one unit, beside its storage."""
        yield from ()


def with_unit(choices: Choices, name: str, choice: UnitChoice) -> Choices:
    """The same choices but for one unit."""
    return replace(choices, units={**choices.units, name: choice})


def with_storages(choices: Choices, storages: Mapping[str, Storage]) -> Choices:
    """The same choices with some units stored otherwise."""
    changed = {name: replace(choices.of(name), storage=kind) for name, kind in storages.items()}
    return replace(choices, units={**choices.units, **changed})
