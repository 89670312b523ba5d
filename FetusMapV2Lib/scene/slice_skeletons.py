"""`SliceSkeletons`: the skeleton projected into every slice view, fainter the farther a limb lies from the slice."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.scene import pose_nodes
from FetusMapV2Lib.scene.control_points import world_to_local
from FetusMapV2Lib.scene.limb_lines import LimbLines
from FetusMapV2Lib.scene.node_lookup import nodes_by_class

Array = NDArray[np.float64]
Slice = tuple[Array, Array]


class SliceSkeletons:
    """One model node per slice view, found by references of the landmarks node.

    Args:
        scene: the MRML scene.
        landmarks: the landmarks node of the pose.
        schema: its landmarks.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, landmarks: Any, schema: Schema) -> None:
        self._scene, self._landmarks, self._schema = scene, landmarks, schema
        self._lines: dict[str, LimbLines] = {}
        self._slices: dict[str, Slice] = {}

    @property
    def nodes(self) -> list[Any]:
        """The vtkMRMLModelNodes, one per slice view."""
        references = pose_nodes.reference_roles(self._landmarks)
        roles = [role for role in references if role.startswith(pose_nodes.IN_SLICE_REFERENCE)]
        found = map(self._landmarks.GetNodeReference, roles)
        return [node for node in found if node is not None]

    def add_missing(self, name: str) -> bool:
        """Make the nodes of slice views that have none yet; true if there were any."""
        added = False
        for view in nodes_by_class(self._scene, "vtkMRMLSliceNode"):
            role = _role(view)
            if self._landmarks.GetNodeReference(role) is None:
                lines = self._lines[role] = LimbLines(self._schema)
                node = pose_nodes.add_slice_skeleton(self._scene, name, view, lines.polydata, self._shades(name))
                self._landmarks.SetNodeReferenceID(role, node.GetID())
                added = True
        return added

    def move(self, positions: Array, *, force: bool = False) -> None:
        """Show other positions (N, 3), RAS mm, in all slice views.

        Args:
            positions: NaN = missing.
            force: update all nodes, whatever they showed before.
        """
        for view in nodes_by_class(self._scene, "vtkMRMLSliceNode"):
            role = _role(view)
            node = self._landmarks.GetNodeReference(role)
            if node is not None:
                lines = self._lines_of(node, role)
                lines.move(positions, world_to_local(node, positions), force=force)
                self._slices[role] = shown_slice(view)
                lines.fade(*self._slices[role])

    def follow(self, view: Any) -> bool:
        """Fade the lines in a slice view; false if its slice has not moved."""
        role, now = _role(view), shown_slice(view)
        before = self._slices.get(role)
        if before is not None and all(map(np.array_equal, now, before)):
            return False
        if role in self._lines and self._landmarks.GetNodeReference(role) is not None:
            self._slices[role] = now
            self._lines[role].fade(*now)
        return True

    def _lines_of(self, node: Any, role: str) -> LimbLines:
        """The lines that a node shows; undo and loading replace them."""
        lines = self._lines.setdefault(role, LimbLines(self._schema))
        if node.GetPolyData() is not lines.polydata:
            node.SetAndObservePolyData(lines.polydata)
        return lines

    def _shades(self, name: str) -> Any:
        """The colour table, made once."""
        node = self._landmarks.GetNodeReference(pose_nodes.SHADES_REFERENCE)
        if node is None:
            node = pose_nodes.add_shades(self._scene, name, self._schema)
            self._landmarks.SetNodeReferenceID(pose_nodes.SHADES_REFERENCE, node.GetID())
        return node


def _role(view: Any) -> str:
    return f"{pose_nodes.IN_SLICE_REFERENCE}{view.GetID()}"


def shown_slice(view: Any) -> Slice:
    """A point and the normal of the slice that a view shows."""
    matrix = view.GetSliceToRAS()
    columns = [np.array([matrix.GetElement(row, column) for row in range(3)]) for column in (3, 2)]
    return columns[0], columns[1]
