"""The files of a report: those asked for, whole or none, never over others unasked."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
from core.folders import visible
from reporting.samples import STATES, pose, report

from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.export.report_files import KINDS, report_paths, write_report
from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.imaging.point_notes import PointNote


def print_stand_in(_report, path: Path) -> None:
    path.write_bytes(b"%PDF-")


def test_all_files_are_written_and_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "Befunde ü"
    paths = write_report(folder, "Fall 1", report(), KINDS, print_pdf=print_stand_in)
    assert list(paths) == list(KINDS) and paths == report_paths(folder, "Fall 1", KINDS)
    assert visible(folder) == sorted(paths.values())
    assert paths["html"].read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    np.testing.assert_allclose(read_markups(paths["landmarks"]).positions, pose().positions, atol=1e-5)
    assert "Femora, left minus right" in paths["csv"].read_text(encoding="utf-8")
    assert json.loads(paths["fhir"].read_text(encoding="utf-8"))["resourceType"] == "Bundle"
    assert paths["dicom"].read_bytes()[128:132] == b"DICM"


def test_every_point_of_the_landmark_file_says_where_it_comes_from(tmp_path: Path) -> None:
    paths = write_report(
        tmp_path, "c", report(pose=pose(20), states=(*STATES[:20], "missing", STATES[21])), ["landmarks"]
    )
    points = json.loads(paths["landmarks"].read_text(encoding="utf-8"))["markups"][0]["controlPoints"]
    states = [PointNote.read(point["description"]).state for point in points]
    assert states == [*STATES[:20], "missing", "estimated"]
    assert "confidence" not in points[0]["description"] and "confidence 0.90" in points[10]["description"]


def test_only_what_was_asked_for(tmp_path: Path) -> None:
    paths = write_report(tmp_path, "c", report(), ["fhir", "html"])
    assert list(paths) == ["html", "fhir"]
    assert [path.name for path in visible(tmp_path)] == ["c.fhir.json", "c.report.html"]


def test_a_pdf_needs_a_printer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="prints"):
        write_report(tmp_path, "c", report(), ["pdf"])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_existing_files_are_kept_unless_told(tmp_path: Path, kind) -> None:
    taken = report_paths(tmp_path, "c", KINDS)[kind]
    taken.write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="exists already"):
        write_report(tmp_path, "c", report(), KINDS, print_pdf=print_stand_in)
    assert list(tmp_path.iterdir()) == [taken] and taken.read_text(encoding="utf-8") == "mine"
    write_report(tmp_path, "c", report(), KINDS, print_pdf=print_stand_in, overwrite=True)
    assert len(visible(tmp_path)) == len(KINDS)
    assert taken.read_bytes() != b"mine"


def test_what_fails_leaves_nothing_and_keeps_the_old(tmp_path: Path) -> None:
    write_report(tmp_path, "c", report(), ["html"])
    before = {path.name: path.read_bytes() for path in visible(tmp_path)}

    def full_disk(_report, path: Path) -> None:
        path.write_bytes(b"%PD")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match="the disk is full"):
        write_report(tmp_path, "c", report(formula="hadlock"), KINDS, print_pdf=full_disk, overwrite=True)
    assert {path.name: path.read_bytes() for path in visible(tmp_path)} == before
