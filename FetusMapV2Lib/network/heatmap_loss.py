"""The heatmap cross-entropy of Eq. 5 with its gradient, for complete logits or slab by slab.

In float32 whatever the autocast; no target map is ever stored.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from FetusMapV2Lib.network.heatmap import axis_profiles


def cross_entropy(logits: Tensor, points_ijk: Tensor, fetus_present: Tensor, sigma: float) -> Tensor:
    """Eq. 5 for every landmark of every sample, in nats, zero where the landmark is missing.

    K(P, G) = -sum(log softmax(P) * G) with the Gaussian G of Eq. 2. As G is separable, the sum over the grid is
    taken axis by axis and no target map is ever stored. A sample without a fetus has the flat map as its target.

    Args:
        logits: (B, L, K, J, I), any floating dtype.
        points_ijk: (B, L, 3) voxels in (i, j, k) order, NaN = missing.
        fetus_present: (B,) bool.
        sigma: in voxels.

    Returns:
        (B, L) float32 (float64 for float64 logits).
    """
    with torch.autocast(logits.device.type, enabled=False):
        maps = logits if logits.dtype == torch.float64 else logits.float()
        known = torch.isfinite(points_ijk).all(dim=-1)
        centres = torch.where(known[..., None], points_ijk, torch.zeros_like(points_ijk)).to(maps.dtype)
        along_k, along_j, along_i = axis_profiles(centres, maps.shape[2:], sigma)
        flat = ~fetus_present[:, None]
        # 1/n along every axis is the uniform target
        along_k = torch.where(flat[..., None], torch.full_like(along_k, 1 / along_k.shape[-1]), along_k)
        along_j = torch.where(flat[..., None], torch.full_like(along_j, 1 / along_j.shape[-1]), along_j)
        along_i = torch.where(flat[..., None], torch.full_like(along_i, 1 / along_i.shape[-1]), along_i)
        entropy: Tensor = _SeparableCrossEntropy.apply(maps, along_k, along_j, along_i)
        return torch.where(known | flat, entropy, torch.zeros_like(entropy))


class _SeparableCrossEntropy(torch.autograd.Function):
    """logsumexp(maps) - sum(maps * target) per map, the target being the outer product of three axis profiles.

    Its gradient, softmax(maps) - target, takes two passes over the maps and keeps one tensor of their size.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, along_k: Tensor, along_j: Tensor, along_i: Tensor) -> Tensor:
        """(B, L, K, J, I) maps and (B, L, n) profiles to (B, L)."""
        maps = maps.contiguous()
        planes = torch.matmul(maps, along_i[:, :, None, :, None]).squeeze(-1)
        rows = torch.matmul(planes, along_j[:, :, :, None]).squeeze(-1)
        expected = (rows * along_k).sum(dim=-1)
        top = maps.amax(dim=(2, 3, 4), keepdim=True)
        powers = torch.sub(maps, top).exp_()
        total = powers.sum(dim=(2, 3, 4))
        ctx.save_for_backward(powers, total, along_k, along_j, along_i)
        return top[:, :, 0, 0, 0] + total.log() - expected

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """Gradient of the maps."""
        powers, total, along_k, along_j, along_i = ctx.saved_tensors
        result = powers * (gradient / total)[:, :, None, None, None]
        plane = (gradient[..., None] * along_k)[..., None] * along_j[:, :, None, :]
        result.addcmul_(plane[..., None], along_i[:, :, None, None, :], value=-1)
        return result, None, None, None


class SlabHeatmapLoss:
    """Mean of Eq. 5 over all landmarks, computed slab by slab (`memory.head.HeadLoss`).

    A running log-sum-exp and sum(maps * target) per map, then the gradient.

    Args:
        points_ijk, fetus_present: see `cross_entropy`.
        sigma: in voxels.
    """

    passes = 1

    def __init__(self, points_ijk: Tensor, fetus_present: Tensor, sigma: float) -> None:
        self.points, self.present, self.sigma = points_ijk, fetus_present, sigma

    def begin(self, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> None:
        """Profiles of the targets and empty sums, for logits (B, L, K, J, I) summed in `dtype`."""
        points, present = self.points.to(device), self.present.to(device)
        self.known = torch.isfinite(points).all(dim=-1)
        centres = torch.where(self.known[..., None], points, torch.zeros_like(points)).to(dtype)
        flat = ~present[:, None]
        profiles = axis_profiles(centres, torch.Size(shape[2:]), self.sigma)
        self.along = [torch.where(flat[..., None], torch.full_like(p, 1 / p.shape[-1]), p) for p in profiles]
        self.counted = self.known | flat
        self.weight = self.counted.to(dtype) / self.counted.numel()
        self.log_sum = torch.full(shape[:2], -torch.inf, device=device, dtype=dtype)
        self.expected = torch.zeros(shape[:2], device=device, dtype=dtype)

    def accumulate(self, number: int, logits: Tensor, rows: slice) -> None:
        """Process a slab (B, L, rows, J, I)."""
        along_k, along_j, along_i = self.along
        self.log_sum = torch.logaddexp(self.log_sum, torch.logsumexp(logits, dim=(2, 3, 4)))
        planes = torch.matmul(logits, along_i[:, :, None, :, None]).squeeze(-1)
        lines = torch.matmul(planes, along_j[:, :, :, None]).squeeze(-1)
        self.expected += (lines * along_k[:, :, rows]).sum(dim=-1)

    def value(self) -> Tensor:
        """The loss, () in nats."""
        return self._entropy.sum() / self.counted.numel()

    @property
    def _entropy(self) -> Tensor:
        return torch.where(self.counted, self.log_sum - self.expected, torch.zeros_like(self.expected))

    def parts(self) -> dict[str, Tensor]:
        """Mean over the counted landmarks, as "heatmap"."""
        return {"heatmap": self._entropy.sum() / self.counted.sum().clamp_min(1)}

    def gradient(self, logits: Tensor, rows: slice) -> Tensor:
        """(softmax - target) / number of maps, written over the slab."""
        along_k, along_j, along_i = self.along
        result = logits.sub_(self.log_sum[:, :, None, None, None]).exp_()
        result.mul_(self.weight[:, :, None, None, None])
        plane = (self.weight[..., None] * along_k[:, :, rows])[..., None] * along_j[:, :, None, :]
        return result.addcmul_(plane[..., None], along_i[:, :, None, None, :], value=-1)
