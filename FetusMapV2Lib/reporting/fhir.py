"""The report as FHIR R4: a bundle of a DiagnosticReport and its Observations, one for each size, age and the posture.

Their status is "preliminary", as no person has signed them. The 90 % interval of a size is a component of it.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from pydicom.sr.coding import Code

from FetusMapV2Lib.anatomy.biometry import Measurement
from FetusMapV2Lib.anatomy.body_sections import SectionKey, SectionSize
from FetusMapV2Lib.anatomy.dating import Dating
from FetusMapV2Lib.anatomy.nuchal import NAME, Nuchal
from FetusMapV2Lib.anatomy.plausibility import Check
from FetusMapV2Lib.core.notices import RESEARCH_USE
from FetusMapV2Lib.core.version import SOFTWARE, __version__
from FetusMapV2Lib.reporting.codes import (
    BONES,
    CRL,
    EQUATIONS,
    GESTATIONAL_AGE,
    NUCHAL_TRANSLUCENCY,
    SECTION_SITES,
    SECTIONS,
    ULTRASOUND_REPORT,
)
from FetusMapV2Lib.reporting.fhir_patients import family_of
from FetusMapV2Lib.reporting.report import Report
from FetusMapV2Lib.reporting.values import clean_text

_SYSTEMS = {"LN": "http://loinc.org", "SCT": "http://snomed.info/sct"}
_UCUM = "http://unitsofmeasure.org"
_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_SECTIONS = "http://terminology.hl7.org/CodeSystem/v2-0074"
#: UCUM code of each unit.
_UNITS = {"mm": "mm", "d": "d", "deg": "deg"}


def fhir_bundle(report: Report) -> dict[str, Any]:
    """A Bundle of type "collection": report and Observations, the software as Device, fetuses and mother as Patients.

    The subject is the fetus; the mother is there if there is a study. Missing sizes are omitted.

    Returns:
        JSON values.
    """
    entries: list[dict[str, Any]] = []

    def add(resource: dict[str, Any], url: str = "") -> str:
        """Add a resource to the bundle; returns the URL by which others refer to it."""
        if report.doubt and resource["resourceType"] == "Observation":
            doubt = {"text": f"Doubtful. {report.doubt}"}
            resource = resource | {"note": [doubt, *resource.get("note", [])]}
        url = url or f"urn:uuid:{uuid.uuid4()}"
        entries.append({"fullUrl": url, "resource": resource})
        return url

    device = add(_device(report))
    family = family_of(report)
    for url, patient in family.resources:
        add(patient, url)
    common = _common(report, device, family.subject)
    results = [add(common | observation) for observation in _sizes(report)]
    crl = report.measurements.crl
    if math.isfinite(crl.value_mm):
        results.append(add(common | _length(crl, report.measurements.checks)))
        for dating in report.measurements.known_datings:
            sources = [*common.get("derivedFrom", []), {"reference": results[-1]}]
            age = _age(dating, chosen=dating is report.measurements.dating)
            results.append(add(common | age | {"derivedFrom": sources}))
    neck = report.measurements.checks[-1]
    if math.isfinite(neck.value):
        results.append(add(common | _posture(neck)))
    add(_diagnostic_report(report, common, results))
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "collection"}
    if not report.identifiers_left_out:
        bundle["timestamp"] = _instant(report)
    return bundle | {"entry": [_cleaned(entry) for entry in entries]}


def _sizes(report: Report) -> Iterator[dict[str, Any]]:
    """Head, abdomen, nuchal translucency and bones, where they were measured."""
    for section in () if report.sections is None else report.sections.sections:
        yield from (_section_size(section.key, size) for size in section.sizes if size.measured)
    if report.nuchal is not None:
        yield _nuchal(report.nuchal)
    for bone in report.measurements.lengths[1:]:
        if math.isfinite(bone.value_mm):
            yield _length(bone, report.measurements.checks)


def _diagnostic_report(report: Report, common: dict[str, Any], results: Sequence[str]) -> dict[str, Any]:
    """What binds the Observations together, with what a reader has to know."""
    shared = ("status", "subject", "issued", "effectiveDateTime", "performer")
    told = [RESEARCH_USE, f"Doubtful. {report.doubt}" if report.doubt else "", report.comment]
    return {
        "resourceType": "DiagnosticReport",
        "category": [{"coding": [{"system": _SECTIONS, "code": "OUS", "display": "OB Ultrasound"}]}],
        "code": _concept(ULTRASOUND_REPORT, text="Fetal pose and lengths in 3D ultrasound"),
        "imagingStudy": common.get("derivedFrom", []),
        "result": [{"reference": url} for url in results],
        "conclusion": " ".join(filter(None, told)),
    } | {key: common[key] for key in shared if key in common}


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


def _common(report: Report, device: str, subject: dict[str, Any]) -> dict[str, Any]:
    """What all Observations share."""
    common: dict[str, Any] = {
        "resourceType": "Observation",
        "status": "preliminary",
        "category": [{"coding": [{"system": _CATEGORY, "code": "imaging", "display": "Imaging"}]}],
        "subject": subject,
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


def _section_size(section: SectionKey, size: SectionSize) -> dict[str, Any]:
    observation: dict[str, Any] = {
        "code": _concept(SECTIONS[size.key], text=size.name),
        "bodySite": _concept(SECTION_SITES[section], text=section.capitalize()),
        "valueQuantity": _quantity(size.value_mm, "mm"),
    }
    if size.uncertainty_mm is not None:
        observation["component"] = [_interval(size.value_mm, size.uncertainty_mm, "mm")]
    return observation | _noted([RESEARCH_USE, f"{size.note[:1].upper()}{size.note[1:]}."])


def _nuchal(nuchal: Nuchal) -> dict[str, Any]:
    observation: dict[str, Any] = {
        "code": _concept(NUCHAL_TRANSLUCENCY, text=NAME),
        "valueQuantity": _quantity(nuchal.value_mm, "mm"),
    }
    return observation | _noted([RESEARCH_USE, f"{nuchal.note[:1].upper()}{nuchal.note[1:]}."])


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
