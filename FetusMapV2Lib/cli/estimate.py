"""`fetusmap estimate`: the pose in one volume or many, file by file.

Heavy libraries are imported where they are needed, as in `cli`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from FetusMapV2Lib.cli.batch import Attempt, Batch
from FetusMapV2Lib.cli.console import (
    DeviceOption,
    ModelOption,
    OverwriteOption,
    parsed_spacing,
    progress_bar,
    reporter,
    say,
    tell,
)
from FetusMapV2Lib.cli.result_files import Extras, asked_files, result_stems, write_all
from FetusMapV2Lib.cli.result_names import NeutralNames, refuse_others
from FetusMapV2Lib.cli.sequence import check_interval, estimate_frames
from FetusMapV2Lib.core.atomic_files import usable_folder
from FetusMapV2Lib.core.errors import InputError, OutputError
from FetusMapV2Lib.core.publishing import is_complete, refuse_complete
from FetusMapV2Lib.core.safe_text import shown

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.engine import PoseEngine
    from FetusMapV2Lib.estimation.estimate import RefineMode
    from FetusMapV2Lib.imaging.reading import Frames


def estimate(
    files: Annotated[list[str], typer.Argument(help="3D ultrasound volumes: NRRD, MetaImage, NIfTI, DICOM, Kretz.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the results.")],
    model: ModelOption = None,
    device: DeviceOption = "auto",
    scene: Annotated[bool, typer.Option("--scene", help="Also write a Slicer scene (.mrb).")] = False,
    picture: Annotated[bool, typer.Option("--picture", help="Also write a picture (.png).")] = False,
    report: Annotated[bool, typer.Option("--report", help="Also write a report: HTML page, DICOM SR, FHIR.")] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="Also print the report's page as PDF.")] = False,
    without_identifiers: Annotated[
        bool,
        typer.Option("--without-identifiers", help="Leave patient, study, days and names out; number the results."),
    ] = False,
    key: Annotated[
        Optional[str],
        typer.Option("--key", help="Where to note which number is which file; FOLDER.key.csv beside the folder."),
    ] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Let other users of this computer read the results, as new files usually.")
    ] = False,
    dating: Annotated[
        str, typer.Option("--dating", help="Formula that the report puts first: intergrowth21, robinson or hadlock.")
    ] = "intergrowth21",
    spacing: Annotated[
        Optional[str],
        typer.Option("--spacing", help="Override the voxel spacing: one number or I,J,K in mm."),
    ] = None,
    mirrored: Annotated[
        bool, typer.Option("--mirrored", help="The device mirrors its exports; results refer to the volume put right.")
    ] = False,
    kretz_handedness: Annotated[
        str, typer.Option("--kretz-handedness", help="Sign of y in Kretz files: slicerheart or plooney.")
    ] = "slicerheart",
    memory_budget: Annotated[
        Optional[str], typer.Option("--memory-budget", help="Most memory the network may take, e.g. 2GiB.")
    ] = None,
    refine: Annotated[
        str, typer.Option("--refine", help="Refine by the shape prior: off, prior (quick) or full (tunes a copy).")
    ] = "off",
    frame_interval: Annotated[
        Optional[float],
        typer.Option("--frame-interval", help="Seconds between the volumes of a sequence, if the file does not say."),
    ] = None,
    overwrite: OverwriteOption = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out volumes whose results are there and complete.")
    ] = False,
) -> None:
    """Estimate the pose in one volume or many, the movement too in a sequence.

    Whatever happens to one file, the others go on; those refused are named at the end, and the exit code is 2.
    """
    from FetusMapV2Lib.estimation.estimate import check_mode

    how = {"spacing": parsed_spacing(spacing), "mirrored": mirrored, "kretz_handedness": kretz_handedness}
    if kretz_handedness not in ("slicerheart", "plooney"):
        remedy = "Use slicerheart or plooney"
        raise InputError("unknown convention", where=f"--kretz-handedness {kretz_handedness}", remedy=remedy)
    extras = Extras(scene, picture, report, pdf, identifiers=not without_identifiers, dating=dating, shared=shared)
    extras.check()
    check_interval(frame_interval)
    mode = check_mode(refine)
    if skip_existing and overwrite:
        remedy = "Give one of the two"
        raise InputError("results cannot be both kept and replaced", where="--skip-existing --overwrite", remedy=remedy)
    if key is not None and not without_identifiers:
        raise InputError("only numbered results have a key", where="--key", remedy="Add --without-identifiers")
    if not output:
        raise OutputError("an empty name is no folder", where="--output", remedy="Write . for the current folder")
    batch = Batch("files")
    open_files = [number for number in range(len(files)) if not batch.is_settled(str(number))]
    if open_files:
        engine = _loaded(model, device, memory_budget)
        folder = _writable(Path(output), private=not shared)
        names = NeutralNames(folder, None if key is None else Path(key)) if without_identifiers else None
        job = _Job(engine, folder, how, mode, frame_interval, extras, overwrite, skip_existing, names)
        _estimate_all(job, files, open_files, batch)
    batch.end()


@dataclass(frozen=True)
class _Job:
    """What is done with every file.

    Attributes:
        how: arguments of `read_sequence`.
        skip_existing: leave out what is there and complete.
        names: of the results, where they must not tell the patient; None = after the files.
    """

    engine: PoseEngine
    output: Path
    how: dict[str, Any]
    mode: RefineMode
    frame_interval_s: float | None
    extras: Extras
    overwrite: bool
    skip_existing: bool
    names: NeutralNames | None


def _loaded(model: str | None, device: str, memory_budget: str | None) -> PoseEngine:
    from FetusMapV2Lib.estimation.engine import PoseEngine

    budget = None
    if memory_budget:
        from FetusMapV2Lib.memory.plan import parse_bytes

        budget = parse_bytes(memory_budget)
    engine = PoseEngine.load(model, device, budget)
    if engine.memory_plan:
        say(engine.memory_plan)
    return engine


def _writable(folder: Path, *, private: bool) -> Path:
    """The folder for the results; said before an hour is spent on what cannot be written."""
    usable_folder(folder, private=private)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError("no permission to write here", where=folder, remedy="Choose a folder you may write to")
    return folder


def _estimate_all(job: _Job, files: list[str], numbers: list[int], batch: Batch) -> None:
    taken: dict[str, Path] = {}
    given = set()
    for number, file in enumerate(files):
        if batch.is_settled(str(number)):
            given.add(_place(file))
            taken |= dict.fromkeys(batch.kept_of(str(number)) or (), Path(file))
    with progress_bar() as bar:
        for number in numbers:
            path = Path(files[number])
            label = f"{number + 1}/{len(files)} {path.name}"
            task = bar.add_task(shown(label), total=1.0)
            with batch.trying(str(number), path) as attempt:
                if _place(files[number]) in given:
                    attempt.outcome = "twice"
                    say(f"{path}: given twice, estimated once", "yellow")
                else:
                    given.add(_place(files[number]))
                    _check_input(files[number], job.output)
                    _estimate(job, path, str(number), batch, attempt, taken, reporter(bar, task, label))
            bar.remove_task(task)


def _estimate(
    job: _Job,
    path: Path,
    item: str,
    batch: Batch,
    attempt: Attempt,
    taken: dict[str, Path],
    on_progress: Callable[[float, str], None],
) -> None:
    """Estimate one file and write its results.

    Args:
        taken: name of a result, folded -> the file that it is of; this file's are added.
    """
    from FetusMapV2Lib.imaging.reading import read_sequence, volume_name

    frames: Frames = read_sequence(path, **job.how)
    name = volume_name(path) if job.names is None else job.names.name_of(path)
    stems = result_stems(path, name, len(frames), taken)
    attempt.kept = [stem.casefold() for stem in stems]
    if job.names is not None:
        say(f"{path}: its results are called {name}; {job.names.key} keeps that, apart from them")
    asked = [one.name for one in asked_files(job.output, name, stems, job.extras)]
    if job.skip_existing and is_complete(job.output, name, asked):
        refuse_others(job.output, name, path)
        say(f"{path}: results are there")
        attempt.outcome = "kept"
        return
    refuse_complete(job.output, name, asked, overwrite=job.overwrite)
    if len(frames) > 1:
        found = estimate_frames(
            batch.careful_engine(job.engine),
            batch.careful(item, frames),
            stems,
            path,
            name,
            job.output,
            refine=job.mode,
            frame_interval_s=job.frame_interval_s,
            extras=job.extras,
            overwrite=job.overwrite,
            on_progress=on_progress,
        )
    else:
        volume = frames[0]
        result = job.engine.estimate(volume, refine=job.mode, on_progress=on_progress)
        batch.sign("writing")
        write_all(job.output, stems[0], result, volume, job.extras, overwrite=job.overwrite, source=path)
        tell(stems[0], result)
        found = result.found
    attempt.outcome = "found" if found else "empty"


def _place(file: str) -> str:
    """The same for two ways to write one path; a link of another name has results of its own."""
    path = Path(file)
    return os.path.normcase(os.path.join(os.path.realpath(path.parent), path.name))  # noqa: PTH118 - never raises


def _check_input(file: str, output: Path) -> None:
    """Refuse names that are none, and a folder of input that would become one of results.

    Raises:
        InputError, OutputError: see above.
    """
    path = Path(file)
    if not file:
        raise InputError("an empty name is no file", where="FILES", remedy="Name a volume")
    if any(sign in file for sign in "*?[") and not os.path.lexists(path):
        raise InputError("no file matches this pattern", where=file, remedy="Name volumes that exist")
    if path.is_dir() and output.resolve().is_relative_to(path.resolve()):
        remedy = "Choose a folder elsewhere"
        raise OutputError("the results would lie among the input", where=output, remedy=remedy)
