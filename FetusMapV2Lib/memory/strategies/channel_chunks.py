"""Work on a slice of channels at a time, so that temporary tensors are small; fewer on coarser levels; for CPUs.

Saves most of what a unit needs while it runs; costs more, smaller operations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from FetusMapV2Lib.memory.plan import Choices
from FetusMapV2Lib.memory.strategies.base import Space, Strategy

_FEWEST, _MOST = 1, 16
_TOP_LEVEL = (1, 2, 4, 8)


class ChannelChunks(Strategy):
    """Slices of channels."""

    name = "channel-chunks"
    summary = "work on a slice of channels at a time, top levels first"

    def spread(self, patterns: list[Choices], space: Space) -> list[Choices]:
        """Some numbers of slices at the top, half as many on every coarser level."""
        if not _helps(space):
            return patterns
        return [_sliced(pattern, top, space) for pattern in patterns for top in _TOP_LEVEL]

    def moves(self, choices: Choices, space: Space) -> Iterator[Choices]:
        """Twice or half as many on one level."""
        if space.cost_model.machine.by_rows and not choices.slab_rows:
            return
        for level in space.levels:
            for factor in (2, 0.5):
                yield _scaled(choices, level, factor, space)


def _helps(space: Space) -> bool:
    """Whether slices serve the machine, or the levels below a streamed one."""
    streams = any(strategy.name == "slab-streaming" for strategy in space.allowed)
    return streams or not space.cost_model.machine.by_rows


def _sliced(choices: Choices, top: int, space: Space) -> Choices:
    units = {
        name: replace(one, chunks=_useful(name, top >> space.level_of(name), space))
        for name, one in choices.units.items()
    }
    return replace(choices, units=units)


def _scaled(choices: Choices, level: frozenset[str], factor: float, space: Space) -> Choices:
    units = dict(choices.units)
    for name in level:
        choice = choices.of(name)
        units[name] = replace(choice, chunks=_useful(name, int(choice.chunks * factor), space))
    return replace(choices, units=units)


def _useful(name: str, wanted: int, space: Space) -> int:
    """Slices that are neither too thin nor too small for the machine to work on them well."""
    machine, (_, channels, *axes) = space.cost_model.machine, space.shapes[name]
    if space.thin_slices:
        return max(_FEWEST, min(_MOST, wanted, channels))
    thinnest = max(machine.slice_channels, math.ceil(machine.slice_bytes / (4 * math.prod(axes))))
    return max(_FEWEST, min(_MOST, wanted, channels // thinnest))
