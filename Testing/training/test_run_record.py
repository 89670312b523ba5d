"""The record of a run: what earlier versions did not know changes no fingerprint; negatives are part of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training.tiny_run import PRESET, fit_on_cpu
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.imaging.writing import write_volume
from FetusMapV2Lib.models.model_file import load_model
from FetusMapV2Lib.training.run_record import prepare_run
from FetusMapV2Lib.training.training_options import TrainingOptions


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    write_toy_cases(tmp_path / "cases", 3)
    write_volume(
        tmp_path / "negatives" / "noise.nrrd", Volume(np.arange(16**3, dtype=np.uint8).reshape(16, 16, 16), np.eye(4))
    )
    return tmp_path / "cases"


def test_a_run_of_an_earlier_version_keeps_its_fingerprint(cases: Path, tmp_path: Path) -> None:
    run = prepare_run(PRESET, cases, tmp_path, TrainingOptions())
    note = run.note()
    assert set(note) == {"preset", "seed", "steps", "training", "held_out"}
    known_then = {
        key: value for key, value in note["preset"].items() if key not in ("memory", "normalisation", "distortions")
    }
    text = json.dumps({**note, "preset": known_then}, sort_keys=True, separators=(",", ":"))
    assert run.fingerprint == hashlib.sha256(text.encode()).hexdigest()
    other = replace(run, preset=run.preset.with_overrides({"distortions.gain.probability": 0.5}))
    assert (
        len(
            {
                run.fingerprint,
                other.fingerprint,
                replace(run, preset=replace(run.preset, normalisation="plausible")).fingerprint,
            }
        )
        == 3
    )


def test_a_run_is_resumed_with_the_negatives_that_it_began_with(cases: Path, tmp_path: Path) -> None:
    given = {"overrides": {"run.validation_cases": 0}, "negatives": tmp_path / "negatives"}
    model = load_model(fit_on_cpu(PRESET, cases, tmp_path / "run", **given))
    assert model.info.training["other_volumes_without_fetus"] == 1
    assert json.loads((tmp_path / "run" / "run.json").read_text())["negatives"] == ["noise.nrrd"]
    fit_on_cpu(PRESET, cases, tmp_path / "run", resume=True, **given)
    with pytest.raises(UserError, match="other volumes without a fetus"):
        fit_on_cpu(PRESET, cases, tmp_path / "run", resume=True, overrides=given["overrides"])
