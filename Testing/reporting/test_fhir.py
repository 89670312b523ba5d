"""The FHIR bundle against the models of FHIR R4B (whose Observation, Patient and Device are those of R4)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from reporting.samples import CREATED, STUDY, pose, report, sections

from FetusMapV2Lib.core.notices import RESEARCH_USE
from FetusMapV2Lib.reporting.fhir import fhir_bundle
from FetusMapV2Lib.reporting.report import Report

FETAL_STATUS = "http://hl7.org/fhir/StructureDefinition/patient-fetalStatus"


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


def patients(case: Report) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """The Patients and RelatedPersons of a bundle by their URL, and the mothers among them."""
    checked(case)
    entries = fhir_bundle(case)["entry"]
    found = {one["fullUrl"]: one["resource"] for one in entries if one["resource"]["resourceType"] != "Device"}
    return found, [one for one in found.values() if one["resourceType"] == "Patient" and "extension" not in one]


def test_all_are_preliminary_imaging_observations_of_the_fetus() -> None:
    for one in observations(checked()).values():
        assert one["status"] == "preliminary" and one["subject"]["display"] == "Fetus"
        assert one["category"][0]["coding"][0]["code"] == "imaging"
        assert one["effectiveDateTime"] == "2024-01-31" and one["issued"] == "2024-02-29T13:05:07+02:00"
        assert one["performer"] == [{"display": "Dr. Ärztin"}]


def test_the_patient_is_that_of_the_study() -> None:
    _found, (patient,) = patients(report())
    assert patient["identifier"] == [{"value": "P-17", "assigner": {"display": "Klinik"}}]
    assert patient["name"] == [{"text": "Jana Ä Müller", "family": "Müller", "given": ["Jana", "Ä"]}]
    assert (patient["birthDate"], patient["gender"]) == ("1990-02-03", "female")


def test_the_device_names_software_and_model() -> None:
    (device,) = [one for one in checked() if one["resourceType"] == "Device"]
    assert device["deviceName"][0]["name"].startswith("FetusMapV2 ")
    assert device["version"][1]["value"] == "model toy (0123)"


def test_twins_are_two_patients_of_one_mother_as_in_the_guide() -> None:
    """Shape of use case 2 of HL7's International Birth And Child Model 1.0.0."""
    both = [report(number=number, fetuses=(report(), report(number=2))) for number in (1, 2)]
    seen, subjects = [], []
    for number, case in enumerate(both, start=1):
        found, (mother,) = patients(case)
        fetuses = {url: one for url, one in found.items() if "extension" in one}
        relations = [found[link["other"]["reference"]] for link in mother["link"]]
        assert {link["type"] for link in mother["link"]} == {"seealso"}
        assert [one["patient"]["reference"] for one in relations] == list(fetuses)
        assert {one["relationship"][0]["coding"][0]["code"] for one in relations} == {"MTH"}
        for count, fetus in enumerate(fetuses.values(), start=1):
            assert fetus["extension"] == [{"url": FETAL_STATUS, "valueCode": "unknown"}]
            assert not {"birthDate", "maritalStatus", "communication"} & set(fetus)  # ibcm-pat-1 to -3
            assert fetus["multipleBirthBoolean"] is True and fetus["name"][0]["text"] == f"Fetus {count} of 2"
            identifier = fetus["identifier"][0]
            assert (identifier["system"], identifier["value"]) == (f"urn:oid:{STUDY.study_uid}", str(count))
        (subject,) = {one["subject"]["reference"] for one in found.values() if "subject" in one}
        assert fetuses[subject]["name"][0]["text"] == f"Fetus {number} of 2"
        seen.append({url for url, one in found.items() if one["resourceType"] in ("Patient", "RelatedPerson")})
        subjects.append(subject)
    assert seen[0] == seen[1] and subjects[0] != subjects[1]  # a receiver of both files has one mother, two fetuses


def test_one_report_binds_the_observations() -> None:
    case = report(sections=sections(), comment="Placenta at the back.")
    resources = checked(case)
    (bound,) = [one for one in resources if one["resourceType"] == "DiagnosticReport"]
    assert bound["status"] == "preliminary" and bound["code"]["coding"][0]["code"] == "11525-3"
    assert bound["category"][0]["coding"][0]["code"] == "OUS"
    assert len({one["reference"] for one in bound["result"]}) == len(observations(resources)) == 5 + 4 + 1 + 3
    assert bound["conclusion"].startswith(RESEARCH_USE) and bound["conclusion"].endswith("Placenta at the back.")
    assert bound["imagingStudy"][0]["identifier"]["value"] == f"urn:oid:{STUDY.study_uid}"
    assert bound["subject"] == observations(resources)["Crown-rump length"]["subject"]


def test_head_and_abdomen_are_observed_where_they_were_measured() -> None:
    found = observations(checked(report(sections=sections())))
    codes = {name: coding(one)[0][1] for name, one in found.items() if "circumference" in name or "diameter" in name}
    assert list(codes.values()) == ["11984-2", "11820-8", "11851-3"]
    head = found["Head circumference"]
    assert head["bodySite"]["coding"][0]["code"] == "69536005" and head["valueQuantity"]["code"] == "mm"
    assert "edge seen on 90 %" in head["note"][1]["text"]


def test_without_identifiers_nothing_tells_the_patient() -> None:
    resources = checked(report(comment="Placenta at the back.").without_identifiers())
    (fetus,) = [one for one in resources if one["resourceType"] in ("Patient", "RelatedPerson")]
    assert set(fetus) == {"resourceType", "extension", "name"} and fetus["name"][0]["text"] == "Fetus"
    text = json.dumps(resources, ensure_ascii=False)
    for part in ("Müller", "P-17", "1990", "2024-01-31", STUDY.study_uid, "Ärztin", "Fall", "Placenta"):
        assert part not in text
    assert observations(resources)["Crown-rump length"]["effectiveDateTime"] == "2024"
    assert CREATED.date().isoformat() not in text


def test_a_study_that_says_nothing_is_valid_too() -> None:
    from FetusMapV2Lib.imaging.study import Study

    _found, (mother,) = patients(report(study=Study()))
    assert set(mother) == {"resourceType", "link"}


def test_missing_values_are_left_out() -> None:
    found = observations(checked(report(pose=pose(0, 4, 17))))
    assert set(found) == {"Right femur", "Left humerus", "Right humerus"}


def test_every_observation_of_a_doubtful_fetus_says_so_first() -> None:
    found = observations(checked(report(pose=replace(pose(), doubt="A score of 0.77."))))
    assert len(found) > 5
    assert {one["note"][0]["text"] for one in found.values()} == {"Doubtful. A score of 0.77."}
