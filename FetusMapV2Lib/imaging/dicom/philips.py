"""Philips "Cartesian" DICOM as QLAB writes it: volumes [t, k, j, i]; slices and their distance in private elements.

Elements and their units as SlicerHeart's DicomUltrasoundPlugin found them.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging import geometry
from FetusMapV2Lib.imaging.dicom.fragments import fragments
from FetusMapV2Lib.imaging.dicom.pixels import grey_frames, rescaled
from FetusMapV2Lib.imaging.source import Source
from FetusMapV2Lib.imaging.volume import ijk_to_ras_matrix
from FetusMapV2Lib.imaging.volume_checks import SPACING_REMEDY

_GROUP, _CREATOR = 0x3001, "Philips3D"
_SLICES, _STEP_CM = 0x01, 0x03
# Codes of PS3.3 C.8.5.5.1.15.
_CENTIMETRES = 3
_UNITS = {
    0: "without a unit", 1: "in percent", 2: "in dB", 4: "in seconds", 5: "in hertz", 6: "in dB/s", 7: "in cm/s",
    8: "in cm2", 9: "in cm2/s", 10: "in cm3", 11: "in cm3/s", 12: "in degrees",
}  # fmt: skip
_AGAIN = "Export the volume again from QLAB"


def open_philips(dataset: Dataset, path: Path) -> Source:
    """Open a Philips Cartesian data set.

    Raises:
        InputError: counts or sizes that are missing or do not fit the pixels, pixels that cannot be decoded.
    """
    slices = _private(dataset, _SLICES, path)
    if not slices.is_integer() or not 1 <= slices <= 1 << 16:
        raise InputError(f"its number of slices is impossible ({slices:g})", where=path, remedy=_AGAIN)
    depth = int(slices)
    spacing, notes = _spacing_mm(dataset, path)
    count = _volumes(dataset, depth, path)
    pixels, more = grey_frames(dataset, path, frames=count * depth)
    pixels = rescaled(pixels, dataset.get("RescaleSlope"), dataset.get("RescaleIntercept"), path)
    volumes = pixels.reshape(count, depth, *pixels.shape[1:])
    matrix = ijk_to_ras_matrix(spacing)
    return Source(count, lambda t: (volumes[t], matrix), True, (*notes, *more))


def _volumes(dataset: Dataset, slices: int, path: Path) -> int:
    """How many volumes there are: the number of frames counts them, or their slices; the pixels decide.

    A file that states neither the one nor the other of what it holds was cut, or its number of slices is wrong.
    """
    held, compressed = _frames_held(dataset)
    stated = dataset.get("NumberOfFrames")
    number = None if stated in (None, "") else int(stated)
    volumes = round(held) // slices
    if volumes and number in (None, volumes, volumes * slices) and held == volumes * slices:
        return volumes
    if compressed and number and number % slices == 0 and number < held:
        return number // slices  # a compressed slice may be in several pieces
    text = f"it states {number or 'some'} volumes of {slices} slices and holds {held:.6g} slices"
    raise InputError(f"the file is truncated or damaged ({text})", where=path, remedy="Export or copy it again")


def _frames_held(dataset: Dataset) -> tuple[float, bool]:
    """How many slices the pixels are (compressed: pieces of slices), and whether they are compressed."""
    data = dataset.get("PixelData") or b""
    syntax = dataset.file_meta.TransferSyntaxUID
    if data and (dataset["PixelData"].is_undefined_length or not syntax.is_transfer_syntax or syntax.is_compressed):
        return float(sum(1 for _ in fragments(data))), True
    sizes = (dataset.get(name) for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated"))
    each = math.prod(1 if size is None else int(size) for size in sizes) // 8
    # A byte of padding makes the length even.
    return ((len(data) - (each > 1 and len(data) % each == 1)) / each if each else 0.0), False


def _spacing_mm(dataset: Dataset, path: Path) -> tuple[tuple[float, float, float], list[str]]:
    step_cm = _private(dataset, _STEP_CM, path)
    stated = [dataset.get(f"PhysicalDelta{axis}") for axis in "XY"]
    found = geometry.spacing(
        [size * 10 if isinstance(size, int | float) else None for size in (*stated, step_cm)], path
    )
    notes = []
    for axis in "XY":
        code = dataset.get(f"PhysicalUnits{axis}Direction")
        if code != _CENTIMETRES:
            unit = "without a unit" if code is None else _UNITS.get(int(code), f"in unit {code}")
            n = "XY".index(axis)
            notes.append(
                f"the voxel size along {axis.lower()} is stated as {stated[n]:g} {unit}, not in cm; "
                f"{found[n]:.4g} mm was assumed: {SPACING_REMEDY}"
            )
    between = (dataset.get("SpacingBetweenSlices"), "by SpacingBetweenSlices")
    step, warnings = geometry.reconcile("the distance of the slices", (found[2], "by Philips' own element"), between)
    assert step is not None
    return (float(found[0]), float(found[1]), float(step[0])), [*notes, *warnings]


def _private(dataset: Dataset, element: int, path: Path) -> float:
    """A number of Philips' private block."""
    try:
        value: Any = dataset.private_block(_GROUP, _CREATOR)[element].value
    except KeyError:
        tag = (_GROUP, 0x1000 | element)
        value = dataset[tag].value if tag in dataset else None
    if isinstance(value, bytes):
        value = _unpacked(value, whole=element == _SLICES)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError("the number or distance of the slices is missing", where=path, remedy=_AGAIN)
    return number


def _unpacked(value: bytes, *, whole: bool) -> float | None:
    """A number whose type an implicit VR file does not state: text, or binary of the type that its length implies."""
    if value and all(byte in b"0123456789.+-eE \0" for byte in value) and value.strip(b" \0"):
        return float(value.strip(b" \0"))
    code = ({2: "<H", 4: "<I", 8: "<Q"} if whole else {4: "<f", 8: "<d"}).get(len(value))
    return float(struct.unpack(code, value)[0]) if code else None
