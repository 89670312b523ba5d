"""One case from the volume to the report, worked through the panel as a sonographer would, and checked at every step.

It is told by the self-test inside Slicer and by the tests of the repository, which differ in their hands and engines.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import qt
import slicer
import vtk

from FetusMapV2Lib.anatomy.planes import midsagittal_plane
from FetusMapV2Lib.anatomy.schema import default_schema

_SCHEMA = default_schema()
_CREST, _RUMP = _SCHEMA.index("cranial_crest"), _SCHEMA.index("rump")
_POLL_MS, _PATIENCE_S = 20, 600.0


class UserActions(Protocol):
    """Works the panel and the views."""

    def click(self, button) -> None:
        """Press a button of the panel."""
        ...

    def choose(self, tree, item) -> None:
        """Choose an item of a list."""
        ...

    def drag(self, viewName: str, ras, byPixels: tuple[int, int]) -> None:
        """Drag what lies at a world point of a slice view."""
        ...

    def picture(self, name: str, widget) -> None:
        """Keep what is to be seen, with a widget of the panel in sight."""
        ...


class SlicerActions:
    """Hands inside Slicer: real signals of buttons, real mouse events of views, no pictures."""

    def click(self, button) -> None:
        button.click()
        slicer.app.processEvents()

    def choose(self, tree, item) -> None:
        tree.setCurrentItem(item)
        slicer.app.processEvents()

    def drag(self, viewName: str, ras, byPixels: tuple[int, int]) -> None:
        view = slicer.app.layoutManager().sliceWidget(viewName).sliceView()
        interactor = view.interactorStyle().GetInteractor()
        x, y = _pixel(viewName, ras)
        path = [(x + byPixels[0] * part / 4, y + byPixels[1] * part / 4) for part in range(5)]
        for event, points in (
            ("EnterEvent", path[:1]),
            ("MouseMoveEvent", path[:1]),
            ("LeftButtonPressEvent", path[:1]),
            ("MouseMoveEvent", path[1:]),
            ("LeftButtonReleaseEvent", path[-1:]),
        ):
            for at in points:
                interactor.SetEventInformation(round(at[0]), round(at[1]), 0, 0, "\0", 0, None)
                interactor.InvokeEvent(event)
                slicer.app.processEvents()

    def picture(self, name: str, widget) -> None:
        """The self-test keeps none."""


class AcceptanceScenario:
    """The case.

    Args:
        widget: of the module, open in the main window.
        hands: do what the user does.
        folder: for the report, the training case and the scene.
        loadVolume: loads a volume with a fetus, gives its node.
        loadSequence: loads a sequence of volumes, gives its browser.

    Raises:
        AssertionError: something is not as it should be; the message says what.
    """

    def __init__(
        self,
        widget,
        hands: UserActions,
        folder: Path,
        loadVolume: Callable[[], object],
        loadSequence: Callable[[], object],
    ):
        self._hands, self._folder = hands, folder
        self._loadVolume, self._loadSequence = loadVolume, loadSequence
        self._state, self._ui = widget.state, widget.ui

    def tell(self) -> None:
        """All of it, in order."""
        self.loadAndCancel()
        self.estimate()
        self.correctTwoLandmarks()
        self.refineAroundThem()
        self.swapSidesUndoRedo()
        self.turnToThePlane()
        self.writeReport()
        self.saveAndReopen()
        self.followMovement()

    # --- the steps

    def loadAndCancel(self) -> None:
        """Load, begin an estimate and think better of it: the scene is as it was."""
        volume = self._loadVolume()
        slicer.util.setSliceViewerLayers(background=volume, fit=True)
        self._ui.inputSelector.setCurrentNode(volume)
        self._show(self._ui.estimateCollapsibleButton, self._ui.resultsCollapsibleButton)
        before = slicer.mrmlScene.GetNumberOfNodes()
        self._estimateAndMeanwhile(lambda: self._hands.click(self._ui.cancelButton))
        _expect("Cancelled" in self._state.message, f"cancelled, but the panel says {self._state.message!r}")
        _expect(slicer.mrmlScene.GetNumberOfNodes() == before, "a cancelled estimate leaves the scene as it was")

    def estimate(self) -> None:
        """Estimate: 22 landmarks and their measurements."""
        self._estimateAndMeanwhile(lambda: self._hands.picture("progress", self._ui.progressBar), onTheWay=True)
        _expect(self._state.poseScene is not None, f"no pose: {self._state.message}")
        _expect(self._node().GetNumberOfControlPoints() == 22, "22 landmarks")
        _expect(self._crl().endswith("mm"), f"a crown-rump length, not {self._crl()!r}")
        self._hands.picture("estimate", self._ui.resultsTable)

    def correctTwoLandmarks(self) -> None:
        """Drag crown and rump; lengths follow, and the list says who was moved."""
        self._show(self._ui.landmarksCollapsibleButton)
        for row, byPixels in ((_CREST, (14, 10)), (_RUMP, (-12, -12))):
            self._hands.choose(self._ui.landmarksTree, self._item(row))
            before, length = self._positions(), self._crl()
            self._hands.drag("Red", before[row], byPixels)
            moved = np.linalg.norm(self._positions() - before, axis=1)
            _expect(moved[row] > 0.5, f"{_SCHEMA.landmarks[row].name} follows the mouse")
            _expect(np.delete(moved, row).max() == 0, "no other landmark moves")
            _expect(self._crl() != length, "the length follows")
            _expect(self._state.poseScene.states()[row] == "edited", "the landmark counts as edited")
        self._hands.picture("correct", self._ui.landmarksTree)

    def refineAroundThem(self) -> None:
        """The two stay, others follow."""
        before = self._positions()
        self._hands.click(self._ui.refineButton)
        self._wait()
        after = self._positions()
        _expect(not self._state.isError, self._state.message)
        _expect((after[[_CREST, _RUMP]] == before[[_CREST, _RUMP]]).all(), "edited landmarks stay")
        _expect(np.nanmax(np.linalg.norm(after - before, axis=1)) > 0.1, "others follow")
        self._hands.picture("refine", self._ui.refineButton)

    def swapSidesUndoRedo(self) -> None:
        """Left and right change; every step goes back and forth."""
        before = self._positions()
        swapped = before[list(_SCHEMA.mirror_rows)]
        self._hands.click(self._ui.swapAllButton)
        _expect(np.array_equal(self._positions(), swapped, equal_nan=True), "left and right are exchanged")
        for button, expected in (
            (self._ui.undoButton, before),
            (self._ui.redoButton, swapped),
            (self._ui.undoButton, before),
        ):
            self._hands.click(button)
            _expect(np.allclose(self._positions(), expected, atol=1e-6, equal_nan=True), "undo and redo")

    def turnToThePlane(self) -> None:
        """A slice view becomes the midsagittal plane of the fetus."""
        self._show(self._ui.resultsCollapsibleButton)
        self._hands.click(self._ui.allPlanesButton)
        plane, matrix = midsagittal_plane(self._positions()), _sliceNode("Yellow").GetSliceToRAS()
        normal = np.array([matrix.GetElement(row, 2) for row in range(3)])
        _expect(abs(normal @ plane.normal) > 0.999, "the view lies in the plane")
        self._hands.picture("planes", self._ui.midsagittalButton)

    def writeReport(self) -> None:
        """Page, PDF, table and DICOM SR, and the case for training."""
        self._show(self._ui.reportCollapsibleButton)
        self._ui.reportFolderEdit.currentPath = str(self._folder / "report")
        self._ui.trainingFolderEdit.currentPath = str(self._folder / "training")
        self._hands.click(self._ui.writeReportButton)
        self._wait()
        _expect(not self._state.isError, self._state.message)
        kinds = {path.suffix for path in (self._folder / "report").iterdir()}
        _expect({".html", ".pdf", ".csv", ".dcm"} <= kinds, f"report, not only {sorted(kinds)}")
        self._hands.picture("report", self._ui.writeReportButton)
        self._hands.click(self._ui.saveCaseButton)
        self._wait()
        _expect("2 of 22" in self._state.message, f"a training case, but the panel says {self._state.message!r}")

    def saveAndReopen(self) -> None:
        """The scene comes back live: states, lengths, and a landmark that can be dragged."""
        states, length = self._state.poseScene.states(), self._crl()
        path = self._folder / "case.mrb"
        _expect(slicer.util.saveScene(str(path)), "the scene is saved")
        slicer.mrmlScene.Clear(0)
        slicer.app.processEvents()
        _expect(self._state.poseScene is None, "an empty scene has no pose")
        slicer.util.loadScene(str(path))
        slicer.app.processEvents()
        _expect(self._state.poseScene is not None, "the pose comes back")
        _expect(self._state.poseScene.states() == states, "what was edited is known")
        _expect(self._crl() == length, "lengths are the same")
        slicer.util.setSliceViewerLayers(background=self._state.poseScene.volume_node, fit=True)
        self._show(self._ui.landmarksCollapsibleButton)
        self._hands.choose(self._ui.landmarksTree, self._item(_CREST))
        self._hands.drag("Red", self._positions()[_CREST], (10, -14))
        _expect(self._crl() != length, "the reopened pose follows a drag")

    def followMovement(self) -> None:
        """The next case, in 4D: every frame has its landmarks; the table says who moves."""
        slicer.mrmlScene.Clear(0)
        slicer.app.processEvents()
        browser = self._loadSequence()
        self._show(self._ui.movementCollapsibleButton)
        self._ui.sequenceSelector.setCurrentNode(browser)
        self._hands.click(self._ui.estimateFramesButton)
        self._wait()
        _expect(self._ui.movementTable.rowCount > 0, f"movement, but the panel says {self._state.message!r}")
        first = self._positions()
        self._hands.click(self._ui.nextFrameButton)
        _expect(not np.array_equal(self._positions(), first, equal_nan=True), "the next frame has its own landmarks")
        self._hands.click(self._ui.showChartButton)
        self._hands.picture("movement", self._ui.movementTable)

    # --- what the steps have in common

    def _estimateAndMeanwhile(self, act: Callable[[], None], onTheWay: bool = False) -> None:
        """Press Estimate; as soon as a stage is on show, or some way is done, act; wait for the end."""
        done = []
        timer = qt.QTimer()
        timer.setInterval(_POLL_MS)

        def look() -> None:
            far = self._state.fraction > 0.2 if onTheWay else bool(self._state.stage)
            if not done and self._state.running and far and self._ui.cancelButton.visible:
                done.append(True)
                timer.stop()
                act()

        timer.connect("timeout()", look)
        timer.start()
        self._hands.click(self._ui.estimateButton)
        self._wait()
        timer.stop()
        timer.disconnect("timeout()", look)
        _expect(bool(done), "progress is on show while the engine works")

    def _wait(self) -> None:
        end = time.monotonic() + _PATIENCE_S
        while self._state.running:
            _expect(time.monotonic() < end, "the engine takes too long")
            slicer.app.processEvents()
            time.sleep(_POLL_MS / 1000)
        slicer.app.processEvents()

    def _show(self, *opened) -> None:
        """Open some parts of the panel and close the others."""
        for name in ("estimate", "landmarks", "results", "movement", "report", "guideMap", "options"):
            button = getattr(self._ui, f"{name}CollapsibleButton")
            button.collapsed = not any(button is one for one in opened)
        slicer.app.processEvents()

    def _node(self):
        return self._state.poseScene.landmarks_node

    def _positions(self) -> np.ndarray:
        return np.array(self._state.pose().positions)

    def _crl(self) -> str:
        """The crown-rump length as the table has it."""
        return self._ui.resultsTable.item(0, 1).text()

    def _item(self, row: int):
        group = _SCHEMA.landmarks[row].group
        branch = self._ui.landmarksTree.topLevelItem(_SCHEMA.groups.index(group))
        return branch.child(_SCHEMA.rows(group).index(row))


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)


def _sliceNode(viewName: str):
    return slicer.app.layoutManager().sliceWidget(viewName).sliceLogic().GetSliceNode()


def _pixel(viewName: str, ras) -> tuple[float, float]:
    """Where a world point is in a slice view, counted from the lower left."""
    inverse = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(_sliceNode(viewName).GetXYToRAS(), inverse)
    return inverse.MultiplyPoint([*ras, 1.0])[:2]
