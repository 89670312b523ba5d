"""The Pair Loss (Eq. 3-6 and 8 of the paper): limbs are located first, and Eq. 7 assigns their sides afterwards.

Every target is a product of three axis profiles and is never stored; the maps are processed in slabs, in two passes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.network.heatmap_loss import SlabHeatmapLoss
from FetusMapV2Lib.training.preset_options import LossOptions


class SlabPairLoss(SlabHeatmapLoss):
    """Eq. 8 computed slab by slab (`memory.head.HeadLoss`), divided by the number of all landmarks and samples.

    - Landmarks without a partner: K of Eq. 5.
    - L1 of Eq. 4, for arms and legs each: the smaller of the sums of K over the whole limb pair, sides as annotated or
      exchanged.
    - L2 of Eq. 6, for every pair of landmarks: -sum(log(p_l + p_r) * (G_l + G_r)) with the softmaxes p.

    The target of a missing landmark is left out of each sum, in both assignments. A sample without a fetus has the
    flat map as each target. Where both assignments cost the same, the sides stay as annotated.

    Args:
        points_ijk: (B, L, 3) voxels in (i, j, k) order, NaN = missing.
        fetus_present: (B,) bool.
        sigma: in voxels.
        options: weights of the three parts.
        schema: of L landmarks; says which are paired, and which pairs are one limb.
    """

    def __init__(
        self, points_ijk: Tensor, fetus_present: Tensor, sigma: float, options: LossOptions, schema: Schema
    ) -> None:
        super().__init__(points_ijk, fetus_present, sigma)
        self.options, self.schema = options, schema
        self.limbs = [pairs for pairs in map(schema.pairs_of, schema.groups) if pairs]
        self.pairs = [pair for pairs in self.limbs for pair in pairs]
        self.alone = [mark.row for mark in schema.landmarks if mark.partner is None]
        # log(p_l + p_r) needs the log-sum-exp of both maps over the whole grid first
        self.passes = 2 if options.joint else 1

    def begin(self, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> None:
        """Profiles of each map's own target and its partner's, and empty sums; see `SlabHeatmapLoss.begin`.

        Raises:
            ValueError: the maps are not those of the schema.
        """
        if shape[1] != self.schema.count:
            raise ValueError(f"the Pair Loss needs one map for each of {self.schema.count} landmarks, not {shape[1]}")
        super().begin(shape, device, dtype)
        partner = torch.tensor(self.schema.mirror_rows.tolist(), device=device)
        # (B, L, n, 2) along k, j, i, and (B, L, 2) 1 where known; the last axis is (own target, partner's target)
        self.both = [torch.stack((profile, profile[:, partner]), dim=-1) for profile in self.along]
        self.has = torch.stack((self.counted, self.counted[:, partner]), dim=-1).to(dtype)
        # (limbs, L) 1 for the landmarks of a limb pair, (L,) 1 for those of any
        self.member = torch.zeros(len(self.limbs), shape[1], device=device, dtype=dtype)
        for number, pairs in enumerate(self.limbs):
            self.member[number, [row for pair in pairs for row in pair]] = 1
        self.paired = self.member.sum(dim=0)
        self.expected = torch.zeros(*shape[:2], 2, device=device, dtype=dtype)
        self.joint = torch.zeros((), device=device, dtype=dtype)
        # (B, L) how much of Eq. 6's two targets each map accounts for
        self.explained = torch.zeros(shape[:2], device=device, dtype=dtype)

    def accumulate(self, number: int, logits: Tensor, rows: slice) -> None:
        """Take in a slab (B, L, rows, J, I): in pass 0 cross-entropies against both targets, in pass 1 Eq. 6."""
        if number == 0:
            self.log_sum = torch.logaddexp(self.log_sum, torch.logsumexp(logits, dim=(2, 3, 4)))
            self.expected += _expected(logits, *self._profiles(rows))
            return
        for left, right in self.pairs:
            has, profiles = self.has[:, left], [profile[:, left] for profile in self._profiles(rows)]
            one, other = (logits[:, row] - _over_grid(self.log_sum[:, row]) for row in (left, right))
            self.joint -= (_expected(torch.logaddexp(one, other), *profiles) * has).sum()
            ratio = one.sub_(other)
            # each by itself, not as one minus the other: the difference may be far below rounding
            self.explained[:, left] += (_expected(torch.sigmoid(ratio), *profiles) * has).sum(dim=-1)
            self.explained[:, right] += (_expected(ratio.neg_().sigmoid_(), *profiles) * has).sum(dim=-1)

    def value(self) -> Tensor:
        """The loss, () in nats; also decides which assignment of Eq. 4 counts."""
        entropy = (self.log_sum[..., None] - self.expected) * self.has
        # (B, limbs, 2) the sums of K with the sides as annotated and exchanged
        costs = torch.einsum("blt,nl->bnt", entropy, self.member)
        self.exchanged = (costs[..., 1] < costs[..., 0]) & self.present.to(costs.device)[:, None]
        by_partner = torch.einsum("bn,nl->bl", self.exchanged.to(costs.dtype), self.member) > 0
        self.along = [torch.where(by_partner[..., None], both[..., 1], both[..., 0]) for both in self.both]
        self.trunk = (entropy[..., 0] * (1 - self.paired)).sum()
        self.assigned = torch.where(self.exchanged, costs[..., 1], costs[..., 0]).sum()
        options, count = self.options, self.counted.numel()
        part = options.trunk * (1 - self.paired) + options.assigned * self.paired
        self.weight = torch.where(by_partner, self.has[..., 1], self.has[..., 0]) * part / count
        total = options.trunk * self.trunk + options.assigned * self.assigned + options.joint * self.joint
        return total / count

    def parts(self) -> dict[str, Tensor]:
        """Per landmark that counts, in nats: "heatmap" (K, by the better assignment), "assigned" (L1), "joint" (L2).

        "exchanged" is the share of the annotated limb pairs whose sides are exchanged in the maps.
        """
        limb_landmarks = (self.counted * self.paired).sum().clamp_min(1)
        annotated = torch.einsum("bl,nl->bn", self.known.to(self.member.dtype), self.member) > 0
        return {
            "heatmap": (self.trunk + self.assigned) / self.counted.sum().clamp_min(1),
            "assigned": self.assigned / limb_landmarks,
            "joint": self.joint / limb_landmarks,
            "exchanged": (self.exchanged & annotated).sum() / annotated.sum().clamp_min(1),
        }

    def gradient(self, logits: Tensor, rows: slice) -> Tensor:
        """Derivative of the value, written over the slab.

        Of K: softmax - target. Of L2, with w = G_l + G_r and the share r = p_l / (p_l + p_r) of the left map at each
        voxel: p_l * sum(w r) - w r, and likewise for the right.
        """
        result = logits.sub_(_over_grid(self.log_sum))
        joint = self.options.joint / self.counted.numel()
        slope = self.weight + joint * self.explained
        for left, right in self.pairs if joint else ():
            along_k, along_j, along_i = (profile[:, left] for profile in self._profiles(rows))
            planes = (joint * self.has[:, left, None] * along_k)[:, :, None] * along_j[:, None]
            targets = torch.matmul(planes.flatten(1, 2), along_i.mT).view_as(result[:, left])
            share = torch.sub(result[:, left], result[:, right]).sigmoid_()
            for row in (left, right):
                result[:, row].exp_().mul_(_over_grid(slope[:, row])).addcmul_(targets, share, value=-1)
                share.neg_().add_(1)
        for row in self.alone if joint else range(self.schema.count):
            result[:, row].exp_().mul_(_over_grid(slope[:, row]))
        along_k, along_j, along_i = self.along
        plane = (self.weight[..., None] * along_k[:, :, rows])[..., None] * along_j[:, :, None, :]
        return result.addcmul_(plane[..., None], along_i[:, :, None, None, :], value=-1)

    def _profiles(self, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        """The profiles of `both` restricted to a slab."""
        along_k, along_j, along_i = self.both
        return along_k[:, :, rows], along_j, along_i


def _over_grid(values: Tensor) -> Tensor:
    """Values per map (...) as (..., 1, 1, 1)."""
    return values[..., None, None, None]


def _expected(maps: Tensor, along_k: Tensor, along_j: Tensor, along_i: Tensor) -> Tensor:
    """sum(map * target) of maps (..., K, J, I) with both their targets, profiles (..., n, 2): (..., 2)."""
    planes = torch.matmul(maps.flatten(-3, -2), along_i).unflatten(-2, maps.shape[-3:-1])
    lines = (planes * along_j[..., None, :, :]).sum(dim=-2)
    expected: Tensor = (lines * along_k).sum(dim=-2)
    return expected
