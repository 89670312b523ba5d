"""Which slice views lie in, or near, the midsagittal plane of a pose, and what is not to be drawn in which of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from FetusMapV2Lib.scene import pose_nodes
from FetusMapV2Lib.scene.control_points import world_positions
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Lib.scene.section_nodes import KEYS
from FetusMapV2Lib.scene.slice_skeletons import shown_slice

#: A slice within this angle shows the plane itself, not a line where both meet.
_IN_PLANE_COS = math.cos(math.radians(20.0))
#: A calliper is read in slices within this angle.
_NEAR_PLANE_COS = math.cos(math.radians(35.0))


#: A calliper is shown in a slice that is this close to its ends.
_NEAR_SLICE_MM = 8.0
#: An outline is shown in a slice that is this close to its middle.
_NEAR_OUTLINE_MM = 2.0


@dataclass(frozen=True)
class Aligned:
    """IDs of slice views.

    Attributes:
        in_plane: those that lie in the midsagittal plane, or parallel to it.
        across: those that are too oblique to show the crown-rump length.
        without_outline: pairs of a node of an outline and a view whose slice is not near its plane.
    """

    in_plane: frozenset[str] = frozenset()
    across: frozenset[str] = frozenset()
    without_outline: frozenset[tuple[str, str]] = frozenset()


def aligned_views(scene: slicer.vtkMRMLScene, landmarks: Any) -> Aligned:
    """How the slice views lie to the midsagittal plane and the outlines of a pose; all fit one without a plane."""
    without = _without_outline(scene, landmarks)
    plane = landmarks.GetNodeReference(pose_nodes.PLANE_REFERENCE)
    if plane is None or plane.GetNthControlPointPositionStatus(0) != plane.PositionDefined:
        return Aligned(without_outline=without)
    normal = np.array(plane.GetNormalWorld())
    cosines = {view.GetID(): abs(shown_slice(view)[1] @ normal) for view in nodes_by_class(scene, "vtkMRMLSliceNode")}
    return Aligned(
        frozenset(view for view, cosine in cosines.items() if cosine > _IN_PLANE_COS),
        frozenset(view for view, cosine in cosines.items() if cosine < _NEAR_PLANE_COS),
        without,
    )


def _without_outline(scene: slicer.vtkMRMLScene, landmarks: Any) -> frozenset[tuple[str, str]]:
    pairs = []
    for key in KEYS:
        handles, outline = (
            landmarks.GetNodeReference(role + key)
            for role in (pose_nodes.HANDLES_REFERENCE, pose_nodes.OUTLINE_REFERENCE)
        )
        if handles is None or outline is None or handles.GetNthControlPointPositionStatus(0) != handles.PositionDefined:
            continue
        places = world_positions(handles)
        normal = np.cross(places[0] - places[1], places[2] - places[3])
        normal /= np.linalg.norm(normal)
        for view in nodes_by_class(scene, "vtkMRMLSliceNode"):
            origin, across = shown_slice(view)
            near = abs((places.mean(axis=0) - origin) @ across) < _NEAR_OUTLINE_MM
            if not near or abs(across @ normal) < _IN_PLANE_COS:
                pairs += [(node.GetID(), view.GetID()) for node in (handles, outline)]
    return frozenset(pairs)


def into_nearest_slice(scene: slicer.vtkMRMLScene, normal: Any, ends: Any) -> Any:
    """The ends of a calliper, moved into the slice that shows them best; as they are without one.

    Slicer draws the points and the text of a line in the slice that holds them, and nowhere else.

    Args:
        scene: the MRML scene with the slice views.
        normal: (3,) unit normal of the midsagittal plane.
        ends: (2, 3) RAS mm.
    """
    slices = [shown_slice(view) for view in nodes_by_class(scene, "vtkMRMLSliceNode") if view.IsMappedInLayout()]
    origin, across = max(slices, key=lambda one: abs(one[1] @ normal), default=(np.zeros(3), np.zeros(3)))
    away = (ends - origin) @ across
    if abs(across @ normal) < _NEAR_PLANE_COS or np.abs(away).max() > _NEAR_SLICE_MM:
        return ends
    return ends - away[:, None] * across


def unfit_views(node: Any, aligned: Aligned) -> frozenset[str]:
    """IDs of the views in which a node of a pose is not drawn."""
    role = node.GetAttribute(pose_nodes.ROLE_ATTRIBUTE)
    if role == pose_nodes.TRACE_ROLE:
        return aligned.in_plane
    if role == pose_nodes.CALLIPER_ROLE:
        return aligned.across
    if role in (pose_nodes.OUTLINE_ROLE, pose_nodes.HANDLES_ROLE):
        return frozenset(view for outline, view in aligned.without_outline if outline == node.GetID())
    return frozenset()
