"""`SectionNodes`: outlines of head and abdomen with handles, and callipers of the nuchal translucency, in slices."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from vtkmodules.util import numpy_support
from vtkmodules.vtkCommonDataModel import vtkCellArray

from FetusMapV2Lib.anatomy.body_sections import BodySection, HeadAndAbdomen, SectionKey
from FetusMapV2Lib.anatomy.nuchal import Nuchal, nuchal_of
from FetusMapV2Lib.anatomy.section_handles import dragged, handles_of, outline_points, section_of
from FetusMapV2Lib.scene import appearance, pose_nodes
from FetusMapV2Lib.scene.control_points import local_to_world, set_world_position, world_positions, world_to_local
from FetusMapV2Lib.scene.hand_measures import HandMeasures

Array = NDArray[np.float64]

KEYS: tuple[SectionKey, SectionKey] = ("head", "abdomen")
_NOWHERE = np.full((4, 3), np.nan)


class SectionNodes:
    """The nodes are made once, and found by references of the landmarks node.

    What a person sets is stored in the landmarks node (`HandMeasures`); what was found in the volume is shown until
    another is found, and counts nowhere else.

    Args:
        scene: the MRML scene.
        landmarks: the landmarks node of the pose.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, landmarks: Any) -> None:
        self._scene, self._landmarks = scene, landmarks
        self._found: HeadAndAbdomen | None = None
        self._placed: dict[str, Array] = {}

    # The nodes.

    def handles(self, key: SectionKey) -> Any:
        """The vtkMRMLMarkupsFiducialNode of the handles of an outline; None if a script deleted it."""
        return self._landmarks.GetNodeReference(pose_nodes.HANDLES_REFERENCE + key)

    def outline(self, key: SectionKey) -> Any:
        """The vtkMRMLModelNode of an outline, or None."""
        return self._landmarks.GetNodeReference(pose_nodes.OUTLINE_REFERENCE + key)

    @property
    def nuchal(self) -> Any:
        """The vtkMRMLMarkupsLineNode of the nuchal translucency, or None."""
        return self._landmarks.GetNodeReference(pose_nodes.NUCHAL_REFERENCE)

    @property
    def nodes(self) -> list[Any]:
        """All of them."""
        found = [self.nuchal, *map(self.handles, KEYS), *map(self.outline, KEYS)]
        return [node for node in found if node is not None]

    @property
    def draggable(self) -> list[Any]:
        """The nodes whose points a person drags."""
        return [node for node in (self.nuchal, *map(self.handles, KEYS)) if node is not None]

    def add_missing(self, name: str) -> None:
        """Make the nodes that the landmarks node does not refer to yet."""
        for key in KEYS:
            if self.handles(key) is None:
                node = pose_nodes.add_handles(self._scene, name, key)
                self._landmarks.SetNodeReferenceID(pose_nodes.HANDLES_REFERENCE + key, node.GetID())
            if self.outline(key) is None:
                node = pose_nodes.add_outline(self._scene, name, key)
                self._landmarks.SetNodeReferenceID(pose_nodes.OUTLINE_REFERENCE + key, node.GetID())
        if self.nuchal is None:
            node = pose_nodes.add_nuchal(self._scene)
            self._landmarks.SetNodeReferenceID(pose_nodes.NUCHAL_REFERENCE, node.GetID())

    # What they show.

    @property
    def by_hand(self) -> HandMeasures:
        """What a person set, as the landmarks node stores it."""
        return HandMeasures.load(self._landmarks)

    def sections_by_hand(self) -> tuple[BodySection, ...]:
        """The outlines that a person set."""
        stored = self.by_hand
        places = ((key, stored.handles(key)) for key in KEYS)
        return tuple(section_of(key, self._to_world(local)) for key, local in places if local is not None)

    def sections(self) -> HeadAndAbdomen | None:
        """The outlines as they are shown: by hand, or else as found; None if nothing was looked for yet."""
        if self._found is None:
            return None
        return functools.reduce(HeadAndAbdomen.with_section, self.sections_by_hand(), self._found)

    def tries(self) -> Array:
        """(T, 2, 3) callipers of the tries of the nuchal translucency that count, RAS mm."""
        counted = self.by_hand.counted
        return self._to_world(counted.reshape(-1, 3)).reshape(counted.shape)

    def nuchal_at(self, crl_mm: float) -> Nuchal | None:
        """The nuchal translucency at a crown-rump length; None if it was not measured, or does not count there."""
        return nuchal_of(self.tries(), crl_mm)

    @property
    def is_try_open(self) -> bool:
        """Whether callipers wait to be dragged."""
        moved = self.by_hand.moved
        return len(moved) > 0 and not moved[-1].all()

    def show(self, found: HeadAndAbdomen | None) -> None:
        """Show what was found in the volume, where nothing was set by hand; None shows nothing."""
        self._found = found
        self.update()

    def update(self) -> None:
        """Show what is stored and found now."""
        shown = {section.key: section for section in self.sections_by_hand()}
        found = {} if self._found is None else {section.key: section for section in self._found.sections}
        for key in KEYS:
            section = shown.get(key) or found.get(key)
            self._place(self.handles(key), None if section is None else handles_of(section))
            if self.outline(key) is not None:
                _draw(self.outline(key), np.zeros((0, 3)) if section is None else outline_points(section))
        stored = self.by_hand.nuchal
        callipers = self._to_world(stored[-1]) if len(stored) else None
        if self.nuchal is not None:
            if callipers is not None and self.by_hand.moved[-1].all():
                self.nuchal.SetName(f"NT {np.linalg.norm(callipers[0] - callipers[1]):.1f} mm")
            else:
                self.nuchal.SetName("NT")
            self._place(self.nuchal, callipers)

    def follow(self, node: Any) -> None:
        """Store what a person has dragged."""
        before, now = self._placed.get(node.GetID()), world_positions(node)
        if before is None or before.shape != now.shape or not np.isfinite(before).all() or np.isnan(now).any():
            return
        moved = np.linalg.norm(now - before, axis=1)
        if not moved.any():
            return
        stored = self.by_hand
        if node is self.nuchal:
            stored = stored.with_calliper(self._to_local(now))
        else:
            key = next(key for key in KEYS if self.handles(key) is node)
            number = int(np.argmax(moved))
            stored = stored.with_handles(key, self._to_local(dragged(before, number, now[number])))
        stored.save(self._landmarks)

    # Helpers.

    def _place(self, node: Any, places: Array | None) -> None:
        """Move the points of a node, or hide them."""
        if node is None:
            return
        wanted = _NOWHERE[: node.GetNumberOfControlPoints()] if places is None else places
        self._placed.pop(node.GetID(), None)  # what moves now was not dragged
        before = node.StartModify()
        for row, place in enumerate(wanted):
            set_world_position(node, row, place)
        node.EndModify(before)
        self._placed[node.GetID()] = world_positions(node)

    def _to_world(self, local: Array) -> Array:
        return local_to_world(self._landmarks, local)

    def _to_local(self, world: Array) -> Array:
        return world_to_local(self._landmarks, world)


def _draw(node: Any, points: Array) -> None:
    """Show a closed line through points (N, 3), RAS mm; nothing without any."""
    mesh = node.GetPolyData()
    shown = appearance.displays([node])
    for display in shown:
        if bool(display.GetVisibility2D()) != bool(len(points)):
            display.SetVisibility2D(bool(len(points)))
    if not len(points):
        points = np.zeros((3, 3))  # a mesh without a point is an error to some views
    lines = vtkCellArray()
    lines.InsertNextCell(len(points) + 1, [*range(len(points)), 0])
    mesh.GetPoints().SetData(numpy_support.numpy_to_vtk(world_to_local(node, points), deep=True))
    mesh.SetLines(lines)
    mesh.GetPoints().Modified()
    mesh.Modified()
