"""What the examiner notes: kept with its volume, never with another patient, and told in the report."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from module.test_panel import estimate
from module.test_report import only, own_settings, said, window, written  # noqa: F401 - fixtures
from reporting.samples import pose

from FetusMapV2Lib.anatomy.known_dates import KnownDates
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.exporting import ExportOptions, export
from FetusMapV2Lib.scene.examination_notes import ExaminationNotes, read_notes


@pytest.fixture
def earlier_file(tmp_path: Path) -> Path:
    options = ExportOptions(("json",), stem="then", dates=KnownDates(date(2026, 1, 1)))
    return export(Estimate.given(pose(factor=0.7)), None, tmp_path / "then", options)["json"]


def fill(ui, earlier: str = "") -> None:
    ui.examinedLineEdit.setText("2026-01-31")
    ui.lastPeriodLineEdit.setText("2025-11-03")
    ui.commentTextEdit.setPlainText("Placenta anterior.")
    ui.institutionLineEdit.setText("Klinik Süd")
    ui.institutionLineEdit.editingFinished.emit()
    ui.earlierPathLineEdit.currentPath = earlier


def page_of(opened, tmp_path: Path) -> str:
    only(opened, "Page")
    opened.module_widget.ui.replaceReportCheckBox.setChecked(True)
    opened.click(opened.module_widget.ui.writeReportButton)
    return next(path for name, path in written(tmp_path).items() if name.endswith(".html")).read_text(encoding="utf-8")


def test_notes_stand_in_the_report_and_are_kept_with_the_volume(window, tmp_path, earlier_file) -> None:  # noqa: F811
    ui = window.module_widget.ui
    fill(ui, str(earlier_file))
    volume = window.module_widget.state.poseScene.volume_node
    expected = ExaminationNotes("2026-01-31", "2025-11-03", "Placenta anterior.", str(earlier_file))
    assert read_notes(volume) == expected
    page = page_of(window, tmp_path)
    for text in ("Placenta anterior.", "Klinik Süd", "Since 2026-01-01", "By last menstrual period", "2026-01-31"):
        assert text in page
    window.click(ui.forgetEarlierButton)
    assert read_notes(volume).earlier == "" and "Since" not in page_of(window, tmp_path)


def test_notes_never_go_to_another_patient(window, scene, tmp_path) -> None:  # noqa: F811
    ui, state = window.module_widget.ui, window.module_widget.state
    fill(ui)
    first = state.poseScene.volume_node
    second = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "another patient")
    second.SetAndObserveImageData(first.GetImageData())
    second.SetSpacing(first.GetSpacing())
    second.SetOrigin(first.GetOrigin())
    ui.inputSelector.setCurrentNode(second)
    assert (ui.commentTextEdit.plainText, ui.examinedLineEdit.text, ui.lastPeriodLineEdit.text) == ("", "", "")
    assert read_notes(second) == ExaminationNotes() and read_notes(first).comment == "Placenta anterior."
    ui.commentTextEdit.setPlainText("Of the second.")
    estimate(window)
    only(window, "Page")
    window.click(ui.writeReportButton)
    page = written(tmp_path)["another patient.report.html"].read_text(encoding="utf-8")
    assert "Of the second." in page and "Placenta" not in page
    ui.inputSelector.setCurrentNode(first)
    assert ui.commentTextEdit.plainText == "Placenta anterior." and read_notes(second).comment == "Of the second."


def test_without_identifiers_nothing_of_it_is_told(window, tmp_path) -> None:  # noqa: F811
    ui = window.module_widget.ui
    fill(ui)
    ui.reportWithoutIdentifiersCheckBox.setChecked(True)
    page = page_of(window, tmp_path)
    assert "Placenta" not in page and "Klinik" not in page and "2026-01-31" not in page


def test_a_wrong_date_or_file_is_one_line(window, tmp_path) -> None:  # noqa: F811
    ui = window.module_widget.ui
    fill(ui)
    ui.lastPeriodLineEdit.setText("yesterday")
    only(window, "Page")
    window.click(ui.writeReportButton)
    assert "no date" in said(window) and "Last period" in said(window) and not written(tmp_path)
    ui.lastPeriodLineEdit.setText("")
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"measurements": []}), encoding="utf-8")
    ui.earlierPathLineEdit.currentPath = str(wrong)
    window.click(ui.writeReportButton)
    assert "no measurements" in said(window) and not written(tmp_path)
