"""What a training run depends on: determined once, recorded in ``run.json``, and unchanged when the run is resumed."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.body_frame import canonical_template
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.core.errors import InputError, OutputError, UserError
from FetusMapV2Lib.core.json_files import read_json_object
from FetusMapV2Lib.core.serialisation import ReadingRules, from_json, to_json
from FetusMapV2Lib.training.case_folder import Case, CaseFolder, cases_without_fetus
from FetusMapV2Lib.training.distortions.group import Distortions
from FetusMapV2Lib.training.preset import Preset
from FetusMapV2Lib.training.starting_point import StartingPoint
from FetusMapV2Lib.training.training_options import TrainingOptions

#: The model file in the folder of a run.
MODEL_FILE = "model.safetensors"
_RUN, _CHECKPOINT = "run.json", "last.ckpt"
_REMEDY = "Restore a good copy of it, or choose another folder"
#: Fields of presets that earlier versions did not have, as they were then.
_NEW: dict[str, Any] = {"normalisation": "bright-end", "distortions": to_json(Distortions())}
_SPLIT = 3  # stream of randomness that holds cases out


@dataclass(frozen=True, eq=False)
class Run:
    """One training run: everything that its result depends on.

    Attributes:
        folder: output folder.
        preset: with its overrides applied.
        seed: of order, augmentation, initial weights and the held-out cases.
        training, held_out: cases.
        negatives: volumes without a fetus that are further training cases.
        template: (22, 3) canonical pose of the training cases, or of the model that the run was started from.
        steps: optimiser steps in all.
        sealed: its checkpoints have checksums; those of a run that an earlier version started do not.
        start: the model that it was started from; None for random weights.
    """

    folder: Path
    preset: Preset
    seed: int
    training: list[Case]
    held_out: list[Case]
    template: NDArray[np.float64]
    steps: int
    sealed: bool = True
    negatives: tuple[Case, ...] = ()
    start: StartingPoint | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the record without the preset's memory options, which may change when the run is resumed.

        Fields that earlier versions did not have count only where they differ from what those versions did.
        """
        preset = {key: value for key, value in self.preset.to_dict().items() if key != "memory"}
        preset = {key: value for key, value in preset.items() if key not in _NEW or value != _NEW[key]}
        text = json.dumps({**self.note(), "preset": preset}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    def note(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return {
            "preset": self.preset.to_dict(),
            "seed": self.seed,
            "steps": self.steps,
            "training": [case.name for case in self.training],
            "held_out": [case.name for case in self.held_out],
            **({"negatives": [case.name for case in self.negatives]} if self.negatives else {}),
        }

    @property
    def checkpoint(self) -> Path:
        """The file with the state of the trainer."""
        return self.folder / _CHECKPOINT

    @property
    def model(self) -> Path:
        """The model file."""
        return self.folder / MODEL_FILE


@dataclass(frozen=True)
class _Notes:
    """The content of ``run.json``; one of an earlier version does not mention checksums."""

    preset: dict[str, Any]
    seed: int
    training: list[str]
    held_out: list[str]
    negatives: list[str] = field(default_factory=list)
    checkpoints_have_checksums: bool = False

    def read_preset(self, where: Path) -> Preset:
        """The preset that the run was started with.

        Raises:
            UserError: it is not a valid preset.
        """
        return Preset.from_dict(self.preset, where=where)


def prepare_run(
    preset: Preset,
    data_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    options: TrainingOptions,
    *,
    record: bool = True,
) -> Run:
    """Determine everything that a run depends on and record it in ``run.json``; on resume, read it from there.

    Args:
        preset: see `fitting.train`, as for the next three.
        data_dir: of cases.
        output_dir: of the run.
        options: how to run it.
        record: write it; one of several processes does.

    Raises:
        UserError: see `fitting.train`.
    """
    folder, seed, resume = Path(output_dir), options.seed, options.resume
    chosen = preset.with_overrides(options.overrides)
    negatives = () if options.negatives is None else tuple(cases_without_fetus(options.negatives))
    noted = _noted(folder / _RUN) if resume else None
    if noted is None:
        if (folder / _CHECKPOINT).exists() and not resume:
            raise OutputError(
                "this folder holds a training run",
                where=folder,
                remedy="Choose another folder, or resume it",
                option="--resume",
            )
        loaded = CaseFolder(data_dir, options.cases).cases
        held_out = _held_out(loaded, chosen, seed, options.fold)
        start = None if options.initial_model is None else StartingPoint.of_model(options.initial_model)
    else:
        if not chosen.trains_like(noted.read_preset(folder / _RUN)) or noted.seed != seed:
            raise UserError(
                "the run in this folder was started with another preset, number of steps or seed",
                where=folder / _RUN,
                remedy="Resume with the same ones, or choose another folder",
            )
        if noted.negatives != [case.name for case in negatives]:
            raise UserError(
                "the run in this folder was started with other volumes without a fetus",
                where=folder / _RUN,
                remedy="Resume with the same folder of them",
            )
        loaded = CaseFolder(data_dir, [*noted.training, *noted.held_out]).cases
        held_out = set(noted.held_out)
        start = StartingPoint.of_run(folder)
    loaded = loaded if start is None else start.as_seen(loaded)
    training = [case for case in loaded if case.name not in held_out]
    run = Run(
        folder, chosen, seed, training, [case for case in loaded if case.name in held_out],
        _template(training, data_dir) if start is None else start.template, _step_count(chosen, len(training)),
        sealed=noted is None or noted.checkpoints_have_checksums, negatives=negatives, start=start,
    )  # fmt: skip
    if noted is None and record:
        if start is not None:
            start.write(run.folder)
        write_json(run.folder / _RUN, {**run.note(), "checkpoints_have_checksums": True})
    return run


def preset_of_run(folder: Path) -> Preset | None:
    """The preset that the run in a folder was started with, None if there is no run.

    Raises:
        UserError: the record of the run cannot be read.
    """
    noted = _noted(folder / _RUN)
    return None if noted is None else noted.read_preset(folder / _RUN)


def _held_out(cases: list[Case], preset: Preset, seed: int, fold: tuple[int, int] | None) -> set[str]:
    """Names of the cases to validate on: a random share of those with a fetus, or one part of them.

    Raises:
        UserError: there is no such part.
    """
    names = [case.name for case in cases if case.fetus_present]
    if fold is not None:
        part, parts = fold
        if not 1 <= part <= parts or not 2 <= parts <= len(names):
            raise UserError(
                f"there is no part {part} of {parts} of {len(names)} cases with a fetus",
                where=f"{part}/{parts}",
                remedy="Give K/N with K from 1 to N, and N from 2 to the number of cases",
            )
        order = np.random.default_rng((seed, _SPLIT)).permutation(len(names))
        return {names[n] for n in order[part - 1 :: parts]}
    count = min(round(preset.run.validation_fraction * len(names)), preset.run.validation_cases, len(names) - 1)
    order = np.random.default_rng((seed, _SPLIT)).permutation(len(names))
    return {names[n] for n in order[: max(0, count)]}


def _template(training: list[Case], data_dir: str | os.PathLike[str]) -> NDArray[np.float64]:
    try:
        return canonical_template(np.stack([case.positions for case in training]), default_schema())
    except ValueError as error:
        raise InputError(
            "no training case has all landmarks of head and trunk",
            where=data_dir,
            remedy="Annotate landmarks 1-10 in at least one case",
        ) from error


def _step_count(preset: Preset, cases: int) -> int:
    if preset.run.steps:
        return preset.run.steps
    return preset.run.epochs * -(-cases * preset.samples_per_volume // preset.run.batch_size)


def _noted(path: Path) -> _Notes | None:
    if not path.is_file():
        return None
    what = "the record of the run"
    data = read_json_object(path, what, remedy=_REMEDY)
    return from_json(_Notes, data, what, where=path, remedy=_REMEDY, rules=ReadingRules(unknown_keys=True))
