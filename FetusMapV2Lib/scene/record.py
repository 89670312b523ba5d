"""What was estimated, kept with the landmarks node so that it is saved, copied per frame and undone with it.

Comparing it with the present positions tells which points were moved by hand, and lets them be put back.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.laterality import Laterality
from FetusMapV2Lib.anatomy.pose import Pose

Array = NDArray[np.float64]

ATTRIBUTE = "FetusMapV2.Estimate"

#: Points closer than this to their estimate count as not moved (mm; files keep fewer digits than memory).
MOVED_MM = 1e-3


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

    def moved(self, local_positions: Array) -> NDArray[np.bool_]:
        """(N,) which present points are not where they were estimated (or were not estimated at all)."""
        present = np.isfinite(local_positions).all(axis=1)
        distance = np.linalg.norm(local_positions - self.positions, axis=1)
        return present & ~(distance <= MOVED_MM)

    def save(self, node: Any) -> None:
        """Keep the record in `node`."""
        document = {
            "positions": [_numbers(row) for row in self.positions],
            "confidence": _numbers(self.confidence),
            "radius90_mm": _numbers(self.radius90_mm),
            "laterality": None if self.laterality is None else asdict(self.laterality),
        }
        node.SetAttribute(ATTRIBUTE, json.dumps(document, separators=(",", ":")))

    @classmethod
    def load(cls, node: Any, count: int) -> EstimateRecord:
        """The record kept in `node`; an empty one if there is none or if it does not fit `count` landmarks."""
        try:
            document = json.loads(node.GetAttribute(ATTRIBUTE) or "")
            record = cls(
                np.array([_floats(row) for row in document["positions"]]).reshape(count, 3),
                np.array(_floats(document["confidence"])).reshape(count),
                np.array(_floats(document["radius90_mm"])).reshape(count),
                None if document["laterality"] is None else Laterality(**document["laterality"]),
            )
        except (ValueError, KeyError, TypeError):
            unknown = np.full(count, np.nan)
            return cls(np.full((count, 3), np.nan), unknown, unknown)
        return record


def _numbers(values: Array) -> list[float | None]:
    """JSON has no NaN: unknown numbers are null."""
    return [round(float(value), 6) if math.isfinite(value) else None for value in values]


def _floats(values: list[float | None]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]
