"""What the nodes of a pose are linked to, put back where undo and redo drop it.

A state kept for undo holds copies of model nodes. When one is let go of, by the next step or a full history, its
destructor takes the mesh from the display nodes of the model that lives on. Undo takes nodes out of the scene one by
one, and with each the references to it from those that come later; redo brings them back without. So a landmarks node
keeps the references of its pose as text, too.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

import slicer

from FetusMapV2Lib.scene import appearance, hierarchy_folders, pose_nodes
from FetusMapV2Lib.scene.node_attributes import read_attribute, write_attribute

ATTRIBUTE = "FetusMapV2.Links"

#: Priority of an observer: others find all links as they should be.
_BEFORE_OTHERS = 100.0


@dataclass(frozen=True)
class _Links:
    """Reference role -> node ID, and node ID -> ID of its display node."""

    nodes: dict[str, str] = field(default_factory=dict)
    displays: dict[str, str | None] = field(default_factory=dict)


_watched: weakref.WeakSet[Any] = weakref.WeakSet()


def watch(scene: slicer.vtkMRMLScene) -> None:
    """Mend all poses of a scene after every undo and redo, as long as it lives."""
    if scene in _watched:
        return
    _watched.add(scene)
    # Never removed: these observers have no owner, and go with the scene.
    for event in (scene.EndUndoEvent, scene.EndRedoEvent):
        scene.AddObserver(event, _on_history, _BEFORE_OTHERS)


def _on_history(scene: Any, event: str) -> None:
    for landmarks in pose_nodes.find_landmarks(scene):
        mend(landmarks)
    hierarchy_folders.sweep(scene)


def keep(landmarks: Any) -> None:
    """Remember the links as they are; call when nodes were made."""
    roles = {role: landmarks.GetNodeReferenceID(role) for role in pose_nodes.reference_roles(landmarks)}
    shown = {node.GetID(): node.GetDisplayNodeID() for node in (landmarks, *pose_nodes.followers(landmarks))}
    write_attribute(landmarks, ATTRIBUTE, _Links(roles, shown))


def mend(landmarks: Any) -> None:
    """Put back what is missing: references, display nodes, meshes, colours."""
    links = read_attribute(landmarks, ATTRIBUTE, _Links) or _Links()
    _mend_references(landmarks, links.nodes)
    for node in (landmarks, *pose_nodes.followers(landmarks)):
        _mend_display(node, links.displays.get(node.GetID()))
    mend_meshes(landmarks)
    skeleton = landmarks.GetNodeReference(pose_nodes.SKELETON_REFERENCE)
    colours = landmarks.GetNodeReference(pose_nodes.COLOURS_REFERENCE)
    for display in appearance.displays([skeleton] if skeleton is not None and colours is not None else []):
        if display.GetColorNode() is None:
            display.SetAndObserveColorNodeID(colours.GetID())


def mend_meshes(landmarks: Any) -> None:
    """Let display nodes draw the meshes of their models again."""
    for model in models_of(landmarks):
        for display in appearance.displays([model]):
            if display.GetInputMeshConnection() is not model.GetMeshConnection():
                display.SetInputMeshConnection(model.GetMeshConnection())


def models_of(landmarks: Any) -> list[Any]:
    """The model nodes of a pose."""
    found = (landmarks.GetNodeReference(role) for role in (pose_nodes.SKELETON_REFERENCE, pose_nodes.TRACE_REFERENCE))
    return [node for node in found if node is not None]


def _mend_references(landmarks: Any, kept: dict[str, str]) -> None:
    scene = landmarks.GetScene()
    for role, identifier in kept.items():
        if landmarks.GetNodeReference(role) is None and scene.GetNodeByID(identifier) is not None:
            others = (other for other in pose_nodes.find_landmarks(scene) if other is not landmarks)
            if not any(scene.IsNodeReferencingNodeID(other, identifier) for other in others):
                landmarks.SetNodeReferenceID(role, identifier)


def _mend_display(node: Any, identifier: str | None) -> None:
    """Give a node its own display node again, in place of a new one or none."""
    scene, now = node.GetScene(), node.GetDisplayNode()
    own = scene.GetNodeByID(identifier) if identifier else None
    if own is None or own is now or not own.IsA("vtkMRMLDisplayNode") or own.GetDisplayableNode() not in (None, node):
        return
    node.SetAndObserveDisplayNodeID(identifier)
    if now is not None and now.GetDisplayableNode() is None:
        scene.RemoveNode(now)
