"""Presets: what a training run is, as small JSON files read into frozen dataclasses.

The defaults are the paper's recipe, so a preset file says only what differs from it.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.json_files import read_json_object
from FetusMapV2Lib.core.serialisation import ReadingRules, from_json, to_json
from FetusMapV2Lib.network.bfloat16 import computes_bfloat16
from FetusMapV2Lib.network.normalisation import Normalisation
from FetusMapV2Lib.network.unet import check_input_size
from FetusMapV2Lib.training.distortions.group import Distortions
from FetusMapV2Lib.training.preset_options import (
    AdversarialOptions,
    AugmentationOptions,
    Checked,
    LossOptions,
    MemoryOptions,
    NetworkOptions,
    OptimiserOptions,
    RefinementOptions,
    RunOptions,
    ViewOptions,
)
from FetusMapV2Lib.training.proportions import Proportions

PRESET_FOLDER = Path(__file__).resolve().parent / "presets"
#: Why discriminators and most memory plans cannot be combined.
WHOLE_HEATMAPS = "discriminators need whole heatmaps, which plans for a budget or a slowdown may never store"
_NAME = re.compile(r"[^/\\\x00-\x1f\x7f]{1,100}")
_MAX_VOXELS = 2**27
#: No number in a preset is larger.
_RULES = ReadingRules(largest=2**31)


@dataclass(frozen=True)
class Preset(Checked):
    """One training recipe.

    Attributes:
        name, description: for lists and logs.
        input_size: (K, J, I) voxels of the network's grid, multiples of 16.
        sigma: of the Gaussian heatmaps, voxels.
        loss: name in `losses.build_loss`: "heatmap" or "pair".
        decoding: how estimates read the heatmaps: "peaks", each by itself, or "limbs", arms and legs as wholes.
        normalisation: of the grey values, "bright-end" or "plausible" (`network.normalisation`).
    """

    name: str
    description: str = ""
    input_size: tuple[int, int, int] = (176, 112, 112)
    sigma: float = 2.0
    loss: str = "heatmap"
    decoding: str = "peaks"
    normalisation: Normalisation = "bright-end"
    network: NetworkOptions = field(default_factory=NetworkOptions)
    views: ViewOptions = field(default_factory=ViewOptions)
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)
    proportions: Proportions = field(default_factory=Proportions)
    distortions: Distortions = field(default_factory=Distortions)
    loss_weights: LossOptions = field(default_factory=LossOptions)
    adversarial: AdversarialOptions = field(default_factory=AdversarialOptions)
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    run: RunOptions = field(default_factory=RunOptions)
    memory: MemoryOptions = field(default_factory=MemoryOptions)
    refinement: RefinementOptions = field(default_factory=RefinementOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_input_size(self.input_size, 2 ** (len(self.network.widths) - 1))

    def rules(self) -> dict[str, bool]:
        """See `Checked`."""
        plain_name = _NAME.fullmatch(self.name) is not None and self.name.strip(". ") != ""
        fits = min(self.input_size) >= 1 and math.prod(self.input_size) <= _MAX_VOXELS
        rules = {
            "a preset's name must be a plain one of at most 100 characters": plain_name,
            f"input_size must be three sizes of at most {_MAX_VOXELS} voxels": fits,
            "sigma must be positive": self.sigma > 0,
            "loss must be heatmap or pair": self.loss in ("heatmap", "pair"),
            "decoding must be peaks or limbs": self.decoding in ("peaks", "limbs"),
        }
        if self.sees_patches:
            coarse = self.run.cache_spacing_mm > self.views.patch_spacing_mm
            plain = (self.loss, self.decoding) == ("heatmap", "peaks")
            rules["views.patch goes with the loss heatmap and decoding peaks"] = plain
            rules["views.patch goes without distortions"] = not self.distortions.active
            rules["run.cache_spacing_mm may be no larger than views.patch_spacing_mm"] = not coarse
        return rules | (self._adversarial_rules() if self.adversarial.active else {})

    def _adversarial_rules(self) -> dict[str, bool]:
        cells = self.adversarial.reduction * 2 ** (len(self.adversarial.widths) - 1)
        whole_cells = not any(size % cells for size in self.input_size)
        return {
            f"input_size must be a multiple of {cells} for the discriminators": whole_cells,
            "discriminators judge whole poses, not the parts that patches show": not self.sees_patches,
            "discriminators judge landmarks by name, which the loss pair does not teach": self.loss != "pair",
            f"{WHOLE_HEATMAPS}; use memory.scheme": bool(self.memory.scheme) or not self.memory.manages,
        }

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

    def computed_on(self, device: torch.device) -> Preset:
        """Itself, or in float32 where the device would have to imitate bfloat16."""
        if self.run.autocast is None or computes_bfloat16(device):
            return self
        return self.with_overrides({"run.precision": "32-true"})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain: dict[str, Any] = to_json(self)
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, where: str | os.PathLike[str] | None = None) -> Preset:
        """A preset from plain JSON values.

        Raises:
            UserError: an unknown or missing key, a value of the wrong kind or outside its range.
        """
        try:
            return from_json(cls, data, "the preset", where=where, error=UserError, rules=_RULES)
        except UserError as error:
            if error.where:
                raise
            raise UserError(error.problem, where=where, remedy=error.remedy) from error

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
    return _merged(inherited, data)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with changes; an object within is changed key by key, any other value replaced."""
    result = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if both else value
    return result
