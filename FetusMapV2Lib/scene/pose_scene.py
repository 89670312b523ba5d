"""`PoseScene`: a pose as live MRML nodes.

Twenty-two points that can be dragged, and what follows them: skeleton, midsagittal plane, lengths, measurements.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.biometry import Measurement, measure
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.imaging.point_notes import PointState
from FetusMapV2Lib.scene import appearance, hierarchy_folders, node_links, ownership, pose_nodes
from FetusMapV2Lib.scene.corrections import Corrections
from FetusMapV2Lib.scene.estimate_record import ESTIMATE_ATTRIBUTE, EstimateRecord
from FetusMapV2Lib.scene.followers import Followers
from FetusMapV2Lib.scene.node_names import make_name_harmless, pose_name, printable, safe_markups_name
from FetusMapV2Lib.scene.observations import Observations
from FetusMapV2Lib.scene.point_list import fill_list, problem_of_list
from FetusMapV2Lib.scene.provenance import ATTRIBUTES, Provenance

Array = NDArray[np.float64]
Listener = Callable[["PoseScene"], None]


class PoseScene:
    """One fetus in a scene.

    Points are moved through `landmarks_node` (by the mouse, a script, undo, a sequence) or `set_pose`; everything
    else follows at once, in the same nodes. Positions are world coordinates, whatever parent transforms there are.

    Attributes:
        around_update: gives a context in which all that follows a move is changed, e.g. one that pauses rendering.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, landmarks_node: Any, schema: Schema) -> None:
        """Use `create` or `attach`."""
        self.scene = scene
        self.landmarks_node = landmarks_node
        self.schema = schema
        self._followers = Followers(scene, landmarks_node, schema)
        self._buffer = vtk.vtkPoints()
        self._buffer.SetDataTypeToDouble()
        self._nowhere = np.full((schema.count, 3), np.nan)
        self._world = self._nowhere
        self._provenance = Provenance.load(landmarks_node, schema)
        self._kept: tuple[Any, ...] = ()
        self._states: tuple[PointState, ...] = ()
        self.around_update: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
        self._listeners: list[Listener] = []
        self._observations = Observations()
        self._follower_observations = Observations()
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
        schema = pose.schema
        name = pose_nodes.unique_name(scene, safe_markups_name(name))
        landmarks = pose_nodes.add_landmarks(scene, name, schema)
        if volume_node is not None:
            ownership.give_to(landmarks, volume_node)
            landmarks.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
        result = cls(scene, landmarks, schema)
        result._fill(pose, model)
        result._start(name)
        return result

    @classmethod
    def attach(cls, scene: slicer.vtkMRMLScene, landmarks_node: Any, schema: Schema) -> PoseScene:
        """Make the nodes of a pose live again, after a scene was loaded or an undo brought them back.

        Nodes that are gone are made again; all others keep their display. Landmarks from a file (.mrk.json) become
        a pose, with what the descriptions of the points tell about their estimate.

        Raises:
            InputError: the node is not a landmarks node of this schema.
        """
        pose_nodes.check_landmarks(landmarks_node, schema)
        if not landmarks_node.GetAttribute(ESTIMATE_ATTRIBUTE):
            pose_nodes.make_landmarks(landmarks_node, schema)
            Provenance.from_notes(landmarks_node, schema).save(landmarks_node)
        if ownership.volume_of(landmarks_node) is not None:
            ownership.give_to(landmarks_node, ownership.volume_of(landmarks_node))
        result = cls(scene, landmarks_node, schema)
        result._start(pose_name(landmarks_node))
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

    # The pose.

    @property
    def provenance(self) -> Provenance:
        """The estimate and what was corrected in it, as kept with the points now."""
        if self._kept_now(self.problem) == self._kept:
            return self._provenance
        return Provenance.load(self.landmarks_node, self.schema)

    @property
    def model(self) -> str:
        """Name and checksum of the model that gave the pose, empty if unknown."""
        return self.provenance.model

    @property
    def problem(self) -> str:
        """Why the point list is no longer one of this schema's landmarks; empty if it is.

        Points may be added, deleted or renamed elsewhere in Slicer. Until that is undone or the pose is estimated anew,
        all landmarks count as missing, and nothing is measured.
        """
        return problem_of_list(self.landmarks_node, self.schema)

    def pose(self) -> Pose:
        """The pose as it is now, in world coordinates; see `Provenance.pose`. A missing point has NaN for all."""
        node = self.landmarks_node
        world = self._nowhere if self.problem else pose_nodes.world_positions(node, self._buffer)
        return self.provenance.pose(world, self.local_positions())

    def local_positions(self) -> Array:
        """(N, 3) mm in the landmarks node's own coordinates, before its parent transform; NaN = missing."""
        return self._nowhere if self.problem else pose_nodes.local_positions(self.landmarks_node)

    def locks(self) -> NDArray[np.bool_]:
        """(N,) which landmarks are locked; none in a list with a `problem`."""
        return np.zeros(self.schema.count, bool) if self.problem else pose_nodes.locks(self.landmarks_node)

    def measurements(self) -> tuple[Measurement, ...]:
        """CRL, femora and humeri of the present pose."""
        return measure(self.pose())

    def states(self) -> tuple[PointState, ...]:
        """Per landmark: "estimated", "edited" (moved or added by hand), "confirmed" or "missing"."""
        return self.provenance.states(self.local_positions())

    def set_pose(self, pose: Pose, model: str = "") -> None:
        """Take a new estimate into the same nodes, in place of all corrections; a list with a `problem` is made whole.

        Raises:
            ValueError: it has another number of landmarks.
        """
        _check_count(pose, self.schema)
        self._fill(pose, model)
        self._update()

    # Who follows.

    def add_listener(self, callback: Listener) -> Callable[[], None]:
        """Call `callback(self)` after every change of the pose, and once more when it ends (`is_open` false).

        Returns:
            A function that removes the listener.
        """
        self._listeners.append(callback)

        def remove() -> None:
            if callback in self._listeners:
                self._listeners.remove(callback)

        return remove

    def close(self) -> None:
        """Stop following; the nodes stay in the scene as they are. Twice does no harm."""
        if not self._open:
            return
        self._open = False
        self._observations.clear()
        self._follower_observations.clear()
        self._tell()
        self._listeners.clear()

    def _fill(self, pose: Pose, model: str) -> None:
        """Positions of an estimate, and what it is kept as."""
        node, busy = self.landmarks_node, self._busy
        self._busy = True
        before = node.StartModify()
        try:
            if self.problem:
                fill_list(node, self.schema)
            for row, position in enumerate(pose.positions):
                pose_nodes.place_point(node, row, position)
                node.SetNthControlPointLocked(row, False)
            record = EstimateRecord.of(pose, pose_nodes.local_positions(node))
            Provenance(record, Corrections.none(self.schema.count), printable(model), self.schema).save(node)
        finally:
            node.EndModify(before)
            self._busy = busy

    def _start(self, name: str) -> None:
        node_links.mend(self.landmarks_node)
        self._followers.complete(name)
        node_links.keep(self.landmarks_node)
        hierarchy_folders.gather(self.scene, name, self.all_nodes)
        self._observe()
        self._update(everything=True)

    def _observe(self) -> None:
        node = self.landmarks_node
        moved = (node.PointModifiedEvent, node.PointPositionMissingEvent, node.PointPositionUndefinedEvent)
        others = (node.PointAddedEvent, node.PointRemovedEvent, vtk.vtkCommand.ModifiedEvent)  # and attributes
        observe, scene = self._observations.observe, self.scene
        observe(node, (*moved, *others), self._on_points)
        observe(scene, scene.StartCloseEvent, self._on_close)
        observe(scene, scene.NodeRemovedEvent, self._on_node_removed)
        restored = (scene.EndUndoEvent, scene.EndRedoEvent, scene.EndImportEvent, scene.EndRestoreEvent)
        observe(scene, restored, self._on_restored)
        self._observe_followers()

    def _observe_followers(self) -> None:
        """Undo may have exchanged them for others."""
        self._follower_observations.clear()
        observe, modified = self._follower_observations.observe, vtk.vtkCommand.ModifiedEvent
        for follower in self.all_nodes:
            observe(follower, follower.TransformModifiedEvent, self._on_transform)
            if follower.IsA("vtkMRMLMarkupsNode"):
                observe(follower, modified, self._on_named)
        # The display nodes themselves: the event of a model is not heard again by views while it is answered.
        for display in appearance.displays(node_links.models_of(self.landmarks_node)):
            observe(display, modified, self._on_display)

    # Between StartModify and EndModify events are collapsed and come without the number of the point, so all
    # callbacks compare with the last positions and take the call data as optional.

    def _on_points(self, caller: Any, event: str, index: Any = None) -> None:
        self._update()

    def _on_transform(self, caller: Any, event: str, data: Any = None) -> None:
        self._update(everything=True)

    def _on_restored(self, caller: Any, event: str, data: Any = None) -> None:
        if self._open:
            node_links.mend(self.landmarks_node)
            self._observe_followers()
            self._update(everything=True)

    def _on_named(self, caller: Any, event: str, data: Any = None) -> None:
        make_name_harmless(caller)

    def _on_display(self, caller: Any, event: str, data: Any = None) -> None:
        if self._open and not self.scene.IsClosing():
            node_links.mend_meshes(self.landmarks_node)

    def _on_close(self, caller: Any, event: str, data: Any = None) -> None:
        self.close()

    def _on_node_removed(self, caller: Any, event: str, data: Any = None) -> None:
        if not self.scene.IsNodePresent(self.landmarks_node):
            self.close()

    def _update(self, everything: bool = False) -> None:
        """Bring everything that depends on the points up to date; nothing is made anew."""
        if self._busy or not self._open or self.scene.IsImporting():
            return
        self._busy = True
        try:
            problem = self.problem
            world = self._nowhere if problem else pose_nodes.world_positions(self.landmarks_node, self._buffer)
            changed = ~((world == self._world) | (np.isnan(world) & np.isnan(self._world))).all(axis=1)
            if everything:
                changed[:] = True
            kept_anew = self._read(problem)
            if not changed.any() and not kept_anew:
                return
            self._world = world
            with self.around_update():
                if not problem:
                    self._describe(anew=everything or kept_anew)
                if changed.any():
                    self._followers.update(world, changed, anew=everything)
        finally:
            self._busy = False
        self._tell()

    def _kept_now(self, problem: str) -> tuple[Any, ...]:
        """What is kept with the points beside their places."""
        node = self.landmarks_node
        return (problem, *map(node.GetAttribute, ATTRIBUTES), *pose_nodes.locks(node).tolist())

    def _read(self, problem: str) -> bool:
        """Read again what is kept with the points if it changed: a sequence or an undo may have exchanged it."""
        kept = self._kept_now(problem)
        if kept == self._kept:
            return False
        self._kept = kept
        self._provenance = Provenance.load(self.landmarks_node, self.schema)
        return True

    def _describe(self, *, anew: bool) -> None:
        """Say at each point where it comes from, and show doubtful ones as not selected."""
        node, local = self.landmarks_node, pose_nodes.local_positions(self.landmarks_node)
        states = self._provenance.states(local)
        if states == self._states and not anew:
            return
        self._states = states
        doubtful = self._provenance.doubtful(local)
        for row, note in enumerate(self._provenance.notes(local)):
            text = note.text()
            if node.GetNthControlPointDescription(row) != text:
                node.SetNthControlPointDescription(row, text)
            if node.GetNthControlPointSelected(row) == doubtful[row]:
                node.SetNthControlPointSelected(row, not doubtful[row])

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener(self)


def _check_count(pose: Pose, schema: Schema) -> None:
    if len(pose.positions) != schema.count:
        raise ValueError(f"the pose has {len(pose.positions)} landmarks, the schema {schema.count}")
