"""`fetusmap evaluate`: tables, tests and figures for models on annotated cases.

Heavy libraries are imported where they are needed, as in `cli`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from FetusMapV2Lib.cli.console import DeviceOption, print_message, print_table, progress_bar, reporter
from FetusMapV2Lib.cli.items import CommandItems
from FetusMapV2Lib.core.packages import require_package

if TYPE_CHECKING:
    from FetusMapV2Lib.evaluation.comparison import Comparison


def evaluate(
    cases: Annotated[Path, typer.Argument(help="Folder of annotated cases: NAME.nrrd with NAME.mrk.json.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for predictions, tables and figures.")],
    model: Annotated[
        Optional[list[str]],
        typer.Option("--model", help="A model's name or file, or LABEL=FILE; more than once to compare."),
    ] = None,
    refine: Annotated[str, typer.Option("--refine", help="off, prior or full, for all models.")] = "off",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the bootstrap.")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Score models on annotated cases: tables with 95 % intervals, paired tests, figures. Continues an interrupted run.

    A case that cannot be used is left out for all models; it is named at the end, and the exit code is 2.
    """
    require_package("matplotlib", "the figures of an evaluation", "evaluate")
    from FetusMapV2Lib.estimation.estimate import check_mode
    from FetusMapV2Lib.evaluation import case_evaluation

    batch = CommandItems()
    with progress_bar() as bar:
        task = bar.add_task("evaluating", total=1.0)
        comparison = case_evaluation.evaluate(
            cases,
            output,
            model or [],
            refine=check_mode(refine),
            device=device,
            seed=seed,
            on_progress=reporter(bar, task),
            say=print_message,
            case_runner=batch.case_runner,
        )
    _print_figures(comparison)
    print_message(f"Tables and figures in {output}")
    batch.end()


def _print_figures(comparison: Comparison) -> None:
    """The main figures on standard output."""
    from rich.table import Table

    from FetusMapV2Lib.evaluation.accuracy_table import decimal, percent
    from FetusMapV2Lib.evaluation.comparison import RESEARCH_ONLY, with_bounds

    volumes = comparison.cases.volumes
    head = ("model", "ED (mm)", "AUC", "found", "doubtful", "in 90 % radius", "ECE", "CRL ICC", "plane right")
    table = Table(*head, title=f"On {volumes}", caption=RESEARCH_ONLY)
    for one in comparison.models:
        table.add_row(
            one.name,
            with_bounds(one.intervals["ed_mm"][1], decimal),
            with_bounds(one.intervals["auc"][1], percent),
            with_bounds(one.found, percent),
            with_bounds(one.doubtful, percent),
            percent(one.table.mean.coverage),
            decimal(one.confidence_error),
            decimal(one.agreement["crl"].icc_agreement.value),
            percent(one.plane_right.value),
        )
    print_table(table)
