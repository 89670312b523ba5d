"""`Followers`: the nodes that follow the landmarks of a pose: skeleton, midsagittal plane, its trace, lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.planes import Plane, midsagittal_plane, same_plane
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.scene import pose_nodes
from FetusMapV2Lib.scene.node_names import make_name_harmless, without_name_in_labels
from FetusMapV2Lib.scene.skeleton import SkeletonMesh

Array = NDArray[np.float64]


class Followers:
    """Found by the references of the landmarks node; None where the user deleted one."""

    def __init__(self, scene: slicer.vtkMRMLScene, landmarks: Any, schema: Schema) -> None:
        self._scene, self._landmarks, self._schema = scene, landmarks, schema
        self._mesh = SkeletonMesh(schema)
        self._plane: Plane | None = None

    @property
    def skeleton(self) -> Any:
        return self._landmarks.GetNodeReference(pose_nodes.SKELETON_REFERENCE)

    @property
    def plane(self) -> Any:
        return self._landmarks.GetNodeReference(pose_nodes.PLANE_REFERENCE)

    @property
    def trace(self) -> Any:
        return self._landmarks.GetNodeReference(pose_nodes.TRACE_REFERENCE)

    @property
    def lines(self) -> dict[str, Any]:
        keys = pose_nodes.length_rows(self._schema)
        found = {key: self._landmarks.GetNodeReference(pose_nodes.LENGTH_REFERENCE + key) for key in keys}
        return {key: node for key, node in found.items() if node is not None}

    def complete(self, name: str) -> None:
        """Make the nodes that the landmarks node does not refer to yet."""
        scene, landmarks = self._scene, self._landmarks
        if self.skeleton is None:
            node = pose_nodes.add_skeleton(scene, name, self._mesh.polydata, self._colours(name))
            landmarks.SetNodeReferenceID(pose_nodes.SKELETON_REFERENCE, node.GetID())
        if self.plane is None:
            landmarks.SetNodeReferenceID(pose_nodes.PLANE_REFERENCE, pose_nodes.add_plane(scene, name).GetID())
        if self.trace is None:
            landmarks.SetNodeReferenceID(pose_nodes.TRACE_REFERENCE, pose_nodes.add_trace(scene, name).GetID())
        for key in pose_nodes.length_rows(self._schema).keys() - self.lines.keys():
            landmarks.SetNodeReferenceID(
                pose_nodes.LENGTH_REFERENCE + key, pose_nodes.add_line(scene, name, key).GetID()
            )
        for node in (landmarks, *pose_nodes.followers(landmarks)):
            node.SetUndoEnabled(True)
            if node.IsA("vtkMRMLMarkupsNode"):
                without_name_in_labels(node)
                make_name_harmless(node)

    def _colours(self, name: str) -> Any:
        """The colour table of the skeleton, made once."""
        node = self._landmarks.GetNodeReference(pose_nodes.COLOURS_REFERENCE)
        if node is None:
            node = pose_nodes.add_colours(self._scene, name, self._schema)
            node.SetUndoEnabled(True)
            self._landmarks.SetNodeReferenceID(pose_nodes.COLOURS_REFERENCE, node.GetID())
        return node

    def update(self, world: Array, changed: NDArray[np.bool_], *, anew: bool) -> None:
        """Follow landmarks at `world` (N, 3), RAS mm, of which some `changed` (N,).

        Args:
            anew: rely on nothing that was done before.
        """
        skeleton, lines = self.skeleton, self.lines
        if skeleton is not None:
            if skeleton.GetPolyData() is not self._mesh.polydata:
                skeleton.SetAndObservePolyData(self._mesh.polydata)
            self._mesh.update(pose_nodes.to_local(skeleton, world), anew=anew)
        self._update_plane(midsagittal_plane(world, self._schema), anew=anew)
        for key, (start, end) in pose_nodes.length_rows(self._schema).items():
            if key in lines and (changed[start] or changed[end]):
                pose_nodes.place_line(lines[key], world[start], world[end])

    def _update_plane(self, plane: Plane | None, *, anew: bool) -> None:
        if same_plane(plane, self._plane) and not anew:
            return
        self._plane = plane
        if self.plane is not None:
            pose_nodes.place_plane(self.plane, plane)
        if self.trace is not None:
            pose_nodes.place_trace(self.trace, plane)
