"""The FHIR bundle against the models of FHIR R4B (whose Observation, Patient and Device are those of R4)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from reporting.samples import CREATED, STUDY, pose, report

from FetusMapV2Lib.core.notices import RESEARCH_USE
from FetusMapV2Lib.reporting.fhir import fhir_bundle
from FetusMapV2Lib.reporting.report import Report


def checked(case: Report | None = None) -> list[dict[str, Any]]:
    """The resources of a bundle that is valid, whose references all lead somewhere."""
    from fhir.resources.R4B.bundle import Bundle

    bundle = json.loads(json.dumps(fhir_bundle(case or report()), allow_nan=False))
    Bundle.model_validate(bundle)
    addresses = {entry["fullUrl"] for entry in bundle["entry"]}
    assert len(addresses) == len(bundle["entry"])

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["reference"]] if "reference" in value else []
            return own + [found for one in value.values() for found in references(one)]
        return [found for one in value for found in references(one)] if isinstance(value, list) else []

    assert set(references(bundle)) <= addresses
    return [entry["resource"] for entry in bundle["entry"]]


def observations(resources: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["code"]["text"]: one for one in resources if one["resourceType"] == "Observation"}


def coding(observation: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["system"], one["code"]) for one in observation["code"]["coding"]]


def test_the_models_notice_a_fault() -> None:
    """So that their silence above means something."""
    from fhir.resources.R4B.bundle import Bundle
    from pydantic import ValidationError

    bundle = fhir_bundle(report())
    bundle["entry"][-1]["resource"]["status"] = 7
    with pytest.raises(ValidationError):
        Bundle.model_validate(bundle)


def test_lengths_carry_loinc_codes_values_and_intervals() -> None:
    case = report()
    found = observations(checked(case))
    expected = {
        "Crown-rump length": "11957-8",
        "Left femur": "11963-6",
        "Right femur": "11963-6",
        "Left humerus": "11966-9",
        "Right humerus": "11966-9",
    }
    for length in case.measurements.lengths:
        one = found[length.name]
        assert coding(one) == [("http://loinc.org", expected[length.name])]
        quantity = one["valueQuantity"]
        assert quantity["value"] == pytest.approx(length.value_mm, abs=0.006)
        assert (quantity["system"], quantity["code"]) == ("http://unitsofmeasure.org", "mm")
        (component,) = one["component"]
        spread = component["valueRange"]["high"]["value"] - component["valueRange"]["low"]["value"]
        assert spread == pytest.approx(2 * length.uncertainty_mm, abs=0.02)
        assert RESEARCH_USE in [note["text"] for note in one["note"]]
    assert found["Left femur"]["bodySite"]["text"] == "Left femur"
    assert found["Left femur"]["bodySite"]["coding"][0]["code"] == "71341001"


def test_ages_tell_formula_and_source() -> None:
    case = report(formula="robinson")
    found = observations(checked(case))
    codes = {
        "INTERGROWTH-21st": ["18185-9"],
        "Robinson and Fleming": ["18185-9", "11914-9"],
        "FMF": ["18185-9"],
        "Hadlock": ["18185-9", "11910-7"],
    }
    for dating in case.measurements.datings:
        one = found[f"Gestational age by CRL, {dating.name}"]
        assert [code for _system, code in coding(one)] == codes[dating.name]
        assert one["valueQuantity"]["value"] == pytest.approx(dating.days, abs=0.006)
        assert one["valueQuantity"]["code"] == "d" and dating.source in one["method"]["text"]
        chosen = "chosen for this report" in one["note"][1]["text"]
        assert chosen is (dating.key == "robinson")
        study, crl = one["derivedFrom"]
        assert study["identifier"]["value"] == f"urn:oid:{STUDY.study_uid}" and "reference" in crl


def test_all_are_preliminary_imaging_observations_of_the_fetus() -> None:
    for one in observations(checked()).values():
        assert one["status"] == "preliminary" and one["focus"] == [{"display": "Fetus"}]
        assert one["category"][0]["coding"][0]["code"] == "imaging"
        assert one["effectiveDateTime"] == "2024-01-31" and one["issued"] == "2024-02-29T13:05:07+02:00"
        assert one["performer"] == [{"display": "Dr. Ärztin"}]


def test_the_patient_is_that_of_the_study() -> None:
    (patient,) = [one for one in checked() if one["resourceType"] == "Patient"]
    assert patient["identifier"] == [{"value": "P-17", "assigner": {"display": "Klinik"}}]
    assert patient["name"] == [{"text": "Jana Ä Müller", "family": "Müller", "given": ["Jana", "Ä"]}]
    assert (patient["birthDate"], patient["gender"]) == ("1990-02-03", "female")


def test_the_device_names_software_and_model() -> None:
    (device,) = [one for one in checked() if one["resourceType"] == "Device"]
    assert device["deviceName"][0]["name"].startswith("FetusMapV2 ")
    assert device["version"][1]["value"] == "model toy (0123)"


def test_without_identifiers_nothing_tells_the_patient() -> None:
    resources = checked(report().without_identifiers())
    assert not any(one["resourceType"] == "Patient" for one in resources)
    text = json.dumps(resources, ensure_ascii=False)
    for part in ("Müller", "P-17", "1990", "2024-01-31", STUDY.study_uid, "Ärztin", "Fall", '"subject"'):
        assert part not in text
    assert observations(resources)["Crown-rump length"]["effectiveDateTime"] == "2024"
    assert CREATED.date().isoformat() not in text


def test_a_study_that_says_nothing_is_valid_too() -> None:
    from FetusMapV2Lib.imaging.study import Study

    (patient,) = [one for one in checked(report(study=Study())) if one["resourceType"] == "Patient"]
    assert patient == {"resourceType": "Patient"}


def test_missing_values_are_left_out() -> None:
    found = observations(checked(report(pose=pose(0, 4, 17))))
    assert set(found) == {"Right femur", "Left humerus", "Right humerus"}


def test_every_observation_of_a_doubtful_fetus_says_so_first() -> None:
    found = observations(checked(report(pose=replace(pose(), doubt="A score of 0.77."))))
    assert len(found) > 5
    assert {one["note"][0]["text"] for one in found.values()} == {"Doubtful. A score of 0.77."}
