"""A process of a batch whose engine answers at once, so that what is left is the cost of everything else."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

import numpy as np
from cli.synthetic_balls import layout

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.batch import worker
from FetusMapV2Lib.batch.ray_engine import RayEngine, computer_of_this_engine
from FetusMapV2Lib.core.version import SOFTWARE
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.requests import LocalEngine
from FetusMapV2Lib.estimation.resource_estimate import ResourceEstimate
from FetusMapV2Lib.imaging.volume import Volume


class InstantEngine(LocalEngine):
    """Finds the same pose in every volume."""

    def __init__(self) -> None:
        self._estimate = Estimate.given(Pose(layout(), np.full(22, 0.9), np.full(22, 2.0)), "instant")

    def estimate(self, volume: Volume, **_: Any) -> Estimate:
        """See `PoseEngine.estimate`."""
        return self._estimate

    def refine(self, volume: Volume, estimate: Estimate, pinned: Collection[int] = (), **_: Any) -> Estimate:
        """See `PoseEngine.refine`."""
        return estimate

    def resource_estimate(self, voxels: int, refine: str = "off") -> ResourceEstimate:
        """See `PoseEngine.resource_estimate`."""
        return ResourceEstimate("cpu", "a test", "instant", None, None, "")


class InstantRayEngine(RayEngine):
    """The same on a Ray cluster."""

    def load(self) -> dict[str, Any]:
        """As `RayEngine.load`."""
        self._settings.output.mkdir(parents=True, exist_ok=True)
        self._engine = InstantEngine()
        return {"ready": os.getpid(), "computer": computer_of_this_engine(), "software": SOFTWARE}


def main() -> None:
    """As `worker.main`."""
    PoseEngine.load = classmethod(lambda cls, *_: InstantEngine())  # type: ignore[assignment, method-assign]
    worker.main()
