"""Patient, study and source images of a volume, where a DICOM input states them.

Kept apart from the volume, so that nothing identifies a patient unless it is asked for.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.file_inspection import dicom_files
from FetusMapV2Lib.imaging.source import as_input_error
from FetusMapV2Lib.imaging.volume import Volume

if TYPE_CHECKING:  # volumes of other formats are estimated without loading pydicom
    from pydicom.dataset import Dataset

# Longer texts are a sign of damage.
_LONGEST = 1024
# Some scripts join letters, or keep them apart, with these.
_JOINERS = "\u200c\u200d"
#: How far the corners of a volume may be from those of its images, voxels.
_SAME_PLACE = 0.05


@dataclass(frozen=True)
class SourceImage:
    """One DICOM object that a volume was read from."""

    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str


@dataclass(frozen=True)
class SourceSpace:
    """The space that the source images lie in.

    Attributes:
        uid: of its frame of reference.
        corners: of the outermost images, RAS mm.
    """

    uid: str
    corners: tuple[tuple[float, ...], ...]

    def holds(self, volume: Volume) -> bool:
        """Whether the volume still lies where its images do: nobody moved it or corrected its voxel size."""
        points = np.column_stack([np.array(self.corners), np.ones(len(self.corners))])
        places = (points @ volume.ras_to_ijk.T)[:, :3]
        last = np.array(volume.shape[::-1]) - 1
        return bool((np.minimum(abs(places), abs(places - last)) < _SAME_PLACE).all())


@dataclass(frozen=True)
class Study:
    """Patient and study of a volume.

    Texts are DICOM values ("Doe^Jane", "20240131"), empty where the input had none. `remarks` name what it had and
    what cannot be right. `space` is None if the images do not say where they lie.
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
    remarks: tuple[str, ...] = ()
    space: SourceSpace | None = None

    @property
    def readable_name(self) -> str:
        """The patient's name as a person writes it: "Doe, Jane"; other scripts follow after a slash."""
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
    """A DICOM date as ISO 8601; what is no date of the calendar is empty."""
    digits = value.replace(".", "")
    if not (len(digits) == 8 and digits.isascii() and digits.isdigit()):
        return ""
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).isoformat()
    except ValueError:
        return ""


def day_of(study: Study | None) -> date | None:
    """The day of a study, None if it is not known."""
    day = "" if study is None else study.readable_date
    return date.fromisoformat(day) if day else None


def read_study(*paths: str | os.PathLike[str]) -> Study | None:
    """Patient and study of DICOM files, or of a folder, of one series; None for every other kind of file.

    Raises:
        InputError: a DICOM file that cannot be read.
    """
    paths = tuple(path for path in paths if dicom_files(Path(path)))
    if not paths:
        return None
    from FetusMapV2Lib.imaging.dicom.opening import images_at

    headers = [header for path in paths for _, header in images_at(Path(path))]
    with as_input_error(paths[0]):
        return study_of(headers)


def study_of(datasets: Sequence[Dataset]) -> Study | None:
    """What data sets of one series say of patient and study; None without any.

    Invalid values (a date that is not in the calendar, an identifier with letters) are left empty; control
    characters are replaced by spaces.

    Raises:
        InputError: data sets of different patients or studies.
    """
    if not datasets:
        return None
    first = datasets[0]
    if len({(_text(one, "PatientID"), _uid(one, "StudyInstanceUID")) for one in datasets}) > 1:
        text = "its DICOM files belong to different patients or studies"
        raise InputError(text, remedy="Keep the files of one study together, and apart from others")
    sex = _text(first, "PatientSex").upper()
    images = [
        SourceImage(_uid(one, "SOPClassUID"), _uid(one, "SOPInstanceUID"), _uid(one, "SeriesInstanceUID"))
        for one in datasets
    ]
    return Study(
        patient_name=_text(first, "PatientName"),
        patient_id=_text(first, "PatientID"),
        issuer_of_patient_id=_text(first, "IssuerOfPatientID"),
        birth_date=_date(first, "PatientBirthDate"),
        sex=sex if sex in ("F", "M", "O") else "",
        study_uid=_uid(first, "StudyInstanceUID"),
        study_id=_text(first, "StudyID"),
        date=_date(first, "StudyDate"),
        time=_time(first, "StudyTime"),
        accession_number=_text(first, "AccessionNumber"),
        referring_physician=_text(first, "ReferringPhysicianName"),
        description=_text(first, "StudyDescription"),
        images=tuple(image for image in images if image.sop_instance_uid),
        remarks=_remarks(first),
        space=_space(datasets),
    )


def _space(datasets: Sequence[Dataset]) -> SourceSpace | None:
    from FetusMapV2Lib.imaging.dicom.frames import frame_of_reference, outer_corners

    try:
        uid = frame_of_reference(datasets[0])
        if len({frame_of_reference(one) for one in datasets}) > 1 or not _is_uid(uid):
            return None
        corners = outer_corners(datasets, Path())
    except Exception:  # damaged values fail in every way there is; the report then has a space of its own
        return None
    return SourceSpace(uid, tuple(map(tuple, corners.tolist()))) if np.isfinite(corners).all() else None


def _text(dataset: Dataset, keyword: str) -> str:
    """A value on one line; several are separated by slashes; empty if it cannot be read."""
    from pydicom.multival import MultiValue

    try:
        value = dataset.get(keyword)
        parts = [str(part) for part in value] if isinstance(value, MultiValue) else [str(value)]
    except Exception:  # damaged values fail in every way there is, and must not hide the others
        return ""
    if value is None:
        return ""
    printable = (" ".join("".join(map(_visible, part)).split()) for part in parts)
    return " / ".join(filter(None, printable))[:_LONGEST]


def _visible(character: str) -> str:
    """The character itself; a space for what controls a terminal or the direction of writing."""
    if character in _JOINERS:
        return character
    return " " if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") else character


def _remarks(dataset: Dataset) -> tuple[str, ...]:
    """What is left out because it is not a date of the calendar."""
    dates = {"date of birth": "PatientBirthDate", "date of the study": "StudyDate"}
    wrong = {
        name: _text(dataset, key) for name, key in dates.items() if _text(dataset, key) and not _date(dataset, key)
    }
    return tuple(
        f"the {name} in the DICOM data is no date ('{text[:40]}'); it is left out" for name, text in wrong.items()
    )


def _date(dataset: Dataset, keyword: str) -> str:
    """A date as DICOM writes it."""
    return iso_date(_text(dataset, keyword)).replace("-", "")


def _time(dataset: Dataset, keyword: str) -> str:
    """A time of day as DICOM writes it (PS3.5 6.2, TM)."""
    value = _text(dataset, keyword).replace(":", "")
    return value if re.fullmatch(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?", value, re.ASCII) else ""


def _uid(dataset: Dataset, keyword: str) -> str:
    """A unique identifier (PS3.5 9.1)."""
    value = _text(dataset, keyword)
    return value if _is_uid(value) else ""


def _is_uid(value: str) -> bool:
    return len(value) <= 64 and re.fullmatch(r"[0-9]+(\.[0-9]+)+", value) is not None
