"""The estimate as it was made, stored in the landmarks node: saved, copied per frame and undone with it.

Only the next estimate replaces it, so that moved points can be reset, also after a scene was loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.laterality import Laterality
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.scene.node_attributes import read_attribute, write_attribute

Array = NDArray[np.float64]

ESTIMATE_ATTRIBUTE = "FetusMapV2.Estimate"


@dataclass(frozen=True, eq=False)
class EstimateRecord:
    """An estimate as it was made.

    Attributes:
        positions: (N, 3) mm in the landmarks node's own coordinates, which a parent transform does not change.
        confidence: (N,) 0..1, NaN = unknown.
        radius90_mm: (N,) mm, NaN = unknown.
        laterality: how sure left and right are, or None.
    """

    positions: Array
    confidence: Array
    radius90_mm: Array
    laterality: Laterality | None = None

    @classmethod
    def of(cls, pose: Pose, local_positions: Array) -> EstimateRecord:
        """The record of a pose whose points lie at `local_positions` (N, 3) in the node's coordinates."""
        unknown = np.full(len(local_positions), np.nan)
        confidence = unknown if pose.confidence is None else pose.confidence
        radius = unknown if pose.radius90_mm is None else pose.radius90_mm
        return cls(local_positions, confidence, radius, pose.laterality)

    def in_order(self, order: NDArray[np.intp]) -> EstimateRecord:
        """The record with its rows in another order, as after landmarks were renamed."""
        return replace(
            self,
            positions=self.positions[order],
            confidence=self.confidence[order],
            radius90_mm=self.radius90_mm[order],
        )

    def save(self, node: Any) -> None:
        """Store the record in a landmarks node."""
        write_attribute(node, ESTIMATE_ATTRIBUTE, self)

    @classmethod
    def load(cls, node: Any, count: int) -> EstimateRecord:
        """The record stored in a landmarks node; an empty one if there is none, or not for `count` landmarks."""
        record = read_attribute(node, ESTIMATE_ATTRIBUTE, cls)
        if record is not None:
            shapes = record.positions.shape, record.confidence.shape, record.radius90_mm.shape
            if shapes == ((count, 3), (count,), (count,)):
                return record
        unknown = np.full(count, np.nan)
        return cls(np.full((count, 3), np.nan), unknown, unknown)
