"""Whose volume it is: patient, study and the images themselves, where a DICOM input says so.

Kept apart from the volume, so that nothing identifies a patient unless it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from FetusMapV2Lib.imaging.dicom import read_dataset
from FetusMapV2Lib.imaging.headers import dicom_files


@dataclass(frozen=True)
class SourceImage:
    """One DICOM object that a volume was read from."""

    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str


@dataclass(frozen=True)
class Study:
    """Patient and study of a volume.

    Texts are DICOM values ("Doe^Jane", "20240131"), empty where the input had none.
    """

    patient_name: str = ""
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    birth_date: str = ""
    sex: str = ""
    study_uid: str = ""
    study_id: str = ""
    date: str = ""
    time: str = ""
    accession_number: str = ""
    referring_physician: str = ""
    description: str = ""
    images: tuple[SourceImage, ...] = ()

    @property
    def readable_name(self) -> str:
        """The patient's name as a person writes it: "Doe, Jane"; other scripts behind a stroke."""
        groups = (group.split("^") for group in self.patient_name.split("="))
        written = (", ".join(filter(None, (family.strip(), " ".join(given).strip()))) for family, *given in groups)
        return " / ".join(filter(None, written))

    @property
    def readable_birth_date(self) -> str:
        """The date of birth as 2024-01-31."""
        return iso_date(self.birth_date)

    @property
    def readable_date(self) -> str:
        """The date of the study as 2024-01-31."""
        return iso_date(self.date)


def iso_date(value: str) -> str:
    """A DICOM date as ISO 8601; what is no date is empty."""
    digits = value.replace(".", "")
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}" if len(digits) == 8 and digits.isdigit() else ""


def read_study(*paths: str | os.PathLike[str]) -> Study | None:
    """Patient and study of DICOM files, or of a folder, of one series; None for every other kind of file.

    Raises:
        InputError: a DICOM file that cannot be read.
    """
    files = [file for path in paths for file in dicom_files(Path(path))]
    return study_of([read_dataset(file, pixels=False) for file in files])


def study_of(datasets: Sequence[Dataset]) -> Study | None:
    """What data sets of one series say of patient and study; None without any."""
    if not datasets:
        return None
    first = datasets[0]
    return Study(
        patient_name=_text(first, "PatientName"),
        patient_id=_text(first, "PatientID"),
        issuer_of_patient_id=_text(first, "IssuerOfPatientID"),
        birth_date=_text(first, "PatientBirthDate"),
        sex=_text(first, "PatientSex"),
        study_uid=_text(first, "StudyInstanceUID"),
        study_id=_text(first, "StudyID"),
        date=_text(first, "StudyDate"),
        time=_text(first, "StudyTime"),
        accession_number=_text(first, "AccessionNumber"),
        referring_physician=_text(first, "ReferringPhysicianName"),
        description=_text(first, "StudyDescription"),
        images=tuple(
            SourceImage(_text(one, "SOPClassUID"), _text(one, "SOPInstanceUID"), _text(one, "SeriesInstanceUID"))
            for one in datasets
            if one.get("SOPInstanceUID")
        ),
    )


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip()
