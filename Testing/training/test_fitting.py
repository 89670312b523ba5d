"""A whole training run on toy cases: it learns, resumes exactly, and leaves a model that can be loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training.tiny_run import fit_on_cpu
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.core.errors import InputError, OutputError, UserError
from FetusMapV2Lib.models.model_file import NOTICE, NOTICE_MIXED, NOTICE_SIMULATED, load_model
from FetusMapV2Lib.training.preset import Preset

STEPS = 12


class KilledError(Exception):
    """Stands for a kill: nothing of ours runs after it."""


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("Fälle mit Leerzeichen")
    write_toy_cases(folder, 8)
    return folder


def toy_preset(**run: Any) -> Preset:
    return Preset.from_dict(
        {
            "name": "toy",
            "input_size": [32, 24, 24],
            "sigma": 1.0,
            "network": {"widths": [8, 12, 16]},
            "views": {"whole": 0.5, "close": 0.5},
            "augmentation": {"quarter_turns": "none", "scale": [0.95, 1.05], "noise": 0.02, "shadow": 0.2},
            "optimiser": {"learning_rate": 4e-3, "schedule": "cosine", "warmup": 0.05, "gradient_clip": 5.0},
            "run": {
                "steps": STEPS,
                "cache_spacing_mm": 3.0,
                "validate_every": 1000,
                "checkpoint_every": 4,
                "average_decay": 0.9,
                **run,
            },
        }
    )


def weights(model: Path) -> dict[str, torch.Tensor]:
    return load_model(model).network.state_dict()


def kill_at(step: int) -> Any:
    def on_progress(fraction: float, stage: str) -> None:
        if round(fraction * STEPS) == step:
            raise KilledError

    return on_progress


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_killed_and_resumed_equals_never_killed(
    cases: Path, tmp_path: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    preset = toy_preset(precision=precision, channels_last=precision != "32-true")
    if precision != "32-true":  # smaller, as few CPUs have convolutions in bfloat16
        preset = preset.with_overrides({"input_size": [16, 16, 16], "network.widths": [4, 6]})
    whole = weights(fit_on_cpu(preset, cases, tmp_path / "whole"))
    for step in (3, 6):  # before the first checkpoint, and between two
        with pytest.raises(KilledError):
            fit_on_cpu(preset, cases, tmp_path / "cut", resume=True, on_progress=kill_at(step))
    cut = weights(fit_on_cpu(preset, cases, tmp_path / "cut", resume=True))
    assert all(torch.equal(value, cut[name]) for name, value in whole.items())
    state = [torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "cut")]
    assert all(torch.equal(value, state[1]["state_dict"][name]) for name, value in state[0]["state_dict"].items())


def test_a_cpu_without_bfloat16_computes_in_float32(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It would imitate bfloat16, which takes a hundred times as long; the run stays the one that was asked for."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    caplog.set_level("INFO", logger="FetusMapV2Lib")
    exact, mixed = (
        weights(fit_on_cpu(toy_preset(steps=2, precision=precision), cases, tmp_path / precision))
        for precision in ("32-true", "bf16-mixed")
    )
    assert all(torch.equal(value, mixed[name]) for name, value in exact.items())
    assert [line for line in caplog.messages if "float32" in line] == ["in float32: this CPU does not compute bfloat16"]
    noted = json.loads((tmp_path / "bf16-mixed" / "run.json").read_text())
    assert noted["preset"]["run"]["precision"] == "bf16-mixed"


def test_workers_do_not_change_a_run(cases: Path, tmp_path: Path) -> None:
    preset = toy_preset(steps=6)
    alone = weights(fit_on_cpu(preset, cases, tmp_path / "a"))
    helped = weights(fit_on_cpu(preset, cases, tmp_path / "b", workers=2))
    assert all(torch.equal(value, helped[name]) for name, value in alone.items())


def test_another_seed_is_another_run(cases: Path, tmp_path: Path) -> None:
    one, two = (weights(fit_on_cpu(toy_preset(steps=2), cases, tmp_path / str(seed), seed=seed)) for seed in (1, 2))
    assert not torch.equal(one["head.weight"], two["head.weight"])


def test_it_learns_to_find_the_balls(cases: Path, tmp_path: Path) -> None:
    small = {"input_size": [24, 16, 16], "network.widths": [12, 24], "optimiser.learning_rate": 1e-2}
    preset = toy_preset(steps=180, channels_last=True).with_overrides(small)
    result = load_model(fit_on_cpu(preset, cases, tmp_path)).info.evaluation["validation"]
    voxel_mm = 72 / 16
    assert result["median_mm_whole"] < 1.5 * voxel_mm
    assert result["median_mm_close"] < 1.5 * voxel_mm


def test_the_model_knows_where_it_comes_from(cases: Path, tmp_path: Path) -> None:
    note = {"data": "fetusmap simulate … --seed 1"}
    model = load_model(fit_on_cpu(toy_preset(steps=2), cases, tmp_path, note=note))
    assert model.info.training["data"] == note["data"]
    assert model.info.training["seconds"] > 0
    assert model.info.training["cases"] == 7
    assert model.info.training["held_out_cases"] == 1
    assert model.info.training["cases_without_fetus"] == 1
    assert model.info.training["styles"] == ["toy"] and model.info.training["anatomies"] == []
    assert model.info.preset["name"] == "toy"
    assert model.poses.shape == (6, 22, 3)
    assert model.has_close_view
    assert model.info.notice == NOTICE_SIMULATED
    assert list(tmp_path.glob("logs/events*"))


@pytest.mark.parametrize("real,notice", [(4, NOTICE_MIXED), (8, NOTICE)])
def test_a_model_of_real_cases_is_not_called_simulated(tmp_path: Path, real: int, notice: str) -> None:
    write_toy_cases(tmp_path / "site", 8)
    for path in sorted((tmp_path / "site").glob("case-??.json"))[:real]:
        path.write_text(json.dumps({"fetus_present": json.loads(path.read_text())["fetus_present"]}))
    preset = toy_preset(steps=1, validation_fraction=0.0)
    model = load_model(fit_on_cpu(preset, tmp_path / "site", tmp_path / "run"))
    assert model.info.notice == notice


def test_library_poses_are_upright_and_true_to_size(cases: Path, tmp_path: Path) -> None:
    model = load_model(fit_on_cpu(toy_preset(steps=1), cases, tmp_path))
    lengths = np.linalg.norm(model.poses[:, 0] - model.poses[:, 9], axis=1)
    assert np.allclose(lengths, 60, atol=5)
    assert (model.poses[:, 0, 2] > 20).all() and (model.poses[:, 9, 2] < -20).all()
    assert (model.poses[:, 10, 0] > 0).all()  # left shoulder
    assert np.isclose(np.linalg.norm(model.template[0] - model.template[9]), 1.0)


def test_a_folder_with_a_run_is_not_overwritten(cases: Path, tmp_path: Path) -> None:
    preset = toy_preset(steps=1)
    fit_on_cpu(preset, cases, tmp_path)
    with pytest.raises(OutputError, match="--resume"):
        fit_on_cpu(preset, cases, tmp_path)
    with pytest.raises(UserError, match="another preset"):
        fit_on_cpu(preset, cases, tmp_path, resume=True, overrides={"run.steps": 5})


def test_a_finished_run_resumes_to_itself(cases: Path, tmp_path: Path) -> None:
    first = fit_on_cpu(toy_preset(steps=2), cases, tmp_path)
    before = weights(first)
    first.unlink()
    again = fit_on_cpu(toy_preset(steps=2), cases, tmp_path, resume=True)
    assert all(torch.equal(value, before[name]) for name, value in weights(again).items())


def test_damaged_checkpoint_and_missing_case_are_said(cases: Path, tmp_path: Path) -> None:
    fit_on_cpu(toy_preset(steps=1), cases, tmp_path)
    note = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    (tmp_path / "last.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="checkpoint"):
        fit_on_cpu(toy_preset(steps=1), cases, tmp_path, resume=True)
    note["training"][0] = "case-99"
    (tmp_path / "run.json").write_text(json.dumps(note), encoding="utf-8")
    with pytest.raises(InputError, match="case-99"):
        fit_on_cpu(toy_preset(steps=1), cases, tmp_path, resume=True)
