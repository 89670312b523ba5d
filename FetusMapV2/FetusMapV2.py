"""FetusMapV2: estimates the pose of a 10-15 week fetus in a 3D ultrasound volume and measures it. Research use only.

Glue between Slicer and FetusMapV2Lib; whatever runs without Qt lives there.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

try:
    import FetusMapV2Lib  # noqa: F401
except ModuleNotFoundError:  # run from the source tree, where the library lies beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from FetusMapV2Panel import requirements, results_table, views
from FetusMapV2Panel.estimation import Outcome, PoseEstimation
from FetusMapV2Panel.parameters import Device, FetusMapV2ParameterNode
from FetusMapV2Panel.report_text import detailsHtml, warningsText

from FetusMapV2Lib.foundation.errors import Cancelled, UserError


class FetusMapV2(ScriptedLoadableModule):
    """What Slicer shows about the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "FetusMapV2"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Ultrasound")]
        parent.dependencies = ["Markups"]
        parent.contributors = ["FetusMapV2 contributors"]
        parent.helpText = _(
            "Finds 22 landmarks of a 10-15 week fetus in a 3D ultrasound volume and measures crown-rump length, "
            "femora and humeri. Drag a landmark to correct it: lengths and gestational age follow. "
            "Research use only; default weights were trained on simulated volumes."
        )
        parent.acknowledgementText = _("The 22-landmark pose and its network follow the FetusMapV2 paper.")


def _nothing() -> None:
    """No listener to remove."""


class FetusMapV2Widget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: input, Estimate pose, progress, measurements that follow every edit."""

    def __init__(self, parent=None, logic: FetusMapV2Logic | None = None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = logic
        self._parameterNode: FetusMapV2ParameterNode | None = None
        self._guiTag = None
        self._poseScene = None
        self._outcome: Outcome | None = None
        self._stopWatching = _nothing
        self._lastLandmarksID = ""
        self._running = self._cancelRequested = self._closed = False

    # --- life cycle

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/FetusMapV2.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        # Hands the scene to the selectors through the connections of the .ui file.
        uiWidget.setMRMLScene(slicer.mrmlScene)
        if self.logic is None:
            self.logic = FetusMapV2Logic()
        results_table.prepare(self.ui.resultsTable)
        self.ui.estimateButton.connect("clicked(bool)", self.onEstimate)
        self.ui.cancelButton.connect("clicked(bool)", self.onCancel)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndRedoEvent, self.onSceneEndRedo)
        self.initializeParameterNode()
        self._setRunning(False)

    def cleanup(self) -> None:
        """The application exits or the module is reloaded."""
        self._closed = self._cancelRequested = True
        self.setParameterNode(None)
        self.removeObservers()
        if self.logic is not None:
            self.logic.close()

    def enter(self) -> None:
        self.initializeParameterNode()

    def exit(self) -> None:
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self._guiTag = None
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
            self._parameterNode = None

    def onSceneStartClose(self, caller, event) -> None:
        self._cancelRequested = True
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event) -> None:
        if self.parent.isEntered and not self._closed:
            self.initializeParameterNode()

    def onSceneEndRedo(self, caller, event) -> None:
        """An estimate that was undone is back: show it again."""
        landmarks = slicer.mrmlScene.GetNodeByID(self._lastLandmarksID) if self._lastLandmarksID else None
        if landmarks is not None and self._parameterNode is not None and self._parameterNode.landmarks is None:
            self._parameterNode.landmarks = landmarks

    def initializeParameterNode(self) -> None:
        self.setParameterNode(self.logic.getParameterNode())
        if self._parameterNode.inputVolume is None:
            self._parameterNode.inputVolume = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")

    def setParameterNode(self, parameterNode: FetusMapV2ParameterNode | None) -> None:
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self._parameterNode = parameterNode
        if parameterNode is None:
            self._watch(None)
            return
        self._guiTag = parameterNode.connectGui(self.ui)
        self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self.onParametersModified()

    def onParametersModified(self, caller=None, event=None) -> None:
        landmarks = self._parameterNode.landmarks if self._parameterNode else None
        shown = self._poseScene.landmarks_node if self._poseScene else None
        if landmarks is not shown:
            self._watchLandmarks(landmarks)
        self._updateButtons()

    # --- the estimate

    def onEstimate(self, checked: bool = False) -> None:
        if self._running or self._parameterNode is None:
            return
        parameters = self._parameterNode
        self._setRunning(True)
        try:
            if requirements.ensure(self.onProgress):
                self._outcome = self.logic.process(
                    parameters.inputVolume,
                    landmarks=parameters.landmarks,
                    device=parameters.device,
                    onProgress=self.onProgress,
                    shouldCancel=lambda: self._cancelRequested,
                )
                self._showOutcome(self._outcome)
        except Cancelled:
            self._say(_("Cancelled; the scene is as it was."))
        except UserError as error:
            self._say(error.line(), isError=True)
        except Exception as error:
            logging.exception("FetusMapV2: the estimate failed")
            self._say(_("The estimate failed: {0}. The log has the details.").format(error), isError=True)
        finally:
            self._setRunning(False)

    def onCancel(self, checked: bool = False) -> None:
        self._cancelRequested = True

    def onProgress(self, fraction: float, stage: str) -> None:
        if self._closed:
            return
        self.ui.progressBar.setValue(round(100 * fraction))
        self.ui.stageLabel.setText(stage)
        slicer.app.processEvents()

    def _showOutcome(self, outcome: Outcome) -> None:
        if self._closed:
            return
        if outcome.poseScene is None:
            self._say(outcome.estimate.reason, isError=True)
            return
        self._watch(outcome.poseScene)
        if self._parameterNode is not None:
            self._parameterNode.landmarks = outcome.poseScene.landmarks_node
        self._say(warningsText(outcome.estimate))
        views.show(outcome.inputVolume, outcome.estimate.pose)

    # --- results that follow the landmarks

    def _watchLandmarks(self, landmarks) -> None:
        """Show the measurements of a landmarks node, e.g. after a scene was loaded."""
        self._outcome = None
        try:
            self._watch(self.logic.poseSceneOf(landmarks) if landmarks is not None else None)
        except UserError as error:
            self._watch(None)
            self._say(error.line(), isError=True)

    def _watch(self, poseScene) -> None:
        if poseScene is not self._poseScene:
            self._stopWatching()
            self._stopWatching = poseScene.add_listener(self.onPoseChanged) if poseScene is not None else _nothing
            self._poseScene = poseScene
        if poseScene is not None:
            self._lastLandmarksID = poseScene.landmarks_node.GetID()
        self._showMeasurements()

    def onPoseChanged(self, poseScene) -> None:
        """Called on every move of a landmark, and when the pose leaves the scene (removed, undone, scene closed)."""
        if poseScene.is_open:
            self._showMeasurements()
        else:
            self._outcome = None
            self._watch(None)

    def _showMeasurements(self) -> None:
        if self._closed:
            return
        pose = self._poseScene.pose() if self._poseScene is not None else None
        results_table.fill(self.ui.resultsTable, results_table.rows(pose))
        model = self.logic.modelOf(self._poseScene.landmarks_node) if self._poseScene is not None else ""
        self.ui.detailsLabel.setText(detailsHtml(pose, self._outcome.estimate if self._outcome else None, model))

    # --- state of the panel

    def _setRunning(self, running: bool) -> None:
        if self._closed:
            return
        self._running = running
        if running:
            self._cancelRequested = False
            self._say("")
        for widget in (self.ui.progressBar, self.ui.stageLabel, self.ui.cancelButton):
            widget.setVisible(running)
        self.ui.progressBar.setValue(0)
        self._updateButtons()

    def _updateButtons(self) -> None:
        hasVolume = self._parameterNode is not None and self._parameterNode.inputVolume is not None
        self.ui.estimateButton.setEnabled(hasVolume and not self._running)
        for widget in (self.ui.inputSelector, self.ui.landmarksSelector, self.ui.deviceComboBox):
            widget.setEnabled(not self._running)
        ready, missing = _("Find the 22 landmarks in this volume."), _("Load and choose an ultrasound volume first.")
        self.ui.estimateButton.setToolTip(ready if hasVolume else missing)

    def _say(self, text: str, isError: bool = False) -> None:
        """A line in the panel; no pop-up, so that nothing waits for a click."""
        if self._closed:
            return
        self.ui.messageLabel.setText(text)
        self.ui.messageLabel.setStyleSheet(f"color: {'#b3261e' if isError else '#8a5a00'}; font-weight: 600;")
        self.ui.messageLabel.setVisible(bool(text))


class FetusMapV2Logic(ScriptedLoadableModuleLogic, PoseEstimation):
    """One process() for the button and for batch scripts; runs without a main window.

    Args:
        engineLoader: gives an engine for a device name; by default the bundled model's. Tests pass their own.
    """

    def __init__(self, engineLoader=None):
        ScriptedLoadableModuleLogic.__init__(self)
        PoseEstimation.__init__(self, engineLoader)

    def getParameterNode(self) -> FetusMapV2ParameterNode:
        return FetusMapV2ParameterNode(ScriptedLoadableModuleLogic.getParameterNode(self))


class FetusMapV2Test(ScriptedLoadableModuleTest):
    """Runs inside Slicer (Reload and Test) and on the test bench; needs no PyTorch and no file."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def runTest(self):
        self.setUp()
        self.test_logic_measures_and_follows_an_edit()
        self.setUp()
        self.test_nothing_is_left_without_a_fetus()

    def test_logic_measures_and_follows_an_edit(self):
        from FetusMapV2Panel import selftest

        self.delayDisplay("Estimating with a stand-in engine")
        volumeNode = selftest.addVolume(slicer.mrmlScene)
        outcome = FetusMapV2Logic(selftest.EngineStandIn).process(volumeNode, device=Device.CPU)
        landmarks = outcome.poseScene.landmarks_node
        self.assertEqual(landmarks.GetNumberOfControlPoints(), 22)
        before = results_table.rows(outcome.poseScene.pose())[0].value
        position = [0.0] * 3
        landmarks.GetNthControlPointPositionWorld(0, position)
        landmarks.SetNthControlPointPositionWorld(0, position[0], position[1], position[2] + 10.0)
        self.assertNotEqual(results_table.rows(outcome.poseScene.pose())[0].value, before)
        self.delayDisplay("Test passed")

    def test_nothing_is_left_without_a_fetus(self):
        from FetusMapV2Panel import selftest

        volumeNode = selftest.addVolume(slicer.mrmlScene)
        count = slicer.mrmlScene.GetNumberOfNodes()
        logic = FetusMapV2Logic(lambda device: selftest.EngineStandIn(device, found=False))
        self.assertIsNone(logic.process(volumeNode).poseScene)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), count)
