"""Undo and redo leave what views draw: mesh and colours of display nodes, and the pixels of slice views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.scene import pose_nodes, undo_history
from FetusMapV2Lib.scene.appearance import PLANE_COLOUR
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Lib.scene.offscreen_views import SliceView
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.scene_files import new_scene

SCHEMA = default_schema()
LEFT, RIGHT = (SCHEMA.landmarks[SCHEMA.index(f"{side}_knee")].colour for side in ("left", "right"))
Image = np.ndarray


@pytest.fixture
def fetus(scene: Any, pose: Pose) -> PoseScene:
    undo_history.enable(scene)
    return PoseScene.create(scene, pose)


@pytest.fixture
def leg_slices(scene: Any, pose: Pose) -> Iterator[Callable[[str], Image]]:
    """Pictures of a slice view through the left or the right knee."""
    view = SliceView(scene, "Red", (220, 220))

    def picture(side: str) -> Image:
        view.node.SetFieldOfView(70, 70, 1)
        view.node.JumpSliceByCentering(*pose.positions[SCHEMA.index(f"{side}_knee")])
        return view.image()

    yield picture
    view.close()


def pixels(image: Image, colour: tuple[float, ...]) -> int:
    """How many pixels have a colour."""
    return int((np.abs(image - 255 * np.array(colour)).max(axis=2) < 25).sum())


def move(fetus: PoseScene, z: float = 1.0) -> None:
    """A step of its own on a landmark far from the knees and from the plane."""
    undo_history.save_state(fetus.scene)
    fetus.landmarks_node.SetNthControlPointPositionWorld(SCHEMA.index("left_wrist"), 1.0, 2.0, z)


def undo_once(fetus: PoseScene) -> None:
    move(fetus)
    undo_history.undo(fetus.scene)


def undo_and_redo(fetus: PoseScene) -> None:
    undo_once(fetus)
    undo_history.redo(fetus.scene)


def step_after_undo(fetus: PoseScene) -> None:
    undo_once(fetus)
    move(fetus)


def step_of_slicer_after_undo(fetus: PoseScene) -> None:
    undo_once(fetus)
    fetus.scene.SaveStateForUndo()


def forget(fetus: PoseScene) -> None:
    undo_once(fetus)
    fetus.scene.ClearUndoStack()
    fetus.scene.ClearRedoStack()


def overflow(fetus: PoseScene) -> None:
    for step in range(fetus.scene.GetMaximumNumberOfSavedUndoStates() + 2):
        move(fetus, step)


@pytest.mark.parametrize(
    "work", [undo_once, undo_and_redo, step_after_undo, step_of_slicer_after_undo, forget, overflow]
)
def test_outline_and_trace_stay_in_slice_views(
    fetus: PoseScene, leg_slices: Callable[[str], Image], work: Callable[[PoseScene], None]
) -> None:
    before = leg_slices("left")
    work(fetus)
    for model in (fetus.skeleton_node, fetus.trace_node):
        assert model.GetDisplayNode().GetInputPolyDataConnection() is model.GetPolyDataConnection()
    after = leg_slices("left")
    for colour in (LEFT, PLANE_COLOUR):
        assert pixels(after, colour) > 0.8 * pixels(before, colour) > 20


def test_redo_of_an_estimate_brings_back_the_colours_of_the_limbs(
    scene: Any, pose: Pose, leg_slices: Callable[[str], Image]
) -> None:
    undo_history.enable(scene)
    undo_history.save_state(scene)
    PoseScene.create(scene, pose)
    before = {side: leg_slices(side) for side in ("left", "right")}
    undo_history.undo(scene)
    assert not pose_nodes.find_landmarks(scene)
    undo_history.redo(scene)
    (landmarks,) = pose_nodes.find_landmarks(scene)
    fetus = PoseScene.attach(scene, landmarks, SCHEMA)
    display = fetus.skeleton_node.GetDisplayNode()
    assert display.GetColorNode() is landmarks.GetNodeReference(pose_nodes.COLOURS_REFERENCE)
    for side, own, other in (("left", LEFT, RIGHT), ("right", RIGHT, LEFT)):
        image = leg_slices(side)
        assert pixels(image, own) > 0.8 * pixels(before[side], own) > 20
        assert pixels(image, other) <= pixels(before[side], other) + 5


def nodes_and_companions(scene: Any) -> dict[str, Any]:
    """What a pose has in the scene: node ID -> IDs of its display node and of its colours."""
    found = {node.GetID(): node for node in nodes_by_class(scene, "vtkMRMLNode")}
    kinds = ("vtkMRMLMarkupsNode", "vtkMRMLModelNode", "vtkMRMLModelDisplayNode", "vtkMRMLMarkupsDisplayNode")
    pairs = {}
    for identifier, node in found.items():
        if any(map(node.IsA, kinds)):
            display = node.IsA("vtkMRMLDisplayNode")
            pairs[identifier] = node.GetColorNodeID() if display else node.GetDisplayNodeID()
    return pairs


def test_any_number_of_undo_and_redo_keeps_displays_and_makes_none(scene: Any, pose: Pose) -> None:
    undo_history.enable(scene)
    undo_history.save_state(scene)
    fetus = PoseScene.create(scene, pose)
    fetus.plane_node.GetDisplayNode().SetVisibility(False)
    before = nodes_and_companions(scene)
    for attached in (True, False, False, True):
        scene.Undo()
        assert not nodes_and_companions(scene)
        scene.Redo()  # as by Slicer's own menu
        assert nodes_and_companions(scene) == before
        if attached:
            (fetus,) = PoseScene.attach_all(scene, SCHEMA)
            assert nodes_and_companions(scene) == before
    assert not fetus.plane_node.GetDisplayNode().GetVisibility()


def test_a_closing_scene_is_left_in_peace(pose: Pose) -> None:
    from FetusMapV2Lib.scene.scene_files import close_scene

    scene = new_scene()
    undo_history.enable(scene)
    fetus = PoseScene.create(scene, pose)
    undo_once(fetus)
    close_scene(scene)
    assert not fetus.is_open
