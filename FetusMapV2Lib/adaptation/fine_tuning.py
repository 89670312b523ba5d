"""Fine-tuning a model on cases of a site and simulated ones, and the average of its weights with those before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from FetusMapV2Lib.anatomy.landmark_shift import LandmarkShift
from FetusMapV2Lib.core.atomic_files import usable_folder
from FetusMapV2Lib.core.errors import ModelError, UserError
from FetusMapV2Lib.core.progress import OnProgress
from FetusMapV2Lib.models.model_file import Model, load_model
from FetusMapV2Lib.models.weight_averaging import between, mean_of
from FetusMapV2Lib.training.case_folder import Case
from FetusMapV2Lib.training.fitting import fit_run
from FetusMapV2Lib.training.preset import Preset
from FetusMapV2Lib.training.run_record import MODEL_FILE, Run
from FetusMapV2Lib.training.starting_point import StartingPoint
from FetusMapV2Lib.training.training_options import TrainingOptions

#: Least share of the samples that show the site's own cases.
_OWN_SHARE = 0.6
#: Of the recipe a model was trained with, what is other when it is fine-tuned.
_CHANGES = {
    "optimiser.schedule": "cosine",
    "optimiser.warmup": 0.1,
    "optimiser.final_factor": 0.05,
    "optimiser.gradient_clip": 5.0,
    "proportions.probability": 0.0,  # those of the site are to be learned
    "run.batch_size": 2,
    "run.average_decay": 0.98,
    "run.validation_fraction": 0.0,
    "run.checkpoint_every": 25,
    "run.checkpoint_minutes": 1.0,
    "memory.budget": "",
    "memory.max_slowdown": 0.0,
    "memory.scheme": "",
}
#: The learning rate as a share of that of the recipe, and the least one: a model that was itself fine-tuned has a low
#: rate in its recipe already.
_LOW_RATE, _LEAST_RATE = 0.2, 2e-4


def fine_tuning_preset(model: Model, steps: int) -> Preset:
    """The recipe of a model with a low learning rate.

    Raises:
        ModelError: the model does not say how it was trained.
    """
    try:
        trained = Preset.from_dict(model.info.preset)
        full_rate = trained.optimiser.learning_rate
        changes = {
            **_CHANGES,
            "normalisation": model.info.normalisation,
            "optimiser.learning_rate": max(_LOW_RATE * full_rate, min(full_rate, _LEAST_RATE)),
            "run.steps": steps,
            "run.validate_every": steps,
        }
        return trained.with_overrides(changes)
    except UserError as error:
        raise ModelError(
            f"the model does not say how it was trained ({error.problem})",
            where=model.info.name,
            remedy="Start from another model",
        ) from error


def fine_tuned(
    start: Model,
    own: Sequence[Case],
    shift: LandmarkShift | None,
    rehearsed: Sequence[Case],
    preset: Preset,
    folder: Path,
    options: TrainingOptions,
    device: torch.device,
    on_progress: OnProgress | None = None,
) -> Model:
    """A model after fine-tuning; goes on from the checkpoint in the folder.

    Args:
        start: the model to start from.
        own: cases of the site.
        shift: by how much their landmarks lie elsewhere than the network is to see them, so that it need not learn
            another idea of a landmark; None = not at all.
        rehearsed: simulated cases, whose landmarks are shifted as those of `start`.
        preset: `fine_tuning_preset`.
        folder: of checkpoint and result.
        options: seed, threads and folder of the reduced volumes.
        device: to train on.
        on_progress: called after every step.

    Raises:
        UserError: see `fit_run`.
        Stopped: a stop was asked for; the checkpoint is kept.
    """
    point = StartingPoint(start.identity, start.poses, start.template, start.calibration, start.network)
    at_site = replace(point, calibration=None if start.calibration is None else replace(start.calibration, shift=shift))
    cases = _mixed(at_site.as_seen(own), point.as_seen(rehearsed))
    run = Run(
        usable_folder(folder), preset, options.seed, cases, [], start.template, preset.run.steps, start=point
    )  # fmt: skip
    if not run.model.is_file():
        cache = options.cache_dir
        assert cache is not None
        fit_run(run, replace(options, resume=True), device, Path(cache), on_progress=on_progress)
    return tuned_model(folder)


def tuned_model(folder: Path) -> Model:
    """The result of a fine-tuning that ended in this folder.

    Raises:
        ModelError: its file is missing or damaged.
    """
    return load_model(folder / MODEL_FILE)


def averaged(start: Model, tuned: Sequence[Model], share: float) -> Model:
    """A model with weights between its own and the mean of those after fine-tuning, otherwise as it was.

    Args:
        start: the model before.
        tuned: models after fine-tuning, on different cases.
        share: of their mean, 0-1.
    """
    mean = mean_of([model.network for model in tuned])
    return replace(start, network=between(start.network, mean, share), checksum="")


def _mixed(own: Sequence[Case], rehearsed: Sequence[Case]) -> list[Case]:
    """The cases of an epoch: those of the site as often as makes up their share."""
    times = max(1, math.ceil(_OWN_SHARE / (1 - _OWN_SHARE) * len(rehearsed) / len(own)))
    return [*own] * times + [*rehearsed]
