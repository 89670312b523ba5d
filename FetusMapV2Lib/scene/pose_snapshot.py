"""`PoseSnapshot`: a pose as its landmarks node holds it at one moment, and what follows from that."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.pose import DOUBTFUL_CONFIDENCE, Pose
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.imaging.point_notes import PointNote, PointState
from FetusMapV2Lib.scene import control_points
from FetusMapV2Lib.scene.corrections import swapped_rows
from FetusMapV2Lib.scene.provenance import ATTRIBUTES, Provenance, at_same_place
from FetusMapV2Lib.scene.skeleton import finite_rows

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PoseSnapshot:
    """A pose at one moment; what is derived from it is computed once, when it is first asked for.

    Attributes:
        world: (N, 3) positions in RAS mm, NaN = missing.
        local: (N, 3) the same in mm in the landmarks node's own coordinates.
        locked: (N,) which landmarks are protected from moves.
        provenance: where the positions come from.
        problem: why the points are not the landmarks of the schema, empty if they are. All landmarks count as missing
            and unlocked while there is one.
        stored: all that the node holds besides positions, to be compared.
    """

    world: Array
    local: Array
    locked: Flags
    provenance: Provenance
    problem: str
    stored: tuple[Any, ...]

    @classmethod
    def read(cls, node: Any, schema: Schema, before: PoseSnapshot | None = None) -> PoseSnapshot:
        """Read a landmarks node.

        Args:
            node: the landmarks node.
            schema: its landmarks.
            before: an earlier snapshot of the node. It is returned if nothing has changed since.
        """
        problem, locked = control_points.list_problem(node, schema), control_points.locks(node)
        stored = (problem, *map(node.GetAttribute, ATTRIBUTES), locked.tobytes())
        if problem:
            world = local = np.full((schema.count, 3), np.nan)
            locked = np.zeros(schema.count, bool)
        else:
            world = control_points.world_positions(node)
            local = world if node.GetParentTransformNode() is None else control_points.local_positions(node)
        if before is None or stored != before.stored:
            return cls(world, local, locked, Provenance.load(node, schema), problem, stored)
        if _equal(world, before.world) and _equal(local, before.local):
            return before
        return cls(world, local, locked, before.provenance, problem, stored)

    def moved_since(self, before: PoseSnapshot) -> Flags:
        """(N,) which landmarks have another world position than in an earlier snapshot, or none in one of them."""
        both_missing = np.isnan(self.world) & np.isnan(before.world)
        return np.asarray(~((self.world == before.world) | both_missing).all(axis=1))

    @cached_property
    def states(self) -> tuple[PointState, ...]:
        """Per landmark: "estimated" (by a model, refined or not), "edited" (by hand), "confirmed" or "missing"."""
        confirmed = at_same_place(self.local, self.provenance.corrections.confirmed)
        rows = zip(finite_rows(self.local).tolist(), confirmed.tolist(), self.moved.tolist(), strict=True)
        return tuple(
            "missing" if not present else "confirmed" if is_confirmed else "edited" if moved else "estimated"
            for present, is_confirmed, moved in rows
        )

    @cached_property
    def is_empty(self) -> bool:
        """Whether no landmark has a place, and none was ever estimated: there is no pose."""
        places = self.local, self.provenance.estimate.positions
        return not any(np.isfinite(one).any() for one in places)

    @cached_property
    def moved(self) -> Flags:
        """(N,) which present points lie neither where they were estimated nor where they were refined to."""
        estimated = at_same_place(self.local, self.provenance.named.positions)
        return finite_rows(self.local) & ~estimated & ~self.refined

    @cached_property
    def refined(self) -> Flags:
        """(N,) which points lie where refinement around landmarks set by hand put them."""
        return at_same_place(self.local, self.provenance.corrections.refined)

    @cached_property
    def set_by_hand(self) -> Flags:
        """(N,) which points were edited or confirmed."""
        return np.array([state in ("edited", "confirmed") for state in self.states])

    @cached_property
    def doubtful(self) -> Flags:
        """(N,) which points are estimated with a confidence below `DOUBTFUL_CONFIDENCE`; all of a doubtful pose."""
        named = self.provenance.named
        return self._estimated & ((named.confidence < DOUBTFUL_CONFIDENCE) | bool(self.provenance.doubt))

    @property
    def doubt(self) -> str:
        """Why the whole pose is doubtful; empty once a person has set or confirmed every point."""
        return self.provenance.doubt if self._estimated.any() else ""

    @cached_property
    def _estimated(self) -> Flags:
        return np.array([state == "estimated" for state in self.states])

    @cached_property
    def pose(self) -> Pose:
        """The pose in world coordinates; a missing landmark has NaN for all.

        A landmark edited or confirmed has confidence 1. The 90 % radius holds where the model or a refinement put a
        landmark; elsewhere it is NaN.
        """
        named, present = self.provenance.named, finite_rows(self.local)
        confidence = np.where(self.set_by_hand, 1.0, np.where(present, named.confidence, np.nan))
        radius = np.where(present & ~self.moved, named.radius90_mm, np.nan)
        return Pose(
            self.world,
            confidence if np.isfinite(named.confidence).any() else None,
            radius if np.isfinite(named.radius90_mm).any() else None,
            self.provenance.laterality,
            self.provenance.schema,
            self.doubt,
        )

    def notes(self) -> list[PointNote]:
        """What the descriptions of the points say, one per row."""
        provenance, landmarks = self.provenance, self.provenance.schema.landmarks
        named, origin = provenance.named, swapped_rows(provenance.corrections.swapped, provenance.schema)
        away = finite_rows(named.positions) & ~at_same_place(self.local, named.positions)
        return [
            PointNote(
                state=state,
                refined=bool(self.refined[row]),
                estimated_at=tuple(named.positions[row].tolist()) if away[row] else None,
                estimated_as="" if origin[row] == row else landmarks[origin[row]].name,
                confidence=float(named.confidence[row]),
                radius90_mm=float(named.radius90_mm[row]),
                model=provenance.model,
                assumed=landmarks[row].assumed,
                doubt=self.doubt if state == "estimated" else "",
            )
            for row, state in enumerate(self.states)
        ]


def _equal(one: Array, other: Array) -> bool:
    return np.array_equal(one, other, equal_nan=True)
