"""`PoseScene`: a pose as live MRML nodes.

Points that can be dragged, and what follows them: skeletons, names, midsagittal plane, lengths, measurements.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from vtkmodules.vtkCommonCore import vtkCommand

from FetusMapV2Lib.anatomy.biometry import Measurement, measure
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.core.listeners import Listeners
from FetusMapV2Lib.imaging.point_notes import PointState
from FetusMapV2Lib.scene import appearance, hierarchy_folders, node_links, ownership, pose_nodes
from FetusMapV2Lib.scene.batch_processing import batch_processing
from FetusMapV2Lib.scene.edit_recorder import EditRecorder
from FetusMapV2Lib.scene.followers import Followers
from FetusMapV2Lib.scene.landmark_writing import adopt_landmarks, write_descriptions, write_estimate
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Lib.scene.node_names import pose_name, remove_percent_signs, safe_markups_name
from FetusMapV2Lib.scene.observations import Observations, with_node
from FetusMapV2Lib.scene.pose_snapshot import PoseSnapshot
from FetusMapV2Lib.scene.provenance import Provenance
from FetusMapV2Lib.scene.section_nodes import SectionNodes

Array = NDArray[np.float64]
Listener = Callable[["PoseScene"], None]


class PoseScene:
    """One fetus in a scene.

    Points are moved through `landmarks_node` (by the mouse, a script, undo, a sequence) or `set_pose`; all other nodes
    follow at once and are never recreated. Positions are world coordinates, whatever parent transforms there are.

    Attributes:
        snapshot: the pose after the last change, as handed to followers and listeners. It is up to date whenever a
            listener is called. Use `pose`, `states` and the other methods elsewhere: they read the nodes.
        edit_log: what was done to the landmarks by hand.
        update_context: returns a context in which all nodes that follow a change are updated, e.g. one that pauses
            rendering.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, landmarks_node: Any, schema: Schema) -> None:
        """Use `create` or `attach`."""
        self.scene = scene
        self.landmarks_node = landmarks_node
        self.schema = schema
        self.snapshot = PoseSnapshot.read(landmarks_node, schema)
        self.update_context: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
        self.edit_log = EditRecorder(scene, landmarks_node, self.current)
        self._followers = Followers(scene, landmarks_node, schema)
        self._listeners = Listeners[PoseScene]()
        self._observations = Observations()
        self._follower_observations = Observations()
        self._slice_observations = Observations()
        self._busy = False
        self._open = True

    @classmethod
    def create(
        cls,
        scene: slicer.vtkMRMLScene,
        pose: Pose,
        *,
        volume_node: Any = None,
        name: str = "Fetus",
        model: str = "",
    ) -> PoseScene:
        """Add the nodes of a pose to a scene.

        Args:
            scene: the MRML scene.
            pose: positions (N, 3) in RAS mm (world); NaN rows become missing points.
            volume_node: the volume it was estimated in; the points share its parent transform, so that they move
                with it.
            name: of the folder, and the beginning of all node names; made safe and unique in the scene.
            model: name and identity of the model that gave the pose.
        """
        name = pose_nodes.unique_name(scene, safe_markups_name(name))
        with batch_processing(scene):
            landmarks = pose_nodes.add_landmarks(scene, name, pose.schema)
            if volume_node is not None:
                ownership.assign_volume(landmarks, volume_node)
                landmarks.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
            write_estimate(landmarks, pose, model)
            result = cls(scene, landmarks, pose.schema)
            result._place(name)
        result._observe()
        return result

    @classmethod
    def attach(cls, scene: slicer.vtkMRMLScene, landmarks_node: Any, schema: Schema) -> PoseScene:
        """Observe the nodes of a pose again, after a scene was loaded or an undo has restored them.

        Nodes that are missing are recreated; all others keep their display. Landmarks from a file (.mrk.json) become
        a pose, with what the descriptions of the points say about their estimate.

        Raises:
            InputError: the node is not a landmarks node of this schema.
        """
        adopt_landmarks(landmarks_node, schema)
        if ownership.volume_of(landmarks_node) is not None:
            ownership.assign_volume(landmarks_node, ownership.volume_of(landmarks_node))
        result = cls(scene, landmarks_node, schema)
        with batch_processing(scene):
            result._place(pose_name(landmarks_node))
        result._observe()
        return result

    @classmethod
    def attach_all(cls, scene: slicer.vtkMRMLScene, schema: Schema) -> list[PoseScene]:
        """`attach` for every pose in the scene."""
        return [cls.attach(scene, node, schema) for node in pose_nodes.find_landmarks(scene)]

    # The nodes.

    @property
    def skeleton_node(self) -> Any:
        """The vtkMRMLModelNode of the skeleton, or None if the user deleted it."""
        return self._followers.skeleton

    @property
    def slice_skeleton_nodes(self) -> list[Any]:
        """The vtkMRMLModelNodes of the projected skeleton, one per slice view."""
        return self._followers.in_slices.nodes

    @property
    def names_node(self) -> Any:
        """The vtkMRMLMarkupsFiducialNode that shows names, or None if a script deleted it."""
        return self._followers.names

    @property
    def calliper_node(self) -> Any:
        """The vtkMRMLMarkupsLineNode of the crown-rump length in slices, or None if a script deleted it."""
        return self._followers.calliper

    @property
    def plane_node(self) -> Any:
        """The vtkMRMLMarkupsPlaneNode of the midsagittal plane (normal to the fetal left), or None."""
        return self._followers.plane

    @property
    def trace_node(self) -> Any:
        """The vtkMRMLModelNode that shows the midsagittal plane in slice views, or None."""
        return self._followers.trace

    @property
    def line_nodes(self) -> dict[str, Any]:
        """The vtkMRMLMarkupsLineNodes by key: crl, left_femur, right_femur, left_humerus, right_humerus."""
        return self._followers.lines

    @property
    def sections(self) -> SectionNodes:
        """The outlines of head and abdomen, and the callipers of the nuchal translucency."""
        return self._followers.sections

    @property
    def volume_node(self) -> Any:
        """The volume that the pose was estimated in, or None."""
        return ownership.volume_of(self.landmarks_node)

    @property
    def all_nodes(self) -> list[Any]:
        """The landmarks node and all that follow it."""
        return ownership.nodes_of(self.landmarks_node)

    @property
    def is_open(self) -> bool:
        """False after `close`, and after the landmarks or the scene are gone."""
        return self._open

    # The pose as the nodes hold it now, also while several changes are collected (between StartModify and EndModify).

    def current(self) -> PoseSnapshot:
        """The pose as it is now: `snapshot`, unless the nodes have changed since."""
        return PoseSnapshot.read(self.landmarks_node, self.schema, self.snapshot)

    @property
    def provenance(self) -> Provenance:
        """The estimate and its corrections, as stored with the points."""
        return self.current().provenance

    @property
    def model(self) -> str:
        """Name and checksum of the model that gave the pose, empty if unknown."""
        return self.provenance.model

    @property
    def problem(self) -> str:
        """Why the point list no longer holds the landmarks of the schema; empty if it does.

        Points may be added, deleted or renamed elsewhere in Slicer. Until that is undone or the pose is estimated
        again, all landmarks count as missing, and nothing is measured.
        """
        return self.current().problem

    def pose(self) -> Pose:
        """The pose in world coordinates, see `PoseSnapshot.pose`."""
        return self.current().pose

    def local_positions(self) -> Array:
        """(N, 3) mm in the landmarks node's own coordinates, before its parent transform; NaN = missing."""
        return self.current().local

    def locks(self) -> NDArray[np.bool_]:
        """(N,) which landmarks are locked; none in a list with a `problem`."""
        return self.current().locked

    def measurements(self) -> tuple[Measurement, ...]:
        """CRL, femora and humeri of the pose."""
        return measure(self.pose())

    def states(self) -> tuple[PointState, ...]:
        """Per landmark: "estimated", "edited" (moved or added by hand), "confirmed" or "missing"."""
        return self.current().states

    def set_pose(self, pose: Pose, model: str = "") -> None:
        """Replace the pose and all its corrections by a new estimate, in the same nodes.

        Raises:
            ValueError: the pose has another schema.
        """
        if pose.schema != self.schema:
            raise ValueError(f"the pose has the schema {pose.schema.id}, the nodes have {self.schema.id}")
        busy, self._busy = self._busy, True
        try:
            write_estimate(self.landmarks_node, pose, model)
        finally:
            self._busy = busy
        self._update()

    def show_names(self, rows: Collection[int]) -> None:
        """Show the names of these landmarks alone."""
        node = self.names_node
        if node is None:
            return
        before = node.StartModify()
        for row in range(self.schema.count):
            if bool(node.GetNthControlPointVisibility(row)) != (row in rows):
                node.SetNthControlPointVisibility(row, row in rows)
        node.EndModify(before)

    # Listeners.

    def add_listener(self, callback: Listener) -> Callable[[], None]:
        """Call `callback(self)` after every change of the pose, and once more when it ends (`is_open` false).

        Returns:
            A function that removes the listener.
        """
        return self._listeners.add(callback)

    def close(self) -> None:
        """Stop observing the nodes; they stay in the scene as they are. Closing twice does no harm."""
        if not self._open:
            return
        self._open = False
        self._observations.clear()
        self.edit_log.close()
        self._follower_observations.clear()
        self._slice_observations.clear()
        self._listeners.notify(self)
        self._listeners.clear()

    # Updating.

    def _place(self, name: str) -> None:
        """Add the nodes that are missing, and show the pose in all of them."""
        node_links.restore(self.landmarks_node)
        self._followers.add_missing(name)
        node_links.store(self.landmarks_node)
        hierarchy_folders.move_to_folder(self.scene, name, self.all_nodes)
        self._update(everything=True)

    def _observe(self) -> None:
        """Observe the nodes, after the views do: what follows a move is then part of the same picture."""
        node, scene, observe = self.landmarks_node, self.scene, self._observations.observe
        moved = (node.PointModifiedEvent, node.PointPositionMissingEvent, node.PointPositionUndefinedEvent)
        others = (node.PointAddedEvent, node.PointRemovedEvent, vtkCommand.ModifiedEvent)  # and attributes
        observe(node, (*moved, *others), self._on_points)
        self.edit_log.observe()
        observe(scene, scene.StartCloseEvent, self._on_close)
        observe(scene, scene.NodeAddedEvent, self._on_node_added)
        observe(scene, scene.NodeRemovedEvent, self._on_node_removed)
        restored = (scene.EndUndoEvent, scene.EndRedoEvent, scene.EndImportEvent, scene.EndRestoreEvent)
        observe(scene, restored, self._on_restored)
        self._observe_followers()
        self._observe_slices()

    def _observe_slices(self) -> None:
        for view in nodes_by_class(self.scene, "vtkMRMLSliceNode"):
            self._slice_observations.observe(view, vtkCommand.ModifiedEvent, self._on_slice)

    def _observe_followers(self) -> None:
        """Undo may have replaced them by others."""
        self._follower_observations.clear()
        observe, modified = self._follower_observations.observe, vtkCommand.ModifiedEvent
        for follower in self.all_nodes:
            observe(follower, follower.TransformModifiedEvent, self._on_transform)
            if follower.IsA("vtkMRMLMarkupsNode"):
                observe(follower, modified, self._on_named)
        for node in self.sections.draggable:
            observe(node, node.PointModifiedEvent, self._on_dragged)
        # The display nodes themselves: views do not hear a model's event again while it is being handled.
        for display in appearance.displays(node_links.models_of(self.landmarks_node)):
            observe(display, modified, self._on_display)

    # Between StartModify and EndModify events are collapsed and come without the number of the point, so all
    # callbacks compare with the last snapshot and take the call data as optional.

    def _on_points(self, caller: Any, event: str, index: Any = None) -> None:
        self._update()

    def _on_transform(self, caller: Any, event: str, data: Any = None) -> None:
        self._update(everything=True)

    def _on_restored(self, caller: Any, event: str, data: Any = None) -> None:
        if self._open:
            node_links.restore(self.landmarks_node)
            self._add_slices()
            self._observe_followers()
            self._update(everything=True)

    def _add_slices(self) -> None:
        """Show the skeleton in slice views that were added, or whose nodes an undo took away."""
        if self._followers.in_slices.add_missing(pose_name(self.landmarks_node)):
            node_links.store(self.landmarks_node)
        self._observe_slices()

    def _on_slice(self, caller: Any, event: str, data: Any = None) -> None:
        if self._open and not self._busy and not self.scene.IsImporting():
            self._followers.follow_slice(caller)

    @with_node
    def _on_node_added(self, caller: Any, event: str, node: Any = None) -> None:
        is_changing = self.scene.IsImporting() or self.scene.IsUndoing() or self.scene.IsRedoing()
        if self._open and not is_changing and node is not None and node.IsA("vtkMRMLSliceNode"):
            self._add_slices()
            self._observe_followers()
            self._update(everything=True)

    def _on_dragged(self, caller: Any, event: str, data: Any = None) -> None:
        is_changing = self.scene.IsImporting() or self.scene.IsUndoing() or self.scene.IsRedoing()
        if self._open and not self._busy and not is_changing:
            self.sections.follow(caller)

    def _on_named(self, caller: Any, event: str, data: Any = None) -> None:
        remove_percent_signs(caller)

    def _on_display(self, caller: Any, event: str, data: Any = None) -> None:
        if self._open and not self.scene.IsClosing():
            node_links.reconnect_meshes(self.landmarks_node)

    def _on_close(self, caller: Any, event: str, data: Any = None) -> None:
        self.close()

    def _on_node_removed(self, caller: Any, event: str, data: Any = None) -> None:
        if not self.scene.IsNodePresent(self.landmarks_node):
            self.close()
            pose_nodes.remove_followers(self.scene, self.landmarks_node)

    def _update(self, everything: bool = False) -> None:
        """Update all nodes that depend on the points, and call the listeners, if anything changed."""
        if self._busy or not self._open or self.scene.IsImporting():
            return
        self._busy = True
        try:
            before, now = self.snapshot, self.current()
            self.snapshot = now
            changed = now.moved_since(before) | everything
            restored = (
                everything or now.stored != before.stored
            )  # a sequence or an undo may have replaced what is stored
            if not changed.any() and not restored:
                return
            with self.update_context():
                if not now.problem and (restored or now.states != before.states):
                    write_descriptions(self.landmarks_node, now)
                if changed.any():
                    self._followers.update(now, changed, force=everything)
                if restored:
                    self.sections.update()
        finally:
            self._busy = False
        self.edit_log.follow(self.snapshot)
        self._listeners.notify(self)
