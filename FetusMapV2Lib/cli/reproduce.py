"""`fetusmap reproduce`: the paper's protocol (`evaluation.paper`) for chosen presets, also in miniature.

Heavy libraries are imported where they are needed, as in `cli`.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from FetusMapV2Lib.cli.console import (
    DeviceOption,
    PrepareOnOption,
    SetOption,
    parsed_settings,
    parsed_size,
    print_message,
    progress_bar,
    reporter,
)
from FetusMapV2Lib.core.atomic_files import usable_folder
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.packages import require_package


def reproduce(
    data: Annotated[Path, typer.Option("--data", help="Folder of annotated cases: NAME.nrrd with NAME.mrk.json.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for models, predictions and tables.")],
    presets: Annotated[
        str, typer.Option("--presets", help="Presets, with commas (see `fetusmap presets`), or paper: all its systems.")
    ] = "unet",
    steps: Annotated[int, typer.Option("--steps", min=0, help="Steps of each training (0: the preset's).")] = 0,
    scale: Annotated[
        Optional[str],
        typer.Option(
            "--scale", help="Train in miniature: this fraction of each preset's input size, e.g. 1/4 or 0.25."
        ),
    ] = None,
    input_size: Annotated[
        Optional[str], typer.Option("--input-size", help="One input size for all presets, longest first.")
    ] = None,
    widths: Annotated[
        Optional[str], typer.Option("--widths", help="Channels per level for all presets, e.g. 16,32,64,96.")
    ] = None,
    settings: SetOption = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Parts of the cross-validation; the paper has 2.")] = 2,
    fold: Annotated[
        Optional[int],
        typer.Option("--fold", help="Only this part (from 1), without tables, for processes that share the work."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of folds, training and bootstrap.")] = 0,
    page: Annotated[
        Optional[Path], typer.Option("--page", help="Also put the tables into this page, between its markers.")
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="Predict the memory of table 4 (minutes, once).")
    ] = True,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that prepare samples.")] = 0,
    prepare_on: PrepareOnOption = "cpu",
    threads: Annotated[int, typer.Option("--threads", min=0, help="Threads of torch (0: its own choice).")] = 0,
    device: DeviceOption = "auto",
    ray: Annotated[
        Optional[str],
        typer.Option("--ray", metavar="ADDRESS", help="Train on a Ray cluster: auto, an address, or local."),
    ] = None,
    training_cpus: Annotated[
        int, typer.Option("--training-cpus", min=1, help="Cores of each training on a Ray cluster.")
    ] = 2,
) -> None:
    """Train and test presets as the paper did and put its tables 2-8 beside ours. Goes on where it was cut."""
    require_package("lightning", "training", "train")
    require_package("matplotlib", "the figures of an evaluation", "evaluate")
    from FetusMapV2Lib.evaluation.case_set import case_set
    from FetusMapV2Lib.evaluation.page_blocks import fill_page, page_text
    from FetusMapV2Lib.evaluation.paper.protocol import Protocol, run_fold, run_protocol, settled_folds
    from FetusMapV2Lib.evaluation.paper.recipes import recipes
    from FetusMapV2Lib.imaging.training_cases import find_cases

    changes = _changes(steps, input_size, widths, settings)
    chosen = recipes(presets, changes, _scale(scale, input_size))
    cases = case_set(find_cases(data))
    if page is not None:
        if fold is not None:
            raise InputError("one fold makes no tables", where="--page", remedy="Leave out --page or --fold")
        page_text(page)  # before hours are spent
    if ray is not None and fold is not None:
        raise InputError("a cluster trains all folds", where="--fold", remedy="Leave out --ray or --fold")
    parts = settled_folds(usable_folder(output), cases, folds, seed)
    protocol = Protocol(
        data, output, chosen, cases, parts, seed, device,
        threads=threads or (None if ray is None else training_cpus), workers=workers, prepare_on=prepare_on,
        predict_memory=memory,
    )  # fmt: skip
    with progress_bar() as bar:
        task = bar.add_task("reproducing", total=1.0)
        if fold is not None:
            run_fold(protocol, fold - 1, on_progress=reporter(bar, task), say=print_message)
            print_message(f"Fold {fold} is done; a call without --fold makes the tables")
            return
        if ray is not None:
            from FetusMapV2Lib.evaluation.paper.ray_trainings import train_on_cluster

            train_on_cluster(protocol, ray, training_cpus, on_progress=reporter(bar, task), say=print_message)
        result = run_protocol(protocol, on_progress=reporter(bar, task), say=print_message)
    if page is not None:
        print_message(f"{len(fill_page(page, result.blocks()))} parts put into {page}")
    print_message(f"Tables and figures in {output}")


def _changes(steps: int, input_size: str | None, widths: str | None, settings: list[str] | None) -> dict[str, Any]:
    """What the options change in every preset, by dotted path."""
    changes: dict[str, Any] = {}
    if steps:
        changes["run.steps"] = steps
    if input_size is not None:
        changes["input_size"] = list(parsed_size(input_size, "--input-size"))
    if widths is not None:
        changes["network.widths"] = _widths(widths)
    return {**changes, **parsed_settings(settings)}


def _scale(text: str | None, input_size: str | None) -> Fraction | None:
    if text is None:
        return None
    if input_size is not None:
        remedy = "Leave out one of them"
        raise InputError("each preset has its own size under --scale", where="--input-size", remedy=remedy)
    try:
        scale = Fraction(text)
    except (ValueError, ZeroDivisionError):
        scale = Fraction(0)
    if not 0 < scale <= 1:
        raise InputError("not a fraction of a size", where=f"--scale {text}", remedy="Write for example 1/4 or 0.25")
    return scale


def _widths(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        remedy = "Write for example 16,32,64,96"
        raise InputError("not channels per level", where=f"--widths {text}", remedy=remedy) from error
