"""Eq. 5 for patches of a volume: a landmark lies at one of the patch's voxels, or outside, treated as one more voxel.

The predictions for single patches can thus be stitched to one map of the volume (`estimation.patch_stitching`).
"""

from __future__ import annotations

import torch

from FetusMapV2Lib.network.heatmap import cut_profiles, outside_logit
from FetusMapV2Lib.network.heatmap_loss import SlabHeatmapLoss


class SlabPatchLoss(SlabHeatmapLoss):
    """K of Eq. 5 over a patch's voxels and "outside", computed slab by slab (`memory.head.HeadLoss`).

    The target is the part inside the patch of the Gaussian in the whole volume (Eq. 2); the rest of the
    Gaussian's mass belongs to "outside", whose logit is fixed (`network.heatmap.outside_logit`). A landmark in the
    middle gives Eq. 2, one far away gives "outside" alone, and the loss is continuous at the border. Without a fetus
    every landmark is outside.

    Args:
        points_ijk: (B, L, 3) voxels in (i, j, k) order, also beyond the patch; NaN = missing.
        fetus_present: (B,) bool.
        sigma: in voxels.
    """

    def begin(self, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> None:
        """Profiles of the targets and sums that start with "outside"; see `SlabHeatmapLoss.begin`."""
        super().begin(shape, device, dtype)
        points = torch.nan_to_num(self.points.to(device)).to(dtype)
        present = self.present.to(device=device, dtype=dtype)[:, None, None]
        along_k, along_j, along_i = cut_profiles(points, shape[2:], self.sigma)
        self.along = [along_k * present, along_j, along_i]
        inside = torch.stack([profile.sum(dim=-1) for profile in self.along]).prod(dim=0)
        logit = outside_logit(shape[2:])
        self.log_sum.fill_(logit)
        self.expected += (1 - inside).clamp_min(0) * logit
