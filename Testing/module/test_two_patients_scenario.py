"""Two patients in one scene: whatever is done in the panel, nothing of one is to be seen with the other."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from imaging.samples import enhanced_us, sample, save

pytestmark = pytest.mark.usefixtures("four_views")


class ClickActions:
    """Real clicks in the mini-Slicer's window."""

    def __init__(self, window: Any) -> None:
        self.window = window

    def click(self, button: Any) -> None:
        assert button.enabled and button.visible, button.objectName
        self.window.click(button)


@pytest.fixture
def patients(scene: Any) -> tuple[Any, Any]:
    from FetusMapV2Panel import synthetic_patients

    return synthetic_patients.addPatient(scene, 1, "right", 1.0), synthetic_patients.addPatient(scene, 2, "left", 1.15)


@pytest.fixture
def scenario(open_window: Any, patients: tuple[Any, Any], tmp_path: Path) -> Any:
    """The panel with the volumes of two patients, and the steps of their scenario."""
    from FetusMapV2Panel import synthetic_patients
    from FetusMapV2Panel.two_patients_scenario import TwoPatientsScenario

    engine = synthetic_patients.PatientsEngine(*patients)
    window = open_window(engine)
    return TwoPatientsScenario(window.module_widget, ClickActions(window), engine, *patients, tmp_path / "reports")


@pytest.fixture
def both(scenario: Any) -> Any:
    """Both have a pose, that of the second is shown."""
    scenario.openSections()
    for patient in scenario._a, scenario._b:
        scenario.select(patient)
        scenario.estimate()
    return scenario


def landmarks_of(patient: Any) -> Any:
    import slicer

    from FetusMapV2Lib.scene import ownership

    (landmarks,) = ownership.poses_of(slicer.mrmlScene, patient.node)
    return landmarks


def parameters(scenario: Any) -> Any:
    return scenario._state.parameterNode


def line(scenario: Any) -> str:
    return scenario._ui.patientLabel.text.replace("\u200b", "")


def test_nothing_of_the_other_patient_is_to_be_seen_after_any_step(open_window: Any, tmp_path: Path) -> None:
    from FetusMapV2Panel import selftest
    from FetusMapV2Panel.two_patients_scenario import TwoPatientsScenario

    window = open_window(selftest.EngineStandIn)
    TwoPatientsScenario.runWithTestPatients(window.module_widget, ClickActions(window), tmp_path / "reports")
    assert window.module_widget.logic.useEngines(selftest.EngineStandIn) is selftest.EngineStandIn


def test_keys_the_guide_map_and_placing_stay_with_the_patient(both: Any, patients: tuple[Any, Any]) -> None:
    import qt

    a, b = patients
    window = both._actions.window
    both.select(a)
    window.click_item(both._ui.landmarksTree, both._ui.landmarksTree.indexFromItem(_first(both._ui.landmarksTree)))
    before = tuple(landmarks_of(a).GetNthControlPointPositionVector(0))
    window.click(both._ui.placeButton)
    both._ui.guideMapCollapsibleButton.collapsed = True
    parameters(both).inputVolume = b.node
    parameters(both).landmarks = None
    both.checkShown(None)
    assert tuple(landmarks_of(a).GetNthControlPointPositionVector(0)) == before, "placing has ended"
    assert both._ui.guideMapLabel.pixmap.isNull(), "also where nobody sees it"
    for key in "NCMLE":
        window.press(getattr(qt.Qt, f"Key_{key}"))
    both._state.speaker = None
    for section in window.module_widget.sections:
        if hasattr(section, "onNextDoubtful"):
            section.onNextDoubtful()
    window.module_widget.logic.poseSceneOf(landmarks_of(a))
    assert set(window.module_widget.logic.poseSceneOf(landmarks_of(a)).states()) == {"estimated", "missing"}


def _first(tree: Any) -> Any:
    return tree.topLevelItem(0).child(0)


@pytest.mark.parametrize("saved", ["as it was", "by an earlier version"])
def test_a_loaded_scene_shows_the_pose_of_its_chosen_volume(
    both: Any, patients: tuple[Any, Any], scene: Any, tmp_path: Path, saved: str
) -> None:
    import slicer

    a, b = patients
    if saved != "as it was":  # the landmarks of one, the volume of the other
        node = parameters(both).parameterNode
        both._actions.window.module_widget.setParameterNode(None)
        node.SetNodeReferenceID("landmarks", landmarks_of(a).GetID())
        for pose in (a, b):
            landmarks_of(pose).GetDisplayNode().SetVisibility(True)
    identifiers = a.node.GetID(), b.node.GetID()
    assert slicer.util.saveScene(str(tmp_path / "two.mrb"))
    scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "two.mrb"))
    slicer.app.processEvents()
    a.node, b.node = (scene.GetNodeByID(identifier) for identifier in identifiers)
    b.secrets = (b.secrets[0], *b.secrets[3:])  # device and warnings are of the session
    both.checkShown(b)
    both.select(a)
    both.checkShown(a)


def test_landmarks_from_a_file_are_of_no_volume_until_somebody_says_so(
    both: Any, patients: tuple[Any, Any], scene: Any, tmp_path: Path
) -> None:
    import slicer

    a, b = patients
    path = tmp_path / "of a.mrk.json"
    assert slicer.util.saveNode(landmarks_of(a), str(path))
    scene.RemoveNode(landmarks_of(a))
    loaded = slicer.util.loadMarkups(str(path))
    both._ui.landmarksSelector.setCurrentNode(loaded)
    assert "belongs to no volume of the scene and is hidden" in line(both)
    both.checkShown(None)
    parameters(both).inputVolume = None
    both._ui.landmarksSelector.setCurrentNode(loaded)
    assert both._state.poseScene.landmarks_node is loaded and both._ui.resultsTable.rowCount > 0
    assert line(both).endswith("belongs to no volume of the scene.")
    both.select(b)
    both.checkShown(b)
    both.select(a)
    both.checkShown(None)
    both._ui.landmarksSelector.setCurrentNode(loaded)
    both._actions.click(both._ui.patientButton)
    a.secrets = (a.secrets[0], a.secrets[3])  # a file tells no device and no warnings
    both.checkShown(a)


def test_a_volume_deleted_meanwhile_takes_its_estimate_along(both: Any, patients: tuple[Any, Any], scene: Any) -> None:
    a, b = patients
    both.select(a)
    both._engine.meanwhile = lambda: scene.RemoveNode(a.node)
    both.estimate()
    both.checkShown(None)
    both._engine.meanwhile = lambda: None
    both.select(b)
    both.checkShown(b)


def test_an_undo_out_of_sight_is_said(both: Any, patients: tuple[Any, Any], scene: Any) -> None:
    """The step was made in a volume that is deleted by now."""
    a, b = patients
    both.select(a)
    both._actions.click(both._ui.swapAllButton)
    scene.RemoveNode(a.node)
    both.select(b)
    both._actions.click(both._ui.undoButton)
    assert "changed the pose of 3D volume fetus landmarks, which is hidden" in both._state.message
    both.checkShown(b)


def test_reports_name_the_patient_of_their_own_volume(
    both: Any, patients: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    files: dict[str, str] = {}
    for number, (patient, name) in enumerate(zip(patients, ("Doe^Jane", "Roe^Mary"), strict=True)):
        dataset = enhanced_us([sample()])
        dataset.PatientName, dataset.PatientID = name, f"P-{number}7"
        dataset.StudyInstanceUID = pydicom.uid.generate_uid()
        save(dataset, tmp_path / f"{number}.dcm")
        files[str(dataset.SOPInstanceUID)] = str(tmp_path / f"{number}.dcm")
        patient.node.SetAttribute("DICOM.instanceUIDs", str(dataset.SOPInstanceUID))
        patient.secrets += (name, name.replace("^", ", "), f"P-{number}7", str(dataset.StudyInstanceUID))
    database = SimpleNamespace(fileForInstance=lambda uid: files.get(uid, ""))
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    both._ui.reportFhirCheckBox.setChecked(True)
    both._ui.reportPdfCheckBox.setChecked(False)
    a, b = patients
    for own, other in ((b, a), (a, b)):
        both.select(own)
        slicer.util.setSliceViewerLayers(background=other.node)
        both._writeReport(own, other)
    reports = {pydicom.dcmread(path).PatientID for path in (tmp_path / "reports").glob("*.sr.dcm")}
    assert reports == {"P-07", "P-17"}


# ---- 4D


@pytest.fixture
def moving(both: Any, scene: Any) -> Any:
    """The sequence of a third patient, shown with the poses of all its frames."""
    from FetusMapV2Panel import pose_ownership, selftest, synthetic_patients

    browser = selftest.addSequence(scene, 3)
    sequence = browser.GetMasterSequenceNode()
    for frame in range(3):
        synthetic_patients.markVolume(sequence.GetNthDataNode(frame), 3)
    patient = synthetic_patients.SyntheticPatient(3, "right", 0.9, pose_ownership.volumeOf(browser))
    browser.SetSelectedItemNumber(1)
    patient.secrets = ("model 303", "device of 3", "warning of 3", patient.crl())
    both._engine._patients[3] = patient
    both._ui.sequenceSelector.setCurrentNode(browser)
    assert parameters(both).inputVolume is patient.node
    both.checkShown(None)
    both._actions.click(both._ui.estimateFramesButton)
    assert both._actions.window.wait_until(lambda: not both._state.running)
    return SimpleNamespace(browser=browser, patient=patient)


def test_a_sequence_is_a_patient_of_its_own(both: Any, patients: tuple[Any, Any], moving: Any, scene: Any) -> None:
    both.checkShown(moving.patient)
    assert both._ui.movementTable.rowCount > 0
    scene.AddNewNodeByClass("vtkMRMLPlotViewNode")
    both._actions.click(both._ui.showChartButton)
    plots = [view.GetPlotChartNodeID() for view in _views(scene)]
    assert any(plots)
    both.select(patients[1])
    both.checkShown(patients[1])
    assert both._ui.movementTable.rowCount == 0 and not both._ui.exportMovementButton.enabled
    assert not any(view.GetPlotChartNodeID() for view in _views(scene))
    moving.browser.SetSelectedItemNumber(2)
    both.checkShown(patients[1])
    both.select(moving.patient)
    both.checkShown(moving.patient)
    assert both._ui.movementTable.rowCount > 0


def _views(scene: Any) -> list[Any]:
    from FetusMapV2Lib.scene.node_lookup import nodes_by_class

    return nodes_by_class(scene, "vtkMRMLPlotViewNode")


def test_a_pose_of_one_frame_is_not_shown_on_another(both: Any, moving: Any, scene: Any) -> None:
    patient, browser = moving.patient, moving.browser
    scene.RemoveNode(landmarks_of(patient))
    both.checkShown(None)
    both.estimate()
    both.checkShown(patient)
    browser.SetSelectedItemNumber(2)
    both.checkShown(None)
    assert "The pose of frame 2 of" in line(both)
    both._actions.click(both._ui.patientButton)
    assert browser.GetSelectedItemNumber() == 1
    both.checkShown(patient)
    both._engine.meanwhile = lambda: browser.SetSelectedItemNumber(0)
    both.estimate()
    both.checkShown(None)
    browser.SetSelectedItemNumber(1)
    both.checkShown(patient)


def test_another_frame_on_show_meanwhile_keeps_its_own_landmarks(both: Any, moving: Any) -> None:
    landmarks, browser = landmarks_of(moving.patient), moving.browser
    browser.SetSelectedItemNumber(0)
    landmarks.SetNthControlPointPosition(0, 1.0, 2.0, 3.0)
    browser.SetSelectedItemNumber(1)
    both._engine.meanwhile = lambda: browser.SetSelectedItemNumber(0)
    both.estimate()
    np.testing.assert_allclose(landmarks.GetNthControlPointPositionVector(0), (1.0, 2.0, 3.0), atol=1e-6)


def test_no_fetus_in_a_sequence_hides_earlier_poses_of_its_frames(both: Any, moving: Any) -> None:
    both._engine.answer = "none"
    both._actions.click(both._ui.estimateFramesButton)
    assert both._actions.window.wait_until(lambda: not both._state.running)
    both.checkShown(None)
    assert both._ui.movementTable.rowCount == 0 and "has an earlier pose" in line(both)
    moving.browser.SetSelectedItemNumber(0)
    both.checkShown(None)
