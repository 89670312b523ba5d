"""What a volume must be before anything is estimated from it, and what about it deserves a warning.

Wrong volumes are refused with one clear line; geometry that is merely suspicious is kept, with a warning.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.volume import Volume

#: Fewer voxels than this along any axis cannot show a fetus.
SMALLEST_SIDE = 16
#: Longest side of the volume in mm within which a 10-15 week volume is expected.
EXPECTED_EXTENT_MM = (60.0, 350.0)

#: The same words for every format, in all messages and reports.
LEFT_HANDED = (
    "its axes form a left-handed frame, a known cause of exchanged sides: compare a known side, and say that the "
    "volume is mirrored if left and right are exchanged"
)
SPACING_REMEDY = "give the true voxel size (spacing) if it is wrong"


def checked(volume: Volume, *, spacing_given: bool = False, handedness_given: bool = False) -> Volume:
    """The volume with its geometry warnings, in a type the program works with.

    Args:
        volume: array of any numeric type.
        spacing_given: the user gave the voxel size, so that 1.0 mm is no longer suspicious.
        handedness_given: the user said that the volume is mirrored, so that left-handed axes are no longer suspicious.

    Raises:
        InputError: not 3D, under 16 voxels a side, constant, NaN or Inf, spacing not positive, singular directions.
    """
    where = volume.source or volume.name
    check_shape(volume.array.shape, where)
    check_matrix(volume.ijk_to_ras, where)
    array, notes = working_type(volume.array, where)
    notes += geometry_warnings(volume, spacing_given=spacing_given)
    if volume.is_left_handed and not handedness_given:
        notes.append(LEFT_HANDED)
    return with_warnings(volume.with_(array=array), notes)


def with_warnings(volume: Volume, warnings: Iterable[str]) -> Volume:
    """The volume with further warnings, none of them twice."""
    return volume.with_(warnings=tuple(dict.fromkeys([*volume.warnings, *warnings])))


def check_shape(shape: tuple[int, ...], where: str) -> None:
    """Raise `InputError` unless the array is 3D and large enough."""
    if len(shape) != 3 or (len(shape) == 3 and min(shape) == 1):
        flat = len([n for n in shape if n > 1])
        raise InputError(
            f"this is a {flat}D image, not a 3D volume", where=where,
            remedy="Export the 3D volume from the ultrasound device, not a picture or a cine loop",
        )  # fmt: skip
    if min(shape) < SMALLEST_SIDE:
        size = " x ".join(str(n) for n in shape[::-1])
        raise InputError(
            f"the volume is too small ({size} voxels; at least {SMALLEST_SIDE} a side are needed)", where=where,
            remedy="Export the volume at full resolution",
        )  # fmt: skip


def check_matrix(matrix: NDArray[np.float64], where: str) -> None:
    """Raise `InputError` unless the IJK-to-RAS matrix is finite and invertible."""
    if not np.isfinite(matrix).all():
        raise InputError("the position of the volume is not a number", where=where, remedy="Export the volume again")
    sizes = np.linalg.norm(matrix[:3, :3], axis=0)
    check_spacing(sizes, where)
    if abs(np.linalg.det(matrix[:3, :3] / sizes)) < 1e-3:
        raise InputError(
            "the directions of the axes are singular (two of them coincide)", where=where,
            remedy="Correct the directions in the header, or export the volume again",
        )  # fmt: skip


def check_spacing(spacing: Iterable[Any], where: str) -> None:
    """Raise `InputError` unless every voxel size is a positive number."""
    values = [float(value) for value in spacing]
    if not all(math.isfinite(value) and value > 1e-6 for value in values):
        text = " x ".join(f"{value:g}" for value in values)
        raise InputError(
            f"the voxel size is not positive ({text} mm)", where=where,
            remedy="Correct the voxel size in the header, or export the volume again",
        )  # fmt: skip


def working_type(array: NDArray[Any], where: str) -> tuple[NDArray[Any], list[str]]:
    """The grey values as uint8, int16, uint16 or float32, never negative, and warnings.

    Raises:
        InputError: NaN or Inf, or all values equal.
    """
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(
            "the volume holds values that are not numbers (NaN or infinite)", where=where,
            remedy="Export the volume again, or replace these values",
        )  # fmt: skip
    if low == high:
        raise InputError(
            f"the volume is empty: every voxel is {low:g}", where=where, remedy="Check the export of the volume"
        )
    # Single precision, in which other types are kept, has no place for every number.
    exact = array.dtype.itemsize < 4 or array.dtype.type is np.float32
    beyond = max(abs(float(low)), abs(float(high)), float(high) - float(low)) > float(np.finfo(np.float32).max)
    notes = []
    if low < 0 and not beyond:
        notes.append(f"grey values start at {float(low):g}; they were shifted to start at 0")
        wide = np.float32 if array.dtype.kind == "f" or array.dtype.itemsize > 2 else np.int32
        array = array.astype(wide) - wide(low)
        if wide is np.int32:
            array = array.astype(np.uint16)
    array = array if beyond else _narrow(array)
    if beyond or (not exact and array.min() == array.max()):
        raise InputError(
            "the grey values are too large or too much alike for single precision", where=where,
            remedy="Export the volume with ordinary grey values",
        )  # fmt: skip
    return array, notes


def _narrow(array: NDArray[Any]) -> NDArray[Any]:
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype in (np.uint8, np.int16, np.uint16, np.float32):
        return array
    if array.dtype in (np.int8, np.bool_):
        return array.astype(np.uint8)
    return array.astype(np.float32)


def geometry_warnings(volume: Volume, *, spacing_given: bool = False) -> list[str]:
    """One line for each thing about the voxel size that a user should look at."""
    notes = []
    if not spacing_given and np.allclose(volume.spacing, 1.0, atol=1e-6):
        notes.append(f"voxel size is exactly 1.0 mm, which often means that it is unknown: {SPACING_REMEDY}")
    longest = max(volume.extent_mm)
    low, high = EXPECTED_EXTENT_MM
    if not low <= longest <= high:
        size = " x ".join(f"{value:.0f}" for value in volume.extent_mm)
        notes.append(
            f"the volume measures {size} mm, not the {low:.0f} to {high:.0f} mm of a volume that holds a whole "
            f"10-15 week fetus: {SPACING_REMEDY}"
        )
    return notes


def grey(array: NDArray[Any]) -> NDArray[Any]:
    """Colour voxels [..., 3 or 4] as luminance [...] (ITU-R BT.601; alpha is ignored), in the same type."""
    red, green, blue = array[..., 0], array[..., 1], array[..., 2]
    if array.dtype == np.uint8:
        # the weights times 2^16: as exact as floating point, without its passes over the volume
        weighted = red.astype(np.uint32) * 19595
        weighted += green.astype(np.uint32) * 38470
        weighted += blue.astype(np.uint32) * 7471
        weighted += 1 << 15
        return (weighted >> 16).astype(np.uint8)
    total: NDArray[Any] = (
        red.astype(np.float32) * 0.299 + green.astype(np.float32) * 0.587 + blue.astype(np.float32) * 0.114
    )
    return total if array.dtype.kind == "f" else np.rint(total).astype(array.dtype)
