"""The groups of fields of a preset, and the rules that hold within each.

The defaults are the paper's recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.plan import parse_bytes
from FetusMapV2Lib.network.unet import PAPER_WIDTHS

#: Limits beyond which nothing could be trained, and all memory would be used up before that is reported.
MAX_LEVELS, MAX_CHANNELS, MAX_COUNT = 8, 4096, 256


class Checked:
    """A dataclass that refuses values for which one of its rules does not hold.

    Raises:
        UserError: on construction, with the text of the first broken rule.
    """

    def __post_init__(self) -> None:
        for rule, holds in self.rules().items():
            if not holds:
                raise UserError(rule)

    def rules(self) -> dict[str, bool]:
        """Text of each rule, naming fields by their dotted path in the preset, and whether it holds."""
        raise NotImplementedError


def fits_levels(widths: Sequence[int]) -> bool:
    """Whether a network has no more levels and channels than the limits."""
    return len(widths) <= MAX_LEVELS and max(widths, default=0) <= MAX_CHANNELS


@dataclass(frozen=True)
class NetworkOptions(Checked):
    """The network.

    Attributes:
        kind: "unet", or "unet-rnn" with a feature booster in the decoder (`network.booster`).
        widths: channels per level, finest first.
        coordinates: the coordinates of each voxel are further input channels.
        reversible: patterns of module paths; the Conv-BN-ReLU passes there that may be are reversible blocks (Eq. 1).
        part_channels, boosted_level: of the feature booster: channels per landmark, and the decoder level.
    """

    kind: str = "unet"
    widths: tuple[int, ...] = PAPER_WIDTHS
    coordinates: bool = False
    reversible: tuple[str, ...] = ()
    part_channels: int = 4
    boosted_level: int = 2

    def rules(self) -> dict[str, bool]:
        """See `Checked`."""
        widths = self.widths
        return {
            "network.widths needs at least two levels of at least one channel": len(widths) >= 2 and min(widths) >= 1,
            f"network.widths may have at most {MAX_LEVELS} levels of {MAX_CHANNELS} channels": fits_levels(widths),
            f"network.reversible may have at most {MAX_COUNT} patterns": len(self.reversible) <= MAX_COUNT,
            "network.kind must be unet or unet-rnn": self.kind in ("unet", "unet-rnn"),
            f"network.part_channels must be 1 to {MAX_COUNT}": 1 <= self.part_channels <= MAX_COUNT,
            f"network.boosted_level must be 0 to {MAX_COUNT}": 0 <= self.boosted_level <= MAX_COUNT,
        }


@dataclass(frozen=True)
class ViewOptions(Checked):
    """How often each view of a case is drawn (relative weights), and how patches are cut from a volume.

    Attributes:
        whole, close, tight: see `estimation.network_views`; tight views go with close ones.
        patch: parts of the volume at one spacing, stitched by the engine; they cannot be combined with other views.
        patch_spacing_mm: voxel size of patches, default: the coarser of the paper's two.
        patch_aimed: share of the patches that are placed around a landmark, the others anywhere.
        patches_per_volume: number of patches that count as one volume, in epochs and in seconds per volume; the
            paper's training time per volume is that of 27.
    """

    whole: float = 1.0
    close: float = 0.0
    patch: float = 0.0
    patch_spacing_mm: float = 0.5
    patch_aimed: float = 0.5
    patches_per_volume: int = 27
    tight: float = 0.0

    def rules(self) -> dict[str, bool]:
        """See `Checked`."""
        weights = (self.whole, self.close, self.patch, self.tight)
        return {
            "views need a positive weight": min(weights) >= 0 < max(weights),
            "views.patch goes with no other view": not self.patch or self.whole == self.close == self.tight == 0,
            "views.tight goes with views.close": not self.tight or self.close > 0,
            "views.patch_spacing_mm must be positive": self.patch_spacing_mm > 0,
            "views.patch_aimed must lie in 0-1": 0 <= self.patch_aimed <= 1,
            "views.patches_per_volume must be at least 1": self.patches_per_volume >= 1,
        }


@dataclass(frozen=True)
class AugmentationOptions(Checked):
    """Random changes of a sample. Angles in degrees, shifts relative to the view or to the crown-rump length.

    Attributes:
        quarter_turns: whole view: "all" 24 proper 90-degree rotations, the 8 that keep the "long-axis", or "none".
        scale: whole view: factor range of the grid spacing.
        rotation_deg: whole view: standard deviation of a further turn about a random axis.
        shift: whole view: largest shift as a fraction of the view's size.
        close_rotation_deg, close_log_scale, close_shift: standard deviations of the error of the body frame.
        close_wild: probability that this error is three times as large.
        gamma, gain: ranges of an exponent and a factor on the grey values (drawn on a logarithmic scale).
        noise: largest standard deviation of added noise (grey 1 = the bright end).
        shadow: probability of a darkened half-space.
        mirror: probability that a view is mirrored; left and right landmarks are then exchanged.
    """

    quarter_turns: str = "all"
    scale: tuple[float, float] = (0.8, 1.2)
    rotation_deg: float = 0.0
    shift: float = 0.0
    close_rotation_deg: float = 10.0
    close_log_scale: float = 0.08
    close_shift: float = 0.04
    close_wild: float = 0.1
    gamma: tuple[float, float] = (1.0, 1.0)
    gain: tuple[float, float] = (1.0, 1.0)
    noise: float = 0.0
    shadow: float = 0.0
    mirror: float = 0.0

    def rules(self) -> dict[str, bool]:
        """See `Checked`."""
        ranges, probabilities = (self.scale, self.gamma, self.gain), (self.mirror, self.shadow)
        return {
            "augmentation.quarter_turns must be all, long-axis or none": self.quarter_turns
            in ("all", "long-axis", "none"),
            "augmentation ranges must be positive and rising": all(0 < low <= high for low, high in ranges),
            "augmentation.mirror and augmentation.shadow must lie in 0-1": all(0 <= p <= 1 for p in probabilities),
        }


@dataclass(frozen=True)
class LossOptions(Checked):
    """Weights of the parts of the loss "pair" (Eq. 3 and 8), which the paper sums without weights.

    Attributes:
        trunk: of K over head and trunk.
        assigned: of L1, which uses the better of both assignments of the sides.
        joint: of L2, which keeps both limbs of a pair from being found at the same place; 0 leaves it out.
    """

    trunk: float = 1.0
    assigned: float = 1.0
    joint: float = 1.0

    def rules(self) -> dict[str, bool]:
        """See `Checked`."""
        weights = (self.trunk, self.assigned, self.joint)
        return {"loss_weights must not be negative, and not all zero": min(weights) >= 0 < max(weights)}


@dataclass(frozen=True)
class AdversarialOptions(Checked):
    """Discriminators that the network is trained against (`training.adversarial`); the model does not contain them.

    Attributes:
        pose_weight: of the pose discriminator in the network's loss, 0 = none.
        confidence_weight: of the confidence discriminator, 0 = none.
        pose_threshold: a predicted landmark within this fraction of the body's length of the truth is labelled real.
        confidence_threshold: a heatmap that differs from the Gaussian by less than this fraction is labelled real.
        reduction: edge of a cell in voxels; heatmaps and volume are reduced to such cells for the discriminators.
        widths: channels per level of a discriminator, finest first.
        learning_rate: of the discriminators; betas and schedule are those of `OptimiserOptions`.
    """

    pose_weight: float = 0.0
    confidence_weight: float = 0.0
    pose_threshold: float = 0.1
    confidence_threshold: float = 0.7
    reduction: int = 4
    widths: tuple[int, ...] = (16, 32, 64)
    learning_rate: float = 1e-4

    @property
    def active(self) -> bool:
        """Whether there is a discriminator."""
        return max(self.pose_weight, self.confidence_weight) > 0

    def rules(self) -> dict[str, bool]:
        """See `Checked`."""
        widths = self.widths
        positive = min(self.pose_threshold, self.confidence_threshold, self.learning_rate) > 0
        return {
            "adversarial weights must not be negative": min(self.pose_weight, self.confidence_weight) >= 0,
            "adversarial thresholds and adversarial.learning_rate must be positive": positive,
            f"adversarial.reduction must be 1 to {MAX_COUNT}": 1 <= self.reduction <= MAX_COUNT,
            "adversarial.widths needs a level, and each at least one channel": len(widths) >= 1 and min(widths) >= 1,
            f"adversarial.widths may have at most {MAX_LEVELS} levels of {MAX_CHANNELS} channels": fits_levels(widths),
        }


@dataclass(frozen=True)
class OptimiserOptions(Checked):
    """Adam and its learning rate over the run.

    Attributes:
        schedule: "constant" or "cosine" (after a linear warm-up over `warmup` of the run, down to `final_factor`).
        gradient_clip: largest gradient norm, 0 = no clipping.
    """

    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup: float = 0.0
    final_factor: float = 0.01
    gradient_clip: float = 0.0

    def rules(self) -> dict[str, bool]:
        """See `Checked`."""
        smallest = min(self.weight_decay, self.warmup, self.final_factor, self.gradient_clip)
        return {
            "optimiser.schedule must be constant or cosine": self.schedule in ("constant", "cosine"),
            "optimiser.learning_rate must be positive": self.learning_rate > 0,
            "optimiser.betas must lie in 0-1": all(0 <= beta < 1 for beta in self.betas),
            "optimiser.weight_decay, warmup, final_factor and gradient_clip may not be negative": smallest >= 0,
        }


@dataclass(frozen=True)
class RunOptions(Checked):
    """Length, precision and book-keeping of a run.

    Attributes:
        epochs: passes over the training volumes; ignored where `steps` is given.
        steps: optimiser steps, 0 = use `epochs`.
        precision: "32-true" or "bf16-mixed" (Lightning's names), the latter in float32 on devices without bfloat16.
        channels_last: memory format of the convolutions, faster on CPUs and tensor cores.
        average_decay: decay of the weight average (EMA) that is then exported, 0 = off.
        validation_fraction: share of the cases held out of training.
        validation_cases: greatest number of cases per validation.
        validate_every, checkpoint_every: steps.
        checkpoint_minutes: greatest time between two checkpoints.
        cache_spacing_mm: cases are kept in memory averaged down to about this voxel size.
    """

    epochs: int = 100
    steps: int = 0
    batch_size: int = 1
    precision: str = "32-true"
    channels_last: bool = False
    average_decay: float = 0.0
    validation_fraction: float = 0.1
    validation_cases: int = 24
    validate_every: int = 2000
    checkpoint_every: int = 500
    checkpoint_minutes: float = 5.0
    cache_spacing_mm: float = 0.6

    @property
    def autocast(self) -> torch.dtype | None:
        """The type that convolutions run in, None = float32."""
        return torch.bfloat16 if self.precision == "bf16-mixed" else None

    def rules(self) -> dict[str, bool]:
        """See `Checked`."""
        intervals = (self.validate_every, self.checkpoint_every, self.checkpoint_minutes, self.cache_spacing_mm)
        return {
            "run.precision must be 32-true or bf16-mixed": self.precision in ("32-true", "bf16-mixed"),
            f"run.batch_size must be 1 to {MAX_CHANNELS}": 1 <= self.batch_size <= MAX_CHANNELS,
            "run.steps and run.epochs may not be negative": min(self.steps, self.epochs) >= 0,
            "run.steps or run.epochs must be at least 1": max(self.steps, self.epochs) >= 1,
            "run.validation_fraction must lie in 0-0.9": 0 <= self.validation_fraction <= 0.9,
            "run.validation_cases may not be negative": self.validation_cases >= 0,
            "run.average_decay must lie in 0-1": 0 <= self.average_decay < 1,
            "run intervals must be positive": min(intervals) > 0,
        }


@dataclass(frozen=True)
class MemoryOptions(Checked):
    """The memory and time of a training step. They decide how the step is run, not its result.

    Attributes:
        budget: for everything on the device, e.g. "8GiB"; "" = no limit.
        max_slowdown: longest that a step may take by prediction, relative to plain PyTorch, at least 1, 0 = any;
            alone it asks for the least memory within it.
        scheme: "" = the best plan, or a scheme of the paper: "gcp", checkpoints alone, together with
            reversible blocks if the network has them (`memory.paper.framework`).
    """

    budget: str = ""
    max_slowdown: float = 0.0
    scheme: str = ""

    @property
    def manages(self) -> bool:
        """Whether steps are to be run by a plan."""
        return bool(self.budget or self.max_slowdown or self.scheme)

    @property
    def budget_bytes(self) -> int | None:
        """The budget as a number, None if there is none."""
        return parse_bytes(self.budget) if self.budget else None

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            _ = self.budget_bytes
        except UserError as error:
            raise UserError(f"memory.budget: {error.problem}", remedy=error.remedy) from error

    def rules(self) -> dict[str, bool]:
        """See `Checked`."""
        return {
            "memory.scheme must be gcp or empty": self.scheme in ("", "gcp"),
            "memory.max_slowdown must be 0 or at least 1": self.max_slowdown == 0 or self.max_slowdown >= 1,
        }


@dataclass(frozen=True)
class RefinementOptions(Checked):
    """How estimates of the trained model are refined online (Eq. 9-11); part of the model file.

    Attributes:
        mode: "off", "prior" or "full" (`estimation.estimate.RefineMode`), as a comparison of systems uses it.
        refined: "trunk", the schema's refined set, or "limbs", as in the authors' earlier FetusMap.
    """

    mode: str = "off"
    refined: str = "trunk"

    def rules(self) -> dict[str, bool]:
        """See `Checked`."""
        return {
            "refinement.mode must be off, prior or full": self.mode in ("off", "prior", "full"),
            "refinement.refined must be trunk or limbs": self.refined in ("trunk", "limbs"),
        }
