"""The references, display nodes and meshes of a pose, restored where undo and redo lose them.

An undo state holds copies of model nodes. When such a copy is deleted, by the next step or a full history, its
destructor disconnects the mesh from the display nodes of the live model. Undo removes nodes from the scene one by one,
and with each node the references to it; redo restores the nodes without the references. A landmarks node therefore
stores the references of its pose as text, too.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

import slicer

from FetusMapV2Lib.scene import appearance, hierarchy_folders, pose_nodes
from FetusMapV2Lib.scene.node_attributes import read_attribute, write_attribute

ATTRIBUTE = "FetusMapV2.Links"

#: Priority of an observer: called first, so that all others find the links restored.
_BEFORE_OTHERS = 100.0


@dataclass(frozen=True)
class _Links:
    """Reference role -> node ID, and node ID -> ID of its display node."""

    nodes: dict[str, str] = field(default_factory=dict)
    displays: dict[str, str | None] = field(default_factory=dict)


_watched: weakref.WeakSet[Any] = weakref.WeakSet()


def restore_after_undo(scene: slicer.vtkMRMLScene) -> None:
    """Restore the links of all poses after every undo and redo in a scene."""
    if scene in _watched:
        return
    _watched.add(scene)
    # Not in `Observations`: these observers have no owner; they are deleted with the scene.
    for event in (scene.EndUndoEvent, scene.EndRedoEvent):
        scene.AddObserver(event, _on_history, _BEFORE_OTHERS)


def _on_history(scene: Any, event: str) -> None:
    for landmarks in pose_nodes.find_landmarks(scene):
        restore(landmarks)
    hierarchy_folders.remove_empty_folders(scene)


def store(landmarks: Any) -> None:
    """Store the links as they are; call after nodes were created."""
    roles = {role: landmarks.GetNodeReferenceID(role) for role in pose_nodes.reference_roles(landmarks)}
    shown = {node.GetID(): node.GetDisplayNodeID() for node in (landmarks, *pose_nodes.follower_nodes(landmarks))}
    write_attribute(landmarks, ATTRIBUTE, _Links(roles, shown))


def restore(landmarks: Any) -> None:
    """Restore what is missing: references, display nodes, meshes, colours."""
    links = read_attribute(landmarks, ATTRIBUTE, _Links) or _Links()
    _restore_references(landmarks, links.nodes)
    for node in (landmarks, *pose_nodes.follower_nodes(landmarks)):
        _restore_display(node, links.displays.get(node.GetID()))
    reconnect_meshes(landmarks)
    colours, shades = (landmarks.GetNodeReference(role) for role in pose_nodes.TABLE_REFERENCES)
    for model in models_of(landmarks):
        table = shades if model.GetAttribute(pose_nodes.ROLE_ATTRIBUTE) == pose_nodes.SLICE_SKELETON_ROLE else colours
        for display in appearance.displays([model] if table is not None else []):
            if display.GetScalarVisibility() and display.GetColorNode() is None:
                display.SetAndObserveColorNodeID(table.GetID())


def reconnect_meshes(landmarks: Any) -> None:
    """Connect display nodes to the meshes of their models again."""
    for model in models_of(landmarks):
        for display in appearance.displays([model]):
            if display.GetInputMeshConnection() is not model.GetMeshConnection():
                display.SetInputMeshConnection(model.GetMeshConnection())


def models_of(landmarks: Any) -> list[Any]:
    """The model nodes of a pose."""
    return [node for node in pose_nodes.follower_nodes(landmarks) if node.IsA("vtkMRMLModelNode")]


def _restore_references(landmarks: Any, stored: dict[str, str]) -> None:
    scene = landmarks.GetScene()
    for role, identifier in stored.items():
        if landmarks.GetNodeReference(role) is None and scene.GetNodeByID(identifier) is not None:
            others = (other for other in pose_nodes.find_landmarks(scene) if other is not landmarks)
            if not any(scene.IsNodeReferencingNodeID(other, identifier) for other in others):
                landmarks.SetNodeReferenceID(role, identifier)


def _restore_display(node: Any, identifier: str | None) -> None:
    """Connect a node to its own display node again, in place of a new one or none."""
    scene, now = node.GetScene(), node.GetDisplayNode()
    own = scene.GetNodeByID(identifier) if identifier else None
    if own is None or own is now or not own.IsA("vtkMRMLDisplayNode") or own.GetDisplayableNode() not in (None, node):
        return
    node.SetAndObserveDisplayNodeID(identifier)
    if now is not None and now.GetDisplayableNode() is None:
        scene.RemoveNode(now)
