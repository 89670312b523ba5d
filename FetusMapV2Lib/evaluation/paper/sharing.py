"""Presets whose weights are the same by construction are trained once; each still has its own model file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from FetusMapV2Lib.models.model_file import load_model, read_info, save_model
from FetusMapV2Lib.training.model_export import described_reading
from FetusMapV2Lib.training.preset import Preset
from FetusMapV2Lib.training.run_record import MODEL_FILE, preset_of_run


def settled_trainings(runs: Path, presets: Sequence[Preset]) -> dict[str, Preset]:
    """For each preset the one that is trained: the first of those with the same weights.

    A training that an earlier call started is used, whatever presets were named then.

    Args:
        runs: folder with a folder per trained preset, as `fold_folder` names them.
        presets: all that are wanted.

    Returns:
        By the presets' names.

    Raises:
        InputError: the notes of an earlier training cannot be read.
    """
    started = [preset_of_run(folder) for folder in sorted(runs.glob("*/fold-1"))]
    first = [preset for preset in started if preset is not None]
    chosen: dict[str, Preset] = {}
    for preset in presets:
        known = next((one for one in (*first, *chosen.values()) if one.has_weights_of(preset)), preset)
        chosen[preset.name] = known
    return chosen


def fold_folder(runs: Path, preset: Preset, number: int) -> Path:
    """The folder of a preset's training and model for a fold (from 0)."""
    return runs / preset.name / f"fold-{number + 1}"


def shared_model(trained: Path, source: Preset, preset: Preset, folder: Path) -> Path:
    """The model file of a preset with the weights of another's training; written if it is not there yet.

    Args:
        trained: model file of the training.
        source: what was trained.
        preset: with the same weights.
        folder: of the preset's own model.

    Raises:
        UserError: one of the files cannot be read or written.
    """
    if preset == source:
        return trained
    model = load_model(trained)
    training = {**model.info.training, "weights_of": source.name}
    info = replace(model.info, **described_reading(preset), preset=preset.to_dict(), training=training)
    path = folder / MODEL_FILE
    if path.is_file() and read_info(path) == info and load_model(path).checksum == model.checksum:
        return path
    save_model(path, replace(model, info=info))
    return path
