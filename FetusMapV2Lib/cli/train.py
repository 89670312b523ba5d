"""`fetusmap train`: a model from a folder of annotated volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from FetusMapV2Lib.cli.check import SkipCheckOption, check_first
from FetusMapV2Lib.cli.console import (
    DeviceOption,
    PrepareOnOption,
    SetOption,
    parsed_settings,
    parsed_size,
    print_message,
    verbosity,
)
from FetusMapV2Lib.cli.plan import MaxSlowdownOption
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.packages import require_package


def train(
    data: Annotated[Path, typer.Option("--data", help="Folder of cases: NAME.nrrd with NAME.mrk.json.")],
    output: Annotated[Path, typer.Option("--output", help="Folder for checkpoints, logs and the model.")],
    preset: Annotated[str, typer.Option("--preset", help="Preset name or path of a preset file.")] = "bundled",
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint.")] = False,
    steps: Annotated[int, typer.Option("--steps", min=0, help="Override the preset's number of steps (0: keep).")] = 0,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**32 - 1, help="Of order, augmentation and initial weights.")
    ] = 0,
    initial_model: Annotated[
        Optional[str],
        typer.Option("--initial-model", help="Start from this model; its pose library and calibration are kept."),
    ] = None,
    fold: Annotated[
        Optional[str], typer.Option("--fold", metavar="K/N", help="Hold out part K (from 1) of N of the cases.")
    ] = None,
    patience: Annotated[
        int, typer.Option("--patience", min=0, help="End after this many validations without a better one (0: never).")
    ] = 0,
    last: Annotated[
        bool, typer.Option("--last", help="Keep the last weights, not those of the best validation.")
    ] = False,
    negatives: Annotated[
        Optional[Path], typer.Option("--negatives", help="Folder of volumes without a fetus, further training cases.")
    ] = None,
    input_size: Annotated[
        Optional[str], typer.Option("--input-size", help="Override the preset's input size, longest first.")
    ] = None,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", min=0, help="Override the preset's learning rate (0: keep).")
    ] = 0.0,
    settings: SetOption = None,
    memory_budget: Annotated[
        Optional[str], typer.Option("--memory-budget", help="Train within this much memory, e.g. 8GiB.")
    ] = None,
    max_slowdown: MaxSlowdownOption = None,
    note: Annotated[str, typer.Option("--note", help="Stored in the model file, e.g. how the data was acquired.")] = "",
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that prepare samples.")] = 0,
    prepare_on: PrepareOnOption = "cpu",
    threads: Annotated[int, typer.Option("--threads", min=0, help="Threads of torch (0: its own choice).")] = 0,
    device: DeviceOption = "auto",
    devices: Annotated[
        int,
        typer.Option(
            "--devices",
            min=1,
            help="Devices of this computer that share every batch: GPUs, or with --device cpu processes.",
        ),
    ] = 1,
    nodes: Annotated[
        int, typer.Option("--nodes", min=1, help="Computers that share every batch; srun or torchrun starts them.")
    ] = 1,
    strategy: Annotated[str, typer.Option("--strategy", help="How devices share the work: ddp.")] = "ddp",
    skip_check: SkipCheckOption = False,
) -> None:
    """Train a model on a folder of annotated volumes, which are checked first."""
    require_package("lightning", "training", "train")
    from FetusMapV2Lib.training import fitting
    from FetusMapV2Lib.training.ranks import reports
    from FetusMapV2Lib.training.training_options import TrainingOptions

    if not data.is_dir():  # before a folder for the run is made
        raise InputError("this folder does not exist", where=data, remedy="Give a folder of cases")
    overrides: dict[str, object] = parsed_settings(settings)
    if input_size is not None:
        overrides["input_size"] = list(parsed_size(input_size, "--input-size"))
    if learning_rate:
        overrides["optimiser.learning_rate"] = learning_rate
    if steps:
        overrides["run.steps"] = steps
    if memory_budget is not None:
        overrides["memory.budget"] = memory_budget
    if max_slowdown is not None:
        overrides["memory.max_slowdown"] = max_slowdown
    options = TrainingOptions(
        overrides=overrides,
        seed=seed,
        resume=resume,
        negatives=negatives,
        initial_model=initial_model,
        fold=_parsed_fold(fold),
        patience=patience,
        export="last" if last else "best",
        device=device,
        devices=devices,
        nodes=nodes,
        strategy=strategy,
        threads=threads or None,
        workers=workers,
        prepare_on=prepare_on,
        note={"note": note} if note else {},
    )
    if not reports(options):  # a further process of torchrun or Slurm
        verbosity.quiet = True
    elif not (skip_check or resume):
        check_first(data)
    model = fitting.train(preset, data, output, options)
    print_message(f"Model written to {model}")


def _parsed_fold(text: str | None) -> tuple[int, int] | None:
    """Two whole numbers of ``--fold K/N``.

    Raises:
        InputError: something else.
    """
    if text is None:
        return None
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal()):
        raise InputError("not a part of the cases", where=f"--fold {text}", remedy="Write K/N, for example 1/5")
    return int(part), int(parts)
