"""The files of an estimate: those asked for, whole or none, never over others unasked."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from core.folders import visible
from imaging.samples import sample
from reporting.samples import STATES, STUDY, pose

from FetusMapV2Lib.core.errors import InputError, OutputError
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.exporting import KINDS, REPORT_KINDS, ExportOptions, export, export_paths, export_sequence
from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.imaging.point_notes import PointNote
from FetusMapV2Lib.imaging.study import SourceSpace
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.imaging.writing import write_volume
from FetusMapV2Lib.reporting.report import Report

#: The kinds that need no view.
PLAIN = tuple(kind for kind in KINDS if kind not in ("scene", "picture"))
ESTIMATE = Estimate.given(pose(), "toy (0123)")
NOT_FOUND = replace(ESTIMATE, status="none", reason="No fetus found in secret.dcm.", warnings=("secret is odd",))


def print_stand_in(_report: Report, path: Path) -> None:
    path.write_bytes(b"%PDF-")


def options(kinds: Any = PLAIN, **changes: Any) -> ExportOptions:
    given: dict[str, Any] = {"stem": "c", "states": STATES, "pictures": (), "print_pdf": print_stand_in, "study": STUDY}
    return ExportOptions(kinds, **{**given, **changes})


def volume(name: str = "v") -> Volume:
    return Volume(np.zeros((4, 4, 4), np.uint8), np.eye(4), name)


def test_all_files_are_written_and_can_be_read(tmp_path: Path) -> None:
    folder, chosen = tmp_path / "Befunde ü", options(stem="Fall 1")
    paths = export(ESTIMATE, volume(), folder, chosen)
    assert list(paths) == list(PLAIN) and list(paths.values()) == export_paths(folder, "Fall 1", chosen)
    assert visible(folder) == sorted(paths.values())
    assert paths["html"].read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    np.testing.assert_allclose(read_markups(paths["landmarks"]).positions, pose().positions, atol=1e-5)
    assert "Femora, left minus right" in paths["csv"].read_text(encoding="utf-8")
    assert json.loads(paths["json"].read_text(encoding="utf-8"))["model"] == "toy (0123)"
    assert json.loads(paths["fhir"].read_text(encoding="utf-8"))["resourceType"] == "Bundle"
    assert paths["dicom"].read_bytes()[128:132] == paths["dicom3d"].read_bytes()[128:132] == b"DICM"


def test_the_points_are_in_the_space_of_the_images_while_the_volume_is(tmp_path: Path) -> None:
    corners = ((0.0, 0.0, 0.0), (3.0, 0.0, 0.0), (0.0, 3.0, 0.0), (0.0, 0.0, 3.0), (3.0, 0.0, 3.0), (0.0, 3.0, 3.0))
    study = replace(STUDY, space=SourceSpace("1.2.840.99999.7", corners))

    def frames(volume: Volume | None) -> set[str]:
        path = export(ESTIMATE, volume, tmp_path, options(["dicom3d"], study=study, overwrite=True))["dicom3d"]
        (content,) = (
            one
            for one in pydicom.dcmread(path).ContentSequence
            if one.get("ContentTemplateSequence") is None and one.ValueType == "CONTAINER"
        )
        items = [item for group in content.ContentSequence for item in group.ContentSequence]
        return {str(item.ReferencedFrameOfReferenceUID) for item in items if item.ValueType == "SCOORD3D"}

    assert frames(volume()) == {study.space.uid}
    turned = volume().with_(ijk_to_ras=np.array([[-1.0, 0, 0, 3], [0, 1, 0, 0], [0, 0, -1, 3], [0, 0, 0, 1]]))
    assert frames(turned) == {study.space.uid}
    for moved in (None, volume().with_(ijk_to_ras=np.diag([1.0, 1.0, 1.1, 1.0]))):
        (own,) = frames(moved)
        assert own != study.space.uid


def test_every_point_of_the_landmark_file_says_where_it_comes_from(tmp_path: Path) -> None:
    states = (*STATES[:20], "missing", STATES[21])
    paths = export(Estimate.given(pose(20)), None, tmp_path, options(["landmarks"], states=states))
    points = json.loads(paths["landmarks"].read_text(encoding="utf-8"))["markups"][0]["controlPoints"]
    found = [PointNote.read(point["description"]).state for point in points]
    assert found == [*STATES[:20], "missing", "estimated"]
    assert "confidence" not in points[0]["description"] and "confidence 0.90" in points[10]["description"]


def test_only_what_was_asked_for(tmp_path: Path) -> None:
    paths = export(ESTIMATE, None, tmp_path, options(["fhir", "html"]))
    assert list(paths) == ["html", "fhir"]
    assert [path.name for path in visible(tmp_path)] == ["c.fhir.json", "c.report.html"]
    with pytest.raises(InputError, match=r"no kind of file 'word'.*html"):
        ExportOptions(["word"])  # type: ignore[list-item]
    with pytest.raises(InputError, match="no kind of file was chosen"):
        export(ESTIMATE, None, tmp_path, options([]))


def test_the_volume_names_the_files(tmp_path: Path) -> None:
    assert export(ESTIMATE, volume("a/b"), tmp_path)["json"].name == "a_b.measurements.json"


def test_a_report_alone_leaves_the_results_beside_it(tmp_path: Path) -> None:
    results = export(ESTIMATE, None, tmp_path, options(["landmarks", "csv", "json"]))
    report = export(ESTIMATE, None, tmp_path, options(REPORT_KINDS))
    assert visible(tmp_path) == sorted([*results.values(), *report.values()])


def test_without_a_fetus_there_is_no_report_and_an_old_one_goes(tmp_path: Path) -> None:
    export(ESTIMATE, volume(), tmp_path, options())
    assert list(export(NOT_FOUND, volume(), tmp_path, options(overwrite=True))) == ["json"]
    assert [path.name for path in visible(tmp_path)] == ["c.measurements.json"]
    with pytest.raises(InputError, match="nothing to write"):
        export(NOT_FOUND, volume(), tmp_path, options(["html"], stem="d"))


def test_without_identifiers_no_file_tells_whose_it_is(tmp_path: Path) -> None:
    source = tmp_path / "secret.dcm"
    source.write_bytes(b"not read")
    told = replace(ESTIMATE, warnings=(f"{source} is odd",), reason="")
    chosen = options(identifiers=False, source=source, operator="Dr Reader")
    for path in export(told, volume("secret"), tmp_path / "out", chosen).values():
        for text in (b"secret", b"Doe", b"Reader", STUDY.patient_id.encode()):
            assert text not in path.read_bytes(), (path.name, text)
    document = export(NOT_FOUND, None, tmp_path / "none", chosen)["json"].read_text(encoding="utf-8")
    assert "No fetus found in c." in document and "c is odd" in document and "secret" not in document


def test_what_a_report_leaves_out_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    study = replace(STUDY, birth_date="20990101")
    export(ESTIMATE, None, tmp_path, options(study=study, on_remark=said.append))
    assert len(said) == 1 and said[0].startswith("c: the date of birth")


def test_a_scene_needs_the_volume(tmp_path: Path) -> None:
    pytest.importorskip("slicer")
    with pytest.raises(InputError, match="needs the volume"):
        export(ESTIMATE, None, tmp_path, options(["scene"]))
    assert not visible(tmp_path)


@pytest.mark.parametrize("kind", PLAIN)
def test_existing_files_are_kept_unless_told(tmp_path: Path, kind: Any) -> None:
    (taken,) = export_paths(tmp_path, "c", options([kind]))
    taken.write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="exists already"):
        export(ESTIMATE, None, tmp_path, options())
    assert list(tmp_path.iterdir()) == [taken] and taken.read_text(encoding="utf-8") == "mine"
    export(ESTIMATE, None, tmp_path, options(overwrite=True))
    assert len(visible(tmp_path)) == len(PLAIN)
    assert taken.read_bytes() != b"mine"


def test_what_fails_leaves_nothing_and_keeps_the_old(tmp_path: Path) -> None:
    export(ESTIMATE, None, tmp_path, options())
    before = {path.name: path.read_bytes() for path in visible(tmp_path)}

    def full_disk(_report: Report, path: Path) -> None:
        path.write_bytes(b"%PD")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match="the disk is full"):
        export(ESTIMATE, None, tmp_path, options(dating="hadlock", print_pdf=full_disk, overwrite=True))
    assert {path.name: path.read_bytes() for path in visible(tmp_path)} == before


def test_a_sequence_has_the_files_of_its_frames_and_of_the_movement(tmp_path: Path) -> None:
    unreadable = replace(NOT_FOUND, status="unreadable", model="")
    frames, chosen = [volume(), volume(), volume()], options(["json", "html"], stem="s")
    paths = export_sequence([ESTIMATE, unreadable, ESTIMATE], frames, tmp_path, chosen)
    announced = export_paths(tmp_path, "s", chosen, 3)
    assert paths == visible(tmp_path) == sorted(path for path in announced if "_0001" not in path.name)
    document = json.loads((tmp_path / "s.movement.json").read_text(encoding="utf-8"))
    assert [frame["found"] for frame in document["frames"]] == [True, False, True]


def test_importing_it_imports_nothing_that_draws_and_a_file_that_is_no_dicom_needs_no_pydicom(tmp_path: Path) -> None:
    write_volume(tmp_path / "v.nrrd", sample((20, 20, 20)))
    program = """
import sys, FetusMapV2Lib.exporting.case_export
from FetusMapV2Lib.imaging import reading, study
reading.read_volume(sys.argv[1])
assert study.read_study(sys.argv[1]) is None
sys.exit(', '.join({'torch', 'vtk', 'slicer', 'matplotlib', 'PySide6', 'pydicom'} & {*sys.modules}) or 0)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "v.nrrd")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_report_says_what_the_bundled_model_was_trained_on(tmp_path: Path) -> None:
    from FetusMapV2Lib.models.model_index import list_models

    default = next(entry for entry in list_models() if entry.default)
    estimate = Estimate.given(pose(), f"{default.name} ({default.sha256[:12]})")
    page = export(estimate, None, tmp_path, options(("html",)))["html"].read_text(encoding="utf-8")
    assert default.description in page
    other = export(Estimate.given(pose(), "my own (0123)"), None, tmp_path / "b", options(("html",)))["html"]
    assert "Model card" not in other.read_text(encoding="utf-8")
