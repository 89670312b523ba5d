"""`LandmarkEditor`: the corrections of landmarks other than dragging them, each a step that can be undone.

Slicer itself saves the state before a drag, once undo is enabled; the editor enables it.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.scene import control_points, undo_history
from FetusMapV2Lib.scene.corrections import LIMBS, Corrections, swapped_rows
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.skeleton import finite_rows

Array = NDArray[np.float64]

_SMALLEST_MOVE_MM = 1e-6


_Step = TypeVar("_Step", bound=Callable[..., None])


def _requires_intact_list(step: _Step) -> _Step:
    """A step that does nothing while the points of the list are not the landmarks."""

    @functools.wraps(step)
    def guarded(self: LandmarkEditor, *arguments: Any, **options: Any) -> None:
        if not self.fetus.problem:
            step(self, *arguments, **options)

    return cast(_Step, guarded)


class LandmarkEditor:
    """Steps on one pose.

    No step changes a point list that no longer holds the landmarks (`PoseScene.problem`).

    No step moves a locked landmark; only a new estimate does. Its name may change sides. Steps that change nothing save
    no state for undo.

    Args:
        fetus: the live nodes of the pose.
    """

    def __init__(self, fetus: PoseScene) -> None:
        self.fetus = fetus
        self._node, self._scene, self._schema = fetus.landmarks_node, fetus.scene, fetus.schema
        undo_history.enable(fetus.scene)

    # Steps.

    @_requires_intact_list
    def set_missing(self, rows: Iterable[int]) -> None:
        """Mark landmarks as not visible in the volume."""
        chosen = [row for row in self._free(rows) if self._is_present(row)]
        with self._step(chosen):
            for row in chosen:
                control_points.set_world_position(self._node, row, (math.nan,) * 3)

    @_requires_intact_list
    def confirm(self, rows: Iterable[int], confirmed: bool = True) -> None:
        """Confirm the positions of landmarks, or withdraw that; missing ones are skipped."""
        states = self.fetus.states()
        wanted = ("estimated", "edited") if confirmed else ("confirmed",)
        chosen = [row for row in rows if states[row] in wanted]
        with self._step(chosen):
            places = self._local() if confirmed else np.full((self._schema.count, 3), np.nan)
            self._corrections().with_confirmed(chosen, places).save(self._node)

    @_requires_intact_list
    def lock(self, rows: Iterable[int], locked: bool = True) -> None:
        """Lock landmarks, so that nothing moves them, or unlock them."""
        chosen = [row for row in rows if bool(self._node.GetNthControlPointLocked(row)) != locked]
        with self._step(chosen):
            for row in chosen:
                self._node.SetNthControlPointLocked(row, locked)

    @_requires_intact_list
    def reset(self, rows: Iterable[int] | None = None) -> None:
        """Move landmarks back to where they were estimated; they are no longer confirmed or refined.

        Without `rows` all landmarks are reset, and sides are named as estimated.
        """
        everything = range(self._schema.count)
        swapped = self._corrections().swapped if rows is None else frozenset()
        chosen = self._free(everything if rows is None else rows)
        if not swapped:
            chosen = [row for row in chosen if not self._is_as_estimated(row)]
        with self._step(chosen or swapped):
            self._swap(swapped)
            self._reset_positions(chosen)

    @_requires_intact_list
    def swap_sides(self, limbs: Collection[str] = tuple(LIMBS)) -> None:
        """Swap left and right of "arms", "legs" or both; states, locks and confidence move with the points."""
        with self._step(limbs):
            self._swap(limbs)

    @_requires_intact_list
    def apply_refinement(self, pose: Pose) -> None:
        """Move landmarks to where refinement around those set by hand put them; they count as estimated.

        Landmarks edited, confirmed or locked meanwhile stay exactly where they are, missing ones stay missing.
        """
        free = set(self._free(range(self._schema.count))) - set(self._by_hand())
        world = self.fetus.pose().positions
        distance = np.linalg.norm(pose.positions - world, axis=1)  # NaN where either is missing
        chosen = [row for row in sorted(free) if distance[row] > _SMALLEST_MOVE_MM]
        with self._step(chosen):
            for row in chosen:
                control_points.set_world_position(self._node, row, pose.positions[row])
            self._corrections().with_refined(chosen, self._local()).save(self._node)

    def pinned(self) -> tuple[int, ...]:
        """Numbers of the landmarks that refinement must not move: edited, confirmed, or locked."""
        locked = {row for row in np.flatnonzero(self.fetus.locks()).tolist() if self._is_present(row)}
        return tuple(self._schema.landmarks[row].number for row in sorted(locked | set(self._by_hand())))

    # Helpers.

    @contextlib.contextmanager
    def _step(self, changed: Collection[Any]) -> Iterator[None]:
        """Save the state for undo before a change, unless nothing changes; the change gives one event."""
        if changed:
            undo_history.save_state(self._scene)
        before = self._node.StartModify()
        try:
            yield
        finally:
            self._node.EndModify(before)

    def _swap(self, limbs: Collection[str]) -> None:
        order = swapped_rows(limbs, self._schema)
        local, locked = self._local(), control_points.locks(self._node)
        for row in np.flatnonzero(order != np.arange(len(order))).tolist():
            control_points.set_local_position(self._node, row, local[order[row]])
            self._node.SetNthControlPointLocked(row, bool(locked[order[row]]))
        self._corrections().with_sides_swapped(limbs, self._schema).save(self._node)

    def _reset_positions(self, rows: Collection[int]) -> None:
        provenance = self.fetus.provenance
        for row in rows:
            control_points.set_local_position(self._node, row, provenance.named.positions[row])
        nowhere = np.full((self._schema.count, 3), np.nan)
        corrections = provenance.corrections.with_confirmed(rows, nowhere).with_refined(rows, nowhere)
        corrections.save(self._node)

    def _is_as_estimated(self, row: int) -> bool:
        now = self.fetus.current()
        local, estimated = now.local, now.provenance.named.positions
        same = np.array_equal(np.round(local[row] - estimated[row], 6), np.zeros(3))
        both_missing = not np.isfinite([local[row], estimated[row]]).any()
        return (same or both_missing) and now.states[row] != "confirmed"

    def _corrections(self) -> Corrections:
        return self.fetus.provenance.corrections

    def _local(self) -> Array:
        return self.fetus.local_positions()

    def _is_present(self, row: int) -> bool:
        return bool(finite_rows(self._local())[row])

    def _by_hand(self) -> list[int]:
        return np.flatnonzero(self.fetus.current().set_by_hand).tolist()

    def _free(self, rows: Iterable[int]) -> list[int]:
        return [row for row in rows if not self._node.GetNthControlPointLocked(row)]
