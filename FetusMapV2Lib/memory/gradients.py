"""The gradients of parameters that a pass has added up so far."""

from __future__ import annotations

from torch import Tensor

from FetusMapV2Lib.memory.kernels import TorchKernels
from FetusMapV2Lib.memory.unit_kinds import ConvUnit


class Gradients(dict[Tensor, Tensor]):
    """Gradients by parameter; parts of them are added as they are found.

    Args:
        kernels: operations on tensors, or on their sizes.
    """

    def __init__(self, kernels: TorchKernels) -> None:
        super().__init__()
        self.kernels = kernels

    def add(self, parameter: Tensor, index: tuple[slice, ...], value: Tensor) -> None:
        """Add to a slice of a parameter's gradient; the first that fills it whole is taken over, not copied."""
        if not parameter.requires_grad:
            return
        known = self.get(parameter)
        if known is None and value.shape == parameter.shape:
            self[parameter] = value
            return
        if known is None:
            known = self[parameter] = self.kernels.zeros_like(parameter)
        self.kernels.add(known[index], self.kernels.cast(value, known.dtype))

    def add_affine(self, unit: ConvUnit, sums: tuple[Tensor, Tensor], channels: slice) -> None:
        """Those of a norm's scale and shift, for a slice of channels, from `TorchKernels.norm_sums`."""
        assert unit.norm is not None
        plain, with_z = (s.sum(0) if len(s.shape) == 2 else s for s in sums)
        if unit.norm.weight is not None:
            self.add(unit.norm.weight, (channels,), with_z)
        if unit.norm.bias is not None:
            self.add(unit.norm.bias, (channels,), plain)

    def scale(self, factor: Tensor) -> None:
        """Multiply all."""
        for tensor in self.values():
            tensor.mul_(factor.to(tensor.dtype))
