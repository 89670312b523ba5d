"""The `fetusmap` command: simulate, train, calibrate, estimate, and look after models.

Heavy libraries are imported by the command that needs them, so that `fetusmap --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from FetusMapV2Lib import __version__
from FetusMapV2Lib.foundation.errors import InputError, OutputError, UserError
from FetusMapV2Lib.foundation.files import refuse_existing

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.engine import Estimate
    from FetusMapV2Lib.imaging.volume import Volume
    from FetusMapV2Lib.phantom.case import SimulatedCase

app = typer.Typer(
    name="fetusmap",
    help="Pose of a 10-15 week fetus in 3D ultrasound. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(help="List and verify models.", no_args_is_help=True)
app.add_typer(models_app, name="models")

# What is printed holds file names, in which nothing is markup.
out = Console(markup=False, emoji=False, highlight=False)
log = Console(stderr=True, markup=False, emoji=False, highlight=False)

OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")]
ModelOption = Annotated[
    Optional[str],
    typer.Option("--model", help="Name of a model (see `fetusmap models list`) or path of a model file."),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]


def main() -> None:
    """Run the command line; a user's mistake ends with one line and exit code 2, never a traceback."""
    try:
        app(standalone_mode=True)
    except UserError as error:
        _say_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _say("Stopped; what was finished is kept.")
        sys.exit(130)


def _say_error(error: UserError) -> None:
    log.print(Text.assemble(("Error:", "bold red"), " ", error.line()), soft_wrap=True)


def _say(text: str, style: str = "") -> None:
    log.print(Text(text, style), soft_wrap=True)


@app.command()
def version() -> None:
    """Print the version."""
    out.print(f"FetusMapV2 {__version__}")


@app.command()
def estimate(
    files: Annotated[list[Path], typer.Argument(help="3D ultrasound volumes: NRRD, MetaImage, NIfTI, DICOM, Kretz.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    model: ModelOption = None,
    device: DeviceOption = "auto",
    scene: Annotated[bool, typer.Option("--scene", help="Also write a Slicer scene (.mrb).")] = False,
    picture: Annotated[bool, typer.Option("--picture", help="Also write a picture (.png).")] = False,
    spacing: Annotated[
        Optional[str],
        typer.Option("--spacing", help="Override the voxel spacing: one number or I,J,K in mm."),
    ] = None,
    mirrored: Annotated[bool, typer.Option("--mirrored", help="The device's export mirrors volumes; undo it.")] = False,
    kretz_handedness: Annotated[
        str, typer.Option("--kretz-handedness", help="Sign of y in Kretz files: slicerheart or plooney.")
    ] = "slicerheart",
    overwrite: OverwriteOption = False,
) -> None:
    """Estimate the pose in one volume or many; a bad file does not stop the others."""
    from FetusMapV2Lib.estimation.engine import PoseEngine
    from FetusMapV2Lib.estimation.results import usable_folder
    from FetusMapV2Lib.imaging.reading import read_frames

    spacing_mm = _spacing(spacing)
    if kretz_handedness not in ("slicerheart", "plooney"):
        remedy = "Use slicerheart or plooney"
        raise InputError("unknown convention", where=f"--kretz-handedness {kretz_handedness}", remedy=remedy)
    if scene or picture:
        _require("slicer", "--scene and --picture", "slicer")
    engine = PoseEngine.load(model, device)
    usable_folder(output)
    failed = 0
    written: set[str] = set()
    with _progress() as bar:
        for number, path in enumerate(files, start=1):
            label = f"{number}/{len(files)} {path.name}"
            task = bar.add_task(label, total=1.0)
            try:
                frames = read_frames(
                    path,
                    spacing=spacing_mm,
                    mirrored=mirrored,
                    kretz_handedness=kretz_handedness,  # type: ignore[arg-type]  # checked above
                )
                for index, stem in enumerate(_stems(path, len(frames), written)):
                    for kept in _result_files(output, stem, scene=scene, picture=picture):
                        refuse_existing(kept, overwrite)
                    volume = frames[index]
                    result = engine.estimate(volume, on_progress=_on(bar, task, label))
                    _write_all(output, stem, result, volume, scene=scene, picture=picture, overwrite=overwrite)
                    _tell(stem, result)
            except UserError as error:
                failed += 1
                _say_error(error)
            except MemoryError:
                failed += 1
                remedy = "Close other programs, or export a smaller volume"
                _say_error(InputError("the volume does not fit into the memory", where=path, remedy=remedy))
            bar.remove_task(task)
    if len(files) > 1:
        _say(f"{len(files) - failed} of {len(files)} files done, {failed} failed.")
    if failed:
        raise typer.Exit(2)


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
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
) -> None:
    """Simulate ultrasound volumes of articulated fetuses with their true landmarks."""
    from FetusMapV2Lib.estimation.engine import choose_device
    from FetusMapV2Lib.estimation.results import usable_folder, written_together
    from FetusMapV2Lib.phantom.case import simulate_case, write_case
    from FetusMapV2Lib.phantom.motion import simulate_sequence, write_moving_case

    shape = _size(size)
    _check_grid(spacing)
    where = str(choose_device(device)[0])
    usable_folder(output)
    for index in range(start, start + count):
        for suffix in (".seq.nrrd",) if sequence else (".nrrd", ".mrk.json", ".json"):
            refuse_existing(output / f"case-{index:04d}{suffix}", overwrite)
    with _progress() as bar:
        task = bar.add_task("simulating", total=count)
        for index in range(start, start + count):
            if sequence:
                frames = simulate_sequence(
                    seed, index, sequence, shape_kji=shape, spacing_mm=spacing, style=styles, device=where
                )
                with written_together(output, overwrite=overwrite) as staging:
                    write_moving_case(staging, frames, index)
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
                with written_together(output, overwrite=overwrite) as staging:
                    write_case(staging, case, index)
            bar.advance(task)
    _say(f"{count} case(s) in {output}")


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
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that prepare samples.")] = 0,
    threads: Annotated[int, typer.Option("--threads", min=0, help="Threads of torch (0: its own choice).")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Train a model on a folder of annotated volumes."""
    _require("lightning", "training", "train")
    from FetusMapV2Lib.training.fitting import fit

    overrides: dict[str, object] = {}
    if input_size is not None:
        overrides["input_size"] = list(_size(input_size, "--input-size"))
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
        overrides=overrides,
        workers=workers,
        threads=threads or None,
    )
    _say(f"Model written to {model}")


@app.command()
def calibrate(
    model: Annotated[Path, typer.Argument(help="Model file; it is rewritten with its calibration.")],
    data: Annotated[Path, typer.Option("--data", help="Held-out cases with landmarks; some without a fetus.")],
    device: DeviceOption = "auto",
) -> None:
    """Fit radii, confidences and the presence threshold of a model to held-out cases."""
    from FetusMapV2Lib.evaluation.calibrating import calibrate_model

    with _progress() as bar:
        task = bar.add_task("calibrating", total=1.0)
        calibration = calibrate_model(model, data, device=device, on_progress=_on(bar, task))
    _say(f"Calibrated on {calibration.cases} cases; presence threshold {calibration.presence_threshold:.2f}.")


@models_app.command("list")
def list_models() -> None:
    """List the models of this installation."""
    from FetusMapV2Lib.estimation.model_index import list_models as listed

    table = Table("name", "size", "what it is")
    for entry in listed():
        table.add_row(entry.name, f"{entry.size_bytes / 2**20:.1f} MiB", entry.description)
    out.print(table)


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
    out.print(table)


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
    from FetusMapV2Lib.estimation.results import usable_folder
    from FetusMapV2Lib.phantom.case import simulate_case, write_case

    stem = "case-0000.estimate"
    _require("slicer", "the demonstration", "slicer")
    engine = PoseEngine.load()
    usable_folder(output)
    case_files = [output / f"case-0000{suffix}" for suffix in (".nrrd", ".mrk.json", ".json")]
    for path in [*case_files, *_result_files(output, stem, scene=True, picture=True)]:
        refuse_existing(path, overwrite)
    with _progress() as bar:
        task = bar.add_task("simulating an ultrasound volume", total=1.0)
        case = simulate_case(seed, 0, shape_kji=(276, 188, 187), spacing_mm=0.5, style="held-out")
        write_case(output, case, 0, overwrite=overwrite)
        result = engine.estimate(case.volume, on_progress=_on(bar, task))
        bar.update(task, completed=0.9, description="writing the Slicer scene and the picture")
        _write_all(output, stem, result, case.volume, scene=True, picture=True, overwrite=overwrite)
    _tell("case-0000", result)
    out.print(_truth_table(case, result))
    if result.found:
        out.print(f"Scene and picture: {output / stem}.mrb, .png", soft_wrap=True)


def _truth_table(case: SimulatedCase, result: Estimate) -> Table:
    """The demo's measurements beside the phantom's truth."""
    from FetusMapV2Lib.anatomy.findings import findings
    from FetusMapV2Lib.evaluation.metrics import distances_mm
    from FetusMapV2Lib.foundation.notices import RESEARCH_USE

    table = Table("measurement", "estimate", "truth", title="Estimate beside the simulated truth", caption=RESEARCH_USE)
    if not result.found:
        table.add_row("fetus", "not found", "present")
        return table
    estimated, true = findings(result.pose), findings(case.pose)
    for mine, truth in zip(estimated.measurements, true.measurements, strict=True):
        table.add_row(mine.name, _with_interval(mine.value_mm, mine.uncertainty_mm, "mm"), f"{truth.value_mm:.1f} mm")
    for mine_age in estimated.datings:
        remark = "" if mine_age.valid else " (outside its valid range)"
        age = f"{mine_age.weeks_text} ± {mine_age.interval_days:.0f} d{remark}"
        table.add_row(f"Gestational age, {mine_age.name}", age, f"{case.truth['gestational_age_days']:.0f} d")
    errors = distances_mm(result.pose.positions, case.pose.positions)
    table.add_row("Landmarks, mean error", f"{errors.mean():.1f} mm", "")
    return table


def _with_interval(value: float, interval: float | None, unit: str) -> str:
    return f"{value:.1f} {unit}" if interval is None else f"{value:.1f} ± {interval:.1f} {unit}"


def _stems(path: Path, frames: int, written: set[str]) -> list[str]:
    """Names of the results of a file's frames; refuses those that another file of this run has taken."""
    from FetusMapV2Lib.imaging.reading import volume_name

    name = volume_name(path)
    stems = [name] if frames == 1 else [f"{name}_{index:04d}" for index in range(frames)]
    folded = {stem.casefold() for stem in stems}  # not every file system tells A from a
    if folded & written:
        remedy = "Give files of the same name different output folders"
        raise OutputError(f"the results of '{name}' are already those of another file", where=path, remedy=remedy)
    written |= folded
    return stems


def _result_files(folder: Path, stem: str, *, scene: bool, picture: bool) -> list[Path]:
    """Every file that an estimate may write."""
    from FetusMapV2Lib.estimation.results import result_paths

    extra = [(scene, ".mrb"), (picture, ".png")]
    return [*result_paths(folder, stem).values(), *(folder / f"{stem}{suffix}" for asked, suffix in extra if asked)]


def _write_all(
    folder: Path, stem: str, result: Estimate, volume: Volume, *, scene: bool, picture: bool, overwrite: bool
) -> None:
    """All files of an estimate, or none; those of an earlier estimate do not stay beside the new ones."""
    from FetusMapV2Lib.estimation.results import remove_outdated, write_results, written_together

    wanted = _result_files(folder, stem, scene=scene, picture=picture)
    for path in wanted:
        refuse_existing(path, overwrite)
    with written_together(folder) as staging:
        write_results(staging, stem, result)
        if scene and result.found:
            from FetusMapV2Lib.scene.files import write_pose_scene

            write_pose_scene(staging / f"{stem}.mrb", volume, result.pose)
        if picture and result.found:
            from FetusMapV2Lib.scene.picture import write_picture

            write_picture(staging / f"{stem}.png", volume, result.pose)
        new = {path.name for path in staging.iterdir()}
    remove_outdated(*(path for path in wanted if path.name not in new))


def _tell(stem: str, result: Estimate) -> None:
    from FetusMapV2Lib.anatomy.findings import findings

    for warning in result.warnings:
        _say(f"{stem}: {warning}", "yellow")
    if not result.found:
        _say(f"{stem}: {result.reason}")
        return
    crl = findings(result.pose).measurements[0]
    seconds = sum(result.timings.values())
    length = _with_interval(crl.value_mm, crl.uncertainty_mm, "mm")
    _say(f"{stem}: CRL {length}, {seconds:.1f} s on {result.device} ({result.device_reason})")


def _require(module: str, purpose: str, extra: str) -> None:
    """Refuse what needs an optional package before work is spent on it."""
    if find_spec(module) is None:
        remedy = f"Install it with: pip install 'fetusmapv2[{extra}]'"
        raise UserError(f"{purpose} needs the package {module}, which is not installed", remedy=remedy)


@contextmanager
def _progress() -> Iterator[Progress]:
    text = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), text, BarColumn(), TimeElapsedColumn())
    # In a log file a bar would be nothing but blank lines.
    with Progress(*columns, console=log, transient=True, disable=not log.is_terminal) as bar:
        yield bar


def _on(bar: Progress, task: TaskID, label: str = "") -> Callable[[float, str], None]:
    def report(fraction: float, stage: str) -> None:
        bar.update(task, completed=fraction, description=f"{label}: {stage}" if label else stage)

    return report


def _size(text: str, option: str = "--size") -> tuple[int, int, int]:
    try:
        first, second, third = (int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            "not three whole numbers", where=f"{option} {text}", remedy="Write for example 460,313,312"
        ) from error
    if min(first, second, third) < 16:
        raise InputError("too few voxels", where=f"{option} {text}", remedy="Use at least 16 voxels a side")
    return first, second, third


def _check_grid(spacing: float) -> None:
    if not 0.05 <= spacing <= 5.0:
        raise InputError("no spacing to simulate", where=f"--spacing {spacing:g}", remedy="Use 0.05 to 5 mm")


def _spacing(text: str | None) -> tuple[float, float, float] | None:
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


if __name__ == "__main__":
    main()
