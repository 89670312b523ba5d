"""Reading 3D ultrasound from DICOM: one file, or a folder with one volume, handed to the reader of its kind."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from pydicom.dataset import Dataset

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.dicom.dataset import (
    ENHANCED_US_VOLUME,
    EXPORT_VOLUME,
    KRETZ_DATA,
    PHILIPS_CARTESIAN,
    kretz_data,
    read_dataset,
    require_ultrasound,
    sop_class,
)
from FetusMapV2Lib.imaging.dicom.frames import open_enhanced, open_slices
from FetusMapV2Lib.imaging.dicom.philips import open_philips
from FetusMapV2Lib.imaging.file_inspection import KRETZ_MAGIC, READABLE, dicom_files, inspect_file
from FetusMapV2Lib.imaging.formats.header_fields import shown
from FetusMapV2Lib.imaging.formats.kretz import Handedness, kretz_source
from FetusMapV2Lib.imaging.source import Source, as_input_error


def open_dicom(path: Path, handedness: Handedness) -> Source:
    """Open one DICOM file.

    Raises:
        InputError: encrypted, not ultrasound, not a volume, truncated, contradictory, or compressed in a way that
            cannot be read.
    """
    with as_input_error(path):
        dataset = read_dataset(path)
        kretz = kretz_data(dataset)
        if kretz is not None and kretz.startswith(KRETZ_MAGIC):
            return kretz_source(kretz, path, handedness)
        require_ultrasound(dataset, path)
        if sop_class(dataset) == PHILIPS_CARTESIAN:
            return open_philips(dataset, path)
        if sop_class(dataset) == ENHANCED_US_VOLUME or "PerFrameFunctionalGroupsSequence" in dataset:
            return open_enhanced(dataset, path)
    text = "this DICOM file holds a 2D image or cine loop, not a 3D volume"
    raise InputError(text, where=path, remedy=EXPORT_VOLUME)


def open_dicom_folder(folder: Path, handedness: Handedness) -> Source:
    """Open a folder with one DICOM volume: a single multi-frame file, or single slices with positions.

    Raises:
        InputError: as for `open_dicom`; no image, or those of several volumes or series.
    """
    images = images_at(folder)
    if not images:
        raise _without_images(folder)
    left_out = _left_out(folder, {file for file, _ in images})
    if len(images) == 1:
        source = open_dicom(images[0][0], handedness)
    else:
        with as_input_error(folder):
            source = open_slices([read_dataset(file) for file, _ in images], folder)
    return replace(source, notes=(*source.notes, *left_out))


def is_whole_volume(file: Path) -> bool:
    """Whether a DICOM file holds all slices of its volume, not one of several; true if it cannot be read."""
    try:
        dataset = read_dataset(file, pixels=False)
    except Exception:  # whatever is wrong with it, its own name is the one to report
        return True
    if sop_class(dataset) in (ENHANCED_US_VOLUME, PHILIPS_CARTESIAN) or KRETZ_DATA in dataset:
        return True
    return int(dataset.get("NumberOfFrames") or 1) > 1


def _without_images(folder: Path) -> InputError:
    """Why a folder cannot be read as one volume; many expect that all its files are taken."""
    for file in sorted(folder.iterdir()):
        with contextlib.suppress(InputError):
            if not file.name.startswith(".") and file.is_file() and inspect_file(file):
                problem = (
                    "a folder is read as the slices of one DICOM volume, but this one holds volumes of other formats"
                )
                pattern = f"{folder / '*'}{file.suffix}"
                return InputError(
                    problem, where=folder, remedy=f"Name its files: {shown(file.name)}, or all: {pattern}"
                )
    return InputError("the folder holds no DICOM image", where=folder, remedy=READABLE)


def _left_out(folder: Path, used: set[Path]) -> list[str]:
    """What a user should know of files that are not part of the volume: one of them may be a damaged slice."""
    others = [file.name for file in sorted(folder.iterdir()) if file not in used and file.is_file()]
    named = [shown(name) for name in others if name.upper() != "DICOMDIR" and not name.startswith(".")]
    if not named:
        return []
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return [f"files of the folder that are no DICOM images were left out: {', '.join(named[:3])}{more}"]


def images_at(path: Path) -> list[tuple[Path, Dataset]]:
    """The DICOM images that make up the volume at a path, with their headers (no pixels).

    Reports and other objects in a folder are left aside; none for a file of another format.

    Raises:
        InputError: a DICOM file that cannot be read, or a folder with images of several volumes or series.
    """
    headers = [(file, read_dataset(file, pixels=False)) for file in dicom_files(path)]
    if not path.is_dir():
        return headers
    with as_input_error(path):
        images = [(file, header) for file, header in headers if header.get("Rows") and header.get("Columns")]
        if len(images) > 1 and any(int(header.get("NumberOfFrames") or 1) > 1 for _, header in images):
            text = f"the folder holds {len(images)} DICOM files with volumes"
            raise InputError(text, where=path, remedy="Name the one to be read")
        names = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
        series = {tuple(str(header.get(name) or "") for name in names) for _, header in images}
        if len(series) > 1:
            text = f"the folder holds images of {len(series)} DICOM series or patients"
            raise InputError(text, where=path, remedy="Keep one series in the folder, or name the file to be read")
    return images
