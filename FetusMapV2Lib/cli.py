"""The `fetusmap` command: simulate, train, calibrate, estimate, and look after models.

Heavy libraries are imported by the command that needs them, so that `fetusmap --help` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.table import Table

from FetusMapV2Lib import __version__
from FetusMapV2Lib.cli_batch import Batch
from FetusMapV2Lib.cli_estimate import estimate
from FetusMapV2Lib.cli_evaluate import evaluate
from FetusMapV2Lib.cli_files import Extras, result_files, write_all
from FetusMapV2Lib.cli_journal import connect
from FetusMapV2Lib.cli_memory import MaxSlowdownOption, plan
from FetusMapV2Lib.cli_reproduce import reproduce
from FetusMapV2Lib.cli_run import run
from FetusMapV2Lib.cli_sequence import check_interval
from FetusMapV2Lib.cli_supervisor import supervised
from FetusMapV2Lib.cli_support import (
    DeviceOption,
    OverwriteOption,
    PrepareOnOption,
    SetOption,
    check_simulated_spacing,
    out,
    parsed_settings,
    parsed_size,
    progress_bar,
    reporter,
    require_package,
    say,
    show_table,
    tell,
    truth_table,
)
from FetusMapV2Lib.foundation.errors import InputError
from FetusMapV2Lib.foundation.files import usable_folder
from FetusMapV2Lib.foundation.publishing import refuse_complete

app = typer.Typer(
    name="fetusmap",
    help="Pose of a 10-15 week fetus in 3D ultrasound. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(help="List and verify models.", no_args_is_help=True)
app.add_typer(models_app, name="models")
app.command("plan")(plan)
app.command("estimate")(estimate)
app.command("evaluate")(evaluate)
app.command("reproduce")(reproduce)


def main() -> None:
    """Run the command line; whatever goes wrong ends with one line and an exit code, never with a traceback."""
    code = None if connect() else supervised()
    sys.exit(run(app) if code is None else code)


@app.command()
def version() -> None:
    """Print the version."""
    out.print(f"FetusMapV2 {__version__}")


@app.command()
def simulate(
    output: Annotated[Path, typer.Argument(help="Folder for the cases.")],
    count: Annotated[int, typer.Option("--count", min=1, help="How many cases.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same cases.")] = 0,
    start: Annotated[int, typer.Option("--start", min=0, help="Number of the first case.")] = 0,
    size: Annotated[str, typer.Option("--size", help="Voxels, longest side first.")] = "460,313,312",
    spacing: Annotated[float, typer.Option("--spacing", help="Voxel spacing in mm.")] = 0.3,
    empty: Annotated[int, typer.Option("--empty", min=0, help="Leave every N-th case without a fetus (0: none).")] = 0,
    styles: Annotated[str, typer.Option("--styles", help="Vendor styles: training, held-out, A, B or C.")] = "training",
    sequence: Annotated[
        int, typer.Option("--sequence", min=0, help="Frames of a moving fetus instead of one volume.")
    ] = 0,
    frame_interval: Annotated[float, typer.Option("--frame-interval", help="Seconds between frames.")] = 0.25,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
) -> None:
    """Simulate ultrasound volumes of articulated fetuses with their true landmarks."""
    from FetusMapV2Lib.estimation.running import choose_device
    from FetusMapV2Lib.phantom.case import simulate_case, write_case
    from FetusMapV2Lib.phantom.motion import simulate_sequence, write_moving_case

    shape = parsed_size(size)
    check_simulated_spacing(spacing)
    check_interval(frame_interval)
    if sequence and empty:
        raise InputError("a sequence always shows a fetus", where="--empty", remedy="Leave out --empty or --sequence")
    where = str(choose_device(device)[0])
    usable_folder(output)
    for index in range(start, start + count):
        suffixes = (".seq.nrrd",) if sequence else (".nrrd", ".mrk.json", ".json")
        name = f"case-{index:04d}"
        refuse_complete(output, name, [f"{name}{suffix}" for suffix in suffixes], overwrite=overwrite)
    with progress_bar() as bar:
        task = bar.add_task("simulating", total=count)
        for index in range(start, start + count):
            if sequence:
                frames = simulate_sequence(
                    seed, index, sequence, shape_kji=shape, spacing_mm=spacing, style=styles, device=where
                )
                write_moving_case(output, frames, index, frame_interval_s=frame_interval, overwrite=overwrite)
            else:
                fetus = not (empty and (index + 1) % empty == 0)
                case = simulate_case(
                    seed,
                    index,
                    shape_kji=shape,
                    spacing_mm=spacing,
                    style=styles,
                    device=where,
                    fetus_present=fetus,
                )
                write_case(output, case, index, overwrite=overwrite)
            bar.advance(task)
    say(f"{count} case(s) in {output}")


@app.command()
def train(
    data: Annotated[Path, typer.Option("--data", help="Folder of cases: NAME.nrrd with NAME.mrk.json.")],
    output: Annotated[Path, typer.Option("--output", help="Folder for checkpoints, logs and the model.")],
    preset: Annotated[str, typer.Option("--preset", help="Preset name or path of a preset file.")] = "unet",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    steps: Annotated[int, typer.Option("--steps", min=0, help="Override the preset's number of steps (0: keep).")] = 0,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**32 - 1, help="Of order, augmentation and initial weights.")
    ] = 0,
    initial_model: Annotated[
        Optional[str], typer.Option("--initial-model", help="Start from the weights of this model.")
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
    note: Annotated[str, typer.Option("--note", help="Kept in the model file, e.g. how the data was made.")] = "",
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that prepare samples.")] = 0,
    prepare_on: PrepareOnOption = "cpu",
    threads: Annotated[int, typer.Option("--threads", min=0, help="Threads of torch (0: its own choice).")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Train a model on a folder of annotated volumes."""
    require_package("lightning", "training", "train")
    from FetusMapV2Lib.memory.plan import parse_bytes
    from FetusMapV2Lib.training.fitting import fit

    if not data.is_dir():  # before a folder for the run is made
        raise InputError("this folder does not exist", where=data, remedy="Give a folder of cases")
    overrides: dict[str, object] = parsed_settings(settings)
    if input_size is not None:
        overrides["input_size"] = list(parsed_size(input_size, "--input-size"))
    if learning_rate:
        overrides["optimiser.learning_rate"] = learning_rate
    model = fit(
        preset,
        data,
        output,
        resume=resume,
        device=device,
        steps=steps or None,
        seed=seed,
        initial_model=initial_model,
        note={"note": note} if note else None,
        overrides=overrides,
        workers=workers,
        prepare_on=prepare_on,
        threads=threads or None,
        memory_budget=parse_bytes(memory_budget) if memory_budget else None,
        max_slowdown=max_slowdown,
    )
    say(f"Model written to {model}")


@app.command()
def calibrate(
    model: Annotated[Path, typer.Argument(help="Model file; it is rewritten with its calibration.")],
    data: Annotated[Path, typer.Option("--data", help="Held-out cases with landmarks; some without a fetus.")],
    device: DeviceOption = "auto",
) -> None:
    """Fit radii, confidences and the presence threshold of a model to held-out cases.

    A case that cannot be used is left out; it is named at the end, and the exit code is 2.
    """
    from FetusMapV2Lib.evaluation.calibrating import calibrate_model

    batch = Batch("cases")
    with progress_bar() as bar:
        task = bar.add_task("calibrating", total=1.0)
        each = batch.each("case")
        calibration = calibrate_model(model, data, device=device, on_progress=reporter(bar, task), each=each)
    say(f"Calibrated on {calibration.cases} cases; presence threshold {calibration.presence_threshold:.2f}.")
    batch.end()


@models_app.command("list")
def list_models() -> None:
    """List the models of this installation."""
    from FetusMapV2Lib.estimation.model_index import list_models as listed

    table = Table("name", "size", "what it is")
    for entry in listed():
        table.add_row(entry.name, f"{entry.size_bytes / 2**20:.1f} MiB", entry.description)
    show_table(table)


@models_app.command("add")
def add_model(
    file: Annotated[Path, typer.Argument(help="A trained model file.")],
    name: Annotated[str, typer.Option("--name", help="Under which it will be known.")],
    description: Annotated[str, typer.Option("--description", help="One line for the list.")] = "",
    default: Annotated[bool, typer.Option("--default", help="Use it when none is named.")] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Copy a model into this installation and enter it in the index."""
    from FetusMapV2Lib.estimation.model_index import install_model

    entry = install_model(file, name, description=description, default=default, overwrite=overwrite)
    say(f"{entry.name}: {entry.size_bytes / 2**20:.1f} MiB, {entry.path}")


@models_app.command("add-poses")
def add_poses(
    model: Annotated[str, typer.Argument(help="Name or path of a model.")],
    cases: Annotated[Path, typer.Argument(help="Folder of annotated cases: volumes with their Markups JSON.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model file to write.")],
    overwrite: OverwriteOption = False,
) -> None:
    """Extend a model's pose library by a site's own annotated cases; its weights stay as they are."""
    from FetusMapV2Lib.estimation import pose_library

    extended, added = pose_library.add_poses(model, cases, output, overwrite=overwrite)
    say(f"{added} poses added, {len(extended.poses)} in all: {output}")


@models_app.command("verify")
def verify_models(
    model: Annotated[Optional[str], typer.Argument(help="Name or path; all models of the index if left out.")] = None,
) -> None:
    """Check that models are complete, unchanged and of this landmark schema."""
    from FetusMapV2Lib.estimation.model_index import verify

    for line in verify(model):
        out.print(line, soft_wrap=True)


@app.command()
def presets() -> None:
    """List the training presets and what sets each apart."""
    from FetusMapV2Lib.training.preset import load_preset, preset_names

    table = Table("preset", "input size", "what sets it apart")
    for preset in map(load_preset, preset_names()):
        table.add_row(preset.name, "x".join(map(str, preset.input_size)), preset.description)
    show_table(table)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", help="Folder for the case and the results.")] = Path(
        "demo-output"
    ),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which simulated fetus.")] = 20260,
    overwrite: OverwriteOption = False,
) -> None:
    """Simulate one case, estimate its pose, and compare it with the truth."""
    from FetusMapV2Lib.estimation.engine import PoseEngine
    from FetusMapV2Lib.phantom.case import simulate_case, write_case

    stem = "case-0000.estimate"
    require_package("slicer", "the demonstration", "slicer")
    extras = Extras(scene=True, picture=True)
    engine = PoseEngine.load()
    usable_folder(output)
    case_files = [f"case-0000{suffix}" for suffix in (".nrrd", ".mrk.json", ".json")]
    refuse_complete(output, "case-0000", case_files, overwrite=overwrite)
    asked = [path.name for path in result_files(output, stem, extras)]
    refuse_complete(output, stem, asked, overwrite=overwrite)
    with progress_bar() as bar:
        task = bar.add_task("simulating an ultrasound volume", total=1.0)
        case = simulate_case(seed, 0, shape_kji=(276, 188, 187), spacing_mm=0.5, style="held-out")
        write_case(output, case, 0, overwrite=overwrite)
        result = engine.estimate(case.volume, on_progress=reporter(bar, task))
        bar.update(task, completed=0.9, description="writing the Slicer scene and the picture")
        write_all(output, stem, result, case.volume, extras, overwrite=overwrite)
    tell("case-0000", result)
    show_table(truth_table(case, result))
    if result.found:
        out.print(f"Scene and picture: {output / stem}.mrb, .png", soft_wrap=True)


if __name__ == "__main__":
    main()
