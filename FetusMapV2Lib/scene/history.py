"""Undo and redo of what happened to landmarks, by the scene's own history.

Slicer keeps a state whenever a point is pressed, moved or not; such states are passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from FetusMapV2Lib.scene import nodes
from FetusMapV2Lib.scene.provenance import ATTRIBUTES


def turn_on(scene: slicer.vtkMRMLScene) -> None:
    """Keep states from now on; Slicer does not by custom."""
    scene.SetUndoOn()


def keep(scene: slicer.vtkMRMLScene) -> None:
    """Keep the state as it is: call before a change. Nothing while undo is off."""
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


def undo(scene: slicer.vtkMRMLScene) -> None:
    """Go back by one step that can be seen in the landmarks."""
    _until_changed(scene, scene.Undo, scene.GetNumberOfUndoLevels)


def redo(scene: slicer.vtkMRMLScene) -> None:
    """Go forth by one step that can be seen in the landmarks."""
    _until_changed(scene, scene.Redo, scene.GetNumberOfRedoLevels)


def _until_changed(scene: slicer.vtkMRMLScene, go: Callable[[], Any], levels: Callable[[], int]) -> None:
    before = _landmarks_in(scene)
    while levels() and _landmarks_in(scene) == before:
        go()


def _landmarks_in(scene: slicer.vtkMRMLScene) -> list[tuple[Any, ...]]:
    """All that a user can see change in the landmarks of all poses."""
    return [
        (
            node.GetID(),
            nodes.local_positions(node).tobytes(),
            nodes.locks(node).tobytes(),
            *map(node.GetAttribute, ATTRIBUTES),
        )
        for node in nodes.find_landmarks(scene)
    ]
