"""Every bundled preset trains, resumes, leaves a model and estimates with it, on a tiny grid."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.model_file import load_model
from FetusMapV2Lib.imaging.cases import find_cases
from FetusMapV2Lib.training.fitting import fit
from FetusMapV2Lib.training.preset import list_presets, load_preset, preset_names

TINY = {
    "input_size": [32, 24, 24],
    "sigma": 1.0,
    "network.widths": [4, 6, 8],
    "run.cache_spacing_mm": 3.0,
    "run.validate_every": 1000,
    "run.checkpoint_every": 1,
    "run.channels_last": False,
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    write_toy_cases(folder, 6)
    return folder


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_trains_resumes_and_estimates(name: str, cases: Path, tmp_path: Path) -> None:
    preset = load_preset(name).with_overrides({**TINY, "run.steps": 3})
    stopped: list[float] = []

    class StopError(Exception):
        pass

    def stop(fraction: float, stage: str) -> None:
        stopped.append(fraction)
        if len(stopped) == 2:
            raise StopError

    with pytest.raises(StopError):
        fit(preset, cases, tmp_path, device="cpu", threads=1, on_progress=stop)
    steps: list[float] = []
    model_path = fit(
        preset, cases, tmp_path, device="cpu", threads=1, resume=True, on_progress=lambda f, s: steps.append(f)
    )
    assert len(steps) < 3  # it went on, and did not begin again
    model = load_model(model_path)
    assert model.info.preset["name"] == preset.name
    assert model.info.preset["loss"] == preset.loss
    estimate = PoseEngine.load(model_path, "cpu").estimate(find_cases(cases)[0].volume())
    assert np.isfinite(estimate.looks[-1].positions).all()
    planned = tmp_path / "memory-plan.json"
    assert planned.is_file() == preset.memory.manages
    if preset.memory.scheme:
        assert json.loads(planned.read_text())["executor"] == "segments"


def test_every_preset_says_what_sets_it_apart() -> None:
    descriptions = [preset.description for preset in list_presets()]
    assert all(descriptions)
    assert len(set(descriptions)) == len(descriptions)
