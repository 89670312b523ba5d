"""The report's page: complete, self-contained, escaped, and silent about patients when asked."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from reporting.samples import STATES, png, pose, report, sections

from FetusMapV2Lib import __version__
from FetusMapV2Lib.anatomy.crl_quality import CrlView
from FetusMapV2Lib.core.notices import RESEARCH_USE
from FetusMapV2Lib.imaging.edit_log import Change, Edit
from FetusMapV2Lib.reporting.page import report_page
from FetusMapV2Lib.reporting.report import Picture, Report

MOVE = Edit(
    "2026-01-31T10:20:30Z", "moved", (Change(5, (1.0, 2.0, 3.0), (4.0, 5.0, 6.25)),), "Dr. <Ä>", "F 1", "toy (01)"
)
VOID = {"meta", "br", "img"}


class Page(HTMLParser):
    """Cells of all tables, the text, and addresses of the pictures; unbalanced tags raise."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.rows, self.images, self.addresses, self.around_images = "", [], [], [], set()
        self._open: list[str] = []
        self.feed(html)
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.addresses += [values[name] for name in ("src", "href") if name in values]
        if tag == "img":
            self.images.append(values)
            self.around_images.add(self._open[-1])
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" in self._open:
            return
        self.text += data
        if self._open and self._open[-1] in ("td", "th") and self.rows:
            self.rows[-1][-1] += data

    def row(self, name: str) -> list[str]:
        found = next(row for row in self.rows if row and row[0] == name)
        return [cell.replace("\u00a0", " ") for cell in found]


@pytest.fixture
def page() -> Page:
    return Page(report_page(report()))


def test_nothing_is_loaded_from_elsewhere(page: Page) -> None:
    assert page.addresses and all(address.startswith("data:image/") for address in page.addresses)
    html = report_page(report())
    assert "http" not in html.replace('xmlns="http://www.w3.org/2000/svg"', "") and "<script" not in html
    assert "url(" not in html


def test_the_pictures_are_in_it(page: Page) -> None:
    kinds = [image["src"].split(";")[0] for image in page.images]
    assert kinds == ["data:image/svg+xml"] * 5 + ["data:image/png"] * 2
    assert base64.b64decode(page.images[-1]["src"].split(",")[1]) == png()
    assert all(b"<svg" in base64.b64decode(image["src"].split(",")[1]) for image in page.images[:5])
    assert all(image["alt"] for image in page.images)
    assert "Midsagittal" in page.text and "Coronal" in page.text


def test_tall_and_wide_views_fit_their_place() -> None:
    page = Page(report_page(report(pictures=(Picture("tall", png(100, 400)), Picture("wide", png(400, 100))))))
    tall, wide = ((float(image["width"]), float(image["height"])) for image in page.images[-2:])
    assert tall == (75, 300) and wide == (330, 82)


def test_the_table_holds_the_findings(page: Page) -> None:
    found = report().measurements
    crl, *bones = found.lengths
    assert page.row("Crown-rump length")[1] == f"{crl.value_mm:.1f} ± {crl.uncertainty_mm:.1f} mm"
    for bone in bones:
        cells = page.row(f"{bone.name} *")
        assert cells[1] == f"{bone.value_mm:.1f} ± {bone.uncertainty_mm:.1f} mm"
        assert cells[3] == "fits the CRL" and " to " in cells[2]
    for dating in found.datings:
        name = dating.name + (" (chosen)" if dating is found.dating else "")
        low, high = dating.valid_range_mm
        expected = [dating.weeks_text, f"{dating.combined_days:.0f} d", f"CRL {low:g} to {high:g} mm"]
        assert [cell.replace("\u00a0", " ") for cell in page.row(name)[1:4]] == expected
        assert dating.formula in page.text and dating.source in page.text
    assert page.row("Neck flexion")[3] == "neutral"
    assert "joint centres" in page.text


def test_the_chosen_formula_comes_first() -> None:
    page = Page(report_page(report(formula="hadlock")))
    start = next(place for place, row in enumerate(page.rows) if row and row[0] == "Gestational age")
    names = [row[0] for row in page.rows[start + 1 : start + 5]]
    assert names == ["Hadlock (chosen)", "INTERGROWTH-21st", "Robinson and Fleming", "FMF"]


def test_research_use_model_and_software_are_told(page: Page) -> None:
    assert page.text.count(RESEARCH_USE) == 2
    assert f"FetusMapV2 {__version__}" in page.text and "toy (0123)" in page.text
    assert "the voxel size is odd" in page.text and "2024-02-29 13:05" in page.text
    assert "22 of 22 found, 5 of them set or confirmed by hand" in page.text


def test_every_landmark_has_its_line(page: Page) -> None:
    landmarks = report().pose.schema.landmarks
    lines = [row for row in page.rows if len(row) == 8 and row[0].isdigit()]
    assert [row[1].replace(" †", "") for row in lines] == [mark.name for mark in landmarks]
    assert [row[2] for row in lines] == list(STATES)
    assert lines[0][3:] == ["90%", "1.5", "0.0", "0.0", "35.0"]
    assert [("†" in row[1]) for row in lines] == [mark.assumed for mark in landmarks]


def test_patient_and_study_where_the_input_had_them(page: Page) -> None:
    for text in ("Müller, Jana Ä", "P-17 Klinik", "1990-02-03", "2024-01-31 12-week scan", "A-3", "Łuk Żaneta"):
        assert text in page.text
    assert "Patient" not in Page(report_page(report(study=None))).text


def test_identifiers_can_be_left_out() -> None:
    html = report_page(report().without_identifiers())
    for text in ("Müller", "P-17", "1990", "2024-01-31", "A-3", "Fall", "Ärztin", "Klinik"):
        assert text not in html
    assert "Crown-rump length" in html


def test_what_people_typed_is_escaped() -> None:
    html = report_page(report(operator="<script>alert(1)</script>", warnings=("a < b & c",)))
    assert "<script" not in html and "&lt;script&gt;" in html
    page = Page(html)
    assert "Fall <7> & Co" in page.text and "a < b & c" in page.text


def test_doubts_are_listed_with_their_source() -> None:
    positions = pose().positions.copy()
    positions[17] = positions[16] + 0.15 * (positions[17] - positions[16])
    doubtful = report(pose=pose().with_positions(positions))
    page = Page(report_page(doubtful))
    assert "Femora, left minus right: " in page.text and "left shorter than right" in page.text
    assert "De Biasio" in page.text and "No check raised a doubt" not in page.text
    assert "No check raised a doubt." in Page(report_page(report(warnings=()))).text


def test_a_pose_with_gaps_is_reported_without_numbers_that_are_none() -> None:
    page = Page(report_page(report(pose=pose(0, 12, 17), states=())))
    assert not re.search(r"\bnan\b", page.text.lower())
    assert page.row("Crown-rump length")[1] == "–"
    assert page.row("INTERGROWTH-21st (chosen)")[1] == "–"
    assert page.row("Left femur *")[3] == "not checked"
    assert "Left femur for the CRL" in page.text and "not checked: a landmark is missing." in page.text
    assert "CRL missing" in page.text
    assert "19 of 22 found" in page.text
    assert sum(row[2] == "missing" for row in page.rows if len(row) == 8) == 3


def test_a_pose_without_confidence_or_radius() -> None:
    bare = Report(pose=pose().with_positions(pose().positions), created=report().created)
    bare = Report(pose=type(bare.pose)(bare.pose.positions), created=bare.created)
    page = Page(report_page(bare))
    assert "±" not in page.row("Crown-rump length")[1]
    assert "Views" not in page.text and "Volume" not in page.text


def test_the_margins_of_a_window_are_not_those_of_a_sheet() -> None:
    assert "@media screen" in report_page(report()) and "size: A4" in report_page(report())
    assert "size: letter" in report_page(report(paper="letter"))
    assert "@media" not in report_page(report(), screen=False) and "@page" not in report_page(report(), screen=False)
    assert len(re.findall("page-break-before", report_page(report()))) == 2


def test_numbers_follow_the_pose() -> None:
    moved = pose().positions.copy()
    moved[0] += [0, 0, 5.0]
    crl = np.linalg.norm(moved[0] - moved[9])
    page = Page(report_page(report(pose=pose().with_positions(moved))))
    assert page.row("Crown-rump length")[1].startswith(f"{crl:.1f} ± ")


def test_every_picture_has_a_paragraph_or_a_cell_of_its_own(page: Page) -> None:
    # Qt 5 tears a sheet at a picture that stands bare after a heading.
    assert page.around_images == {"p", "td"}


def test_a_doubtful_fetus_is_told_on_top_and_at_every_landmark() -> None:
    doubt = "A score of 0.77 < 0.80."
    page = Page(report_page(report(pose=replace(pose(), doubt=doubt))))
    (line,) = [row[0] for row in page.rows if row and row[0].startswith("?")]
    assert line.endswith("fetus doubtful") and doubt in page.text.split("Measurements")[0]
    assert ["Fetus", "doubtful"] in page.rows
    assert sum("doubtful" in row for row in page.rows if len(row) == 8) == STATES.count("estimated")
    assert "doubtful" not in Page(report_page(report())).text.lower()


def test_dates_say_what_decides_and_when_birth_is_due() -> None:
    from datetime import date

    from FetusMapV2Lib.anatomy.known_dates import KnownDates

    dates = KnownDates(date(2026, 3, 1), last_period=date(2025, 12, 5), conceived=date(2025, 12, 21))
    page = report_page(report(dates=dates))
    assert "2026-09-13" in page and "12w0d" in page and "conception decides" in page
    assert "measured +6\u00a0d, limit 7\u00a0d" in page and "centile (z " in page
    hidden = report_page(report(dates=dates).without_identifiers())
    assert "Birth due" not in hidden and "2026-09-13" not in hidden and "2026-03-01" not in hidden
    assert "Birth due" not in report_page(report())


def test_the_image_of_the_length_is_judged_criterion_by_criterion() -> None:
    page = Page(report_page(report(crl_view=CrlView(9.0, -2.0, 300.0, 6.0, 0.2))))
    assert page.row("Crown to border of the field")[1:] == ["9.0 mm", "≥ 1.5 mm", "✓ fine"]
    assert page.row("Rump to border of the field")[1:] == ["-2.0 mm", "≥ 1.5 mm", "! review"]
    assert page.row("Angle crown - upper spine - rump")[2:] == ["–", "– not judged"]
    assert len([check for check in report().crl_quality if page.row(check.name)]) == 8
    assert "Beam to the crown-rump line: not judged: the volume does not tell" in page.text
    assert "Rump to border of the field: outside the field of view." in page.text.split("To look at again")[1]


def test_above_84_mm_the_head_decides() -> None:
    long = report(pose=pose(factor=1.6))
    assert long.measurements.crl.value_mm > 84
    assert "Above a CRL of 84 mm the head circumference decides" in report_page(long)
    assert "head circumference decides" not in report_page(report())


def test_who_examined_where_and_a_line_to_sign() -> None:
    page = Page(report_page(report(institution="Universitätsfrauenklinik", comment="Placenta <anterior>.")))
    signed = next(row for row in page.rows if row and row[0].startswith("Dr. Ärztin"))
    assert [cell.strip("\u00a0") for cell in signed] == ["Dr. Ärztin", "Universitätsfrauenklinik", "", ""]
    assert ["Examiner", "Institution", "Date", "Signature"] in page.rows
    assert "Placenta <anterior>." in page.text
    hidden = report_page(report(institution="Uniklinik", comment="Frau X.").without_identifiers())
    assert "Uniklinik" not in hidden and "Frau X" not in hidden


def test_the_first_sheet_says_that_there_is_more() -> None:
    warnings = tuple(f"remark number {number}" for number in range(9))
    page = report_page(report(warnings=warnings))
    first, details = page.split("Details</p>")
    assert "4 more on page 2." in first and "remark number 8" not in first and "remark number 8" in details


def test_head_and_abdomen_stand_with_their_charts_and_the_head_dates_a_long_fetus() -> None:
    page = Page(report_page(report(pose=pose(factor=1.6), sections=sections())))
    hc = sections().sizes[0]
    assert page.row("Head circumference")[1] == f"{hc.value_mm:.1f} ± {hc.uncertainty_mm:.1f} mm"
    assert "INTERGROWTH-21st" in page.row("Biparietal diameter")[3] or "NICHD" in page.row("Biparietal diameter")[3]
    assert page.row("Abdominal circumference")[1:] == ["–", "", "not measured"]
    assert "Abdominal circumference: not measured: the edge of the skin is not seen." in page.text
    ages = [row for row in page.rows if row and row[0] == "Head circumference" and row[1].count("w")]
    assert ages and "HC 98 to 334" in ages[0][3].replace("\u00a0", " ")
    assert "which was not measured" not in page.text
    assert "which was not measured" in Page(report_page(report(pose=pose(factor=1.6)))).text


def test_doubtful_and_missing_landmarks_are_named_on_the_sheet() -> None:
    confidence = np.full(22, 0.9)
    confidence[[3, 7]] = 0.3
    doubtful = replace(pose(12), confidence=np.where(np.arange(22) == 12, np.nan, confidence))
    sheet = report_page(report(pose=doubtful, states=())).split("Details</p>")[0]
    assert "Doubtful: 4 Nasal bone, 8 Umbilical cord insertion." in sheet and "Missing: 13 Left wrist." in sheet
    every = report_page(report(pose=replace(pose(), doubt="It is doubtful."))).split("Details</p>")[0]
    assert "Doubtful: 1" not in every


def test_changes_by_hand_are_told_with_who_when_and_where() -> None:
    missing = replace(MOVE, action="set missing", changes=(Change(5, (4.0, 5.0, 6.25), None), Change(7, None, None)))
    told = Page(report_page(report(edits=[MOVE, missing])))
    name = pose().schema.landmarks[4].name
    moved = ["2026-01-31 10:20:30", "Dr. <Ä>", "moved", name, "1.0, 2.0, 3.0", "4.0, 5.0, 6.2"]
    assert moved in told.rows and ["Nos. 5, 7", "–", "–"] in [row[3:] for row in told.rows]
    assert "Made in: F 1, toy (01)." in told.text
    anonymous = Page(report_page(report(edits=[MOVE]).without_identifiers())).text
    assert "10:20:30" not in anonymous and "Dr. <Ä>" not in anonymous and "4.0, 5.0, 6.2" in anonymous
    assert "Changes by hand" not in Page(report_page(report())).text
    many = Page(report_page(report(edits=[replace(MOVE, examiner=str(number)) for number in range(40)])))
    assert "The last 30 of 40 rows" in many.text and next(row[1] for row in many.rows if "moved" in row) == "10"
