"""What is done with units that are run as they are: called, called again, and taken back by local autograd."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from FetusMapV2Lib.memory.replay import RandomState, random_state, random_state_replayed, statistics_frozen
from FetusMapV2Lib.memory.unit_kinds import OpaqueUnit


class OpaqueKernels:
    """The operations on opaque units."""

    def call(self, unit: OpaqueUnit, values: list[Tensor]) -> tuple[Tensor, RandomState]:
        """The unit's value, and the generator states before it."""
        state = random_state(values[0].device)
        return unit.call(*(_lent(unit, value) for value in values)), state

    def call_again(self, unit: OpaqueUnit, values: list[Tensor], state: RandomState) -> Tensor:
        """The same value, recomputed: same random numbers, buffers unchanged."""
        with _replayed(unit, values, state):
            return unit.call(*(_lent(unit, value) for value in values))

    def call_backward(
        self, unit: OpaqueUnit, values: list[Tensor], wanted: list[bool], gradient: Tensor, state: RandomState
    ) -> tuple[list[Tensor | None], list[tuple[nn.Parameter, Tensor]]]:
        """Gradients of the values that are wanted (None for the others) and of the unit's parameters."""
        owned = [parameter for parameter in unit.parameters() if parameter.requires_grad]
        with torch.enable_grad(), _replayed(unit, values, state):
            leaves = [value.detach().requires_grad_(want) for value, want in zip(values, wanted, strict=True)]
            result = unit.call(*(_lent(unit, leaf) for leaf in leaves))
            chosen = [leaf for leaf in leaves if leaf.requires_grad]
            if not result.requires_grad:
                return [None] * len(values), []
            found = torch.autograd.grad(result, [*chosen, *owned], gradient.to(result.dtype), allow_unused=True)
        # shares may be one tensor twice, or the gradient itself: each source gets its own to add to
        own = iter(None if share is None else share.clone() for share in found[: len(chosen)])
        shares = [next(own) if want else None for want in wanted]
        pairs = zip(owned, found[len(chosen) :], strict=True)
        return shares, [(parameter, share) for parameter, share in pairs if share is not None]


@contextmanager
def _replayed(unit: OpaqueUnit, values: list[Tensor], state: RandomState) -> Iterator[None]:
    modules = () if unit.module is None else (unit.module,)
    with random_state_replayed(state, values[0].device), statistics_frozen(*modules):
        yield


def _lent(unit: OpaqueUnit, value: Tensor) -> Tensor:
    return value.clone() if unit.overwrites else value
