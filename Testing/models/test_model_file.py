"""Model files: a round trip, and every kind of file that must be refused."""

from __future__ import annotations

import json
import random
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models.rewritten_files import rewritten
from robustness.mutations import damaged, damaged_safetensors
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import ModelError, OutputError
from FetusMapV2Lib.models.calibration import uncalibrated
from FetusMapV2Lib.models.model_file import (
    FORMAT,
    Model,
    load_model,
    read_info,
    save_model,
)
from FetusMapV2Lib.models.model_index import find_model, verify


def test_round_trip(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "mein Modell ü.safetensors"
    calibrated = replace(model, calibration=replace(uncalibrated(), cases=20_000, detection_threshold=-1e3))
    checksum = save_model(path, calibrated)
    again = load_model(path)
    assert again.checksum == checksum
    assert again.info == model.info == read_info(path)
    assert again.calibration == calibrated.calibration
    assert np.array_equal(again.poses, model.poses, equal_nan=True)
    assert np.array_equal(again.template, model.template)
    assert (again.input_size, again.sigma, again.has_close_view) == ((32, 16, 16), 2.0, True)
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


LATER_FIELDS = ("decoding", "anonymous_sides", "refined_landmarks")


@pytest.mark.parametrize(
    ("preset", "meaning"),
    [
        ({}, ("peaks", False, "trunk")),
        ({"loss": "heatmap", "decoding": "peaks", "refinement": {"refined": "trunk"}}, ("peaks", False, "trunk")),
        ({"loss": "pair", "decoding": "limbs", "refinement": {"refined": "limbs"}}, ("limbs", True, "limbs")),
    ],
)
def test_a_file_that_lacks_later_fields_means_what_its_preset_says(
    model: Model, tmp_path: Path, preset: dict[str, object], meaning: tuple[object, ...]
) -> None:
    path = tmp_path / "older"
    fields = dict(zip(LATER_FIELDS, meaning, strict=True))
    save_model(path, model.with_info(preset=preset, **fields))
    expected = load_model(path)
    without_fields(path, *LATER_FIELDS)
    older = load_model(path)
    assert (older.info, older.identity, older.altered) == (expected.info, expected.identity, False)
    assert {key: getattr(older.info, key) for key in LATER_FIELDS} == fields
    save_model(path, older)
    assert load_model(path).identity == expected.identity


def test_what_a_file_says_counts_and_not_its_preset(model: Model, tmp_path: Path) -> None:
    preset = {"loss": "pair", "decoding": "limbs", "refinement": {"refined": "limbs"}}
    fields = {"decoding": "peaks", "anonymous_sides": False, "refined_landmarks": "trunk"}
    save_model(tmp_path / "newer", model.with_info(preset=preset, **fields))
    again = load_model(tmp_path / "newer")
    assert not again.anonymous_sides and not again.decodes_limbs
    assert again.refined_schema.refined_rows == default_schema().refined_rows


def test_the_bundled_model_reads_limbs_as_wholes_and_is_unaltered() -> None:
    bundled = load_model(find_model())
    assert (bundled.decodes_limbs, bundled.anonymous_sides, bundled.altered) == (True, True, False)
    assert bundled.refined_schema.refined_rows == default_schema().refined_rows


def test_an_existing_file_is_kept_on_request(model: Model, tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", model)
    with pytest.raises(OutputError):
        save_model(tmp_path / "m.safetensors", model, overwrite=False)


def without_fields(path: Path, *fields: str) -> None:
    """Rewrite a model file without some fields of its description."""
    with safe_open(path, framework="pt") as content:
        header = json.loads(content.metadata()[FORMAT])
    kept = {key: value for key, value in header.items() if key not in fields}
    save_file(load_file(path), path, metadata={FORMAT: json.dumps(kept)})


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


def network(**changes: object) -> dict[str, object]:
    return {"network": {"kind": "unet", "widths": [2, 3, 4], "landmarks": 22, **changes}}


def calibration(**changes: object) -> dict[str, object]:
    return {"calibration": {**uncalibrated().to_dict(), **changes}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_fingerprint": "0" * 64}, "another landmark schema"),
        ({"schema": "hands"}, "another landmark schema"),
        ({"format_version": 99}, "format version 99"),
        ({"network": {"kind": "unet", "widths": [3, 4, 5]}}, "do not fit"),
        ({"network": {"kind": "mystery"}}, "do not fit"),
        ({"network": [1]}, "incomplete"),
        (network(kind=["unet"]), "do not fit"),
        (network(widths=[10**9] * 3), "widths"),
        (network(widths=[4] * 10**5), "widths"),
        (network(widths=[4.0, 6.0, 8.0]), "widths"),
        (network(widths=[]), "widths"),
        (network(landmarks=21), "landmarks"),
        (network(landmarks=10**12), "landmarks"),
        (network(in_channels=3), "in_channels"),
        (network(coordinates=1), "coordinates"),
        (network(unknown=1), "do not fit"),
        (network(kind="unet-rnn", part_channels=10**9), "part_channels"),
        (network(kind="unet-rnn", boosted_level=7), "do not fit"),
        (network(kind="unet-rnn", edges=[[0, 99]]), "edges"),
        (network(reversible={"passes": ["down.0.second"], "couplings": 10**9, "depth": 1}), "couplings"),
        (network(reversible={"passes": 5}), "passes"),
        ({"input_size": None}, "incomplete"),
        ({"input_size": [0, 16, 16]}, "input_size"),
        ({"input_size": [32, 16]}, "input_size"),
        ({"input_size": [33, 16, 16]}, "multiples of 4"),
        ({"input_size": [10**6, 10**6, 10**6]}, "input_size"),
        ({"input_size": [512, 512, 516]}, "input_size"),
        ({"input_size": [32.0, 16.0, 16.0]}, "input_size"),
        ({"sigma": 0}, "sigma"),
        ({"sigma": "2"}, "sigma"),
        ({"sigma": 1e300}, "sigma"),
        ({"views": []}, "views"),
        ({"views": ["whole", "whole"]}, "views"),
        ({"views": ["patch", "whole"], "patch_spacing_mm": 0.5}, "views"),
        ({"views": ["patch"], "patch_spacing_mm": "0.5"}, "patch_spacing_mm"),
        ({"weights": "int4"}, "weights"),
        ({"weights": "int8"}, "do not fit"),
        ({"weights": "float16"}, "do not fit"),
        ({"decoding": "wholes"}, "decoding must be peaks or limbs"),
        ({"decoding": 5}, "decoding"),
        ({"anonymous_sides": 1}, "anonymous_sides"),
        ({"anonymous_sides": "yes"}, "anonymous_sides"),
        ({"refined_landmarks": "all"}, "refined_landmarks must be trunk or limbs"),
        ({"refined_landmarks": [1, 4]}, "refined_landmarks"),
        ({"preset": []}, "preset"),
        ({"preset": {"refinement": 3}}, "refinement"),
        ({"training": None}, "training"),
        ({"name": "two\nlines"}, "name"),
        ({"notice": 5}, "notice"),
        ({"notice": "x" * 10**5}, "notice"),
        ({"calibration": {"offsets": []}}, "calibration"),
        ({"calibration": {}}, "calibration"),
        ({"calibration": 0}, "calibration"),
        (calibration(offsets=[0.0] * 21), "calibration"),
        (calibration(radius_factors=[1.0] * 23), "calibration"),
        (calibration(radius_factors=[0.0] * 22), "not positive"),
        (calibration(radius_factors=[1e300] * 22), "calibration"),
        (calibration(presence_threshold=True), "presence_threshold"),
        (calibration(cases=-1), "cases"),
        (calibration(cases=True), "cases"),
        (calibration(confidence_slope=1001.0), "beyond 1000"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(
    model: Model, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, model)
    rewritten(path, **changes)
    with pytest.raises(ModelError, match=message) as refused:
        load_model(path)
    assert "m.safetensors" in str(refused.value) and "\n" not in str(refused.value)
    with pytest.raises(ModelError, match=message):
        list(verify(path))


@pytest.mark.parametrize(
    "text", ["", "[", "[]", "5", "[" * 10**5, '{"format_version": %s}' % ("9" * 400), '{"a": 1, "a": 2}', '{"a": NaN}']
)
def test_a_description_that_is_no_object_is_refused(model: Model, tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, model)
    save_file(load_file(path), path, metadata={FORMAT: text})
    with pytest.raises(ModelError, match="description"):
        load_model(path)
    with pytest.raises(ModelError, match="description"):
        read_info(path)


@pytest.mark.parametrize(
    ("change", "beyond", "message"),
    [
        ({"widths": [4] * 8}, {"widths": [4] * 9}, "widths"),
        ({"widths": [4, 4096]}, {"widths": [4, 4097]}, "widths"),
        ({"part_channels": 256}, {"part_channels": 257}, "part_channels"),
        ({"boosted_level": 8}, {"boosted_level": 9}, "boosted_level"),
        ({"edges": [[0, 21]] * 256}, {"edges": [[0, 21]] * 257}, "edges"),
        ({"edges": [[0, 21]]}, {"edges": [[0, 22]]}, "edges"),
    ],
)
def test_the_largest_network_that_a_description_may_have(
    model: Model, tmp_path: Path, change: dict[str, object], beyond: dict[str, object], message: str
) -> None:
    save_model(tmp_path / "m", model)
    rewritten(tmp_path / "m", input_size=[512, 512, 512], **network(**change))
    assert read_info(tmp_path / "m").input_size == (512, 512, 512)
    rewritten(tmp_path / "m", **network(**beyond))
    with pytest.raises(ModelError, match=message):
        read_info(tmp_path / "m")


def header_of(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(path: Path, header: dict[str, Any], data: bytes, length: int | None = None) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


@pytest.mark.parametrize(
    "offsets",
    [[0, 2**62], [8, 4], [-4, 0], [4, 92], ["0", "88"], [0, 10**30]],
)
def test_offsets_that_lead_elsewhere_are_refused(model: Model, tmp_path: Path, offsets: list[object]) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, model)
    header, data = header_of(path)
    header["network.head.bias"]["data_offsets"] = offsets
    with_header(path, header, data)
    with pytest.raises(ModelError, match="corrupt"):
        load_model(path)


@pytest.mark.parametrize("length", [0, 1, 2**20, 2**40, 2**64 - 1])
def test_a_header_of_another_length_is_refused(model: Model, tmp_path: Path, length: int) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, model)
    with_header(path, *header_of(path), length=length)
    with pytest.raises(ModelError, match="corrupt"):
        load_model(path)


def test_the_file_however_damaged_is_good_or_one_line(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, replace(model, calibration=uncalibrated()))
    content, generator = path.read_bytes(), random.Random(4)
    expected = load_model(path).identity
    for number in range(200):
        if number % 2:
            path.write_bytes(damaged_safetensors(generator, content, FORMAT)[0])
        else:
            path.write_bytes(damaged(generator, {"m": content}, 0, b"x" * 5000)[0]["m"])
        try:
            again = load_model(path)
        except ModelError as error:
            assert "\n" not in str(error)
        else:
            assert again.altered or again.identity == expected


# ---- identity


def test_the_identity_covers_whatever_changes_an_answer_or_what_is_said_of_it(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, replace(model, calibration=uncalibrated()))
    good = load_model(path)
    assert not good.altered
    seen = {good.identity}
    changes: list[dict[str, object]] = [
        calibration(radius_factors=[0.1] * 22), calibration(presence_threshold=-1), {"calibration": None},
        {"notice": "Approved for clinical use."}, {"licence": "none"}, {"views": ["whole"]}, {"sigma": 3},
        {"input_size": [16, 16, 16]}, {"preset": {"name": "toy", "decoding": "limbs"}}, {"decoding": "peaks"},
        {"anonymous_sides": False}, {"refined_landmarks": "limbs"}, {"training": {"cases": 4}},
        {"evaluation": {"ed_mm": 0.1}}, {"name": "another"},
    ]  # fmt: skip
    for change in changes:
        save_model(path, replace(model, calibration=uncalibrated()))
        changed = load_model(rewritten(path, **change))
        assert changed.checksum == good.checksum and changed.altered
        assert changed.identity not in seen, change
        seen.add(changed.identity)
        with pytest.raises(ModelError, match="changed after the file was written"):
            list(verify(path))
    save_model(path, replace(model, poses=model.poses + 1, calibration=uncalibrated()))
    assert load_model(path).identity not in seen


def test_the_identity_is_the_same_however_the_file_is_laid_out(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, model.with_info(sigma=2))
    good = load_model(path)
    header, data = header_of(path)
    described = json.loads(header["__metadata__"][FORMAT])
    described["training"]["seconds"] = 17.0  # how long it took makes no other model
    header["__metadata__"][FORMAT] = json.dumps(dict(sorted(described.items(), reverse=True)), indent=3)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    again = load_model(path)
    assert again.identity == good.identity and not again.altered
    save_model(tmp_path / "copy", again)
    assert load_model(tmp_path / "copy").identity == good.identity


def test_a_file_of_an_earlier_version_has_an_identity_too(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, model)
    expected = load_model(path).identity
    without_fields(path, "fingerprint")
    assert load_model(path).altered  # every version that names itself writes a fingerprint
    without_fields(path, "software")
    again = load_model(path)
    assert (again.identity, again.altered) == (expected, False)
