"""The files of a report: page, PDF, table, landmarks, DICOM SR and FHIR; all that were asked for, or none."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from FetusMapV2Lib.core.atomic_files import write_json, write_text
from FetusMapV2Lib.core.publishing import published
from FetusMapV2Lib.export.result_files import measurements_csv
from FetusMapV2Lib.imaging.markups import pose_note, write_markups
from FetusMapV2Lib.imaging.training_cases import VOUCHED_STATES
from FetusMapV2Lib.reporting.dicom_sr import write_sr
from FetusMapV2Lib.reporting.fhir import fhir_bundle
from FetusMapV2Lib.reporting.page import report_page
from FetusMapV2Lib.reporting.report import Report

Kind = Literal["html", "pdf", "csv", "landmarks", "dicom", "fhir"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: Prints a report to a PDF file; see `pdf.print_pdf`.
PrintPdf = Callable[[Report, Path], None]

_SUFFIXES: dict[Kind, str] = {
    "html": ".report.html",
    "pdf": ".report.pdf",
    "csv": ".measurements.csv",
    "landmarks": ".mrk.json",
    "dicom": ".sr.dcm",
    "fhir": ".fhir.json",
}


def report_paths(folder: Path, stem: str, kinds: Collection[Kind]) -> dict[Kind, Path]:
    """The files that `write_report` makes, in the order of `KINDS`."""
    return {kind: folder / f"{stem}{_SUFFIXES[kind]}" for kind in KINDS if kind in kinds}


def write_report(
    folder: Path,
    stem: str,
    report: Report,
    kinds: Collection[Kind],
    *,
    print_pdf: PrintPdf | None = None,
    overwrite: bool = False,
    private: bool = True,
) -> dict[Kind, Path]:
    """Write a report as the files asked for, all or none.

    Args:
        stem: the beginning of their names.
        print_pdf: needed for the PDF.
        private: see `published`.

    Raises:
        OutputError: a file exists and `overwrite` is false (nothing is written then), or cannot be written.
        ValueError: a PDF is asked for without `print_pdf`.
    """
    paths = report_paths(folder, stem, kinds)
    asked = [path.name for path in paths.values()]
    with published(folder, f"{stem}.report", asked=asked, overwrite=overwrite, private=private) as staging:
        stage_report(staging, stem, report, kinds, print_pdf=print_pdf)
    return paths


def stage_report(
    folder: Path, stem: str, report: Report, kinds: Collection[Kind], *, print_pdf: PrintPdf | None = None
) -> None:
    """The same into a folder from which the files will be published together with others."""
    for kind, path in report_paths(folder, stem, kinds).items():
        if kind != "pdf":
            _write(kind, path, report)
        elif print_pdf is None:
            raise ValueError("a PDF needs something that prints it")
        else:
            print_pdf(report, path)


def _write(kind: Kind, path: Path, report: Report) -> None:
    if kind == "html":
        write_text(path, report_page(report))
    elif kind == "csv":
        write_text(path, measurements_csv(report.measurements))
    elif kind == "landmarks":
        write_markups(path, report.pose, descriptions=_notes(report))
    elif kind == "dicom":
        write_sr(path, report)
    elif kind == "fhir":
        write_json(path, fhir_bundle(report))


def _notes(report: Report) -> list[str]:
    """What each point of the landmark file says of itself."""
    notes = []
    for mark in report.pose.schema.landmarks:
        note = pose_note(report.pose, mark.row, model=report.model, assumed=mark.assumed)
        if report.states:
            note = replace(note, state=report.states[mark.row])
        if note.state in VOUCHED_STATES:  # a model's confidence is not that of a person
            note = replace(note, confidence=math.nan, radius90_mm=math.nan)
        notes.append(note.text())
    return notes
