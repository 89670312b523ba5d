"""Every bundled preset trains, resumes, leaves a model and estimates with it, on a tiny grid."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training.tiny_run import fit_on_cpu
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.refinement import DROPPED
from FetusMapV2Lib.estimation.shape_prior import ShapePrior
from FetusMapV2Lib.evaluation.paper.tables import paper_methods
from FetusMapV2Lib.imaging.training_cases import CaseFiles, find_cases
from FetusMapV2Lib.models.model_file import Model, load_model
from FetusMapV2Lib.training.preset import Preset, load_preset, preset_names

TINY = {
    "input_size": [24, 16, 16],
    "sigma": 1.0,
    "network.widths": [4, 6],
    "run.cache_spacing_mm": 3.0,
    "run.validate_every": 1000,
    "run.checkpoint_every": 1,
    "run.channels_last": False,
}

TINY_BY_NAME: dict[str, dict[str, object]] = {
    "urnn": {"network.widths": [4, 6, 8], "network.part_channels": 2},
    "ugan": {"adversarial.widths": [4, 6], "run.average_decay": 0.9, "optimiser.gradient_clip": 5.0},
    "upatch": {"views.patch_spacing_mm": 3.0},
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    write_toy_cases(folder, 6)
    return folder


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_trains_resumes_and_estimates(name: str, cases: Path, tmp_path: Path) -> None:
    preset = load_preset(name).with_overrides({**TINY, **TINY_BY_NAME.get(name, {}), "run.steps": 4})
    model = load_model(trained_in_two_parts(preset, cases, tmp_path))
    assert model.info.preset == preset.to_dict()
    assert model.info.anonymous_sides == (preset.loss == "pair")
    assert (model.info.decoding, model.info.refined_landmarks) == (preset.decoding, preset.refinement.refined)
    engine = PoseEngine.load(tmp_path / "model.safetensors", "cpu")
    case = find_cases(cases)[0]
    estimate = engine.estimate(case.volume())
    assert np.isfinite(estimate.views[-1].positions).all()
    assert [one.view for one in estimate.views][:1] == ["patch" if preset.sees_patches else "whole"]
    planned = tmp_path / "memory-plan.json"
    assert planned.is_file() == preset.memory.manages
    if preset.memory.scheme:
        assert json.loads(planned.read_text())["executor"] == "segments"
    if preset.refinement.mode != "off":
        check_refinement(engine, model, preset, case)


def trained_in_two_parts(preset: Preset, cases: Path, output: Path) -> Path:
    """Two steps, killed, then the rest."""
    before: list[float] = []
    after: list[float] = []

    class KilledError(Exception):
        pass

    def kill(fraction: float, stage: str) -> None:
        before.append(fraction)
        if len(before) == 3:  # the second step is in a checkpoint
            raise KilledError

    with pytest.raises(KilledError):
        fit_on_cpu(preset, cases, output, on_progress=kill)
    model = fit_on_cpu(preset, cases, output, resume=True, on_progress=lambda f, _: after.append(f))
    assert after == [0.75, 1.0]  # it went on, and did not begin again
    return model


def check_refinement(engine: PoseEngine, model: Model, preset: Preset, case: CaseFiles) -> None:
    """The network is tuned towards the library in the set that the preset names, and nowhere else."""
    limbs = [mark.row for mark in model.refined_schema.landmarks if mark.group != "ht"]
    expected = limbs if preset.refinement.refined == "limbs" else [0, 3, 5, 7, 9]
    labels = ShapePrior(model.poses, model.refined_schema).pseudo_labels(case.pose().positions)
    assert labels is not None
    assert np.flatnonzero(np.isfinite(labels.positions).all(axis=1)).tolist() == expected
    seen = replace(engine.estimate(case.volume()), pose=Pose(case.pose().positions), status="found")
    refined = engine.refine(case.volume(), seen, mode="full")
    assert set(refined.refinement.moved) <= {row + 1 for row in expected}
    assert refined.refinement.iterations or DROPPED in refined.warnings


def test_every_system_of_the_paper_is_a_preset() -> None:
    for method in paper_methods():
        preset = load_preset(method.preset)
        assert preset.input_size == method.input_size, method.name
        assert preset.memory.scheme == ("gcp" if "gcp" in method.scheme else ""), method.name
        assert bool(preset.network.reversible) == ("rev" in method.scheme), method.name
        assert preset.sees_patches == (method.name == "UPatch")


def test_every_preset_says_what_sets_it_apart() -> None:
    descriptions = [load_preset(name).description for name in preset_names()]
    assert all(descriptions)
    assert len(set(descriptions)) == len(descriptions)
