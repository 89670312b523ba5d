"""The self-test of the module; needs no PyTorch and no file.

Slicer loads this file at start-up, so the scenarios are imported by the tests that run them.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.scene import undo_history
from FetusMapV2Lib.scene.editing import LandmarkEditor
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Panel import selftest
from FetusMapV2Panel.estimation import EngineLoader
from FetusMapV2Panel.parameters import Device, Settings

if TYPE_CHECKING:
    from FetusMapV2 import FetusMapV2Logic, FetusMapV2Widget
    from FetusMapV2Lib.scene.pose_scene import PoseScene


class FetusMapV2Test(ScriptedLoadableModuleTest):
    """Runs inside Slicer (Reload and Test) and on the test bench."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear(0)

    def runTest(self) -> None:
        for test in (
            self.test_logic_measures_and_follows_an_edit,
            self.test_corrections_are_undone_and_redone,
            self.test_an_estimate_is_undone_and_redone_with_its_display_nodes,
            self.test_report_is_written,
            self.test_no_nodes_are_added_without_a_fetus,
            self.test_each_frame_of_a_sequence_keeps_its_landmarks,
            self.test_sample_data_are_listed_and_loaded,
            self.test_a_case_from_volume_to_report,
            self.test_nothing_of_another_patient_is_visible,
        ):
            self.setUp()
            self.delayDisplay(test.__name__.replace("_", " "))
            test()
            self.delayDisplay("Test passed")

    def test_logic_measures_and_follows_an_edit(self) -> None:
        logic = _logic(selftest.EngineStandIn)
        outcome = logic.process(selftest.addVolume(slicer.mrmlScene), settings=Settings(Device.CPU)).result()
        poseScene = _found(outcome.poseScene)
        landmarks = poseScene.landmarks_node
        self.assertEqual(landmarks.GetNumberOfControlPoints(), 22)
        before = _crl(poseScene)
        position = [0.0] * 3
        landmarks.GetNthControlPointPositionWorld(0, position)
        landmarks.SetNthControlPointPositionWorld(0, position[0], position[1], position[2] + 10.0)
        self.assertNotEqual(_crl(poseScene), before)

    def test_corrections_are_undone_and_redone(self) -> None:
        logic = _logic(selftest.EngineStandIn)
        poseScene = _found(logic.process(selftest.addVolume(slicer.mrmlScene)).result().poseScene)
        editor, before = LandmarkEditor(poseScene), poseScene.pose().positions
        editor.set_missing([5])
        editor.swap_sides()
        editor.confirm([0])
        logic.refine(poseScene).result()
        states, after = poseScene.states(), poseScene.pose().positions
        self.assertEqual((states[0], states[5]), ("confirmed", "missing"))
        for _step in range(4):
            undo_history.undo(slicer.mrmlScene)
        self.assertEqual(set(poseScene.states()), {"estimated"})
        self.assertEqual(poseScene.pose().positions.tolist(), before.tolist())
        for _step in range(4):
            undo_history.redo(slicer.mrmlScene)
        self.assertEqual(poseScene.states(), states)
        self.assertEqual(poseScene.pose().positions[0].tolist(), after[0].tolist())

    def test_an_estimate_is_undone_and_redone_with_its_display_nodes(self) -> None:
        scene = slicer.mrmlScene
        volumeNode = selftest.addVolume(scene)
        poseScene = _found(_logic(selftest.EngineStandIn).process(volumeNode).result().poseScene)
        identifiers, shown = [node.GetID() for node in poseScene.all_nodes], _visibilities(poseScene.all_nodes)
        self.assertTrue(shown)  # none visible, where the open module shows another volume
        undo_history.undo(scene)
        self.assertEqual({scene.GetNodeByID(identifier) for identifier in identifiers}, {None})
        undo_history.redo(scene)
        restored = [scene.GetNodeByID(identifier) for identifier in identifiers]
        self.assertEqual(_visibilities(restored), shown)
        meshes = [node.GetPolyData() for node in restored if node.IsA("vtkMRMLModelNode")]
        self.assertTrue(meshes and all(mesh is not None and mesh.GetNumberOfPoints() for mesh in meshes))

    def test_report_is_written(self) -> None:
        volumeNode = selftest.addVolume(slicer.mrmlScene)
        outcome = _logic(selftest.EngineStandIn).process(volumeNode, settings=Settings(Device.CPU)).result()
        with tempfile.TemporaryDirectory() as folder:
            sizes = {path.suffix: path.stat().st_size for path in selftest.writeReport(outcome, Path(folder))}
        self.assertEqual(set(sizes), {".html", ".pdf", ".csv", ".json", ".dcm"})
        self.assertGreater(min(sizes.values()), 1000)

    def test_no_nodes_are_added_without_a_fetus(self) -> None:
        volumeNode = selftest.addVolume(slicer.mrmlScene)
        count = slicer.mrmlScene.GetNumberOfNodes()
        logic = _logic(lambda settings: selftest.EngineStandIn(settings, found=False))
        self.assertIsNone(logic.process(volumeNode).result().poseScene)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), count)

    def test_each_frame_of_a_sequence_keeps_its_landmarks(self) -> None:
        browser = selftest.addSequence(slicer.mrmlScene)
        poses = _logic(selftest.MovingEngineStandIn).processSequence(browser).result().poseSequence
        if poses is None:
            raise AssertionError("no pose")
        before = _crl(poses.pose_scene)
        poses.pose_scene.landmarks_node.SetNthControlPointPositionWorld(0, 0.0, 0.0, 60.0)
        self.assertNotEqual(_crl(poses.pose_scene), before)
        browser.SetSelectedItemNumber(3)
        self.assertEqual(_crl(poses.pose_scene), before)
        self.assertTrue(poses.movement().periods_of("left_arm"))

    def test_sample_data_are_listed_and_loaded(self) -> None:
        """Load both samples as a click in Sample Data does; they are in the cache already, so none is simulated."""
        from FetusMapV2Panel import sample_data

        if importlib.util.find_spec("SampleData") is None:
            self.delayDisplay("Skipped: there is no module of sample data")
            return
        import SampleData

        scene = slicer.mrmlScene
        sample_data.register()
        single, moving = SampleData.SampleDataLogic.sampleDataSourcesByCategory(sample_data.CATEGORY)
        cache = scene.GetCacheManager()
        before = cache.GetRemoteCacheDirectory()
        with tempfile.TemporaryDirectory() as folder:
            cache.SetRemoteCacheDirectory(folder)
            try:
                for source, count in ((single, 1), (moving, 2)):
                    selftest.writeVolumes(Path(folder) / source.fileNames[0], count)
                volumeNode, sequenceNode = (source.customDownloader(source) for source in (single, moving))
            finally:
                cache.SetRemoteCacheDirectory(before)
        self.assertEqual(volumeNode.GetName(), "FetusMapV2Case")
        self.assertEqual(volumeNode.GetImageData().GetDimensions(), (40, 40, 48))
        self.assertEqual(nodes_by_class(scene, "vtkMRMLSequenceNode")[0].GetNumberOfDataNodes(), 2)
        self.assertIsNotNone(sequenceNode)
        _found(_logic(selftest.EngineStandIn).process(volumeNode).result().poseScene)

    def test_a_case_from_volume_to_report(self) -> None:
        """Work through a case in the panel; skipped without a main window."""
        from FetusMapV2Panel.acceptance_scenario import AcceptanceScenario
        from FetusMapV2Panel.user_actions import SlicerActions

        widget = _widget()
        if widget is None:
            self.delayDisplay("Skipped: there is no main window")
            return
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

    def test_nothing_of_another_patient_is_visible(self) -> None:
        """Work through two patients in the panel; skipped without a main window."""
        from FetusMapV2Panel.two_patients_scenario import TwoPatientsScenario
        from FetusMapV2Panel.user_actions import SlicerActions

        widget = _widget()
        if widget is None:
            self.delayDisplay("Skipped: there is no main window")
            return
        with tempfile.TemporaryDirectory() as folder:
            TwoPatientsScenario.runWithTestPatients(widget, SlicerActions(), Path(folder))


def _logic(engineLoader: EngineLoader) -> FetusMapV2Logic:
    from FetusMapV2 import FetusMapV2Logic  # it imports this module

    return FetusMapV2Logic(engineLoader)


def _widget() -> FetusMapV2Widget | None:
    """The panel, opened in the main window; None without a main window."""
    if slicer.app.layoutManager() is None:
        return None
    slicer.util.selectModule("FetusMapV2")
    widget: FetusMapV2Widget = slicer.util.getModuleWidget("FetusMapV2")
    return widget


def _found(poseScene: PoseScene | None) -> PoseScene:
    if poseScene is None:
        raise AssertionError("no fetus was found")
    return poseScene


def _visibilities(nodes: list[Any]) -> list[int | None]:
    displays = [node.GetDisplayNode() for node in nodes]
    return [None if display is None else display.GetVisibility() for display in displays]


def _crl(poseScene: PoseScene) -> float:
    return measurements(poseScene.pose()).crl.value_mm
