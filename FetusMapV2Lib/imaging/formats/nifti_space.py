"""Where the voxels of a NIfTI file are: its sform, its qform, or neither (nifti1.h, "3D image orientation")."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging import geometry
from FetusMapV2Lib.imaging.formats.stored_voxels import NO_ORIENTATION, placed
from FetusMapV2Lib.imaging.geometry import ROUNDED, SKEW, format_numbers
from FetusMapV2Lib.imaging.volume import LPS_TO_RAS, Matrix
from FetusMapV2Lib.imaging.volume_checks import SPACING_REMEDY

_MILLIMETRES = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}
_HIGHEST_CODE = 5
#: Axes and places that differ by less are the same, rounded: degrees, voxels.
_SAME_DEG, _SAME_VOXELS = 0.5, 0.1


def nifti_matrix(
    fields: dict[str, Any], sizes: tuple[int, ...], other: int | None, path: Path
) -> tuple[Matrix, list[str]]:
    """IJK to RAS of a NIfTI file, and notes.

    The sform is taken where both are stated, as by nibabel and by most programs.

    Raises:
        InputError: neither can be right.
    """
    shape = np.array([size for axis, size in enumerate(sizes) if axis != other], dtype=float)
    notes = [
        f"its {name} of {fields[name]} is not one of the standard"
        for name in ("sform_code", "qform_code") if not 0 <= fields[name] <= _HIGHEST_CODE
    ]  # fmt: skip
    sform = _tried(_sform, fields, path) if fields["sform_code"] > 0 else None
    qform = _tried(_qform, fields, path) if fields["qform_code"] > 0 else None
    first, second = sform, qform
    if isinstance(sform, InputError) and not isinstance(qform, InputError) and qform is not None:
        notes.append(f"its sform cannot be right ({sform.problem}); its qform was used")
        first, second = qform, None
    elif isinstance(qform, InputError) and not isinstance(sform, InputError) and sform is not None:
        notes.append(f"its qform cannot be right ({qform.problem}); its sform was used")
        second = None
    elif sform is None:
        first, second = qform, None
    if first is None:
        first = _neither(fields, path)
    if isinstance(first, InputError):
        raise first
    matrix, more = first
    notes += more
    if first is sform:
        notes += _size_notes(matrix, fields)
    if second is not None and not isinstance(second, InputError):
        notes += _differences(matrix, second[0], shape)
    return _in_millimetres(matrix, fields, notes)


def _tried(form: Any, fields: dict[str, Any], path: Path) -> tuple[Matrix, list[str]] | InputError:
    try:
        result: tuple[Matrix, list[str]] = form(fields, path)
        return result
    except InputError as error:
        return error


def _sform(fields: dict[str, Any], path: Path) -> tuple[Matrix, list[str]]:
    rows = np.array(fields["srow"], dtype=float).reshape(3, 4)
    if not np.isfinite(rows).all():
        raise InputError("the orientation of the volume is not a number", where=path, remedy="Export the volume again")
    lengths = np.linalg.norm(rows[:, :3], axis=0)
    sizes = geometry.spacing(lengths * _unit(fields), path) / _unit(fields)
    return _placed(rows[:, :3] / sizes, sizes, rows[:, 3], path)


def _placed(
    directions: NDArray[np.float64], sizes: NDArray[np.float64], origin: Any, path: Path
) -> tuple[Matrix, list[str]]:
    matrix, notes = placed(directions, np.ones(3), origin, path)
    matrix[:3, :3] *= sizes
    return matrix, notes


def _qform(fields: dict[str, Any], path: Path) -> tuple[Matrix, list[str]]:
    """Method 2: a unit quaternion whose first number is left out, pixdim, and the handedness in pixdim[0]."""
    sizes, notes = _pixdim(fields, path)
    b, c, d = (float(value) for value in fields["quatern"])
    length = b * b + c * c + d * d
    if not length <= 1 + SKEW:
        raise InputError(
            f"the quaternion of its qform is not of length 1 ({format_numbers([b, c, d])})", where=path,
            remedy="Export the volume again",
        )  # fmt: skip
    if length > 1 + ROUNDED:
        notes.append(f"the quaternion of its qform has length {math.sqrt(length):.4g} and not 1; it was normalised")
    a = math.sqrt(max(1 - length, 0.0))
    if length > 1:
        b, c, d = (value / math.sqrt(length) for value in (b, c, d))
    rotation = np.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ])  # fmt: skip
    handedness = float(fields["pixdim"][0])
    if handedness not in (-1.0, 0.0, 1.0):
        notes.append(f"the handedness of its qform (pixdim[0]) is {handedness:g}, not 1 or -1; its sign was used")
    rotation[:, 2] *= -1.0 if handedness < 0 else 1.0
    matrix, more = _placed(rotation, sizes, fields["qoffset"], path)
    return matrix, [*notes, *more]


def _pixdim(fields: dict[str, Any], path: Path) -> tuple[NDArray[np.float64], list[str]]:
    """Voxel sizes by pixdim, whose sign has no meaning."""
    stated = np.array(fields["pixdim"][1:4], dtype=float)
    sizes = geometry.spacing(np.abs(stated) * _unit(fields), path) / _unit(fields)
    if (stated > 0).all():
        return sizes, []
    return sizes, [f"the voxel size is {format_numbers(stated)} mm by its pixdim; it was taken without its sign"]


def _neither(fields: dict[str, Any], path: Path) -> tuple[Matrix, list[str]] | InputError:
    """Method 1: voxel sizes alone."""
    try:
        sizes, notes = _pixdim(fields, path)
    except InputError as error:
        return error
    return LPS_TO_RAS @ np.diag([*sizes, 1.0]), [*notes, NO_ORIENTATION]


def _size_notes(matrix: Matrix, fields: dict[str, Any]) -> list[str]:
    """A warning where pixdim is not the voxel size of the sform."""
    sizes, stated = np.linalg.norm(matrix[:3, :3], axis=0), np.array(fields["pixdim"][1:4], dtype=float)
    return geometry.reconcile("the voxel size", (sizes, "by its sform"), (stated, "by its pixdim"))[1]


def _differences(matrix: Matrix, other: Matrix, shape: NDArray[np.float64]) -> list[str]:
    """Warnings where sform and qform place the volume differently."""
    sizes = np.linalg.norm(matrix[:3, :3], axis=0)
    one, two = matrix[:3, :3] / sizes, other[:3, :3] / np.linalg.norm(other[:3, :3], axis=0)
    angle = float(np.degrees(np.arccos(np.clip((one * two).sum(axis=0), -1, 1))).max())
    if angle > _SAME_DEG:
        return [
            f"its axes run {_letters(one)} by its sform but {_letters(two)} by its qform, up to {angle:.3g} degrees "
            "apart; the sform was used: check left and right"
        ]
    if np.linalg.norm(matrix[:3, 3] - other[:3, 3]) > _SAME_VOXELS * sizes.min():
        return [
            f"its first voxel is at {_place(matrix)} by its sform but at {_place(other)} by its qform; "
            "the first was used"
        ]
    return []


def _letters(directions: NDArray[np.float64]) -> str:
    """Where the axes run to, such as "RAS"."""
    axes = np.abs(directions).argmax(axis=0)
    return "".join(("LR", "PA", "IS")[axis][int(directions[axis, n] > 0)] for n, axis in enumerate(axes))


def _place(matrix: Matrix) -> str:
    return ", ".join(f"{value:.5g}" for value in matrix[:3, 3])


def _unit(fields: dict[str, Any]) -> float:
    return _MILLIMETRES.get(fields["xyzt_units"] & 7, 1.0)


def _in_millimetres(matrix: Matrix, fields: dict[str, Any], notes: list[str]) -> tuple[Matrix, list[str]]:
    """The matrix in mm; a file in metres or micrometres gets a warning, since many programs take its numbers as mm."""
    factor = _unit(fields)
    if factor == 1.0:
        return matrix, notes
    stated = np.linalg.norm(matrix[:3, :3], axis=0)
    scaled = matrix.copy()
    scaled[:3] *= factor
    note = (
        f"the voxel size is {format_numbers(stated * factor)} mm by its unit but {format_numbers(stated)} mm as "
        f"programs that ignore the unit read it; the first was used: {SPACING_REMEDY}"
    )
    return scaled, [*notes, note]
