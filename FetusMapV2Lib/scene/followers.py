"""`Followers`: the nodes that follow the landmarks of a pose: skeletons, names, plane, trace, lengths, outlines."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from vtkmodules.util import numpy_support
from vtkmodules.vtkCommonDataModel import vtkCellArray

from FetusMapV2Lib.anatomy.planes import Plane, same_plane
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.scene import appearance, pose_nodes
from FetusMapV2Lib.scene.control_points import set_world_position, world_positions, world_to_local
from FetusMapV2Lib.scene.node_names import label_points_by_number, remove_percent_signs
from FetusMapV2Lib.scene.pose_snapshot import PoseSnapshot
from FetusMapV2Lib.scene.section_nodes import SectionNodes
from FetusMapV2Lib.scene.skeleton import SkeletonMesh
from FetusMapV2Lib.scene.slice_alignment import into_nearest_slice
from FetusMapV2Lib.scene.slice_skeletons import SliceSkeletons

Array = NDArray[np.float64]


class Followers:
    """The nodes that show a pose, found by references of its landmarks node; None where the user deleted one."""

    def __init__(self, scene: slicer.vtkMRMLScene, landmarks: Any, schema: Schema) -> None:
        self._scene, self._landmarks, self._schema = scene, landmarks, schema
        self._mesh = SkeletonMesh(schema)
        self.in_slices = SliceSkeletons(scene, landmarks, schema)
        self.sections = SectionNodes(scene, landmarks)
        self._plane: Plane | None = None
        self._ends: Array = np.full((2, 3), np.nan)

    @property
    def skeleton(self) -> Any:
        """The vtkMRMLModelNode of the skeleton."""
        return self._landmarks.GetNodeReference(pose_nodes.SKELETON_REFERENCE)

    @property
    def names(self) -> Any:
        """The vtkMRMLMarkupsFiducialNode of the names."""
        return self._landmarks.GetNodeReference(pose_nodes.NAMES_REFERENCE)

    @property
    def calliper(self) -> Any:
        """The vtkMRMLMarkupsLineNode of the crown-rump length in slices."""
        return self._landmarks.GetNodeReference(pose_nodes.CALLIPER_REFERENCE)

    @property
    def plane(self) -> Any:
        """The vtkMRMLMarkupsPlaneNode of the midsagittal plane."""
        return self._landmarks.GetNodeReference(pose_nodes.PLANE_REFERENCE)

    @property
    def trace(self) -> Any:
        """The vtkMRMLModelNode of the midsagittal plane in slice views."""
        return self._landmarks.GetNodeReference(pose_nodes.TRACE_REFERENCE)

    @property
    def lines(self) -> dict[str, Any]:
        """The vtkMRMLMarkupsLineNodes by key."""
        keys = pose_nodes.length_rows(self._schema)
        found = {key: self._landmarks.GetNodeReference(pose_nodes.LENGTH_REFERENCE + key) for key in keys}
        return {key: node for key, node in found.items() if node is not None}

    def add_missing(self, name: str) -> None:
        """Make the nodes that the landmarks node does not refer to yet."""
        scene, landmarks = self._scene, self._landmarks
        if self.skeleton is None:
            node = pose_nodes.add_skeleton(scene, name, self._mesh.polydata, self._colours(name))
            landmarks.SetNodeReferenceID(pose_nodes.SKELETON_REFERENCE, node.GetID())
        if self.names is None:
            landmarks.SetNodeReferenceID(
                pose_nodes.NAMES_REFERENCE, pose_nodes.add_names(scene, name, self._schema).GetID()
            )
            for display in appearance.displays([landmarks]):
                display.SetPointLabelsVisibility(False)
        self.in_slices.add_missing(name)
        if self.plane is None:
            landmarks.SetNodeReferenceID(pose_nodes.PLANE_REFERENCE, pose_nodes.add_plane(scene, name).GetID())
        if self.trace is None:
            landmarks.SetNodeReferenceID(pose_nodes.TRACE_REFERENCE, pose_nodes.add_trace(scene, name).GetID())
        for key in pose_nodes.length_rows(self._schema).keys() - self.lines.keys():
            landmarks.SetNodeReferenceID(
                pose_nodes.LENGTH_REFERENCE + key, pose_nodes.add_line(scene, name, key).GetID()
            )
        if self.calliper is None:
            landmarks.SetNodeReferenceID(pose_nodes.CALLIPER_REFERENCE, pose_nodes.add_calliper(scene).GetID())
            for display in appearance.displays([self.lines["crl"]]):
                display.SetVisibility2D(False)
        self.sections.add_missing(name)
        for node in (landmarks, *pose_nodes.follower_nodes(landmarks)):
            node.SetUndoEnabled(True)
            if node.IsA("vtkMRMLMarkupsNode"):
                label_points_by_number(node)
                remove_percent_signs(node)

    def _colours(self, name: str) -> Any:
        """The colour table of the skeleton, made once."""
        node = self._landmarks.GetNodeReference(pose_nodes.COLOURS_REFERENCE)
        if node is None:
            node = pose_nodes.add_colours(self._scene, name, self._schema)
            self._landmarks.SetNodeReferenceID(pose_nodes.COLOURS_REFERENCE, node.GetID())
        return node

    def update(self, snapshot: PoseSnapshot, changed: NDArray[np.bool_], *, force: bool) -> None:
        """Show another pose.

        Args:
            snapshot: the pose.
            changed: (N,) the landmarks that moved since the last update.
            force: update all nodes, whatever they showed before.
        """
        skeleton, lines, world = self.skeleton, self.lines, snapshot.world
        if skeleton is not None:
            if skeleton.GetPolyData() is not self._mesh.polydata:
                skeleton.SetAndObservePolyData(self._mesh.polydata)
            self._mesh.update(world_to_local(skeleton, world), force=force)
        self.in_slices.move(world, force=force)
        if self.names is not None:
            _place_names(self.names, world, changed)
        self._update_plane(snapshot.pose.midsagittal_plane, force=force)
        for key, (start, end) in pose_nodes.length_rows(self._schema).items():
            if key in lines and (changed[start] or changed[end]):
                _place_line(lines[key], world[start], world[end])
        self._ends = world[list(self._schema.crl_rows)]
        self._place_calliper()

    def follow_slice(self, view: Any) -> None:
        """Show the pose in a slice view whose slice may have moved."""
        if self.in_slices.follow(view):
            self._place_calliper()

    def _place_calliper(self) -> None:
        if self.calliper is None:
            return
        ends, length = self._ends, float(np.linalg.norm(self._ends[0] - self._ends[1]))
        if math.isfinite(length):
            self.calliper.SetName(f"CRL {length:.1f} mm")
            if self._plane is not None:
                ends = into_nearest_slice(self._scene, self._plane.normal, ends)
        _place_line(self.calliper, *ends)

    def _update_plane(self, plane: Plane | None, *, force: bool) -> None:
        if same_plane(plane, self._plane) and not force:
            return
        self._plane = plane
        if self.plane is not None:
            _place_plane(self.plane, plane)
        if self.trace is not None:
            _place_trace(self.trace, plane)


def _place_names(node: Any, world: Array, changed: NDArray[np.bool_]) -> None:
    """Move the names of landmarks that changed."""
    before = node.StartModify()
    for row in np.flatnonzero(changed).tolist():
        set_world_position(node, row, world[row])
    node.EndModify(before)


def _place_line(node: Any, start: Array, end: Array) -> None:
    """Move a line to two world points; it is hidden if either is NaN."""
    ends = np.stack([start, end])
    if not np.isfinite(ends).all():
        ends[:] = math.nan
    if np.array_equal(world_positions(node), ends, equal_nan=True):
        return  # each view would draw it again
    before = node.StartModify()
    for row, point in enumerate(ends):
        set_world_position(node, row, point)
    node.EndModify(before)


def _place_plane(node: Any, plane: Plane | None) -> None:
    """Move the plane node to `plane` (world); it is hidden without one."""
    if plane is None:
        set_world_position(node, 0, (math.nan,) * 3)
        return
    if node.GetNthControlPointPositionStatus(0) != node.PositionDefined:
        # Not in the bundle of events below: the node takes its axes from the point when that is defined.
        set_world_position(node, 0, plane.origin)
    # One event instead of two: views redraw the plane at each.
    node.SetDisableModifiedEvent(True)
    node.SetOriginWorld(plane.origin.tolist())
    node.SetAxesWorld(plane.x_axis.tolist(), plane.y_axis.tolist(), plane.normal.tolist())
    node.SetSizeWorld(*plane.extent_mm)
    node.SetDisableModifiedEvent(False)
    node.InvokeCustomModifiedEvent(node.PointModifiedEvent)


def _place_trace(node: Any, plane: Plane | None) -> None:
    """Move the trace to `plane` (world); it is hidden without one."""
    polydata = node.GetPolyData()
    if polydata.GetNumberOfCells() != (plane is not None):
        polydata.SetPolys(_one_cell(4) if plane is not None else vtkCellArray())
    corners = np.zeros((4, 3)) if plane is None else world_to_local(node, plane.corners)
    polydata.GetPoints().SetData(numpy_support.numpy_to_vtk(corners, deep=True))
    polydata.GetPoints().Modified()
    polydata.Modified()


def _one_cell(points: int) -> vtkCellArray:
    cells = vtkCellArray()
    cells.InsertNextCell(points, list(range(points)))
    return cells
