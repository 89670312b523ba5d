"""Convolutions and storage in bfloat16, statistics and sums in float32.

Saves half of what is kept; gradients are NOT exact, so it is never chosen unless it is allowed by name.
"""

from __future__ import annotations

from dataclasses import replace

from FetusMapV2Lib.memory.plan import Choices
from FetusMapV2Lib.memory.strategies.base import Space, Strategy


class ReducedStorage(Strategy):
    """Half the bytes."""

    name = "reduced-storage"
    summary = "store activations in bfloat16, sums in float32; not exact"
    exact = False

    def spread(self, patterns: list[Choices], space: Space) -> list[Choices]:
        """Everywhere."""
        return [_stored(pattern, reduced=True) for pattern in patterns]


def _stored(choices: Choices, reduced: bool) -> Choices:
    return replace(choices, units={name: replace(one, reduced=reduced) for name, one in choices.units.items()})
