"""One call that writes all files of an estimate, or of a sequence with its movement: all of them, or none."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from FetusMapV2Lib.core.atomic_files import safe_stem, write_json, write_text
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.manifests import source_fingerprint
from FetusMapV2Lib.core.publishing import published
from FetusMapV2Lib.exporting.case_files import CaseFiles, fetus_stem, without_file_name
from FetusMapV2Lib.exporting.options import SUFFIXES, ExportOptions, Kind

if TYPE_CHECKING:
    from FetusMapV2Lib.anatomy.movement import Movement
    from FetusMapV2Lib.estimation.estimate import Estimate
    from FetusMapV2Lib.imaging.volume import Volume


def export(
    estimate: Estimate, volume: Volume | None, folder: Path | str, options: ExportOptions | None = None
) -> dict[Kind, Path]:
    """Write the files of an estimate, all or none; those of an earlier export do not stay beside the new ones.

    Of further fetuses in the volume the same files are written beside them, called ``STEM.fetus-2``; one scene has all.

    Args:
        estimate: the estimate; without a fetus, only the JSON that says so is written. The files of a doubtful one
            say so in every place.
        volume: the volume that it was computed from; scene, picture and the views of a report need it.
        folder: for the files; it is created if it does not exist.
        options: which files, and what they may contain; None = landmarks and measurements.

    Returns:
        The paths of the files written of the first fetus.

    Raises:
        OutputError: a file exists and may not be replaced (nothing is changed then), or cannot be written.
        UserError: a package is missing, the dating formula is unknown, the earlier examination cannot be compared, or
            there is nothing to write.

    Examples:
        >>> paths = fm.export(estimate, case.volume, "results", fm.ExportOptions(kinds=("landmarks", "csv", "fhir")))
        >>> [path.name for path in paths.values()]
        ['case-0000.mrk.json', 'case-0000.measurements.csv', 'case-0000.fhir.json']
    """
    options = options or ExportOptions()
    options.check()
    folder, stem = Path(folder), options.stem or _stem_of(volume)
    case = CaseFiles(estimate, volume, stem, options)
    if not case.kinds:
        problem = "no fetus was found, so there is nothing to write" if options.kinds else "no kind of file was chosen"
        raise InputError(problem, where=stem, remedy="Export the measurements as JSON, which say so")
    case.ensure_comparable()
    # a report alone does not replace the results beside it
    publication = stem if "json" in options.kinds else f"{stem}.report"
    with _published(folder, publication, export_paths(folder, stem, options), options) as staging:
        for one in (case if options.identifiers else case.anonymous()).each_fetus():
            one.write(staging)
    return {kind: folder / f"{stem}{SUFFIXES[kind]}" for kind in case.kinds}


def export_sequence(
    estimates: Sequence[Estimate],
    frames: Sequence[Volume],
    folder: Path | str,
    options: ExportOptions | None = None,
    movement: Movement | None = None,
) -> list[Path]:
    """Write the files of all frames of a sequence and of the movement between them, all or none.

    Instead of a scene per frame there is one of the sequence; with pictures there is one of the movement too.

    Args:
        estimates: one per frame; nothing is written of a frame that could not be read.
        frames: the volumes; with ``times_s`` the movement is in seconds.
        folder: for the files; it is created if it does not exist.
        options: as in `export`; the files of frame 7 are called ``STEM_0007``.
        movement: of these estimates; None = computed.

    Returns:
        The paths of the files written.

    Raises:
        UserError: see `export`.

    Examples:
        >>> frames = [case.volume, case.volume]
        >>> paths = fm.export_sequence([estimate, estimate], frames, "sequence", fm.ExportOptions(kinds=("landmarks",)))
        >>> [path.name for path in paths]
        ['case-0000.movement.csv', 'case-0000.movement.json', 'case-0000_0000.mrk.json', 'case-0000_0001.mrk.json']
    """
    from FetusMapV2Lib.estimation.sequence import movement_of

    options = options or ExportOptions()
    options.check(frames=len(estimates))
    folder = Path(folder)
    stem = options.stem or _stem_of(frames[0]).removesuffix("_0000")
    if movement is None:
        movement = movement_of([estimate.pose for estimate in estimates], getattr(frames, "times_s", None))
    stems = frame_stems(stem, len(estimates))
    if not options.identifiers and options.source is not None:
        source = options.source
        estimates = [without_file_name(one, source, name) for name, one in zip(stems, estimates, strict=True)]
    each = _of_a_frame(options)
    with _published(folder, stem, export_paths(folder, stem, options, len(estimates)), options) as staging:
        _write_movement(staging, stem, movement, estimates, options)
        for number, (name, estimate) in enumerate(zip(stems, estimates, strict=True)):
            if estimate.status != "unreadable":
                case = CaseFiles(estimate, frames[number], name, each)
                case.ensure_comparable()
                (case if options.identifiers else case.anonymous()).each_fetus()[0].write(staging)
        if "scene" in options.kinds and any(estimate.has_pose for estimate in estimates):
            _write_scene(staging / f"{stem}.mrb", movement, estimates, frames)
        written = sorted(path.name for path in staging.iterdir())
    return [folder / name for name in written]


def export_paths(folder: Path | str, stem: str, options: ExportOptions, frames: int = 1) -> list[Path]:
    """Every file that `export` may write, or `export_sequence` for several frames."""
    paths = []
    kinds = options.kinds if frames == 1 else _of_a_frame(options).kinds
    for name in frame_stems(stem, frames):
        paths += [Path(folder) / f"{name}{SUFFIXES[kind]}" for kind in kinds]
    if frames > 1:
        suffixes = [".movement.csv", ".movement.json"]
        suffixes += [".mrb"] if "scene" in options.kinds else []
        suffixes += [".movement.png"] if "picture" in options.kinds else []
        paths += [Path(folder) / f"{stem}{suffix}" for suffix in suffixes]
    return paths


def fetus_paths(folder: Path | str, options: ExportOptions, count: int) -> list[dict[Kind, Path]]:
    """The files that `export` writes of `count` fetuses, of each fetus by kind; the scene has all of them."""
    found = []
    for number in range(1, count + 1):
        stem = fetus_stem(options.stem, number)
        kinds = [kind for kind in options.kinds if kind != "scene" or number == 1]
        found.append({kind: Path(folder) / f"{stem}{SUFFIXES[kind]}" for kind in kinds})
    return found


def frame_stems(stem: str, frames: int) -> list[str]:
    """The beginning of the file names of each frame; that of a single volume is the stem itself."""
    return [stem] if frames == 1 else [f"{stem}_{number:04d}" for number in range(frames)]


def write_movement_table(
    movement: Movement, path: Path | str, estimates: Sequence[Estimate] = (), *, overwrite: bool = True
) -> None:
    """Write a movement as CSV, one row per frame.

    Args:
        movement: the movement.
        path: the file.
        estimates: one per frame, for the grade of presence; empty if unknown.
        overwrite: whether the file may exist.

    Raises:
        OutputError: the file exists and may not be replaced, or cannot be written.
    """
    from FetusMapV2Lib.exporting.movement_document import movement_csv

    write_text(path, movement_csv(movement, estimates), overwrite=overwrite)


def _stem_of(volume: Volume | None) -> str:
    return safe_stem("" if volume is None else volume.name)


def _published(folder: Path, name: str, paths: Sequence[Path], options: ExportOptions) -> AbstractContextManager[Path]:
    source = options.source if options.identifiers else None
    return published(
        folder,
        name,
        expected=[path.name for path in paths],
        overwrite=options.overwrite,
        private=not options.shared,
        source="" if source is None else source_fingerprint(source),
    )


def _of_a_frame(options: ExportOptions) -> ExportOptions:
    return replace(options, kinds=[kind for kind in options.kinds if kind != "scene"])


def _write_movement(
    folder: Path, stem: str, movement: Movement, estimates: Sequence[Estimate], options: ExportOptions
) -> None:
    from FetusMapV2Lib.exporting.movement_document import movement_document

    write_movement_table(movement, folder / f"{stem}.movement.csv", estimates)
    write_json(folder / f"{stem}.movement.json", movement_document(movement, estimates))
    if "picture" in options.kinds:
        from FetusMapV2Lib.evaluation.movement_figure import write_movement_figure

        write_movement_figure(folder / f"{stem}.movement.png", movement, stem)


def _write_scene(path: Path, movement: Movement, estimates: Sequence[Estimate], frames: Sequence[Volume]) -> None:
    from FetusMapV2Lib.scene.scene_writing import write_sequence_scene

    times = movement.times if movement.time_unit == "s" else None
    write_sequence_scene(path, frames, estimates, times)
