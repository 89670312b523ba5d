"""The estimates of this session, by the landmarks that show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from FetusMapV2Lib.scene.estimate_record import ESTIMATE_ATTRIBUTE
from FetusMapV2Panel.nodes import LandmarksNode

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.estimate import Estimate

#: Estimates that are kept in memory; each is small.
_MAX_ESTIMATES = 64


class RecentEstimates:
    """Keeps the last estimates, so that undo and redo find the one that landmarks show again."""

    def __init__(self) -> None:
        self._estimates: dict[tuple[str, str], Estimate] = {}

    def add(self, landmarks: LandmarksNode, estimate: Estimate) -> None:
        """Keep an estimate; the oldest one is dropped beyond the maximum."""
        self._estimates[_key(landmarks)] = estimate
        while len(self._estimates) > _MAX_ESTIMATES:
            del self._estimates[next(iter(self._estimates))]

    def of(self, landmarks: LandmarksNode) -> Estimate | None:
        """The estimate that landmarks show now; None if they come from elsewhere."""
        return self._estimates.get(_key(landmarks))

    def clear(self) -> None:
        """Drop all estimates."""
        self._estimates.clear()


def _key(landmarks: LandmarksNode) -> tuple[str, str]:
    """Landmarks and estimate: undo may restore an earlier estimate into the same landmarks."""
    return landmarks.GetID(), landmarks.GetAttribute(ESTIMATE_ATTRIBUTE) or ""
