"""Two patients in one scene, worked through the panel: after every step nothing of the other one is to be seen.

Told by the self-test inside Slicer and by the tests of the repository, as `story` is.
"""

from __future__ import annotations

from pathlib import Path

import slicer

from FetusMapV2Lib.scene import ownership
from FetusMapV2Panel import onlookers
from FetusMapV2Panel.acceptance_scenario import UserActions
from FetusMapV2Panel.onlookers import MadeUpPatient, PatientsEngine, addPatient


class TwoPatients:
    """A has limbs on the right side alone, B on the left; their volumes have the same name.

    Args:
        widget: of the module, open in the main window.
        hands: do what the user does.
        engine: that the widget's logic takes.
        folder: for reports.

    Raises:
        AssertionError: something of the wrong patient can be seen, or the right one cannot; the message says what.
    """

    def __init__(
        self, widget, hands: UserActions, engine: PatientsEngine, a: MadeUpPatient, b: MadeUpPatient, folder: Path
    ):
        self._state, self._ui, self._hands = widget.state, widget.ui, hands
        self._engine, self._a, self._b, self._folder = engine, a, b, folder

    @classmethod
    def tellWith(cls, widget, hands: UserActions, folder: Path) -> None:
        """All of it with made-up patients in the open scene; the panel has its own engines again afterwards."""
        a, b = addPatient(slicer.mrmlScene, 1, "right", 1.0), addPatient(slicer.mrmlScene, 2, "left", 1.15)
        engine = PatientsEngine(a, b)
        before = widget.logic.useEngines(engine)
        try:
            cls(widget, hands, engine, a, b, folder).tell()
        finally:
            widget.logic.useEngines(before)

    def tell(self) -> None:
        """All of it, in order."""
        for step in (
            self.estimateTheFirst,
            self.chooseTheSecond,
            self.noFetusErrorAndCancel,
            self.backByOneClick,
            self.estimateTheSecond,
            self.anotherVolumeInTheViews,
            self.reportTheSecond,
            self.chooseLandmarks,
            self.reportTheFirst,
            self.undoStaysWithThePatient,
            self.undoAndRedoAnEstimate,
            self.slicersOwnUndo,
            self.noFetusWhereOneWas,
            self.rename,
            self.chooseAnotherMeanwhile,
            self.delete,
        ):
            step()

    # --- the steps

    def estimateTheFirst(self) -> None:
        self.openSections()
        self.choose(self._a)
        self.check(None)
        self.estimate()
        self.check(self._a)

    def chooseTheSecond(self) -> None:
        self.choose(self._b)
        self.check(None)
        self._expect(
            "3D volume (2) has no pose yet. The pose of 3D volume (1) is hidden." in self._line(), self._line()
        )
        for button in (self._ui.nextDoubtfulButton, self._ui.midsagittalButton, self._ui.writeReportButton):
            self._expect(not button.enabled, f"{button.objectName} has nothing to work on")
        self._expect(not self._ui.saveCaseButton.enabled, "there is nothing to save")

    def noFetusErrorAndCancel(self) -> None:
        self._engine.answer = "none"
        self.estimate()
        self._expect("No fetus found." in self._state.message, self._state.message)
        self.check(None)
        self._engine.answer = "error"
        self.estimate()
        self._expect(self._state.isError, "the error is said")
        self.check(None)
        self._engine.answer, self._engine.meanwhile = "found", self._state.cancel
        self.estimate()
        self._expect("Cancelled" in self._state.message, self._state.message)
        self._engine.meanwhile = lambda: None
        self.check(None)

    def backByOneClick(self) -> None:
        self._hands.click(self._ui.patientButton)
        self._expect(self._state.patient.volume is self._a.node, "the volume is chosen with its pose")
        self.check(self._a)

    def estimateTheSecond(self) -> None:
        self.choose(self._b)
        self.estimate()
        self._expect(self._b.secrets[2] in self._state.message, self._state.message)
        self.check(self._b)

    def anotherVolumeInTheViews(self) -> None:
        """Slicer's own controls put another patient's volume into the slice views: no pose is drawn over it."""
        slicer.util.setSliceViewerLayers(background=self._a.node)
        sides = onlookers.sidesInViews()
        self._expect(sides.pop("3D") == {self._b.side}, "the 3D view shows the pose")
        self._expect(not any(sides.values()), f"a pose is drawn over another volume: {sides}")

    def reportTheSecond(self) -> None:
        """The views show the other volume, and yet the pictures are of the pose's own."""
        self._report(self._b, self._a)
        layers = slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
        self._expect(layers.GetBackgroundVolumeID() == self._a.node.GetID(), "the views are as they were")

    def chooseLandmarks(self) -> None:
        (landmarks,) = ownership.poses_of(slicer.mrmlScene, self._a.node)
        self._ui.landmarksSelector.setCurrentNode(landmarks)
        slicer.app.processEvents()
        self._expect(self._ui.inputSelector.currentNode() is self._a.node, "the volume follows its landmarks")
        self.check(self._a)

    def reportTheFirst(self) -> None:
        """Into the same folder, replacing what is there: only reports of the same volume are replaced."""
        before = onlookers.filesTell(self._folder)
        self._ui.replaceReportCheckBox.setChecked(True)
        self._report(self._a, self._b)
        now = onlookers.filesTell(self._folder)
        self._expect({name: now[name] for name in before} == before, "the other patient's report is as it was")

    def undoStaysWithThePatient(self) -> None:
        """The last step was the other's estimate."""
        self._hands.click(self._ui.undoButton)
        self._expect("another volume" in self._state.message, self._state.message)
        self._expect(len(ownership.all_poses(slicer.mrmlScene)) == 2, "the other's estimate is left alone")
        self.check(self._a)

    def undoAndRedoAnEstimate(self) -> None:
        self.choose(self._b)
        self._hands.click(self._ui.undoButton)
        self.check(None)
        self._hands.click(self._ui.redoButton)
        self.check(self._b)

    def slicersOwnUndo(self) -> None:
        """Slicer's menu knows one history for all patients."""
        self.choose(self._a)
        for go in (slicer.mrmlScene.Undo, slicer.mrmlScene.Redo):
            go()
            slicer.app.processEvents()
            self._expect("changed the pose of 3D volume (2)" in self._state.message, self._state.message)
            self.check(self._a)

    def noFetusWhereOneWas(self) -> None:
        self._engine.answer = "none"
        self.estimate()
        self.check(None)
        self._expect("has an earlier pose, which is hidden" in self._line(), self._line())
        self._hands.click(self._ui.patientButton)
        self.check(self._a)
        self._expect("The newest estimate found no fetus" in self._line(), self._line())
        self._engine.answer = "found"
        self.estimate()
        self.check(self._a)
        self._expect(not self._line(), self._line())

    def rename(self) -> None:
        self.choose(self._b)
        self._ui.landmarksSelector.setCurrentNode(None)
        self._a.node.SetName("another name")
        self.check(None)
        self.choose(self._a)
        self.check(self._a)

    def chooseAnotherMeanwhile(self) -> None:
        """The result goes to the volume that it was estimated from."""
        self._engine.meanwhile = lambda: setattr(self._state.parameterNode, "inputVolume", self._b.node)
        self.estimate()
        self._engine.meanwhile = lambda: None
        self._expect("another name has a new pose" in self._state.message, self._state.message)
        self.check(self._b)

    def delete(self) -> None:
        slicer.mrmlScene.RemoveNode(self._a.node)
        slicer.app.processEvents()
        self.check(self._b)
        slicer.mrmlScene.RemoveNode(self._b.node)
        slicer.app.processEvents()
        self.check(None)
        self._expect("not in the scene any more" in self._line(), self._line())

    # --- what the steps have in common

    def openSections(self) -> None:
        for name in ("estimate", "landmarks", "results", "movement", "report", "guideMap"):
            getattr(self._ui, f"{name}CollapsibleButton").collapsed = False

    def choose(self, patient: MadeUpPatient) -> None:
        self._ui.inputSelector.setCurrentNode(patient.node)
        slicer.app.processEvents()

    def estimate(self) -> None:
        self._hands.click(self._ui.estimateButton)
        while self._state.running:
            slicer.app.processEvents()

    def _report(self, own: MadeUpPatient, other: MadeUpPatient) -> None:
        before = set(onlookers.filesTell(self._folder)) if self._folder.exists() else set()
        self._ui.reportFolderEdit.currentPath = str(self._folder)
        self._hands.click(self._ui.writeReportButton)
        self._expect(not self._state.isError, self._state.message)
        files = {name: text for name, text in onlookers.filesTell(self._folder).items() if name not in before}
        self._expect(len(files) > 3, f"a report, not only {sorted(files)}")
        for name, text in files.items():
            told = [secret for secret in other.secrets if secret in text and not name.endswith(".pdf")]
            self._expect(not told, f"{name} tells {told} of the other patient")
        (page,) = (text for name, text in files.items() if name.endswith(".html"))
        self._expect(own.crl() in page and own.secrets[2] in page, "the page tells of the patient himself")
        sides = onlookers.sidesInPage(page)
        self._expect(sides == {own.side}, f"the pictures show {sides}")

    def check(self, shown: MadeUpPatient | None) -> None:
        """This patient's pose is to be seen everywhere, and nobody else's anywhere; None = nobody's."""
        own = shown.node if shown is not None else None
        poses = onlookers.shownPoses()
        self._expect([ownership.volume_of(one) for one in poses] == [own] * len(poses), f"nodes of {poses} are shown")
        self._expect(len(poses) == (shown is not None), f"{len(poses)} poses are shown")
        text = onlookers.textsOf(self._ui)
        for patient in (self._a, self._b):
            told = [secret for secret in patient.secrets if secret in text]
            self._expect(patient is shown or not told, f"the panel tells {told}")
        self._expect((self._ui.resultsTable.rowCount > 0) == (shown is not None), "the table is of the pose on show")
        self._expect(shown is None or shown.crl() in text, "the length of the pose on show is told")
        expected = {shown.side} if shown is not None else set()
        for view, sides in onlookers.sidesInViews().items():
            self._expect(sides == expected, f"{view} shows {sides}, not {expected}")
        self._expect(shown is None or self._state.patient.volume is own, "the chosen volume is that of the pose")

    def _line(self) -> str:
        return self._ui.patientLabel.text

    def _expect(self, holds: bool, what: str) -> None:
        if not holds:
            raise AssertionError(what)
