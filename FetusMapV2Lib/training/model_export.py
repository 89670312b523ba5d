"""From a trained module to a model file: weights, shape-prior poses in the canonical frame, metadata."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.models.architectures import build_network
from FetusMapV2Lib.models.model_file import NOTICE, NOTICE_MIXED, NOTICE_SIMULATED, Model, ModelInfo, save_model
from FetusMapV2Lib.models.pose_library import LARGEST_LIBRARY, canonical_poses
from FetusMapV2Lib.training.pose_module import PoseModule, network_config
from FetusMapV2Lib.training.preset import Preset
from FetusMapV2Lib.training.samples import VIEW_NAMES

Array = NDArray[np.float64]


def export_module(
    module: PoseModule,
    preset: Preset,
    poses: Array,
    template: Array,
    path: str | os.PathLike[str],
    *,
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
    model = Model(network.eval(), canonical_poses(poses[:LARGEST_LIBRARY], template), template, info)
    with torch.no_grad():
        save_model(path, model)
    return model


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
