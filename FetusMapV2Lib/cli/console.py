"""Printing and parsing of the command line: messages, progress, tables, options.

Heavy libraries are imported where they are needed, as in `cli`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from FetusMapV2Lib.cli.supervisor_link import supervisor_link
from FetusMapV2Lib.core.errors import InputError, OutputError, UserError
from FetusMapV2Lib.core.safe_text import printable, printable_lines

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.estimate import Estimate
    from FetusMapV2Lib.phantom.simulated_case import SimulatedCase

OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")]
ModelOption = Annotated[
    Optional[str],
    typer.Option("--model", help="Name of a model (see `fetusmap models list`) or path of a model file."),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
PrepareOnOption = Annotated[
    str,
    typer.Option("--prepare-on", help="cpu, or device: samples are prepared by the GPU that trains."),
]
SetOption = Annotated[
    Optional[list[str]],
    typer.Option("--set", help="Change a field of the preset, e.g. optimiser.learning_rate=1e-3 (more than once)."),
]


STOPPED = "Stopped; what was finished is kept."


class _PlainConsole(Console):
    """A console for texts that quote names: no markup, and control characters are escaped."""

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Render a line or cell."""
        return super().render_str(printable_lines(text), **options)


out = _PlainConsole()
log = _PlainConsole(stderr=True)
#: What is printed on standard error, for a log file; nothing else writes to it.
_RECORD = logging.getLogger("fetusmap")
_RECORD.propagate = False
_RECORD.setLevel(logging.CRITICAL + 1)  # without a log file, logging would print the lines a second time


@dataclass
class Verbosity:
    """How much is printed on standard error: errors and warnings always are.

    Attributes:
        quiet: neither progress nor remarks.
        stages: each stage of a job as a line.
    """

    quiet: bool = False
    stages: bool = False


verbosity = Verbosity()


def set_verbosity(*, verbose: bool, quiet: bool, log_file: Path | None) -> None:
    """Choose how much is printed, and a file that the same lines are appended to.

    Raises:
        InputError: both more and less is wanted.
        OutputError: the log file cannot be written.
    """
    if verbose and quiet:
        raise InputError("more and less cannot be printed", where="--verbose --quiet", remedy="Give one of the two")
    verbosity.quiet, verbosity.stages = quiet, verbose
    library = logging.getLogger("FetusMapV2Lib")
    for handler in list(_RECORD.handlers):
        for logger in (_RECORD, library):
            logger.removeHandler(handler)
        handler.close()
    if log_file is None:
        _RECORD.setLevel(logging.CRITICAL + 1)
        return
    try:
        file = logging.FileHandler(log_file, encoding="utf-8")
    except OSError as error:
        problem = f"the log cannot be written ({error.strerror or error})"
        raise OutputError(problem, where=log_file, remedy="Choose another file") from error
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    for logger in (_RECORD, library):
        logger.setLevel(logging.INFO)
        logger.addHandler(file)


def print_error(error: UserError) -> None:
    """Print an error as one line on standard error."""
    _RECORD.error(error.line())
    log.print(Text.assemble(("Error:", "bold red"), " ", error.line()), soft_wrap=True)


def print_usage_error(error: Exception) -> None:
    """Print an error in the arguments of a command: its usage, and one line."""
    context, problem = getattr(error, "ctx", None), getattr(error, "format_message", error.__str__)()
    if not problem:  # without arguments: its help was printed
        return
    remedy = ""
    if context is not None:
        print_message(printable_lines(context.get_usage()), "dim")
        remedy = f"`{context.command_path} --help` explains it"
    print_error(UserError(problem, remedy=remedy))


def print_message(text: str, style: str = "") -> None:
    """Print text on standard error, with control characters escaped; if little is wanted, only what has a style."""
    shown = printable_lines(text)
    _RECORD.log(logging.WARNING if style else logging.INFO, shown)
    if style or not verbosity.quiet:
        log.print(Text(shown, style), soft_wrap=True)


def print_table(table: Table) -> None:
    """Print a table on standard output, if necessary wider than the terminal: no name and no number is cut.

    Only its widest column is wrapped.
    """
    endless = out.options.update(max_width=10_000)
    sizes = [
        [Measurement.get(out, endless, cell) for cell in (column.header, *column.cells)] for column in table.columns
    ]
    natural = [max(size.maximum for size in column) for column in sizes]
    widest = natural.index(max(natural))
    natural[widest] = max(size.minimum for size in sizes[widest])
    for number, column in enumerate(table.columns):
        column.no_wrap, column.min_width = number != widest, natural[number]
    rules = 3 * len(natural) + 1
    _PlainConsole(width=max(out.width, sum(natural) + rules)).print(table)


def truth_table(case: SimulatedCase, result: Estimate) -> Table:
    """The measurements of the demonstration beside the truth of the phantom."""
    from FetusMapV2Lib.anatomy.measurements import measurements
    from FetusMapV2Lib.core.notices import RESEARCH_USE
    from FetusMapV2Lib.evaluation.metrics import distances_mm

    table = Table("measurement", "estimate", "truth", title="Estimate beside the simulated truth", caption=RESEARCH_USE)
    if not result.has_pose:
        table.add_row("fetus", "not found", "present")
        return table
    if result.pose.doubt:
        table.add_row("fetus", "doubtful", "present")
    estimated, true = measurements(result.pose), measurements(case.pose)
    for mine, truth in zip(estimated.lengths, true.lengths, strict=True):
        table.add_row(mine.name, with_interval(mine.value_mm, mine.uncertainty_mm, "mm"), f"{truth.value_mm:.1f} mm")
    for mine_age in estimated.known_datings:
        remark = "" if mine_age.valid else " (outside its valid range)"
        age = f"{mine_age.weeks_text} ± {mine_age.combined_days:.0f} d{remark}"
        table.add_row(f"Gestational age, {mine_age.name}", age, _weeks(case.truth["gestational_age_days"]))
    errors = distances_mm(result.pose.positions[None], case.pose.positions[None])
    table.add_row("Landmarks, mean error", f"{errors.mean():.1f} mm", "")
    return table


def _weeks(days: float) -> str:
    weeks, rest = divmod(round(days), 7)
    return f"{weeks}w{rest}d"


def with_interval(value: float, interval: float | None, unit: str) -> str:
    """A value with its 90 % interval, if it has one."""
    return f"{value:.1f} {unit}" if interval is None else f"{value:.1f} ± {interval:.1f} {unit}"


def print_result(stem: str, result: Estimate) -> None:
    """Print the result of one case, warnings first."""
    from FetusMapV2Lib.anatomy.measurements import measurements

    for warning in result.warnings:
        print_message(f"{stem}: {warning}", "yellow")
    if not result.has_pose:
        print_message(f"{stem}: {result.reason}")
        return
    lengths = []
    for fetus in result.fetuses:
        if fetus.pose.doubt:
            print_message(f"{stem}: doubtful. {fetus.pose.doubt}", "yellow")
        crl = measurements(fetus.pose).crl
        length = with_interval(crl.value_mm, crl.uncertainty_mm, "mm")
        lengths.append(f"{'doubtful, ' if fetus.pose.doubt else ''}CRL {length}")
    several = f"{len(lengths)} fetuses, " if len(lengths) > 1 else ""
    seconds = sum(result.timings.values())
    ran = f"{seconds:.1f} s on {result.device} ({result.device_reason})"
    print_message(f"{stem}: {several}{' and '.join(lengths)}, {ran}")


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A progress bar on standard error, silent where that is no terminal."""
    text = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), text, BarColumn(), TimeElapsedColumn())
    # in a log file a bar would be blank lines only
    with Progress(*columns, console=log, transient=True, disable=verbosity.quiet or not log.is_terminal) as bar:
        yield bar


def reporter(bar: Progress, task: TaskID, label: str = "") -> Callable[[float, str], None]:
    """A function that passes the progress of an engine to a task of the bar, to the supervisor and to the log."""
    last = ""

    def report(fraction: float, stage: str) -> None:
        nonlocal last
        supervisor_link().report_activity(stage)
        text = printable(f"{label}: {stage}" if label else stage)
        bar.update(task, completed=fraction, description=text)
        if stage != last:
            last = stage
            (print_message if verbosity.stages else _RECORD.info)(text)

    return report


def parsed_size(text: str, option: str = "--size") -> tuple[int, int, int]:
    """Three whole numbers of an option.

    Raises:
        InputError: something else, or fewer than 16 voxels a side.
    """
    try:
        first, second, third = (int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            "not three whole numbers", where=f"{option} {text}", remedy="Write for example 460,313,312"
        ) from error
    if min(first, second, third) < 16:
        raise InputError("too few voxels", where=f"{option} {text}", remedy="Use at least 16 voxels a side")
    return first, second, third


def parsed_settings(texts: Sequence[str] | None) -> dict[str, Any]:
    """Preset fields by dotted path, of ``--set`` options; a value that is not JSON is text.

    Raises:
        InputError: not FIELD=VALUE, or a field twice.
    """
    found: dict[str, Any] = {}
    for text in texts or ():
        field, equals, value = text.partition("=")
        if not equals or not field.strip():
            remedy = "Write FIELD=VALUE, for example optimiser.learning_rate=1e-3"
            raise InputError("not a setting of a preset", where=f"--set {text}", remedy=remedy)
        if field.strip() in found:
            raise InputError("the same setting twice", where=f"--set {text}", remedy="Give it once")
        try:
            found[field.strip()] = json.loads(value)
        except ValueError:
            found[field.strip()] = value.strip()
    return found


def check_simulated_spacing(spacing: float) -> None:
    """Refuse a voxel size that cannot be simulated."""
    if not 0.05 <= spacing <= 5.0:
        raise InputError("this spacing cannot be simulated", where=f"--spacing {spacing:g}", remedy="Use 0.05 to 5 mm")


def parsed_spacing(text: str | None) -> tuple[float, float, float] | None:
    """One number or three (i, j, k) of ``--spacing``, mm; None if it was not given.

    Raises:
        InputError: something else.
    """
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) == 1:
        values *= 3
    if len(values) != 3 or not all(0 < value < 100 for value in values):
        raise InputError(
            "not a spacing",
            where=f"--spacing {text}",
            remedy="Write one number or three, in mm, for example 0.3",
        )
    return values[0], values[1], values[2]
