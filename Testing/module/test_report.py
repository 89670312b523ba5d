"""The report section: files written by a click, identifiers, training cases; and the sample data."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from core.folders import visible
from imaging.samples import enhanced_us, sample, save
from module.test_panel import estimate, position
from sending.archives import storage_scp

from FetusMapV2Lib.imaging.training_cases import find_cases
from FetusMapV2Lib.scene.editing import LandmarkEditor


@pytest.fixture(autouse=True)
def own_settings(tmp_path, application):
    """What the panel remembers on this computer stays inside the test."""
    from PySide6.QtCore import QSettings

    QSettings.setPath(QSettings.NativeFormat, QSettings.UserScope, str(tmp_path / "settings"))


@pytest.fixture
def window(open_window, volume, tmp_path):
    opened = open_window()
    estimate(opened)
    ui = opened.module_widget.ui
    ui.reportFolderEdit.currentPath = str(tmp_path / "Befunde ü")
    ui.trainingFolderEdit.currentPath = str(tmp_path / "Fälle")
    return opened


def said(window) -> str:
    return window.module_widget.state.message


def only(window, *kinds: str) -> None:
    """Tick these kinds of files and no others."""
    ui = window.module_widget.ui
    for kind in ("Page", "Pdf", "Table", "Dicom", "Fhir"):
        getattr(ui, f"report{kind}CheckBox").setChecked(kind in kinds)


def written(tmp_path: Path) -> dict[str, Path]:
    folder = tmp_path / "Befunde ü"
    return {path.name: path for path in visible(folder)} if folder.exists() else {}


@pytest.mark.usefixtures("four_views")
def test_one_click_writes_the_report_and_one_more_opens_it(window, tmp_path, monkeypatch):
    ui = window.module_widget.ui
    assert not ui.reportCollapsibleButton.collapsed
    window.click(ui.writeReportButton)
    files = written(tmp_path)
    stem = "synthetic volume"
    tables, reports = (".measurements.csv", ".measurements.json", ".mrk.json"), (".report.html", ".report.pdf")
    suffixes = (*tables, *reports, ".sr.dcm", ".sr3d.dcm")
    assert list(files) == [f"{stem}{suffix}" for suffix in suffixes]
    assert "Report written" in said(window) and not window.module_widget.state.isError
    html = files[f"{stem}.report.html"].read_text(encoding="utf-8")
    assert "stand-in" in html and "synthetic volume" in html and "Patient" not in html
    assert html.count("data:image/png") == 4 and "Yellow slice view" in html
    assert files[f"{stem}.report.pdf"].read_bytes().startswith(b"%PDF-")
    import qt

    opened = []
    monkeypatch.setattr(qt, "QDesktopServices", SimpleNamespace(openUrl=opened.append))
    window.click(ui.openReportButton)
    assert Path(opened[0].toLocalFile()) == files[f"{stem}.report.html"]
    node = window.module_widget.state.parameterNode.landmarks
    crl = np.linalg.norm(np.subtract(position(node, 0), position(node, 9)))
    assert f"CRL {crl:.1f} " in html


@pytest.mark.usefixtures("four_views")
def test_pictures_show_what_the_views_show(window, volume):
    from FetusMapV2Panel import view_pictures
    from PySide6.QtGui import QImage

    pictures = view_pictures.openViews(volume)
    assert [one.title for one in pictures] == ["3D view", "Red slice view", "Yellow slice view", "Green slice view"]
    for one in pictures:
        image = QImage.fromData(one.png, "PNG")
        assert image.width() >= 200
        assert len({image.pixel(x, image.height() // 2) for x in range(image.width())}) > 10, one.title


def test_edits_formula_and_reader_are_in_it(window, tmp_path):
    ui = window.module_widget.ui
    only(window, "Page", "Table")
    ui.formulaComboBox.setCurrentIndex(1)
    ui.readerLineEdit.setText("Dr. Ärztin")
    ui.readerLineEdit.editingFinished.emit()
    landmarks = window.module_widget.state.parameterNode.landmarks
    landmarks.SetNthControlPointPosition(0, 5.0, 5.0, 45.0)
    window.click(ui.writeReportButton)
    files = written(tmp_path)
    (edit,) = json.loads(files["synthetic volume.measurements.json"].read_text(encoding="utf-8"))["edit_log"]
    assert (edit["action"], edit["examiner"], edit["model"]) == ("moved", "Dr. Ärztin", "stand-in")
    assert edit["changes"][0]["number"] == 1 and edit["changes"][0]["after"] == [5.0, 5.0, 45.0]
    html = files["synthetic volume.report.html"].read_text(encoding="utf-8")
    assert "Changes by hand" in html
    assert "Robinson and Fleming (chosen)" in html and "Dr. Ärztin" in html
    assert "1 of them set or confirmed by hand" in html
    from FetusMapV2Panel.reader import reader

    assert reader() == "Dr. Ärztin"


def test_an_earlier_report_is_kept_unless_told(window, tmp_path):
    ui = window.module_widget.ui
    only(window, "Fhir", "Table")
    window.click(ui.writeReportButton)
    before = {name: path.read_bytes() for name, path in written(tmp_path).items()}
    window.click(ui.writeReportButton)
    assert "exists already. Tick 'Replace existing files'" in said(window) and window.module_widget.state.isError
    assert {name: path.read_bytes() for name, path in written(tmp_path).items()} == before
    ui.replaceReportCheckBox.setChecked(True)
    window.click(ui.writeReportButton)
    assert written(tmp_path)["synthetic volume.fhir.json"].read_bytes() != before["synthetic volume.fhir.json"]


def test_nothing_chosen_and_no_folder_are_said_in_words(window, tmp_path):
    ui = window.module_widget.ui
    only(window)
    window.click(ui.writeReportButton)
    assert "no file is chosen" in said(window)
    only(window, "Page")
    ui.reportFolderEdit.currentPath = ""
    window.click(ui.writeReportButton)
    assert "no folder is chosen" in said(window)
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    ui.reportFolderEdit.currentPath = str(tmp_path / "file")
    window.click(ui.writeReportButton)
    assert "not a folder" in said(window) and (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_what_a_report_consists_of_is_remembered_for_later_scenes(window, scene, open_window):
    import slicer

    ui = window.module_widget.ui
    only(window, "Page", "Fhir")
    ui.formulaComboBox.setCurrentIndex(3)
    window.click(ui.writeReportButton)
    scene.Clear(0)
    slicer.app.processEvents()
    parameters = window.module_widget.state.parameterNode
    assert parameters.datingFormula.value == "hadlock"
    kinds = (parameters.reportPage, parameters.reportPdf, parameters.reportDicom, parameters.reportFhir)
    assert kinds == (True, False, False, True)


@pytest.fixture
def patient(window, volume, tmp_path, monkeypatch):
    """The volume comes from a patient's DICOM file in Slicer's database."""
    import slicer

    dataset = enhanced_us([sample()])
    dataset.PatientName, dataset.PatientID, dataset.StudyInstanceUID = "Doe^Jane", "P-17", pydicom.uid.generate_uid()
    save(dataset, tmp_path / "doe.dcm")
    files = {str(dataset.SOPInstanceUID): str(tmp_path / "doe.dcm")}
    database = SimpleNamespace(fileForInstance=lambda uid: files.get(uid, ""))
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    volume.SetAttribute("DICOM.instanceUIDs", str(dataset.SOPInstanceUID))
    volume.SetName("Doe, Jane: 3D / 1")
    return dataset


def test_the_patient_of_a_dicom_volume_is_in_the_report(window, patient, tmp_path):
    only(window, "Page", "Dicom")
    window.click(window.module_widget.ui.writeReportButton)
    files = written(tmp_path)
    assert list(files) == [f"Doe, Jane_ 3D _ 1.{end}" for end in ("report.html", "sr.dcm", "sr3d.dcm")]
    structured = pydicom.dcmread(files["Doe, Jane_ 3D _ 1.sr.dcm"])
    assert structured.PatientID == "P-17" and structured.StudyInstanceUID == patient.StudyInstanceUID
    assert "Doe, Jane" in files["Doe, Jane_ 3D _ 1.report.html"].read_text(encoding="utf-8")


def test_without_identifiers_not_even_a_name_or_a_view_tells_the_patient(window, patient, tmp_path):
    ui = window.module_widget.ui
    only(window, "Page", "Dicom", "Fhir")
    ui.readerLineEdit.setText("Dr. Ärztin")
    ui.reportWithoutIdentifiersCheckBox.setChecked(True)
    window.click(ui.writeReportButton)
    files = written(tmp_path)
    assert len(files) == 4 and all(name.startswith("report-0001.") for name in files)
    for path in files.values():
        content = path.read_bytes()
        assert b"Jane" not in content and b"P-17" not in content and "Ärztin".encode() not in content
        assert os.name == "nt" or path.stat().st_mode & 0o077 == 0
    html = next(path for name, path in files.items() if name.endswith(".html")).read_text(encoding="utf-8")
    # Slicer writes patients' names into the corners of its views, so other pictures are drawn
    assert "slice view" not in html and "Midsagittal" in html


def send(window, address: str) -> None:
    ui = window.module_widget.ui
    ui.archiveLineEdit.setText(address)
    window.click(ui.sendReportButton)
    assert window.wait_until(lambda: not window.module_widget.state.running)


def test_the_report_of_the_shown_patient_goes_to_the_archive(window, patient, tmp_path):
    ui, state = window.module_widget.ui, window.module_widget.state
    assert not ui.sendReportButton.enabled
    only(window, "Dicom")
    window.click(ui.writeReportButton)
    with storage_scp(require_called_aet=True) as (port, stored):
        send(window, f"ARCHIVE@127.0.0.1:{port}")
        assert said(window).startswith("Sent to ARCHIVE@") and state.tone.name == "SUCCESS", said(window)
        assert {one.PatientID for one in stored} == {"P-17"} and len(stored) == 2
        send(window, f"OTHER@127.0.0.1:{port}")
        assert state.isError and "does not know the AE title OTHER" in said(window) and "\n" not in said(window)
        other = next(path for name, path in written(tmp_path).items() if name.endswith(".sr.dcm"))
        dataset = pydicom.dcmread(other)
        dataset.PatientID = "P-18"
        dataset.save_as(other)
        send(window, f"ARCHIVE@127.0.0.1:{port}")
        assert state.isError and "different patients" in said(window) and len(stored) == 2
        send(window, "archive")
        assert "no address of a PACS" in said(window)
        send(window, "")
        assert "no archive is chosen" in said(window) and len(stored) == 2
    state.parameterNode.landmarks.SetNthControlPointPosition(0, 1.0, 2.0, 3.0)
    assert not ui.sendReportButton.enabled and "write it again" in ui.sendReportButton.toolTip


def test_sending_is_cancelled_and_needs_a_patient_and_a_package(window, patient, volume, monkeypatch):
    from FetusMapV2Panel import archive_sending

    ui, state = window.module_widget.ui, window.module_widget.state
    only(window, "Dicom")
    window.click(ui.writeReportButton)
    asked, go_on = threading.Event(), threading.Event()

    def slow(_event) -> int:
        asked.set()
        go_on.wait(60)
        return 0

    with storage_scp(slow) as (port, _stored):
        ui.archiveLineEdit.setText(f"ARCHIVE@127.0.0.1:{port}")
        ui.callingTitleLineEdit.setText("ROOM1")
        window.click(ui.sendReportButton)
        assert window.wait_until(asked.is_set) and state.running
        state.cancel()
        assert window.wait_until(lambda: not state.running) and "stays there" in said(window)
        go_on.set()
    monkeypatch.setattr(archive_sending.importlib.util, "find_spec", lambda name: None)
    window.click(ui.sendReportButton)
    assert state.isError and "package pynetdicom" in said(window) and "pip_install" in said(window)
    monkeypatch.undo()
    volume.RemoveAttribute("DICOM.instanceUIDs")
    window.click(ui.sendReportButton)
    assert state.isError and "whose report it is" in said(window)
    import slicer

    assert slicer.app.userSettings().value("FetusMapV2/CallingTitle") == "ROOM1"


def test_a_study_is_found_by_the_file_of_the_volume(window, volume, tmp_path):
    import slicer
    from FetusMapV2Panel.dicom_study import studyOf

    assert studyOf(volume) is None
    dataset = enhanced_us([sample()])
    dataset.PatientID = "P-18"
    save(dataset, tmp_path / "v.dcm")
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    volume.SetAndObserveStorageNodeID(storage.GetID())
    storage.SetFileName(str(tmp_path / "v.dcm"))
    assert studyOf(volume).patient_id == "P-18"
    storage.SetFileName(str(tmp_path / "gone.dcm"))
    assert studyOf(volume) is None


def test_a_training_case_holds_what_was_set_by_hand(window, volume, tmp_path):
    ui = window.module_widget.ui
    ui.readerLineEdit.setText("Dr. Ärztin")
    window.click(ui.saveCaseButton)
    assert "no landmark was confirmed or set by hand" in said(window)
    landmarks = window.module_widget.state.parameterNode.landmarks
    for row in (0, 9, 12):
        landmarks.SetNthControlPointPosition(row, *np.add(position(landmarks, row), [1.0, 0, 0]))
    window.click(ui.saveCaseButton)
    assert "Saved as case-0000: 3 of 22" in said(window)
    window.click(ui.saveCaseButton)
    assert "case-0001" in said(window)
    first, _second = find_cases(tmp_path / "Fälle")
    pose = first.pose()
    assert np.flatnonzero(pose.present).tolist() == [0, 9, 12]
    np.testing.assert_allclose(pose.positions[12], position(landmarks, 12), atol=1e-4)
    annotation = first.truth()["annotation"]
    assert annotation["editor"] == "Dr. Ärztin" and annotation["model"] == "stand-in"
    assert [one["changes"][0]["number"] for one in annotation["edit_log"]] == [1, 10, 13]
    assert annotation["states"]["cranial_crest"] == "edited" and annotation["states"]["chin"] == "estimated"
    assert first.volume().array.shape == (48, 40, 40)


def test_confirmed_landmarks_count_as_truth_too(window, tmp_path):
    editor = LandmarkEditor(window.module_widget.state.poseScene)
    editor.confirm(range(20))
    editor.set_missing([3])
    window.click(window.module_widget.ui.saveCaseButton)
    assert "19 of 22" in said(window)
    (case,) = find_cases(tmp_path / "Fälle")
    assert np.flatnonzero(~case.pose().present).tolist() == [3, 20, 21]
    assert case.truth()["annotation"]["states"]["chin"] == "confirmed"


def test_buttons_wait_for_a_pose(open_window, volume):
    ui = open_window().module_widget.ui
    assert not ui.writeReportButton.enabled and not ui.saveCaseButton.enabled and not ui.openReportButton.enabled
    assert "Estimate a pose" in ui.writeReportButton.toolTip


def test_a_pose_without_its_volume_is_reported_without_a_name_alone(window, volume, scene, tmp_path):
    ui = window.module_widget.ui
    only(window, "Page")
    landmarks = window.module_widget.state.poseScene.landmarks_node
    scene.RemoveNode(volume)
    assert not ui.writeReportButton.enabled and ui.resultsTable.rowCount == 0
    window.click(ui.patientButton)  # "Show it"
    assert window.module_widget.state.poseScene.landmarks_node is landmarks
    window.click(ui.writeReportButton)
    assert "so the patient is unknown" in said(window) and not written(tmp_path)
    ui.reportWithoutIdentifiersCheckBox.setChecked(True)
    window.click(ui.writeReportButton)
    (path,) = written(tmp_path).values()
    assert path.name.startswith("report-0001.") and "Crown-rump length" in path.read_text(encoding="utf-8")
    window.click(ui.saveCaseButton)
    assert "not in the scene" in said(window)


@pytest.fixture
def samples(application, scene, tmp_path, monkeypatch):
    """The registered samples, with a cache of their own and only two frames."""
    import slicer
    from FetusMapV2Panel import sample_data

    from FetusMapV2Lib.phantom import speckle

    for density in ("_SAMPLES_AXIAL", "_SAMPLES_LATERAL"):  # fewer beams: nobody looks at the speckle
        monkeypatch.setattr(speckle, density, getattr(speckle, density) / 2)
    monkeypatch.setattr(slicer.modules, "sampleDataSources", {}, raising=False)
    cache = scene.GetCacheManager()
    before = cache.GetRemoteCacheDirectory()
    cache.SetRemoteCacheDirectory(str(tmp_path / "cache"))
    monkeypatch.setattr(sample_data, "_FRAMES", 2)
    sample_data.register()
    sample_data.register()
    yield {one.sampleName: one for one in slicer.modules.sampleDataSources["FetusMapV2"]}
    cache.SetRemoteCacheDirectory(before)


def test_samples_are_registered_once_with_their_thumbnails(samples):
    assert list(samples) == ["FetusMapV2Case", "FetusMapV2MovingCase"]
    for one in samples.values():
        assert Path(one.thumbnailFileName).stat().st_size > 5000


def test_a_sample_is_made_on_the_spot_and_kept(samples, tmp_path):
    node = samples["FetusMapV2Case"].click()
    assert node.IsA("vtkMRMLScalarVolumeNode") and node.GetName() == "FetusMapV2Case"
    assert node.GetImageData().GetDimensions() == (104, 104, 154)
    (kept,) = (tmp_path / "cache").glob("*.nrrd")
    made = kept.stat().st_mtime_ns
    assert samples["FetusMapV2Case"].click() is not node
    assert kept.stat().st_mtime_ns == made


def test_the_moving_sample_is_a_sequence(samples, application):
    node = samples["FetusMapV2MovingCase"].click()
    assert node.IsA("vtkMRMLSequenceNode") and node.GetNumberOfDataNodes() == 2
    assert (node.GetIndexUnit(), node.GetNthIndexValue(1)) == ("s", "0.25")


def test_a_sample_that_cannot_be_made_is_said_and_leaves_nothing(samples, tmp_path, monkeypatch):
    import slicer
    from FetusMapV2Panel import requirements

    told = []
    monkeypatch.setattr(requirements, "missingPackages", lambda: ["torch"])
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_: told.append(text))
    assert samples["FetusMapV2Case"].click() is None
    assert "packages are missing: torch" in told[0]
    assert not list(tmp_path.glob("cache/*.nrrd"))


def test_a_damaged_sample_in_the_cache_is_made_again_the_next_time(samples, tmp_path, caplog):
    damaged = tmp_path / "cache" / "fetusmapv2-case.nrrd"
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_bytes(b"NRRD0005\n")
    assert samples["FetusMapV2Case"].click() is None
    assert "damaged" in caplog.text and "Traceback" not in caplog.text
    assert not damaged.exists()
