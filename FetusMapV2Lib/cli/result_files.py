"""The files of one estimate on the command line: which there will be, and writing them, all or none.

Heavy libraries are imported where they are needed, as in `cli`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from FetusMapV2Lib.cli.console import say
from FetusMapV2Lib.cli.result_names import origin_of, untold
from FetusMapV2Lib.core.decimal_point import point_decimals
from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.core.packages import require_package
from FetusMapV2Lib.core.publishing import published

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.estimate import Estimate
    from FetusMapV2Lib.export.report_files import Kind
    from FetusMapV2Lib.imaging.volume import Volume


@dataclass(frozen=True)
class Extras:
    """What is written besides landmarks and measurements.

    Attributes:
        scene: a Slicer scene.
        picture: one picture.
        report: the report's page, DICOM SR and FHIR.
        pdf: the report's page as PDF too.
        identifiers: whether the report may tell patient and study of a DICOM input, and the volume's name.
        dating: key of the dating formula that the report puts first.
        shared: whether other users may read the files, as the system has it for new files.
    """

    scene: bool = False
    picture: bool = False
    report: bool = False
    pdf: bool = False
    identifiers: bool = True
    dating: str = "intergrowth21"
    shared: bool = False

    def check(self) -> None:
        """Refuse what cannot be written before work is spent on it.

        Raises:
            UserError: a package is missing, or the dating formula is unknown.
        """
        from FetusMapV2Lib.anatomy.dating import check_formula

        check_formula(self.dating)
        if self.scene or self.picture or self.report_kinds:
            require_package("slicer", "--scene, --picture and --report", "slicer")
        if self.pdf:
            require_package("PySide6", "--pdf", "pdf")

    @property
    def report_kinds(self) -> tuple[Kind, ...]:
        """The files of the report; table and landmarks are written anyway."""
        chosen: dict[Kind, bool] = {"html": self.report, "dicom": self.report, "fhir": self.report, "pdf": self.pdf}
        return tuple(kind for kind, wanted in chosen.items() if wanted)


def result_stems(path: Path, name: str, frames: int, taken: dict[str, Path]) -> list[str]:
    """Names of the results of a file's frames; refuses those that another file of this run has taken.

    Args:
        name: of the file's results.
        taken: name, folded -> the file that took it; this file's names are added.
    """
    stems = [name] if frames == 1 else [f"{name}_{index:04d}" for index in range(frames)]
    folded = [stem.casefold() for stem in stems]  # not every file system tells A from a
    for other in filter(None, map(taken.get, folded)):
        remedy = "Give files of the same name different output folders"
        raise OutputError(f"its results would have the names of those of {other}", where=path, remedy=remedy)
    taken |= dict.fromkeys(folded, path)
    return stems


def result_files(folder: Path, stem: str, extras: Extras) -> list[Path]:
    """Every file that an estimate may write."""
    from FetusMapV2Lib.export.report_files import report_paths
    from FetusMapV2Lib.export.result_files import result_paths

    asked = [(extras.scene, ".mrb"), (extras.picture, ".png")]
    further = [folder / f"{stem}{suffix}" for wanted, suffix in asked if wanted]
    reports = report_paths(folder, stem, extras.report_kinds).values()
    return [*result_paths(folder, stem).values(), *further, *reports]


def asked_files(folder: Path, name: str, stems: Sequence[str], extras: Extras) -> list[Path]:
    """Every file that may be written for a file: those of its one volume, or of all its frames and the movement."""
    from FetusMapV2Lib.export.movement_files import movement_paths

    if len(stems) == 1:
        return result_files(folder, stems[0], extras)
    files = [path for stem in stems for path in result_files(folder, stem, replace(extras, scene=False))]
    files += movement_paths(folder, name).values()
    further = [(extras.scene, ".mrb"), (extras.picture, ".movement.png")]
    return files + [folder / f"{name}{suffix}" for asked, suffix in further if asked]


def write_all(
    folder: Path,
    stem: str,
    result: Estimate,
    volume: Volume,
    extras: Extras,
    *,
    overwrite: bool,
    source: Path | None = None,
) -> None:
    """All files of an estimate, or none; those of an earlier estimate do not stay beside the new ones.

    Args:
        source: the file or folder that the volume was read from; a DICOM one tells the report whose it is.
    """
    asked = [path.name for path in result_files(folder, stem, extras)]
    origin = origin_of(source) if source is not None and extras.identifiers else ""
    private = not extras.shared
    with published(folder, stem, asked=asked, overwrite=overwrite, private=private, origin=origin) as staging:
        stage_all(staging, stem, result, volume, extras, source)


def stage_all(
    folder: Path, stem: str, result: Estimate, volume: Volume, extras: Extras, source: Path | None = None
) -> None:
    """The same into a folder from which the files will be published together with others."""
    from FetusMapV2Lib.export.result_files import stage_results

    if not extras.identifiers:
        volume = volume.with_(name=stem, source="")
        result = result if source is None else untold(result, source, stem)
        source = None
    stage_results(folder, stem, result)
    if result.found:
        _write_extras(folder, stem, result, volume, extras, source)


def _write_extras(
    folder: Path, stem: str, result: Estimate, volume: Volume, extras: Extras, source: Path | None
) -> None:
    if extras.scene:
        from FetusMapV2Lib.scene.scene_files import write_pose_scene

        write_pose_scene(folder / f"{stem}.mrb", volume, result.pose)
    if extras.picture:
        from FetusMapV2Lib.scene.picture import write_picture

        write_picture(folder / f"{stem}.png", volume, result.pose)
    if extras.report_kinds:
        _write_report(folder, stem, result, volume, extras, source)


def _write_report(
    folder: Path, stem: str, result: Estimate, volume: Volume, extras: Extras, source: Path | None
) -> None:
    from datetime import datetime

    from FetusMapV2Lib.export.report_files import stage_report
    from FetusMapV2Lib.imaging.study import read_study
    from FetusMapV2Lib.reporting.pdf import print_pdf
    from FetusMapV2Lib.reporting.report import Picture, Report
    from FetusMapV2Lib.scene.picture import view_pictures

    report = Report(
        pose=result.pose,
        created=datetime.now().astimezone(),
        name=volume.name,
        formula=extras.dating,
        model=result.model,
        device=result.device,
        warnings=result.warnings,
        study=read_study(source) if source is not None else None,
        pictures=[Picture(title, png) for title, png in view_pictures(volume, result.pose)],
    )
    if not extras.identifiers:
        report = report.without_identifiers()
    for remark in report.remarks[len(result.warnings) :]:
        say(f"{stem}: {remark}", "yellow")
    qt = _qt_for_printing() if extras.pdf else None
    kinds = extras.report_kinds
    stage_report(folder, stem, report, kinds, print_pdf=lambda given, path: print_pdf(given, path, qt))


def _qt_for_printing() -> SimpleNamespace:
    """Qt's classes that print, from PySide6, with the one application that they need."""
    from PySide6 import QtCore, QtGui, QtPrintSupport

    # Linux has no screen on a server; elsewhere the usual platform brings the fonts.
    platform = ["-platform", "offscreen"] if sys.platform.startswith("linux") else []
    application = QtGui.QGuiApplication.instance() or QtGui.QGuiApplication(["fetusmap", *platform])
    point_decimals()  # Qt has just set the user's
    return SimpleNamespace(
        application=application,
        QTextDocument=QtGui.QTextDocument,
        QPageSize=QtGui.QPageSize,
        QMarginsF=QtCore.QMarginsF,
        QPrinter=QtPrintSupport.QPrinter,
    )
