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
_FIRST_ROWS = 16
#: Full-resolution tensors that are written to host memory instead of being recomputed.
_TO_HOST = ("z", "dy")


class SlabStreaming(Strategy):
    """Slabs of the top level."""

    name = "slab-streaming"
    summary = "stream the top level slab by slab, batch statistics in two passes"
    on_device = False

    def spread(self, patterns: list[Choices], space: Space) -> list[Choices]:
        """The same ways for the levels below a streamed top level."""
        if not _can_stream(space):
            return patterns
        stores: list[tuple[str, ...]] = [()]
        if any(strategy.name == "host-offload" for strategy in space.allowed):
            stores.append(_TO_HOST)
        on_device = [
            pattern
            for pattern in patterns
            if not pattern.by_rows and not any(choice.host for choice in pattern.units.values())
        ]
        return [
            *patterns,
            *(
                replace(pattern, slab_rows=_FIRST_ROWS, streamed_to_host=store)
                for pattern in on_device
                for store in stores
            ),
        ]

    def moves(self, choices: Choices, space: Space) -> Iterator[Choices]:
        """Other heights of a slab."""
        for rows in _ROWS:
            if choices.slab_rows and rows != choices.slab_rows:
                yield replace(choices, slab_rows=rows)


def _can_stream(space: Space) -> bool:
    try:
        split_top(space.graph)
    except UserError:
        return False
    return space.cost_model.input_size[0] % 2 == 0 and space.cost_model.autocast is None
