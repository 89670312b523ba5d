"""Two fetuses on the page: a column for each, how much they differ, and nothing about chorionicity that nobody told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from reporting import samples

from FetusMapV2Lib.anatomy.nuchal import Nuchal
from FetusMapV2Lib.reporting.blocks import NOTHING
from FetusMapV2Lib.reporting.dicom_sr import structured_report
from FetusMapV2Lib.reporting.fhir import fhir_bundle
from FetusMapV2Lib.reporting.page import report_page
from FetusMapV2Lib.reporting.report import Report
from FetusMapV2Lib.reporting.twins import discordance, twins_table


def twins(factor: float = 1.1, **changes: str) -> tuple[Report, Report]:
    first = samples.report(**changes)
    pose = replace(samples.pose(factor=factor), doubt="It is doubtful.")
    second = samples.report(pose=pose, number=2, states=(), **changes)
    both = (first, second)
    return replace(first, fetuses=both), replace(second, fetuses=both)


def test_each_fetus_has_a_column_in_the_reports_of_both() -> None:
    for one in twins():
        page = report_page(one)
        for fetus in one.fetuses:
            assert page.count(f"{fetus.measurements.crl.value_mm:.1f}") >= 1
        assert "Fetus 1</th>" in page and "Fetus 2</th>" in page and f"{one.number} of 2" in page
        cells = twins_table(one)
        assert ">found</td>" in cells and ">doubtful</td>" in cells


def test_sizes_of_head_and_neck_stand_in_the_columns_where_one_fetus_has_them() -> None:
    first, second = twins()
    first = replace(first, sections=samples.sections(), nuchal=Nuchal((1.52, 1.84)))
    cells = twins_table(replace(first, fetuses=(first, second)))
    (nuchal,) = [one for one in cells.split("<tr") if "Nuchal translucency" in one]
    assert "1.8\xa0mm" in nuchal and NOTHING in nuchal
    assert "Head circumference" in cells and "Abdominal circumference" not in cells, "not measured of either"


def test_a_single_fetus_has_none() -> None:
    assert twins_table(samples.report()) == ""
    assert "Chorionicity" not in report_page(samples.report())


def test_a_large_difference_is_told_with_its_ground() -> None:
    first, _ = twins(1.1)  # 12 % less than 1.25
    (text,) = discordance(first)
    assert "12 %" in text and "specialist" in text and "PubMed" in text
    (text,) = discordance(twins(1.2)[0])
    assert "4 %" in text and "specialist" not in text


def test_a_difference_needs_two_lengths() -> None:
    first, second = twins()
    short = replace(second, pose=samples.pose(0, 9))
    assert np.isnan(short.measurements.crl.value_mm)
    assert discordance(replace(first, fetuses=(first, short))) == []


def test_chorionicity_is_what_somebody_told() -> None:
    assert "not told" in twins_table(twins()[0])
    told = twins(chorionicity="DCDA <lambda> & T")[0]
    assert "DCDA &lt;lambda&gt; &amp; T" in twins_table(told)
    assert told.without_identifiers().chorionicity == ""


def test_other_systems_are_told_which_fetus_it_is() -> None:
    _, second = twins()
    assert structured_report(second).SeriesDescription == "Fetal pose report, fetus 2 of 2"
    assert "Fetus 2 of 2 in this volume" in structured_report(second).to_json()
    assert '"Fetus 2 of 2"' in str(fhir_bundle(second)).replace("'", '"')
    assert structured_report(samples.report()).SeriesDescription == "Fetal pose report"
