"""Jobs in steps: carried on by a loop, by waiting or by another job, and cancelled in each of these."""

from __future__ import annotations

from collections.abc import Callable, Generator

import pytest

from FetusMapV2Lib.core import jobs
from FetusMapV2Lib.core.errors import Cancelled
from FetusMapV2Lib.core.jobs import Job


class Task:
    """Waits twice and then has a result; notes what happens to it."""

    def __init__(self, within: Callable[[], object] = lambda: None) -> None:
        self.events: list[str] = []
        self._within = within

    def steps(self) -> Generator[None, None, str]:
        try:
            for number in range(2):
                self.events.append(f"step {number}")
                self._within()
                yield
            return "result"
        finally:
            self.events.append("released")


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Task:
    monkeypatch.setattr(jobs, "POLL_S", 0.0)
    return Task()


def test_nothing_is_done_before_the_first_step_and_all_at_the_end(task: Task) -> None:
    job = Job(task.steps())
    assert task.events == [] and not job.is_done
    assert [job.step(), job.step()] == [False, False]
    assert task.events == ["step 0", "step 1"]
    assert job.step() and job.is_done and not job.is_cancelled
    assert job.result() == job.result() == "result"
    assert job.step()
    job.cancel()  # too late to change anything
    assert not job.is_cancelled and job.result() == "result"


def test_a_script_waits_for_the_result(task: Task) -> None:
    assert Job(task.steps()).result() == "result"
    assert task.events == ["step 0", "step 1", "released"]


def test_a_cancelled_job_releases_what_it_has_and_has_no_result(task: Task) -> None:
    job = Job(task.steps())
    job.step()
    job.cancel()
    assert task.events == ["step 0", "released"]
    assert job.is_done and job.is_cancelled
    for go_on in (job.step, job.result):
        with pytest.raises(Cancelled):
            go_on()


def test_a_job_that_is_cancelled_within_a_step_ends_after_it() -> None:
    task = Task(lambda: job.cancel())
    job = Job(task.steps())
    with pytest.raises(Cancelled):
        job.step()
    assert task.events == ["step 0", "released"] and job.is_done

    last = Job.of(lambda: (last.cancel(), last.is_cancelled))
    with pytest.raises(Cancelled):
        last.result()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_ends_a_task_reaches_its_caller(task: Task, error: type[BaseException]) -> None:
    def fail() -> None:
        raise error

    job = Job.of(fail)
    with pytest.raises(error):
        job.result()
    assert job.is_done


def test_an_interrupted_wait_cancels_the_job(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Job(task.steps()).result()
    assert task.events == ["step 0", "released"]


def test_a_job_within_another_waits_and_is_cancelled_with_it(task: Task) -> None:
    def outer() -> Generator[None, None, str]:
        return "outer " + (yield from Job(task.steps()))

    assert Job(outer()).result() == "outer result"
    task.events.clear()
    job = Job(outer())
    job.step()
    job.cancel()
    assert task.events == ["step 0", "released"]
