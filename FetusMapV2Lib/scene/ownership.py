"""Which pose belongs to which volume: each belongs to one volume, and only one pose is shown at a time.

Volumes are identified by reference, never by name: two may have the same one. `pose_visibility.PoseVisibility` updates
the views while volumes and poses are added and removed.
"""

from __future__ import annotations

from typing import Any

import slicer

from FetusMapV2Lib.scene import appearance, pose_nodes
from FetusMapV2Lib.scene.node_lookup import nodes_by_class

#: Set on landmarks that were assigned to a volume: once that is deleted, they are known to be of another volume.
_OWNED_ATTRIBUTE = "FetusMapV2.OfVolume"


def assign_volume(landmarks: Any, volume: Any) -> None:
    """Let a pose belong to a volume."""
    landmarks.SetNodeReferenceID(pose_nodes.VOLUME_REFERENCE, volume.GetID())
    landmarks.SetAttribute(_OWNED_ATTRIBUTE, "1")


def volume_of(landmarks: Any) -> Any:
    """The volume node that a pose was estimated in; None if it is unknown or no longer in the scene."""
    return landmarks.GetNodeReference(pose_nodes.VOLUME_REFERENCE) if landmarks is not None else None


def is_orphaned(landmarks: Any) -> bool:
    """Whether a pose belongs to a volume that is no longer in the scene."""
    return volume_of(landmarks) is None and landmarks.GetAttribute(_OWNED_ATTRIBUTE) is not None


def all_poses(scene: slicer.vtkMRMLScene) -> list[Any]:
    """The landmarks nodes of all poses in a scene, the oldest first."""
    return pose_nodes.find_landmarks(scene)


def poses_of(scene: slicer.vtkMRMLScene, volume: Any) -> list[Any]:
    """The landmarks nodes of the poses that belong to a volume, the oldest first; none for no volume."""
    if volume is None:
        return []
    return [node for node in pose_nodes.find_landmarks(scene) if volume_of(node) is volume]


def nodes_of(landmarks: Any) -> list[Any]:
    """All nodes that show a pose: its landmarks, skeleton, plane, trace and lengths."""
    return [landmarks, *pose_nodes.follower_nodes(landmarks)]


def landmarks_of(fetus: Any) -> Any:
    """The landmarks node of a `PoseScene`, or the landmarks node itself, or None."""
    return getattr(fetus, "landmarks_node", fetus)


def show_only(scene: slicer.vtkMRMLScene, fetus: Any) -> None:
    """Hide all poses but one in all views, and the remaining nodes of poses whose landmarks were deleted.

    Parts of the shown pose that the user has hidden stay hidden.

    Args:
        scene: the scene.
        fetus: `PoseScene` or landmarks node; None = hide all poses.
    """
    landmarks = landmarks_of(fetus)
    own = [] if landmarks is None else nodes_of(landmarks)
    identifiers = {node.GetID() for node in own}
    appearance.hide(node for node in _parts_of_poses(scene) if node.GetID() not in identifiers)
    appearance.show_again(own)


def _parts_of_poses(scene: slicer.vtkMRMLScene) -> list[Any]:
    """The nodes of all poses that views can show."""
    found = nodes_by_class(scene, "vtkMRMLDisplayableNode")
    return [node for node in found if node.GetAttribute(pose_nodes.ROLE_ATTRIBUTE)]
