"""`fetusmap train`, and what its model is good for: calibrated, estimated with, verified."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.models.model_file import load_model

PRESET = {
    "name": "tiny",
    "description": "for tests",
    "input_size": [32, 24, 24],
    "sigma": 1.0,
    "network": {"widths": [4, 6, 8]},
    "run": {"steps": 3, "cache_spacing_mm": 3.0, "validate_every": 1000, "checkpoint_every": 2},
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("Fälle [1]")
    write_toy_cases(folder, 12)
    return folder


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(PRESET), encoding="utf-8")
    return path


def test_train_calibrate_estimate(fetusmap, cases: Path, preset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run [a]"
    train = ("train", "--preset", preset, "--data", cases, "--output", run, "--device", "cpu", "--threads", 1)
    train += ("--set", "optimiser.betas=[0.9,0.99]", "--set", "optimiser.schedule=cosine")
    answer = fetusmap(*train)
    assert answer.code == 0, answer.err
    model = run / "model.safetensors"
    assert f"Model written to {model}" in answer.err
    assert load_model(model).calibration is None
    optimiser = load_model(model).info.preset["optimiser"]
    assert (optimiser["betas"], optimiser["schedule"]) == ([0.9, 0.99], "cosine")

    again = fetusmap(*train)
    assert again.code == 2 and "--resume" in again.errors()[0]
    assert fetusmap(*train, "--resume").code == 0

    answer = fetusmap("calibrate", model, "--data", cases, "--device", "cpu")
    assert answer.code == 2 and "not worth calibrating" in answer.errors()[0]  # three steps teach nothing
    answer = fetusmap("calibrate", model, "--data", cases, "--device", "cpu", "--force")
    assert answer.code == 0, answer.err
    assert "Calibrated on 11 cases" in answer.err
    calibrated = load_model(model)
    assert calibrated.calibration is not None and calibrated.calibration.cases == 11

    volume = cases / "case-00.nrrd"
    answer = fetusmap("estimate", volume, "-o", tmp_path / "out", "--model", model, "--device", "cpu")
    assert answer.code == 0, answer.err
    document = json.loads((tmp_path / "out" / "case-00.measurements.json").read_text(encoding="utf-8"))
    assert document["model"] == calibrated.identity
    assert document["device"] == "cpu" and document["device_reason"] == "chosen by the user"
    if document["found"]:
        assert read_markups(tmp_path / "out" / "case-00.mrk.json").present.all()
        assert all(np.isfinite(one["radius90_mm"]) for one in document["landmarks"])

    answer = fetusmap("models", "verify", model)
    assert answer.code == 0 and "good" in answer.out and answer.out.count("\n") == 1


def test_the_recommended_recipe_is_the_default(fetusmap) -> None:
    assert "[default: bundled]" in " ".join(fetusmap("train", "--help").out.split())


@pytest.mark.parametrize(
    "options, clue",
    [
        (("--preset", "no-such-preset"), "no-such-preset"),
        (("--input-size", "33,24,24"), "multiples"),
        (("--input-size", "32,24"), "--input-size"),
        (("--set", "optimiser.rate=1"), "no field 'optimiser.rate'"),
        (("--memory-budget", "apples"), "memory.budget: 'apples' is not an amount of memory"),
        (("--memory-budget", "1MiB"), "does not fit 1.0 MiB: at least"),
        (("--device", "gpu"), "unknown device"),
        (("--fold", "one"), "Write K/N"),
        (("--fold", "9/3"), "no part 9 of 3"),
        (("--initial-model", "no/such.safetensors"), "no such model"),
    ],
)
def test_bad_training_options(fetusmap, cases: Path, preset: Path, tmp_path: Path, options, clue: str) -> None:
    own = () if "--preset" in options else ("--preset", preset)
    answer = fetusmap("train", *own, "--data", cases, "--output", tmp_path / "run", *options)
    assert answer.code == 2
    assert len(answer.errors()) == 1 and clue in answer.err, answer.err
    assert not list((tmp_path / "run").glob("*.ckpt")) and not (tmp_path / "run" / "model.safetensors").exists()


def test_training_data_that_is_none(fetusmap, preset: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for data in (tmp_path / "nothing", tmp_path / "empty"):
        answer = fetusmap("train", "--preset", preset, "--data", data, "--output", tmp_path / "run")
        assert answer.code == 2 and len(answer.errors()) == 1 and data.name in answer.err
