"""`fetusmap evaluate`: tables, tests and figures for models on annotated cases.

Heavy libraries are imported where they are needed, as in `cli`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from FetusMapV2Lib.cli.batch import Batch
from FetusMapV2Lib.cli.console import DeviceOption, progress_bar, reporter, say, show_table
from FetusMapV2Lib.core.atomic_files import usable_folder
from FetusMapV2Lib.core.packages import require_package
from FetusMapV2Lib.core.safe_text import shown

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
    """Score models on annotated cases: tables with 95 % intervals, paired tests, figures. Goes on where it was cut.

    A case that cannot be used is left out for all models; it is named at the end, and the exit code is 2.
    """
    require_package("matplotlib", "the figures of an evaluation", "evaluate")
    from FetusMapV2Lib.estimation.estimate import check_mode
    from FetusMapV2Lib.evaluation.comparison import case_set, compare
    from FetusMapV2Lib.evaluation.figures import write_figures
    from FetusMapV2Lib.evaluation.predictions import chosen_models, predict
    from FetusMapV2Lib.imaging.training_cases import find_cases

    check_mode(refine)
    models = chosen_models(model or [], refine)  # type: ignore[arg-type]  # checked above
    batch = Batch()
    chosen = case_set(find_cases(cases), batch.each("truth"))
    usable_folder(output)
    answers = {}
    with progress_bar() as bar:
        for one in models:
            task = bar.add_task(shown(one.name), total=1.0)
            report = reporter(bar, task, one.name)
            folder, each = output / "predictions", batch.each(one.name)
            found = predict(one, chosen.cases, folder, device=device, on_progress=report, say=say, each=each)
            answers[one.name] = {answer.case: answer for answer in found}
            bar.remove_task(task)
    usable = chosen.only(set(answers[models[0].name]).intersection(*answers.values()))
    predictions = {name: [found[case.name] for case in usable.cases] for name, found in answers.items()}
    comparison = compare(usable, predictions, {one.name: one.refine for one in models}, seed=seed)
    comparison.write(output)
    write_figures(output, comparison, predictions)
    _tell(comparison)
    say(f"Tables and figures in {output}")
    batch.end()


def _tell(comparison: Comparison) -> None:
    """The main figures on standard output."""
    from rich.table import Table

    from FetusMapV2Lib.evaluation.accuracy_table import decimal, percent
    from FetusMapV2Lib.evaluation.comparison import RESEARCH_ONLY, with_bounds

    volumes = comparison.cases.volumes
    head = ("model", "ED (mm)", "AUC", "fetus found")
    table = Table(*head, title=f"On {volumes}", caption=RESEARCH_ONLY)
    for one in comparison.models:
        table.add_row(
            one.name,
            with_bounds(one.intervals["ed_mm"][1], decimal),
            with_bounds(one.intervals["auc"][1], percent),
            with_bounds(one.found, percent),
        )
    show_table(table)
