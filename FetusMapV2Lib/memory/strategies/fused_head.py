"""Head and loss meet the grid in slabs of rows: no heatmap and no target is ever stored.

Saves the heatmaps, their probabilities and their gradient; costs the 1x1x1 head four times instead of once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from FetusMapV2Lib.memory.plan import Choices
from FetusMapV2Lib.memory.strategies.base import Space, Strategy

_ROWS = (4, 8, 16, 32)


class FusedHead(Strategy):
    """Head and loss as one operation."""

    name = "fused-head"
    summary = "head and loss as one operation over slabs; no heatmap is ever stored"

    def spread(self, patterns: list[Choices], space: Space) -> list[Choices]:
        """Where the network ends in a 1x1x1 convolution."""
        fused = space.graph.head is not None
        return [replace(pattern, fused_head=fused) for pattern in patterns]

    def moves(self, choices: Choices, space: Space) -> Iterator[Choices]:
        """Other heights of a slab."""
        for rows in _ROWS:
            if choices.fused_head and rows != choices.head_rows:
                yield replace(choices, head_rows=rows)
