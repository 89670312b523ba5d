"""Kusumoto's strategies for a real network: its units as a computation graph, and a strategy as choices."""

from __future__ import annotations

from FetusMapV2Lib.memory.cost_model import CostModel
from FetusMapV2Lib.memory.paper.kusumoto import RecomputationGraph, members, plan_within, smallest_budget
from FetusMapV2Lib.memory.plan import Choices, Storage, UnitChoice
from FetusMapV2Lib.memory.units import Unit


def computation_graph(cost_model: CostModel) -> tuple[RecomputationGraph, list[Unit]]:
    """The trained part of a network as a graph: bytes of each unit's tensors, operations of its convolution.

    Returns:
        The graph, and the unit behind each node.
    """
    shapes = cost_model.shapes()
    units = [unit for unit in cost_model.graph.units if unit.needs_gradient]
    number = {unit: node for node, unit in enumerate(units)}
    edges = {(number[source.unit], number[unit]) for unit in units for source in unit.sources if source.unit in number}
    memory, time = [], []
    for unit in units:
        batch, channels, *space = shapes[unit.name]
        voxels = batch * space[0] * space[1] * space[2]
        normed = unit.norm is not None
        memory.append(4 * voxels * channels * (2 if normed else 1))
        time.append(unit.flops(shapes[unit.name]) or voxels * channels)
    return RecomputationGraph(tuple(memory), tuple(time), frozenset(edges)), units


def kusumoto_choices(cost_model: CostModel, *, memory_centric: bool = False) -> Choices:
    """The published method at its least budget: boundaries are kept, everything else is recomputed.

    No other strategy is mixed in: nothing in place, concatenations built, head and loss apart.
    """
    graph, units = computation_graph(cost_model)
    family = graph.pruned_lower_sets()
    strategy = plan_within(graph, smallest_budget(graph, family), family=family, memory_centric=memory_centric)
    assert strategy is not None
    kept = set(members(strategy.cached(graph)))
    choices = {
        unit.name: UnitChoice(_whole(unit) if node in kept else Storage.RECOMPUTED) for node, unit in enumerate(units)
    }
    choices[units[-1].name] = UnitChoice(Storage.KEPT)
    return Choices(units=choices, in_place=False, split_concat=False, fused_head=False)


def _whole(unit: Unit) -> Storage:
    return Storage.BOTH if unit.norm is not None else Storage.KEPT
