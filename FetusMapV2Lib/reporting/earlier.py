"""An earlier examination, read from its result file; refused if it is of another patient or not earlier."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date
from typing import Any

from FetusMapV2Lib.anatomy.growth import NAMES, Size
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.json_files import field, read_json_object
from FetusMapV2Lib.imaging.study import Study

_WHAT = "the earlier examination"
_REMEDY = "Give the NAME.measurements.json that an estimate of the earlier volume wrote"
#: Parts of a patient's identity, as in result files.
PATIENT_FIELDS = ("id", "issuer", "born")


@dataclass(frozen=True)
class EarlierExamination:
    """What an earlier result file tells.

    Attributes:
        day: of the volume.
        patient: identifier, who issued it, and date of birth, as in DICOM; empty where the file does not tell.
        sizes: by `growth.NAMES`.
        weeks: the gestational age that counted then, e.g. ``9w3d``; empty if it was not known.
    """

    day: date
    patient: tuple[str, str, str]
    sizes: dict[str, Size]
    weeks: str = ""

    @property
    def names_patient(self) -> bool:
        """Whether it tells whose it is."""
        return bool(self.patient[0])


def patient_of(study: Study | None) -> tuple[str, str, str]:
    """Identifier, issuer and date of birth of a study; empty where they are unknown."""
    return ("", "", "") if study is None else (study.patient_id, study.issuer_of_patient_id, study.birth_date)


def read_earlier(path: str | os.PathLike[str]) -> EarlierExamination:
    """The examination in a result file.

    Raises:
        InputError: it cannot be read, is no result file, found no fetus, or does not tell its day.
    """
    document = read_json_object(path, _WHAT, remedy=_REMEDY)
    lengths = _objects(document, "measurements", path)
    if not lengths:
        raise InputError(f"{_WHAT} has no measurements", where=path, remedy=_REMEDY)
    sizes = {}
    for one in (*lengths, *_objects(document, "head_and_abdomen", path)):
        key = field(one, "key", str, where=path, remedy=_REMEDY)
        value, uncertainty = _number(one.get("value_mm"), path), _number(one.get("uncertainty_mm"), path)
        if key in NAMES and value is not None:
            sizes[key] = Size(value, uncertainty)
    examination = field(document, "examination", dict, where=path, remedy=_REMEDY, default={})
    patient = examination.get("patient")
    identity = patient if isinstance(patient, dict) else {}
    first, second, third = (str(identity.get(name) or "") for name in PATIENT_FIELDS)
    return EarlierExamination(
        day=_day(document, examination, path),
        patient=(first, second, third),
        sizes=sizes,
        weeks=str(examination.get("weeks") or ""),
    )


def ensure_earlier(earlier: EarlierExamination, study: Study | None, examined: date | None) -> None:
    """Refuse an examination that cannot be compared.

    Args:
        earlier: the other examination.
        study: of this one; None if it is not DICOM.
        examined: day of this one.

    Raises:
        InputError: of another patient, of the same day or a later one, or the day of this one is unknown.
    """
    patient = patient_of(study)
    if earlier.names_patient and patient[0] and not _same(earlier.patient, patient):
        raise InputError(f"{_WHAT} is of another patient", remedy="Choose a file of the same patient")
    if examined is None:
        problem, remedy = "the day of this volume is unknown, so growth cannot be told", "Say when it was taken"
        raise InputError(problem, remedy=remedy, option="--examined 2026-01-31")
    if earlier.day >= examined:
        problem = f"{_WHAT} is of {earlier.day}, not before this one of {examined}"
        raise InputError(problem, remedy="Choose a file of an earlier day")


def unchecked_patient(earlier: EarlierExamination, study: Study | None) -> str:
    """What to say if it could not be checked whose the earlier examination is; empty if it was."""
    if earlier.names_patient and patient_of(study)[0]:
        return ""
    return "it could not be checked that the earlier examination is of the same patient: one of the two does not tell"


def _same(one: tuple[str, str, str], other: tuple[str, str, str]) -> bool:
    """The same identifier; issuer and date of birth may be unknown in one of them."""
    return one[0] == other[0] and all(not a or not b or a == b for a, b in zip(one[1:], other[1:], strict=True))


def _objects(document: dict[str, Any], key: str, path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    found: list[Any] = field(document, key, list, where=path, remedy=_REMEDY, default=[])
    if not all(isinstance(one, dict) for one in found):
        raise InputError(f"the field '{key}' is not a list of objects", where=path, remedy=_REMEDY)
    return found


def _number(value: Any, path: str | os.PathLike[str]) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise InputError("a size in it is no length", where=path, remedy=_REMEDY)
    return float(value)


def _day(document: dict[str, Any], examination: dict[str, Any], path: str | os.PathLike[str]) -> date:
    """The day of the volume; files written before examinations were told have it among the dates only."""
    dates = document.get("dates")
    told = examination.get("day") or (dates.get("examined") if isinstance(dates, dict) else None)
    try:
        return date.fromisoformat(str(told or ""))
    except ValueError:
        problem = f"{_WHAT} does not tell its day"
        remedy = "Estimate that volume again and say when it was taken"
        raise InputError(problem, where=path, remedy=remedy, option="--examined DATE") from None
