"""Two patients in one scene, worked through in the panel: after every step nothing of the other one is visible.

The self-test inside Slicer and the tests of the repository run it, as they do `acceptance_scenario`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import slicer

from FetusMapV2Lib.scene import ownership
from FetusMapV2Panel import synthetic_patients
from FetusMapV2Panel.synthetic_patients import PatientsEngine, SyntheticPatient, addPatient
from FetusMapV2Panel.user_actions import UserActions, expect, sliceWidget

if TYPE_CHECKING:
    from FetusMapV2 import FetusMapV2Widget


class TwoPatientsScenario:
    """Patient A has limbs on the right side only, B on the left; their volumes have the same name.

    Args:
        widget: the widget of the module, open in the main window.
        actions: operate the panel.
        engine: the engine that the widget's logic uses.
        a: patient A, in the scene.
        b: patient B, in the scene.
        folder: folder for reports.

    Raises:
        AssertionError: data of the wrong patient are visible, or the right ones are not; the message says which.
    """

    def __init__(
        self,
        widget: FetusMapV2Widget,
        actions: UserActions,
        engine: PatientsEngine,
        a: SyntheticPatient,
        b: SyntheticPatient,
        folder: Path,
    ) -> None:
        self._state, self._ui, self._actions = widget.state, widget.ui, actions
        self._engine, self._a, self._b, self._folder = engine, a, b, folder

    @classmethod
    def runWithTestPatients(cls, widget: FetusMapV2Widget, actions: UserActions, folder: Path) -> None:
        """Run all steps with two new patients in the open scene; the panel's engines are restored afterwards."""
        a, b = addPatient(slicer.mrmlScene, 1, "right", 1.0), addPatient(slicer.mrmlScene, 2, "left", 1.15)
        engine = PatientsEngine(a, b)
        before = widget.logic.useEngines(engine)
        try:
            cls(widget, actions, engine, a, b, folder).run()
        finally:
            widget.logic.useEngines(before)

    def run(self) -> None:
        """Run all steps in order."""
        for step in (
            self.estimateFirstPatient,
            self.selectSecondPatient,
            self.estimateWithoutResult,
            self.returnToFirstPatientByButton,
            self.estimateSecondPatient,
            self.showFirstVolumeInSliceViews,
            self.reportSecondPatient,
            self.selectLandmarksOfFirstPatient,
            self.reportFirstPatient,
            self.undoDoesNotChangeOtherPatient,
            self.undoAndRedoEstimate,
            self.undoBySlicerMenu,
            self.estimateWithoutFetusHidesEarlierPose,
            self.renameVolume,
            self.selectOtherPatientDuringEstimate,
            self.deleteVolumes,
        ):
            step()

    # --- the steps

    def estimateFirstPatient(self) -> None:
        self.openSections()
        self.select(self._a)
        self.checkShown(None)
        self.estimate()
        self.checkShown(self._a)

    def selectSecondPatient(self) -> None:
        self.select(self._b)
        self.checkShown(None)
        expect("3D volume (2) has no pose yet. The pose of 3D volume (1) is hidden." in self._line(), self._line())
        for button in (self._ui.nextDoubtfulButton, self._ui.midsagittalButton, self._ui.writeReportButton):
            expect(not button.enabled, f"{button.objectName} is disabled without a pose")
        expect(not self._ui.saveCaseButton.enabled, "a case cannot be saved without a pose")

    def estimateWithoutResult(self) -> None:
        self._engine.answer = "none"
        self.estimate()
        expect("No fetus found." in self._state.message, self._state.message)
        self.checkShown(None)
        self._engine.answer = "error"
        self.estimate()
        expect(self._state.isError, "the error is shown")
        self.checkShown(None)
        self._engine.answer, self._engine.meanwhile = "found", self._state.cancel
        self.estimate()
        expect("Cancelled" in self._state.message, self._state.message)
        self._engine.meanwhile = lambda: None
        self.checkShown(None)

    def returnToFirstPatientByButton(self) -> None:
        self._actions.click(self._ui.patientButton)
        expect(self._state.patient.volume is self._a.node, "the volume is selected with its pose")
        self.checkShown(self._a)

    def estimateSecondPatient(self) -> None:
        self.select(self._b)
        self.estimate()
        expect(self._b.secrets[2] in self._state.message, self._state.message)
        self.checkShown(self._b)

    def showFirstVolumeInSliceViews(self) -> None:
        """Show A's volume in the slice views with Slicer's controls: no pose is drawn over it."""
        slicer.util.setSliceViewerLayers(background=self._a.node)
        sides = synthetic_patients.sidesInViews()
        expect(sides.pop("3D") == {self._b.side}, "the 3D view shows the pose")
        expect(not any(sides.values()), f"a pose is drawn over the volume of another patient: {sides}")

    def reportSecondPatient(self) -> None:
        """The report shows B's volume although the views show that of A."""
        self._writeReport(self._b, self._a)
        layers = sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
        expect(layers.GetBackgroundVolumeID() == self._a.node.GetID(), "the views are restored")

    def selectLandmarksOfFirstPatient(self) -> None:
        (landmarks,) = ownership.poses_of(slicer.mrmlScene, self._a.node)
        self._ui.landmarksSelector.setCurrentNode(landmarks)
        slicer.app.processEvents()
        expect(self._ui.inputSelector.currentNode() is self._a.node, "the volume of the landmarks is selected")
        self.checkShown(self._a)

    def reportFirstPatient(self) -> None:
        """Replace reports in the same folder: those of other volumes are kept."""
        before = synthetic_patients.fileTexts(self._folder)
        self._ui.replaceReportCheckBox.setChecked(True)
        self._writeReport(self._a, self._b)
        now = synthetic_patients.fileTexts(self._folder)
        expect({name: now[name] for name in before} == before, "the report of the other patient is unchanged")

    def undoDoesNotChangeOtherPatient(self) -> None:
        """The last step was the estimate of B."""
        self._actions.click(self._ui.undoButton)
        expect("another volume" in self._state.message, self._state.message)
        expect(len(ownership.all_poses(slicer.mrmlScene)) == 2, "the estimate of the other patient is unchanged")
        self.checkShown(self._a)

    def undoAndRedoEstimate(self) -> None:
        self.select(self._b)
        self._actions.click(self._ui.undoButton)
        self.checkShown(None)
        self._actions.click(self._ui.redoButton)
        self.checkShown(self._b)

    def undoBySlicerMenu(self) -> None:
        """Slicer's menu has one undo history for all patients: hidden changes are reported."""
        self.select(self._a)
        for go in (slicer.mrmlScene.Undo, slicer.mrmlScene.Redo):
            go()
            slicer.app.processEvents()
            expect("changed the pose of 3D volume (2)" in self._state.message, self._state.message)
            self.checkShown(self._a)

    def estimateWithoutFetusHidesEarlierPose(self) -> None:
        self._engine.answer = "none"
        self.estimate()
        self.checkShown(None)
        expect("has an earlier pose, which is hidden" in self._line(), self._line())
        self._actions.click(self._ui.patientButton)
        self.checkShown(self._a)
        expect("The newest estimate found no fetus" in self._line(), self._line())
        self._engine.answer = "found"
        self.estimate()
        self.checkShown(self._a)
        expect(not self._line(), self._line())

    def renameVolume(self) -> None:
        self.select(self._b)
        self._ui.landmarksSelector.setCurrentNode(None)
        self._a.node.SetName("another name")
        self.checkShown(None)
        self.select(self._a)
        self.checkShown(self._a)

    def selectOtherPatientDuringEstimate(self) -> None:
        """The result belongs to the volume that it was estimated from."""
        self._engine.meanwhile = lambda: setattr(self._state.parameterNode, "inputVolume", self._b.node)
        self.estimate()
        self._engine.meanwhile = lambda: None
        expect("another name has a new pose" in self._state.message, self._state.message)
        self.checkShown(self._b)

    def deleteVolumes(self) -> None:
        slicer.mrmlScene.RemoveNode(self._a.node)
        slicer.app.processEvents()
        self.checkShown(self._b)
        slicer.mrmlScene.RemoveNode(self._b.node)
        slicer.app.processEvents()
        self.checkShown(None)
        expect("not in the scene any more" in self._line(), self._line())

    # --- helpers

    def openSections(self) -> None:
        for name in ("estimate", "landmarks", "results", "movement", "report", "guideMap"):
            getattr(self._ui, f"{name}CollapsibleButton").collapsed = False

    def select(self, patient: SyntheticPatient) -> None:
        self._ui.inputSelector.setCurrentNode(patient.node)
        slicer.app.processEvents()

    def estimate(self) -> None:
        self._actions.click(self._ui.estimateButton)
        while self._state.running:
            slicer.app.processEvents()

    def _writeReport(self, own: SyntheticPatient, other: SyntheticPatient) -> None:
        before = set(synthetic_patients.fileTexts(self._folder)) if self._folder.exists() else set()
        self._ui.reportFolderEdit.currentPath = str(self._folder)
        self._actions.click(self._ui.writeReportButton)
        expect(not self._state.isError, self._state.message)
        files = {name: text for name, text in synthetic_patients.fileTexts(self._folder).items() if name not in before}
        expect(len(files) > 3, f"a report, not only {sorted(files)}")
        for name, text in files.items():
            found = [secret for secret in other.secrets if secret in text and not name.endswith(".pdf")]
            expect(not found, f"{name} contains {found} of the other patient")
        (page,) = (text for name, text in files.items() if name.endswith(".html"))
        expect(own.crl() in page and own.secrets[2] in page, "the page describes the patient himself")
        sides = synthetic_patients.sidesInPage(page)
        expect(sides == {own.side}, f"the pictures show {sides}")

    def checkShown(self, shown: SyntheticPatient | None) -> None:
        """Check that this patient's pose is visible everywhere, and no other pose anywhere; None = no pose at all."""
        own = shown.node if shown is not None else None
        poses = synthetic_patients.shownPoses()
        expect([ownership.volume_of(one) for one in poses] == [own] * len(poses), f"nodes of {poses} are shown")
        expect(len(poses) == (shown is not None), f"{len(poses)} poses are shown")
        text = synthetic_patients.shownTexts(self._ui)
        for patient in (self._a, self._b):
            found = [secret for secret in patient.secrets if secret in text]
            expect(patient is shown or not found, f"the panel contains {found}")
        expect((self._ui.resultsTable.rowCount > 0) == (shown is not None), "the table belongs to the shown pose")
        line = self._ui.resultLabel.text
        expect(("CRL" in line) == (shown is not None), f"the line of the result belongs to the shown pose: {line}")
        expect(shown is None or shown.crl() in line, f"the line has the length of the shown pose: {line}")
        expect(shown is None or shown.crl() in text, "the length of the shown pose is in the panel")
        expected = {shown.side} if shown is not None else set()
        for view, sides in synthetic_patients.sidesInViews().items():
            expect(sides == expected, f"{view} shows {sides}, not {expected}")
        expect(shown is None or self._state.patient.volume is own, "the selected volume is that of the pose")

    def _line(self) -> str:
        return self._ui.patientLabel.text
