"""The training losses over heatmap logits: today the cross-entropy of Eq. 5, in float32 whatever the autocast.

A loss is a callable `(logits, points, present) -> LossParts`; `build_loss` finds it by the preset's name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from FetusMapV2Lib.foundation.errors import UserError
from FetusMapV2Lib.network.heatmap import axis_profiles


@dataclass(frozen=True, eq=False)
class LossParts:
    """The loss to minimise and what to log beside it (detached scalars by name)."""

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


#: logits (B, L, K, J, I); points (B, L, 3) voxels (i, j, k), NaN = missing; present (B,) bool: there is a fetus.
Loss = Callable[[Tensor, Tensor, Tensor], LossParts]


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


class HeatmapLoss:
    """Mean of Eq. 5 over the landmarks (the plain method: no Pair Loss).

    The sum over the present landmarks is divided by the number of all landmarks and samples, so that a sample with
    few annotated landmarks weighs less, not the same.
    """

    def __init__(self, sigma: float) -> None:
        self.sigma = sigma

    def __call__(self, logits: Tensor, points_ijk: Tensor, fetus_present: Tensor) -> LossParts:
        """See `cross_entropy` for the arguments."""
        entropy = cross_entropy(logits, points_ijk, fetus_present, self.sigma)
        counted = torch.isfinite(points_ijk).all(dim=-1) | ~fetus_present[:, None]
        total = entropy.sum() / entropy.numel()
        per_landmark = entropy.detach().sum() / counted.sum().clamp_min(1)
        return LossParts(total, {"heatmap": per_landmark})


_LOSSES: dict[str, Callable[[float], Loss]] = {"heatmap": HeatmapLoss}


def build_loss(name: str, sigma: float) -> Loss:
    """The loss that a preset names.

    Raises:
        UserError: an unknown name.
    """
    if name not in _LOSSES:
        raise UserError(f"unknown loss {name!r}", remedy=f"Known: {', '.join(sorted(_LOSSES))}")
    return _LOSSES[name](sigma)
