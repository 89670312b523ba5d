"""A decoder's convolution over [skip, upsampled] becomes the sum of two; the upsampled tensor is made slice by slice.

Saves the concatenation and the upsampled tensor; costs a second upsampling.
"""

from __future__ import annotations

from dataclasses import replace

from FetusMapV2Lib.memory.plan import Choices
from FetusMapV2Lib.memory.strategies.base import Space, Strategy


class NoConcat(Strategy):
    """Two convolutions instead of one over a concatenation."""

    name = "no-concat"
    summary = "convolve skip and upsampled features apart and add; upsampling is done again"

    def spread(self, patterns: list[Choices], space: Space) -> list[Choices]:
        """In every decoder."""
        return [replace(pattern, split_concat=True) for pattern in patterns]
