"""The index of models: found by name, entered one at a time, and every kind of index that must be refused."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cli.synthetic_balls import model_of

from FetusMapV2Lib.core.errors import ModelError, OutputError
from FetusMapV2Lib.models import model_index
from FetusMapV2Lib.models.index_file import file_sha256
from FetusMapV2Lib.models.model_file import Model, load_model, save_model
from FetusMapV2Lib.models.model_index import (
    find_model,
    install_model,
    list_models,
    register_model,
    user_index,
    verify,
)
from FetusMapV2Lib.network.unet import UNet3d


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    network = UNet3d(widths=(2, 3, 4))
    return model_of(network, input_size=(32, 16, 16)).with_info(name="toy", network=dict(network.config))


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
        lines.extend(verify(index=index))
    assert len(lines) == 1 and lines[0].startswith("toy")
    with pytest.raises(ModelError, match="SHA-256"):
        find_model(None, index)
    damaged.unlink()
    with pytest.raises(ModelError, match="missing"):
        find_model("other", index)


GOOD = {"name": "toy", "file": "toy.safetensors", "sha256": "0" * 64, "size": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not valid JSON"),
        ("[]", "no JSON object"),
        ("{}", "lacks the key version"),
        ('{"version": 2, "models": []}', "version 2"),
        ('{"version": 1}', "lacks the key models"),
        ('{"version": 1, "models": {}}', "models must be a list"),
        ("[" * 5000, "index"),
        ('{"version": 1, "models": [1]}', "JSON object"),
        ({"name": "../toy"}, "no name for a model"),
        ({"name": 5}, "name must be text"),
        ({"file": "../../toy.safetensors"}, "beside the index"),
        ({"file": "C:\\toy.safetensors"}, "beside the index"),
        ({"file": "/toy.safetensors"}, "beside the index"),
        ({"file": ".."}, "beside the index"),
        ({"file": "a\0"}, "beside the index"),
        ({"file": "a" * 200}, "beside the index"),
        ({"sha256": "0" * 63}, "SHA-256"),
        ({"sha256": None}, "sha256 must be text"),
        ({"size": -1}, "negative"),
        ({"size": 1.5}, "size must be a whole number"),
        ({"size": 10**400}, "too large"),
        ({"size": 2**60}, "size must be a whole number"),
        ({"description": []}, "description must be text"),
        ({"default": 1}, "default must be true or false"),
    ],
)
def test_a_broken_index_is_one_line(tmp_path: Path, text: str | dict[str, Any], said: str) -> None:
    path = tmp_path / "models.json"
    if isinstance(text, dict):
        text = json.dumps({"version": 1, "models": [{**GOOD, **text}]})
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=said) as refused:
        list_models(path)
    assert "models.json" in str(refused.value) and "\n" not in str(refused.value)


def test_the_longest_file_name_is_of_199_characters(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    path.write_text(json.dumps({"version": 1, "models": [{**GOOD, "file": "a" * 199}]}), encoding="utf-8")
    assert len(list_models(path)) == 1


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"file": "b"}, "the name 'toy' twice"),
        ({"name": "b", "file": "TOY.safetensors"}, "the file 'toy.safetensors' twice"),
        ({"name": "b", "file": "b", "default": True}, "more than one default"),
    ],
)
def test_what_may_be_there_once_is_not_there_twice(tmp_path: Path, second: dict[str, Any], said: str) -> None:
    path = tmp_path / "models.json"
    entries = [{**GOOD, "default": True}, {**GOOD, **second}]
    path.write_text(json.dumps({"version": 1, "models": entries}), encoding="utf-8")
    with pytest.raises(ModelError, match=said):
        list_models(path)


def test_entries_made_at_once_are_all_kept(index: Path) -> None:
    source = index.parent / "toy.safetensors"
    names = [f"site-{number}" for number in range(6)]
    threads = [
        threading.Thread(target=install_model, args=(source, name), kwargs={"index": index, "default": True})
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = list_models(index)
    assert [entry.name for entry in entries] == ["other", *names, "toy"]
    assert sum(entry.default for entry in entries) == 1
    assert not list(index.parent.glob(".*"))


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


def test_installing_a_model_copies_and_registers_it(model: Model, tmp_path: Path) -> None:
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
    with pytest.raises(ModelError, match="not a name"):
        install_model(source, "con", index=index)
    with pytest.raises(ModelError):
        install_model(tmp_path / "none.safetensors", "other", index=index)
    assert [one.name for one in list_models(index)] == ["site-1"]


def test_results_call_an_installed_model_by_the_name_it_was_given(model: Model, tmp_path: Path) -> None:
    source, index = tmp_path / "model.safetensors", tmp_path / "Models" / "models.json"
    save_model(source, model)
    before = source.read_bytes()
    installed = load_model(install_model(source, "site-1", index=index).path)
    assert installed.identity.startswith("site-1 (")
    assert not installed.altered
    assert installed.checksum == load_model(source).checksum
    assert installed.info == replace(load_model(source).info, name="site-1")
    assert installed.calibration == load_model(source).calibration
    assert source.read_bytes() == before


def test_a_model_changed_after_it_was_written_still_says_so_when_installed(model: Model, tmp_path: Path) -> None:
    source, index = tmp_path / "model.safetensors", tmp_path / "Models" / "models.json"
    save_model(source, model)
    content = source.read_bytes()
    notice = model.info.notice.encode()
    assert notice in content
    source.write_bytes(content.replace(notice, notice[:-1] + b"!"))
    assert load_model(source).altered
    installed = install_model(source, "site-1", index=index).path
    assert load_model(installed).altered
    assert installed.read_bytes() == source.read_bytes()


# ---- the user's models beside the bundled ones


@pytest.fixture
def installation(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The index of an installation with one bundled model, `default`, for a user without models."""
    folder = tmp_path / "installation" / "Models"
    save_model(folder / "bundled.safetensors", model)
    register_model(folder / "bundled.safetensors", "bundled", default=True, index=folder / "models.json")
    monkeypatch.setattr(model_index, "resource_path", lambda *parts: folder / parts[-1])
    monkeypatch.setenv("FETUSMAPV2_DATA", str(tmp_path / "Daten von Ä"))
    return folder / "models.json"


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_added_model_goes_to_the_users_data_not_into_the_installation(installation: Path, tmp_path: Path) -> None:
    before = _files(installation.parent)
    entry = install_model(installation.parent / "bundled.safetensors", "site-1", description="ours")
    assert entry.path == tmp_path / "Daten von Ä" / "Models" / "site-1.safetensors"
    assert _files(installation.parent) == before
    assert [one.name for one in list_models()] == ["bundled", "site-1"]
    assert find_model("site-1") == entry.path
    assert find_model() == installation.parent / "bundled.safetensors"
    assert len(list(verify())) == 2


def test_the_users_default_replaces_the_bundled_one(installation: Path) -> None:
    entry = install_model(installation.parent / "bundled.safetensors", "site-1", default=True)
    assert find_model() == entry.path
    assert [(one.name, one.default) for one in list_models()] == [("bundled", False), ("site-1", True)]


def test_the_name_of_a_bundled_model_is_taken(installation: Path) -> None:
    source = installation.parent / "bundled.safetensors"
    with pytest.raises(ModelError, match="bundled: a bundled model has this name"):
        install_model(source, "bundled", overwrite=True)
    assert not user_index().exists()


def test_a_users_model_hides_one_that_an_update_brings(installation: Path) -> None:
    source = installation.parent / "bundled.safetensors"
    own = install_model(source, "site-1")
    register_model(source.rename(source.with_name("new.safetensors")), "site-1", index=installation)
    (found,) = [one for one in list_models() if one.name == "site-1"]
    assert found == own


def test_models_of_an_older_installation_are_found(installation: Path) -> None:
    """It wrote them beside the bundled ones; an update has put its own index there."""
    source = installation.parent / "bundled.safetensors"
    entered = install_model(source, "entered", index=installation)
    forgotten = source.with_name("forgotten.safetensors")
    forgotten.write_bytes(source.read_bytes())
    assert [one.name for one in list_models()] == ["bundled", "entered", "forgotten"]
    assert (find_model("entered"), find_model("forgotten")) == (entered.path, forgotten)
    assert len(list(verify())) == 3
    forgotten.write_bytes(b"cut")
    with pytest.raises(ModelError, match="forgotten"):
        list(verify("forgotten"))


def test_a_broken_index_of_the_user_is_named(installation: Path) -> None:
    user_index().parent.mkdir(parents=True)
    user_index().write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="delete it and add its models again") as refused:
        find_model()
    assert str(refused.value).startswith(str(user_index()))
