"""A batch from its cases to its table: what is done already, what the processes do, and what is written at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from FetusMapV2Lib.batch.case_work import BatchSettings, is_finished
from FetusMapV2Lib.batch.cases import BatchCase
from FetusMapV2Lib.batch.journal import DONE, MOST_LOSSES, Journal, Record, records_of
from FetusMapV2Lib.batch.rows import row_of_document
from FetusMapV2Lib.batch.summary_page import summary_page
from FetusMapV2Lib.batch.tables import write_csv_table, write_parquet_table
from FetusMapV2Lib.batch.tasks import Pool, Task
from FetusMapV2Lib.core.atomic_files import atomic_write
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.json_files import read_json_object
from FetusMapV2Lib.exporting.options import SUFFIXES

#: Cases with a thumbnail although nobody has to look at them.
_THUMBNAILS = 100


@dataclass
class BatchPlan:
    """What is left to do.

    Attributes:
        tasks: cases to process, in their order.
        finished: cases whose results are there.
        given_up: cases that were lost twice.
    """

    tasks: list[Task] = field(default_factory=list)
    finished: list[BatchCase] = field(default_factory=list)
    given_up: list[BatchCase] = field(default_factory=list)


def journal_name(shard: tuple[int, int] | None) -> str:
    """Of the journal of one computer, or of the whole batch."""
    return "batch.jsonl" if shard is None else f"batch.{shard[0]}-of-{shard[1]}.jsonl"


def plan_batch(
    cases: Sequence[BatchCase], settings: BatchSettings, journal: Journal | None, *, retry: bool = False
) -> BatchPlan:
    """Find out what is done already; a case is done if its results are whole and of this very file.

    Args:
        cases: of the batch.
        settings: of the batch; with `overwrite` nothing counts as done.
        journal: of earlier runs; cases that it does not know and that are done get a record. None = none is kept.
        retry: try again what was given up.

    Raises:
        OutputError: the journal cannot be written.
    """
    plan = BatchPlan()
    for case in cases:
        losses = 0 if journal is None or retry else journal.losses(case.key)
        if losses >= MOST_LOSSES:
            plan.given_up.append(case)
        elif not settings.overwrite and is_finished(case, settings):
            plan.finished.append(case)
            if journal is not None and journal.outcome(case.key) not in DONE:
                journal.add(_record_of_results(case, settings))
        else:
            plan.tasks.append(Task(case, losses, thumbnail=len(plan.tasks) < _THUMBNAILS))
    return plan


def run_batch(
    plan: BatchPlan, journal: Journal, pool: Pool, *, on_stage: Callable[[BatchCase, str], None] | None = None
) -> Iterator[Record]:
    """Process the cases of a plan, and write each record to the journal before it is yielded.

    Args:
        plan: what is to be done.
        journal: see `Journal`.
        pool: that processes them; not begun yet. Without cases it is never begun.
        on_stage: see `Pool.run`.

    Raises:
        UserError: no process can be started, the model cannot be loaded, or the journal cannot be written.
    """
    if not plan.tasks:
        return
    with pool as workers:
        for record in workers.run(plan.tasks, on_stage):
            journal.add(record)
            yield record


def write_summary(output: Path, shard: tuple[int, int] | None, *, private: bool = True) -> tuple[Path, bool]:
    """Write the table and the summary page of a batch.

    Without a shard, they are of all journals in the folder: also those of shards.

    Returns:
        The path of the page, and whether there is a Parquet table.

    Raises:
        OutputError: they cannot be written.
    """
    end = "" if shard is None else f".{shard[0]}-of-{shard[1]}"
    journals = [output / journal_name(shard)] if shard else sorted(output.glob("batch*.jsonl"))
    write_csv_table(output / f"cases{end}.csv", records_of(journals), private=private)
    parquet = write_parquet_table(output / f"cases{end}.parquet", records_of(journals), private=private)
    page = output / f"summary{end}.html"
    with atomic_write(page, private=private) as temporary:
        temporary.write_text(summary_page(records_of(journals), output, f"cases{end}.csv"), encoding="utf-8")
    return page, parquet


def _record_of_results(case: BatchCase, settings: BatchSettings) -> Record:
    """Of a case whose results an earlier command has written, by its JSON; of a sequence it says only that."""
    path = settings.folder(case) / f"{case.name}{SUFFIXES['json']}"
    row = {"file": str(case.path.absolute())} if settings.identifiers else {}
    try:
        document = read_json_object(path, "the results of a case")
    except UserError:
        return {"case": case.key, "outcome": "found", "row": row}
    return {"case": case.key, "outcome": document.get("status", "found"), "row": row | row_of_document(document)}
