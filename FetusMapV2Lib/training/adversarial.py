"""The adversarial losses of UGAN, after Chen et al. 2017: discriminators, their labels, and what each side minimises.

docs/systems.md says which parts of that work are adopted and which differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from FetusMapV2Lib.network.discriminator import (
    HeatmapDiscriminator,
    cell_masses,
    gaussian_cell_masses,
    peak_gain,
)
from FetusMapV2Lib.network.unet import parameter_bytes
from FetusMapV2Lib.training.preset import Preset
from FetusMapV2Lib.training.preset_options import AdversarialOptions


@dataclass(frozen=True, eq=False)
class Poses:
    """The predicted and the true poses of a batch, as the discriminators see them.

    Attributes:
        found, true: (B, L, k, j, i) cell masses, zero for a landmark that is not counted; `found` is differentiable.
        volume: (B, 1, k, j, i) mean grey value of each cell.
        counted: (B, L) bool: annotated landmarks of fetuses.
        right: (B, L) bool, the predicted landmark is near enough to the truth to be labelled real.
        confident: (B, L) bool, the predicted heatmap is similar enough to the Gaussian to be labelled real.
    """

    found: Tensor
    true: Tensor
    volume: Tensor
    counted: Tensor
    right: Tensor
    confident: Tensor


class Adversary(nn.Module):
    """The pose discriminator, which sees heatmaps and volume, and the confidence discriminator, which sees heatmaps.

    Args:
        options: a weight of 0 leaves that discriminator out.
        landmarks: L.
        sigma: of the Gaussians, in voxels.
    """

    def __init__(self, options: AdversarialOptions, landmarks: int, sigma: float) -> None:
        super().__init__()
        self.options, self.sigma = options, sigma
        gain = peak_gain(sigma, options.reduction)
        self.weights = {
            name: weight
            for name, weight in (("pose", options.pose_weight), ("confidence", options.confidence_weight))
            if weight
        }
        self.discriminators = nn.ModuleDict(
            {name: HeatmapDiscriminator(landmarks, options.widths, gain, name == "pose") for name in self.weights}
        )

    def poses(self, logits: Tensor, volume: Tensor, points_ijk: Tensor, fetus_present: Tensor) -> Poses:
        """The input of the discriminators.

        Args:
            logits: (B, L, K, J, I) of the network.
            volume: (B, 1, K, J, I).
            points_ijk: (B, L, 3) voxels (i, j, k), NaN = missing.
            fetus_present: (B,) bool.
        """
        options = self.options
        with torch.autocast(logits.device.type, enabled=False):
            counted = torch.isfinite(points_ijk).all(dim=-1) & fetus_present[:, None]
            shown = counted[..., None, None, None]
            found = cell_masses(logits, options.reduction) * shown
            centres = torch.where(counted[..., None], points_ijk, torch.zeros_like(points_ijk)).to(found.dtype)
            true = gaussian_cell_masses(centres, logits.shape[2:], self.sigma, options.reduction) * shown
            with torch.no_grad():
                right = near_truth(peak_voxels(logits), points_ijk, options.pose_threshold)
                confident = like_truth(found, true, options.confidence_threshold)
            seen = F.avg_pool3d(volume, options.reduction)
        return Poses(found, true, seen, counted, right & counted, confident & counted)

    def judging_loss(self, poses: Poses) -> tuple[Tensor, dict[str, Tensor]]:
        """What the discriminators minimise, and what to log; no gradient reaches the network.

        -log D(true) - log(1 - |D(found) - label|) per landmark: the label of a predicted landmark is 1 where it
        is close enough to the truth.
        """
        labels = {"pose": poses.right, "confidence": poses.confident}
        total, parts = poses.true.new_zeros(()), {}
        for name in self.weights:
            real = self._ask(name, poses.true, poses)
            found = self._ask(name, poses.found.detach(), poses)
            loss_real = _mean(-F.logsigmoid(real), poses.counted)
            label = labels[name].to(found.dtype)
            loss_found = _mean(F.binary_cross_entropy_with_logits(found, label, reduction="none"), poses.counted)
            total = total + loss_real + loss_found
            parts[f"{name}_real"], parts[f"{name}_found"] = loss_real.detach(), loss_found.detach()
            parts[f"{name}_passed"] = label.sum() / poses.counted.sum().clamp_min(1)
        return total, parts

    def deceiving_loss(self, poses: Poses) -> tuple[Tensor, dict[str, Tensor]]:
        """What is added to the network's loss, -log D(found) by weight; no gradient reaches the discriminators."""
        total, parts = poses.found.new_zeros(()), {}
        with _frozen(self):
            for name, weight in self.weights.items():
                loss = _mean(-F.logsigmoid(self._ask(name, poses.found, poses)), poses.counted)
                total = total + weight * loss
                parts[f"{name}_deceiving"] = loss.detach()
        return total, parts

    def _ask(self, name: str, masses: Tensor, poses: Poses) -> Tensor:
        discriminator: Callable[..., Tensor] = self.discriminators[name]
        return discriminator(masses, poses.volume)


def peak_voxels(logits: Tensor) -> Tensor:
    """The highest voxel of each map: (B, L, K, J, I) to (B, L, 3) whole voxels in (i, j, k) order, float."""
    size_j, size_i = logits.shape[3:]
    peak = logits.flatten(2).argmax(dim=2)
    return torch.stack((peak % size_i, peak // size_i % size_j, peak // (size_i * size_j)), dim=-1).float()


def near_truth(found_ijk: Tensor, true_ijk: Tensor, threshold: float) -> Tensor:
    """Whether landmarks are nearer to the truth than a fraction of the body's length.

    The length is the greatest distance between two annotated landmarks, about that from crown to rump.

    Args:
        found_ijk: (B, L, 3) voxels.
        true_ijk: (B, L, 3) voxels, NaN = missing.
        threshold: fraction.

    Returns:
        (B, L) bool, False where the truth is missing.
    """
    between = torch.cdist(true_ijk, true_ijk, compute_mode="donot_use_mm_for_euclid_dist")
    length = between.nan_to_num(nan=0.0).amax(dim=(1, 2))
    distance = (found_ijk - true_ijk).norm(dim=-1)
    near: Tensor = distance < threshold * length[:, None]
    return near


def like_truth(found: Tensor, true: Tensor, threshold: float) -> Tensor:
    """Whether heatmaps differ from the true ones by less than a fraction of these, as Euclidean norms over the grid.

    Args:
        found: (B, L, k, j, i) predicted cell masses.
        true: (B, L, k, j, i) true cell masses.
        threshold: fraction; a flat map differs by about 1, a sharp one in the wrong place by about 1.4.

    Returns:
        (B, L) bool, False where the true map is zero.
    """
    difference, size = (maps.flatten(2).norm(dim=2) for maps in (found - true, true))
    alike: Tensor = difference < threshold * size
    return alike


def adversarial_bytes(preset: Preset, landmarks: int) -> int:
    """Approximate upper bound of the device memory, in bytes, that adversarial training adds to the network's own step.

    Counts the discriminators with gradients and Adam's state, and a second copy of the heatmaps.
    """
    if not preset.adversarial.active:
        return 0
    with torch.device("meta"):
        adversary = Adversary(preset.adversarial, landmarks, preset.sigma)
    heatmaps = preset.run.batch_size * landmarks * torch.Size(preset.input_size).numel()
    return 4 * parameter_bytes(adversary) + torch.float32.itemsize * heatmaps


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Sum over the counted landmarks, divided by the number of all landmarks, as in `losses.HeatmapLoss`."""
    return (values * counted).sum() / counted.numel()


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """No gradients for a module's parameters; its inputs still get theirs."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
