"""What there is of one frame besides its voxels: `Answer` of the engine, and `KeptPose`, which files keep."""

from __future__ import annotations

from dataclasses import dataclass

from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.scene.hand_measures import HandMeasures
from FetusMapV2Lib.scene.pose_snapshot import PoseSnapshot


@dataclass
class Answer:
    """What the engine has answered for a volume.

    Attributes:
        estimate: the last answer; None before, and for work that was found in files.
        device: where the pose was estimated; empty if unknown.
        warnings: of the estimate.
        status: of the estimate; empty before.
    """

    estimate: Estimate | None = None
    device: str = ""
    warnings: tuple[str, ...] = ()
    status: str = ""

    @classmethod
    def of(cls, estimate: Estimate) -> Answer:
        """An answer that has just come."""
        return cls(estimate, estimate.device, estimate.warnings, estimate.status)


@dataclass(frozen=True)
class KeptPose:
    """A pose, and what a person measured besides.

    Attributes:
        snapshot: the pose.
        by_hand: outlines and callipers.
    """

    snapshot: PoseSnapshot
    by_hand: HandMeasures
