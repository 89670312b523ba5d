"""`fetusmap estimate --report`: the report's files beside the results, with and without a patient."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pydicom
import pytest
from cli.synthetic_balls import ball_volume
from core.folders import visible
from imaging.samples import enhanced_us, sample, save

from FetusMapV2Lib.imaging.writing import write_volume

pytest.importorskip("slicer")
REPORT = (
    ".fhir.json",
    ".measurements.csv",
    ".measurements.json",
    ".mrk.json",
    ".report.html",
    ".sr.dcm",
    ".sr3d.dcm",
)


def names(folder: Path) -> list[str]:
    return [path.name for path in visible(folder)]


@pytest.fixture
def dicom_file(tmp_path: Path) -> Path:
    """Ball volume as DICOM of a patient."""
    dataset = enhanced_us([ball_volume()[0]])
    dataset.PatientName, dataset.PatientID, dataset.StudyInstanceUID = "Doe^Jane", "P-17", pydicom.uid.generate_uid()
    dataset.SeriesInstanceUID, dataset.StudyDate = pydicom.uid.generate_uid(), "20240131"
    save(dataset, tmp_path / "doe.dcm")
    return tmp_path / "doe.dcm"


def test_a_report_of_a_dicom_volume_belongs_to_its_patient(fetusmap, sees_balls, dicom_file, tmp_path) -> None:
    answer = fetusmap("estimate", dicom_file, "-o", tmp_path / "out", "--report", "--dating", "hadlock")
    assert answer.code == 0, answer.err
    assert names(tmp_path / "out") == sorted(f"doe{suffix}" for suffix in REPORT)
    structured, source = pydicom.dcmread(tmp_path / "out" / "doe.sr.dcm"), pydicom.dcmread(dicom_file)
    assert structured.PatientID == "P-17" and structured.StudyInstanceUID == source.StudyInstanceUID
    points = pydicom.dcmread(tmp_path / "out" / "doe.sr3d.dcm")
    assert points.PatientID == "P-17" and points.StudyInstanceUID == source.StudyInstanceUID
    html = (tmp_path / "out" / "doe.report.html").read_text(encoding="utf-8")
    assert "Doe, Jane" in html and "Hadlock (chosen)" in html
    assert html.count("data:image/png") == 4 and html.count("data:image/svg+xml") == 6
    bundle = json.loads((tmp_path / "out" / "doe.fhir.json").read_text(encoding="utf-8"))
    assert any(entry["resource"]["resourceType"] == "Patient" for entry in bundle["entry"])


def test_without_identifiers_nothing_in_the_folder_tells_the_patient(
    fetusmap, sees_balls, dicom_file, tmp_path
) -> None:
    dicom_file = dicom_file.rename(tmp_path / "DOE_JANE_19900203.dcm")
    out = tmp_path / "out"
    wanted = ("--report", "--scene", "--picture", "--without-identifiers")
    answer = fetusmap("estimate", dicom_file, "-o", out, *wanted)
    assert answer.code == 0 and "case-0001" in answer.err
    assert names(out) == sorted(f"case-0001{suffix}" for suffix in (*REPORT, ".mrb", ".png"))
    source = pydicom.dcmread(dicom_file)
    told = ["DOE_JANE", "Doe^Jane", "Doe, Jane", "P-17", "19900203", "2024-01-31", "20240131", str(tmp_path)]
    told.append(str(source.StudyInstanceUID))
    with zipfile.ZipFile(out / "case-0001.mrb") as bundle:
        contents = {name: bundle.read(name) for name in bundle.namelist()}
    contents |= {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for name, content in contents.items():
        for text in told:
            assert text not in name and text.encode() not in content, (name, text)
    assert pydicom.dcmread(out / "case-0001.sr.dcm").PatientIdentityRemoved == "YES"
    assert str(dicom_file) in (tmp_path / "out.key.csv").read_text(encoding="utf-8")
    assert fetusmap("estimate", dicom_file, "-o", out, *wanted, "--overwrite").code == 0
    assert len(names(out)) == len(REPORT) + 2


def test_without_a_fetus_there_is_no_report_and_an_old_one_goes(fetusmap, sees_balls, tmp_path, monkeypatch) -> None:
    from dataclasses import replace

    from cli.synthetic_balls import ball_engine

    from FetusMapV2Lib.estimation.engine import PoseEngine
    from FetusMapV2Lib.models.calibration import uncalibrated

    write_volume(tmp_path / "b.nrrd", ball_volume()[0])
    assert fetusmap("estimate", tmp_path / "b.nrrd", "-o", tmp_path / "out", "--report").code == 0
    strict = ball_engine(calibration=replace(uncalibrated(), detection_threshold=1.2))
    monkeypatch.setattr(PoseEngine, "load", classmethod(lambda cls, *_: strict))
    answer = fetusmap("estimate", tmp_path / "b.nrrd", "-o", tmp_path / "out", "--report", "--overwrite")
    assert answer.code == 0 and names(tmp_path / "out") == ["b.measurements.json"]


def test_an_existing_report_is_kept_and_costs_no_estimate(fetusmap, sees_balls, tmp_path, monkeypatch) -> None:
    from FetusMapV2Lib.estimation.engine import PoseEngine

    write_volume(tmp_path / "b.nrrd", ball_volume()[0])
    (tmp_path / "b.sr.dcm").write_text("mine", encoding="utf-8")
    monkeypatch.setattr(PoseEngine, "estimate", lambda *_, **__: pytest.fail("estimated in vain"))
    answer = fetusmap("estimate", tmp_path / "b.nrrd", "-o", tmp_path, "--report")
    assert answer.code == 2 and "b.sr.dcm" in answer.err and "--overwrite" in answer.err
    assert names(tmp_path) == ["b.nrrd", "b.sr.dcm"]


def test_an_unknown_formula_is_refused_at_once(fetusmap, model_file, tmp_path) -> None:
    write_volume(tmp_path / "v.nrrd", sample())
    answer = fetusmap(
        "estimate", tmp_path / "v.nrrd", "-o", tmp_path / "out", "--model", model_file, "--dating", "naegele"
    )
    assert answer.code == 2 and "unknown dating formula 'naegele'" in answer.err and "hadlock" in answer.err
    assert not (tmp_path / "out").exists()
