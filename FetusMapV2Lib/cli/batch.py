"""`fetusmap batch`: the pose in many volumes, by several processes, with one table and one summary page.

Heavy libraries are imported where they are needed, as in `cli`.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from FetusMapV2Lib.cli.console import DeviceOption, ModelOption, OverwriteOption, log, print_message, verbosity
from FetusMapV2Lib.core.atomic_files import usable_folder
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.safe_text import printable

if TYPE_CHECKING:
    from FetusMapV2Lib.batch.batch_run import BatchPlan
    from FetusMapV2Lib.batch.case_work import BatchSettings
    from FetusMapV2Lib.batch.cases import FoundCases
    from FetusMapV2Lib.batch.journal import Journal, Record
    from FetusMapV2Lib.batch.tasks import Pool

#: Words for outcomes in the last line.
_WORDS = {"found": "found", "doubtful": "doubtful", "none": "without a fetus", "refused": "refused", "lost": "given up"}
_WRONG = ("refused", "lost")
#: Voxels of a full-size volume, for the memory that is told beforehand.
_VOXELS = 45_000_000


def batch(
    inputs: Annotated[
        list[str], typer.Argument(help="Volumes, folders, patterns, lists (.txt), tables (.csv), or - for a list.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for results and table.")],
    model: ModelOption = None,
    device: DeviceOption = "auto",
    jobs: Annotated[
        Optional[int], typer.Option("--jobs", "-j", min=1, help="Processes at once; 1, on a cluster as many as fit.")
    ] = None,
    ray: Annotated[
        Optional[str],
        typer.Option("--ray", metavar="ADDRESS", help="Use a Ray cluster: auto, an address, or local."),
    ] = None,
    engine_cpus: Annotated[
        int, typer.Option("--engine-cpus", min=1, help="Cores of each engine on a Ray cluster.")
    ] = 2,
    shard: Annotated[
        Optional[str],
        typer.Option("--shard", metavar="I/N", help="Process the I-th of N parts, for arrays of cluster jobs."),
    ] = None,
    memory_budget: Annotated[
        Optional[str], typer.Option("--memory-budget", help="Most memory the network may take, e.g. 2GiB.")
    ] = None,
    refine: Annotated[str, typer.Option("--refine", help="Refine by the shape prior: off, prior or full.")] = "off",
    scene: Annotated[bool, typer.Option("--scene", help="Also write Slicer scenes (.mrb).")] = False,
    picture: Annotated[bool, typer.Option("--picture", help="Also write pictures (.png).")] = False,
    report: Annotated[bool, typer.Option("--report", help="Also write reports: HTML page, DICOM SR, FHIR.")] = False,
    without_identifiers: Annotated[
        bool,
        typer.Option(
            "--without-identifiers", help="Leave patient, study, days and paths out; needs a table with names."
        ),
    ] = False,
    shared: Annotated[
        bool, typer.Option("--shared", help="Let other users of this computer read the results.")
    ] = False,
    kretz_handedness: Annotated[
        str, typer.Option("--kretz-handedness", help="Sign of y in Kretz files: slicerheart or plooney.")
    ] = "slicerheart",
    presence_threshold: Annotated[
        Optional[float],
        typer.Option("--presence-threshold", help="Score from which a fetus counts as found, 0-1; else the model's."),
    ] = None,
    accept_doubtful: Annotated[
        bool, typer.Option("--accept-doubtful", help="Count doubtful fetuses as found; a warning stays.")
    ] = False,
    overwrite: OverwriteOption = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what was given up.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print an event in each line, for programs.")] = False,
) -> None:
    """Estimate the pose in many volumes; what is complete is kept, so the same command goes on after a stop.

    A case that ends its process is tried once more and then given up; the others are processed. Exit code 2: some were
    refused or given up.
    """
    from FetusMapV2Lib.batch.batch_run import journal_name, plan_batch
    from FetusMapV2Lib.batch.cases import find_batch_cases, shard_of
    from FetusMapV2Lib.batch.journal import Journal
    from FetusMapV2Lib.estimation.detection import PresenceRule
    from FetusMapV2Lib.exporting.options import PLAIN_REPORT_KINDS

    presence = PresenceRule(presence_threshold, accept_doubtful)
    settings = _settings(
        output, {"scene": scene, "picture": picture, **dict.fromkeys(PLAIN_REPORT_KINDS, report)},
        model=model, device=device, memory_budget=memory_budget, refine=refine, jobs=jobs or 1,
        identifiers=not without_identifiers, shared=shared, overwrite=overwrite, kretz_handedness=kretz_handedness,
        presence=presence,
    )  # fmt: skip
    part = _parsed_shard(shard)
    found = find_batch_cases(inputs, standard_input=sys.stdin, leave_out=output)
    if part is not None:
        found.cases = shard_of(found.cases, *part)
    if without_identifiers:
        _check_names(found)
    events = _Events(as_json)
    where = _Where(jobs, settings.threads) if ray is None else _Where(jobs, engine_cpus, ray)
    if dry_run:
        events.plan(plan_batch(found.cases, settings, None), found, where)
        return
    usable_folder(output, private=not shared)
    with Journal(output / journal_name(part), private=not shared) as journal:
        plan = plan_batch(found.cases, settings, journal, retry=retry)
        events.plan(plan, found, where)
        counts = _run(plan, settings, journal, where, events)
    wrong = _finish(output, part, plan, found, counts, events, private=not shared)
    if wrong:
        raise typer.Exit(2)


def _settings(
    output: Path, chosen: dict[str, bool], *, memory_budget: str | None, refine: str, jobs: int, **options: Any
) -> BatchSettings:
    from FetusMapV2Lib.batch.case_work import BatchSettings
    from FetusMapV2Lib.estimation.estimate import check_mode
    from FetusMapV2Lib.exporting.options import RESULT_KINDS, ExportOptions
    from FetusMapV2Lib.memory.plan import parse_bytes
    from FetusMapV2Lib.models.model_index import absolute_model

    kinds = [*RESULT_KINDS, *(kind for kind, wanted in chosen.items() if wanted)]
    ExportOptions(kinds).check()  # type: ignore[arg-type]  # the kinds of this command
    if options["kretz_handedness"] not in ("slicerheart", "plooney"):
        where = f"--kretz-handedness {options['kretz_handedness']}"
        raise InputError("unknown convention", where=where, remedy="Use slicerheart or plooney")
    if options["model"] is not None:
        options["model"] = absolute_model(options["model"])
    return BatchSettings(
        output=output.absolute(),
        kinds=kinds,  # type: ignore[arg-type]
        memory_budget=None if memory_budget is None else parse_bytes(memory_budget),
        refine=check_mode(refine),
        threads=max(1, (os.cpu_count() or 1) // jobs),
        **options,
    )


def _parsed_shard(text: str | None) -> tuple[int, int] | None:
    """(number, count) of ``--shard``.

    Raises:
        InputError: not I/N with I from 1 to N.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        remedy = "Write I/N with I from 1 to N, for example 3/16"
        raise InputError("not a part of a batch", where=f"--shard {text}", remedy=remedy)
    return int(match[1]), int(match[2])


def _check_names(found: FoundCases) -> None:
    """Results without identifiers cannot be called like their files.

    Raises:
        InputError: a case has the name of its file.
    """
    from FetusMapV2Lib.imaging.reading import volume_name

    for case in found.cases:
        if case.folder or case.name == volume_name(case.path):
            remedy = "Give a CSV table with the columns path and name, or use `fetusmap estimate`"
            raise InputError("results without identifiers need names of their own", where=case.path, remedy=remedy)


@dataclass(frozen=True)
class _Where:
    """Where a batch runs: processes of this computer, or engines of a Ray cluster.

    Attributes:
        jobs: at once; None = one process, or as many engines as the cluster has room for.
        threads: of one of them.
        address: of the cluster, None = this computer.
    """

    jobs: int | None
    threads: int
    address: str | None = None

    def pool(self, settings: BatchSettings, cases: int) -> Pool:
        """That processes so many cases."""
        if self.address is None:
            from FetusMapV2Lib.batch.worker_pool import WorkerPool

            return WorkerPool(settings, min(self.jobs or 1, max(1, cases)))
        from FetusMapV2Lib.batch.ray_pool import EngineRoom, RayPool

        return RayPool(settings, self.address, EngineRoom(self.threads, at_most=self.jobs))

    def values(self) -> dict[str, Any]:
        """For programs."""
        return {"jobs": self.jobs or 1} if self.address is None else {"jobs": self.jobs, "ray": self.address}

    def told(self) -> str:
        """In words, with the memory that it needs."""
        from FetusMapV2Lib.estimation.resource_estimate import BYTES_PER_VOXEL, PROCESS_BYTES
        from FetusMapV2Lib.memory.plan import shown_bytes

        each = PROCESS_BYTES + BYTES_PER_VOXEL * _VOXELS
        if self.address is None:
            jobs = self.jobs or 1
            return f"{jobs} processes with {self.threads} threads each, about {shown_bytes(jobs * each)}"
        most = f"at most {self.jobs}" if self.jobs else "as many as fit"
        return (
            f"engines on the Ray cluster {printable(self.address)}, {most}, "
            f"with {self.threads} cores and about {shown_bytes(each)} each"
        )


def _run(plan: BatchPlan, settings: BatchSettings, journal: Journal, where: _Where, events: _Events) -> Counter[str]:
    from FetusMapV2Lib.batch.batch_run import run_batch

    pool = where.pool(settings, len(plan.tasks))
    last: dict[str, str] = {}
    with _bar() as bar:
        task = bar.add_task("", total=len(plan.tasks))
        for record in run_batch(plan, journal, pool, on_stage=events.stage):
            done = record["case"] not in last
            last[record["case"]] = record["outcome"]
            bar.update(task, advance=1 if done else 0, description=events.counted(last))
            events.case(record)
    return Counter(last.values())


def _bar() -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    return Progress(*columns, *times, console=log, transient=True, disable=verbosity.quiet or not log.is_terminal)


def _finish(
    output: Path,
    part: tuple[int, int] | None,
    plan: BatchPlan,
    found: FoundCases,
    counts: Counter[str],
    events: _Events,
    *,
    private: bool,
) -> int:
    """Write table and page, say how it ended; the number of cases that went wrong."""
    from FetusMapV2Lib.batch.batch_run import write_summary

    page, parquet = write_summary(output, part, private=private)
    if not parquet:
        print_message('The table is not written as Parquet; pip install ".[batch]" adds that.')
    counts["lost"] += len(plan.given_up)
    counts["refused"] += len(found.refused)
    events.end(counts, len(plan.finished), page)
    return sum(counts[name] for name in _WRONG)


class _Events:
    """What is said of a batch: lines for people, or with ``--json`` events for programs."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._out = sys.stdout  # a pool may keep what libraries print away from it
        self._start = time.monotonic()

    def plan(self, plan: BatchPlan, found: FoundCases, where: _Where) -> None:
        """What is going to be done."""
        for path, reason in found.refused:
            print_message(f"{printable(path)}: {reason}", "yellow")
        for case in plan.given_up:
            print_message(
                f"{printable(str(case.path))}: given up, as its process was lost twice; see --retry", "yellow"
            )
        self._say(
            "start",
            {
                "cases": len(found.cases), "to_do": len(plan.tasks), "done_before": len(plan.finished),
                **where.values(),
            },
            f"{len(found.cases)} cases: {len(plan.tasks)} to do, {len(plan.finished)} done before; {where.told()}",
        )  # fmt: skip

    def stage(self, case: Any, stage: str) -> None:
        """A case has reached a stage."""
        if self._as_json:
            self._say("stage", {"case": case.key, "stage": stage}, "")
        elif verbosity.stages:
            print_message(f"{printable(case.key)}: {stage}")

    def case(self, record: Record) -> None:
        """A case has ended."""
        row, problem = record["row"], record.get("problem", "")
        known = row.get("crl_mm") is not None
        text = problem or (f"CRL {row['crl_mm']:.1f} mm" if known else row.get("reason", ""))
        style = "red" if record["outcome"] in _WRONG else "yellow" if record["outcome"] == "doubtful" else ""
        self._say("case", dict(record), f"{printable(record['case'])}: {record['outcome']}. {printable(text)}", style)

    def end(self, counts: Counter[str], before: int, page: Path) -> None:
        """The batch has ended."""
        listed = [f"{counts[name]} {words}" for name, words in _WORDS.items() if counts[name]]
        listed += [f"{before} done before"] if before else []
        seconds = time.monotonic() - self._start
        values = {"outcomes": dict(counts), "done_before": before, "seconds": round(seconds, 1), "summary": str(page)}
        self._say("end", values, f"{', '.join(listed) or 'Nothing to do'}; {seconds:.0f} s. {printable(str(page))}")

    def counted(self, last: dict[str, str]) -> str:
        """The outcomes so far, for the bar."""
        counts = Counter(last.values())
        return ", ".join(f"{counts[name]} {words}" for name, words in _WORDS.items() if counts[name])

    def _say(self, event: str, values: dict[str, Any], text: str, style: str = "") -> None:
        if self._as_json:
            print(json.dumps({"event": event, **values}), file=self._out, flush=True)
        else:
            print_message(text, style)
