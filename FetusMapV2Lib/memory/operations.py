"""An operation of an executor as it is counted and timed."""

from __future__ import annotations

from typing import NamedTuple

import torch

#: Convolutions and their gradients; all other kinds are bound by memory traffic.
CONVOLUTIONS = frozenset({"conv", "weight_gradient", "input_gradient"})


class Operation(NamedTuple):
    """What is done to which tensor.

    Attributes:
        kind: method of `TorchKernels` that does it, or "loss", "loss_gradient", "optimiser".
        shape: of the tensor that it works on, (B, C, K, J, I); a convolution's is its output.
        dtype: of that tensor.
        moved: bytes read and written, 0 for convolutions.
        flops: floating point operations of convolutions and matrix products.
        weight: shape of a convolution's weight.
        steps: stride and dilation of a convolution, three numbers each.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    moved: int
    flops: int = 0
    weight: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
