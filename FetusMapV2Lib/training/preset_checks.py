"""What the values of a preset must be, rule by rule."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from typing import TYPE_CHECKING

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.network.unet import check_input_size

if TYPE_CHECKING:
    from FetusMapV2Lib.training.preset import Preset

_NAME = re.compile(r"[^/\\\x00-\x1f\x7f]{1,100}")
_MOST_LEVELS, _WIDEST, _MOST, _MOST_VOXELS = 8, 4096, 256, 2**27
#: Why discriminators and most memory plans do not go together.
WHOLE_HEATMAPS = "discriminators need whole heatmaps, which plans for a budget or a slowdown may never store"


def check_preset(preset: Preset, where: str | os.PathLike[str] | None) -> None:
    """Refuse values out of their range, and such as do not go together.

    Args:
        preset: of any values of the right kinds.
        where: file it comes from, for messages.

    Raises:
        UserError: the first rule that does not hold.
    """
    augmentation, optimiser, run, views = preset.augmentation, preset.optimiser, preset.run, preset.views
    _refuse_broken(_size_rules(preset), where)
    check_input_size(preset.input_size, 2 ** (len(preset.network.widths) - 1))
    rules = {
        "sigma must be positive": preset.sigma > 0,
        "views need a positive weight": min(views.whole, views.close, views.patch) >= 0
        and views.whole + views.close + views.patch > 0,
        "views.patch goes with no other view, with the loss heatmap and decoding peaks": not views.patch
        or (views.whole == views.close == 0 and (preset.loss, preset.decoding) == ("heatmap", "peaks")),
        "views.patch_spacing_mm must be positive, and run.cache_spacing_mm no larger where there are patches": (
            views.patch_spacing_mm > 0 and (not views.patch or run.cache_spacing_mm <= views.patch_spacing_mm)
        ),
        "views.patch_aimed must lie in 0-1": 0 <= views.patch_aimed <= 1,
        "views.patches_per_volume must be at least 1": views.patches_per_volume >= 1,
        "augmentation.quarter_turns must be all, long-axis or none": augmentation.quarter_turns
        in ("all", "long-axis", "none"),
        "augmentation ranges must be positive and rising": all(
            0 < low <= high for low, high in (augmentation.scale, augmentation.gamma, augmentation.gain)
        ),
        "augmentation.mirror and augmentation.shadow must lie in 0-1": 0 <= augmentation.mirror <= 1
        and 0 <= augmentation.shadow <= 1,
        "optimiser.schedule must be constant or cosine": optimiser.schedule in ("constant", "cosine"),
        "optimiser.learning_rate must be positive": optimiser.learning_rate > 0,
        "run.precision must be 32-true or bf16-mixed": run.precision in ("32-true", "bf16-mixed"),
        "run.batch_size must be at least 1": run.batch_size >= 1,
        "run.steps or run.epochs must be at least 1": max(run.steps, run.epochs) >= 1,
        "run.validation_fraction must lie in 0-0.9": 0 <= run.validation_fraction <= 0.9,
        "run.average_decay must lie in 0-1": 0 <= run.average_decay < 1,
        "run intervals must be positive": min(run.validate_every, run.checkpoint_every) >= 1
        and run.checkpoint_minutes > 0
        and run.cache_spacing_mm > 0,
    }
    rules["network.kind must be unet or unet-rnn"] = preset.network.kind in ("unet", "unet-rnn")
    rules["network.part_channels must be at least 1, network.boosted_level at least 0"] = (
        preset.network.part_channels >= 1 and preset.network.boosted_level >= 0
    )
    rules["decoding must be peaks or limbs"] = preset.decoding in ("peaks", "limbs")
    rules["refinement.mode must be off, prior or full"] = preset.refinement.mode in ("off", "prior", "full")
    rules["refinement.refined must be trunk or limbs"] = preset.refinement.refined in ("trunk", "limbs")
    rules["memory.scheme must be gcp or empty"] = preset.memory.scheme in ("", "gcp")
    rules["memory.max_slowdown must be 0 or at least 1"] = preset.memory.max_slowdown == 0 or (
        preset.memory.max_slowdown >= 1
    )
    weights = dataclasses.astuple(preset.loss_weights)
    rules["loss_weights must not be negative, and not all zero"] = min(weights) >= 0 < max(weights)
    rules |= _adversarial_rules(preset)
    _refuse_broken(rules, where)
    try:
        _ = preset.memory.budget_bytes
    except UserError as error:
        raise UserError(f"memory.budget: {error.problem}", where=where, remedy=error.remedy) from error


def _refuse_broken(rules: dict[str, bool], where: str | os.PathLike[str] | None) -> None:
    for problem, holds in rules.items():
        if not holds:
            raise UserError(problem, where=where)


def _size_rules(preset: Preset) -> dict[str, bool]:
    """Beyond these nothing could be trained, and all memory would go before it is said."""
    network, optimiser, run = preset.network, preset.optimiser, preset.run
    small = max(network.part_channels, network.boosted_level, preset.adversarial.reduction) <= _MOST
    return {
        "a preset's name must be a plain one of at most 100 characters": _NAME.fullmatch(preset.name) is not None
        and preset.name.strip(". ") != "",
        "network.widths needs at least two levels of at least one channel": len(network.widths) >= 2
        and min(network.widths) >= 1,
        f"network.widths may have at most {_MOST_LEVELS} levels of {_WIDEST} channels": len(network.widths)
        <= _MOST_LEVELS
        and max(network.widths, default=0) <= _WIDEST,
        f"adversarial.widths may have at most {_MOST_LEVELS} levels of {_WIDEST} channels": len(
            preset.adversarial.widths
        )
        <= _MOST_LEVELS
        and max(preset.adversarial.widths, default=1) <= _WIDEST,
        f"input_size must be three sizes of at most {_MOST_VOXELS} voxels": min(preset.input_size) >= 1
        and math.prod(preset.input_size) <= _MOST_VOXELS,
        f"network.part_channels, network.boosted_level and adversarial.reduction may be at most {_MOST}": small,
        "run.batch_size may be at most 4096": run.batch_size <= 4096,
        "run.steps and run.epochs may not be negative": min(run.steps, run.epochs) >= 0,
        "run.validation_cases may not be negative": run.validation_cases >= 0,
        "optimiser.betas must lie in 0-1": all(0 <= beta < 1 for beta in optimiser.betas),
        "optimiser.weight_decay, warmup, final_factor and gradient_clip may not be negative": min(
            optimiser.weight_decay, optimiser.warmup, optimiser.final_factor, optimiser.gradient_clip
        )
        >= 0,
        "loss must be heatmap or pair": preset.loss in ("heatmap", "pair"),
    }


def _adversarial_rules(preset: Preset) -> dict[str, bool]:
    options = preset.adversarial
    positive = min(options.pose_threshold, options.confidence_threshold, options.learning_rate) > 0
    sized = options.reduction >= 1 and len(options.widths) >= 1 and min(options.widths) >= 1
    rules = {
        "adversarial weights must not be negative": min(options.pose_weight, options.confidence_weight) >= 0,
        "adversarial thresholds and adversarial.learning_rate must be positive": positive,
        "adversarial.reduction and each of adversarial.widths must be at least 1": sized,
    }
    if options.active and sized:
        cells = options.reduction * 2 ** (len(options.widths) - 1)
        fits = not any(size % cells for size in preset.input_size)
        rules[f"input_size must be a multiple of {cells} for the discriminators"] = fits
        rules["discriminators judge whole poses, and not what patches hold of them"] = not preset.sees_patches
        rules["discriminators judge landmarks by name, which the loss pair does not teach"] = preset.loss != "pair"
        rules[f"{WHOLE_HEATMAPS}; use memory.scheme"] = bool(preset.memory.scheme) or not preset.memory.manages
    return rules
