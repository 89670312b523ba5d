"""`PoseScene`: a pose as live MRML nodes.

Twenty-two points that can be dragged, and what follows them: skeleton, midsagittal plane, lengths, measurements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.biometry import Measurement, measure
from FetusMapV2Lib.anatomy.planes import midsagittal_plane
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema, default_schema
from FetusMapV2Lib.foundation.errors import InputError
from FetusMapV2Lib.imaging.markups import markups_document
from FetusMapV2Lib.scene import nodes
from FetusMapV2Lib.scene.appearance import DOUBTFUL_CONFIDENCE
from FetusMapV2Lib.scene.record import ATTRIBUTE as ESTIMATE_ATTRIBUTE
from FetusMapV2Lib.scene.record import EstimateRecord
from FetusMapV2Lib.scene.skeleton import SkeletonMesh, finite_rows

Array = NDArray[np.float64]
Listener = Callable[["PoseScene"], None]

#: What a hand-placed point says of itself, in place of a confidence that is no longer its own.
EDITED_DESCRIPTION = "placed by hand"


class PoseScene:
    """One fetus in a scene.

    Points are moved through `landmarks_node` (by the mouse, a script, undo, a sequence) or `set_pose`; everything
    else follows at once, in the same nodes. Positions are world coordinates, whatever parent transforms there are.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, landmarks_node: Any, schema: Schema) -> None:
        """Use `create` or `attach`."""
        self.scene = scene
        self.landmarks_node = landmarks_node
        self.schema = schema
        self._mesh = SkeletonMesh(schema)
        self._buffer = vtk.vtkPoints()
        self._buffer.SetDataTypeToDouble()
        self._world = np.full((schema.count, 3), np.nan)
        self._edited = np.zeros(schema.count, dtype=bool)
        self._record = EstimateRecord.load(landmarks_node, schema.count)
        self._record_text = ""
        self._listeners: list[Listener] = []
        self._observed: list[tuple[Any, int]] = []
        self._busy = False
        self._open = True

    @classmethod
    def create(
        cls,
        scene: slicer.vtkMRMLScene,
        pose: Pose,
        schema: Schema | None = None,
        *,
        volume_node: Any = None,
        name: str = "Fetus",
        descriptions: Iterable[str] | None = None,
    ) -> PoseScene:
        """Add the nodes of a pose to a scene.

        Args:
            scene: the MRML scene.
            pose: positions (22, 3) in RAS mm (world); NaN rows become missing points.
            schema: the landmarks; the bundled ones if not given.
            volume_node: the volume it was estimated in; the points share its parent transform, so that they move
                with it.
            name: of the folder, and the beginning of all node names; made unique in the scene.
            descriptions: one text per landmark; confidence and 90 % radius if not given.

        Raises:
            ValueError: the pose has another number of landmarks than the schema.
        """
        schema = schema or default_schema()
        _check_count(pose, schema)
        name = _unique_name(scene, name)
        landmarks = nodes.add_landmarks(scene, name, schema)
        if volume_node is not None:
            landmarks.SetNodeReferenceID(nodes.VOLUME_REFERENCE, volume_node.GetID())
            landmarks.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
        result = cls(scene, landmarks, schema)
        result._fill(pose, descriptions)
        result._start(name)
        return result

    @classmethod
    def attach(cls, scene: slicer.vtkMRMLScene, landmarks_node: Any, schema: Schema | None = None) -> PoseScene:
        """Make the nodes of a pose live again, after a scene was loaded or an undo brought them back.

        Nodes that are gone are made again; all others keep their display.

        Raises:
            InputError: the node is not a landmarks node of this schema.
        """
        schema = schema or default_schema()
        _check(landmarks_node, schema)
        result = cls(scene, landmarks_node, schema)
        result._start(landmarks_node.GetName().removesuffix(" landmarks"))
        return result

    @classmethod
    def attach_all(cls, scene: slicer.vtkMRMLScene, schema: Schema | None = None) -> list[PoseScene]:
        """`attach` for every pose in the scene."""
        return [cls.attach(scene, node, schema) for node in nodes.find_landmarks(scene)]

    # The nodes.

    @property
    def skeleton_node(self) -> Any:
        """The vtkMRMLModelNode of the skeleton, or None if the user deleted it."""
        return self.landmarks_node.GetNodeReference(nodes.SKELETON_REFERENCE)

    @property
    def plane_node(self) -> Any:
        """The vtkMRMLMarkupsPlaneNode of the midsagittal plane (normal to the fetal left), or None."""
        return self.landmarks_node.GetNodeReference(nodes.PLANE_REFERENCE)

    @property
    def line_nodes(self) -> dict[str, Any]:
        """The vtkMRMLMarkupsLineNodes by key: crl, left_femur, right_femur, left_humerus, right_humerus."""
        found = {
            key: self.landmarks_node.GetNodeReference(nodes.LENGTH_REFERENCE + key)
            for key in nodes.length_rows(self.schema)
        }
        return {key: node for key, node in found.items() if node is not None}

    @property
    def volume_node(self) -> Any:
        """The volume that the pose was estimated in, or None."""
        return self.landmarks_node.GetNodeReference(nodes.VOLUME_REFERENCE)

    @property
    def all_nodes(self) -> list[Any]:
        """The landmarks node and all that follow it."""
        followers = (self.skeleton_node, self.plane_node, *self.line_nodes.values())
        return [self.landmarks_node, *(node for node in followers if node is not None)]

    @property
    def is_open(self) -> bool:
        """False after `close`, and after the landmarks or the scene are gone."""
        return self._open

    # The pose.

    def pose(self) -> Pose:
        """The pose as it is now, in world coordinates.

        A point placed by hand has confidence 1 and no 90 % radius (NaN); a missing one has NaN for all.
        """
        positions = nodes.world_positions(self.landmarks_node, self._buffer)
        record = self._record
        moved = record.moved(nodes.local_positions(self.landmarks_node))
        present = finite_rows(positions)
        confidence = np.where(moved, 1.0, np.where(present, record.confidence, np.nan))
        radius = np.where(moved | ~present, np.nan, record.radius90_mm)
        return Pose(
            positions,
            confidence if np.isfinite(record.confidence).any() else None,
            radius if np.isfinite(record.radius90_mm).any() else None,
            record.laterality,
        )

    def measurements(self) -> tuple[Measurement, ...]:
        """CRL, femora and humeri of the present pose."""
        return measure(self.pose(), self.schema)

    def states(self) -> tuple[str, ...]:
        """Per landmark: "estimated", "edited" (moved or added by hand) or "missing"."""
        local = nodes.local_positions(self.landmarks_node)
        moved = self._record.moved(local)
        present = finite_rows(local)
        return tuple(
            "missing" if not there else "edited" if edited else "estimated"
            for there, edited in zip(present.tolist(), moved.tolist(), strict=True)
        )

    def set_pose(self, pose: Pose, descriptions: Iterable[str] | None = None) -> None:
        """Take a new estimate into the same nodes; ValueError if it has another number of landmarks."""
        _check_count(pose, self.schema)
        self._fill(pose, descriptions)
        self._update()

    def set_missing(self, row: int) -> None:
        """Mark a landmark as not visible in the volume."""
        nodes.place_point(self.landmarks_node, row, (math.nan,) * 3)

    def reset(self, rows: Iterable[int] | None = None) -> None:
        """Put landmarks (all if not given) back to where they were estimated."""
        before = self.landmarks_node.StartModify()
        for row in range(self.schema.count) if rows is None else rows:
            position = self._record.positions[row]
            if np.isfinite(position).all():
                self.landmarks_node.SetNthControlPointPosition(row, *position.tolist())
            else:
                nodes.place_point(self.landmarks_node, row, position)
        self.landmarks_node.EndModify(before)

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
        for subject, tag in self._observed:
            subject.RemoveObserver(tag)
        self._observed.clear()
        self._tell()
        self._listeners.clear()

    def _fill(self, pose: Pose, descriptions: Iterable[str] | None) -> None:
        """Positions, descriptions and the record of an estimate."""
        node, busy = self.landmarks_node, self._busy
        self._busy = True
        before = node.StartModify()
        try:
            texts = list(descriptions) if descriptions is not None else _descriptions(pose, self.schema)
            for row, (position, text) in enumerate(zip(pose.positions, texts, strict=True)):
                nodes.place_point(node, row, position)
                node.SetNthControlPointDescription(row, text)
                node.SetNthControlPointSelected(row, not _doubtful(pose, row))
            self._record = EstimateRecord.of(pose, nodes.local_positions(node))
            self._record.save(node)
            self._edited[:] = False
        finally:
            node.EndModify(before)
            self._busy = busy

    def _start(self, name: str) -> None:
        self._complete(name)
        nodes.gather_in_folder(self.scene, name, self.all_nodes)
        self._observe()
        self._edited = self._record.moved(nodes.local_positions(self.landmarks_node))
        self._update(everything=True)

    def _complete(self, name: str) -> None:
        """Make the nodes that the landmarks node does not refer to yet."""
        landmarks = self.landmarks_node
        if self.skeleton_node is None:
            node = nodes.add_skeleton(self.scene, name, self._mesh.polydata, self._colours(name))
            landmarks.SetNodeReferenceID(nodes.SKELETON_REFERENCE, node.GetID())
        if self.plane_node is None:
            node = nodes.add_plane(self.scene, name)
            landmarks.SetNodeReferenceID(nodes.PLANE_REFERENCE, node.GetID())
        for key in nodes.length_rows(self.schema).keys() - self.line_nodes.keys():
            node = nodes.add_line(self.scene, name, key)
            landmarks.SetNodeReferenceID(nodes.LENGTH_REFERENCE + key, node.GetID())
        for node in self.all_nodes:
            node.SetUndoEnabled(True)

    def _colours(self, name: str) -> Any:
        """The colour table of the skeleton, made once."""
        node = self.landmarks_node.GetNodeReference(nodes.COLOURS_REFERENCE)
        if node is None:
            node = nodes.add_colours(self.scene, name, self.schema)
            node.SetUndoEnabled(True)
            self.landmarks_node.SetNodeReferenceID(nodes.COLOURS_REFERENCE, node.GetID())
        return node

    def _observe(self) -> None:
        node = self.landmarks_node
        for event in (node.PointModifiedEvent, node.PointPositionMissingEvent, node.PointPositionUndefinedEvent):
            self._listen(node, event, self._on_points)
        for follower in self.all_nodes:
            self._listen(follower, slicer.vtkMRMLTransformableNode.TransformModifiedEvent, self._on_transform)
        scene = self.scene
        self._listen(scene, scene.StartCloseEvent, self._on_close)
        self._listen(scene, scene.NodeRemovedEvent, self._on_node_removed)
        for event in (scene.EndUndoEvent, scene.EndRedoEvent, scene.EndImportEvent, scene.EndRestoreEvent):
            self._listen(scene, event, self._on_transform)

    def _listen(self, subject: Any, event: Any, callback: Callable[..., None]) -> None:
        self._observed.append((subject, subject.AddObserver(event, callback)))

    # Between StartModify and EndModify events are collapsed and come without the number of the point, so all
    # callbacks compare with the last positions and take the call data as optional.

    def _on_points(self, caller: Any, event: str, index: Any = None) -> None:
        self._update()

    def _on_transform(self, caller: Any, event: str, data: Any = None) -> None:
        self._update(everything=True)

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
            world = nodes.world_positions(self.landmarks_node, self._buffer)
            changed = ~((world == self._world) | (np.isnan(world) & np.isnan(self._world))).all(axis=1)
            if everything:
                changed[:] = True
            if not changed.any():
                return
            self._world = world
            self._note_edits()
            self._follow(world, changed, anew=everything)
        finally:
            self._busy = False
        self._tell()

    def _follow(self, world: Array, changed: NDArray[np.bool_], *, anew: bool) -> None:
        skeleton = self.skeleton_node
        if skeleton is not None:
            if skeleton.GetPolyData() is not self._mesh.polydata:
                skeleton.SetAndObservePolyData(self._mesh.polydata)
            self._mesh.update(nodes.to_local(skeleton, world), anew=anew)
        plane = self.plane_node
        if plane is not None:
            nodes.place_plane(plane, midsagittal_plane(world, self.schema))
        lines = self.line_nodes
        for key, (start, end) in nodes.length_rows(self.schema).items():
            if key in lines and (changed[start] or changed[end]):
                nodes.place_line(lines[key], world[start], world[end])

    def _note_edits(self) -> None:
        """Say at the point itself that it was placed by hand, or what was estimated once it is put back.

        The record is read again when it changed: a sequence or an undo may have exchanged it.
        """
        text = self.landmarks_node.GetAttribute(ESTIMATE_ATTRIBUTE) or ""
        if text != self._record_text:
            self._record_text = text
            self._record = EstimateRecord.load(self.landmarks_node, self.schema.count)
        edited = self._record.moved(nodes.local_positions(self.landmarks_node))
        if np.array_equal(edited, self._edited):
            return
        estimated = Pose(self._record.positions, self._record.confidence, self._record.radius90_mm)
        texts = _descriptions(estimated, self.schema)
        for row in np.flatnonzero(edited != self._edited).tolist():
            doubtful = not edited[row] and _doubtful(estimated, row)
            self.landmarks_node.SetNthControlPointDescription(row, EDITED_DESCRIPTION if edited[row] else texts[row])
            self.landmarks_node.SetNthControlPointSelected(row, not doubtful)
        self._edited = edited

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener(self)


def _unique_name(scene: slicer.vtkMRMLScene, name: str) -> str:
    """`name`, or `name 2`, ... if the scene has landmarks of that name already."""
    number, unique = 1, name
    while scene.GetFirstNodeByName(f"{unique} landmarks") is not None:
        number += 1
        unique = f"{name} {number}"
    return unique


def _check_count(pose: Pose, schema: Schema) -> None:
    if len(pose.positions) != schema.count:
        raise ValueError(f"the pose has {len(pose.positions)} landmarks, the schema {schema.count}")


def _check(node: Any, schema: Schema) -> None:
    where = node.GetName() if node is not None else ""
    if node is None or not node.IsA("vtkMRMLMarkupsFiducialNode"):
        raise InputError("this is not a point list", where=where, remedy="Choose the landmarks of a fetus")
    kept = node.GetAttribute(nodes.SCHEMA_ATTRIBUTE)
    if kept and kept != schema.id:
        raise InputError(f"the landmarks follow another schema ({kept})", where=where, remedy=f"Use {schema.id}")
    labels = [node.GetNthControlPointLabel(row) for row in range(node.GetNumberOfControlPoints())]
    if labels != [landmark.name for landmark in schema.landmarks]:
        raise InputError(
            f"the point list does not hold the {schema.count} landmarks in their order",
            where=where,
            remedy="Estimate the pose anew, or load a landmark file made by this extension",
        )


def _descriptions(pose: Pose, schema: Schema) -> list[str]:
    """The same words as in the landmark files."""
    points = markups_document(pose, schema)["markups"][0]["controlPoints"]
    return [str(point["description"]) for point in points]


def _doubtful(pose: Pose, row: int) -> bool:
    return pose.confidence is not None and bool(pose.confidence[row] < DOUBTFUL_CONFIDENCE)
