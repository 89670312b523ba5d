"""Which weights a training exports, when it ends early, and which cases it holds out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from training.tiny_run import PRESET, fit_on_cpu
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.models.model_file import read_info
from FetusMapV2Lib.training.checkpoints import read_checkpoint

#: Steps too small to change any weight: no validation is better than the first.
STANDING = {
    "run.validation_fraction": 0.4, "optimiser.learning_rate": 1e-30, "run.validate_every": 2, "run.steps": 20,
    "run.checkpoint_every": 100,
}  # fmt: skip
#: The first validation is the best: later steps are far too large.
WORSENING = {"run.validation_fraction": 0.4, "optimiser.learning_rate": 3.0, "run.validate_every": 1, "run.steps": 4}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    write_toy_cases(folder, 6)
    return folder


def steps_of(model: Path) -> int:
    return int(read_info(model).training["steps"])


def test_the_weights_of_the_best_validation_are_exported(cases: Path, tmp_path: Path) -> None:
    assert steps_of(fit_on_cpu(PRESET, cases, tmp_path / "standing", overrides=STANDING)) == 2
    last = fit_on_cpu(PRESET, cases, tmp_path / "last", overrides=STANDING, export="last")
    assert steps_of(last) == 20
    best = fit_on_cpu(PRESET, cases, tmp_path / "worsening", overrides=WORSENING, seed=3)
    trials = [
        fit_on_cpu(
            PRESET, cases, tmp_path / str(steps), seed=3, export="last", overrides={**WORSENING, "run.steps": steps}
        )
        for steps in (1, 2, 3, 4)
    ]
    errors = [read_info(trial).evaluation["validation"]["ed_mm_whole"] for trial in trials]
    assert read_info(best).evaluation["validation"]["ed_mm_whole"] == pytest.approx(min(errors))


def test_patience_ends_a_run_and_it_stays_ended(cases: Path, tmp_path: Path) -> None:
    options = {"overrides": STANDING, "patience": 3}
    model = fit_on_cpu(PRESET, cases, tmp_path, **options)
    assert steps_of(model) == 2
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 2 + 3 * 2
    before = model.read_bytes()
    assert fit_on_cpu(PRESET, cases, tmp_path, resume=True, **options).read_bytes() == before
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 8


def test_without_held_out_cases_the_last_weights_are_exported(cases: Path, tmp_path: Path) -> None:
    nothing = {**STANDING, "run.validation_fraction": 0.0}
    assert steps_of(fit_on_cpu(PRESET, cases, tmp_path, overrides=nothing, patience=1)) == 20


def test_every_case_with_a_fetus_is_held_out_of_one_fold(cases: Path, tmp_path: Path) -> None:
    held_out: list[str] = []
    for part in (1, 2, 3):
        fit_on_cpu(PRESET, cases, tmp_path / str(part), fold=(part, 3), overrides={"run.steps": 1})
        held_out += json.loads((tmp_path / str(part) / "run.json").read_text())["held_out"]
    assert sorted(held_out) == [f"case-0{number}" for number in range(5)]
    for fold in ((0, 3), (4, 3), (1, 1), (1, 6)):
        with pytest.raises(UserError, match="there is no part"):
            fit_on_cpu(PRESET, cases, tmp_path / "none", fold=fold)
