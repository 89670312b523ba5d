"""The processes of a batch: every case is processed, whatever some of them do to their process."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from batch.pool_tasks import outcomes, tasks

from FetusMapV2Lib.batch.case_work import BatchSettings
from FetusMapV2Lib.batch.worker_pool import WorkerPool
from FetusMapV2Lib.core.errors import UserError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
TESTING = Path(__file__).resolve().parents[1]


@pytest.fixture
def pool_of(monkeypatch, tmp_path):
    """A pool of scripted processes."""
    monkeypatch.setenv("PYTHONPATH", str(TESTING))

    def make(jobs: int = 2, patience_s: float = 60.0, model: str | None = None, **options) -> WorkerPool:
        settings = BatchSettings(tmp_path, model=model, **options)
        return WorkerPool(settings, jobs, patience_s=patience_s, module="batch.scripted_worker")

    return make


def test_processes_share_the_cases_and_stay_warm(pool_of) -> None:
    names = [f"case-{number}" for number in range(12)]
    with pool_of(2) as pool:
        records = list(pool.run(tasks(*names)))
    assert sorted(record["case"] for record in records) == sorted(names)
    assert len(Counter(record["row"]["reason"] for record in records)) <= 2


def test_a_case_that_ends_its_process_is_tried_again_and_then_given_up(pool_of) -> None:
    with pool_of(2) as pool:
        records = list(pool.run(tasks("a", "kill", "b", "crash once", "bad", "c")))
    assert outcomes(records) == {
        "a": ["found"], "b": ["found"], "c": ["found"], "bad": ["refused"],
        "kill": ["lost", "lost"], "crash once": ["lost", "found"],
    }  # fmt: skip
    problems = {record["case"]: record["problem"] for record in records if record["outcome"] == "lost"}
    assert "lack of memory" in problems["kill"] and "tried twice and is given up" in problems["kill"]
    assert "exit code 3: Segmentation fault in the reader" in problems["crash once"]


def test_a_silent_process_is_ended(pool_of) -> None:
    with pool_of(1, patience_s=2.0) as pool:
        records = list(pool.run(tasks("hang once", "a")))
    assert outcomes(records) == {"hang once": ["lost", "found"], "a": ["found"]}
    assert "no progress" in records[0]["problem"]


def test_a_model_that_cannot_be_loaded_ends_the_batch_with_its_reason(pool_of) -> None:
    with pool_of(1, model="missing") as pool, pytest.raises(UserError, match="no such model") as refusal:
        list(pool.run(tasks("a")))
    assert refusal.value.remedy == "Name another"


def test_a_process_that_never_starts_ends_the_batch(pool_of) -> None:
    with pool_of(1, model="broken") as pool, pytest.raises(UserError, match=r"no process can be started.*cannot start"):
        list(pool.run(tasks("a")))


def test_without_identifiers_a_lost_case_has_no_path(pool_of) -> None:
    with pool_of(1, identifiers=False) as pool:
        records = list(pool.run(tasks("crash once")))
    assert "file" not in records[0]["row"] and ".nrrd" not in str(records)


def test_no_process_outlives_its_pool(pool_of) -> None:
    with pool_of(2) as pool:
        records = pool.run(tasks("a", "hang", "b"))
        pids = {int(next(records)["row"]["reason"]), int(next(records)["row"]["reason"])}
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
