"""Which slice views lie in, or near, the midsagittal plane of a pose, and what is not to be drawn in which of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from FetusMapV2Lib.scene import pose_nodes
from FetusMapV2Lib.scene.node_lookup import nodes_by_class

#: A slice within this angle shows the plane itself, not a line where both meet.
_IN_PLANE_COS = math.cos(math.radians(20.0))
#: A calliper is read in slices within this angle.
_NEAR_PLANE_COS = math.cos(math.radians(35.0))


@dataclass(frozen=True)
class Aligned:
    """IDs of slice views.

    Attributes:
        in_plane: those that lie in the midsagittal plane, or parallel to it.
        across: those that are too oblique to show the crown-rump length.
    """

    in_plane: frozenset[str] = frozenset()
    across: frozenset[str] = frozenset()


def aligned_views(scene: slicer.vtkMRMLScene, landmarks: Any) -> Aligned:
    """How the slice views lie to the midsagittal plane of a pose; all fit one without a plane."""
    plane = landmarks.GetNodeReference(pose_nodes.PLANE_REFERENCE)
    if plane is None or plane.GetNthControlPointPositionStatus(0) != plane.PositionDefined:
        return Aligned()
    normal = np.array(plane.GetNormalWorld())
    cosines = {view.GetID(): abs(_normal(view) @ normal) for view in nodes_by_class(scene, "vtkMRMLSliceNode")}
    return Aligned(
        frozenset(view for view, cosine in cosines.items() if cosine > _IN_PLANE_COS),
        frozenset(view for view, cosine in cosines.items() if cosine < _NEAR_PLANE_COS),
    )


def unfit_views(node: Any, aligned: Aligned) -> frozenset[str]:
    """IDs of the views in which a node of a pose is not drawn."""
    role = node.GetAttribute(pose_nodes.ROLE_ATTRIBUTE)
    if role == pose_nodes.TRACE_ROLE:
        return aligned.in_plane
    if role == pose_nodes.CALLIPER_ROLE:
        return aligned.across
    return frozenset()


def _normal(view: Any) -> Any:
    matrix = view.GetSliceToRAS()
    return np.array([matrix.GetElement(row, 2) for row in range(3)])
