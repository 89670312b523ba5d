"""A training that starts from a model keeps what the model knows: its calibration, its poses, its template."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training.tiny_run import PRESET, CutError, fit_on_cpu
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.anatomy.body_frame import body_frame
from FetusMapV2Lib.anatomy.landmark_shift import LandmarkShift
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError, ModelError
from FetusMapV2Lib.models.calibration import uncalibrated
from FetusMapV2Lib.models.model_file import Model, load_model, save_model
from FetusMapV2Lib.training.case_folder import CaseFolder
from FetusMapV2Lib.training.starting_point import StartingPoint

THRESHOLD = 0.7


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cases of an old world with a calibrated model, and others of a site, which lie on their side."""
    folder = tmp_path_factory.mktemp("world")
    write_toy_cases(folder / "old", 8)
    write_toy_cases(folder / "site", 3, seed=1)
    file = fit_on_cpu(PRESET, folder / "old", folder / "start")
    calibration = replace(uncalibrated(), detection_threshold=THRESHOLD, cases=40)
    save_model(file, replace(load_model(file), calibration=calibration))
    return folder


def start_of(world: Path) -> tuple[Path, Model]:
    file = world / "start" / "model.safetensors"
    return file, load_model(file)


def test_calibration_library_and_template_of_the_initial_model_are_kept(world: Path, tmp_path: Path) -> None:
    file, start = start_of(world)
    model = load_model(fit_on_cpu(PRESET, world / "site", tmp_path, initial_model=file))
    assert model.calibration is not None and model.calibration.detection_threshold == THRESHOLD
    np.testing.assert_array_equal(model.template, start.template)
    assert len(model.poses) == len(start.poses) + 3
    np.testing.assert_allclose(model.poses[3:], start.poses)
    assert model.info.training["initial_model"] == start.identity


def test_cases_that_the_initial_model_was_trained_on_are_not_added_twice(world: Path, tmp_path: Path) -> None:
    file, start = start_of(world)
    model = load_model(
        fit_on_cpu(PRESET, world / "old", tmp_path, initial_model=file, overrides={"run.validation_fraction": 0.0})
    )
    assert len(model.poses) == len(start.poses) + 1  # the one that was held out


def test_a_resumed_run_does_not_need_the_initial_model(world: Path, tmp_path: Path) -> None:
    file, _ = start_of(world)
    whole = load_model(fit_on_cpu(PRESET, world / "site", tmp_path / "whole", initial_model=file))
    lent = tmp_path / "lent.safetensors"
    shutil.copy(file, lent)

    def cut(fraction: float, stage: str) -> None:
        if fraction == 0.75:
            raise CutError

    with pytest.raises(CutError):
        fit_on_cpu(PRESET, world / "site", tmp_path / "cut", initial_model=lent, on_progress=cut)
    lent.unlink()
    cut_model = load_model(fit_on_cpu(PRESET, world / "site", tmp_path / "cut", resume=True))
    assert cut_model.checksum == whole.checksum and cut_model.calibration == whole.calibration
    assert cut_model.info.training["initial_model"].split()[1] != ""


def test_a_damaged_starting_point_and_another_network_are_refused(world: Path, tmp_path: Path) -> None:
    file, _ = start_of(world)
    with pytest.raises(ModelError, match="another network"):
        other = {"network.widths": [3, 5]}
        fit_on_cpu(PRESET, world / "site", tmp_path / "other", initial_model=file, overrides=other)
    fit_on_cpu(PRESET, world / "site", tmp_path / "run", initial_model=file)
    (tmp_path / "run" / "start.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="started from"):
        fit_on_cpu(PRESET, world / "site", tmp_path / "run", resume=True)


def test_a_run_from_random_weights_has_no_starting_point(world: Path, tmp_path: Path) -> None:
    model = load_model(fit_on_cpu(PRESET, world / "site", tmp_path))
    assert model.calibration is None and "initial_model" not in model.info.training
    assert not (tmp_path / "start.safetensors").exists()
    assert not torch.equal(model.network.state_dict()["head.weight"], start_of(world)[1].network.head.weight)


def test_a_network_goes_on_learning_where_it_sees_the_landmarks(world: Path) -> None:
    """The model's shift is added after it, in every estimate: it must not be learned as well."""
    file, start = start_of(world)
    shift = LandmarkShift(((0.0, 0.0, 0.1),) * 22)
    assert start.calibration is not None
    point = StartingPoint.of_model(file)
    cases = CaseFolder(world / "site").cases
    assert [case.positions.tolist() for case in point.as_seen(cases)] == [case.positions.tolist() for case in cases]
    shifted = replace(point, calibration=replace(start.calibration, shift=shift))
    for case, seen in zip(cases, shifted.as_seen(cases), strict=True):
        frame = body_frame(case.positions, None, start.template, default_schema())
        np.testing.assert_allclose(seen.positions + shift.in_world(frame), case.positions, atol=1e-9)


def test_a_run_trains_on_them(world: Path, tmp_path: Path) -> None:
    file, start = start_of(world)
    shift = LandmarkShift((*((0.0, 0.0, 0.0),) * 21, (0.0, 0.0, 0.1)))
    other = tmp_path / "shifted.safetensors"
    save_model(other, replace(start, calibration=replace(start.calibration, shift=shift)))
    plain, shifted = (
        load_model(fit_on_cpu(PRESET, world / "site", tmp_path / name, initial_model=one))
        for name, one in (("plain", file), ("shifted", other))
    )
    assert shifted.calibration is not None and shifted.calibration.shift == shift
    assert plain.checksum != shifted.checksum
    apart = np.linalg.norm(shifted.poses[:3] - plain.poses[:3], axis=2)  # those of the cases
    np.testing.assert_allclose(apart[:, :21], 0, atol=1e-4)
    assert apart[:, 21].min() > 1
