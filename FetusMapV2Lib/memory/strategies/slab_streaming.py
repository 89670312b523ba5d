"""The full-resolution level passes in slabs with halos, its batch statistics in two passes; the rest runs unchanged.

Saves nearly all of that level; costs transfers where it writes to host memory, else about three times the operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.plan import Choices
from FetusMapV2Lib.memory.strategies.base import Space, Strategy
from FetusMapV2Lib.memory.top_level import split_top

_ROWS = (4, 8, 16, 32)
_FIRST_ROWS = (16, 8)
#: Full-resolution tensors that are written to host memory instead of being recomputed.
_TO_HOST = ("z", "dy")


class SlabStreaming(Strategy):
    """Slabs of the top level."""

    name = "slab-streaming"
    summary = "stream the top level slab by slab, batch statistics in two passes"
    on_device = False

    def spread(self, patterns: list[Choices], space: Space) -> list[Choices]:
        """The same ways for the levels below a streamed top level."""
        alone = [pattern for pattern in patterns if not pattern.sliced or not space.cost_model.machine.by_rows]
        if not _can_stream(space):
            return alone
        stores: list[tuple[str, ...]] = [()]
        if _has_host(space):
            stores.append(_TO_HOST)
        on_device = [
            pattern
            for pattern in patterns
            if not pattern.by_rows and not any(choice.host for choice in pattern.units.values())
        ]
        return [
            *alone,
            *(
                replace(pattern, slab_rows=rows, streamed_to_host=store)
                for pattern in on_device
                for store in stores
                for rows in _FIRST_ROWS
            ),
        ]

    def moves(self, choices: Choices, space: Space) -> Iterator[Choices]:
        """Other heights of a slab; one tensor more in host memory, or one less."""
        if not choices.slab_rows:
            return
        for rows in _ROWS:
            if rows != choices.slab_rows:
                yield replace(choices, slab_rows=rows)
        if _has_host(space):
            each = [f"{kind} {unit.name}" for kind in _TO_HOST for unit in split_top(space.graph).convs[:-1]]
            now = {name for name in each if choices.streams_to_host(*name.split(" ", 1))}
            for name in each:
                yield replace(choices, streamed_to_host=tuple(sorted(now ^ {name})))


def _has_host(space: Space) -> bool:
    return any(strategy.name == "host-offload" for strategy in space.allowed)


def _can_stream(space: Space) -> bool:
    try:
        split_top(space.graph)
    except UserError:
        return False
    return space.cost_model.input_size[0] % 2 == 0 and space.cost_model.autocast is None
