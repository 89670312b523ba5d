"""FetusMapV2: estimates the pose of a 10-15 week fetus in a 3D ultrasound volume and measures it. Research use only.

Glue between Slicer and FetusMapV2Lib; whatever runs without Qt lives there.
"""

from __future__ import annotations

import sys
import tempfile
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

from FetusMapV2Panel import pose_ownership, sample_data, saved_settings, view_orientation
from FetusMapV2Panel.activity import ActivityStrip
from FetusMapV2Panel.estimation import PoseEstimation
from FetusMapV2Panel.movement import SequenceEstimation
from FetusMapV2Panel.parameters import Device, FetusMapV2ParameterNode, Settings
from FetusMapV2Panel.sections import SECTIONS
from FetusMapV2Panel.sections.base import Section
from FetusMapV2Panel.state import PanelState

from FetusMapV2Lib.anatomy.measurements import measurements


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
        # The SampleData module is there once all modules are loaded.
        slicer.app.connect("startupCompleted()", sample_data.register)


class FetusMapV2Widget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: loads its sections and ties them to the scene's life; what they do is theirs."""

    def __init__(self, parent=None, logic: FetusMapV2Logic | None = None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = logic
        self.sections: list[Section] = []
        self._guiTag = None
        self._sceneIsNew = False

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        if self.logic is None:
            self.logic = FetusMapV2Logic()
        self.state = PanelState(self.logic)
        frame = slicer.util.loadUI(self.resourcePath("UI/FetusMapV2.ui"))
        self.layout.addWidget(frame)
        self.activity = ActivityStrip(self.state, frame)
        self.sections = [self._addSection(kind, frame.layout()) for kind in SECTIONS]
        self.ui = slicer.util.childWidgetVariables(frame)
        for event, slot in (
            (slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose),
            (slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose),
            (slicer.mrmlScene.EndImportEvent, self.onSceneEndImport),
            (slicer.mrmlScene.StartUndoEvent, self.onSceneStartStep),
            (slicer.mrmlScene.StartRedoEvent, self.onSceneStartStep),
            (slicer.mrmlScene.EndUndoEvent, self.onSceneEndStep),
            (slicer.mrmlScene.EndRedoEvent, self.onSceneEndStep),
            (slicer.mrmlScene.NodeRemovedEvent, self.onNodeRemoved),
        ):
            self.addObserver(slicer.mrmlScene, event, slot)
        self.initializeParameterNode()

    def _addSection(self, kind: type[Section], layout) -> Section:
        """A section below those that are there, above the spacer that ends the panel."""
        widget = slicer.util.loadUI(self.resourcePath(f"UI/{kind.UI}"))
        layout.insertWidget(layout.count() - 1, widget)
        if hasattr(widget, "setMRMLScene"):  # hands it to the selectors through the connections of the .ui file
            widget.setMRMLScene(slicer.mrmlScene)
        return kind(self.state, widget)

    def cleanup(self) -> None:
        """The application exits or the module is reloaded."""
        if not self.sections:
            return
        self.state.close()
        self.setParameterNode(None)
        self.removeObservers()
        for section in self.sections:
            section.close()
        self.activity.close()
        self.logic.close()

    def section(self, kind: type[Section]) -> Section:
        """The section of a class."""
        return next(section for section in self.sections if isinstance(section, kind))

    def enter(self) -> None:
        if self.state.parameterNode is None:
            self.initializeParameterNode()
        else:
            self.chooseVolume()

    def exit(self) -> None:
        self._leave()

    def _leave(self) -> None:
        for section in self.sections:
            section.leave()

    def onSceneStartClose(self, caller, event) -> None:
        self._leave()
        self.state.cancel()
        self.setParameterNode(None)
        self.logic.close()
        self._sceneIsNew = True

    def onSceneEndClose(self, caller, event) -> None:
        if self.parent.isEntered and not self.state.closed:
            self.initializeParameterNode()

    def onSceneEndImport(self, caller, event) -> None:
        self._sceneIsNew = False  # it brings its own settings
        self.onSceneEndClose(caller, event)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeRemoved(self, caller, event, node) -> None:
        """A volume takes what belongs to it out of sight."""
        if node.IsA("vtkMRMLVolumeNode") and not slicer.mrmlScene.IsClosing():
            self.state.followParameters()

    def onSceneStartStep(self, caller, event) -> None:
        self.state.patient.beforeUndo()

    def onSceneEndStep(self, caller, event) -> None:
        """Slicer's own menu undoes and redoes what happened in any volume: what is not on show is said."""
        others = self.state.patient.afterUndo()
        if others:
            names = ", ".join(pose_ownership.displayName(volume) for volume in others)
            self.state.say(_("This step changed the pose of {0}, which is hidden.").format(names))

    def initializeParameterNode(self) -> None:
        known = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        isNew, self._sceneIsNew = self._sceneIsNew or known is None, False
        parameters = self.logic.getParameterNode()
        if isNew:
            saved_settings.lastUsed().applyTo(parameters)
            saved_settings.applyPreferences(parameters)
        self.setParameterNode(parameters)
        self.chooseVolume()

    def chooseVolume(self) -> None:
        """The volume in the slice views, or the first one that the panel offers, where none is chosen."""
        volume = _firstOffered(self.ui.inputSelector, view_orientation.shownVolume())
        self.state.patient.setDefaults(volume, _firstOffered(self.ui.sequenceSelector))

    def setParameterNode(self, parameterNode: FetusMapV2ParameterNode | None) -> None:
        before = self.state.parameterNode
        if before is not None:
            before.disconnectGui(self._guiTag)
            self.removeObserver(before, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        if parameterNode is not None:
            self._guiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self.state.setParameterNode(parameterNode)

    def onParametersModified(self, caller=None, event=None) -> None:
        self.state.followParameters()


def _firstOffered(selector, wish=None):
    """The wish, if a selector lists it, or its first node; asked of the scene, which it may be about to follow."""
    found = [
        node
        for kind in selector.nodeTypes
        for node in slicer.util.getNodesByClass(kind)
        if not node.GetHideFromEditors() and not any(map(node.IsA, selector.hideChildNodeTypes))
    ]
    return wish if wish in found else next(iter(found), None)


class FetusMapV2Logic(ScriptedLoadableModuleLogic, PoseEstimation, SequenceEstimation):
    """One process() for the button and for batch scripts; runs without a main window.

    Args:
        engineLoader: gives an engine for EngineSettings; by default one in a process of its own. Tests pass their own.
    """

    def __init__(self, engineLoader=None):
        ScriptedLoadableModuleLogic.__init__(self)
        PoseEstimation.__init__(self, engineLoader)
        SequenceEstimation.__init__(self)

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
        self.test_corrections_are_undone_and_redone()
        self.setUp()
        self.test_report_is_written()
        self.setUp()
        self.test_nothing_is_left_without_a_fetus()
        self.setUp()
        self.test_each_frame_of_a_sequence_keeps_its_landmarks()
        self.setUp()
        self.test_a_case_from_volume_to_report()
        self.setUp()
        self.test_nothing_of_another_patient_is_to_be_seen()

    def test_logic_measures_and_follows_an_edit(self):
        from FetusMapV2Panel import selftest

        self.delayDisplay("Estimating with a stand-in engine")
        volumeNode = selftest.addVolume(slicer.mrmlScene)
        outcome = FetusMapV2Logic(selftest.EngineStandIn).process(volumeNode, settings=Settings(Device.CPU)).result()
        landmarks = outcome.poseScene.landmarks_node
        self.assertEqual(landmarks.GetNumberOfControlPoints(), 22)
        before = _crl(outcome.poseScene)
        position = [0.0] * 3
        landmarks.GetNthControlPointPositionWorld(0, position)
        landmarks.SetNthControlPointPositionWorld(0, position[0], position[1], position[2] + 10.0)
        self.assertNotEqual(_crl(outcome.poseScene), before)
        self.delayDisplay("Test passed")

    def test_corrections_are_undone_and_redone(self):
        from FetusMapV2Panel import selftest

        from FetusMapV2Lib.scene import undo_history
        from FetusMapV2Lib.scene.editing import LandmarkEditor

        self.delayDisplay("Correcting landmarks")
        logic = FetusMapV2Logic(selftest.EngineStandIn)
        fetus = logic.process(selftest.addVolume(slicer.mrmlScene)).result().poseScene
        editor, before = LandmarkEditor(fetus), fetus.pose().positions
        editor.set_missing([5])
        editor.swap_sides()
        editor.confirm([0])
        logic.refine(fetus).result()
        states, after = fetus.states(), fetus.pose().positions
        self.assertEqual((states[0], states[5]), ("confirmed", "missing"))
        for _step in range(4):
            undo_history.undo(slicer.mrmlScene)
        self.assertEqual(set(fetus.states()), {"estimated"})
        self.assertEqual(fetus.pose().positions.tolist(), before.tolist())
        for _step in range(4):
            undo_history.redo(slicer.mrmlScene)
        self.assertEqual(fetus.states(), states)
        self.assertEqual(fetus.pose().positions[0].tolist(), after[0].tolist())
        self.delayDisplay("Test passed")

    def test_report_is_written(self):
        from FetusMapV2Panel import selftest

        self.delayDisplay("Writing a report")
        volumeNode = selftest.addVolume(slicer.mrmlScene)
        outcome = FetusMapV2Logic(selftest.EngineStandIn).process(volumeNode, settings=Settings(Device.CPU)).result()
        with tempfile.TemporaryDirectory() as folder:
            sizes = {path.suffix: path.stat().st_size for path in selftest.writeReport(outcome, Path(folder))}
        self.assertEqual(set(sizes), {".html", ".pdf", ".csv", ".json", ".dcm"})
        self.assertGreater(min(sizes.values()), 1000)
        self.delayDisplay("Test passed")

    def test_nothing_is_left_without_a_fetus(self):
        from FetusMapV2Panel import selftest

        volumeNode = selftest.addVolume(slicer.mrmlScene)
        count = slicer.mrmlScene.GetNumberOfNodes()
        logic = FetusMapV2Logic(lambda settings: selftest.EngineStandIn(settings, found=False))
        self.assertIsNone(logic.process(volumeNode).result().poseScene)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), count)

    def test_each_frame_of_a_sequence_keeps_its_landmarks(self):
        from FetusMapV2Panel import selftest

        self.delayDisplay("Estimating all frames with a stand-in engine")
        browser = selftest.addSequence(slicer.mrmlScene)
        poses = FetusMapV2Logic(selftest.MovingEngineStandIn).processSequence(browser).result().poseSequence
        landmarks = poses.pose_scene.landmarks_node
        before = _crl(poses.pose_scene)
        landmarks.SetNthControlPointPositionWorld(0, 0.0, 0.0, 60.0)
        self.assertNotEqual(_crl(poses.pose_scene), before)
        browser.SetSelectedItemNumber(3)
        self.assertEqual(_crl(poses.pose_scene), before)
        self.assertTrue(poses.movement().periods_of("left_arm"))
        self.delayDisplay("Test passed")

    def test_a_case_from_volume_to_report(self):
        """Through the panel itself, so in the main window alone."""
        from FetusMapV2Panel import selftest
        from FetusMapV2Panel.acceptance_scenario import AcceptanceScenario
        from FetusMapV2Panel.user_actions import SlicerActions

        if slicer.app.layoutManager() is None:
            self.delayDisplay("Skipped: there is no main window")
            return
        self.delayDisplay("Working through a case in the panel")
        slicer.util.selectModule("FetusMapV2")
        widget = slicer.util.getModuleWidget("FetusMapV2")
        before = widget.logic.useEngines(selftest.ScenarioEngineStandIn)
        try:
            with tempfile.TemporaryDirectory() as folder:
                AcceptanceScenario(
                    widget,
                    SlicerActions(),
                    Path(folder),
                    loadVolume=lambda: selftest.addVolume(slicer.mrmlScene),
                    loadSequence=lambda: selftest.addSequence(slicer.mrmlScene),
                ).run()
        finally:
            widget.logic.useEngines(before)
        self.delayDisplay("Test passed")

    def test_nothing_of_another_patient_is_to_be_seen(self):
        """Two patients in one scene, worked through the panel, so in the main window alone."""
        from FetusMapV2Panel.two_patients_scenario import TwoPatientsScenario
        from FetusMapV2Panel.user_actions import SlicerActions

        if slicer.app.layoutManager() is None:
            self.delayDisplay("Skipped: there is no main window")
            return
        self.delayDisplay("Working through two patients in the panel")
        slicer.util.selectModule("FetusMapV2")
        widget = slicer.util.getModuleWidget("FetusMapV2")
        with tempfile.TemporaryDirectory() as folder:
            TwoPatientsScenario.runWithTestPatients(widget, SlicerActions(), Path(folder))
        self.delayDisplay("Test passed")


def _crl(poseScene):
    return measurements(poseScene.pose()).crl.value_mm
