"""A run that was cut off is completed by the same command; results that are there are kept, skipped or refused."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from cli.synthetic_balls import ball_volume
from core.folders import visible

from FetusMapV2Lib.core import atomic_files, publishing
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.imaging.writing import write_sequence, write_volume

RESULTS = [".measurements.csv", ".measurements.json", ".mrk.json"]


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    write_volume(tmp_path / "b.nrrd", ball_volume()[0])
    return tmp_path / "b.nrrd"


def names(folder: Path) -> list[str]:
    return [path.name for path in visible(folder)]


def cut_off(out: Path, name: str, moved: int) -> None:
    """The folder as a process leaves it that is killed when it has moved some of a case's files."""
    manifest = out / ".fetusmap" / f"{name}.json"
    document = json.loads(manifest.read_text(encoding="utf-8"))
    new = out / ".writing-cut" / "new"
    new.mkdir(parents=True)
    for file in sorted(document["files"])[moved:]:
        (out / file).rename(new / file)
    manifest.write_text(json.dumps({**document, "staging": ".writing-cut"}), encoding="utf-8")
    publishing._finished.clear()
    atomic_files._cleaned.clear()


@pytest.mark.parametrize("moved", range(3))
def test_the_same_command_completes_a_case_that_was_cut_off(fetusmap, sees_balls, volume, tmp_path, moved) -> None:
    out = tmp_path / "out"
    command = ("estimate", volume, "-o", out)
    assert fetusmap(*command).code == 0
    cut_off(out, "b", moved)
    answer = fetusmap(*command)
    assert answer.code == 0, answer.err
    assert names(out) == [f"b{suffix}" for suffix in RESULTS] and not (out / ".writing-cut").exists()
    again = fetusmap(*command)  # now it is complete
    assert again.code == 2 and "exists already" in again.err


def test_a_case_that_was_cut_off_is_finished_and_then_skipped(
    fetusmap, sees_balls, volume, tmp_path, monkeypatch
) -> None:
    out = tmp_path / "out"
    command = ("estimate", volume, "-o", out, "--skip-existing")
    assert fetusmap(*command).code == 0
    before = {path: path.read_bytes() for path in visible(out)}
    cut_off(out, "b", 1)
    monkeypatch.setattr(PoseEngine, "estimate", lambda *_, **__: pytest.fail("estimated in vain"))
    assert fetusmap(*command).code == 0
    assert {path: path.read_bytes() for path in visible(out)} == before


def test_what_is_there_is_skipped_only_if_it_is_complete_and_of_this_file(
    fetusmap, sees_balls, volume, tmp_path
) -> None:
    out = tmp_path / "out"
    command = ("estimate", volume, "-o", out, "--skip-existing")
    assert fetusmap(*command).code == 0
    (out / "b.measurements.csv").unlink()
    assert fetusmap(*command).code == 0 and names(out) == [f"b{suffix}" for suffix in RESULTS]
    other = tmp_path / "other"
    other.mkdir()
    write_volume(other / "b.nrrd", ball_volume()[0].with_spacing(1.0))
    answer = fetusmap("estimate", other / "b.nrrd", "-o", out, "--skip-existing")
    assert answer.code == 2 and "another file of this name" in answer.err
    answer = fetusmap(*command, "--overwrite")
    assert answer.code == 2 and "both kept and replaced" in answer.err


def test_landmarks_that_were_corrected_are_not_lost_with_a_table(fetusmap, sees_balls, volume, tmp_path) -> None:
    out = tmp_path / "out"
    assert fetusmap("estimate", volume, "-o", out).code == 0
    (out / "b.mrk.json").write_text("corrected", encoding="utf-8")
    (out / "b.measurements.csv").unlink()
    for option in ((), ("--skip-existing",)):
        answer = fetusmap("estimate", volume, "-o", out, *option)
        assert answer.code == 2 and "b.mrk.json" in answer.err and "changed since" in answer.err
    assert (out / "b.mrk.json").read_text(encoding="utf-8") == "corrected"


def test_a_sequence_is_skipped_as_one(fetusmap, sees_balls, tmp_path, monkeypatch) -> None:
    write_sequence(tmp_path / "m.seq.nrrd", [ball_volume()[0]] * 2, times_s=[0.0, 0.5])
    command = ("estimate", tmp_path / "m.seq.nrrd", "-o", tmp_path / "out", "--skip-existing", "--without-identifiers")
    assert fetusmap(*command).code == 0
    assert {name.split(".")[0] for name in names(tmp_path / "out")} == {"case-0001_0000", "case-0001_0001", "case-0001"}
    monkeypatch.setattr(PoseEngine, "estimate", lambda *_, **__: pytest.fail("estimated in vain"))
    assert fetusmap(*command).code == 0


@pytest.mark.skipif(os.name == "nt", reason="the folder rules there")
@pytest.mark.parametrize(("options", "others"), [((), 0), (("--shared",), 0o044)])
def test_results_are_private_unless_asked(fetusmap, sees_balls, volume, tmp_path, options, others) -> None:
    before = os.umask(0o022)
    try:
        assert fetusmap("estimate", volume, "-o", tmp_path / "new" / "out", *options).code == 0
    finally:
        os.umask(before)
    for path in visible(tmp_path / "new" / "out"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 | others
    for folder in (tmp_path / "new", tmp_path / "new" / "out"):
        assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == (0o055 if options else 0)


def test_a_key_is_for_numbered_results_alone(fetusmap, model_file, volume, tmp_path) -> None:
    answer = fetusmap("estimate", volume, "-o", tmp_path / "out", "--key", tmp_path / "k.csv", "--model", model_file)
    assert answer.code == 2 and "--without-identifiers" in answer.err
