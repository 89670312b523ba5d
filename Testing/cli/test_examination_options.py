"""Options about an examination: growth since an earlier one, comment, examiner; refused before work is spent."""

from __future__ import annotations

import json

import pytest
from cli.synthetic_balls import ball_volume

from FetusMapV2Lib.imaging.writing import write_volume


@pytest.fixture
def volume_file(tmp_path):
    write_volume(tmp_path / "v.nrrd", ball_volume()[0])
    return tmp_path / "v.nrrd"


def results(folder, name="v"):
    return json.loads((folder / f"{name}.measurements.json").read_text(encoding="utf-8"))


def test_growth_since_an_earlier_examination_comment_and_signature(fetusmap, sees_balls, volume_file, tmp_path) -> None:
    first = fetusmap("estimate", volume_file, "-o", tmp_path / "then", "--examined", "2026-02-01")
    assert first.code == 0, first.err
    earlier = tmp_path / "then" / "v.measurements.json"
    told = ("--examiner", "Dr. Ä", "--institution", "Klinik", "--comment", "Gut zu sehen.", "--paper", "letter")
    wanted = ("--report", "--examined", "2026-02-15", "--earlier", earlier, "--earlier-fetus", 1, *told)
    answer = fetusmap("estimate", volume_file, "-o", tmp_path / "now", *wanted)
    assert answer.code == 0, answer.err
    examination = results(tmp_path / "now")["examination"]
    assert examination["comment"] == "Gut zu sehen." and examination["examiner"] == "Dr. Ä"
    growth = {one["key"]: one for one in examination["earlier"]["growth"]}
    assert growth["crl"]["per_day_mm"] == pytest.approx(0.0, abs=1e-6)
    page = (tmp_path / "now" / "v.report.html").read_text(encoding="utf-8")
    assert "Since 2026-02-01" in page and "Gut zu sehen." in page and "size: letter" in page
    assert "could not be checked" in page


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--earlier", "none.json", "--examined", "2026-02-15"), "does not exist"),
        (("--comment", "x", "--without-identifiers"), "of a patient"),
        (("--earlier-fetus", "2"), "there is no earlier examination"),
        (("--paper", "a3"), "no paper 'a3'"),
    ],
)
def test_what_cannot_be_is_refused_before_the_estimate(
    fetusmap, sees_balls, volume_file, tmp_path, monkeypatch, options, problem
) -> None:
    from FetusMapV2Lib.estimation.engine import PoseEngine

    monkeypatch.setattr(PoseEngine, "estimate", lambda *_, **__: pytest.fail("estimated in vain"))
    answer = fetusmap("estimate", volume_file, "-o", tmp_path / "out", *options)
    assert answer.code == 2 and problem in answer.err and not (tmp_path / "out").exists()


def test_a_comment_belongs_to_one_patient(fetusmap, sees_balls, volume_file, tmp_path) -> None:
    write_volume(tmp_path / "w.nrrd", ball_volume()[0])
    answer = fetusmap("estimate", volume_file, tmp_path / "w.nrrd", "-o", tmp_path / "out", "--comment", "x")
    assert answer.code == 2 and "--comment: this belongs to one patient" in answer.err
