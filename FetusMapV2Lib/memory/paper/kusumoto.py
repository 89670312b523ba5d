"""Step 1 of the paper: where to keep activations, by dynamic programming over lower sets (Kusumoto et al. 2019).

*A Graph Theoretic Framework of Recomputation Algorithms for Memory-Efficient Backpropagation*, NeurIPS 2019. Sets of
nodes are integers with one bit per node. The memory that is bounded is the published surrogate, not a simulated peak.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from FetusMapV2Lib.core.errors import UserError

_MOST_LOWER_SETS = 20_000


@dataclass(frozen=True)
class RecomputationGraph:
    """A computation graph: node v makes a value of `memory[v]` bytes in `time[v]`.

    Attributes:
        memory: per node, bytes.
        time: per node, any unit.
        edges: (from, to) with from < to: nodes are numbered in topological order.
    """

    memory: tuple[int, ...]
    time: tuple[int, ...]
    edges: frozenset[tuple[int, int]]

    @property
    def count(self) -> int:
        """Nodes."""
        return len(self.memory)

    @property
    def everything(self) -> int:
        """The set of all nodes."""
        return (1 << self.count) - 1

    @cached_property
    def after(self) -> tuple[int, ...]:
        """Per node, the set of nodes that read it."""
        return tuple(sum(1 << w for v, w in self.edges if v == node) for node in range(self.count))

    @cached_property
    def before(self) -> tuple[int, ...]:
        """Per node, the set of nodes that it reads."""
        return tuple(sum(1 << v for v, w in self.edges if w == node) for node in range(self.count))

    def bytes_of(self, nodes: int) -> int:
        """Memory of a set."""
        return sum(self.memory[node] for node in members(nodes))

    def time_of(self, nodes: int) -> int:
        """Time of a set."""
        return sum(self.time[node] for node in members(nodes))

    def readers(self, nodes: int) -> int:
        """All nodes that read one of a set (delta+)."""
        return _union(self.after[node] for node in members(nodes))

    def read(self, nodes: int) -> int:
        """All nodes that one of a set reads (delta-)."""
        return _union(self.before[node] for node in members(nodes))

    def boundary(self, lower: int) -> int:
        """Nodes of a lower set that something outside reads."""
        return sum(1 << node for node in members(lower) if self.after[node] & ~lower)

    def is_valid(self, nodes: int) -> bool:
        """Whether nothing outside reads any but the last of some nodes."""
        inner = nodes & ~(1 << nodes.bit_length() - 1) if nodes else 0
        return not self.readers(inner) & ~nodes

    def lower_sets(self, most: int = _MOST_LOWER_SETS) -> list[int]:
        """Every set that holds, with a node, all that the node reads; smallest first.

        Raises:
            UserError: there are more than `most`; use `pruned_lower_sets`.
        """
        found, fresh = {0}, [0]
        while fresh:
            grown = set()
            for lower in fresh:
                for node in range(self.count):
                    if not lower >> node & 1 and not self.before[node] & ~lower:
                        grown.add(lower | 1 << node)
            fresh = [lower for lower in grown if lower not in found]
            found.update(fresh)
            if len(found) > most:
                raise UserError(f"the graph has more than {most} lower sets", remedy="Use the approximate planner")
        return sorted(found, key=lambda lower: (lower.bit_count(), lower))

    def pruned_lower_sets(self) -> list[int]:
        """The family of the approximate algorithm: for each node, all that leads to it; and nothing, and everything."""
        above: list[int] = []
        for node in range(self.count):
            above.append(1 << node | _union(above[v] for v in members(self.before[node])))
        return sorted({0, self.everything, *above}, key=lambda lower: (lower.bit_count(), lower))


@dataclass(frozen=True)
class Strategy:
    """An increasing sequence of lower sets; after each, only its boundary is kept.

    Attributes:
        lower_sets: the last one is everything.
        overhead: time computed twice.
        kept_bytes: cached at the end of the forward pass.
    """

    lower_sets: tuple[int, ...]
    overhead: int
    kept_bytes: int

    def cached(self, graph: RecomputationGraph) -> int:
        """All nodes whose values are kept."""
        return _union(graph.boundary(lower) for lower in self.lower_sets)


def surrogate_peak(graph: RecomputationGraph, lower_sets: Sequence[int]) -> int:
    """The published bound of the peak (their equation 2).

    M = max over i of M(U_(i-1)) + 2 M(V_i) + M(delta+(L_i) - L_i) + M(delta-(delta+(L_i)) - L_i), with V_i = L_i -
    L_(i-1) and U_i the union of the boundaries up to i.
    """
    peak, cached, previous = 0, 0, 0
    for lower in lower_sets:
        peak = max(peak, graph.bytes_of(cached) + _transient(graph, previous, lower))
        cached |= graph.boundary(lower)
        previous = lower
    return peak


def plan_within(
    graph: RecomputationGraph,
    budget: int,
    *,
    family: Sequence[int] | None = None,
    memory_centric: bool = False,
    valid_only: bool = False,
) -> Strategy | None:
    """The strategy of least overhead whose surrogate peak fits a budget; None if there is none.

    Args:
        graph: the computation.
        budget: bytes.
        family: lower sets to choose from: all (exact, the default) or `pruned_lower_sets` (approximate).
        memory_centric: the greatest overhead instead of the least, which leaves more room to liveness analysis.
        valid_only: steps from one lower set to the next that keep one value each, as FetusMapV2's section 3.1 wants.
    """
    sets = list(graph.lower_sets() if family is None else family)
    # per lower set: overhead so far -> (bytes cached, lower set before, overhead before)
    best: dict[int, dict[int, tuple[int, int, int]]] = {lower: {} for lower in sets}
    best[0][0] = (0, 0, 0)
    for position, lower in enumerate(sets):
        known = best[lower]
        if not known:
            continue
        for following in sets[position + 1 :]:
            if lower & ~following or (valid_only and not graph.is_valid(following & ~lower)):
                continue
            boundary = graph.boundary(following)
            room = budget - _transient(graph, lower, following)
            added = graph.bytes_of(boundary & ~lower)
            again = graph.time_of(following & ~lower & ~boundary)
            reached = best[following]
            for time, (cached, _, _) in known.items():
                if cached > room:
                    continue
                held = reached.get(time + again)
                if held is None or cached + added < held[0]:
                    reached[time + again] = (cached + added, lower, time)
    final = best[graph.everything]
    if not final:
        return None
    time = max(final) if memory_centric else min(final)
    chosen, lower, total = [], graph.everything, time
    kept = final[time][0]
    while lower:
        chosen.append(lower)
        _, lower, time = best[lower][time]
    return Strategy(tuple(reversed(chosen)), total, kept)


def smallest_budget(
    graph: RecomputationGraph,
    family: Sequence[int] | None = None,
    *,
    valid_only: bool = False,
    tolerance: float = 0.0,
) -> int:
    """The least surrogate peak of any strategy, by bisection; within a relative tolerance above. See `plan_within`."""
    sets = list(graph.lower_sets() if family is None else family)
    low, high = 0, surrogate_peak(graph, [graph.everything])
    while high - low > tolerance * low:
        middle = (low + high) // 2
        if plan_within(graph, middle, family=sets, valid_only=valid_only) is None:
            low = middle + 1
        else:
            high = middle
    return high


def members(nodes: int) -> Iterable[int]:
    """The nodes of a set, ascending."""
    while nodes:
        lowest = nodes & -nodes
        yield lowest.bit_length() - 1
        nodes ^= lowest


def _union(sets: Iterable[int]) -> int:
    result = 0
    for nodes in sets:
        result |= nodes
    return result


def _transient(graph: RecomputationGraph, lower: int, following: int) -> int:
    """Bytes beside the cache while the step from one lower set to the next runs backward."""
    readers = graph.readers(following)
    return (
        2 * graph.bytes_of(following & ~lower)
        + graph.bytes_of(readers & ~following)
        + graph.bytes_of(graph.read(readers) & ~following)
    )
