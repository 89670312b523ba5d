"""The files of a report: page, PDF, table, landmarks, DICOM SR and FHIR; all that were asked for, or none."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from FetusMapV2Lib.estimation.results import measurements_csv
from FetusMapV2Lib.foundation.files import refuse_existing, write_json, write_text, written_together
from FetusMapV2Lib.imaging.cases import VOUCHED_STATES
from FetusMapV2Lib.imaging.markups import pose_note, write_markups
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
) -> dict[Kind, Path]:
    """Write a report as the files asked for, all or none.

    Args:
        stem: the beginning of their names.
        print_pdf: needed for the PDF.

    Raises:
        OutputError: a file exists and `overwrite` is false (nothing is written then), or cannot be written.
        ValueError: a PDF is asked for without `print_pdf`.
    """
    if "pdf" in kinds and print_pdf is None:
        raise ValueError("a PDF needs something that prints it")
    paths = report_paths(folder, stem, kinds)
    for path in paths.values():
        refuse_existing(path, overwrite)
    with written_together(folder, overwrite=overwrite) as staging:
        for kind, path in report_paths(staging, stem, kinds).items():
            if kind == "pdf" and print_pdf is not None:
                print_pdf(report, path)
            else:
                _write(kind, path, report)
    return paths


def _write(kind: Kind, path: Path, report: Report) -> None:
    if kind == "html":
        write_text(path, report_page(report))
    elif kind == "csv":
        write_text(path, measurements_csv(report.findings))
    elif kind == "landmarks":
        write_markups(path, report.pose, report.landmarks, descriptions=_notes(report))
    elif kind == "dicom":
        write_sr(path, report)
    elif kind == "fhir":
        write_json(path, fhir_bundle(report))


def _notes(report: Report) -> list[str]:
    """What each point of the landmark file says of itself."""
    notes = []
    for mark in report.landmarks.landmarks:
        note = pose_note(report.pose, mark.row, model=report.model, assumed=mark.assumed)
        if report.states:
            note = replace(note, state=report.states[mark.row])
        if note.state in VOUCHED_STATES:  # a model's confidence is not that of a person
            note = replace(note, confidence=math.nan, radius90_mm=math.nan)
        notes.append(note.text())
    return notes
