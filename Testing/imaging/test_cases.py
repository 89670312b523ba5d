"""Training cases written after an annotation: only what a person vouches for, and how it came about."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from core.folders import visible
from imaging.samples import sample

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError, OutputError
from FetusMapV2Lib.imaging.training_cases import Annotation, find_cases, next_case_name, write_training_case

SCHEMA = default_schema()
POSITIONS = np.random.default_rng(0).uniform(-20, 40, (22, 3))
STATES = ["confirmed"] * 10 + ["edited"] * 6 + ["estimated"] * 4 + ["missing"] * 2


def pose() -> Pose:
    positions = POSITIONS.copy()
    positions[20:] = np.nan
    return Pose(positions)


def written(folder: Path, name: str = "case-0000", **options):
    return write_training_case(folder, name, sample(), pose(), Annotation(STATES, "Dr. Ä", "toy (01)"), **options)


def test_only_what_a_person_vouches_for_becomes_truth(tmp_path: Path) -> None:
    files = written(tmp_path / "neue Fälle")
    (found,) = find_cases(tmp_path / "neue Fälle")
    assert found == files and found.fetus_present
    back = found.pose()
    np.testing.assert_allclose(back.positions[:16], POSITIONS[:16], atol=1e-5)
    assert not back.present[16:].any()
    volume = found.volume()
    np.testing.assert_array_equal(volume.array, sample().array)
    np.testing.assert_allclose(volume.ijk_to_ras, sample().ijk_to_ras, atol=1e-6)


def test_who_and_what_is_recorded(tmp_path: Path) -> None:
    record = json.loads(written(tmp_path).truth_path.read_text(encoding="utf-8"))["annotation"]
    assert (record["editor"], record["model"]) == ("Dr. Ä", "toy (01)")
    assert record["states"] == dict(zip(SCHEMA.keys, STATES, strict=True))
    assert record["software"].startswith("FetusMapV2 ")
    assert datetime.fromisoformat(record["time"]).tzinfo is not None


def test_without_a_confirmed_landmark_there_is_no_case(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no landmark was confirmed"):
        write_training_case(tmp_path, "c", sample(), pose(), Annotation(["estimated"] * 22))
    # "confirmed", but not there
    states = ["estimated"] * 20 + ["confirmed"] * 2
    with pytest.raises(InputError, match="no landmark was confirmed"):
        write_training_case(tmp_path, "c", sample(), pose(), Annotation(states))
    with pytest.raises(ValueError, match="3 states"):
        write_training_case(tmp_path, "c", sample(), pose(), Annotation(["edited"] * 3))
    assert not any(tmp_path.iterdir())


def test_a_case_is_not_overwritten_unless_asked(tmp_path: Path) -> None:
    written(tmp_path)
    before = {path.name: path.read_bytes() for path in visible(tmp_path)}
    with pytest.raises(OutputError, match="exists already"):
        written(tmp_path)
    assert {path.name: path.read_bytes() for path in visible(tmp_path)} == before
    written(tmp_path, overwrite=True)
    assert sorted(before) == [path.name for path in visible(tmp_path)]


def test_a_volume_of_another_kind_is_not_shadowed(tmp_path: Path) -> None:
    (tmp_path / "case-0000.mha").write_bytes(b"mine")
    with pytest.raises(OutputError, match="another volume of this name"):
        written(tmp_path)


def test_a_case_that_fails_leaves_nothing(tmp_path: Path) -> None:
    sheared = sample()
    matrix = sheared.ijk_to_ras.copy()
    matrix[0, 1] += 1.0
    with pytest.raises(OutputError, match="right angles"):
        write_training_case(tmp_path, "c", sheared.with_(ijk_to_ras=matrix), pose(), Annotation(STATES))
    assert not any(tmp_path.iterdir())


def test_names_count_on_and_tell_nothing_of_the_patient(tmp_path: Path) -> None:
    folder = tmp_path / "cases"
    assert next_case_name(folder) == "case-0000"
    for name in ("case-0002", "case-x", "other"):
        written(folder, name)
    assert next_case_name(folder) == "case-0003"
    (folder / ".fetusmap" / "case-0005.json").write_text("{}", encoding="utf-8")  # being written
    assert next_case_name(folder) == "case-0006"
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="not a folder"):
        next_case_name(tmp_path / "file")
