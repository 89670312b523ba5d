"""`LandmarkEditor`: what a user does to the landmarks of a pose beside dragging them, each a step that can be undone.

Slicer itself keeps the state before a drag, once undo is turned on; that is done here, too.
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


def _on_whole_list(step: _Step) -> _Step:
    """A step that does nothing while points are too many, too few or named otherwise."""

    @functools.wraps(step)
    def guarded(self: LandmarkEditor, *arguments: Any, **options: Any) -> None:
        if not self.fetus.problem:
            step(self, *arguments, **options)

    return cast(_Step, guarded)


class LandmarkEditor:
    """Steps on one pose.

    Nothing is done to a point list that does not hold the landmarks any more (`PoseScene.problem`).

    A locked landmark stays where it is, whatever is done here, until it is unlocked or a new estimate is made; only
    its name may change sides. Steps that change nothing leave nothing to undo.

    Args:
        fetus: the live nodes of the pose.
    """

    def __init__(self, fetus: PoseScene) -> None:
        self.fetus = fetus
        self._node, self._scene, self._schema = fetus.landmarks_node, fetus.scene, fetus.schema
        undo_history.turn_on(fetus.scene)

    # Steps.

    @_on_whole_list
    def set_missing(self, rows: Iterable[int]) -> None:
        """Mark landmarks as not visible in the volume."""
        chosen = [row for row in self._free(rows) if self._is_present(row)]
        with self._step(chosen):
            for row in chosen:
                control_points.set_world_position(self._node, row, (math.nan,) * 3)

    @_on_whole_list
    def confirm(self, rows: Iterable[int], confirmed: bool = True) -> None:
        """Say that landmarks are right where they lie, or take that back; missing ones are left out."""
        states = self.fetus.states()
        wanted = ("estimated", "edited") if confirmed else ("confirmed",)
        chosen = [row for row in rows if states[row] in wanted]
        with self._step(chosen):
            places = self._local() if confirmed else np.full((self._schema.count, 3), np.nan)
            self._corrections().with_confirmed(chosen, places).save(self._node)

    @_on_whole_list
    def lock(self, rows: Iterable[int], locked: bool = True) -> None:
        """Protect landmarks from every move, or no longer."""
        chosen = [row for row in rows if bool(self._node.GetNthControlPointLocked(row)) != locked]
        with self._step(chosen):
            for row in chosen:
                self._node.SetNthControlPointLocked(row, locked)

    @_on_whole_list
    def reset(self, rows: Iterable[int] | None = None) -> None:
        """Put landmarks back to where they were estimated, no longer confirmed or refined.

        Without `rows` all are put back, and sides are named as they were estimated.
        """
        everything = range(self._schema.count)
        swapped = self._corrections().swapped if rows is None else frozenset()
        chosen = self._free(everything if rows is None else rows)
        if not swapped:
            chosen = [row for row in chosen if not self._is_as_estimated(row)]
        with self._step(chosen or swapped):
            self._swap(swapped)
            self._put_back(chosen)

    @_on_whole_list
    def swap_sides(self, limbs: Collection[str] = tuple(LIMBS)) -> None:
        """Exchange left and right of "arms", "legs" or both; states, locks and certainty go with the points."""
        with self._step(limbs):
            self._swap(limbs)

    @_on_whole_list
    def take_refined(self, pose: Pose) -> None:
        """Take the places that refinement around landmarks set by hand gave the others.

        Landmarks edited, confirmed or locked by now stay exactly where they are, missing ones stay missing. The
        others count as estimated.
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
        """Numbers of the landmarks that refinement must take for the truth: edited, confirmed, or locked in place."""
        locked = {row for row in np.flatnonzero(self.fetus.locks()).tolist() if self._is_present(row)}
        return tuple(self._schema.landmarks[row].number for row in sorted(locked | set(self._by_hand())))

    # How.

    @contextlib.contextmanager
    def _step(self, concerned: Collection[Any]) -> Iterator[None]:
        """Keep the state before a change for undo, unless nothing is concerned; tell of the change once."""
        if concerned:
            undo_history.keep(self._scene)
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

    def _put_back(self, rows: Collection[int]) -> None:
        provenance = self.fetus.provenance
        for row in rows:
            control_points.set_local_position(self._node, row, provenance.named.positions[row])
        nowhere = np.full((self._schema.count, 3), np.nan)
        kept = provenance.corrections.with_confirmed(rows, nowhere).with_refined(rows, nowhere)
        kept.save(self._node)

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
