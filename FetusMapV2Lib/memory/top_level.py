"""The full-resolution level of an encoder-decoder network, and the levels below as a network of their own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.rows import keeps_size
from FetusMapV2Lib.memory.unit_builder import build_units
from FetusMapV2Lib.memory.unit_graph import UnitGraph
from FetusMapV2Lib.memory.unit_kinds import ConvUnit, InputUnit, OpaqueUnit, PoolUnit
from FetusMapV2Lib.memory.units import Unit


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

    @cached_property
    def convolution(self) -> dict[Unit, ConvUnit]:
        """The full-resolution convolutions, by themselves."""
        return {unit: unit for unit in self.convs}

    @property
    def head(self) -> ConvUnit:
        """Makes the heatmaps."""
        return self.convs[-1]


def split_top(graph: UnitGraph) -> Top:
    """Find the full-resolution level of an encoder-decoder network.

    Raises:
        UserError: the network is built otherwise.
    """
    convs = [unit for unit in graph.convolutions if unit.at_full_size]
    beside = [unit for unit in graph.of_kind(OpaqueUnit) if unit.at_full_size]
    pools = [unit for unit in graph.of_kind(PoolUnit) if unit.sources[0].unit.at_full_size]
    below = {s.unit for unit in convs for s in unit.sources if s.upsample is not None}
    if len(pools) != 1 or len(below) != 1 or graph.head is None or not all(map(_streamable, convs)):
        raise UserError("slab streaming does not fit this network", remedy="Plan without slab-streaming")
    return Top(graph, convs, beside, pools[0], _inner_graph(graph, pools[0], next(iter(below))))


def _streamable(unit: ConvUnit) -> bool:
    return keeps_size(unit.conv) and not unit.per_sample


def _inner_graph(graph: UnitGraph, pool: PoolUnit, output: Unit) -> UnitGraph:
    """The levels below as units of their own (new ones: the whole graph is not changed)."""
    twin = build_units(graph.module)
    by_name = {unit.name: unit for unit in twin.units}
    start, end = by_name[pool.name], by_name[output.name]
    entry = InputUnit("pooled", count=pool.channels)
    units = [unit for unit in twin.units if not unit.at_full_size and unit is not start]
    entry.readers = start.readers
    for unit in units:
        for source in unit.sources:
            if source.unit is start:
                source.unit = entry
    end.readers = [(reader, source) for reader, source in end.readers if reader in units]
    return UnitGraph(graph.module, entry, units, end, [])
