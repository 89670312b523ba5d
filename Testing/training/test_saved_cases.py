"""Cases saved after an annotation train a model as they are, without the landmarks that nobody confirmed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training.tiny_run import fit_on_cpu
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.imaging.training_cases import Annotation, find_cases, next_case_name, write_training_case
from FetusMapV2Lib.models.model_file import load_model
from FetusMapV2Lib.training.case_folder import CaseFolder
from FetusMapV2Lib.training.preset import Preset


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cases as the panel saves them; in one, two landmarks are mere estimates."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("Fälle") / "gespeichert"
    write_toy_cases(source, 3)
    for number, case in enumerate(find_cases(source)):
        states = ["confirmed"] * 20 + (["estimated"] * 2 if number == 1 else ["edited"] * 2)
        annotation = Annotation(states, "a reader", "toy (0123)")
        write_training_case(folder, next_case_name(folder), case.volume(), case.pose(), annotation)
    return folder


def test_training_sees_confirmed_landmarks_only(saved: Path) -> None:
    cases = CaseFolder(saved).cases
    assert [case.name for case in cases] == ["case-0000", "case-0001", "case-0002"]
    assert [int(np.isfinite(case.positions).all(axis=1).sum()) for case in cases] == [22, 20, 22]
    assert cases[1].truth["annotation"]["editor"] == "a reader"


def test_training_runs_on_them(saved: Path, tmp_path: Path) -> None:
    preset = Preset.from_dict(
        {
            "name": "toy",
            "input_size": [32, 24, 24],
            "sigma": 1.0,
            "network": {"widths": [4, 6, 8]},
            "run": {"steps": 3, "cache_spacing_mm": 3.0, "validate_every": 1000, "checkpoint_every": 1000},
        }
    )
    model = load_model(fit_on_cpu(preset, saved, tmp_path / "run"))
    assert model.info.name and len(model.poses) >= 1
    assert all(np.isfinite(value.numpy()).all() for value in model.network.state_dict().values())
