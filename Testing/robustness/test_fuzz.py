"""A short form of the fuzzing campaign: damaged files of every format crash, hang, raise and change nothing unsaid."""

from __future__ import annotations

from robustness.corpus import corpus
from robustness.fuzz import run

_COUNT, _SEED = 400, 15


def test_damaged_files_are_read_right_or_refused():
    campaign = run(_COUNT, _SEED, corpus())
    assert campaign.inputs == _COUNT
    assert not campaign.faults, "\n".join(campaign.faults)
    outcomes = sum(campaign.counts.values(), start=type(next(iter(campaign.counts.values())))())
    # a campaign in which hardly anything is read, or refused, tests nothing
    assert outcomes["refused"] > _COUNT // 5
    assert sum(count for outcome, count in outcomes.items() if outcome.startswith("read")) > _COUNT // 5
