"""A process of a batch whose engine knows the synthetic balls."""

from __future__ import annotations

from cli.synthetic_balls import ball_engine

from FetusMapV2Lib.batch import worker
from FetusMapV2Lib.estimation.engine import PoseEngine


def main() -> None:
    """As `worker.main`."""
    PoseEngine.load = classmethod(lambda cls, *_: ball_engine())  # type: ignore[assignment, method-assign]
    worker.main()
