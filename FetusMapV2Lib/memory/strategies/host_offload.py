"""What is kept of a unit waits in host memory until its backward pass.

Saves the unit's tensor on the device; costs its way to the host and back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from FetusMapV2Lib.memory.plan import Choices, Storage
from FetusMapV2Lib.memory.strategies.base import Space, Strategy, with_unit
from FetusMapV2Lib.memory.units import Unit


class HostOffload(Strategy):
    """Host memory for what is kept."""

    name = "host-offload"
    summary = "move stored tensors to host memory until the backward pass"
    on_device = False

    def spread(self, patterns: list[Choices], space: Space) -> list[Choices]:
        """Nothing, or all that is kept."""
        return [choices for pattern in patterns for choices in (pattern, _offloaded(pattern))]

    def unit_moves(self, choices: Choices, unit: Unit) -> Iterator[Choices]:
        """One unit to the host, or back."""
        if unit.convolves:
            choice = choices.of(unit.name)
            yield with_unit(choices, unit.name, replace(choice, host=not choice.host))


def _offloaded(choices: Choices) -> Choices:
    units = {name: replace(choice, host=choice.storage is Storage.KEPT) for name, choice in choices.units.items()}
    return replace(choices, units=units)
