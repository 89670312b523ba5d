"""The full-resolution level of an encoder-decoder network, and the levels below as a network of their own."""

from __future__ import annotations

from dataclasses import dataclass

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.rows import keeps_size
from FetusMapV2Lib.memory.unit_builder import build_units
from FetusMapV2Lib.memory.units import ConvUnit, InputUnit, OpaqueUnit, PoolUnit, Unit, UnitGraph


@dataclass(eq=False)
class Top:
    """The parts of a network that streaming tells apart.

    Attributes:
        graph: the whole network.
        convs: full-resolution convolutions in order, the head last.
        beside: what else there is at full resolution, such as coordinates; made from the input without weights.
        pool: reads the full-resolution level for the levels below.
        inner: the levels below as a graph of their own, from the pooled tensor to what is read upsampled.
    """

    graph: UnitGraph
    convs: list[ConvUnit]
    beside: list[OpaqueUnit]
    pool: PoolUnit
    inner: UnitGraph

    @property
    def head(self) -> ConvUnit:
        """Makes the heatmaps."""
        return self.convs[-1]


def split_top(graph: UnitGraph) -> Top:
    """Find the full-resolution level of an encoder-decoder network.

    Raises:
        UserError: the network is built otherwise.
    """
    top = [unit for unit in graph.units if _is_full(unit)]
    convs = [unit for unit in top if isinstance(unit, ConvUnit)]
    pools = [unit for unit in graph.units if isinstance(unit, PoolUnit) and _is_full(unit.sources[0].unit)]
    below = {s.unit for unit in convs for s in unit.sources if s.upsample is not None}
    whole = all(isinstance(u, ConvUnit) or not u.needs_gradient for u in top)
    if len(pools) != 1 or len(below) != 1 or not whole or graph.head is None or not all(map(_streamable, convs)):
        raise UserError("slab streaming does not fit this network", remedy="Plan without slab-streaming")
    beside = [unit for unit in top if isinstance(unit, OpaqueUnit)]
    return Top(graph, convs, beside, pools[0], _inner_graph(graph, pools[0], next(iter(below))))


def _is_full(unit: Unit) -> bool:
    """Whether a unit's value has the input's resolution."""
    if isinstance(unit, InputUnit):
        return True
    if isinstance(unit, PoolUnit) or (isinstance(unit, OpaqueUnit) and unit.needs_gradient):
        return False
    if isinstance(unit, ConvUnit) and any(s.upsample is not None for s in unit.sources):
        return any(s.upsample is None and _is_full(s.unit) for s in unit.sources)
    return all(_is_full(source.unit) for source in unit.sources)


def _streamable(unit: ConvUnit) -> bool:
    return keeps_size(unit.conv) and not unit.per_sample


def _inner_graph(graph: UnitGraph, pool: PoolUnit, output: Unit) -> UnitGraph:
    """The levels below as units of their own (new ones: the whole graph is not changed)."""
    twin = build_units(graph.module)
    by_name = {unit.name: unit for unit in twin.units}
    start, end = by_name[pool.name], by_name[output.name]
    entry = InputUnit("pooled")
    full = {unit for unit in twin.units if _is_full(unit)}
    units = [unit for unit in twin.units if unit not in full and unit is not start]
    entry.readers = start.readers
    for unit in units:
        for source in unit.sources:
            if source.unit is start:
                source.unit = entry
    end.readers = [(reader, source) for reader, source in end.readers if reader in units]
    return UnitGraph(graph.module, entry, units, end, [])
