"""Where the landmarks of a pose come from: the estimate and its corrections, as stored in the landmarks node.

Together with the positions of the points they give the states of all landmarks (`pose_snapshot`), so that undo,
sequences and files need to restore nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.laterality import Laterality
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.imaging.point_notes import PointNote
from FetusMapV2Lib.scene import control_points
from FetusMapV2Lib.scene.corrections import CORRECTIONS_ATTRIBUTE, LIMBS, Corrections, swapped_rows
from FetusMapV2Lib.scene.estimate_record import ESTIMATE_ATTRIBUTE, EstimateRecord

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Points closer than this count as being in one place (mm; files keep fewer digits than memory).
SAME_PLACE_MM = 1e-3

MODEL_ATTRIBUTE = "FetusMapV2.Model"
#: All that a landmarks node keeps beside its points.
ATTRIBUTES = (ESTIMATE_ATTRIBUTE, CORRECTIONS_ATTRIBUTE, MODEL_ATTRIBUTE)


@dataclass(frozen=True, eq=False)
class Provenance:
    """What is kept with the landmarks of one pose.

    Positions named `local` are (N, 3) mm in the landmarks node's own coordinates, NaN = missing.

    Attributes:
        estimate: what the model gave, by the names that it gave.
        corrections: what a user made of it.
        model: name and identity of the model, empty = unknown.
        schema: what the rows are.
    """

    estimate: EstimateRecord
    corrections: Corrections
    model: str
    schema: Schema

    @classmethod
    def load(cls, node: Any, schema: Schema) -> Provenance:
        """What a landmarks node keeps."""
        return cls(
            EstimateRecord.load(node, schema.count),
            Corrections.load(node, schema.count),
            node.GetAttribute(MODEL_ATTRIBUTE) or "",
            schema,
        )

    @classmethod
    def from_notes(cls, node: Any, schema: Schema) -> Provenance:
        """What the descriptions of the points tell; a Markups file keeps nothing else."""
        local = control_points.local_positions(node)
        notes = [PointNote.read(node.GetNthControlPointDescription(row)) for row in range(schema.count)]
        unknown = PointNote(state="edited")
        return _of_notes([note or unknown for note in notes], local, schema)

    def save(self, node: Any) -> None:
        """Keep all of it in a landmarks node."""
        self.estimate.save(node)
        self.corrections.save(node)
        node.SetAttribute(MODEL_ATTRIBUTE, self.model)

    @cached_property
    def named(self) -> EstimateRecord:
        """The estimate by the names that the landmarks have now."""
        return self.estimate.in_order(swapped_rows(self.corrections.swapped, self.schema))

    @property
    def laterality(self) -> Laterality | None:
        """How sure left and right are; limbs whose sides were swapped by hand are certain."""
        kept, swapped = self.estimate.laterality, self.corrections.swapped
        if kept is None or not swapped:
            return kept
        arms, legs = "arms" in swapped, "legs" in swapped
        return Laterality(
            arms_confidence=1.0 if arms else kept.arms_confidence,
            legs_confidence=1.0 if legs else kept.legs_confidence,
            arms_swapped=kept.arms_swapped ^ arms,
            legs_swapped=kept.legs_swapped ^ legs,
            consistent=kept.consistent if kept.consistent is None or arms == legs else not kept.consistent,
        )


def at_same_place(local: Array, places: Array) -> Flags:
    """(N,) which points lie at their `places`; false where either is missing."""
    distance: Array = np.linalg.norm(local - places, axis=1)
    return np.asarray(distance <= SAME_PLACE_MM)


def _of_notes(notes: list[PointNote], local: Array, schema: Schema) -> Provenance:
    nowhere = (math.nan,) * 3
    at_home = {"estimated", "confirmed"}
    estimated = np.array(
        [
            note.estimated_at or (place if note.state in at_home and not note.refined else nowhere)
            for note, place in zip(notes, local.tolist(), strict=True)
        ]
    )
    confirmed = np.array([note.state == "confirmed" for note in notes])
    refined = np.array([note.refined for note in notes])
    renamed = {schema.landmarks[row].group for row, note in enumerate(notes) if note.estimated_as}
    swapped = frozenset(limb for limb, groups in LIMBS.items() if renamed & set(groups))
    named = EstimateRecord(
        estimated,
        np.array([note.confidence for note in notes]),
        np.array([note.radius90_mm for note in notes]),
    )
    return Provenance(
        named.in_order(swapped_rows(swapped, schema)),
        Corrections(
            np.where(confirmed[:, None], local, np.nan), np.where(refined[:, None], local, np.nan), frozenset(swapped)
        ),
        next((note.model for note in notes if note.model), ""),
        schema,
    )
