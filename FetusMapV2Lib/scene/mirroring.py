"""Correcting the handedness of a volume that a device or its reader delivers mirrored, by a transform above it.

The voxels stay unchanged, and the volume's landmarks follow. Undo does not remove the reflection: without the transform
the positions of the points would be wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from FetusMapV2Lib.scene.node_names import node_name, safe_name
from FetusMapV2Lib.scene.ownership import poses_of
from FetusMapV2Lib.scene.volume_nodes import ijk_to_world, matrix_to_vtk, parent_to_world

ATTRIBUTE = "FetusMapV2.PutRight"


def is_handedness_corrected(volume_node: Any) -> bool:
    """Whether the volume is reflected by `set_handedness_corrected`."""
    transform = _transform_of(volume_node)
    return transform is not None and transform.GetAttribute(ATTRIBUTE) == "1"


def set_handedness_corrected(volume_node: Any, wanted: bool) -> None:
    """Reflect a volume about its centre along the world's R axis, or undo that; does nothing if it is so already.

    The same reflection as `Volume.mirrored`.

    Raises:
        InputError: the volume is under a transform that is not linear.
    """
    if wanted == is_handedness_corrected(volume_node):
        return
    matrix = _reflection(volume_node) if wanted else np.eye(4)
    transform = _transform_of(volume_node) or _insert_transform(volume_node)
    transform.SetMatrixTransformToParent(matrix_to_vtk(matrix))
    transform.SetAttribute(ATTRIBUTE, "1" if wanted else "0")


def rejoin(volume_node: Any, landmarks_node: Any) -> None:
    """Put landmarks under the transform of their volume; undo may restore landmarks from before it was there."""
    transform = _transform_of(volume_node)
    if transform is not None and landmarks_node.GetParentTransformNode() is not transform:
        landmarks_node.SetAndObserveTransformNodeID(transform.GetID())


def _transform_of(volume_node: Any) -> Any:
    parent = volume_node.GetParentTransformNode()
    return parent if parent is not None and parent.GetAttribute(ATTRIBUTE) is not None else None


def _reflection(volume_node: Any) -> Any:
    """(4, 4) in the coordinate system below the other transforms of the volume."""
    size = np.array(volume_node.GetImageData().GetDimensions(), dtype=float)
    centre = ijk_to_world(volume_node) @ np.append((size - 1) / 2, 1.0)
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    mirror[0, 3] = 2.0 * centre[0]
    above = parent_to_world(volume_node)
    return np.linalg.inv(above) @ mirror @ above


def _insert_transform(volume_node: Any) -> Any:
    """Insert a transform between a volume with its landmarks and the transforms above them."""
    scene = volume_node.GetScene()
    name = scene.GenerateUniqueName(f"{safe_name(node_name(volume_node))} handedness corrected")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    transform.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    for node in (volume_node, *poses_of(scene, volume_node)):
        node.SetAndObserveTransformNodeID(transform.GetID())
    return transform
