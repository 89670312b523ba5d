"""What is done with units that are run as they are: called, called again, and taken back by local autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from FetusMapV2Lib.memory.replay import Replayed, random_states
from FetusMapV2Lib.memory.unit_kinds import OpaqueUnit


class OpaqueKernels:
    """The operations on opaque units."""

    def call(self, unit: OpaqueUnit, values: list[Tensor]) -> tuple[Tensor, Any]:
        """The unit's value, and the generator states before it."""
        states = random_states()
        return unit.call(*(_lent(unit, value) for value in values)), states

    def call_again(self, unit: OpaqueUnit, values: list[Tensor], states: Any) -> Tensor:
        """The same value, recomputed: same random numbers, buffers unchanged."""
        with Replayed(states, unit.module):
            return unit.call(*(_lent(unit, value) for value in values))

    def call_backward(
        self, unit: OpaqueUnit, values: list[Tensor], wanted: list[bool], gradient: Tensor, states: Any
    ) -> tuple[list[Tensor | None], list[tuple[nn.Parameter, Tensor]]]:
        """Gradients of the values that are wanted (None for the others) and of the unit's parameters."""
        owned = [parameter for parameter in unit.parameters() if parameter.requires_grad]
        with torch.enable_grad(), Replayed(states, unit.module):
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


def _lent(unit: OpaqueUnit, value: Tensor) -> Tensor:
    return value.clone() if unit.overwrites else value
