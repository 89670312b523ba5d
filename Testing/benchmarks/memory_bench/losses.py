"""The loss of every scheme: cross-entropy between a softmax over all voxels and a Gaussian, per landmark (Eq. 5)."""

from __future__ import annotations

import torch
from torch import Tensor

from FetusMapV2Lib.network.heatmap import axis_profiles

SIGMA = 2.0


def plain_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The loss as one writes it down: logits and a stored target, both (B, L, K, J, I); float32 under autocast."""
    with torch.autocast(logits.device.type, enabled=False):
        log_probability = torch.log_softmax(logits.float().flatten(2), -1)
        return -(log_probability * target.flatten(2)).sum()


class SlabCrossEntropy:
    """The same loss slab by slab (a `memory.head.HeadLoss`): running log-sum-exp, target made where it is needed.

    Args:
        points_ijk: (B, L, 3) landmarks in voxels.
    """

    passes = 1

    def __init__(self, points_ijk: Tensor) -> None:
        self.points = points_ijk

    def begin(self, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> None:
        """Start on logits (B, L, K, J, I)."""
        points = self.points.to(device, dtype)
        self.along_k, self.along_j, self.along_i = axis_profiles(points, shape[2:], SIGMA)
        self.top = torch.full(shape[:2], -torch.inf, device=device, dtype=dtype)
        self.total = torch.zeros(shape[:2], device=device, dtype=dtype)
        self.expected = torch.zeros(shape[:2], device=device, dtype=dtype)

    def accumulate(self, number: int, logits: Tensor, rows: slice) -> None:
        """Take in a slab (B, L, rows, J, I)."""
        top = torch.maximum(self.top, logits.amax(dim=(2, 3, 4)))
        self.total.mul_(torch.exp(self.top - top))
        self.total.add_(torch.sub(logits, top[:, :, None, None, None]).exp_().sum(dim=(2, 3, 4)))
        self.top = top
        lines = torch.matmul(logits, self.along_i[:, :, None, :, None]).squeeze(-1)
        planes = torch.matmul(lines, self.along_j[:, :, :, None]).squeeze(-1)
        self.expected.add_((planes * self.along_k[:, :, rows]).sum(dim=-1))

    def value(self) -> Tensor:
        """Scalar."""
        return (self.top + self.total.log() - self.expected).sum()

    def gradient(self, logits: Tensor, rows: slice) -> Tensor:
        """softmax - target, written over the slab."""
        logits.sub_((self.top + self.total.log())[:, :, None, None, None]).exp_()
        plane = self.along_k[:, :, rows, None, None] * self.along_j[:, :, None, :, None]
        return logits.addcmul_(plane, self.along_i[:, :, None, None, :], value=-1)
