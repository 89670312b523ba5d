"""The best way to store a network's units, by mixed-integer linear programming (HiGHS): a yardstick for the search.

Live bytes at every moment of a step are written as a sum over units and pairs of units; the simulator gives the terms.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_array

from FetusMapV2Lib.memory.cost_model import CostModel
from FetusMapV2Lib.memory.plan import Choices, Storage, UnitChoice

Option = tuple[str, Storage]


@dataclass(frozen=True)
class Optimum:
    """The programme's answer.

    Attributes:
        choices: the best storages.
        peak_bytes: what the programme believes; the simulator says whether it is so.
    """

    choices: Choices
    peak_bytes: float


class StorageProgramme:
    """Live bytes and operations of every choice of storages, up to interactions of three units.

    Args:
        cost_model: the simulator.
        base: choices that are kept, but for storages; every unit in it has its first option.
        options: storages per unit name, the base's first.
    """

    def __init__(self, cost_model: CostModel, base: Choices, options: Mapping[str, Sequence[Storage]]) -> None:
        self.cost_model, self.base = cost_model, base
        self.singles: list[Option] = [(unit, kind) for unit, kinds in options.items() for kind in kinds[1:]]
        first = self._cost()
        self.start = first
        self.effect = {option: self._cost(option) - first for option in self.singles}
        self.together = {
            pair: self._cost(*pair) - first - self.effect[pair[0]] - self.effect[pair[1]]
            for pair in itertools.combinations(self.singles, 2)
            if pair[0][0] != pair[1][0]
        }
        self.together = {pair: cost for pair, cost in self.together.items() if np.abs(cost).max() > 0}

    def _cost(self, *options: Option) -> np.ndarray:
        """Live bytes at each moment, then operations."""
        price = self.cost_model.price(self.choices(options))
        return np.array([*(size for _, size in price.timeline), price.flops], dtype=np.float64)

    def choices(self, options: Sequence[Option]) -> Choices:
        """The base with some storages changed."""
        changed = {unit: replace(self.base.of(unit), storage=kind) for unit, kind in options}
        return replace(self.base, units={**self.base.units, **changed})

    def solve(self, max_flops: float) -> Optimum:
        """Least peak at no more than so many operations."""
        unknowns: list[object] = [*self.singles, *self.together, "peak"]
        place = {unknown: number for number, unknown in enumerate(unknowns)}
        terms = {**self.effect, **self.together}
        table = np.stack([terms[unknown] for unknown in unknowns[:-1]], axis=1)
        scale = self.start[:-1].max()
        rows = lil_array((len(self.start) + len(self.singles) + 3 * len(self.together), len(unknowns)))
        upper = np.full(rows.shape[0], np.inf)
        moments = len(self.start) - 1
        rows[:moments, :-1] = table[:-1] / scale  # live bytes stay below the peak
        rows[:moments, [place["peak"]]] = -np.ones((moments, 1))
        upper[:moments] = -self.start[:-1] / scale
        rows[[moments], :-1] = table[-1:] / self.start[-1]
        upper[moments] = max_flops / self.start[-1] - 1
        number = moments + 1
        for unit in dict.fromkeys(unit for unit, _ in self.singles):  # one storage each
            for option in self.singles:
                if option[0] == unit:
                    rows[number, place[option]] = 1
            upper[number] = 1
            number += 1
        for pair in self.together:  # a pair counts if and only if both are chosen
            both, (one, other) = place[pair], (place[option] for option in pair)
            rows[number, both], rows[number, one], upper[number] = 1, -1, 0
            rows[number + 1, both], rows[number + 1, other], upper[number + 1] = 1, -1, 0
            rows[number + 2, one], rows[number + 2, other], rows[number + 2, both] = 1, 1, -1
            upper[number + 2] = 1
            number += 3
        goal = np.zeros(len(unknowns))
        goal[-1] = 1
        integral = np.array([1] * len(self.singles) + [0] * (len(unknowns) - len(self.singles)))
        limits = Bounds(np.zeros(len(unknowns)), np.array([1.0] * (len(unknowns) - 1) + [np.inf]))
        found = milp(
            goal,
            integrality=integral,
            bounds=limits,
            constraints=LinearConstraint(rows[:number].tocsr(), ub=upper[:number]),
            options={"mip_rel_gap": 1e-4, "time_limit": 60},
        )
        assert found.success, found.message
        chosen = [option for option in self.singles if found.x[place[option]] > 0.5]
        return Optimum(self.choices(chosen), float(found.x[-1]) * scale)


def base_choices(units: Sequence[str], options: Mapping[str, Sequence[Storage]], chunks: int = 1) -> Choices:
    """Every unit with its first option."""
    return Choices(units={unit: UnitChoice(options.get(unit, (Storage.KEPT,))[0], chunks) for unit in units})
