"""The dynamic programme over lower sets against trying every increasing sequence of them."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.paper.kusumoto import (
    RecomputationGraph,
    members,
    plan_within,
    smallest_budget,
    surrogate_peak,
)


def chain(count: int) -> RecomputationGraph:
    return RecomputationGraph((1,) * count, (1,) * count, frozenset((v, v + 1) for v in range(count - 1)))


def random_graph(seed: int) -> RecomputationGraph:
    pick = random.Random(seed)
    count = pick.randint(3, 7)
    edges = {(v, w) for w in range(1, count) for v in range(w) if pick.random() < 0.35}
    edges |= {(pick.randrange(w), w) for w in range(1, count)}  # every node but the first reads something
    return RecomputationGraph(
        tuple(pick.randint(1, 9) for _ in range(count)),
        tuple(pick.randint(1, 9) for _ in range(count)),
        frozenset(edges),
    )


def sequences(sets: list[int], everything: int, last: int = 0) -> Iterator[tuple[int, ...]]:
    """Every increasing sequence of lower sets that ends with everything."""
    for lower in sets:
        if lower != last and not last & ~lower:
            if lower == everything:
                yield (lower,)
            else:
                for rest in sequences(sets, everything, lower):
                    yield (lower, *rest)


def test_lower_sets_of_a_diamond():
    graph = RecomputationGraph((1,) * 4, (1,) * 4, frozenset({(0, 1), (0, 2), (1, 3), (2, 3)}))
    assert graph.lower_sets() == [0b0, 0b1, 0b11, 0b101, 0b111, 0b1111]
    assert graph.pruned_lower_sets() == [0b0, 0b1, 0b11, 0b101, 0b1111]
    assert graph.boundary(0b11) == 0b11
    assert list(members(0b1010)) == [1, 3]


def test_chains_have_one_lower_set_per_length():
    graph = chain(9)
    assert graph.lower_sets() == graph.pruned_lower_sets() == [(1 << n) - 1 for n in range(10)]


def overhead(graph: RecomputationGraph, lower_sets: list[int]) -> int:
    """Time computed twice: of all that is in a step and not on its boundary (their equation 1)."""
    total, previous = 0, 0
    for lower in lower_sets:
        total += graph.time_of(lower & ~previous & ~graph.boundary(lower))
        previous = lower
    return total


@pytest.mark.parametrize("seed", range(12))
def test_exact_plan_is_the_best_of_all_sequences(seed):
    graph = random_graph(seed)
    every = list(sequences(graph.lower_sets(), graph.everything))
    costs = [(surrogate_peak(graph, s), overhead(graph, s)) for s in every]
    least = min(peak for peak, _ in costs)
    assert smallest_budget(graph) == least
    assert plan_within(graph, least - 1) is None
    for budget in sorted({peak for peak, _ in costs})[::3]:
        possible = [time for peak, time in costs if peak <= budget]
        fast = plan_within(graph, budget)
        lean = plan_within(graph, budget, memory_centric=True)
        assert fast.overhead == min(possible)
        assert lean.overhead >= fast.overhead
        for plan in (fast, lean):
            assert surrogate_peak(graph, plan.lower_sets) <= budget
            assert overhead(graph, plan.lower_sets) == plan.overhead
            assert graph.bytes_of(plan.cached(graph)) == plan.kept_bytes


@pytest.mark.parametrize("seed", range(12))
def test_approximate_plan_is_a_valid_one(seed):
    graph = random_graph(seed)
    family = graph.pruned_lower_sets()
    budget = smallest_budget(graph, family)
    assert budget >= smallest_budget(graph)
    plan = plan_within(graph, budget, family=family)
    assert surrogate_peak(graph, plan.lower_sets) <= budget
    assert set(plan.lower_sets) <= set(family)


def test_memory_of_a_chain_grows_like_its_root():
    """Chen et al. 2016: segments of about the square root of the length."""
    small, large = smallest_budget(chain(16)), smallest_budget(chain(64))
    assert large < 3 * small < 64
    everything = surrogate_peak(chain(64), [chain(64).everything])
    assert everything == 2 * 64


def test_too_many_lower_sets_are_refused():
    wide = RecomputationGraph((1,) * 20, (1,) * 20, frozenset((0, w) for w in range(1, 20)))
    with pytest.raises(UserError, match="approximate"):
        wide.lower_sets(most=1000)
