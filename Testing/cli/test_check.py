"""`fetusmap check`, and the same check before a training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from training.tiny_run import PRESET
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.imaging.markups import read_markups, write_markups


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    folder = tmp_path / "cases"
    folder.mkdir()
    write_toy_cases(folder, 5)
    return folder


def misplace_a_landmark(cases: Path) -> None:
    positions = read_markups(cases / "case-01.mrk.json").positions.copy()
    positions[9] = [0, 0, 90]
    write_markups(cases / "case-01.mrk.json", Pose(positions))


def test_warnings_alone_are_no_failure(fetusmap, cases: Path, tmp_path: Path) -> None:
    answer = fetusmap("check", cases, "--output", tmp_path / "checked")
    assert answer.code == 0 and "4 annotated cases, 1 without a fetus: 0 errors" in answer.err
    assert "error:" not in answer.out
    assert (tmp_path / "checked" / "check.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert json.loads((tmp_path / "checked" / "check.json").read_text(encoding="utf-8"))["errors"] == 0


def test_errors_are_one_line_each_and_the_exit_code_is_2(fetusmap, cases: Path) -> None:
    misplace_a_landmark(cases)
    answer = fetusmap("check", cases)
    assert answer.code == 2
    errors = [line for line in answer.out.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and errors[0].startswith("error: case-01.mrk.json: Rump: lies 42")
    answer = fetusmap("check", cases, "--json")
    assert answer.code == 2 and json.loads(answer.out)["findings"][0]["file"] == "case-01.mrk.json"


def test_no_folder_no_case(fetusmap, tmp_path: Path) -> None:
    for folder in (tmp_path / "none", tmp_path):
        answer = fetusmap("check", folder)
        assert answer.code == 2 and len(answer.errors()) == 1 and not answer.out


def test_errors_stop_a_training_unless_the_check_is_skipped(fetusmap, cases: Path, tmp_path: Path) -> None:
    misplace_a_landmark(cases)
    (tmp_path / "tiny.json").write_text(json.dumps(PRESET.to_dict()), encoding="utf-8")
    train = ("train", "--preset", tmp_path / "tiny.json", "--data", cases, "--output", tmp_path / "run")
    answer = fetusmap(*train, "--device", "cpu", "--threads", 1)
    assert answer.code == 2 and "--skip-check" in answer.errors()[0]
    assert "error: case-01.mrk.json: Rump" in answer.err
    assert not (tmp_path / "run").exists()
    assert fetusmap(*train, "--device", "cpu", "--threads", 1, "--skip-check").code == 0
