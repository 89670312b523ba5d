"""`fetusmap models`: list, add, extend and verify models."""

from __future__ import annotations

import shutil
from pathlib import Path

from training.toy_cases import write_toy_cases

from FetusMapV2Lib.models.model_file import load_model


def test_the_list_of_models(fetusmap) -> None:
    from FetusMapV2Lib.models.model_index import list_models

    answer = fetusmap("models", "list")
    assert answer.code == 0
    assert all(entry.name in answer.out and str(entry.path) in answer.out for entry in list_models())


def test_an_added_model_is_listed_with_its_place(fetusmap, model_file: Path, own_data_folder: Path) -> None:
    answer = fetusmap("models", "add", model_file, "--name", "site-1")
    place = own_data_folder / "Models" / "site-1.safetensors"
    assert answer.code == 0 and str(place) in answer.err
    assert str(place) in fetusmap("models", "list").out
    shutil.rmtree(own_data_folder)


def test_the_installed_models_are_good(fetusmap) -> None:
    from FetusMapV2Lib.models.model_index import list_models

    answer = fetusmap("models", "verify")
    assert answer.code == 0, answer.err
    assert answer.out.count(": good") == len(list_models())


def test_damaged_and_foreign_models_are_refused(fetusmap, model_file: Path, tmp_path: Path) -> None:
    data = bytearray(model_file.read_bytes())
    (tmp_path / "cut.safetensors").write_bytes(data[: len(data) // 2])
    data[-5] ^= 0xFF
    (tmp_path / "flipped.safetensors").write_bytes(data)
    (tmp_path / "text.safetensors").write_text("no model", encoding="utf-8")
    for name, clue in (("cut", "corrupt"), ("flipped", "checksum"), ("text", "corrupt")):
        for command in (("models", "verify"), ("estimate", "v.nrrd", "-o", tmp_path / "out", "--model")):
            answer = fetusmap(*command, tmp_path / f"{name}.safetensors")
            assert answer.code == 2
            assert len(answer.errors()) == 1 and clue in answer.err
            assert answer.out == ""
    assert not (tmp_path / "out").exists()


def test_a_site_extends_the_pose_library(fetusmap, model_file: Path, tmp_path: Path) -> None:
    cases, model, extended = tmp_path / "Fälle [1]", model_file, tmp_path / "eigene Posen.safetensors"
    write_toy_cases(cases, 12)
    answer = fetusmap("models", "add-poses", model, cases, "-o", extended)
    assert answer.code == 0, answer.err
    before, after = load_model(model), load_model(extended)
    assert "11 poses added" in answer.err
    assert len(after.poses) == len(before.poses) + 11
    assert after.checksum != before.checksum
    assert all((a == b).all() for a, b in zip(before.network.parameters(), after.network.parameters(), strict=True))

    again = fetusmap("models", "add-poses", model, cases, "-o", extended)
    assert again.code == 2
    assert "exists" in again.errors()[0]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert fetusmap("models", "add-poses", model, empty, "-o", tmp_path / "x.safetensors").code == 2
    assert not (tmp_path / "x.safetensors").exists()


def test_a_model_between_two(fetusmap, model_file: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    import torch

    from FetusMapV2Lib.anatomy.landmark_shift import LandmarkShift
    from FetusMapV2Lib.models.calibration import uncalibrated
    from FetusMapV2Lib.models.model_file import save_model
    from FetusMapV2Lib.network.unet import UNet3d

    model = load_model(model_file)
    torch.manual_seed(7)
    shift = LandmarkShift(((0.0, 0.0, 0.04),) * 22)
    careful = replace(uncalibrated(), detection_threshold=0.7, doubtful_threshold=0.6, cases=20, shift=shift)
    other = replace(model, network=UNet3d(widths=(2, 3, 4)), calibration=careful, checksum="")
    save_model(tmp_path / "other.safetensors", other)
    between = tmp_path / "between.safetensors"
    answer = fetusmap("models", "average", model_file, tmp_path / "other.safetensors", "-o", between, "--share", "0.25")
    assert answer.code == 0 and "calibrate it next" in answer.err
    found = load_model(between)
    for name, value in found.network.state_dict().items():
        expected = 0.75 * model.network.state_dict()[name] + 0.25 * other.network.state_dict()[name]
        torch.testing.assert_close(value, expected)
    kept = found.calibration
    assert kept is not None and (kept.detection_threshold, kept.doubtful_threshold, kept.cases) == (0.7, 0.6, 0)
    assert kept.shift == LandmarkShift(((0.0, 0.0, 0.01),) * 22)  # its network sees the landmarks between both
    assert "0.25 of this training's" in found.info.training["averaged"]
    again = fetusmap("models", "average", model_file, tmp_path / "other.safetensors", "-o", between)
    assert again.code == 2 and "--overwrite" in again.errors()[0]
    back = ("models", "average", tmp_path / "other.safetensors", model_file, "--keep-calibration")
    answer = fetusmap(*back, "-o", tmp_path / "as-before.safetensors")
    assert answer.code == 0 and "fetusmap evaluate" in answer.err
    assert load_model(tmp_path / "as-before.safetensors").calibration == careful
    for option, precision in (("--half", "float16"), ("--int8", "int8")):
        assert fetusmap(*back, option, "-o", tmp_path / precision).code == 0
        assert load_model(tmp_path / precision).info.weights == precision
    both = fetusmap(*back, "--half", "--int8", "-o", tmp_path / "both")
    assert both.code == 2 and "--int8" in both.errors()[0] and not (tmp_path / "both").exists()
    no = fetusmap("models", "average", model_file, model_file, "--keep-calibration", "-o", tmp_path / "no.safetensors")
    assert no.code == 2 and "no calibration to keep" in no.errors()[0]
    wrong = fetusmap("models", "average", model_file, "simulated-2", "-o", tmp_path / "no.safetensors")
    assert wrong.code == 2 and "different networks" in wrong.errors()[0]
    outside = fetusmap("models", "average", model_file, model_file, "-o", tmp_path / "no.safetensors", "--share", "2")
    assert outside.code == 2 and not (tmp_path / "no.safetensors").exists()
