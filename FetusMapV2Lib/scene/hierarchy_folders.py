"""The subject hierarchy folder that lists the nodes of a pose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer
from vtkmodules.vtkCommonCore import vtkIdList

#: Attribute of a folder: the ID of the landmarks node that it was made for.
_OF_LANDMARKS = "FetusMapV2.Role"


def move_to_folder(scene: slicer.vtkMRMLScene, name: str, nodes: Sequence[Any]) -> int:
    """Move nodes into one subject hierarchy folder and return its item (0 without a hierarchy).

    Slicer creates the items of nodes: a node that has none yet is skipped. A node that the user has moved to another
    folder stays there.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if hierarchy is None:
        return 0
    remove_empty_folders(scene)
    root = hierarchy.GetSceneItemID()
    folder = _folder_of(hierarchy, nodes[0], root)
    if not folder:
        folder = hierarchy.CreateFolderItem(root, name)
        hierarchy.SetItemAttribute(folder, _OF_LANDMARKS, nodes[0].GetID())
    for node in nodes:
        item = hierarchy.GetItemByDataNode(node)
        if item and hierarchy.GetItemParent(item) == root:
            hierarchy.SetItemParent(item, folder)
    return int(folder)


def _folder_of(hierarchy: Any, landmarks: Any, root: int) -> int:
    """The folder made for these landmarks, or the one they lie in; 0 if there is none."""
    item = hierarchy.GetItemByDataNode(landmarks)
    parent = hierarchy.GetItemParent(item) if item else 0
    if parent and parent != root:
        return int(parent)
    found = (item for item in _children(hierarchy, root) if _landmarks_of(hierarchy, item) == landmarks.GetID())
    return next(found, 0)


def remove_empty_folders(scene: slicer.vtkMRMLScene) -> None:
    """Remove empty folders of poses that were deleted."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if hierarchy is None:
        return
    for item in _children(hierarchy, hierarchy.GetSceneItemID()):
        identifier = _landmarks_of(hierarchy, item)
        if identifier and scene.GetNodeByID(identifier) is None and not _children(hierarchy, item):
            hierarchy.RemoveItem(item)


def _children(hierarchy: Any, item: int) -> list[int]:
    found = vtkIdList()
    hierarchy.GetItemChildren(item, found)
    return [int(found.GetId(index)) for index in range(found.GetNumberOfIds())]


def _landmarks_of(hierarchy: Any, item: int) -> str:
    return hierarchy.GetItemAttribute(item, _OF_LANDMARKS) or ""
