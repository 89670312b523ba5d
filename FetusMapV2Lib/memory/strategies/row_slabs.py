"""Work on a slab of rows at a time, with all channels, so that temporary tensors are small; for GPUs.

Saves most of what a unit needs while it runs; costs halos, which are read twice, and more operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from FetusMapV2Lib.memory.plan import Choices
from FetusMapV2Lib.memory.strategies.base import Space, Strategy

#: Heights of slabs on the finest level that a search starts from; 0 = whole.
_HEIGHTS = (0, 32, 16, 8)
_LEAST = 4
_LEVELS = 2  # that are cut at first; tensors of coarser ones are small


class RowSlabs(Strategy):
    """Slabs of rows."""

    name = "row-slabs"
    summary = "work on a slab of rows at a time, with all channels, top levels first"

    def spread(self, patterns: list[Choices], space: Space) -> list[Choices]:
        """Some heights on the finest levels."""
        if not space.cost_model.machine.by_rows:
            return patterns
        return [
            _with_heights(pattern, height, space)
            for pattern in patterns
            for height in (_HEIGHTS[:1] if pattern.sliced else _HEIGHTS)
        ]

    def moves(self, choices: Choices, space: Space) -> Iterator[Choices]:
        """Slabs twice or half as high on one level, none at all, or the first ones."""
        if not space.cost_model.machine.by_rows or choices.slab_rows:
            return
        for level in space.levels:
            now = max((choices.of(name).rows for name in level), default=0)
            whole = max(space.shapes[name][2] for name in level)
            for height in {now // 2, now * 2, 0} if now else {whole // 4}:
                if height != now and (not height or _LEAST <= height < whole):
                    yield _level_with(choices, level, height)


def _with_heights(choices: Choices, height: int, space: Space) -> Choices:
    for number, level in enumerate(space.levels[:_LEVELS]):
        choices = _level_with(choices, level, max(_LEAST, height >> number) if height else 0)
    return choices


def _level_with(choices: Choices, level: frozenset[str], height: int) -> Choices:
    changed = {name: replace(choices.of(name), rows=height + height % 2) for name in level}
    return replace(choices, units={**choices.units, **changed})
