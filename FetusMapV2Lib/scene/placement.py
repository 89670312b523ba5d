"""`Placement`: the next click in a view puts one landmark there, by Slicer's own place mode.

Until then the landmark has no position; if the user cancels, it returns to where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from FetusMapV2Lib.scene import control_points, pose_nodes, undo_history
from FetusMapV2Lib.scene.observations import Observations
from FetusMapV2Lib.scene.pose_scene import PoseScene


class Placement:
    """Places one landmark; ends with a click, a right click, another mouse mode, `cancel`, or the scene.

    Args:
        fetus: the live nodes of the pose.
        row: of the landmark; whether it is locked is not checked.
        on_end: called once with whether the landmark was placed.

    Raises:
        InputError: the point list no longer holds the landmarks.
    """

    def __init__(self, fetus: PoseScene, row: int, on_end: Callable[[bool], None] = lambda placed: None) -> None:
        self.row = row
        self._node, self._scene, self._on_end = fetus.landmarks_node, fetus.scene, on_end
        self._modes = self._scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        pose_nodes.check_landmarks(self._node, fetus.schema)
        self._before = control_points.local_positions(self._node)[row]
        self._had_undo = bool(self._scene.GetUndoFlag())
        self._observations = Observations()
        self._start()

    @property
    def is_running(self) -> bool:
        """Whether it waits for a click."""
        return len(self._observations) > 0

    def cancel(self) -> None:
        """Leave the landmark where it was; does nothing once placement has ended."""
        if self.is_running:
            self._modes.SwitchToViewTransformMode()

    def _start(self) -> None:
        undo_history.save_state(self._scene)
        # Slicer would save another state, without the position of the landmark.
        self._scene.SetUndoOff()
        self._node.UnsetNthControlPointPosition(self.row)
        self._node.SetControlPointPlacementStartIndex(self.row)
        selection = self._scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        selection.SetReferenceActivePlaceNodeClassName(self._node.GetClassName())
        selection.SetActivePlaceNodeID(self._node.GetID())
        self._modes.SetPlaceModePersistence(0)
        self._modes.SetCurrentInteractionMode(self._modes.Place)
        scene = self._scene
        observe = self._observations.observe
        observe(self._modes, self._modes.InteractionModeChangedEvent, self._on_mode)
        observe(scene, (scene.StartCloseEvent, scene.StartImportEvent), self._on_scene_changes)
        observe(scene, scene.NodeRemovedEvent, self._on_node_removed)

    def _on_scene_changes(self, caller: Any, event: str) -> None:
        self.cancel()

    def _on_node_removed(self, caller: Any, event: str) -> None:
        if not self._scene.IsNodePresent(self._node):
            self.cancel()

    def _on_mode(self, caller: Any, event: str) -> None:
        if self._modes.GetCurrentInteractionMode() != self._modes.Place:
            self._end()

    def _end(self) -> None:
        self._observations.clear()
        placed = self._node.GetNthControlPointPositionStatus(self.row) == self._node.PositionDefined
        if not placed:
            control_points.set_local_position(self._node, self.row, self._before)
        if self._had_undo:
            self._scene.SetUndoOn()
        self._on_end(placed)
