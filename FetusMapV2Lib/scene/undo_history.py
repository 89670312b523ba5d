"""Undo and redo of what happened to landmarks, by the scene's own history.

Slicer keeps a state whenever a point is pressed, moved or not; such states are passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.scene import control_points, node_links, pose_nodes
from FetusMapV2Lib.scene.node_names import make_name_harmless, node_name
from FetusMapV2Lib.scene.provenance import ATTRIBUTES


def turn_on(scene: slicer.vtkMRMLScene) -> None:
    """Keep states from now on; Slicer does not by custom."""
    scene.SetUndoOn()
    node_links.watch(scene)


def keep(scene: slicer.vtkMRMLScene) -> None:
    """Keep the state as it is: call before a change. Nothing while undo is off."""
    for landmarks in pose_nodes.find_landmarks(scene):
        for node in (landmarks, *pose_nodes.followers(landmarks)):
            if node.IsA("vtkMRMLMarkupsNode"):
                make_name_harmless(node)
    scene.SaveStateForUndo()


def forget(scene: slicer.vtkMRMLScene) -> None:
    """Let go of all states: after a change that cannot be undone, earlier ones would not fit any more."""
    scene.ClearUndoStack()
    scene.ClearRedoStack()


def can_undo(scene: slicer.vtkMRMLScene) -> bool:
    """Whether the scene keeps an earlier state."""
    return bool(scene.GetNumberOfUndoLevels() > 0)


def can_redo(scene: slicer.vtkMRMLScene) -> bool:
    """Whether the scene keeps a state that was undone."""
    return bool(scene.GetNumberOfRedoLevels() > 0)


def undo(scene: slicer.vtkMRMLScene, volume: Any = None) -> None:
    """Go back by one step that can be seen in the landmarks.

    Args:
        volume: the volume whose poses are worked on. The scene has one history for all volumes: a step of another
            one is left as it is.

    Raises:
        InputError: the last step was made in another volume.
    """
    _one_step(scene, volume, (scene.Undo, scene.GetNumberOfUndoLevels), (scene.Redo, scene.GetNumberOfRedoLevels))


def redo(scene: slicer.vtkMRMLScene, volume: Any = None) -> None:
    """Go forth by one step that can be seen in the landmarks; see `undo`.

    Raises:
        InputError: the step that was undone last was made in another volume.
    """
    _one_step(scene, volume, (scene.Redo, scene.GetNumberOfRedoLevels), (scene.Undo, scene.GetNumberOfUndoLevels))


#: Goes one state on, and says how many states there still are.
_Way = tuple[Callable[[], Any], Callable[[], int]]


def _one_step(scene: slicer.vtkMRMLScene, volume: Any, on: _Way, back: _Way) -> None:
    before, levels = _landmarks_in(scene), back[1]()
    owners = _owners(scene)
    while on[1]() and _landmarks_in(scene) == before:
        on[0]()
    after = _landmarks_in(scene)
    changed = {row[0] for row in before ^ after}
    concerned = {(_owners(scene) | owners).get(identifier) for identifier in changed}
    if volume is None or not changed or concerned & {volume.GetID(), None}:
        return
    while back[1]() > levels:
        back[0]()
    other = next((scene.GetNodeByID(identifier) for identifier in concerned if identifier), None)
    raise InputError(
        "this step was made in another volume",
        where=node_name(other) if other is not None else None,
        remedy="Choose that volume first",
    )


def _owners(scene: slicer.vtkMRMLScene) -> dict[str, str | None]:
    """Landmarks node ID -> ID of the volume of the pose."""
    return {
        node.GetID(): node.GetNodeReferenceID(pose_nodes.VOLUME_REFERENCE) for node in pose_nodes.find_landmarks(scene)
    }


def _landmarks_in(scene: slicer.vtkMRMLScene) -> set[tuple[Any, ...]]:
    """All that a user can see change in the landmarks of all poses."""
    return {
        (
            node.GetID(),
            control_points.local_positions(node).tobytes(),
            control_points.locks(node).tobytes(),
            tuple(node.GetNthControlPointLabel(row) for row in range(node.GetNumberOfControlPoints())),
            *map(node.GetAttribute, ATTRIBUTES),
        )
        for node in pose_nodes.find_landmarks(scene)
    }
