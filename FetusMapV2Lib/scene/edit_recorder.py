"""`EditRecorder`: writes down each change of landmarks by hand, in a node that undo does not touch.

It compares the pose after a change with that before, so that it does not matter which tool of Slicer made the change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
import slicer

from FetusMapV2Lib.core.version import SOFTWARE
from FetusMapV2Lib.imaging.edit_log import Action, Change, Edit, Place
from FetusMapV2Lib.scene import pose_nodes, undo_history
from FetusMapV2Lib.scene.node_attributes import read_attribute, write_attribute
from FetusMapV2Lib.scene.observations import Observations
from FetusMapV2Lib.scene.pose_snapshot import PoseSnapshot
from FetusMapV2Lib.scene.provenance import SAME_PLACE_MM, at_same_place
from FetusMapV2Lib.scene.skeleton import finite_rows

#: Followed by the number of the step: each has an attribute of its own, so that a long log is not written anew.
_STEP_ATTRIBUTE = "FetusMapV2.Edit."
_DIGITS = 3


class EditRecorder:
    """The edit log of one pose.

    The log is kept in a node of its own, which is saved with the scene and refers to the landmarks: it is no part of
    the states that undo restores, so an undone step stays and its undoing is added.

    Attributes:
        examiner: returns the name that the user has entered for himself; empty without one. No name of a user account
            is ever taken.

    Args:
        scene: of the landmarks.
        landmarks: the landmarks node.
        current: returns the pose as it is now.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, landmarks: Any, current: Callable[[], PoseSnapshot]) -> None:
        self.examiner: Callable[[], str] = str
        self._scene, self._node, self._current = scene, landmarks, current
        self._is_grabbed = False
        self._observations = Observations()
        # frames of a sequence share the landmarks node
        self._known = {pose_nodes.stored_frame(landmarks): current()}

    def edits(self) -> tuple[Edit, ...]:
        """All steps so far, the oldest first."""
        return read_edits(self._scene, self._node)

    def restore(self, edits: Sequence[Edit]) -> None:
        """Begin with the steps that a file tells of."""
        if not _steps_in(pose_nodes.log_node_of(self._scene, self._node)):
            self._append(edits)

    def observe(self) -> None:
        """Notice from now on where a drag begins and ends, and the history of the scene."""
        node, scene, observe = self._node, self._scene, self._observations.observe
        observe(node, node.PointStartInteractionEvent, self._on_grabbed)
        observe(node, node.PointEndInteractionEvent, self._on_released)
        observe(scene, (scene.EndUndoEvent, undo_history.UNDONE_EVENT), self._on_undone)
        observe(scene, (scene.EndRedoEvent, undo_history.REDONE_EVENT), self._on_redone)

    def close(self) -> None:
        """Stop observing; the log stays."""
        self._observations.clear()

    def follow(self, now: PoseSnapshot) -> None:
        """Write down what has changed since the last step; what is not finished, or made by undo, comes later."""
        is_travelling = self._scene.IsUndoing() or self._scene.IsRedoing() or undo_history.is_on_the_way(self._scene)
        if not (is_travelling or self._is_grabbed or self._is_placing()):
            self._note(now)

    def _on_grabbed(self, caller: Any, event: str, index: Any = None) -> None:
        self._is_grabbed = True

    def _on_released(self, caller: Any, event: str, index: Any = None) -> None:
        self._is_grabbed = False
        self.follow(self._current())

    def _on_undone(self, caller: Any, event: str, data: Any = None) -> None:
        self._travelled("undone")

    def _on_redone(self, caller: Any, event: str, data: Any = None) -> None:
        self._travelled("redone")

    def _travelled(self, action: Action) -> None:
        # one undo of the user may be several of the scene
        if not undo_history.is_on_the_way(self._scene) and self._scene.IsNodePresent(self._node):
            self._note(self._current(), action)

    def _note(self, now: PoseSnapshot, travelled: Action | None = None) -> None:
        if now.problem:
            return
        frame = pose_nodes.stored_frame(self._node)
        before = self._known.get(frame)
        self._known[frame] = now
        is_first = before is not None and before.is_empty and np.isfinite(now.provenance.estimate.positions).any()
        if before is None or before is now or (is_first and travelled is None):
            return
        steps = _steps(before, now, travelled)
        if steps and steps[0][0] == "estimated again" and not self.edits():
            return  # nothing that was made by hand is replaced
        self._append([self._edit(action, rows, before, now, frame) for action, rows in steps])

    def _edit(
        self, action: Action, rows: Collection[int], before: PoseSnapshot, now: PoseSnapshot, frame: int | None
    ) -> Edit:
        landmarks = now.provenance.schema.landmarks
        return Edit(
            time=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            action=action,
            changes=tuple(Change(landmarks[row].number, _place(before, row), _place(now, row)) for row in rows),
            examiner=self.examiner(),
            software=SOFTWARE,
            model=now.provenance.model,
            frame=frame,
        )

    def _is_placing(self) -> bool:
        """Whether a landmark waits for a click; until then it is nowhere."""
        states = self._node.PositionDefined, self._node.PositionMissing
        rows = range(self._node.GetNumberOfControlPoints())
        return any(self._node.GetNthControlPointPositionStatus(row) not in states for row in rows)

    def _append(self, edits: Sequence[Edit]) -> None:
        if not edits:
            return
        node = pose_nodes.log_node_of(self._scene, self._node) or pose_nodes.add_log_node(self._scene, self._node)
        for number, edit in enumerate(edits, start=len(_steps_in(node))):
            write_attribute(node, f"{_STEP_ATTRIBUTE}{number:06d}", edit)


def read_edits(scene: slicer.vtkMRMLScene, landmarks: Any) -> tuple[Edit, ...]:
    """The edit log of the pose of a landmarks node, without steps that are damaged; empty without one."""
    node = pose_nodes.log_node_of(scene, landmarks)
    found = (read_attribute(node, name, Edit) for name in _steps_in(node))
    return tuple(edit for edit in found if edit is not None)


def _steps_in(node: Any) -> list[str]:
    """The attributes of a log node that hold steps, in their order; none without a node."""
    names = () if node is None else node.GetAttributeNames()
    return sorted(name for name in names if name.startswith(_STEP_ATTRIBUTE))


def _steps(before: PoseSnapshot, now: PoseSnapshot, travelled: Action | None) -> list[tuple[Action, list[int]]]:
    """What was done, with the rows of the landmarks that it changed."""
    moved = np.flatnonzero(_is_elsewhere(before, now)).tolist()
    judged = [row for row, is_new in enumerate(_is_confirmed(before) ^ _is_confirmed(now)) if is_new]
    if travelled is not None:
        rows = sorted({*moved, *judged})
        return [(travelled, rows)] if rows else []
    one, other = before.provenance, now.provenance
    if one.estimate is not other.estimate and not _same_estimate(before, now):
        return [("estimated again", [])]
    if one.corrections.swapped != other.corrections.swapped:
        return [("sides swapped", moved)]
    steps: dict[Action, list[int]] = {}
    for row in sorted({*moved, *judged}):
        action = _move(before, now, row) if row in moved else _judgement(now, row)
        steps.setdefault(action, []).append(row)
    return list(steps.items())


def _move(before: PoseSnapshot, now: PoseSnapshot, row: int) -> Action:
    was, is_present = finite_rows(before.local)[row], finite_rows(now.local)[row]
    if not is_present:
        return "set missing"
    if now.refined[row]:
        return "refined"
    if at_same_place(now.local, now.provenance.named.positions)[row]:
        return "reset"
    return "moved" if was else "placed"


def _judgement(now: PoseSnapshot, row: int) -> Action:
    return "confirmed" if now.states[row] == "confirmed" else "confirmation withdrawn"


def _is_confirmed(snapshot: PoseSnapshot) -> np.ndarray:
    return np.array([state == "confirmed" for state in snapshot.states])


def _is_elsewhere(before: PoseSnapshot, now: PoseSnapshot) -> np.ndarray:
    both_missing = ~finite_rows(before.local) & ~finite_rows(now.local)
    near = np.linalg.norm(before.local - now.local, axis=1) <= SAME_PLACE_MM  # false where one is missing
    return np.asarray(~(near | both_missing))


def _same_estimate(before: PoseSnapshot, now: PoseSnapshot) -> bool:
    one, other = before.provenance.estimate, now.provenance.estimate
    same_places = np.array_equal(one.positions, other.positions, equal_nan=True)
    same_model = before.provenance.model == now.provenance.model
    return same_places and same_model and np.array_equal(one.confidence, other.confidence, equal_nan=True)


def _place(snapshot: PoseSnapshot, row: int) -> Place | None:
    if not finite_rows(snapshot.local)[row]:
        return None
    x, y, z = snapshot.world[row].round(_DIGITS).tolist()
    return x, y, z
