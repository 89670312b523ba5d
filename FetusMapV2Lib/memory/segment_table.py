"""What a plan does to each unit: the technique, the bytes saved between the passes, the operations done again.

The table that `fetusmap plan` prints; the search itself never reads it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from FetusMapV2Lib.memory.plan import Choices, SegmentPlan, Storage, UnitChoice
from FetusMapV2Lib.memory.strategies.base import Space
from FetusMapV2Lib.memory.units import Unit


def segment_plans(space: Space, choices: Choices) -> Iterator[SegmentPlan]:
    """A line for every unit that a choice makes a difference for, in the order in which they run."""
    training = space.cost_model.training
    for unit in space.graph.units:
        if not unit.has_choice:
            continue
        choice = choices.of(unit.name)
        if choices.slab_rows and unit.name in space.levels[0]:
            yield _streamed(space, unit, choices)
            continue
        size = _float32_bytes(space, unit)
        tensors = {Storage.BOTH: 0, Storage.KEPT: 1, Storage.RECOMPUTED: 2, Storage.NEVER: 2}[choice.storage]
        if unit.halves or unit is space.graph.output:
            tensors = min(1, tensors) if choice.storage is not Storage.KEPT else 0
        dropped = choice.storage in (Storage.RECOMPUTED, Storage.NEVER) and training
        again = _forward_flops(space, unit) * (_times_made(unit, choice) - 1) if dropped else 0
        saved = size * tensors + (size if choice.host and choice.storage is Storage.KEPT else 0)
        yield SegmentPlan(unit.name, choice.words, saved if training else 0, again)


def _streamed(space: Space, unit: Unit, choices: Choices) -> SegmentPlan:
    host = bool(choices.streamed_to_host)
    words = f"streamed, slabs of {choices.slab_rows} rows, " + ("in host memory" if host else "recomputed")
    again = 0 if host or not space.cost_model.training else 2 * _forward_flops(space, unit)
    return SegmentPlan(unit.name, words, 2 * _float32_bytes(space, unit), again)


def _float32_bytes(space: Space, unit: Unit) -> int:
    return 4 * math.prod(space.shapes[unit.name])


def _forward_flops(space: Space, unit: Unit) -> int:
    return unit.flops(space.shapes[unit.name])


def _times_made(unit: Unit, choice: UnitChoice) -> int:
    """How often a dropped unit is computed: forward, and again for the backward pass and later readers."""
    return 2 + (len(unit.readers) - 1 if choice.storage is Storage.NEVER else 0)
