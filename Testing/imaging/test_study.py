"""Patient and study as DICOM inputs state them, and nothing from any other file."""

from __future__ import annotations

import dataclasses
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from imaging.samples import enhanced_us, kretz_file, kretz_in_dicom, multiframe, sample, save, slices_of
from pydicom.uid import generate_uid

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.imaging.study import Study, iso_date, read_study
from FetusMapV2Lib.imaging.writing import write_volume

PATIENT = {
    "SpecificCharacterSet": "ISO_IR 192",
    "PatientName": "Müller^Jana^Ä",
    "PatientID": "P-17",
    "IssuerOfPatientID": "Klinik",
    "PatientBirthDate": "19900203",
    "PatientSex": "F",
    "StudyInstanceUID": generate_uid(),
    "SeriesInstanceUID": generate_uid(),
    "StudyID": "S1",
    "StudyDate": "20240131",
    "StudyTime": "101530",
    "AccessionNumber": "A-3",
    "ReferringPhysicianName": "Arzt^Anna",
    "StudyDescription": "12-week scan",
}


def with_patient(dataset):
    for keyword, value in PATIENT.items():
        setattr(dataset, keyword, value)
    return dataset


def test_a_dicom_volume_tells_whose_it_is(tmp_path: Path) -> None:
    dataset = with_patient(enhanced_us([sample()]))
    save(dataset, tmp_path / "v.dcm")
    study = read_study(tmp_path / "v.dcm")
    assert study.patient_name == PATIENT["PatientName"]
    assert study.readable_name == "Müller, Jana Ä"
    assert (study.patient_id, study.issuer_of_patient_id, study.sex) == ("P-17", "Klinik", "F")
    assert (study.readable_birth_date, study.readable_date) == ("1990-02-03", "2024-01-31")
    assert study.study_uid == PATIENT["StudyInstanceUID"] and study.accession_number == "A-3"
    assert (study.time, study.study_id, study.description) == ("101530", "S1", "12-week scan")
    (image,) = study.images
    assert image.sop_instance_uid == dataset.SOPInstanceUID and image.sop_class_uid == dataset.SOPClassUID
    assert image.series_uid == PATIENT["SeriesInstanceUID"]


def test_the_study_knows_the_space_of_its_images(tmp_path: Path) -> None:
    dataset = with_patient(enhanced_us([sample()], shuffled=True))
    dataset.VolumeFrameOfReferenceUID, dataset.FrameOfReferenceUID = "1.2.3", "1.2.4"
    save(dataset, tmp_path / "v.dcm")
    space, volume = read_study(tmp_path / "v.dcm").space, read_volume(tmp_path / "v.dcm")
    assert space.uid == "1.2.3" and space.holds(volume)
    corrected = volume.ijk_to_ras @ np.diag([1.0, 1.02, 1.0, 1.0])
    assert not space.holds(volume.with_(ijk_to_ras=corrected))
    for number, one in enumerate(slices_of(sample())):
        one.FrameOfReferenceUID, one.SeriesInstanceUID, one.StudyInstanceUID = "1.2.5", "1.2.6", "1.2.7"
        (tmp_path / "s").mkdir(exist_ok=True)
        save(one, tmp_path / "s" / f"{7 * number % 16:02d}.dcm")
    space = read_study(tmp_path / "s").space
    assert space.uid == "1.2.5" and space.holds(read_volume(tmp_path / "s"))
    del dataset.VolumeFrameOfReferenceUID
    save(dataset, tmp_path / "w.dcm")
    assert read_study(tmp_path / "w.dcm").space is None


def test_a_kretz_volume_inside_dicom_has_its_study(tmp_path: Path) -> None:
    import numpy as np

    raw = kretz_file(np.zeros((16, 16, 16)), 1.0, 5.0, 0.0, np.linspace(-1, 1, 16), np.linspace(-1, 1, 16))
    save(with_patient(kretz_in_dicom(raw)), tmp_path / "k.dcm")
    assert read_study(tmp_path / "k.dcm").patient_id == "P-17"


def test_a_folder_of_slices_refers_to_every_slice(tmp_path: Path) -> None:
    for number in range(3):
        slice_ = multiframe(sample().array[number : number + 1], "1.2.840.10008.5.1.4.1.1.6.1", "US")
        save(with_patient(slice_), tmp_path / f"{number}.dcm")
    (tmp_path / "notes.txt").write_text("not DICOM", encoding="utf-8")
    study = read_study(tmp_path)
    assert len({image.sop_instance_uid for image in study.images}) == 3
    assert study.patient_id == "P-17"


def test_other_files_tell_nothing(tmp_path: Path) -> None:
    write_volume(tmp_path / "v.nrrd", sample())
    assert read_study(tmp_path / "v.nrrd") is None
    assert read_study(tmp_path / "missing.dcm") is None
    (tmp_path / "empty").mkdir()
    assert read_study(tmp_path / "empty") is None


def test_a_broken_dicom_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "v.dcm").write_bytes(bytes(128) + b"DICM" + b"\x02\x00")
    with pytest.raises(InputError, match=r"v\.dcm"):
        read_study(tmp_path / "v.dcm")


def test_absent_values_are_empty(tmp_path: Path) -> None:
    dataset = enhanced_us([sample()])
    del dataset.PatientName
    save(dataset, tmp_path / "v.dcm")
    study = read_study(tmp_path / "v.dcm")
    assert study.patient_name == study.readable_name == study.birth_date == study.readable_date == ""


@pytest.mark.parametrize(
    ("name", "readable"),
    [
        ("Doe^Jane", "Doe, Jane"),
        ("Doe", "Doe"),
        ("^Jane", "Jane"),
        ("", ""),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou / 山田, 太郎 / やまだ, たろう"),
    ],
)
def test_names_as_a_person_writes_them(name: str, readable: str) -> None:
    assert Study(patient_name=name).readable_name == readable


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("20240131", "2024-01-31"),
        ("2024.01.31", "2024-01-31"),
        ("2024", ""),
        ("", ""),
        ("2024013x", ""),
        ("20240230", ""),
        ("20241301", ""),
        ("00000000", ""),
        ("２０２４０１３１", ""),
    ],
)
def test_dates(value: str, written: str) -> None:
    assert iso_date(value) == written


def stated(tmp_path: Path, **values) -> Study:
    dataset = with_patient(enhanced_us([sample()]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the values are wrong on purpose
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        save(dataset, tmp_path / "v.dcm")
    study = read_study(tmp_path / "v.dcm")
    assert study is not None
    for value in (getattr(study, field.name) for field in dataclasses.fields(study)):
        assert not isinstance(value, str) or not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2028]", value)
    return study


def test_control_characters_never_leave_a_value(tmp_path: Path) -> None:
    study = stated(
        tmp_path, PatientName="Doe^Ja\x1b[31mne\n\u202eevil", PatientID="P\r\n17\x07\x9b", StudyDescription="a\x00b"
    )
    assert study.patient_name == "Doe^Ja [31mne evil" and study.patient_id == "P 17" and study.description == "a b"
    assert stated(tmp_path, PatientName="علی\u200cرضا").patient_name == "علی\u200cرضا"


def test_values_that_are_none_are_left_empty(tmp_path: Path) -> None:
    study = stated(
        tmp_path, PatientBirthDate="19900231", StudyDate="yesterday", StudyTime="25:99", PatientSex="unknown",
        StudyInstanceUID="1.2.x", PatientID="x" * 5000,
    )  # fmt: skip
    assert study.birth_date == study.date == study.time == study.sex == study.study_uid == ""
    assert study.readable_birth_date == "" and len(study.patient_id) <= 1024
    assert stated(tmp_path, StudyDate="2024.01.31", StudyTime="10:15:30.5", PatientSex="f").time == "101530.5"


def test_several_values_are_all_told(tmp_path: Path) -> None:
    study = stated(tmp_path, PatientID="A\\B", PatientName="Doe^Jane\\Roe^Mary")
    assert study.patient_id == "A / B" and study.patient_name == "Doe^Jane / Roe^Mary"


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO 2022 IR 87", "no such set", "\\".join(["ISO_IR 192"] * 3)])
def test_wrong_character_sets_are_no_error(tmp_path: Path, charset: str) -> None:
    dataset = with_patient(enhanced_us([sample()]))
    save(dataset, tmp_path / "v.dcm")
    data = (tmp_path / "v.dcm").read_bytes()
    tag = b"\x08\x00\x05\x00CS"
    position = data.index(tag)
    value = charset.encode().ljust(len(charset) + len(charset) % 2)
    end = position + 8 + int.from_bytes(data[position + 6 : position + 8], "little")
    (tmp_path / "v.dcm").write_bytes(data[:position] + tag + len(value).to_bytes(2, "little") + value + data[end:])
    study = read_study(tmp_path / "v.dcm")
    assert study is not None and study.patient_id == "P-17" and "Jana" in study.patient_name


def test_the_study_is_that_of_the_image_and_not_of_another_file(tmp_path: Path) -> None:
    other = with_patient(multiframe(sample().array, "1.2.840.10008.5.1.4.1.1.88.33", "SR"))
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(other, keyword)
    other.PatientID = "someone else"
    save(other, tmp_path / "a.dcm")
    save(with_patient(enhanced_us([sample()])), tmp_path / "b.dcm")
    study = read_study(tmp_path)
    assert study is not None and study.patient_id == "P-17"
    assert read_volume(tmp_path).array.shape == sample().array.shape


def test_files_of_two_patients_are_refused(tmp_path: Path) -> None:
    for number, patient in enumerate(("P-17", "P-18")):
        dataset = with_patient(enhanced_us([sample()]))
        dataset.PatientID = patient
        save(dataset, tmp_path / f"{number}.dcm")
    with pytest.raises(InputError, match="different patients"):
        read_study(tmp_path / "0.dcm", tmp_path / "1.dcm")
    with pytest.raises(InputError, match="2 DICOM files"):
        read_study(tmp_path)
