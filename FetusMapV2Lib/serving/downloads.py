"""The files of the open case that a browser can download, by the same export as everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.core.atomic_files import safe_stem
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.exporting import ExportOptions, Kind, export, write_movement_table
from FetusMapV2Lib.presenting.translation import translator
from FetusMapV2Lib.serving.open_case import OpenCase
from FetusMapV2Lib.serving.sequence_case import SequenceCase

_ = translator(__name__)


@dataclass(frozen=True)
class Download:
    """One button of the page.

    Attributes:
        kind: of `exporting`, or the table of the movement between the frames of a sequence.
        title: on the button.
        media_type: of the file.
    """

    kind: Kind | Literal["movement"]
    title: str
    media_type: str


DOWNLOADS: dict[str, Download] = {
    "pdf": Download("pdf", _("Sheet (PDF)"), "application/pdf"),
    "csv": Download("csv", _("Table (CSV)"), "text/csv"),
    "landmarks": Download("landmarks", _("Landmarks (JSON)"), "application/json"),
    "scene": Download("scene", _("Slicer scene (.mrb)"), "application/octet-stream"),
    "movement": Download("movement", _("Movement (CSV)"), "text/csv"),
}


def write_download(name: str, case: OpenCase, formula: str, folder: Path) -> Path:
    """Write one file of a case as it is now; of a sequence that of the shown frame.

    Args:
        name: one of `DOWNLOADS`.
        case: the open case.
        formula: key of the dating formula that a report puts first.
        folder: for the file.

    Raises:
        UserError: there is no pose, or a package is missing.
    """
    kind = DOWNLOADS[name].kind
    if kind == "movement":
        return _write_movement(case, folder)
    return write_files((kind,), case, formula, folder)[kind]


def write_files(kinds: Sequence[Kind], case: OpenCase, formula: str, folder: Path) -> dict[Kind, Path]:
    """Write files of a case as it is now; see `write_download`."""
    estimate = case.current()
    assert case.poses is not None
    options = ExportOptions(
        kinds=kinds,
        stem=safe_stem(case.file_name),
        dating=formula,
        study=case.study,
        states=case.poses.states(),
        edits=case.edits_of_frame(),
        sections=case.poses.sections.sections_by_hand(),
        nuchal=case.poses.sections.nuchal_at(measurements(estimate.pose).crl.value_mm),
    )
    return export(estimate, case.volume, folder, options)


def _write_movement(case: OpenCase, folder: Path) -> Path:
    movement = case.movement() if isinstance(case, SequenceCase) else None
    if movement is None:
        raise InputError("there is no movement yet", where=case.name, remedy="Estimate at least two frames")
    path = folder / f"{safe_stem(case.name)}.movement.csv"
    write_movement_table(movement, path)
    return path


def listed_downloads() -> list[dict[str, Any]]:
    """Name and title of each button below a pose."""
    found = ((name, download) for name, download in DOWNLOADS.items() if download.kind != "movement")
    return [{"name": name, "title": download.title} for name, download in found]
