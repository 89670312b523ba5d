"""An earlier examination: read back from its own result file, and refused where it does not belong."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from reporting.samples import STUDY, pose, report, sections

from FetusMapV2Lib.anatomy.known_dates import KnownDates
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.exporting import ExportOptions, export
from FetusMapV2Lib.imaging.study import Study
from FetusMapV2Lib.reporting.earlier import ensure_earlier, read_earlier, unchecked_patient
from FetusMapV2Lib.reporting.page import report_page

THEN, NOW = date(2024, 1, 10), date(2024, 1, 31)


def written(folder: Path, **changes: Any) -> Path:
    """The result file of an examination three weeks before that of the sample."""
    given: dict[str, Any] = {"stem": "then", "study": STUDY, "dates": KnownDates(THEN), **changes}
    return export(Estimate.given(pose(factor=0.9)), None, folder, ExportOptions(("json",), **given))["json"]


def changed(path: Path, **values: Any) -> Path:
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**document, **values}), encoding="utf-8")
    return path


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    earlier = read_earlier(written(tmp_path))
    assert earlier.day == THEN and earlier.patient == ("P-17", "Klinik", "19900203") and earlier.names_patient
    crl = report(pose=pose(factor=0.9)).measurements.crl
    assert earlier.sizes["crl"].value_mm == pytest.approx(crl.value_mm, abs=1e-3)
    assert earlier.weeks.count("w") == 1 and "hc" not in earlier.sizes
    ensure_earlier(earlier, STUDY, NOW)
    assert unchecked_patient(earlier, STUDY) == ""


def test_another_patient_or_a_later_day_is_refused(tmp_path: Path) -> None:
    earlier = read_earlier(written(tmp_path))
    for other in (
        replace(STUDY, patient_id="P-18"),
        replace(STUDY, issuer_of_patient_id="Praxis"),
        replace(STUDY, birth_date="19900204"),
    ):
        with pytest.raises(InputError, match="of another patient"):
            ensure_earlier(earlier, other, NOW)
    ensure_earlier(earlier, replace(STUDY, issuer_of_patient_id=""), NOW)
    for day in (THEN, date(2024, 1, 9)):
        with pytest.raises(InputError, match="not before this one"):
            ensure_earlier(earlier, STUDY, day)
    with pytest.raises(InputError, match="day of this volume is unknown"):
        ensure_earlier(earlier, STUDY, None)


def test_where_one_does_not_tell_the_patient_the_report_says_so(tmp_path: Path) -> None:
    nameless = read_earlier(written(tmp_path, study=None))
    ensure_earlier(nameless, STUDY, NOW)
    assert "could not be checked" in unchecked_patient(nameless, STUDY)
    page = report_page(report(earlier=nameless, dates=KnownDates(NOW)))
    assert "could not be checked that the earlier examination is of the same patient" in page
    assert unchecked_patient(read_earlier(written(tmp_path / "b")), Study()) != ""


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"examination": {}}, "does not tell its day"),
        ({"examination": {"day": "soon"}}, "does not tell its day"),
        ({"examination": 3}, "not an object"),
        ({"measurements": []}, "no measurements"),
        ({"measurements": [3]}, "not a list of objects"),
        ({"measurements": [{"key": "crl", "value_mm": "long"}]}, "no length"),
        ({"measurements": [{"value_mm": 3}]}, "'key' is missing"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, values: dict[str, Any], problem: str) -> None:
    path = changed(written(tmp_path), dates=None, **values)
    with pytest.raises(InputError, match=problem) as refused:
        read_earlier(path)
    assert refused.value.remedy and "\n" not in refused.value.line()


def test_files_of_older_versions_tell_their_day_among_the_dates(tmp_path: Path) -> None:
    path = changed(written(tmp_path), examination={}, dates={"examined": "2024-01-10"})
    assert read_earlier(path).day == THEN and not read_earlier(path).names_patient


def test_the_sheet_tells_growth_beside_what_is_usual(tmp_path: Path) -> None:
    earlier = read_earlier(written(tmp_path))
    whole = report(earlier=earlier, dates=KnownDates(NOW), sections=sections())
    crl = whole.growth[0]
    assert crl.per_day_mm == pytest.approx((whole.measurements.crl.value_mm - crl.before_mm) / 21)
    page = report_page(whole).replace("\u00a0", " ")
    assert f"Since 2024-01-10 at {earlier.weeks}, 21 days" in page
    assert f"{crl.per_day_mm:.2f} ± {crl.uncertainty_mm:.2f}" in page and f"{crl.expected_mm:.2f}" in page
    hidden = report_page(whole.without_identifiers())
    assert "Since" not in hidden and "2024-01-10" not in hidden


def test_an_export_refuses_before_it_writes_and_tells_the_growth_in_its_file(tmp_path: Path) -> None:
    earlier = read_earlier(written(tmp_path / "then"))
    given = {
        "stem": "now",
        "earlier": earlier,
        "dates": KnownDates(NOW),
        "institution": "Klinik Süd",
        "comment": "Good.",
    }
    with pytest.raises(InputError, match="another patient"):
        export(
            Estimate.given(pose()),
            None,
            tmp_path / "now",
            ExportOptions(("json",), study=replace(STUDY, patient_id="P-18"), **given),
        )
    assert not (tmp_path / "now").exists()
    options = ExportOptions(("json",), study=STUDY, operator="Dr. Ä", **given)
    document = json.loads(export(Estimate.given(pose()), None, tmp_path / "now", options)["json"].read_text("utf-8"))
    told = document["examination"]
    assert (told["day"], told["examiner"], told["institution"], told["comment"]) == (
        "2024-01-31",
        "Dr. Ä",
        "Klinik Süd",
        "Good.",
    )
    assert told["earlier"]["growth"][0]["key"] == "crl"
    plain = export(Estimate.given(pose()), None, tmp_path / "n", replace(options, identifiers=False))["json"].read_text(
        "utf-8"
    )
    assert "examination" not in json.loads(plain) and "Klinik" not in plain and "P-17" not in plain
