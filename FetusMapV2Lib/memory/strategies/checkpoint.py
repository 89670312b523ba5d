"""Drop a unit's tensors and compute them again for its backward pass, or wherever they are read (GCP).

Saves the unit's tensors between the passes; costs its convolution a second time, or again for each reader.
"""

from __future__ import annotations

from FetusMapV2Lib.memory.plan import Choices, Storage
from FetusMapV2Lib.memory.strategies.base import Space, Strategy, with_storages
from FetusMapV2Lib.memory.units import Unit

#: Units with at most so many convolutions before them can be made slice by slice, at no cost in memory.
_NEVER_DEPTH = 2


class Checkpoint(Strategy):
    """Convolutions twice."""

    name = "checkpoint"
    summary = "drop a layer's activations and compute them again in the backward pass (GCP)"

    def storages(self, unit: Unit) -> tuple[Storage, ...]:
        """Recomputed once; near the input, recomputed wherever it is read."""
        return (Storage.RECOMPUTED, *((Storage.NEVER,) if unit.depth <= _NEVER_DEPTH else ()))

    def spread(self, patterns: list[Choices], space: Space) -> list[Choices]:
        """The first convolution never stored, then the second too; and the first of two on every coarser level."""
        units = space.graph.units
        inner = [unit.name for unit in units if _is_inner(unit, space)]
        never = [unit.name for unit in units if unit.depth == 1]
        deeper = [unit.name for unit in units if unit.depth <= _NEVER_DEPTH and unit.convolves]
        first = with_storages(patterns[-1], dict.fromkeys(never, Storage.NEVER))
        second = with_storages(first, dict.fromkeys(deeper, Storage.NEVER))
        rest = [name for name in inner if second.of(name).storage is not Storage.NEVER]
        return [
            *patterns,
            first,
            with_storages(first, dict.fromkeys(inner, Storage.RECOMPUTED)),
            second,
            with_storages(second, dict.fromkeys(rest, Storage.RECOMPUTED)),
        ]


def _is_inner(unit: Unit, space: Space) -> bool:
    """First of two convolutions on a coarse level: cheap to make again from what is kept around it."""
    if not unit.convolves or space.level_of(unit.name) == 0:
        return False
    return len(unit.readers) == 1 and unit.readers[0][0].convolves and unit.readers[0][1].upsample is None
