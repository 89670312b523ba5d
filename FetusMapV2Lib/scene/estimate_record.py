"""What was estimated, kept with the landmarks node so that it is saved, copied per frame and undone with it.

Nobody changes it but the next estimate: points that were moved can be put back, after reopening a scene too.
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
        positions: (N, 3) mm in the landmarks node's own coordinates, so that a parent transform moves it along.
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
        """With the rows in another order, as after landmarks changed their names."""
        return replace(
            self,
            positions=self.positions[order],
            confidence=self.confidence[order],
            radius90_mm=self.radius90_mm[order],
        )

    def save(self, node: Any) -> None:
        """Keep the record in `node`."""
        write_attribute(node, ESTIMATE_ATTRIBUTE, self)

    @classmethod
    def load(cls, node: Any, count: int) -> EstimateRecord:
        """The record kept in `node`; an empty one if there is none or if it does not fit `count` landmarks."""
        record = read_attribute(node, ESTIMATE_ATTRIBUTE, cls)
        if record is not None:
            shapes = record.positions.shape, record.confidence.shape, record.radius90_mm.shape
            if shapes == ((count, 3), (count,), (count,)):
                return record
        unknown = np.full(count, np.nan)
        return cls(np.full((count, 3), np.nan), unknown, unknown)
