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
from FetusMapV2Lib.scene.hand_measures import HAND_ATTRIBUTE

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Points closer than this count as being in one place (mm; files store fewer digits than memory holds).
SAME_PLACE_MM = 1e-3

MODEL_ATTRIBUTE = "FetusMapV2.Model"
DOUBT_ATTRIBUTE = "FetusMapV2.Doubt"
#: All that a landmarks node stores besides its points.
ATTRIBUTES = (ESTIMATE_ATTRIBUTE, CORRECTIONS_ATTRIBUTE, MODEL_ATTRIBUTE, DOUBT_ATTRIBUTE, HAND_ATTRIBUTE)


@dataclass(frozen=True, eq=False)
class Provenance:
    """What is stored with the landmarks of one pose.

    Attributes:
        estimate: by the model, under the names that the model gave.
        corrections: by the user.
        model: name and identity of the model, empty = unknown.
        schema: what the rows are.
        doubt: why the whole pose is doubtful (`Pose.doubt`), empty if it is not.
    """

    estimate: EstimateRecord
    corrections: Corrections
    model: str
    schema: Schema
    doubt: str = ""

    @classmethod
    def load(cls, node: Any, schema: Schema) -> Provenance:
        """What a landmarks node stores."""
        return cls(
            EstimateRecord.load(node, schema.count),
            Corrections.load(node, schema.count),
            node.GetAttribute(MODEL_ATTRIBUTE) or "",
            schema,
            node.GetAttribute(DOUBT_ATTRIBUTE) or "",
        )

    @classmethod
    def from_notes(cls, node: Any, schema: Schema) -> Provenance:
        """What the descriptions of the points say; a Markups file stores nothing else."""
        local = control_points.local_positions(node)
        notes = [PointNote.read(node.GetNthControlPointDescription(row)) for row in range(schema.count)]
        unknown = PointNote(state="edited")
        return _of_notes([note or unknown for note in notes], local, schema)

    def save(self, node: Any) -> None:
        """Store it in a landmarks node."""
        self.estimate.save(node)
        self.corrections.save(node)
        node.SetAttribute(MODEL_ATTRIBUTE, self.model)
        if self.doubt:
            node.SetAttribute(DOUBT_ATTRIBUTE, self.doubt)
        else:
            node.RemoveAttribute(DOUBT_ATTRIBUTE)

    @cached_property
    def named(self) -> EstimateRecord:
        """The estimate under the present names of the landmarks."""
        return self.estimate.in_order(swapped_rows(self.corrections.swapped, self.schema))

    @property
    def laterality(self) -> Laterality | None:
        """How sure left and right are; limbs whose sides were swapped by hand are certain."""
        estimated, swapped = self.estimate.laterality, self.corrections.swapped
        if estimated is None or not swapped:
            return estimated
        arms, legs, consistent = "arms" in swapped, "legs" in swapped, estimated.consistent
        if consistent is not None and arms != legs:
            consistent = not consistent
        return Laterality(
            arms_confidence=1.0 if arms else estimated.arms_confidence,
            legs_confidence=1.0 if legs else estimated.legs_confidence,
            arms_swapped=estimated.arms_swapped ^ arms,
            legs_swapped=estimated.legs_swapped ^ legs,
            consistent=consistent,
        )


def at_same_place(local: Array, places: Array) -> Flags:
    """(N,) which points lie at their `places`; false where either is missing."""
    distance: Array = np.linalg.norm(local - places, axis=1)
    return np.asarray(distance <= SAME_PLACE_MM)


def _of_notes(notes: list[PointNote], local: Array, schema: Schema) -> Provenance:
    nowhere = (math.nan,) * 3
    in_place = {"estimated", "confirmed"}
    estimated = np.array(
        [
            note.estimated_at or (place if note.state in in_place and not note.refined else nowhere)
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
        next((note.doubt for note in notes if note.doubt), ""),
    )
