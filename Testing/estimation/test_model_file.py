"""Model files and their index: a round trip, and every kind of file that must be refused."""

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
from FetusMapV2Lib.estimation.model_index import (
    file_sha256,
    find_model,
    install_model,
    list_models,
    register_model,
    verify,
)
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


@pytest.fixture
def index(model: Model, tmp_path: Path) -> Path:
    folder = tmp_path / "Models"
    save_model(folder / "toy.safetensors", model)
    save_model(folder / "other.safetensors", model.with_info(name="other"))
    register_model(folder / "toy.safetensors", "toy", description="a toy", index=folder / "models.json")
    register_model(folder / "other.safetensors", "other", default=True, index=folder / "models.json")
    return folder / "models.json"


def test_models_are_found_by_name_path_or_default(index: Path) -> None:
    assert [entry.name for entry in list_models(index)] == ["other", "toy"]
    assert find_model("toy", index).name == "toy.safetensors"
    assert find_model(None, index).name == "other.safetensors"
    elsewhere = index.parent / "toy.safetensors"
    assert find_model(elsewhere, index) == elsewhere
    entry = next(one for one in list_models(index) if one.name == "toy")
    assert entry.sha256 == file_sha256(elsewhere)
    assert entry.size_bytes == elsewhere.stat().st_size
    with pytest.raises(ModelError, match="other, toy"):
        find_model("nobody", index)


def test_verify_names_the_good_and_raises_for_the_bad(index: Path) -> None:
    assert len(list(verify(index=index))) == 2
    assert len(list(verify("toy", index))) == 1
    damaged = index.parent / "other.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    lines = []
    with pytest.raises(ModelError, match="SHA-256"):
        for line in verify(index=index):
            lines.append(line)
    assert len(lines) == 1 and lines[0].startswith("toy")
    with pytest.raises(ModelError, match="SHA-256"):
        find_model(None, index)
    damaged.unlink()
    with pytest.raises(ModelError, match="missing"):
        find_model("other", index)


def test_a_broken_index_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match="index"):
        list_models(path)


def test_registering_twice_replaces_and_foreign_folders_are_refused(index: Path, model: Model, tmp_path: Path) -> None:
    save_model(index.parent / "toy.safetensors", model.with_info(notice="new"))
    register_model(index.parent / "toy.safetensors", "toy", index=index)
    assert [entry.name for entry in list_models(index)] == ["other", "toy"]
    assert len(list(verify(index=index))) == 2
    save_model(tmp_path / "far.safetensors", model)
    with pytest.raises(ModelError, match="beside"):
        register_model(tmp_path / "far.safetensors", "far", index=index)


def test_the_index_of_the_installation_is_whole() -> None:
    assert len(list(verify())) == len(list_models())


def test_installing_a_model_copies_it_and_enters_it(model: Model, tmp_path: Path) -> None:
    source = tmp_path / "run" / "model.safetensors"
    source.parent.mkdir()
    save_model(source, model)
    index = tmp_path / "Models" / "models.json"
    entry = install_model(source, "site-1", description="ours", default=True, index=index)
    assert entry.path == index.parent / "site-1.safetensors"
    assert find_model(None, index) == find_model("site-1", index) == entry.path
    with pytest.raises(OutputError, match="exists"):
        install_model(source, "site-1", index=index)
    install_model(source, "site-1", overwrite=True, index=index)
    with pytest.raises(ModelError, match="not a name"):
        install_model(source, "../site", index=index)
    with pytest.raises(ModelError):
        install_model(tmp_path / "none.safetensors", "other", index=index)
    assert [one.name for one in list_models(index)] == ["site-1"]
