"""A researcher's round on the command line: train, calibrate, estimate with the result, and look after models."""

from __future__ import annotations

import json
import shutil
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


@pytest.mark.parametrize(
    "options, clue",
    [
        (("--preset", "no-such-preset"), "no-such-preset"),
        (("--input-size", "33,24,24"), "multiples"),
        (("--input-size", "32,24"), "--input-size"),
        (("--set", "optimiser.rate=1"), "no field 'optimiser.rate'"),
        (("--device", "gpu"), "unknown device"),
        (("--initial-model", "no/such.safetensors"), "no such model"),
    ],
)
def test_bad_training_wishes(fetusmap, cases: Path, preset: Path, tmp_path: Path, options, clue: str) -> None:
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


def test_calibrating_without_a_model_or_with_few_cases(fetusmap, model_file, tmp_path: Path) -> None:
    write_toy_cases(tmp_path / "few", 3)
    before = model_file.read_bytes()
    answer = fetusmap("calibrate", model_file, "--data", tmp_path / "few")
    assert answer.code == 2 and "too few" in answer.errors()[0]
    answer = fetusmap("calibrate", tmp_path / "none.safetensors", "--data", tmp_path / "few")
    assert answer.code == 2 and "no such model file" in answer.errors()[0]
    assert model_file.read_bytes() == before


def test_the_list_of_models(fetusmap) -> None:
    from FetusMapV2Lib.models.model_index import list_models

    answer = fetusmap("models", "list")
    assert answer.code == 0
    assert all(entry.name in answer.out and str(entry.path) in answer.out for entry in list_models())


def test_an_added_model_is_listed_with_its_place(fetusmap, model_file: Path, own_data_folder: Path) -> None:
    answer = fetusmap("models", "add", model_file, "--name", "site-1")
    place = own_data_folder / "Models" / "site-1.safetensors"
    assert answer.code == 0 and str(place) in answer.err
    assert str(place) in fetusmap("models", "list").out
    shutil.rmtree(own_data_folder)


def test_the_installed_models_are_good(fetusmap) -> None:
    from FetusMapV2Lib.models.model_index import list_models

    answer = fetusmap("models", "verify")
    assert answer.code == 0, answer.err
    assert answer.out.count(": good") == len(list_models())


def test_damaged_and_foreign_models_are_refused(fetusmap, model_file: Path, tmp_path: Path) -> None:
    data = bytearray(model_file.read_bytes())
    (tmp_path / "cut.safetensors").write_bytes(data[: len(data) // 2])
    data[-5] ^= 0xFF
    (tmp_path / "flipped.safetensors").write_bytes(data)
    (tmp_path / "text.safetensors").write_text("no model", encoding="utf-8")
    for name, clue in (("cut", "corrupt"), ("flipped", "checksum"), ("text", "corrupt")):
        for command in (("models", "verify"), ("estimate", "v.nrrd", "-o", tmp_path / "out", "--model")):
            answer = fetusmap(*command, tmp_path / f"{name}.safetensors")
            assert answer.code == 2
            assert len(answer.errors()) == 1 and clue in answer.err
            assert answer.out == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_demonstration(fetusmap, tmp_path: Path) -> None:
    answer = fetusmap("demo", "--output", tmp_path / "demo")
    assert answer.code == 0, answer.err
    assert "truth" in answer.out and "Crown-rump" in answer.out
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert {"case-0000.nrrd", "case-0000.estimate.mrb", "case-0000.estimate.png"} <= names
    again = fetusmap("demo", "--output", tmp_path / "demo")
    assert again.code == 2 and "--overwrite" in again.errors()[0]


def test_without_any_model_the_demonstration_says_so_at_once(fetusmap, tmp_path: Path, monkeypatch) -> None:
    from FetusMapV2Lib.models import model_index
    from FetusMapV2Lib.phantom import simulated_case

    monkeypatch.setattr(model_index, "list_models", lambda index=None: ())
    monkeypatch.setattr(simulated_case, "simulate_case", lambda *_, **__: pytest.fail("simulated in vain"))
    answer = fetusmap("demo", "--output", tmp_path / "demo")
    assert answer.code == 2 and "no model is installed" in answer.errors()[0]
    assert not (tmp_path / "demo").exists()


def test_a_site_extends_the_pose_library(fetusmap, cases: Path, preset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train = ("train", "--preset", preset, "--data", cases, "--output", run, "--device", "cpu", "--threads", 1)
    assert fetusmap(*train).code == 0
    model, extended = run / "model.safetensors", tmp_path / "eigene Posen.safetensors"
    answer = fetusmap("models", "add-poses", model, cases, "-o", extended)
    assert answer.code == 0, answer.err
    before, after = load_model(model), load_model(extended)
    assert "11 poses added" in answer.err
    assert len(after.poses) == len(before.poses) + 11
    assert after.checksum != before.checksum
    assert all((a == b).all() for a, b in zip(before.network.parameters(), after.network.parameters(), strict=True))

    again = fetusmap("models", "add-poses", model, cases, "-o", extended)
    assert again.code == 2
    assert "exists" in again.errors()[0]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert fetusmap("models", "add-poses", model, empty, "-o", tmp_path / "x.safetensors").code == 2
    assert not (tmp_path / "x.safetensors").exists()


def test_an_estimate_is_refined(fetusmap, cases: Path, tmp_path: Path) -> None:
    volume = cases / "case-00.nrrd"
    answer = fetusmap("estimate", volume, "-o", tmp_path / "out", "--device", "cpu", "--refine", "prior")
    assert answer.code == 0, answer.err
    document = json.loads((tmp_path / "out" / "case-00.measurements.json").read_text())
    assert document["refinement"]["mode"] == ("prior" if document["found"] else "off")
    answer = fetusmap("estimate", volume, "-o", tmp_path / "out2", "--refine", "perhaps")
    assert answer.code == 2
    assert "unknown refinement" in answer.errors()[0]
