"""`fetusmap calibrate`: one line for every mistake, and the model stays as it is."""

from __future__ import annotations

from pathlib import Path

from training.toy_cases import write_toy_cases


def test_calibrating_without_a_model_or_with_few_cases(fetusmap, model_file, tmp_path: Path) -> None:
    write_toy_cases(tmp_path / "few", 3)
    before = model_file.read_bytes()
    answer = fetusmap("calibrate", model_file, "--data", tmp_path / "few")
    assert answer.code == 2 and "too few" in answer.errors()[0]
    answer = fetusmap("calibrate", tmp_path / "none.safetensors", "--data", tmp_path / "few")
    assert answer.code == 2 and "no such model file" in answer.errors()[0]
    assert model_file.read_bytes() == before
