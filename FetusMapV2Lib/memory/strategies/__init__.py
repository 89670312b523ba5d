"""The memory strategies, one file each, in the order in which the planner combines them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.strategies.base import Space, Strategy
from FetusMapV2Lib.memory.strategies.channel_chunks import ChannelChunks
from FetusMapV2Lib.memory.strategies.checkpoint import Checkpoint
from FetusMapV2Lib.memory.strategies.fused_head import FusedHead
from FetusMapV2Lib.memory.strategies.host_offload import HostOffload
from FetusMapV2Lib.memory.strategies.in_place import InPlace
from FetusMapV2Lib.memory.strategies.no_concat import NoConcat
from FetusMapV2Lib.memory.strategies.recompute_norm import RecomputeNorm
from FetusMapV2Lib.memory.strategies.reduced_storage import ReducedStorage
from FetusMapV2Lib.memory.strategies.reversible_blocks import ReversibleBlocks
from FetusMapV2Lib.memory.strategies.row_slabs import RowSlabs
from FetusMapV2Lib.memory.strategies.slab_streaming import SlabStreaming

__all__ = ["EXACT", "ON_DEVICE", "STRATEGIES", "Space", "Strategy", "check_strategies", "named"]

#: Every strategy by name. What a later one spreads builds on the patterns of those before it.
STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        InPlace(),
        NoConcat(),
        FusedHead(),
        RecomputeNorm(),
        Checkpoint(),
        ChannelChunks(),
        RowSlabs(),
        HostOffload(),
        ReducedStorage(),
        SlabStreaming(),
        ReversibleBlocks(),
    )
}

#: Strategies whose gradients equal the unmanaged network's up to rounding, without touching the network.
EXACT: frozenset[str] = frozenset(name for name, one in STRATEGIES.items() if one.exact and not one.changes_network)

#: Those of them that are tried first: they need no host memory.
ON_DEVICE: frozenset[str] = frozenset(name for name in EXACT if STRATEGIES[name].on_device)


def named(names: Collection[str]) -> tuple[Strategy, ...]:
    """The strategies of some names, in order."""
    return tuple(strategy for name, strategy in STRATEGIES.items() if name in names)


def check_strategies(names: Iterable[str]) -> None:
    """Refuse unknown strategies.

    Raises:
        UserError: a name that is not in `STRATEGIES`.
    """
    unknown = sorted(set(names) - set(STRATEGIES))
    if unknown:
        raise UserError(f"unknown strategy {unknown[0]!r}", remedy=f"Known: {', '.join(STRATEGIES)}")
