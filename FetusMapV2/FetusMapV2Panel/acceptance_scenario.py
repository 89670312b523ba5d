"""One case from the volume to the report, worked through in the panel as by a sonographer and checked at every step.

The self-test inside Slicer and the tests of the repository run it, with different `UserActions` and engines.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import ctk
import numpy as np
import qt
import slicer

from FetusMapV2Lib.anatomy.planes import midsagittal_plane
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.scene.control_points import world_positions
from FetusMapV2Panel.nodes import BrowserNode, LandmarksNode, VolumeNode
from FetusMapV2Panel.user_actions import UserActions, expect, sliceNode, sliceWidget

if TYPE_CHECKING:
    from FetusMapV2 import FetusMapV2Widget
    from FetusMapV2Lib.scene.pose_scene import PoseScene

_SCHEMA = default_schema()
_CREST, _RUMP = _SCHEMA.index("cranial_crest"), _SCHEMA.index("rump")
_SIZES = ("HC", "BPD", "OFD", "AC")
#: Parts of the panel that a step opens and closes.
_COLLAPSIBLE = (
    *("estimate", "landmarks", "results", "headAbdomen", "nuchal"),
    *("views", "movement", "report", "guideMap", "options"),
)
_POLL_MS, _TIMEOUT_S = 20, 600.0
#: Cosine between the normals of planes that are the same to the eye; an edit turns the plane of the fetus a little.
_PARALLEL = 0.999


class AcceptanceScenario:
    """The steps of the case.

    Args:
        widget: the widget of the module, open in the main window.
        actions: operate the panel and the views.
        folder: folder for the report, the training case and the scene.
        loadVolume: loads a volume with a fetus and returns its node.
        loadSequence: loads a sequence of volumes and returns its browser node.

    Raises:
        AssertionError: an expectation does not hold; the message says which.
    """

    def __init__(
        self,
        widget: FetusMapV2Widget,
        actions: UserActions,
        folder: Path,
        loadVolume: Callable[[], VolumeNode],
        loadSequence: Callable[[], BrowserNode],
    ) -> None:
        self._actions, self._folder = actions, folder
        self._loadVolume, self._loadSequence = loadVolume, loadSequence
        self._state, self._ui = widget.state, widget.ui

    def run(self) -> None:
        """Run all steps in order."""
        self.cancelEstimate()
        self.estimate()
        self.reviewDoubtfulLandmarks()
        self.correctTwoLandmarks()
        self.refineAroundCorrections()
        self.swapSidesUndoAndRedo()
        self.switchViews()
        self.measureHeadAndAbdomen()
        self.measureNuchalTranslucency()
        self.writeReport()
        self.saveAndReopenScene()
        self.estimateMovement()

    # --- the steps

    def cancelEstimate(self) -> None:
        """Load a volume, start an estimate and cancel it: the scene does not change."""
        volume = self._loadVolume()
        slicer.util.setSliceViewerLayers(background=volume, fit=True)
        self._ui.inputSelector.setCurrentNode(volume)
        self._show(self._ui.estimateCollapsibleButton, self._ui.resultsCollapsibleButton)
        before = slicer.mrmlScene.GetNumberOfNodes()
        self._estimateAndMeanwhile(lambda: self._actions.click(self._ui.cancelButton))
        expect("Cancelled" in self._state.message, f"'Cancelled', not {self._state.message!r}")
        expect(slicer.mrmlScene.GetNumberOfNodes() == before, "a cancelled estimate does not change the scene")

    def estimate(self) -> None:
        """Estimate 22 landmarks and their measurements."""
        self._estimateAndMeanwhile(lambda: self._actions.screenshot("progress", self._ui.progressBar), atAFifth=True)
        expect(self._state.poseScene is not None, f"no pose: {self._state.message}")
        expect(self._node().GetNumberOfControlPoints() == 22, "22 landmarks")
        expect(self._crl().endswith("mm"), f"a crown-rump length, not {self._crl()!r}")
        expect(f"CRL {self._crl()} · " in self._line(), f"the line of the result has the length: {self._line()!r}")
        expect(self._showsPlanes(), "each slice view shows its plane of the fetus")
        expect(len(self._fetus().slice_skeleton_nodes) >= 3, "each slice view shows the projected skeleton")
        self._actions.screenshot("estimate", self._ui.resultsTable)

    def reviewDoubtfulLandmarks(self) -> None:
        """Go from the line of the result to each doubtful landmark; names are those of its group."""
        doubtful = [row for row, one in enumerate(self._fetus().current().doubtful) if one]
        for number in range(len(doubtful)):
            self._actions.clickLink(self._ui.resultLabel, "doubtful")
            row = self._state.currentLandmark
            expect(row in doubtful, f"the link leads to a doubtful landmark, not to row {row}")
            group = _SCHEMA.rows(_SCHEMA.landmarks[row or 0].group)
            names = self._fetus().names_node
            shown = [one for one in range(_SCHEMA.count) if names.GetNthControlPointVisibility(one)]
            expect(shown == list(group), f"names of one group, not of {shown}")
            expect(number > 0 or not self._ui.landmarksCollapsibleButton.collapsed, "the list is open")

    def correctTwoLandmarks(self) -> None:
        """Drag crown and rump: the length is updated, and the list shows which landmarks were edited."""
        self._show(self._ui.landmarksCollapsibleButton)
        for row, byPixels in ((_CREST, (14, 10)), (_RUMP, (-12, -12))):
            self._actions.select(self._ui.landmarksTree, self._item(row))
            before, length = self._positions(), self._crl()
            self._actions.drag("Red", before[row], byPixels)
            moved = np.linalg.norm(self._positions() - before, axis=1)
            expect(moved[row] > 0.5, f"{_SCHEMA.landmarks[row].name} follows the mouse")
            expect(np.delete(moved, row).max() == 0, "no other landmark moves")
            expect(self._crl() != length, "the length is updated")
            expect(f"CRL {self._crl()} · " in self._line(), "the line of the result follows")
            expect(self._fetus().calliper_node.GetName() == f"CRL {self._crl().split()[0]} mm", "the calliper follows")
            expect(self._fetus().states()[row] == "edited", "the landmark counts as edited")
        self._actions.screenshot("correct", self._ui.landmarksTree)

    def refineAroundCorrections(self) -> None:
        """Refine: edited landmarks do not move, others do."""
        before = self._positions()
        self._actions.click(self._ui.refineButton)
        self._wait()
        after = self._positions()
        expect(not self._state.isError, self._state.message)
        expect((after[[_CREST, _RUMP]] == before[[_CREST, _RUMP]]).all(), "edited landmarks do not move")
        expect(np.nanmax(np.linalg.norm(after - before, axis=1)) > 0.1, "other landmarks move")
        self._actions.screenshot("refine", self._ui.refineButton)

    def swapSidesUndoAndRedo(self) -> None:
        """Swap left and right; undo and redo it."""
        before = self._positions()
        swapped = before[list(_SCHEMA.mirror_rows)]
        self._actions.click(self._ui.swapAllButton)
        expect(np.array_equal(self._positions(), swapped, equal_nan=True), "left and right are exchanged")
        for button, expected in (
            (self._ui.undoButton, before),
            (self._ui.redoButton, swapped),
            (self._ui.undoButton, before),
        ):
            self._actions.click(button)
            expect(np.allclose(self._positions(), expected, atol=1e-6, equal_nan=True), "undo and redo")

    def switchViews(self) -> None:
        """Turn the slices back to the volume and to the fetus again; switch the parts of the pose off and on."""
        self._show(self._ui.viewsCollapsibleButton)
        self._actions.click(self._ui.ownAxesButton)
        expect(not self._showsPlanes(), "the slice views show the axes of the volume")
        self._actions.screenshot("axes", self._ui.ownAxesButton)
        self._actions.click(self._ui.allPlanesButton)
        expect(self._showsPlanes(), "each slice view shows its plane of the fetus")
        displays = [node.GetDisplayNode() for node in self._fetus().all_nodes]
        before = [bool(display.GetVisibility()) for display in displays]
        for box in (self._ui.showNamesCheckBox, self._ui.showSkeletonCheckBox, self._ui.showPlaneCheckBox):
            self._actions.click(box)
        off = [bool(display.GetVisibility()) for display in displays]
        expect(off[0] and sum(off) < sum(before), "names, skeleton and plane are hidden, the landmarks are not")
        for box in (self._ui.showNamesCheckBox, self._ui.showSkeletonCheckBox, self._ui.showPlaneCheckBox):
            self._actions.click(box)
        expect([bool(display.GetVisibility()) for display in displays] == before, "they are shown again")
        self._actions.screenshot("planes", self._ui.midsagittalButton)

    def measureHeadAndAbdomen(self) -> None:
        """Go to the plane of the head, drag a handle of its ellipse if one was found, and return to what was found."""
        ui, sections = self._ui, self._fetus().sections
        self._show(ui.headAbdomenCollapsibleButton)
        self._actions.click(ui.headPlaneButton)
        expect(ui.sectionsTable.rowCount == len(_SIZES), "HC, BPD, OFD and AC, found or not")
        shown = sections.sections()
        plane = None if shown is None else shown.head.plane
        faces = plane is not None and bool(abs(_normal("Red") @ plane.normal) > _PARALLEL)
        expect(faces, "the Red view shows the plane")
        handles, found = world_positions(sections.handles("head")), ui.sectionsTable.item(0, 1).text()
        if not np.isnan(handles).any():
            self._actions.drag("Red", handles[0], (16, 0))
            expect(bool(sections.sections_by_hand()), "the ellipse is set by hand")
            expect(ui.sectionsTable.item(0, 1).text() != found, "the circumference follows the handle")
        self._actions.screenshot("head", ui.sectionsTable)
        if sections.sections_by_hand():
            self._actions.click(ui.proposeAgainButton)
        expect(ui.sectionsTable.item(0, 1).text() == found, "what was found is shown again")
        if not np.isnan(handles).any():
            view = sliceWidget("Red").sliceLogic()
            view.SetSliceOffset(view.GetSliceOffset() + 1.0)
            self._actions.click(ui.shownPlaneButton)
            shifts = np.abs((world_positions(sections.handles("head")) - handles) @ _normal("Red"))
            expect(bool((shifts > 0.5).all()), f"the ellipse lies in the plane that is shown: {self._state.message!r}")
            self._actions.click(ui.proposeAgainButton)

    def measureNuchalTranslucency(self) -> None:
        """Magnify the neck and drag two callipers; refused, with the reason, at other crown-rump lengths."""
        ui, sections = self._ui, self._fetus().sections
        self._show(ui.nuchalCollapsibleButton)
        self._actions.click(ui.nuchalViewButton)
        if ui.nuchalTryButton.enabled:
            self._actions.click(ui.nuchalTryButton)
            for end, byPixels in ((0, (5, 4)), (1, (14, 6))):
                self._actions.drag("Yellow", world_positions(sections.nuchal)[end], byPixels)
            expect(len(sections.tries()) == 1, "the try counts once both callipers were moved")
            expect(" mm, one try" in ui.nuchalLabel.text, f"a value, not {ui.nuchalLabel.text!r}")
        else:
            expect("45 to 84 mm" in ui.nuchalLabel.text, f"a reason, not {ui.nuchalLabel.text!r}")
        self._actions.screenshot("nuchal", ui.nuchalLabel)

    def writeReport(self) -> None:
        """Write page, PDF, table and DICOM SR, and a training case."""
        self._show(self._ui.reportCollapsibleButton)
        self._ui.reportFolderEdit.currentPath = str(self._folder / "report")
        self._ui.trainingFolderEdit.currentPath = str(self._folder / "training")
        self._actions.click(self._ui.writeReportButton)
        self._wait()
        expect(not self._state.isError, self._state.message)
        kinds = {path.suffix for path in (self._folder / "report").iterdir()}
        expect({".html", ".pdf", ".csv", ".dcm"} <= kinds, f"all files of a report, not only {sorted(kinds)}")
        self._actions.screenshot("report", self._ui.writeReportButton)
        self._actions.click(self._ui.saveCaseButton)
        self._wait()
        expect("2 of 22" in self._state.message, f"a training case, not {self._state.message!r}")

    def saveAndReopenScene(self) -> None:
        """Save and load the scene: states and lengths are restored, and landmarks can be dragged."""
        states, length, tries = self._fetus().states(), self._crl(), len(self._fetus().sections.tries())
        path = self._folder / "case.mrb"
        expect(slicer.util.saveScene(str(path)), "the scene is saved")
        slicer.mrmlScene.Clear(0)
        slicer.app.processEvents()
        expect(self._state.poseScene is None, "an empty scene has no pose")
        slicer.util.loadScene(str(path))
        slicer.app.processEvents()
        expect(self._state.poseScene is not None, "the pose is restored")
        expect(self._fetus().states() == states, "the states are restored")
        expect(len(self._fetus().sections.tries()) == tries, "the callipers are restored")
        expect(self._crl() == length, "the length is restored")
        slicer.util.setSliceViewerLayers(background=self._fetus().volume_node, fit=True)
        self._show(self._ui.landmarksCollapsibleButton)
        self._actions.select(self._ui.landmarksTree, self._item(_CREST))
        self._actions.drag("Red", self._positions()[_CREST], (10, -14))
        expect(self._crl() != length, "the length of the restored pose is updated")

    def estimateMovement(self) -> None:
        """Estimate all frames of a sequence: every frame has landmarks, and the table shows the movement."""
        slicer.mrmlScene.Clear(0)
        slicer.app.processEvents()
        browser = self._loadSequence()
        self._show(self._ui.movementCollapsibleButton)
        self._ui.sequenceSelector.setCurrentNode(browser)
        self._actions.click(self._ui.estimateFramesButton)
        self._wait()
        expect(self._ui.movementTable.rowCount > 0, f"movement, not {self._state.message!r}")
        first = self._positions()
        self._actions.click(self._ui.nextFrameButton)
        expect(not np.array_equal(self._positions(), first, equal_nan=True), "the next frame has its own landmarks")
        self._actions.click(self._ui.showChartButton)
        self._actions.screenshot("movement", self._ui.movementTable)

    # --- helpers

    def _estimateAndMeanwhile(self, act: Callable[[], None], atAFifth: bool = False) -> None:
        """Start an estimate, act once it shows a stage, or a fifth of its progress, and wait for its end."""
        acted: list[bool] = []
        timer = qt.QTimer()
        timer.setInterval(_POLL_MS)

        def poll() -> None:
            due = self._state.fraction > 0.2 if atAFifth else bool(self._state.stage)
            if not acted and self._state.running and due and self._ui.cancelButton.visible:
                acted.append(True)
                timer.stop()
                act()

        timer.connect("timeout()", poll)
        timer.start()
        self._actions.click(self._ui.estimateButton)
        self._wait()
        timer.stop()
        timer.disconnect("timeout()", poll)
        expect(bool(acted), "progress is shown while the engine works")

    def _wait(self) -> None:
        end = time.monotonic() + _TIMEOUT_S
        while self._state.running:
            expect(time.monotonic() < end, "the engine takes too long")
            slicer.app.processEvents()
            time.sleep(_POLL_MS / 1000)
        slicer.app.processEvents()

    def _show(self, *opened: ctk.ctkCollapsibleButton) -> None:
        """Expand these parts of the panel and collapse the others."""
        for name in _COLLAPSIBLE:
            button = getattr(self._ui, f"{name}CollapsibleButton")
            button.collapsed = not any(button is one for one in opened)
        slicer.app.processEvents()

    def _node(self) -> LandmarksNode:
        return self._fetus().landmarks_node

    def _fetus(self) -> PoseScene:
        assert self._state.poseScene is not None
        return self._state.poseScene

    def _positions(self) -> np.ndarray:
        return np.array(self._fetus().pose().positions)

    def _crl(self) -> str:
        """The crown-rump length in the table."""
        return self._ui.resultsTable.item(0, 1).text()

    def _line(self) -> str:
        """The line of the result as it is read."""
        return re.sub("<[^>]*>", "", self._ui.resultLabel.text)

    def _showsPlanes(self) -> bool:
        """Whether the slice views show transverse, midsagittal and coronal plane of the fetus."""
        plane = midsagittal_plane(self._positions(), _SCHEMA)
        if plane is None:
            return False
        wanted = {"Red": plane.y_axis, "Yellow": plane.normal, "Green": plane.x_axis}
        return all(abs(_normal(view) @ axis) > _PARALLEL for view, axis in wanted.items())

    def _item(self, row: int) -> qt.QTreeWidgetItem:
        group = _SCHEMA.landmarks[row].group
        branch = self._ui.landmarksTree.topLevelItem(_SCHEMA.groups.index(group))
        return branch.child(_SCHEMA.rows(group).index(row))


def _normal(view: str) -> np.ndarray:
    matrix = sliceNode(view).GetSliceToRAS()
    return np.array([matrix.GetElement(row, 2) for row in range(3)])
