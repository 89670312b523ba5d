"""Head and loss as one operation: the loss is met slab by slab, so that no heatmap is ever stored whole."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class HeadLoss(Protocol):
    """A loss over heatmap logits that can be worked out in slabs of rows along the grid's first axis.

    The executor calls `begin`, then for every pass 0 .. passes - 1 `accumulate` with each slab in turn, then `value`,
    then `gradient` with each slab, possibly more than once.
    """

    passes: int

    def begin(self, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> None:
        """Start on logits of a shape (B, L, K, J, I); `dtype` is the one to sum in."""

    def accumulate(self, number: int, logits: Tensor, rows: slice) -> None:
        """Take in the logits (B, L, rows, J, I) of a slab in pass `number`."""

    def value(self) -> Tensor:
        """The scalar loss, after all passes."""

    def gradient(self, logits: Tensor, rows: slice) -> Tensor:
        """Derivative of the loss with respect to a slab's logits, of their shape; may overwrite them."""
