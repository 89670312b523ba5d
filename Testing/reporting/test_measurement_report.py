"""The measurement report, read back by pydicom in its strict mode, by highdicom, and by DCMTK where it is installed.

Structure and codes are held against DICOM PS3.16 (TID 1500, 1410, 300, 310, 1008).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from reporting.samples import STUDY, pose, report, sections

from FetusMapV2Lib.anatomy.body_sections import BodySection, HeadAndAbdomen
from FetusMapV2Lib.anatomy.ellipse import Ellipse
from FetusMapV2Lib.anatomy.nuchal import Nuchal
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.anatomy.standard_planes import SectionPlane
from FetusMapV2Lib.core.notices import RESEARCH_USE
from FetusMapV2Lib.reporting.codes import CRL, LANDMARK_SITES, SECTION_SITES, SECTIONS, SIDES
from FetusMapV2Lib.reporting.dicom_sr import structured_report
from FetusMapV2Lib.reporting.measurement_report import measurement_report, write_measurement_report
from FetusMapV2Lib.reporting.report import Report

FRAME = "1.2.840.99999.7"
PLANE = SectionPlane("head", np.array([1.0, 2.0, 3.0]), *np.eye(3), (18.0, 14.0))


def with_head(**changes: Any) -> Report:
    """A report with the outline of a head, whose landmarks lie in the space of its images."""
    head = BodySection("head", PLANE, Ellipse(2.0, -1.0, 18.5, 14.0, 0.3), 0.9)
    measured = HeadAndAbdomen(head, sections().abdomen)
    return report(sections=measured, frame_of_reference=FRAME, **changes)


@pytest.fixture(scope="module", autouse=True)
def strict() -> Iterator[None]:
    """Values that do not fit their representation raise, in writing and in reading."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.RAISE)
        patch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.RAISE)
        yield


@pytest.fixture(scope="module")
def groups(strict: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The measurement groups of a report without a nasal bone as highdicom reads them, by what they track."""
    from highdicom.sr import Comprehensive3DSR, srread

    path = tmp_path_factory.mktemp("sr") / "r.dcm"
    write_measurement_report(path, with_head(pose=pose(3)))
    document = srread(path)
    assert isinstance(document, Comprehensive3DSR)
    return {one.tracking_identifier: one for one in document.content.get_planar_roi_measurement_groups()}


def tracked(document: Dataset) -> dict[str, Dataset]:
    """The measurement groups by what they track."""
    (measured,) = (item for item in document.ContentSequence if named(item) == "Imaging Measurements")
    return {str(group.ContentSequence[0].TextValue): group for group in measured.ContentSequence}


def lps(positions: np.ndarray) -> np.ndarray:
    return positions * [-1.0, -1.0, 1.0]


def test_highdicom_finds_every_landmark_where_it_is(groups: dict[str, Any]) -> None:
    case, found = with_head(pose=pose(3)), groups
    landmarks = case.pose.schema.landmarks
    assert [landmarks[3].name in found, len(found)] == [False, 21 + len(case.measurements.lengths) + 1]
    for landmark in landmarks:
        if landmark.row == 3:
            continue
        group = found[landmark.name]
        assert group.roi.graphic_type.value == "POINT"
        assert group.roi.frame_of_reference_uid == FRAME
        assert group.roi.value == pytest.approx(lps(case.pose.positions[[landmark.row]]), abs=1e-4)
        (site,) = group.finding_sites
        assert site.value == LANDMARK_SITES[landmark.key.removeprefix(f"{landmark.side}_")]
        assert site.laterality == (SIDES[landmark.side] if landmark.side else None)
        assert group.finding_type.meaning == landmark.name and group.finding_type.scheme_designator == "99FETUSMAPV2"
        confidence, radius = group.get_measurements()
        assert (confidence.name, confidence.unit.value) == (codes.DCM.CertaintyOfFinding, "%")
        assert (float(confidence.value), float(radius.value), radius.unit.value) == (90.0, 1.5, "mm")


def test_highdicom_reads_the_lengths_with_their_interval(groups: dict[str, Any]) -> None:
    case, found = with_head(pose=pose(3)), groups
    for length in case.measurements.lengths:
        group = found[length.name]
        assert group.roi.value == pytest.approx(lps(case.pose.positions[list(length.rows)]), abs=1e-4)
        (measured,) = group.get_measurements()
        assert float(measured.value) == pytest.approx(length.value_mm, abs=0.006)
        assert (measured.unit, measured.derivation) == (codes.UCUM.Millimeter, codes.SCT.Estimated)
        spread = {item.name.value: float(item.value) for item in measured[0].ContentSequence if item.ValueType == "NUM"}
        both = [codes.SCT.RangeOfUpperMeasurementUncertainty.value, codes.SCT.RangeOfLowerMeasurementUncertainty.value]
        assert [spread[code] for code in both] == [pytest.approx(length.uncertainty_mm, abs=0.006)] * 2
    assert found["Crown-rump length"].get_measurements()[0].name == CRL
    assert not {group.tracking_uid for group in found.values()} & {FRAME} and len(found) == 27


def test_the_outline_of_the_head_is_an_ellipse_in_space(groups: dict[str, Any]) -> None:
    group = groups["Outline of the head"]
    ends = group.roi.value
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(37.0, abs=1e-3)
    assert np.linalg.norm(ends[3] - ends[2]) == pytest.approx(28.0, abs=1e-3)
    assert (ends[1] - ends[0]) @ (ends[3] - ends[2]) == pytest.approx(0.0, abs=1e-3)
    assert ends.mean(axis=0) == pytest.approx([-3.0, -1.0, 3.0], abs=1e-4)
    assert [one.name for one in group.get_measurements()] == [SECTIONS[key] for key in ("hc", "bpd", "ofd")]


def test_what_was_set_by_hand_is_told(strict: None) -> None:
    case = with_head()
    head = case.sections.head.with_ellipse(Ellipse(2.0, -1.0, 19.0, 15.0, 0.3))
    case = replace(case, sections=case.sections.with_section(head), nuchal=Nuchal((1.1, 1.5), ((1, 2, 3), (1, 2, 4.5))))
    found = tracked(measurement_report(case))
    (line, value) = found["Nuchal translucency"].ContentSequence[-2:]
    assert list(line.GraphicData) == [-1, -2, 3, -1, -2, 4.5] and line.GraphicType == "POLYLINE"
    assert value.ConceptNameCodeSequence[0].CodeValue == codes.cid12009.NuchalTranslucency.value
    assert "the largest of 2 tries" in value.ContentSequence[1].TextValue
    circumference = found["Outline of the head"].ContentSequence[-3]
    assert circumference.ContentSequence[1].TextValue == "set by hand"
    measured = codes.cid3627.Measured
    for number in (value, circumference):
        derivation = number.ContentSequence[0]
        assert named(derivation) == "Derivation" and derivation.ConceptCodeSequence[0].CodeValue == measured.value
    for name in ("Nuchal translucency", "Outline of the head"):
        assert "Algorithm Name" not in map(named, found[name].ContentSequence), "nobody's but the person's"
    assert "set by hand" in structured_report(case).to_json()


def test_nothing_that_a_person_set_is_called_estimated(strict: None) -> None:
    case = with_head(states=("edited",) * 11 + ("confirmed",) * 11)
    head = case.sections.head.with_ellipse(Ellipse(2.0, -1.0, 19.0, 15.0, 0.3))
    case = replace(case, sections=case.sections.with_section(head), nuchal=Nuchal((1.5,), ((1, 2, 3), (1, 2, 4.5))))
    for document in (measurement_report(case), structured_report(case)):
        text = document.to_json()
        assert codes.cid3627.Measured.value in text and codes.SCT.Estimated.value not in text
    one_left = replace(case, states=("estimated", *case.states[1:]))
    assert structured_report(one_left).to_json().count(codes.SCT.Estimated.value) == 1, "the crown-rump length"


@pytest.mark.skipif(pydicom.__version__ < "3", reason="an older pydicom lists the codes of an older standard")
def test_the_codes_are_those_of_the_standard() -> None:
    listed = {(codes.cid12005.concepts[name].value) for name in codes.cid12005.dir()}
    assert {code.value for code in SECTIONS.values()} <= listed
    known = {(code.value, code.meaning) for code in (getattr(codes.SCT, name) for name in codes.SCT.dir())}
    assert {(code.value, code.meaning) for code in (*LANDMARK_SITES.values(), *SECTION_SITES.values())} <= known
    keys = {one.key.removeprefix(f"{one.side}_") for one in default_schema().landmarks}
    assert keys == set(LANDMARK_SITES)


def test_it_stands_beside_the_images_of_its_study(tmp_path: Path) -> None:
    write_measurement_report(tmp_path / "r.dcm", with_head())
    root = pydicom.dcmread(tmp_path / "r.dcm")
    assert root.StudyInstanceUID == STUDY.study_uid and root.PatientID == "P-17"
    assert (root.SeriesNumber, root.SeriesDescription) == (2, "Fetal landmarks and lengths")
    assert root.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    library = next(item for item in root.ContentSequence if named(item) == "Image Library")
    images = library.ContentSequence[0].ContentSequence
    shown = [one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for one in images]
    assert shown == [image.sop_instance_uid for image in STUDY.images]
    comments = [item.TextValue for item in root.ContentSequence if named(item) == "Comment"]
    assert comments[0] == RESEARCH_USE
    assert {one.CodingSchemeDesignator for one in root.CodingSchemeIdentificationSequence} == {"99FETUSMAPV2"}


def named(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)


def test_who_set_a_landmark_is_told(groups: dict[str, Any]) -> None:
    told = {name: [one.value.value for one in group.get_qualitative_evaluations()] for name, group in groups.items()}
    assert (told["Cranial crest"], told["Chin"], told["Rump"]) == (["EDITED"], ["CONFIRMED"], ["ESTIMATED"])


def test_twins_are_two_subjects_and_the_same_landmark_is_tracked() -> None:
    other = with_head(number=2, fetuses=[with_head(), with_head()])
    document = measurement_report(other)
    context = [item for item in document.ContentSequence if named(item) in ("Subject Class", "Subject ID")]
    assert [context[0].ConceptCodeSequence[0].CodeMeaning, context[1].TextValue] == ["Fetus", "2"]
    assert document.SeriesDescription.endswith("fetus 2 of 2")

    def uid(document: Dataset, name: str) -> str:
        return str(tracked(document)[name].ContentSequence[1].UID)

    name = "Rump, fetus 2 of 2"
    assert uid(document, name) == uid(measurement_report(other), name) != uid(measurement_report(with_head()), "Rump")


def test_without_identifiers_nothing_leads_to_the_patient_or_the_images(tmp_path: Path) -> None:
    write_measurement_report(tmp_path / "r.dcm", with_head().without_identifiers())
    content = (tmp_path / "r.dcm").read_bytes()
    for text in ("Müller", "P-17", "19900203", STUDY.study_uid, FRAME, "Ärztin", "Fall"):
        assert text.encode("utf-8") not in content
    written = tracked(pydicom.dcmread(tmp_path / "r.dcm")).values()
    items = [item for group in written for item in group.ContentSequence if item.ValueType == "SCOORD3D"]
    assert len({item.ReferencedFrameOfReferenceUID for item in items}) == 1  # a space that no image shares


def test_what_is_missing_is_left_out() -> None:
    bare = report(pose=pose(*range(1, 22)), states=(), study=None, operator="", model="")
    assert list(tracked(measurement_report(bare))) == ["Cranial crest"]
    assert "Image Library" not in {named(item) for item in measurement_report(bare).ContentSequence}
    plain = replace(bare, pose=replace(pose(), confidence=None, radius90_mm=None))
    values = {item.ValueType for item in tracked(measurement_report(plain))["Rump"].ContentSequence}
    assert "SCOORD3D" in values and "NUM" not in values


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="DCMTK is not installed")
def test_dcmtk_finds_no_fault(tmp_path: Path) -> None:
    write_measurement_report(tmp_path / "r.dcm", with_head())
    command = ["dsrdump", "+Pn", "+Pc", str(tmp_path / "r.dcm")]
    dump = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    assert "Comprehensive 3D SR Document" in dump.stdout and "Crown Rump Length" in dump.stdout
    assert not [line for line in dump.stderr.splitlines() if "Specific Character Set" not in line]
