"""Which poses a step of undo or redo changed."""

from __future__ import annotations

from typing import Any

import slicer
from slicer import vtkMRMLNode

from FetusMapV2Lib.scene import control_points, ownership, pose_nodes
from FetusMapV2Lib.scene.provenance import ATTRIBUTES

#: Volume ID, positions and attributes of a pose.
_State = tuple[str | None, tuple[Any, ...]]


class UndoChanges:
    """Compares all poses of the scene before and after a step."""

    def __init__(self) -> None:
        self._before: dict[str, _State] = {}

    def start(self) -> None:
        """Store the states of all poses; call before the step."""
        self._before = _states()

    def forget(self) -> None:
        """Drop the stored states."""
        self._before = {}

    def finish(self) -> list[vtkMRMLNode | None]:
        """The volume of each pose that changed since `start`, its landmarks without a volume, None if both are gone."""
        before, after = self._before, _states()
        changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
        nodeByID = slicer.mrmlScene.GetNodeByID
        return [nodeByID((after.get(key) or before[key])[0] or "") or nodeByID(key) for key in changed]


def _states() -> dict[str, _State]:
    """The states of all poses by the ID of their landmarks."""
    return {
        node.GetID(): (
            node.GetNodeReferenceID(pose_nodes.VOLUME_REFERENCE),
            (control_points.local_positions(node).tobytes(), *map(node.GetAttribute, ATTRIBUTES)),
        )
        for node in ownership.all_poses(slicer.mrmlScene)
    }
