"""A batch on a Ray cluster in a process of its own, which a test kills: ADDRESS FOLDER NAME..."""

from __future__ import annotations

import sys
from pathlib import Path

from batch.scripted_ray_engine import ScriptedEngine

from FetusMapV2Lib.batch.batch_run import BatchPlan, run_batch
from FetusMapV2Lib.batch.case_work import BatchSettings
from FetusMapV2Lib.batch.cases import BatchCase
from FetusMapV2Lib.batch.journal import Journal
from FetusMapV2Lib.batch.ray_pool import EngineRoom, RayPool
from FetusMapV2Lib.batch.tasks import Task


def main() -> None:
    """Process the cases that the journal does not have yet, and print each when it is done."""
    address, folder, out = sys.argv[1], Path(sys.argv[2]), sys.stdout
    with Journal(folder / "batch.jsonl") as journal:
        names = [name for name in sys.argv[3:] if journal.outcome(name) is None]
        plan = BatchPlan([Task(BatchCase(Path(f"{name}.nrrd"), name)) for name in names])
        pool = RayPool(BatchSettings(folder), address, EngineRoom(1), engine=ScriptedEngine)
        for record in run_batch(plan, journal, pool):
            print(record["case"], file=out, flush=True)


if __name__ == "__main__":
    main()
