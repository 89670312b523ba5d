"""The presets of a reproduction as they are run: the paper's recipes, possibly reduced, and the differences.

In a miniature every preset keeps its own input size, scaled: how the sizes differ is what memory management is about.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.evaluation.accuracy_table import markdown_table
from FetusMapV2Lib.evaluation.paper.tables import paper_methods
from FetusMapV2Lib.training.preset import Preset, load_preset, preset_names

#: Stands for all presets of the paper's systems.
ALL = "paper"
#: Fields in mm per voxel: in a miniature they grow as its voxels do.
_PER_VOXEL = ("run.cache_spacing_mm",)
_NOT_COMPARED = ("name", "description", "input_size")


@dataclass(frozen=True)
class Recipe:
    """A preset as it is (the paper's recipe) and as it is run here."""

    paper: Preset
    preset: Preset

    @property
    def differences(self) -> dict[str, tuple[Any, Any]]:
        """Dotted path of a field -> its value in the paper's recipe and here, where they differ; sizes aside."""
        before, after = dict(_fields(self.paper.to_dict())), dict(_fields(self.preset.to_dict()))
        return {
            path: (before[path], value)
            for path, value in after.items()
            if value != before[path] and path not in _NOT_COMPARED
        }


def recipes(names: str, changes: Mapping[str, Any], scale: Fraction | None = None) -> tuple[Recipe, ...]:
    """The presets of a comma-separated list, with the same changes.

    Args:
        names: of presets or preset files, or `ALL`: every system of the paper.
        changes: fields by dotted path; they take precedence over `scale`.
        scale: of each preset's own input size, see `miniature`.

    Raises:
        UserError: no preset, one twice, an unknown one, or a change that does not fit one.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    listed = [load_preset(name) for name in (_systems() if wanted == [ALL] else wanted)]
    called = [preset.name for preset in listed]
    if not listed or len(set(called)) < len(called):
        raise UserError("no presets, or one twice", where=f"--presets {names}", remedy="Name each once, with commas")
    return tuple(Recipe(preset, _changed(preset, changes, scale)) for preset in listed)


def _systems() -> list[str]:
    """The presets of the paper's systems, in the paper's order."""
    there = preset_names()
    return [method.preset for method in paper_methods() if method.preset in there]


def _changed(preset: Preset, changes: Mapping[str, Any], scale: Fraction | None) -> Preset:
    widths = changes.get("network.widths", preset.network.widths)
    ours: dict[str, Any] = {}
    if scale is not None:
        ours |= miniature(preset, scale, levels=len(widths))
    if preset.adversarial.active:
        ours |= _discriminator_fields(preset, levels=len(widths))
    if preset.sees_patches:
        ours |= _patch_fields(preset, changes.get("input_size", ours.get("input_size", preset.input_size))[0])
    if preset.network.kind == "unet-rnn":  # a network with fewer levels is boosted one below its finest
        ours["network.boosted_level"] = min(preset.network.boosted_level, max(0, len(widths) - 2))
    return preset.with_overrides({**ours, **changes})


def _patch_fields(preset: Preset, length: int) -> dict[str, Any]:
    """Patches keep their length in mm, so that they do not become whole views."""
    spacing = preset.views.patch_spacing_mm * preset.input_size[0] / length
    return {"views.patch_spacing_mm": spacing, "run.cache_spacing_mm": spacing}


def _discriminator_fields(preset: Preset, levels: int) -> dict[str, Any]:
    """Discriminators with no more halvings than a network of this many levels, and finer cells instead."""
    widths = preset.adversarial.widths[:levels]
    reduction = min(preset.adversarial.reduction, 2 ** (levels - len(widths)))
    return {"adversarial.widths": widths, "adversarial.reduction": reduction}


def miniature(preset: Preset, scale: Fraction, levels: int) -> dict[str, Any]:
    """The changes that make a preset smaller: each side of its input size times `scale`, voxels larger by as much.

    Sides become the nearest multiples that a network of this many levels can halve. The paper's sizes are multiples of
    16: with three levels a quarter of them is exact, with four a half.
    """
    multiple = 2 ** (levels - 1)
    sides = [multiple * max(1, _nearest(scale * side / multiple)) for side in preset.input_size]
    fields = dict(_fields(preset.to_dict()))
    return {"input_size": sides, **{path: float(fields[path] / scale) for path in _PER_VOXEL}}


def _nearest(number: Fraction) -> int:
    """The nearest whole number, the larger of two."""
    return int(number + Fraction(1, 2))


def recipe_text(chosen: Sequence[Recipe], weights: Mapping[str, str], cases: str) -> str:
    """What was run, as Markdown: all that differs from the paper's recipe, the sizes, and who shares weights.

    Args:
        chosen: presets.
        weights: preset -> the preset whose weights it has.
        cases: one sentence about them.
    """
    head = ("Preset", "input size, paper", "trained by us at", "memory", "loss", "refinement", "weights")
    rows = [
        (
            recipe.preset.name,
            _size(recipe.paper),
            _size(recipe.preset),
            memory_scheme(recipe.preset),
            recipe.preset.loss,
            _refinement(recipe.preset),
            "its own" if weights[recipe.preset.name] == recipe.preset.name else f"of {weights[recipe.preset.name]}",
        )
        for recipe in chosen
    ]
    changed = _differences(chosen)
    said = "\n".join(f"- {line}" for line in changed) if changed else "Nothing, but for the cases."
    return "\n\n".join(
        [
            "### How it was run",
            f"{cases} Presets that differ only in memory management or refinement have the same weights, trained once.",
            markdown_table(head, rows),
            f"What differs from the paper's recipe, sizes aside:\n\n{said}",
        ]
    )


def _differences(chosen: Sequence[Recipe]) -> list[str]:
    """One line per change, with the presets that it is for where that is not all of them."""
    found: dict[str, list[str]] = {}
    for recipe in chosen:
        for path, (before, after) in recipe.differences.items():
            found.setdefault(_said(recipe.paper, path, before, after), []).append(recipe.preset.name)
    return [line if len(names) == len(chosen) else f"{line} ({', '.join(names)})" for line, names in found.items()]


def _said(paper: Preset, path: str, before: Any, after: Any) -> str:
    if path == "run.steps" and not before:
        return f"{after} steps instead of {paper.run.epochs} epochs"
    return f"`{path}` {_shown(after)} instead of {_shown(before)}"


def _shown(value: Any) -> str:
    return value or "none" if isinstance(value, str) else json.dumps(value)


def _size(preset: Preset) -> str:
    return "x".join(map(str, preset.input_size))


def memory_scheme(preset: Preset) -> str:
    """As the paper names schemes, in small letters; "-" for none."""
    schemes = [
        *(["rev"] if preset.network.reversible else []),
        *([preset.memory.scheme] if preset.memory.scheme else []),
    ]
    return "+".join(sorted(schemes)) or "-"


def _refinement(preset: Preset) -> str:
    return "-" if preset.refinement.mode == "off" else f"{preset.refinement.mode}, {preset.refinement.refined}"


def _fields(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of every field of nested JSON objects."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
