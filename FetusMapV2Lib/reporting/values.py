"""Values of a study and free texts checked before they are written: what cannot be right is omitted and named.

A file that another system refuses, or assigns to another day or patient, is worse than one that says less.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from FetusMapV2Lib.imaging.study import SourceImage, Study, iso_date

#: Greatest age of a patient, in days.
_OLDEST_D = 130 * 366
#: Components of "family^given^middle^prefix^suffix", and component groups, separated by "=" (PS3.5 6.2, PN).
_NAME_PARTS, _NAME_GROUPS = 5, 3
_LONGEST_TEXT, _LONGEST_UID = 64, 64
_UID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
_TIME = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9]([0-5][0-9](\.[0-9]{1,6})?)?)?")
#: Most characters of identifiers in DICOM (PS3.6, LO and SH). A truncated one could be that of somebody else.
_LONGEST = {"patient_id": 64, "issuer_of_patient_id": 64, "study_id": 16, "accession_number": 16}
_CALLED = {
    "patient_id": "patient ID",
    "issuer_of_patient_id": "issuer of the patient ID",
    "study_id": "study ID",
    "accession_number": "accession number",
    "birth_date": "date of birth",
    "date": "date of the study",
    "time": "time of the study",
    "study_uid": "identifier of the study",
    "sex": "sex",
}


def clean_text(text: str) -> str:
    """A text on one line without control characters, bidi marks and lone surrogates."""
    return " ".join("".join(map(_visible, text)).split())


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    return (
        " "
        if category in ("Cc", "Cs", "Zl", "Zp") or (category == "Cf" and character not in "\u200c\u200d")
        else character
    )


def name_component(text: str) -> str:
    """A free text as one component of a DICOM person name: without separators, at most 64 characters."""
    return clean_text(re.sub(r"[\\^=]", " ", text))[:_LONGEST_TEXT].strip()


def checked_study(study: Study, created: datetime) -> tuple[Study, tuple[str, ...]]:
    """A study with values that DICOM and FHIR accept, and a sentence for each that is omitted.

    Args:
        study: as it was read.
        created: when the report was created; no date in it is later.
    """
    left_out = {key for key in ("birth_date", "date") if getattr(study, key) and not iso_date(getattr(study, key))}
    born, taken = _day(study.birth_date), _day(study.date)
    latest = created.date() + timedelta(days=1)  # in another time zone it may be tomorrow already
    if taken is not None and taken > latest:
        left_out.add("date")
        taken = None
    if born is not None and (born > min(latest, taken or latest) or (latest - born).days > _OLDEST_D):
        left_out.add("birth_date")
    if study.time and not _TIME.fullmatch(study.time):
        left_out.add("time")
    if study.study_uid and not _is_uid(study.study_uid):
        left_out.add("study_uid")
    if study.sex not in ("", "F", "M", "O"):
        left_out.add("sex")
    left_out |= {key for key, longest in _LONGEST.items() if len(clean_text(getattr(study, key))) > longest}
    kept: dict[str, Any] = {key: "" if key in left_out else clean_text(getattr(study, key)) for key in _CALLED}
    images = tuple(image for image in study.images if _is_image(image)) if "study_uid" not in left_out else ()
    usable = replace(
        study,
        **kept,
        patient_name=_name(study.patient_name),
        referring_physician=_name(study.referring_physician),
        description=clean_text(study.description)[:_LONGEST_TEXT].strip(),
        images=images,
    )
    remarks = [
        f"the {_CALLED[key]} in the DICOM data cannot be right or is too long "
        f"('{clean_text(getattr(study, key))[:40]}'); it is left out"
        for key in _CALLED
        if key in left_out
    ]
    if len(images) < len(study.images):
        remarks.append("identifiers of images in the DICOM data are invalid; the report does not refer to them")
    return usable, tuple(remarks)


def _day(value: str) -> date | None:
    text = iso_date(value)
    return date.fromisoformat(text) if text else None


def _is_uid(value: str) -> bool:
    return len(value) <= _LONGEST_UID and _UID.fullmatch(value) is not None


def _is_image(image: SourceImage) -> bool:
    return all(map(_is_uid, (image.sop_class_uid, image.sop_instance_uid, image.series_uid)))


def _name(value: str) -> str:
    """A person name within the limits of DICOM: three groups of five components, 64 characters per group."""
    groups = []
    for group in value.replace("\\", " ").split("=")[:_NAME_GROUPS]:
        parts = [clean_text(part) for part in group.split("^")[:_NAME_PARTS]]
        groups.append("^".join(parts)[:_LONGEST_TEXT].rstrip("^ "))
    return "=".join(groups).rstrip("=")
