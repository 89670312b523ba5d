"""The journal of a batch: what was done survives any end, and is read with one record in memory."""

from __future__ import annotations

import json

import pytest

from FetusMapV2Lib.batch.journal import Journal, records_of
from FetusMapV2Lib.core.errors import OutputError


def record(case: str, outcome: str = "found", **row) -> dict:
    return {"case": case, "outcome": outcome, "row": row}


def test_the_last_record_of_a_case_counts(tmp_path) -> None:
    with Journal(tmp_path / "j.jsonl") as journal:
        for outcome in ("lost", "lost", "found"):
            journal.add(record("a", outcome))
        journal.add(record("b", "lost"))
    with Journal(tmp_path / "j.jsonl") as journal:
        assert (journal.outcome("a"), journal.losses("a")) == ("found", 0)
        assert (journal.outcome("b"), journal.losses("b"), journal.outcome("c")) == ("lost", 1, None)


def test_a_line_that_was_cut_costs_its_case_only(tmp_path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.add(record("a"))
        journal.add(record("b"))
    path.write_bytes(path.read_bytes()[:-5])
    with Journal(path) as journal:
        assert (journal.outcome("a"), journal.outcome("b")) == ("found", None)
        journal.add(record("c"))
    assert [one["case"] for one in records_of([path])] == ["a", "c"]


def test_records_come_in_the_order_of_cases_from_several_journals(tmp_path) -> None:
    for name, records in {"1": [record("b", x=1), record("d")], "2": [record("a"), record("b", x=2)]}.items():
        (tmp_path / name).write_text("".join(json.dumps(one) + "\n" for one in records))
    found = list(records_of([tmp_path / "1", tmp_path / "2"]))
    assert [one["case"] for one in found] == ["a", "b", "d"]
    assert found[1]["row"] == {"x": 2}


def test_a_journal_that_cannot_be_written_is_one_line(tmp_path) -> None:
    with pytest.raises(OutputError, match="missing"):
        Journal(tmp_path / "missing" / "j.jsonl")
