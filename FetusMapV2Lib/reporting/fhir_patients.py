"""Mother and fetuses as FHIR Patients, in the shape of HL7's International Birth And Child Model guide, 1.0.0.

A fetus is a Patient of its own and the subject of what is observed of it. A RelatedPerson binds both: it is the mother
from the side of the fetus, and the mother's Patient links to it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from FetusMapV2Lib.imaging.study import Study
from FetusMapV2Lib.reporting.report import Report

_GENDERS = {"F": "female", "M": "male", "O": "other"}
_FETAL_STATUS = "http://hl7.org/fhir/StructureDefinition/patient-fetalStatus"
_IDENTIFIERS = "http://terminology.hl7.org/CodeSystem/v2-0203"
_ROLES = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"


@dataclass(frozen=True)
class Family:
    """The Patients of one report.

    Attributes:
        resources: URL and content of each Patient and RelatedPerson.
        subject: reference to the fetus that the report is of.
    """

    resources: tuple[tuple[str, dict[str, Any]], ...]
    subject: dict[str, Any]


def family_of(report: Report) -> Family:
    """All fetuses of the volume, and their mother if there is a study; the same URLs in every report of that study."""
    study = report.reported_study
    resources: list[tuple[str, dict[str, Any]]] = []
    links: list[dict[str, Any]] = []
    count = max(1, len(report.fetuses))
    urls = {number: _url(study, f"fetus-{number}") for number in range(1, count + 1)}
    for number, url in urls.items():
        resources.append((url, _fetus(study, number, count)))
        if study is not None:
            relation = _url(study, f"mother-of-fetus-{number}")
            resources.append((relation, _mother_of(url)))
            links.append({"other": {"reference": relation}, "type": "seealso"})
    if study is not None:
        resources.append((_url(study, "mother"), _mother(study) | {"link": links}))
    return Family(tuple(resources), {"reference": urls[report.number], "display": _name_of(report.number, count)})


def _url(study: Study | None, member: str) -> str:
    """A URL that is the same for the same member in every report of a study."""
    if study is None or not study.study_uid:
        return f"urn:uuid:{uuid.uuid4()}"
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'{study.study_uid}/{member}')}"


def _name_of(number: int, count: int) -> str:
    return f"Fetus {number} of {count}" if count > 1 else "Fetus"


def _fetus(study: Study | None, number: int, count: int) -> dict[str, Any]:
    """A fetus; its status is unknown to a software that measures still pictures."""
    fetus: dict[str, Any] = {
        "resourceType": "Patient",
        "extension": [{"url": _FETAL_STATUS, "valueCode": "unknown"}],
        "name": [{"use": "anonymous", "text": _name_of(number, count)}],
    }
    if count > 1:  # one fetus in the volume may still be one of two
        fetus["multipleBirthBoolean"] = True
    if study is not None and study.study_uid:
        # the number counts within the study alone, so the study is its system
        kind = {"coding": [{"system": _IDENTIFIERS, "code": "PI", "display": "Patient internal identifier"}]}
        fetus["identifier"] = [{"type": kind, "system": f"urn:oid:{study.study_uid}", "value": str(number)}]
    return fetus


def _mother_of(fetus: str) -> dict[str, Any]:
    relationship = {"coding": [{"system": _ROLES, "code": "MTH", "display": "mother"}]}
    return {"resourceType": "RelatedPerson", "patient": {"reference": fetus}, "relationship": [relationship]}


def _mother(study: Study) -> dict[str, Any]:
    patient: dict[str, Any] = {"resourceType": "Patient"}
    if study.patient_id:
        identifier: dict[str, Any] = {"value": study.patient_id}
        if study.issuer_of_patient_id:
            identifier["assigner"] = {"display": study.issuer_of_patient_id}
        patient["identifier"] = [identifier]
    names = [_name(group) for group in study.patient_name.split("=") if group.strip("^ ")]
    if names:
        patient["name"] = names
    if study.readable_birth_date:
        patient["birthDate"] = study.readable_birth_date
    if study.sex in _GENDERS:
        patient["gender"] = _GENDERS[study.sex]
    return patient


def _name(group: str) -> dict[str, Any]:
    """One component group of a name, "Doe^Jane^M"."""
    family, *given = (part.strip() for part in group.split("^"))
    name: dict[str, Any] = {"text": " ".join(filter(None, (*given[:2], family)))}
    if family:
        name["family"] = family
    if any(given[:2]):
        name["given"] = [part for part in given[:2] if part]
    return name
