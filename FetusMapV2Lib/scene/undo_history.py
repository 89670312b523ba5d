"""Undo and redo of changes of landmarks, by the scene's own history.

Slicer saves a state whenever a point is clicked, even if it is not moved; such states are skipped.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import slicer
from vtkmodules.vtkCommonCore import vtkCommand

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.scene import control_points, node_links, pose_nodes
from FetusMapV2Lib.scene.node_names import node_name, remove_percent_signs
from FetusMapV2Lib.scene.provenance import ATTRIBUTES

#: Invoked by the scene after `undo` and `redo`: a step consists of several states, and one of another volume is taken
#: back at once, so that not every undo of the scene is one of the user.
UNDONE_EVENT, REDONE_EVENT = vtkCommand.UserEvent + 7311, vtkCommand.UserEvent + 7312
_on_the_way: weakref.WeakSet[Any] = weakref.WeakSet()


def enable(scene: slicer.vtkMRMLScene) -> None:
    """Save states from now on; by default Slicer does not."""
    scene.SetUndoOn()
    node_links.restore_after_undo(scene)


def save_state(scene: slicer.vtkMRMLScene) -> None:
    """Save the present state; call before a change. Does nothing while undo is off."""
    for landmarks in pose_nodes.find_landmarks(scene):
        for node in (landmarks, *pose_nodes.follower_nodes(landmarks)):
            if node.IsA("vtkMRMLMarkupsNode"):
                remove_percent_signs(node)
    scene.SaveStateForUndo()


def clear(scene: slicer.vtkMRMLScene) -> None:
    """Discard all states: after a change that cannot be undone, they no longer fit the scene."""
    scene.ClearUndoStack()
    scene.ClearRedoStack()


def can_undo(scene: slicer.vtkMRMLScene) -> bool:
    """Whether the scene has an earlier state."""
    return bool(scene.GetNumberOfUndoLevels() > 0)


def can_redo(scene: slicer.vtkMRMLScene) -> bool:
    """Whether the scene has an undone state."""
    return bool(scene.GetNumberOfRedoLevels() > 0)


def undo(scene: slicer.vtkMRMLScene, volume: Any = None) -> None:
    """Undo one step that changed landmarks.

    Args:
        scene: the scene.
        volume: the selected volume. The scene has one history for all volumes; a step in another volume is not undone.

    Raises:
        InputError: the last step was made in another volume.
    """
    back = scene.Redo, scene.GetNumberOfRedoLevels
    _travel(scene, volume, (scene.Undo, scene.GetNumberOfUndoLevels), back, UNDONE_EVENT)


def redo(scene: slicer.vtkMRMLScene, volume: Any = None) -> None:
    """Redo one step that changed landmarks; see `undo`.

    Raises:
        InputError: the step was made in another volume.
    """
    back = scene.Undo, scene.GetNumberOfUndoLevels
    _travel(scene, volume, (scene.Redo, scene.GetNumberOfRedoLevels), back, REDONE_EVENT)


def is_on_the_way(scene: slicer.vtkMRMLScene) -> bool:
    """Whether `undo` or `redo` is between two states."""
    return scene in _on_the_way


#: Goes to the next state, and returns how many states remain.
_Direction = tuple[Callable[[], Any], Callable[[], int]]


def _travel(scene: slicer.vtkMRMLScene, volume: Any, forth: _Direction, back: _Direction, event: int) -> None:
    _on_the_way.add(scene)
    try:
        _one_step(scene, volume, forth, back)
    finally:
        _on_the_way.discard(scene)
        scene.InvokeEvent(event)


def _one_step(scene: slicer.vtkMRMLScene, volume: Any, forth: _Direction, back: _Direction) -> None:
    before, levels = _visible_state(scene), back[1]()
    owners = _owners(scene)
    while forth[1]() and _visible_state(scene) == before:
        forth[0]()
    after = _visible_state(scene)
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


def _visible_state(scene: slicer.vtkMRMLScene) -> set[tuple[Any, ...]]:
    """All that a user sees of the landmarks of all poses."""
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
