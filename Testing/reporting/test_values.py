"""What another system would refuse, or take for another day, is left out of the report and named in it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import timedelta

import highdicom
import pydicom
import pytest
from pydicom.uid import generate_uid
from reporting.samples import CREATED, STUDY, report
from reporting.test_fhir import checked

from FetusMapV2Lib.imaging.study import SourceImage, study_of
from FetusMapV2Lib.reporting.dicom_sr import write_sr
from FetusMapV2Lib.reporting.page import report_page
from FetusMapV2Lib.reporting.report import Report
from FetusMapV2Lib.reporting.values import checked_study, clean_text, name_component


def sr_of(case: Report, tmp_path) -> pydicom.Dataset:
    """The structured report as it is read back, every value held against its representation."""
    write_sr(tmp_path / "r.dcm", case)
    content = (tmp_path / "r.dcm").read_bytes()
    root = pydicom.dcmread(io.BytesIO(content))
    for element in root.iterall():
        _ = element.value
    highdicom.sr.srread(tmp_path / "r.dcm")
    return root


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.RAISE)
    monkeypatch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.RAISE)


TOMORROW = (CREATED + timedelta(days=5)).strftime("%Y%m%d")
#: Changed fields of a study; what of them is left out.
_WRONG = [
    ({"birth_date": "20240231"}, "date of birth"),
    ({"birth_date": "1990"}, "date of birth"),
    ({"birth_date": "035Y"}, "date of birth"),
    ({"birth_date": "00000000"}, "date of birth"),
    ({"birth_date": TOMORROW}, "date of birth"),
    ({"birth_date": "18500101"}, "date of birth"),
    ({"birth_date": "20240201"}, "date of birth"),  # after the examination
    ({"birth_date": "١٩٩٠٠٢٠٣"}, "date of birth"),
    ({"date": "20230229"}, "date of the study"),
    ({"date": TOMORROW}, "date of the study"),
    ({"date": "20240101-20240131"}, "date of the study"),
    ({"time": "256199"}, "time of the study"),
    ({"study_uid": "1.2.abc"}, "identifier of the study"),
    ({"study_uid": "1.2." + "3" * 80}, "identifier of the study"),
    ({"study_uid": "1.02.3"}, "identifier of the study"),
    ({"sex": "female"}, "sex"),
    ({"patient_id": "7" * 65}, "patient ID"),
    ({"accession_number": "A" * 17}, "accession number"),
    ({"study_id": "S" * 17}, "study ID"),
]


@pytest.mark.parametrize(
    ("changes", "what"), _WRONG, ids=[f"{key}={value[:9]}" for one, _ in _WRONG for key, value in one.items()]
)
def test_what_cannot_be_right_is_left_out_and_named(tmp_path, changes, what) -> None:
    case = report(study=replace(STUDY, **changes), pictures=())
    (field,) = changes
    assert getattr(case.reported_study, field) == ""
    assert sum(f"the {what} in the DICOM data" in remark for remark in case.remarks) == 1
    assert f"the {what} in the DICOM data" in report_page(case)
    root = sr_of(case, tmp_path)
    assert any(what in str(element.value) for element in root.iterall() if element.keyword == "TextValue")
    resources = json.dumps(checked(case))
    assert changes[field] not in resources


def test_what_is_right_stays_as_it_is() -> None:
    kept, remarks = checked_study(STUDY, CREATED)
    assert kept == STUDY and remarks == ()
    at_the_limit = replace(
        STUDY, patient_id="7" * 64, accession_number="A" * 16, birth_date="19200229", date="20240301"
    )
    assert checked_study(at_the_limit, CREATED) == (at_the_limit, ())


@pytest.mark.parametrize(
    "name",
    [
        "Doe\\Jane",
        "a^b^c^d^e^f=g=h=i",
        "Ä" * 200,
        "\x00\x1b[2J^Jane\n\x7f",
        "\u202eevil^\ud800",
        "= ^^",
        "李^美=Li^Mei",
        "=李^美",
    ],
)
def test_odd_names_are_written_so_that_others_read_them(tmp_path, name) -> None:
    case = report(study=replace(STUDY, patient_name=name, referring_physician=name), operator=name, pictures=())
    written = str(sr_of(case, tmp_path).PatientName)
    assert written.count("=") <= 2 and all(len(group) <= 64 and group.count("^") <= 4 for group in written.split("="))
    text = json.dumps(checked(case), ensure_ascii=False) + report_page(case)
    assert not any(
        (ord(sign) < 32 and sign != "\n") or 0x7F <= ord(sign) < 0xA0 or 0xD800 <= ord(sign) < 0xE000 for sign in text
    )
    assert "\u202e" not in json.dumps(checked(case), ensure_ascii=False)


def test_images_without_an_identifier_are_not_referred_to(tmp_path) -> None:
    images = (*STUDY.images, SourceImage("", generate_uid(), "1.2.3"), SourceImage("1.2", "1.2.x", "1.2.3"))
    case = report(study=replace(STUDY, images=images), pictures=())
    assert case.reported_study.images == STUDY.images
    assert any("images" in remark for remark in case.remarks)
    sr_of(case, tmp_path)


def test_free_texts_carry_no_control_characters(tmp_path) -> None:
    case = report(
        model="m\x00\x1b[31m\x85", warnings=("odd\x07\ud800",), operator="Dr.\x00^X", name="N\x08", pictures=()
    )
    root = sr_of(case, tmp_path)
    texts = [str(element.value) for element in root.iterall() if element.VR in ("UT", "PN", "LO")]
    assert not any(ord(sign) < 32 for text in texts for sign in text)
    checked(case)
    assert "\x1b" not in report_page(case) and "\x00" not in report_page(case)


def test_a_date_that_the_reader_leaves_out_is_named_too() -> None:
    dataset = pydicom.Dataset()
    with pydicom.config.disable_value_validation():
        dataset.PatientBirthDate, dataset.StudyDate = "20240231", "20240131"
    study = study_of([dataset])
    assert study.birth_date == "" and study.date == "20240131"
    assert study.remarks == ("the date of birth in the DICOM data is no date ('20240231'); it is left out",)
    assert study.remarks[0] in report(study=study).remarks


def test_without_identifiers_no_day_is_told(tmp_path) -> None:
    case = report(pictures=()).without_identifiers()
    root = sr_of(case, tmp_path)
    assert (root.ContentDate, root.ContentTime, root.LongitudinalTemporalInformationModified) == (
        "20240101",
        "000000",
        "MODIFIED",
    )
    for text in (report_page(case), json.dumps(checked(case))):
        assert "02-29" not in text and "13:05" not in text


def test_plain_text_keeps_letters_of_every_script() -> None:
    assert clean_text(" Ä\u200dб\t漢\n\x00") == "Ä\u200dб 漢"
    assert name_component("Dr. A^B=C\\D") == "Dr. A B C D"
