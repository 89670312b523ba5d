"""The PDF as Qt prints it: its sheets, its text in any script, its pictures."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import unicodedata
from dataclasses import replace
from datetime import date, datetime, timezone
from pathlib import Path

import pytest
from reporting.samples import STUDY, png, pose, report, sections

from FetusMapV2Lib.anatomy.crl_quality import CrlView
from FetusMapV2Lib.anatomy.known_dates import KnownDates
from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.core.notices import RESEARCH_USE
from FetusMapV2Lib.reporting.earlier import EarlierExamination
from FetusMapV2Lib.reporting.guide_map import guide_map
from FetusMapV2Lib.reporting.pdf import print_pdf
from FetusMapV2Lib.reporting.report import Picture, Report, sizes_of


@pytest.fixture(scope="module")
def qt():
    """Qt as the bench has it in place of Slicer's."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    qt_shim = pytest.importorskip("bench.qt_shim")
    qt_shim.application()
    return qt_shim


def sheets_of(path: Path) -> list[str]:
    """The text of every sheet, in one line each, without ligatures."""
    from pypdf import PdfReader

    texts = (sheet.extract_text() for sheet in PdfReader(path).pages)
    return [" ".join(unicodedata.normalize("NFKC", text).split()) for text in texts]


def texts_of(path: Path, qt) -> list[list]:
    """Where every run of text stands on each sheet, in points from the lower left; a little less than its letters."""
    from pypdf import PdfReader
    from PySide6.QtCore import QRectF
    from PySide6.QtGui import QFont, QFontMetricsF

    sheets = []
    for sheet in PdfReader(path).pages:
        boxes: list = []

        def note(text, user, matrix, _font, size, boxes=boxes) -> None:
            words = text.strip("\n")
            if not words.strip():
                return
            scale = abs(user[0]) or 1.0
            font = QFont("DejaVu Sans")
            font.setPixelSize(100)
            height = size * scale * abs(matrix[3] or 1.0)
            width = QFontMetricsF(font).horizontalAdvance(words.rstrip()) * height / 100
            left = user[4] + user[0] * matrix[4] + user[2] * matrix[5]
            base = user[5] + user[1] * matrix[4] + user[3] * matrix[5]
            boxes.append(QRectF(left, base, 0.95 * width, 0.5 * height))

        sheet.extract_text(visitor_text=note)
        sheets.append(boxes)
    return sheets


@pytest.mark.parametrize("paper", ["a4", "letter"])
def test_the_record_is_one_sheet_and_the_details_another(qt, tmp_path: Path, paper) -> None:
    from pypdf import PdfReader

    pictures = [Picture(title, png(300, 312)) for title in ("Skeleton", "Midsagittal", "Coronal", "Transverse")]
    view, dates = CrlView(9.0, -2.0, 300.0, 6.0, 0.2), KnownDates(date(2024, 1, 31))
    whole = report(pictures=pictures, crl_view=view, dates=dates, crl_image=guide_map(pose(), None, size=(480, 320)))
    print_pdf(replace(whole, paper=paper), tmp_path / "Bericht ü.pdf", qt)
    size = {"a4": [595, 842], "letter": [612, 792]}[paper]
    for sheet in PdfReader(tmp_path / "Bericht ü.pdf").pages:
        assert [float(side) for side in sheet.mediabox[2:]] == pytest.approx(size, abs=1)
    first, second, third = sheets_of(tmp_path / "Bericht ü.pdf")
    for text in (
        "Fetal pose report",
        RESEARCH_USE,
        "Müller, Jana Ä",
        "Fall <7> & Co",
        "Crown-rump length",
        "toy (0123)",
        "outside the field of view",
        "small in the field of view: magnify",
        "Birth due",
        "neutral · all landmarks clear",
        "Signature",
    ):
        assert text in first
    assert "Guide map" in second and "Umbilical cord insertion" in second and "Formulas and sources" in second
    assert "Transverse" in third and RESEARCH_USE in third


def test_names_in_other_scripts_are_text(qt, tmp_path: Path) -> None:
    study = replace(STUDY, patient_name="Иванова^Анна", referring_physician="Łuk^Żaneta")
    print_pdf(report(study=study, pictures=()), tmp_path / "r.pdf", qt)
    text = sheets_of(tmp_path / "r.pdf")[0]
    assert "Иванова, Анна" in text and "Łuk Żaneta" in text


def test_without_identifiers_the_day_is_not_among_the_facts_of_the_file(qt, tmp_path: Path) -> None:
    from pypdf import PdfReader

    print_pdf(report(pictures=()).without_identifiers(), tmp_path / "r.pdf", qt)
    year = f"{datetime.now(timezone.utc):%Y}"
    facts = PdfReader(tmp_path / "r.pdf").metadata
    assert {facts[key][:16] for key in facts if key.endswith("Date")} == {f"D:{year}0101000000"}
    dates = re.findall(rb"\d{4}-\d\d-\d\dT", (tmp_path / "r.pdf").read_bytes())
    assert set(dates) <= {f"{year}-01-01T".encode()}
    assert "2024-02-29" not in sheets_of(tmp_path / "r.pdf")[0]


def test_the_guide_map_is_printed_finely(qt, tmp_path: Path) -> None:
    from pypdf import PdfReader

    print_pdf(report(pictures=()), tmp_path / "r.pdf", qt)
    (image,) = PdfReader(tmp_path / "r.pdf").pages[1].images
    assert image.image.width >= 2000
    assert len(PdfReader(tmp_path / "r.pdf").pages[0].images) == 4


def test_a_pdf_that_cannot_be_written_is_an_error(qt, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="PDF could not be written"):
        print_pdf(report(pictures=()), tmp_path / "no folder" / "r.pdf", qt)


#: Prints in a process of its own, as two versions of Qt do not go together in one.
_PRINT_BY_QT5 = """
import sys
from pathlib import Path
from types import SimpleNamespace
from PyQt5 import QtCore, QtGui, QtPrintSupport, QtWidgets
from reporting.samples import png, report
from FetusMapV2Lib.reporting.pdf import print_pdf
from FetusMapV2Lib.reporting.report import Picture
application = QtWidgets.QApplication(sys.argv[:1])
qt = SimpleNamespace(QTextDocument=QtGui.QTextDocument, QPrinter=QtPrintSupport.QPrinter, QSizeF=QtCore.QSizeF)
print_pdf(report(pictures=[Picture("Transverse", png(300, 312))] * 4), Path(sys.argv[1]), qt)
"""


@pytest.mark.skipif(importlib.util.find_spec("PyQt5") is None, reason="needs PyQt5, the Qt of Slicer 5.10")
def test_qt_5_prints_the_same_sheets(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _PRINT_BY_QT5, str(tmp_path / "r.pdf")]
    folders = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "QT_QPA_PLATFORM": "offscreen"}
    subprocess.run(command, check=True, env=environment)
    first, second, third = sheets_of(tmp_path / "r.pdf")
    assert "Signature" in first and "Guide map" in second and "Umbilical cord insertion" in second
    assert "Transverse" in third


def crowded() -> Report:
    """A report in which every text is as long as German ones, or longer, and everything is flagged."""
    word = "Schwangerschaftsvorsorgeuntersuchungsergebnis"
    beside = pose(factor=1.6).positions.copy()
    beside[[1, 4, 7], 0] += [9.0, -9.0, 9.0]
    study = replace(
        STUDY,
        patient_name=f"{word}-{word}^Maximiliane Friederike^Prof. Dr. Dr.",
        description=f"{word} {word}"[:64],
        referring_physician=f"{word}^Prof. Dr. med. Maximilian"[:64],
        patient_id="1234567890" * 6,
    )
    before = sizes_of(report(pose=pose()).measurements, sections())
    earlier = EarlierExamination(date(2024, 1, 3), ("", "", ""), before, "12w3d")
    dates = KnownDates(date(2024, 1, 31), date(2023, 10, 2), date(2023, 10, 30), (date(2023, 12, 1), 60))
    return report(
        pose=pose(factor=1.6).with_positions(beside),
        name=f"{word} {word} {word}",
        operator=f"Prof. Dr. med. {word}",
        institution=f"Universitätsklinikum {word} Abteilung {word}",
        comment=f"{word} " * 40,
        model="m" * 90,
        model_card=f"{word} " * 20,
        warnings=tuple(f"{number} {word} {word} {word}" for number in range(9)),
        study=study,
        dates=dates,
        earlier=earlier,
        sections=sections(),
        crl_view=CrlView(-9.0, -2.0, 900.0, 6.0, 0.2),
        crl_image=guide_map(pose(), None, size=(480, 320)),
        pictures=(),
    )


@pytest.mark.parametrize("paper", ["a4", "letter"])
def test_the_record_stays_one_sheet_however_much_there_is_to_say(qt, tmp_path: Path, paper) -> None:
    print_pdf(replace(crowded(), paper=paper), tmp_path / "r.pdf", qt)
    first, *others = sheets_of(tmp_path / "r.pdf")
    assert "Signature" in first and "Details" not in first and "more on page 2" in first
    assert "Details" in others[0] and "Since 2024-01-03 at 12w3d, 28 days" in first


def test_no_text_lies_over_another(qt, tmp_path: Path) -> None:
    for whole in (crowded(), report(pictures=(), crl_view=CrlView(9.0, 8.0, 90.0, 6.0, 0.2))):
        print_pdf(whole, tmp_path / "r.pdf", qt)
        for sheet in texts_of(tmp_path / "r.pdf", qt)[:2]:
            assert len(sheet) > 20
            for number, one in enumerate(sheet):
                for other in sheet[number + 1 :]:
                    assert not one.intersects(other), (one, other)
