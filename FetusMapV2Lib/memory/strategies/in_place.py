"""The backward pass overwrites what was kept of a unit with its gradient, a slice of channels at a time.

Saves the gradient's own tensor; costs nothing.
"""

from __future__ import annotations

from dataclasses import replace

from FetusMapV2Lib.memory.plan import Choices
from FetusMapV2Lib.memory.strategies.base import Space, Strategy


class InPlace(Strategy):
    """One buffer for value and gradient."""

    name = "in-place"
    summary = "the backward pass overwrites stored tensors with their gradients"

    def spread(self, patterns: list[Choices], space: Space) -> list[Choices]:
        """Wherever it can be."""
        return [replace(pattern, in_place=True) for pattern in patterns]
