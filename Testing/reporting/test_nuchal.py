"""The nuchal translucency in page, DICOM SR, FHIR and JSON: only where somebody measured it, and said to be by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from reporting.samples import pose, report

from FetusMapV2Lib.anatomy.nuchal import Nuchal
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.exporting import ExportOptions, export
from FetusMapV2Lib.reporting.dicom_sr import structured_report
from FetusMapV2Lib.reporting.fhir import fhir_bundle
from FetusMapV2Lib.reporting.page import report_page

NUCHAL = Nuchal((1.52, 1.84))


def groups(item: Dataset) -> list[Dataset]:
    """All items of a report below one."""
    inner = list(item.get("ContentSequence", []))
    return inner + [one for part in inner for one in groups(part)]


def test_the_page_has_the_largest_try_and_tells_how_it_was_set():
    page = report_page(report(nuchal=NUCHAL))
    assert "Nuchal translucency" in page and "1.8 mm" in page and "below\xa03.5\xa0mm" in page
    assert "callipers set by hand, the largest of 2 tries" in page and "Snijders" in page
    assert "Nuchal" not in report_page(report())


def test_dicom_sr_has_it_in_the_section_of_early_gestation():
    def found(nuchal: Nuchal | None) -> list[Dataset]:
        items = [one for one in groups(structured_report(report(nuchal=nuchal))) if "ConceptNameCodeSequence" in one]
        return [one for one in items if one.ConceptNameCodeSequence[0].CodeValue == "33069-6"]

    (number,) = found(NUCHAL)
    assert number.MeasuredValueSequence[0].NumericValue == pytest.approx(1.84) and found(None) == []
    text = [one.TextValue for one in groups(structured_report(report(nuchal=NUCHAL))) if one.ValueType == "TEXT"]
    assert any("callipers set by hand" in one for one in text)


def test_fhir_has_an_observation_of_it():
    resources = [entry["resource"] for entry in fhir_bundle(report(nuchal=NUCHAL))["entry"]]
    (one,) = [r for r in resources if r.get("code", {}).get("coding", [{}])[0].get("code") == "33069-6"]
    assert one["valueQuantity"]["value"] == pytest.approx(1.84, abs=0.05)
    assert any("Callipers set by hand" in note["text"] for note in one["note"])


def test_json_and_csv_have_all_tries(tmp_path: Path):
    options = ExportOptions(("json", "csv"), stem="x", nuchal=NUCHAL)
    paths = export(Estimate.given(pose()), None, tmp_path, options)
    entry = json.loads(paths["json"].read_text(encoding="utf-8"))["nuchal_translucency"]
    assert entry["value_mm"] == 1.84 and entry["tries_mm"] == [1.52, 1.84] and entry["uncertainty_mm"] is None
    assert "Nuchal translucency,1.8,mm,,90 %" in paths["csv"].read_text(encoding="utf-8")
