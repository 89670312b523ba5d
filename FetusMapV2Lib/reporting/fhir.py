"""The report as FHIR R4: a bundle of Observations, one for each length, gestational age and the posture of the neck.

Their status is "preliminary", as no person has signed them. The 90 % interval of a length is a component of it.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from typing import Any

from pydicom.sr.coding import Code

from FetusMapV2Lib.anatomy.biometry import Measurement
from FetusMapV2Lib.anatomy.dating import Dating
from FetusMapV2Lib.anatomy.plausibility import Check
from FetusMapV2Lib.core.notices import RESEARCH_USE
from FetusMapV2Lib.core.version import SOFTWARE, __version__
from FetusMapV2Lib.imaging.study import Study
from FetusMapV2Lib.reporting.codes import BONES, CRL, EQUATIONS, GESTATIONAL_AGE
from FetusMapV2Lib.reporting.report import Report
from FetusMapV2Lib.reporting.values import clean_text

_SYSTEMS = {"LN": "http://loinc.org", "SCT": "http://snomed.info/sct"}
_UCUM = "http://unitsofmeasure.org"
_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_GENDERS = {"F": "female", "M": "male", "O": "other"}
#: UCUM code of each unit.
_UNITS = {"mm": "mm", "d": "d", "deg": "deg"}


def fhir_bundle(report: Report) -> dict[str, Any]:
    """A Bundle of type "collection": the Observations, the software as Device, and the Patient if there is a study.

    Missing lengths are omitted.

    Returns:
        JSON values.
    """
    entries: list[dict[str, Any]] = []

    def add(resource: dict[str, Any]) -> str:
        """Add a resource to the bundle; returns the URL by which others refer to it."""
        if report.doubt and resource["resourceType"] == "Observation":
            doubt = {"text": f"Doubtful. {report.doubt}"}
            resource = resource | {"note": [doubt, *resource.get("note", [])]}
        url = f"urn:uuid:{uuid.uuid4()}"
        entries.append({"fullUrl": url, "resource": resource})
        return url

    common = _common(report, add(_device(report)))
    if report.reported_study is not None:
        common["subject"] = {"reference": add(_patient(report.reported_study))}
    crl, *bones = report.measurements.lengths
    if math.isfinite(crl.value_mm):
        of_crl = add(common | _length(crl, report.measurements.checks))
        for dating in report.measurements.known_datings:
            sources = [*common.get("derivedFrom", []), {"reference": of_crl}]
            add(common | _age(dating, chosen=dating is report.measurements.dating) | {"derivedFrom": sources})
    for bone in bones:
        if math.isfinite(bone.value_mm):
            add(common | _length(bone, report.measurements.checks))
    neck = report.measurements.checks[-1]
    if math.isfinite(neck.value):
        add(common | _posture(neck))
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "collection"}
    if not report.identifiers_left_out:
        bundle["timestamp"] = _instant(report)
    return bundle | {"entry": [_cleaned(entry) for entry in entries]}


def _instant(report: Report) -> str:
    created = report.created if report.created.tzinfo is not None else report.created.astimezone()
    return created.isoformat(timespec="seconds")


def _cleaned(value: Any) -> Any:
    """The value with clean texts and without empty members, which FHIR does not accept."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [one for one in map(_cleaned, value) if one not in ("", [], {})]
    if isinstance(value, dict):
        cleaned = {key: _cleaned(one) for key, one in value.items()}
        return {key: one for key, one in cleaned.items() if one not in ("", [], {})}
    return value


def _common(report: Report, device: str) -> dict[str, Any]:
    """What all Observations share."""
    common: dict[str, Any] = {
        "resourceType": "Observation",
        "status": "preliminary",
        "category": [{"coding": [{"system": _CATEGORY, "code": "imaging", "display": "Imaging"}]}],
        "focus": [{"display": report.fetus_name or "Fetus"}],
        "issued": "" if report.identifiers_left_out else _instant(report),
        "effectiveDateTime": str(report.created.year) if report.identifiers_left_out else _instant(report),
        "device": {"reference": device},
    }
    study = report.reported_study
    if study is not None and study.readable_date:
        common["effectiveDateTime"] = study.readable_date
    if study is not None and study.study_uid:
        identifier = {"system": "urn:dicom:uid", "value": f"urn:oid:{study.study_uid}"}
        common["derivedFrom"] = [{"type": "ImagingStudy", "identifier": identifier}]
    if report.operator:
        common["performer"] = [{"display": report.operator}]
    return common


def _device(report: Report) -> dict[str, Any]:
    versions = [{"value": __version__}] + ([{"value": f"model {report.model}"}] if report.model else [])
    return {
        "resourceType": "Device",
        "deviceName": [{"name": SOFTWARE, "type": "model-name"}],
        "version": versions,
        "note": [{"text": RESEARCH_USE}],
    }


def _patient(study: Study) -> dict[str, Any]:
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


def _length(length: Measurement, checks: Sequence[Check]) -> dict[str, Any]:
    notes = [RESEARCH_USE, f"{length.note}."]
    observation: dict[str, Any] = {"valueQuantity": _quantity(length.value_mm, "mm")}
    if length.key == "crl":
        observation["code"] = _concept(CRL, text=length.name)
    else:
        code, site = BONES[length.key.partition("_")[2]]
        observation["code"] = _concept(code, text=length.name)
        observation["bodySite"] = _concept(site, text=length.name)
    notes += [f"{one.remark}; {one.source}." for one in checks if one.key == f"{length.key}_for_crl"]
    if length.uncertainty_mm is not None:
        observation["component"] = [_interval(length.value_mm, length.uncertainty_mm, "mm")]
    return observation | _noted(notes)


def _age(dating: Dating, *, chosen: bool) -> dict[str, Any]:
    low, high = dating.valid_range_mm
    validity = "" if dating.valid else f" The CRL is outside the {low:g} to {high:g} mm for which it was made."
    method = f"{dating.name}, from the crown-rump length. {dating.source}."
    equation = [EQUATIONS[dating.key]] if dating.key in EQUATIONS else []
    choice = "The formula chosen for this report." if chosen else "For comparison; another formula was chosen."
    return {
        "code": _concept(GESTATIONAL_AGE, *equation, text=f"Gestational age by CRL, {dating.name}"),
        "valueQuantity": _quantity(dating.days, "d"),
        "method": {"text": method},
        "component": [_interval(dating.days, dating.combined_days, "d")],
    } | _noted([RESEARCH_USE, choice + validity])


def _posture(neck: Check) -> dict[str, Any]:
    observation: dict[str, Any] = {
        "code": {"text": "Fetal neck flexion (0 = neutral, positive = chin to the chest)"},
        "valueQuantity": _quantity(neck.value, "deg"),
    }
    if neck.uncertainty is not None:
        observation["component"] = [_interval(neck.value, neck.uncertainty, "deg")]
    return observation | _noted([RESEARCH_USE, f"{neck.remark}; {neck.source}."])


def _interval(value: float, half: float, unit: str) -> dict[str, Any]:
    """The 90 % interval around a value."""
    return {
        "code": {"text": "90 % interval"},
        "valueRange": {"low": _quantity(value - half, unit), "high": _quantity(value + half, unit)},
    }


def _quantity(value: float, unit: str) -> dict[str, Any]:
    return {"value": round(value, 2), "unit": unit, "system": _UCUM, "code": _UNITS[unit]}


def _concept(*codes: Code, text: str) -> dict[str, Any]:
    coding = [
        {"system": _SYSTEMS[code.scheme_designator], "code": code.value, "display": code.meaning} for code in codes
    ]
    return {"coding": coding, "text": text}


def _noted(notes: Sequence[str]) -> dict[str, Any]:
    return {"note": [{"text": note} for note in notes]}
