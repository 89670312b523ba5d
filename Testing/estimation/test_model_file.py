"""Model files: a round trip, and every kind of file that must be refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from FetusMapV2Lib.estimation.calibration import uncalibrated
from FetusMapV2Lib.estimation.model_file import FORMAT, Model, ModelInfo, load_model, read_info, save_model
from FetusMapV2Lib.foundation.errors import ModelError, OutputError
from FetusMapV2Lib.network.unet import UNet3d


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    network = UNet3d(widths=(2, 3, 4))
    poses = np.random.default_rng(0).normal(size=(5, 22, 3)).astype(np.float32).astype(float)
    poses[2, 4] = np.nan
    info = ModelInfo(
        name="toy", network=dict(network.config), input_size=(32, 16, 16), sigma=2.0, views=("whole", "close"),
        preset={"name": "toy"}, training={"cases": 3, "command": "fetusmap train …"},
    )  # fmt: skip
    return Model(network, poses, poses[0] / 3, info)


def test_round_trip(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "mein Modell ü.safetensors"
    calibrated = replace(model, calibration=uncalibrated())
    checksum = save_model(path, calibrated)
    again = load_model(path)
    assert again.checksum == checksum
    assert again.info == model.info == read_info(path)
    assert again.calibration == calibrated.calibration
    assert np.array_equal(again.poses, model.poses, equal_nan=True)
    assert np.array_equal(again.template, model.template)
    assert (again.input_size, again.sigma, again.looks_closer) == ((32, 16, 16), 2.0, True)
    assert not again.network.training
    volume = torch.rand(1, 1, 32, 16, 16)
    assert torch.equal(again.network(volume), model.network(volume))
    assert "research use only" in again.info.notice.lower()
    assert again.identity.startswith("toy (")


def test_a_model_of_patches_knows_their_spacing(model: Model, tmp_path: Path) -> None:
    assert model.patch_spacing_mm is None
    patches = model.with_info(views=("patch",), patch_spacing_mm=0.4)
    save_model(tmp_path / "patches", patches)
    assert load_model(tmp_path / "patches").patch_spacing_mm == 0.4
    for wrong in (None, 0.0, -1.0):
        save_model(tmp_path / "wrong", patches.with_info(patch_spacing_mm=wrong))
        with pytest.raises(ModelError, match="incomplete"):
            load_model(tmp_path / "wrong")


def test_half_precision_halves_the_weights(model: Model, tmp_path: Path) -> None:
    wide = replace(model, network=UNet3d(widths=(8, 16, 32)))
    wide = wide.with_info(network=dict(wide.network.config))
    save_model(tmp_path / "full", wide)
    save_model(tmp_path / "half", wide.with_info(weights="float16"))
    assert (tmp_path / "half").stat().st_size < 0.6 * (tmp_path / "full").stat().st_size
    again = load_model(tmp_path / "half")
    assert all(p.dtype == torch.float32 for p in again.network.parameters())
    volume = torch.rand(1, 1, 32, 16, 16)
    assert torch.allclose(again.network(volume), wide.network(volume), atol=1e-2)
    # saved again it stays what it is
    assert save_model(tmp_path / "again", again) == again.checksum


def test_an_existing_file_is_kept_on_request(model: Model, tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", model)
    with pytest.raises(OutputError):
        save_model(tmp_path / "m.safetensors", model, overwrite=False)


def rewritten(path: Path, tensors: dict[str, torch.Tensor] | None = None, **changes: object) -> Path:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as content:
        header = json.loads(content.metadata()[FORMAT])
    save_file(tensors or load_file(path), path, metadata={FORMAT: json.dumps({**header, **changes})})
    return path


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model"):
        load_model(tmp_path / "nothing.safetensors")
    (tmp_path / "text.safetensors").write_text("not a model", encoding="utf-8")
    with pytest.raises(ModelError, match="corrupt"):
        load_model(tmp_path / "text.safetensors")
    (tmp_path / "empty.safetensors").touch()
    with pytest.raises(ModelError, match="corrupt"):
        load_model(tmp_path / "empty.safetensors")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "pickle.pt")
    with pytest.raises(ModelError, match="corrupt"):
        load_model(tmp_path / "pickle.pt")
    save_file({"a": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="no pose model"):
        load_model(tmp_path / "other.safetensors")


def test_a_truncated_file_is_refused(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, model)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelError, match="corrupt"):
        load_model(path)


def test_a_flipped_bit_is_noticed(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, model)
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(content)
    with pytest.raises(ModelError, match="checksum"):
        load_model(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_fingerprint": "0" * 64}, "another landmark schema"),
        ({"schema": "hands"}, "another landmark schema"),
        ({"format_version": 99}, "format version 99"),
        ({"network": {"kind": "unet", "widths": [3, 4, 5]}}, "do not fit"),
        ({"network": {"kind": "mystery"}}, "do not fit"),
        ({"input_size": None}, "incomplete"),
        ({"calibration": {"offsets": []}}, "calibration"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(
    model: Model, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, model)
    rewritten(path, **changes)
    with pytest.raises(ModelError, match=message):
        load_model(path)
