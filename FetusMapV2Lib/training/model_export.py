"""From a trained module to a model file: weights, shape-prior poses in the canonical frame, metadata."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.models.architectures import build_network
from FetusMapV2Lib.models.model_file import (
    NOTICE,
    NOTICE_MIXED,
    NOTICE_SIMULATED,
    Model,
    ModelInfo,
    read_info,
    save_model,
)
from FetusMapV2Lib.models.pose_library import LARGEST_LIBRARY, canonical_poses, merged_library
from FetusMapV2Lib.training.pose_module import PoseModule, network_config
from FetusMapV2Lib.training.preset import Preset
from FetusMapV2Lib.training.run_record import Run
from FetusMapV2Lib.training.samples import VIEW_NAMES
from FetusMapV2Lib.training.starting_point import StartingPoint

Array = NDArray[np.float64]


def export_module(
    module: PoseModule,
    preset: Preset,
    poses: Array,
    template: Array,
    path: str | os.PathLike[str],
    *,
    start: StartingPoint | None = None,
    training: dict[str, Any] | None = None,
    evaluation: dict[str, Any] | None = None,
    weights: str = "float32",
) -> Model:
    """Write the weights of a module (the averaged ones if there are any) as a model file.

    Args:
        module: under training or trained.
        preset: its recipe.
        poses: (N, 22, 3) RAS mm of the training cases.
        template: (22, 3) canonical pose.
        path: the file to write, whole or not at all.
        start: what the training started from; its library and calibration are kept, the poses are added.
        training: summary of the training for the metadata.
        evaluation: results for the metadata.
        weights: "float32" or "float16".
    """
    config = network_config(preset, default_schema().count)
    network = build_network(config)
    network.load_state_dict({key: value.detach().cpu() for key, value in module.best_network.state_dict().items()})
    views = tuple(name for name in VIEW_NAMES if getattr(preset.views, name))
    info = ModelInfo(
        name=Path(path).stem,
        network=dict(config),
        input_size=preset.input_size,
        sigma=preset.sigma,
        views=views,
        patch_spacing_mm=preset.views.patch_spacing_mm if preset.sees_patches else None,
        **described_reading(preset),
        preset=preset.to_dict(),
        training=training or {},
        evaluation=evaluation or {},
        weights=weights,
        notice=_notice(training or {}),
    )
    library = canonical_poses(poses[:LARGEST_LIBRARY], template)
    if start is not None:
        library, _ = merged_library(library, start.poses)
    model = Model(network.eval(), library, template, info, None if start is None else start.calibration)
    with torch.no_grad():
        save_model(path, model)
    return model


class RunExport:
    """Writes the model file of a run: after each validation, or only after those that are better than all before.

    Args:
        run: the run.
        module: under training.
        note: further values for the training summary.
        only_best: keep the model of the best validation; without held-out cases the last one is written.
        patience: the run ends after this many validations without a better one; 0 = never.
    """

    def __init__(
        self, run: Run, module: PoseModule, note: Mapping[str, Any], *, only_best: bool = False, patience: int = 0
    ) -> None:
        self._run, self._module, self._note = run, module, note
        self._only_best, self._patience = only_best, patience
        self._best, self._best_step = math.inf, 0

    def recall(self) -> None:
        """The best validation of a run that is resumed, as its model file says."""
        if self._run.model.is_file():
            info = read_info(self._run.model)
            self._best = _mean_error_mm(info.evaluation.get("validation", {}))
            self._best_step = int(info.training.get("steps", 0))

    def validated(self, step: int, result: dict[str, float]) -> bool:
        """Take notice of a validation, and write the model if it is to be kept; true ends the run."""
        error = _mean_error_mm(result)
        better = error < self._best
        if better:
            self._best, self._best_step = error, step
        if better or not self._only_best or not result:
            self.write(step, result)
        waited = (step - self._best_step) // self._run.preset.run.validate_every
        return bool(result and self._patience and not better and waited >= self._patience)

    def write(self, step: int, result: dict[str, float]) -> None:
        """Write the model file."""
        run = self._run
        export_module(
            self._module,
            run.preset,
            np.stack([case.positions for case in run.training if case.fetus_present]),
            run.template,
            run.model,
            start=run.start,
            training={**_training_summary(run, step, self._module.seconds), **self._note},
            evaluation={"validation": result} if result else {},
        )


def _mean_error_mm(result: Mapping[str, float]) -> float:
    """Mean distance to the truth over the views; infinite where nothing is known."""
    errors = [float(value) for key, value in result.items() if key.startswith("ed_mm_")]
    mean = sum(errors) / len(errors) if errors else math.inf
    return mean if math.isfinite(mean) else math.inf


def _training_summary(run: Run, step: int, seconds: float) -> dict[str, Any]:
    """The training summary of the model file."""
    return {
        "cases": len(run.training),
        "other_volumes_without_fetus": len(run.negatives),
        "cases_without_fetus": sum(not case.fetus_present for case in run.training),
        "simulated_cases": sum("style" in case.truth for case in run.training),
        "held_out_cases": len(run.held_out),
        "steps": step,
        "planned_steps": run.steps,
        "seed": run.seed,
        "seconds": round(seconds, 1),
        "torch": torch.__version__,
        "styles": sorted({str(case.truth["style"]) for case in run.training if "style" in case.truth}),
        "anatomies": sorted({str(case.truth["anatomy"]) for case in run.training if "anatomy" in case.truth}),
    }


def described_reading(preset: Preset) -> dict[str, Any]:
    """The fields of `ModelInfo` that say how a preset's network is used: normalisation, decoding, refinement."""
    return {
        "decoding": preset.decoding,
        "anonymous_sides": preset.loss == "pair",
        "refined_landmarks": preset.refinement.refined,
        "normalisation": preset.normalisation,
    }


def _notice(training: dict[str, Any]) -> str:
    """The notice on the training cases that every result must show."""
    simulated = int(training.get("simulated_cases", 0))
    if not simulated:
        return NOTICE
    return NOTICE_SIMULATED if simulated == training.get("cases") else NOTICE_MIXED
