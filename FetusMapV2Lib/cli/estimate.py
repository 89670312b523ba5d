"""`fetusmap estimate`: the pose in one volume or many, file by file.

Heavy libraries are imported where they are needed, as in `cli`.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from FetusMapV2Lib.cli.console import (
    DeviceOption,
    ModelOption,
    OverwriteOption,
    parsed_spacing,
    print_message,
    print_result,
    progress_bar,
    reporter,
)
from FetusMapV2Lib.cli.examination_options import ExaminationOptions
from FetusMapV2Lib.cli.items import Attempt, CommandItems
from FetusMapV2Lib.cli.patterns import expanded
from FetusMapV2Lib.cli.result_names import NeutralNames, refuse_others, reserve_names
from FetusMapV2Lib.cli.sequence import Outcome, check_interval, estimate_frames, outcome_of
from FetusMapV2Lib.core.atomic_files import usable_folder
from FetusMapV2Lib.core.errors import InputError, OutputError
from FetusMapV2Lib.core.publishing import ensure_replaceable, is_complete
from FetusMapV2Lib.core.safe_text import printable

if TYPE_CHECKING:
    from FetusMapV2Lib.core.progress import OnProgress
    from FetusMapV2Lib.estimation.detection import PresenceRule
    from FetusMapV2Lib.estimation.engine import PoseEngine
    from FetusMapV2Lib.estimation.estimate import Estimate, RefineMode
    from FetusMapV2Lib.exporting.options import ExportOptions, Kind
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
        typer.Option("--key", help="File that says which number is which file; default FOLDER.key.csv beside FOLDER."),
    ] = None,
    shared: Annotated[
        bool,
        typer.Option("--shared", help="Let other users of this computer read the results."),
    ] = False,
    dating: Annotated[
        str, typer.Option("--dating", help="Formula the report puts first: intergrowth21, robinson, fmf or hadlock.")
    ] = "intergrowth21",
    examined: Annotated[
        Optional[str], typer.Option("--examined", metavar="DATE", help="Day of the volume; default that of the study.")
    ] = None,
    last_period: Annotated[
        Optional[str], typer.Option("--last-period", metavar="DATE", help="First day of the last menstrual period.")
    ] = None,
    conceived: Annotated[
        Optional[str],
        typer.Option("--conceived", metavar="DATE", help="Day of fertilisation (of a transfer less the embryo's age)."),
    ] = None,
    earlier_scan: Annotated[
        Optional[str],
        typer.Option("--earlier-scan", metavar="DATE=AGE", help="An earlier scan and its age, 2026-01-31=8w3d."),
    ] = None,
    earlier: Annotated[
        Optional[str],
        typer.Option(
            "--earlier", metavar="FILE", help="Earlier results (.measurements.json), to tell the growth since."
        ),
    ] = None,
    earlier_fetus: Annotated[
        Optional[int], typer.Option("--earlier-fetus", min=1, help="Of twins: the fetus that --earlier is of; else 1.")
    ] = None,
    comment: Annotated[Optional[str], typer.Option("--comment", help="A comment for the report.")] = None,
    chorionicity: Annotated[
        Optional[str], typer.Option("--chorionicity", help="Of twins, as seen by you, for the report.")
    ] = None,
    examiner: Annotated[Optional[str], typer.Option("--examiner", help="Who examined, for the report.")] = None,
    institution: Annotated[Optional[str], typer.Option("--institution", help="Where, for the report.")] = None,
    paper: Annotated[str, typer.Option("--paper", help="Size of the report's sheets: a4 or letter.")] = "a4",
    spacing: Annotated[
        Optional[str],
        typer.Option("--spacing", help="Override the voxel spacing: one number or I,J,K in mm."),
    ] = None,
    mirrored: Annotated[
        bool, typer.Option("--mirrored", help="The device mirrors its exports; results refer to the corrected volume.")
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
    presence_threshold: Annotated[
        Optional[float],
        typer.Option("--presence-threshold", help="Score from which a fetus counts as found, 0-1; else the model's."),
    ] = None,
    accept_doubtful: Annotated[
        bool, typer.Option("--accept-doubtful", help="Count doubtful fetuses as found; a warning stays.")
    ] = False,
    show_seen: Annotated[
        bool, typer.Option("--show-seen", help="Where no fetus is found, write what was seen, as doubtful.")
    ] = False,
    overwrite: OverwriteOption = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out volumes whose results exist and are complete.")
    ] = False,
) -> None:
    """Estimate the pose in one volume or many, the movement too in a sequence.

    An error in one file does not stop the others; refused files are named at the end, and the exit code is 2.
    """
    from FetusMapV2Lib.estimation.detection import PresenceRule
    from FetusMapV2Lib.estimation.estimate import check_mode
    from FetusMapV2Lib.exporting.options import PLAIN_REPORT_KINDS

    reading = {"spacing": parsed_spacing(spacing), "mirrored": mirrored, "kretz_handedness": kretz_handedness}
    _check_conventions(kretz_handedness, frame_interval)
    chosen = {"scene": scene, "picture": picture, **dict.fromkeys(PLAIN_REPORT_KINDS, report), "pdf": pdf}
    signed = {"operator": examiner or "", "institution": institution or "", "paper": paper}
    options = _export_options(chosen, identifiers=not without_identifiers, dating=dating, shared=shared, **signed)
    dated = (examined, last_period, conceived, earlier_scan)
    told = ExaminationOptions(*dated, earlier, comment, chorionicity, earlier_fetus)
    options = replace(options, overwrite=overwrite, **told.checked(files, identifiers=not without_identifiers))
    mode, presence = check_mode(refine), PresenceRule(presence_threshold, accept_doubtful, show_seen)
    _check_names(output, overwrite and skip_existing, key is not None and not without_identifiers)
    files, batch = expanded(files), CommandItems("files")
    if not all(batch.is_done(item) for item in _items(files)):
        engine = _loaded(model, device, memory_budget)
        folder = _writable(Path(output), private=not shared)
        names = NeutralNames(folder, None if key is None else Path(key)) if without_identifiers else None
        settings = _Settings(folder, reading, mode, presence, frame_interval, options, skip_existing, names)
        _estimate_all(files, engine, settings, batch)
    batch.end()


@dataclass(frozen=True)
class _Settings:
    """What is done with every file.

    Attributes:
        output: folder for the results.
        reading: arguments of `read_sequence`.
        refine: see `PoseEngine.estimate`.
        presence: see `PoseEngine.estimate`.
        frame_interval_s: seconds between the frames of a sequence; None = as the file says.
        options: of the export.
        skip_existing: leave out files whose results exist and are complete.
        names: numbered names of the results; None = after the files.
    """

    output: Path
    reading: dict[str, Any]
    refine: RefineMode
    presence: PresenceRule
    frame_interval_s: float | None
    options: ExportOptions
    skip_existing: bool
    names: NeutralNames | None


def _check_conventions(kretz_handedness: str, frame_interval: float | None) -> None:
    if kretz_handedness not in ("slicerheart", "plooney"):
        remedy = "Use slicerheart or plooney"
        raise InputError("unknown convention", where=f"--kretz-handedness {kretz_handedness}", remedy=remedy)
    check_interval(frame_interval)


def _export_options(chosen: dict[Kind, bool], **options: Any) -> ExportOptions:
    from FetusMapV2Lib.exporting.options import RESULT_KINDS, ExportOptions

    kinds = [*RESULT_KINDS, *(kind for kind, wanted in chosen.items() if wanted)]
    found = ExportOptions(kinds, **options)
    found.check()
    return found


def _check_names(output: str, kept_and_replaced: bool, key_without_numbers: bool) -> None:
    if kept_and_replaced:
        remedy = "Give one of the two"
        raise InputError("results cannot be both kept and replaced", where="--skip-existing --overwrite", remedy=remedy)
    if key_without_numbers:
        raise InputError("only numbered results have a key", where="--key", remedy="Add --without-identifiers")
    if not output:
        raise OutputError("the name of the folder is empty", where="--output", remedy="Write . for the current folder")


def _loaded(model: str | None, device: str, memory_budget: str | None) -> PoseEngine:
    from FetusMapV2Lib.estimation.engine import PoseEngine

    budget = None
    if memory_budget:
        from FetusMapV2Lib.memory.plan import parse_bytes

        budget = parse_bytes(memory_budget)
    engine = PoseEngine.load(model, device, budget)
    if engine.memory_plan:
        print_message(engine.memory_plan)
    return engine


def _writable(folder: Path, *, private: bool) -> Path:
    """The folder for the results; refused before an hour is spent on results that cannot be written."""
    usable_folder(folder, private=private)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError("no permission to write here", where=folder, remedy="Choose a folder you may write to")
    return folder


def _estimate_all(files: list[str], engine: PoseEngine, settings: _Settings, batch: CommandItems) -> None:
    run = _Run(engine, settings, batch)
    items = dict(zip(_items(files), files, strict=True))
    for item, file in items.items():
        if batch.is_done(item):
            run.resume(item, file)
    with progress_bar() as bar:
        for number, (item, file) in enumerate(items.items(), start=1):
            if batch.is_done(item):
                continue
            label = f"{number}/{len(files)} {Path(file).name}"
            task = bar.add_task(printable(label), total=1.0)
            with batch.attempt(item, Path(file)) as attempt:
                run.estimate(item, file, attempt, reporter(bar, task, label))
            bar.remove_task(task)


def _items(files: list[str]) -> list[str]:
    """A key for each file, the same in a process that continues the command, even if a pattern matches more by then."""
    seen: Counter[str] = Counter()
    items = []
    for file in files:
        items.append(f"{seen[file]}:{file}")
        seen[file] += 1
    return items


class _Run:
    """Estimates files one after the other, each once."""

    def __init__(self, engine: PoseEngine, settings: _Settings, batch: CommandItems) -> None:
        self._engine, self._settings, self._batch = engine, settings, batch
        self._offered = False
        self._given: set[str] = set()
        self._taken: dict[str, Path] = {}

    def resume(self, item: str, file: str) -> None:
        """Register a file that a process before this one has processed."""
        self._given.add(_place(file))
        self._taken |= dict.fromkeys(self._batch.stored_by(item) or (), Path(file))

    def estimate(self, item: str, file: str, attempt: Attempt, on_progress: OnProgress) -> None:
        """Estimate one file and write its results.

        Raises:
            UserError: it cannot be read, or its results cannot be written.
        """
        from FetusMapV2Lib.exporting.case_export import export_paths, frame_stems
        from FetusMapV2Lib.imaging.reading import read_sequence, volume_name

        settings, path = self._settings, Path(file)
        if _place(file) in self._given:
            attempt.outcome = "twice"
            print_message(f"{path}: given twice, estimated once", "yellow")
            return
        self._given.add(_place(file))
        _check_input(file, settings.output)
        frames = read_sequence(path, **settings.reading)
        name = volume_name(path) if settings.names is None else settings.names.name_of(path)
        stems = frame_stems(name, len(frames))
        reserve_names(path, stems, self._taken)
        attempt.stored = [stem.casefold() for stem in stems]
        if settings.names is not None:
            print_message(f"{path}: its results are called {name}; {settings.names.key} says so, apart from them")
        options = replace(settings.options, stem=name, source=path, on_remark=_say_remark)
        expected = [one.name for one in export_paths(settings.output, name, options, len(frames))]
        if settings.skip_existing and is_complete(settings.output, name, expected):
            refuse_others(settings.output, name, path)
            print_message(f"{path}: results are there")
            attempt.outcome = "kept"
            return
        ensure_replaceable(settings.output, name, expected, overwrite=options.overwrite)
        attempt.outcome = self._estimate_frames(item, frames, options, on_progress)

    def _estimate_frames(self, item: str, frames: Frames, options: ExportOptions, on_progress: OnProgress) -> Outcome:
        """Estimate a volume or all frames of a sequence, write the results; whether a fetus was found."""
        from FetusMapV2Lib.exporting.case_export import export

        settings, batch = self._settings, self._batch
        if len(frames) > 1:
            return estimate_frames(
                batch.guarded_engine(self._engine),
                batch.guarded_parts(item, frames),
                settings.output,
                options,
                refine=settings.refine,
                presence=settings.presence,
                frame_interval_s=settings.frame_interval_s,
                on_progress=on_progress,
            )
        volume = frames[0]
        result = self._engine.estimate(
            volume, refine=settings.refine, presence=settings.presence, on_progress=on_progress
        )
        batch.report_activity("writing")
        export(result, volume, settings.output, options)
        print_result(options.stem, result)
        self._offer_what_was_seen(result)
        return outcome_of([result])

    def _offer_what_was_seen(self, result: Estimate) -> None:
        """Name the option that shows what was seen where no fetus was found, once per command."""
        if result.status == "none" and result.seen is not None and not self._offered:
            self._offered = True
            print_message("--show-seen writes what was seen in such volumes, marked as doubtful.")


def _say_remark(text: str) -> None:
    print_message(text, "yellow")


def _place(file: str) -> str:
    """One text for all ways to write a path; a link with another name has results of its own."""
    path = Path(file)
    return os.path.normcase(os.path.join(os.path.realpath(path.parent), path.name))  # noqa: PTH118 - never raises


def _check_input(file: str, output: Path) -> None:
    """Refuse empty names, unmatched patterns, and results inside a folder of input.

    Raises:
        InputError: the name is empty, or a pattern that no file matches.
        OutputError: the folder for the results lies in the folder of input.
    """
    path = Path(file)
    if not file:
        raise InputError("the name of a file is empty", where="FILES", remedy="Name a volume")
    if any(sign in file for sign in "*?[") and not os.path.lexists(path):
        raise InputError("no file matches this pattern", where=file, remedy="Name volumes that exist")
    if path.is_dir() and output.resolve().is_relative_to(path.resolve()):
        remedy = "Choose a folder elsewhere"
        raise OutputError("the results would be among the input", where=output, remedy=remedy)
