"""Tasks of scripted cases, and what became of them: for the tests of every kind of pool."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from FetusMapV2Lib.batch.cases import BatchCase
from FetusMapV2Lib.batch.journal import Record
from FetusMapV2Lib.batch.tasks import Task


def tasks(*names: str) -> list[Task]:
    """One task for each name."""
    return [Task(BatchCase(Path(f"{name}.nrrd"), name)) for name in names]


def outcomes(records: Iterable[Record]) -> dict[str, list[str]]:
    """The outcomes of each case in their order."""
    found: dict[str, list[str]] = {}
    for record in records:
        found.setdefault(record["case"], []).append(record["outcome"])
    return found
