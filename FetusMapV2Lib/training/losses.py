"""The training losses on heatmap logits: the cross-entropy of Eq. 5 and the Pair Loss, summed in at least float32.

A loss is called with logits, points and presence; `build_loss` finds it by the preset's name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from FetusMapV2Lib.anatomy.schema import Schema, default_schema
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.head import HeadLoss
from FetusMapV2Lib.memory.managed import slab_loss
from FetusMapV2Lib.network.heatmap_loss import SlabHeatmapLoss, cross_entropy
from FetusMapV2Lib.training.pair_loss import SlabPairLoss
from FetusMapV2Lib.training.patch_loss import SlabPatchLoss
from FetusMapV2Lib.training.preset_options import LossOptions

__all__ = [
    "HeatmapLoss",
    "Loss",
    "LossParts",
    "PairLoss",
    "PatchLoss",
    "SlabHeatmapLoss",
    "SlabLoss",
    "SlabPairLoss",
    "SlabPatchLoss",
    "build_loss",
    "cross_entropy",
]


@dataclass(frozen=True, eq=False)
class LossParts:
    """The loss to minimise, and further values to log (detached scalars by name)."""

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


class SlabLoss(HeadLoss, Protocol):
    """A loss of one batch whose logits are processed slab by slab."""

    def parts(self) -> dict[str, Tensor]:
        """Further values to log, detached."""


class Loss(Protocol):
    """A loss in both forms.

    logits (B, L, K, J, I); points (B, L, 3) voxels (i, j, k), NaN = missing; present (B,) bool: there is a fetus.
    Only the loss of patches takes points outside the grid.
    """

    def __call__(self, logits: Tensor, points_ijk: Tensor, fetus_present: Tensor) -> LossParts:
        """For complete logits."""

    def in_slabs(self, points_ijk: Tensor, fetus_present: Tensor) -> SlabLoss:
        """For logits that are processed slab by slab."""


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

    def in_slabs(self, points_ijk: Tensor, fetus_present: Tensor) -> SlabHeatmapLoss:
        """The same loss for logits that are processed slab by slab (`memory.head.HeadLoss`)."""
        return SlabHeatmapLoss(points_ijk, fetus_present, self.sigma)


class PairLoss:
    """Eq. 8: the Pair Loss for arms and legs, Eq. 5 for the other landmarks; see `SlabPairLoss`.

    Each map of a limb pair then shows one side, but which one is unknown: `resolve_sides` (Eq. 7) assigns the sides.

    Args:
        sigma: of the Gaussians, in voxels.
        schema: of the maps.
        options: weights of the parts; the paper's by default.
    """

    def __init__(self, sigma: float, schema: Schema, options: LossOptions | None = None) -> None:
        self.sigma, self.options, self.schema = sigma, options or LossOptions(), schema

    def __call__(self, logits: Tensor, points_ijk: Tensor, fetus_present: Tensor) -> LossParts:
        """See `cross_entropy` for the arguments."""
        return _of_whole_maps(logits, self.in_slabs(points_ijk, fetus_present))

    def in_slabs(self, points_ijk: Tensor, fetus_present: Tensor) -> SlabPairLoss:
        """The same loss for logits that are processed slab by slab (`memory.head.HeadLoss`)."""
        return SlabPairLoss(points_ijk, fetus_present, self.sigma, self.options, self.schema)


class PatchLoss:
    """Mean of Eq. 5 over the landmarks of patches, in which a landmark may also be outside; see `SlabPatchLoss`."""

    def __init__(self, sigma: float) -> None:
        self.sigma = sigma

    def __call__(self, logits: Tensor, points_ijk: Tensor, fetus_present: Tensor) -> LossParts:
        """See `SlabPatchLoss` for the arguments."""
        return _of_whole_maps(logits, self.in_slabs(points_ijk, fetus_present))

    def in_slabs(self, points_ijk: Tensor, fetus_present: Tensor) -> SlabPatchLoss:
        """The same loss for logits that are processed slab by slab (`memory.head.HeadLoss`)."""
        return SlabPatchLoss(points_ijk, fetus_present, self.sigma)


def _of_whole_maps(logits: Tensor, slabs: SlabLoss) -> LossParts:
    # in channels_last the voxels of one map are not contiguous, which makes sums over single maps very slow
    return LossParts(slab_loss(logits.contiguous(), slabs), slabs.parts())


def build_loss(name: str, sigma: float, options: LossOptions | None = None, *, of_patches: bool = False) -> Loss:
    """The loss that a preset names: "heatmap" (Eq. 5 for every landmark) or "pair" (Eq. 8).

    Args:
        name: of the loss.
        sigma: of the Gaussians, in voxels.
        options: weights of the Pair Loss.
        of_patches: landmarks may lie outside what the network sees (`PatchLoss`).

    Raises:
        UserError: an unknown name, or the Pair Loss of patches.
    """
    if of_patches and name != "heatmap":
        raise UserError(f"the loss {name!r} cannot be used with patches", remedy="Use the loss heatmap")
    if name == "heatmap":
        return PatchLoss(sigma) if of_patches else HeatmapLoss(sigma)
    if name == "pair":
        return PairLoss(sigma, default_schema(), options)
    raise UserError(f"unknown loss {name!r}", remedy="Known: heatmap, pair")
