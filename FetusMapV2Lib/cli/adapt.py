"""`fetusmap adapt`: a model adapted to a site's own annotated cases.

Heavy libraries are imported where they are needed, as in `cli`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from FetusMapV2Lib.cli.check import SkipCheckOption, check_first
from FetusMapV2Lib.cli.console import DeviceOption, ModelOption, out, print_message, progress_bar, reporter
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.packages import require_package

#: Exit code where the adapted model is worse and none was written.
REFUSED = 3


def adapt(
    data: Annotated[Path, typer.Option("--data", help="Folder of at least five annotated cases of the site.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the model, its card and the report.")],
    model: ModelOption = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, help="Time that it may take.")] = 15.0,
    negatives: Annotated[
        Optional[Path], typer.Option("--negatives", help="Folder of volumes of the site that show no fetus.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=0, help="Of each training (0: as many as the time allows).")] = 0,
    folds: Annotated[
        int, typer.Option("--folds", min=0, help="Of the cross-validation (0: as many as the time allows).")
    ] = 0,
    simulated: Annotated[
        int, typer.Option("--simulated", min=0, help="Simulated cases, at least 6 (0: as many as the time allows).")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Of folds and training.")] = 0,
    threads: Annotated[int, typer.Option("--threads", min=0, help="Threads of torch (0: its own choice).")] = 0,
    device: DeviceOption = "auto",
    skip_check: SkipCheckOption = False,
) -> None:
    """Adapt a model to a site's own cases: fine-tune, cross-validate, recalibrate. Continues an interrupted run.

    The exit code is 3 if the adapted model is worse than the one before: then only the report is kept.
    """
    require_package("lightning", "training", "train")
    from FetusMapV2Lib.adaptation import adapting
    from FetusMapV2Lib.adaptation.options import AdaptationOptions

    if not data.is_dir():  # before a folder is made
        raise InputError("this folder does not exist", where=data, remedy="Give a folder of cases")
    if not skip_check:
        check_first(data)
    options = AdaptationOptions(
        model=model,
        negatives=negatives,
        minutes=minutes,
        seed=seed,
        device=device,
        threads=threads or None,
        steps=steps or None,
        folds=folds or None,
        rehearsal=simulated or None,
    )
    with progress_bar() as bar:
        task = bar.add_task("adapting", total=1.0)
        adapted = adapting.adapt(data, output, options, on_progress=reporter(bar, task), say=print_message)
    out.print(adapted.report, soft_wrap=True)
    if adapted.model is None:
        print_message(f"The adapted model was refused: {'; '.join(adapted.objections)}. Report in {output}", "red")
        raise typer.Exit(REFUSED)
    print_message(f"Model written to {adapted.model}")
