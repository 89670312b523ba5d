"""A look-up of nodes leaves no reference behind."""

from __future__ import annotations

import gc

import slicer
import vtk

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.scene import pose_nodes
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.scene_files import close_scene, new_scene


def test_nodes_come_in_the_order_of_the_scene_with_those_of_derived_classes(scene: slicer.vtkMRMLScene) -> None:
    added = [scene.AddNewNodeByClass(f"vtkMRML{name}Node") for name in ("Model", "MarkupsLine", "Model")]
    assert nodes_by_class(scene, "vtkMRMLModelNode") == [added[0], added[2]]
    assert [node for node in nodes_by_class(scene, "vtkMRMLDisplayableNode") if node in added] == added


def test_a_hundred_lookups_add_no_reference(scene: slicer.vtkMRMLScene, pose: Pose) -> None:
    landmarks = PoseScene.create(scene, pose).landmarks_node
    before = landmarks.GetReferenceCount()
    for _ in range(100):
        assert pose_nodes.find_landmarks(scene) == [landmarks]
    gc.collect()
    assert landmarks.GetReferenceCount() == before


def test_a_node_that_was_looked_up_is_deleted_with_its_scene(pose: Pose) -> None:
    scene, deleted = new_scene(), []
    fetus = PoseScene.create(scene, pose)
    fetus.landmarks_node.AddObserver(vtk.vtkCommand.DeleteEvent, lambda caller, event: deleted.append(event))
    pose_nodes.find_landmarks(scene)
    fetus.close()
    close_scene(scene)
    del fetus, scene
    gc.collect()
    assert deleted == ["DeleteEvent"]
