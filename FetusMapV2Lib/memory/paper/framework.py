"""The paper's memory management (section 3.1): partition by Kusumoto, find reversible passes, convert where it pays.

Techniques are named as in its execution function: 1 nothing, 2 gradient checkpointing, 3 a reversible block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.cost_model import Size, step_without_data
from FetusMapV2Lib.memory.meter import Measured, on_meta
from FetusMapV2Lib.memory.paper.conversion import convert, find_passes, passes_of
from FetusMapV2Lib.memory.paper.graph import Graph, follow, trace
from FetusMapV2Lib.memory.paper.kusumoto import RecomputationGraph, members, plan_within, smallest_budget
from FetusMapV2Lib.memory.paper.reversible import ReversibleBlock
from FetusMapV2Lib.memory.paper.segments import SegmentedNetwork, channels_of
from FetusMapV2Lib.memory.plan import (
    BudgetError,
    ExecutorKind,
    MemoryPlan,
    Prediction,
    Segment,
    SegmentPlan,
    Technique,
    shown_bytes,
)


@dataclass(frozen=True)
class Framework:
    """What the three steps arrive at.

    Attributes:
        segments: the partition G_S with its execution function f.
        reversible: paths of the passes to convert (`conversion.convert`), in the order of execution.
        checkpointed: M(G_S, f) after step 1.
        measured: M(G'_S, f') after step 3; the same where nothing was converted.
    """

    segments: tuple[Segment, ...]
    reversible: tuple[str, ...]
    checkpointed: Measured
    measured: Measured


#: Budgets of step 1, relative to the least that the published estimate knows. The leanest partition leaves steps 2
#: and 3 nothing to gain; from a looser one they arrive at a lower peak.
_BUDGETS = (1.0, 1.4, 1.8, 2.2)

#: Of reversible blocks: two couplings of one half-width Conv-BN-ReLU in F and in G have the weights of the pass.
COUPLINGS, DEPTH = 2, 1

#: The schemes of the paper's Table 4.
SCHEMES = ("gcp", "rev", "gcp+rev")


def paper_framework(
    network: nn.Module,
    input_size: Size,
    *,
    batch: int = 1,
    checkpoint: bool = True,
    reversible: bool = True,
    couplings: int = COUPLINGS,
    depth: int = DEPTH,
) -> Framework:
    """The three steps of section 3.1 for a network that takes one tensor.

    M is the peak of live tensors over a training step without data (`cost_model.step_without_data`), not an estimate.
    The paper does not say which budget Kusumoto's algorithm is given: some are tried, and the least M is taken.
    Reversible blocks that the network has already stay, with technique 3.

    Args:
        network: not changed.
        input_size: (k, j, i).
        batch: volumes at once.
        checkpoint: step 1; without it every segment is one node with technique 1.
        reversible: steps 2 and 3.
        couplings: per reversible block, see `reversible.ReversibleBlock.like`.
        depth: Conv-BN-ReLU in each branch of a coupling.

    Raises:
        UserError: the network cannot be traced.
    """
    search = _Search(on_meta(network), input_size, batch)
    partitions = [search.checkpointed(budget) for budget in _BUDGETS] if checkpoint else [search.apart()]
    distinct = {tuple(segments): None for segments in partitions}
    found = [
        search.converted(segments, couplings, depth) if reversible else search.unconverted(segments)
        for segments in distinct
    ]
    return min(found, key=lambda framework: framework.measured.peak_bytes)


def plan_framework(
    network: nn.Module, input_size: Size, scheme: str, *, batch: int = 1, budget_bytes: int | None = None
) -> MemoryPlan:
    """A scheme of the paper as a plan for a training step.

    Args:
        network: with "gcp+rev" and "rev" it may be plain; the plan's prediction is then that of the network with the
            passes of `MemoryPlan.reversible` converted, and only that network can run it.
        input_size: (k, j, i).
        scheme: one of `SCHEMES`.
        batch: volumes at once.
        budget_bytes: refused where the scheme takes more.

    Raises:
        BudgetError: the scheme takes more than the budget.
        UserError: an unknown scheme, or a network that cannot be traced.
    """
    if scheme not in SCHEMES:
        raise UserError(f"unknown memory scheme {scheme!r}", remedy=f"Known: {', '.join(SCHEMES)}")
    found = paper_framework(network, input_size, batch=batch, checkpoint="gcp" in scheme, reversible="rev" in scheme)
    search = _Search(on_meta(network), input_size, batch)
    vanilla = step_without_data(search.twin, search.shape, timeline=True)
    if budget_bytes is not None and found.measured.peak_bytes > budget_bytes:
        size, needed = "x".join(map(str, input_size)), shown_bytes(found.measured.peak_bytes)
        raise BudgetError(
            f"{scheme} at {size} does not fit {shown_bytes(budget_bytes)}: it takes {needed}",
            found.measured.peak_bytes,
            remedy="Plan without a scheme, give more memory or a smaller input size",
        )
    timed = search.measure(
        convert(search.twin, found.reversible, couplings=COUPLINGS, depth=DEPTH), found.segments, timeline=True
    )
    prediction = Prediction(
        peak_bytes=timed.peak_bytes,
        vanilla_peak_bytes=vanilla.peak_bytes,
        flops=timed.flops,
        vanilla_flops=vanilla.flops,
        timeline=timed.timeline,
        vanilla_timeline=vanilla.timeline,
    )
    return MemoryPlan(
        input_size,
        batch,
        "training",
        ExecutorKind.SEGMENTS,
        tuple(search.line(segment) for segment in found.segments),
        prediction,
        partition=found.segments,
        reversible=found.reversible,
    )


class _Search:
    """A network's graph with whole passes, and the peak of any partition of it."""

    def __init__(self, twin: nn.Module, input_size: Size, batch: int) -> None:
        self.twin, self.input_size, self.batch = twin, input_size, batch
        self.channels = channels_of(twin)
        self.whole = passes_of(twin)
        self.graph = trace(twin, self.channels, whole=self.whole)
        self.nodes = [node for node in self.graph.nodes if node.op not in ("placeholder", "get_attr")]
        self.node_of = {str(node.target): node.name for node in self.nodes if node.op == "call_module"}
        names = {node.name for node in self.nodes}
        self.links = [(source, node.name) for node in self.nodes for source in node.inputs if source in names]
        self.fixed = {node.name for node in self.nodes if isinstance(node.module, ReversibleBlock)}

    def apart(self) -> list[Segment]:
        """Every node by itself, as it is."""
        return [Segment((node.name,), self._technique(node.name, Technique.PLAIN)) for node in self.nodes]

    def checkpointed(self, looser: float = 1.0) -> list[Segment]:
        """Step 1: the valid partition of least overhead within a budget, given relative to the least there is.

        The last segment is left as it is: its activations are the first that the backward pass needs.
        """
        graph = self.recomputation_graph
        family = graph.pruned_lower_sets()
        budget = int(looser * smallest_budget(graph, family, valid_only=True, tolerance=0.005))
        strategy = plan_within(graph, budget, family=family, valid_only=True)
        assert strategy is not None
        segments: list[Segment] = []
        previous = 0
        for lower in strategy.lower_sets:
            names = [self.nodes[place].name for place in members(lower & ~previous)]
            last = lower == graph.everything
            segments += self._split(names, Technique.PLAIN if last else Technique.CHECKPOINT)
            previous = lower
        return segments

    @cached_property
    def recomputation_graph(self) -> RecomputationGraph:
        """Memory and time (in thousandths of the network's: the dynamic programme counts sums of them) per node."""
        costs = self.graph.at(self.input_size, self.batch).costs
        number = {node.name: place for place, node in enumerate(self.nodes)}
        whole = sum(costs[node.name].flops for node in self.nodes)
        return RecomputationGraph(
            tuple(costs[node.name].bytes + costs[node.name].private_bytes for node in self.nodes),
            tuple(round(1000 * costs[node.name].flops / whole) for node in self.nodes),
            frozenset((number[source], number[target]) for source, target in self.links),
        )

    def unconverted(self, segments: Sequence[Segment]) -> Framework:
        """What step 1 alone arrives at."""
        measured = self.measure(self.twin, segments)
        return Framework(tuple(segments), (), measured, measured)

    def converted(self, segments: Sequence[Segment], couplings: int, depth: int) -> Framework:
        """Steps 2 and 3: each pass becomes reversible where the rest of its segment stays valid and M falls."""
        best = first = self.measure(self.twin, segments)
        paths: list[str] = []
        for path in find_passes(self.twin):
            candidate = _with_reversible(self.graph, segments, self.node_of[path], self.links)
            if candidate is None:
                continue
            changed = convert(self.twin, [*paths, path], couplings=couplings, depth=depth)
            measured = self.measure(changed, candidate)
            if measured.peak_bytes < best.peak_bytes:
                segments, best = candidate, measured
                paths.append(path)
        return Framework(tuple(segments), tuple(paths), first, best)

    def _split(self, names: Sequence[str], technique: Technique) -> list[Segment]:
        """One segment, but for reversible blocks, which stand alone."""
        result: list[Segment] = []
        rest: list[str] = []
        for name in names:
            if name in self.fixed:
                result += [Segment(tuple(rest), technique)] if rest else []
                result.append(Segment((name,), Technique.REVERSIBLE))
                rest = []
            else:
                rest.append(name)
        return [*result, *([Segment(tuple(rest), technique)] if rest else [])]

    def _technique(self, name: str, otherwise: Technique) -> Technique:
        return Technique.REVERSIBLE if name in self.fixed else otherwise

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the input."""
        return (self.batch, self.channels, *self.input_size)

    def measure(self, network: nn.Module, segments: Sequence[Segment], timeline: bool = False) -> Measured:
        """M(G_S, f): the peak of a training step."""
        graph = follow(network, self.channels, whole=self.whole)
        return step_without_data(SegmentedNetwork(graph, segments), self.shape, timeline)

    def _shown(self, name: str) -> str:
        """A module's path, or the node's own name."""
        return next((path for path, node in self.node_of.items() if node == name), name)

    def line(self, segment: Segment) -> SegmentPlan:
        """A segment in the table of a plan."""
        sized = self.graph.at(self.input_size, self.batch)
        last = segment.nodes[-1]
        ends = [self._shown(node) for node in dict.fromkeys((segment.nodes[0], last))]
        name = " ... ".join(ends)
        if segment.technique is Technique.PLAIN:
            return SegmentPlan(name, segment.technique.words, 0, 0)
        flops = sum(sized.costs[node].flops for node in segment.nodes)
        inner = sized.kept_bytes(segment.nodes) - sized.costs[last].bytes
        if segment.technique is Technique.REVERSIBLE:
            flops //= 2  # four kernels of half the width are half the operations of the pass
        return SegmentPlan(name, segment.technique.words, max(0, inner), flops)


def is_valid(nodes: Sequence[str], links: Sequence[tuple[str, str]]) -> bool:
    """Whether no edge leaves a subgraph but from its last node (the paper's validity)."""
    own = set(nodes)
    return all(target in own for source, target in links if source in own and source != nodes[-1])


def _with_reversible(
    graph: Graph, segments: Sequence[Segment], node: str, links: Sequence[tuple[str, str]]
) -> list[Segment] | None:
    """G'_S: the pass by itself with technique 3, and what is left of its segment; None if that is not valid."""
    order = {known.name: place for place, known in enumerate(graph.nodes)}
    result: list[Segment] = []
    for segment in segments:
        if node not in segment.nodes:
            result.append(segment)
            continue
        rest = segment.without(node)
        if rest.nodes and not is_valid(rest.nodes, links):
            return None
        alone = Segment((node,), Technique.REVERSIBLE)
        both = [alone] if not rest.nodes else [rest, alone] if order[rest.nodes[0]] < order[node] else [alone, rest]
        result += both
    return result
