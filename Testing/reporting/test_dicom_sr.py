"""The structured report, read back: by pydicom in its strict mode, by highdicom, by DCMTK where it is installed.

Structure and codes are held against DICOM PS3.16 (TID 5000, 5002, 5006, 5008, 5011, 300) and PS3.3 A.35.3.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from reporting.samples import STUDY, pose, report

from FetusMapV2Lib.core.notices import RESEARCH_USE
from FetusMapV2Lib.reporting.codes import BONES, CRL, EQUATIONS, GESTATIONAL_AGE, SIDES
from FetusMapV2Lib.reporting.dicom_sr import write_sr
from FetusMapV2Lib.reporting.report import Report

#: What may lie below what in a Comprehensive SR, as far as this report goes (PS3.3 table A.35.3-2).
ALLOWED = {
    "CONTAINS": ({"CONTAINER"}, {"TEXT", "CODE", "NUM", "IMAGE", "CONTAINER"}),
    "HAS OBS CONTEXT": ({"CONTAINER"}, {"TEXT", "CODE", "PNAME", "UIDREF"}),
    "HAS CONCEPT MOD": ({"CONTAINER", "CODE", "NUM"}, {"TEXT", "CODE"}),
    "HAS PROPERTIES": ({"TEXT", "CODE", "NUM"}, {"TEXT", "CODE", "NUM"}),
    "INFERRED FROM": ({"TEXT", "CODE", "NUM"}, {"TEXT", "CODE", "NUM"}),
}
#: Sections in the order of TID 5000.
ORDER = ["Image Library", "Summary", "Fetal Long Bones", "Early Gestation"]


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that do not fit their representation raise, in writing and in reading."""
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.RAISE)
    monkeypatch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.RAISE)


def written(tmp_path: Path, case: Report | None = None) -> Dataset:
    write_sr(tmp_path / "r.sr.dcm", case or report())
    return pydicom.dcmread(tmp_path / "r.sr.dcm")


def walk(item: Dataset) -> Iterator[tuple[Dataset, Dataset]]:
    """Every (parent, child)."""
    for child in item.get("ContentSequence", []):
        yield item, child
        yield from walk(child)


def meaning(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning) if "ConceptNameCodeSequence" in item else ""


def value(item: Dataset) -> tuple[str, str]:
    coded = item.ConceptCodeSequence[0]
    return str(coded.CodingSchemeDesignator), str(coded.CodeValue)


def concept(item: Dataset) -> tuple[str, str]:
    named = item.ConceptNameCodeSequence[0]
    return str(named.CodingSchemeDesignator), str(named.CodeValue)


def children(item: Dataset, name: str) -> list[Dataset]:
    return [child for child in item.get("ContentSequence", []) if meaning(child) == name]


def number(item: Dataset) -> float:
    return float(item.MeasuredValueSequence[0].NumericValue)


def unit(item: Dataset) -> str:
    return str(item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue)


def test_the_root_is_the_template_of_ob_gyn_ultrasound(tmp_path: Path) -> None:
    root = written(tmp_path)
    assert root.file_meta.MediaStorageSOPClassUID.name == "Comprehensive SR Storage"
    assert concept(root) == ("DCM", codes.DCM.OBGYNUltrasoundProcedureReport.value)
    (template,) = root.ContentTemplateSequence
    assert (template.MappingResource, template.TemplateIdentifier) == ("DCMR", "5000")
    assert (root.ValueType, root.ContinuityOfContent, root.Modality) == ("CONTAINER", "SEPARATE", "SR")
    assert (root.CompletionFlag, root.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    sections = [meaning(child) for child in root.ContentSequence if child.ValueType == "CONTAINER"]
    assert sections == ORDER


def test_every_relationship_is_allowed_and_every_item_named(tmp_path: Path) -> None:
    for parent, child in walk(written(tmp_path)):
        sources, targets = ALLOWED[child.RelationshipType]
        assert parent.ValueType in sources and child.ValueType in targets
        if child.ValueType != "IMAGE":
            (name,) = child.ConceptNameCodeSequence
            assert name.CodeValue and name.CodingSchemeDesignator in ("DCM", "LN", "SCT") and name.CodeMeaning


def test_the_codes_are_those_of_the_standard() -> None:
    for group, mine in (
        (codes.cid12009, [CRL]),
        (codes.cid12006, [code for code, _site in BONES.values()]),
        (codes.cid12013, list(EQUATIONS.values())),
        (codes.cid244, list(SIDES.values())),
    ):
        listed = {
            (code.scheme_designator, code.value, code.meaning) for code in (getattr(group, n) for n in group.dir())
        }
        assert {(code.scheme_designator, code.value, code.meaning) for code in mine} <= listed
    assert (GESTATIONAL_AGE.value, GESTATIONAL_AGE.scheme_designator) == ("18185-9", "LN")
    assert [site for _code, site in BONES.values()] == [codes.SCT.Femur, codes.SCT.Humerus]


def test_long_bones_have_site_side_and_interval(tmp_path: Path) -> None:
    case = report()
    (section,) = children(written(tmp_path, case), "Fetal Long Bones")
    assert section.ContentTemplateSequence[0].TemplateIdentifier == "5006"
    lengths = case.measurements.lengths[1:]
    assert len(section.ContentSequence) == len(lengths)
    for group, length in zip(section.ContentSequence, lengths, strict=True):
        assert meaning(group) == "Biometry Group" and group.ContentTemplateSequence[0].TemplateIdentifier == "5008"
        (measured,) = group.ContentSequence
        side, _, kind = length.key.partition("_")
        assert concept(measured) == ("LN", BONES[kind][0].value)
        assert number(measured) == pytest.approx(length.value_mm, abs=0.006) and unit(measured) == "mm"
        (site,) = children(measured, "Finding Site")
        assert value(site) == ("SCT", BONES[kind][1].value)
        (laterality,) = children(site, "Laterality")
        assert value(laterality) == ("SCT", SIDES[side].value)
        (comment,) = children(measured, "Comment")
        assert f"+-{length.uncertainty_mm:.1f} mm" in comment.TextValue


@pytest.mark.parametrize("formula", ["intergrowth21", "robinson", "hadlock"])
def test_crl_and_age_share_a_group_and_the_age_names_its_formula(tmp_path: Path, formula: str) -> None:
    case = report(formula=formula)
    (section,) = children(written(tmp_path, case), "Early Gestation")
    assert section.ContentTemplateSequence[0].TemplateIdentifier == "5011"
    (group,) = section.ContentSequence
    crl, age = group.ContentSequence
    assert concept(crl) == ("LN", "11957-8")
    assert number(crl) == pytest.approx(case.measurements.lengths[0].value_mm, abs=0.006)
    dating = case.measurements.dating
    assert concept(age) == ("LN", "18185-9") and unit(age) == "d"
    assert number(age) == pytest.approx(dating.days, abs=0.006)
    (source,) = [item for item in age.ContentSequence if item.RelationshipType == "INFERRED FROM"]
    if formula == "intergrowth21":
        assert meaning(source) == "Equation Citation" and "Papageorghiou" in source.TextValue
    else:
        assert meaning(source) == "Equation" and value(source) == ("LN", EQUATIONS[formula].value)
    (low,) = children(age, "5th Percentile Value of population")
    (high,) = children(age, "95th Percentile Value of population")
    assert number(high) - number(low) == pytest.approx(2 * dating.combined_days, abs=0.02)


def test_an_age_outside_its_range_says_so(tmp_path: Path) -> None:
    (section,) = children(written(tmp_path, report(pose=pose(factor=2.2))), "Early Gestation")
    age = section.ContentSequence[0].ContentSequence[1]
    (comment,) = children(age, "Comment")
    assert "outside the 15 to 95 mm" in comment.TextValue


def test_research_use_and_doubts_are_in_the_summary(tmp_path: Path) -> None:
    positions = pose().positions.copy()
    positions[17] = positions[16] + 0.15 * (positions[17] - positions[16])
    (summary,) = children(written(tmp_path, report(pose=pose().with_positions(positions))), "Summary")
    lines = [item.TextValue for item in summary.ContentSequence]
    assert lines[0] == RESEARCH_USE
    assert "5 of 22 landmarks were set or confirmed by a person." in lines
    assert any("left shorter than right" in line for line in lines)


def test_who_observed(tmp_path: Path) -> None:
    context = [item for item in written(tmp_path).ContentSequence if item.RelationshipType == "HAS OBS CONTEXT"]
    kinds = [value(item)[1] for item in context if meaning(item) == "Observer Type"]
    assert kinds == [codes.DCM.Device.value, codes.DCM.Person.value]
    texts = {meaning(item): str(item.get("TextValue", item.get("PersonName", ""))) for item in context}
    assert texts["Device Observer Name"].startswith("FetusMapV2 ")
    assert texts["Device Observer Model Name"] == "toy (0123)"
    assert texts["Person Observer Name"] == "Dr. Ärztin"


def test_it_belongs_to_the_study_of_its_images(tmp_path: Path) -> None:
    root = written(tmp_path)
    assert str(root.PatientName) == STUDY.patient_name and root.PatientID == "P-17"
    assert root.IssuerOfPatientID == "Klinik" and root.PatientBirthDate == "19900203" and root.PatientSex == "F"
    assert root.StudyInstanceUID == STUDY.study_uid and root.AccessionNumber == "A-3" and root.StudyID == "S1"
    assert str(root.ReferringPhysicianName) == STUDY.referring_physician
    assert root.SeriesInstanceUID not in {image.series_uid for image in STUDY.images}
    (library,) = children(root, "Image Library")
    shown = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in library.ContentSequence]
    assert shown == [image.sop_instance_uid for image in STUDY.images]
    (evidence,) = root.CurrentRequestedProcedureEvidenceSequence
    referred = {
        one.ReferencedSOPInstanceUID
        for series in evidence.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }
    assert evidence.StudyInstanceUID == STUDY.study_uid and referred == set(shown)
    assert (root.ContentDate, root.ContentTime, root.TimezoneOffsetFromUTC) == ("20240229", "130507", "+0200")


@pytest.mark.parametrize("asked", [True, False])
def test_without_identifiers_nothing_tells_the_patient(tmp_path: Path, asked: bool) -> None:
    case = report().without_identifiers() if asked else report(study=None, operator="", name="")
    root = written(tmp_path, case)
    assert str(root.PatientName) == root.PatientID == root.PatientBirthDate == root.AccessionNumber == ""
    assert root.StudyInstanceUID != STUDY.study_uid and "CurrentRequestedProcedureEvidenceSequence" not in root
    assert not children(root, "Image Library")
    assert (root.get("PatientIdentityRemoved") == "YES") is asked
    content = (tmp_path / "r.sr.dcm").read_bytes()
    for text in ("Müller", "P-17", "19900203", STUDY.study_uid, "Ärztin", "Fall"):
        assert text.encode("utf-8") not in content


def test_missing_lengths_are_left_out(tmp_path: Path) -> None:
    root = written(tmp_path, report(pose=pose(0, 17)))
    assert not children(root, "Early Gestation")
    (section,) = children(root, "Fetal Long Bones")
    assert len(section.ContentSequence) == 3
    bare = written(tmp_path, report(pose=pose(*range(10, 22))))
    assert not children(bare, "Fetal Long Bones") and children(bare, "Early Gestation")


def test_two_reports_are_two_objects(tmp_path: Path) -> None:
    assert written(tmp_path).SOPInstanceUID != written(tmp_path).SOPInstanceUID


def test_highdicom_reads_it(tmp_path: Path) -> None:
    from highdicom.sr import ComprehensiveSR, NumContentItem, srread

    case = report()
    write_sr(tmp_path / "r.sr.dcm", case)
    document = srread(tmp_path / "r.sr.dcm")
    assert isinstance(document, ComprehensiveSR)
    (root,) = document.content
    (section,) = root.ContentSequence.find(codes.DCM.EarlyGestation)
    (group,) = section.ContentSequence
    crl, age = group.ContentSequence
    assert isinstance(crl, NumContentItem) and crl.name == CRL and crl.unit == codes.UCUM.Millimeter
    assert float(crl.value) == pytest.approx(case.measurements.lengths[0].value_mm, abs=0.006)
    assert age.name == GESTATIONAL_AGE


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="DCMTK is not installed")
def test_dcmtk_finds_no_fault(tmp_path: Path) -> None:
    write_sr(tmp_path / "r.sr.dcm", report())
    dump = subprocess.run(
        ["dsrdump", "+Pn", "+Pc", str(tmp_path / "r.sr.dcm")],
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    assert "Comprehensive SR Document" in dump.stdout and "Crown Rump Length" in dump.stdout
    faults = [line for line in dump.stderr.splitlines() if "Specific Character Set" not in line]
    assert not faults


def test_a_doubtful_fetus_is_told_in_the_summary(tmp_path: Path) -> None:
    dataset = written(tmp_path, report(pose=replace(pose(), doubt="A score of 0.77.")))
    texts = [str(child.TextValue) for parent, child in walk(dataset) if meaning(parent) == "Summary"]
    assert texts[1] == "Doubtful. A score of 0.77."
