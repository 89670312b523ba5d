"""What a loss costs, for shape tensors."""

from __future__ import annotations

from typing import Any

import torch

from FetusMapV2Lib.memory.ledger import Ledger
from FetusMapV2Lib.memory.shape_tensors import ShapeTensor


class ShapeLoss:
    """A `HeadLoss` of the usual price: one pass, two temporary tensors of a slab's logits."""

    passes = 1

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def begin(self, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> None:
        """Nothing to keep."""

    def accumulate(self, number: int, logits: Any, rows: slice) -> None:
        """Exponentials."""
        self.ledger.brief(logits.bytes)
        self.ledger.work("loss", logits, 4 * logits.bytes)

    def value(self) -> Any:
        """A scalar."""
        return ShapeTensor((), torch.float32, None)

    def gradient(self, logits: Any, rows: slice) -> Any:
        """Over the logits, with a target slab beside them."""
        self.ledger.brief(logits.bytes)
        self.ledger.work("loss_gradient", logits, 5 * logits.bytes)
        return logits
