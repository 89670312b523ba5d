"""`fetusmap evaluate`: one model or two, cut at any time, and one line for every mistake."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cli.conftest import Command
from cli.synthetic_balls import ball_volume
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.evaluation.predictions import ModelChoice
from FetusMapV2Lib.imaging.markups import write_markups
from FetusMapV2Lib.imaging.writing import write_volume
from FetusMapV2Lib.models.model_file import load_model, save_model


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five cases with a fetus and one without."""
    folder = tmp_path_factory.mktemp("Fälle mit Leerzeichen")
    write_toy_cases(folder, 6)
    return folder


@pytest.fixture(scope="module")
def other_model(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The untrained model with other weights, where training would put it."""
    import torch

    model = load_model(model_file)
    with torch.no_grad():
        for weights in model.network.parameters():
            weights.add_(0.3 * torch.randn_like(weights))
    path = tmp_path_factory.mktemp("other-run") / "model.safetensors"
    save_model(path, model)
    return path


def kept(output: Path) -> dict[str, bytes]:
    """Every prediction there is, by name."""
    folder = output / "predictions"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.json"))}


def test_known_answers(fetusmap: Command, sees_balls: None, tmp_path: Path, model_file: Path) -> None:
    for number, spacing in enumerate([(1.2, 1.5, 1.3), (1.3, 1.3, 1.3)]):
        volume, places = ball_volume(spacing)
        write_volume(tmp_path / f"case-{number}.nrrd", volume)
        places[5] = np.nan if number else places[5]
        write_markups(tmp_path / f"case-{number}.mrk.json", Pose(places))
        write_json(tmp_path / f"case-{number}.json", {"style": "toy"})
    answer = fetusmap("evaluate", tmp_path, "--output", tmp_path / "out", "--model", model_file)
    assert answer.code == 0, answer.err
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    (model,) = document["models"]
    assert model["mean"]["ed_mm"] < 0.7  # a half voxel
    assert model["landmarks"][5]["n"] == 1 and model["landmarks"][0]["n"] == 2
    assert model["sides"]["all"] == 1.0
    assert model["measures"]["fetus_found"][0] == 1.0
    assert model["measures"]["swapped_any"][0] == 0.0
    assert document["tests"] == []
    assert "simulated volumes" in answer.out and "esearch use only" in answer.out


def test_two_models(fetusmap: Command, toys: Path, tmp_path: Path, model_file: Path, other_model: Path) -> None:
    output = tmp_path / "out"
    arguments = ("evaluate", toys, "--output", output, "--model", model_file, "--model", other_model)
    answer = fetusmap(*arguments)
    assert answer.code == 0, answer.err
    document = json.loads((output / "evaluation.json").read_text(encoding="utf-8"))
    names = [model["name"] for model in document["models"]]
    assert names == ["untrained", other_model.parent.name]  # training calls every model "model"
    (test,) = document["tests"]
    assert test["cases"] == 5 and 0 < test["p"] <= 1
    assert len(document["cases"]) == 5 and document["cases_without_fetus"] == ["case-05"]
    written = {path.name for path in output.iterdir()}
    assert written >= {"evaluation.md", "evaluation.json", "landmarks.csv", "summary.csv", "pck.png"}
    assert all((output / f"skeletons-{name}.png").read_bytes().startswith(b"\x89PNG") for name in names)
    before = kept(output)
    assert len(before) == 12
    tables = (output / "evaluation.md").read_bytes()
    assert fetusmap(*arguments).code == 0
    assert kept(output) == before  # they hold the seconds taken, so a new estimate would show
    assert (output / "evaluation.md").read_bytes() == tables


def test_a_killed_run_goes_on(fetusmap: Command, toys: Path, tmp_path: Path, model_file: Path) -> None:
    output = tmp_path / "out"
    arguments = ["evaluate", str(toys), "--output", str(output), "--model", str(model_file), "--device", "cpu"]
    process = subprocess.Popen([sys.executable, "-m", "FetusMapV2Lib.cli", *arguments], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while not (output / "predictions" / "untrained" / "case-01.json").exists() and time.monotonic() < deadline:
            assert process.poll() is None, "the run was over before it could be killed"
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    before = kept(output)
    assert before and not (output / "evaluation.json").exists()
    assert fetusmap(*arguments).code == 0
    after = kept(output)
    assert len(after) == 6
    assert {name: after[name] for name in before} == before
    assert (output / "evaluation.json").exists()


def test_what_has_changed_is_estimated_again(
    fetusmap: Command, toys: Path, tmp_path: Path, model_file: Path, other_model: Path
) -> None:
    output = tmp_path / "out"
    assert fetusmap("evaluate", toys, "-o", output, "--model", f"one={model_file}").code == 0
    before = kept(output)
    assert fetusmap("evaluate", toys, "-o", output, "--model", f"one={other_model}").code == 0
    after = kept(output)
    assert all(after[name] != before[name] for name in before)
    assert {json.loads(text)["model_sha256"] for text in after.values()} == {ModelChoice.of(other_model, "a").sha256}
    assert fetusmap("evaluate", toys, "-o", output, "--model", f"one={other_model}", "--refine", "prior").code == 0
    assert {json.loads(text)["refine"] for text in kept(output).values()} == {"prior"}


@pytest.mark.parametrize(
    "arguments,words",
    [
        (("{empty}",), "no annotated case in this folder"),
        (("{empty}/none",), "does not exist"),
        (("{toys}", "--model", "nothing-of-the-kind"), "no such model"),
        (("{toys}", "--model", "missing.safetensors"), "no such model file"),
        (("{toys}", "--model", "{model}", "--model", "{model}"), "two models are called 'untrained'"),
        (("{toys}", "--model", "a/b={model}"), "not a label"),
        (("{toys}", "--model", "{model}", "--refine", "magic"), "unknown refinement"),
        (("{toys}", "--model", "{model}", "--device", "toaster"), "unknown device"),
    ],
)
def test_mistakes_are_one_line(
    fetusmap: Command, toys: Path, tmp_path: Path, model_file: Path, arguments: tuple[str, ...], words: str
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    given = (text.format(empty=empty, toys=toys, model=model_file) for text in arguments)
    answer = fetusmap("evaluate", *given, "--output", tmp_path / "out")
    assert answer.code == 2
    (line,) = answer.errors()
    assert words in line


def test_a_broken_prediction_is_named(fetusmap: Command, toys: Path, tmp_path: Path, model_file: Path) -> None:
    path = tmp_path / "out" / "predictions" / "untrained" / "case-00.json"
    path.parent.mkdir(parents=True)
    path.write_text("{", encoding="utf-8")
    answer = fetusmap("evaluate", toys, "--output", tmp_path / "out", "--model", model_file)
    assert answer.code == 2
    assert "case-00.json" in answer.errors()[0]


def test_cases_that_cannot_be_used_are_left_out_and_named(
    fetusmap: Command, toys: Path, model_file: Path, other_model: Path, tmp_path: Path, monkeypatch
) -> None:
    from FetusMapV2Lib.estimation.engine import PoseEngine

    cases = tmp_path / "cases"
    shutil.copytree(toys, cases)
    names = sorted(path.name.removesuffix(".mrk.json") for path in cases.glob("*.mrk.json"))
    (cases / f"{names[0]}.nrrd").write_bytes(b"NRRD0004\n")
    (cases / f"{names[1]}.mrk.json").write_text("{", encoding="utf-8")
    estimate = PoseEngine.estimate

    def fails(self, volume, **options):
        if volume.name == names[2]:
            raise ZeroDivisionError
        return estimate(self, volume, **options)

    monkeypatch.setattr(PoseEngine, "estimate", fails)
    answer = fetusmap("evaluate", cases, "-o", tmp_path / "out", "--model", model_file, "--model", f"b={other_model}")
    assert answer.code == 2 and "5 refused:" in answer.err  # two of them by both models
    assert len(answer.errors()) == 5 and "unexpected ZeroDivisionError" in answer.err
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert sorted(document["refused"]) == names[:3]
    assert {*document["cases"], *document["cases_without_fetus"]} == set(names[3:])
    assert "3 cases could not be used" in (tmp_path / "out" / "evaluation.md").read_text(encoding="utf-8")
