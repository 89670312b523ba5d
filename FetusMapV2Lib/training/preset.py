"""Presets: what a training run is, as small JSON files read into frozen dataclasses.

The defaults below are the paper's recipe, so a preset file says only what differs from it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.json_files import read_json_object
from FetusMapV2Lib.memory.plan import parse_bytes
from FetusMapV2Lib.network.unet import PAPER_WIDTHS
from FetusMapV2Lib.training.preset_checks import check_preset
from FetusMapV2Lib.training.preset_json import build, merged

PRESET_FOLDER = Path(__file__).resolve().parent / "presets"


@dataclass(frozen=True)
class NetworkOptions:
    """The network.

    Attributes:
        kind: "unet", or "unet-rnn" with a feature booster in the decoder (`network.booster`).
        widths: channels per level, finest first.
        coordinates: the network is told each voxel's place.
        reversible: patterns of module paths; the Conv-BN-ReLU passes there that may be are reversible blocks (Eq. 1).
        part_channels, boosted_level: of the feature booster: channels per landmark, and the decoder level.
    """

    kind: str = "unet"
    widths: tuple[int, ...] = PAPER_WIDTHS
    coordinates: bool = False
    reversible: tuple[str, ...] = ()
    part_channels: int = 4
    boosted_level: int = 2


@dataclass(frozen=True)
class ViewOptions:
    """How often each view of a case is drawn (relative weights), and what patches of a volume are.

    Attributes:
        whole, close: see `estimation.network_views`.
        patch: parts of the volume at one spacing, stitched by the engine; they are not mixed with other views.
        patch_spacing_mm: voxel size of patches, by custom the coarser of the paper's two.
        patch_aimed: share of the patches that are placed around a landmark, the others anywhere.
        patches_per_volume: so many count as one volume, in epochs and in seconds per volume; the paper's training
            time per volume is that of 27.
    """

    whole: float = 1.0
    close: float = 0.0
    patch: float = 0.0
    patch_spacing_mm: float = 0.5
    patch_aimed: float = 0.5
    patches_per_volume: int = 27


@dataclass(frozen=True)
class AugmentationOptions:
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
        mirror: probability that a view is mirrored; left and right landmarks then change their names.
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


@dataclass(frozen=True)
class LossOptions:
    """Weights of the parts of the loss "pair" (Eq. 3 and 8), which the paper adds up as they are.

    Attributes:
        trunk: of K over head and trunk.
        assigned: of L1, which takes the sides of arms and legs as they fit best.
        joint: of L2, which keeps both limbs of a pair from one place; 0 leaves it out.
    """

    trunk: float = 1.0
    assigned: float = 1.0
    joint: float = 1.0


@dataclass(frozen=True)
class AdversarialOptions:
    """Discriminators that the network is trained against (`training.adversarial`); they are no part of the model.

    Attributes:
        pose_weight: of the pose discriminator in the network's loss, 0 = none.
        confidence_weight: of the confidence discriminator, 0 = none.
        pose_threshold: a found landmark nearer to the truth than this fraction of the body's length passes as real.
        confidence_threshold: a heatmap that differs from the Gaussian by less than this fraction of it passes as real.
        reduction: voxels along the edge of a cell; the discriminators see heatmaps and volume at this lower resolution.
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


@dataclass(frozen=True)
class OptimiserOptions:
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


@dataclass(frozen=True)
class RunOptions:
    """Length, precision and book-keeping of a run.

    Attributes:
        epochs: passes over the training volumes; ignored where `steps` is given.
        steps: optimiser steps, 0 = use `epochs`.
        precision: "32-true" or "bf16-mixed" (Lightning's names).
        channels_last: memory format of the convolutions, faster on CPUs and tensor cores.
        average_decay: decay of the weight average (EMA) that is then exported, 0 = off.
        validation_fraction: share of the cases held out of training.
        validation_cases: at most so many cases are looked at per validation.
        validate_every, checkpoint_every: steps.
        checkpoint_minutes: a checkpoint is also written after so many minutes.
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


@dataclass(frozen=True)
class MemoryOptions:
    """What a training step may take. It decides how the step is run, not what comes out of it.

    Attributes:
        budget: for all that is kept on the device, e.g. "8GiB"; "" = as much as it takes.
        max_slowdown: greatest ratio of a step's operations to those without a plan, at least 1, 0 = any; alone it asks
            for the least memory within it.
        scheme: "" = whatever the planner finds best, or a scheme of the paper: "gcp", checkpoints alone, beside
            reversible blocks if the network has them (`memory.framework`).
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


@dataclass(frozen=True)
class RefinementOptions:
    """How estimates of the trained model are meant to be refined online (Eq. 9-11); part of the model file.

    Attributes:
        mode: "off", "prior" or "full" (`estimation.estimate.RefineMode`), as a comparison of systems uses it.
        refined: "trunk", the schema's refined set, or "limbs", as in the authors' earlier FetusMap.
    """

    mode: str = "off"
    refined: str = "trunk"


@dataclass(frozen=True)
class Preset:
    """One training recipe.

    Attributes:
        name, description: for lists and logs.
        input_size: (K, J, I) voxels of the network's grid, multiples of 16.
        sigma: of the Gaussian heatmaps, voxels.
        loss: name in `losses.build_loss`: "heatmap" or "pair".
        decoding: how estimates read the heatmaps: "peaks", each by itself, or "limbs", arms and legs as wholes.
    """

    name: str
    description: str = ""
    input_size: tuple[int, int, int] = (176, 112, 112)
    sigma: float = 2.0
    loss: str = "heatmap"
    decoding: str = "peaks"
    network: NetworkOptions = field(default_factory=NetworkOptions)
    views: ViewOptions = field(default_factory=ViewOptions)
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)
    loss_weights: LossOptions = field(default_factory=LossOptions)
    adversarial: AdversarialOptions = field(default_factory=AdversarialOptions)
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    run: RunOptions = field(default_factory=RunOptions)
    memory: MemoryOptions = field(default_factory=MemoryOptions)
    refinement: RefinementOptions = field(default_factory=RefinementOptions)

    @property
    def sees_patches(self) -> bool:
        """Whether the network is shown parts of volumes."""
        return self.views.patch > 0

    @property
    def samples_per_volume(self) -> int:
        """Samples that count as one volume."""
        return self.views.patches_per_volume if self.sees_patches else 1

    def trains_like(self, other: Preset) -> bool:
        """Whether both make the same model: they may differ in the memory that they take."""
        return dataclasses.replace(self, memory=other.memory) == other

    def has_weights_of(self, other: Preset) -> bool:
        """Whether both arrive at the same weights: they may also differ in their names and in the refinement."""
        alike = dataclasses.replace(self, name=other.name, description=other.description, refinement=other.refinement)
        return alike.trains_like(other)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, where: str | os.PathLike[str] | None = None) -> Preset:
        """A preset from plain JSON values.

        Raises:
            UserError: an unknown or missing key, a value of the wrong kind or outside its range.
        """
        preset = build(cls, data, where)
        check_preset(preset, where)
        return typing.cast(Preset, preset)

    def with_overrides(self, overrides: Mapping[str, Any]) -> Preset:
        """A copy with single fields changed, named by dotted paths such as ``"run.steps"``.

        Raises:
            UserError: an unknown field or a bad value.
        """
        data = self.to_dict()
        for path, value in overrides.items():
            *groups, last = path.split(".")
            target = data
            for group in groups:
                target = target.get(group) if isinstance(target, dict) else None  # type: ignore[assignment]
            if not isinstance(target, dict) or last not in target:
                raise UserError(f"presets have no field {path!r}", remedy="Use a dotted path such as run.steps")
            target[last] = list(value) if isinstance(value, tuple) else value
        return Preset.from_dict(data, where=f"preset {self.name}")


def preset_names() -> tuple[str, ...]:
    """The names of the bundled presets."""
    return tuple(sorted(path.stem for path in PRESET_FOLDER.glob("*.json")))


def list_presets() -> tuple[Preset, ...]:
    """All bundled presets, by name."""
    return tuple(load_preset(name) for name in preset_names())


def load_preset(name_or_path: str | os.PathLike[str]) -> Preset:
    """A bundled preset by name, or a preset file by path.

    A file may name another preset under ``"extends"``; it then says only what differs from that.

    Raises:
        UserError: no such preset, or a broken file.
    """
    text = os.fspath(name_or_path)
    path = PRESET_FOLDER / f"{text}.json" if text in preset_names() else Path(name_or_path)
    if not os.path.isfile(path):  # noqa: PTH113 - takes any text
        raise UserError(
            "there is no such preset", where=text, remedy=f"Use one of {', '.join(preset_names())} or a JSON file"
        )
    return Preset.from_dict({"name": path.stem, **_read(path, ())}, where=path)


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path in seen:
        raise UserError("presets extend one another in a circle", where=path)
    data = read_json_object(path, "the preset", error=UserError)
    parent = data.pop("extends", None)
    if parent is None:
        return data
    if parent not in preset_names():
        raise UserError(f"the preset extends {parent!r:.60}, which does not exist", where=path)
    inherited = _read(PRESET_FOLDER / f"{parent}.json", (*seen, path))
    inherited.pop("description", None)
    inherited.pop("name", None)
    return merged(inherited, data)
