"""Keep one tensor per Conv-BN-ReLU, the convolution's output; norm and ReLU are done again from saved statistics.

Saves one tensor per unit; costs memory traffic and no convolution.
"""

from __future__ import annotations

from FetusMapV2Lib.memory.plan import Choices, Storage
from FetusMapV2Lib.memory.strategies.base import Space, Strategy, with_storages
from FetusMapV2Lib.memory.units import Unit


class RecomputeNorm(Strategy):
    """Normalisation and ReLU twice."""

    name = "recompute-norm"
    summary = "keep one tensor per Conv-BN-ReLU; normalisation and ReLU are done again"

    def storages(self, unit: Unit) -> tuple[Storage, ...]:
        """The convolution's output alone."""
        return (Storage.KEPT,) if unit.makes_two else ()

    def spread(self, patterns: list[Choices], space: Space) -> list[Choices]:
        """All units that can."""
        lean = {unit.name: Storage.KEPT for unit in space.graph.units if unit.makes_two}
        return [*patterns, with_storages(patterns[-1], lean)]
