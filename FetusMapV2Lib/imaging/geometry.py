"""Geometry that a file states twice, wrongly or not at all: one policy for every format.

Complete and consistent geometry is read. Ambiguous geometry is read with a warning that names both values. All other is
refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.volume_checks import SPACING_REMEDY

#: Two statements of one quantity that differ by no more than this fraction are equal except for rounding.
SAME = 1e-3
#: Lengths and cosines of axes this far from 1 and 0 are rounded; up to the second they are read with a warning.
ROUNDED, SKEW = 1e-3, 2e-2
#: Distances of slices that differ by this fraction of their mean are rounded; up to the second: with a warning.
EVEN, UNEVEN = 1e-2, 1e-1
#: Degrees between the normal of the slices and the way they are stacked, likewise.
STRAIGHT_DEG, TILTED_DEG = 0.1, 30.0
#: No voxel size, and no position, is beyond these, mm.
LARGEST_SPACING, FARTHEST = 1e3, 1e7

EXPORT_AGAIN = "Export the volume again"

#: A quantity as one part of a file states it (None: not at all), and which part that is: "by its pixdim".
Statement = tuple[ArrayLike | None, str]


def reconcile(
    what: str,
    first: Statement,
    second: Statement,
    *,
    unit: str = "mm",
    tolerance: float = SAME,
    positive: bool = True,
    remedy: str = SPACING_REMEDY,
) -> tuple[NDArray[np.float64] | None, list[str]]:
    """Reconcile two statements of one quantity in a file.

    Args:
        what: the quantity, as a warning names it: "the voxel size".
        first: number or numbers, and where the file states them.
        second: another statement; the first is used where both are possible.
        unit: of both, for the warning.
        tolerance: greatest relative difference between two statements that agree.
        positive: whether only numbers above zero are possible; otherwise any finite number is.
        remedy: what the user can do about it, for the warning.

    Returns:
        The numbers (one or more, 1D), None if neither statement is possible, and a warning that names both values
        where they differ.
    """
    one, other = (_numbers(value) for value, _ in (first, second))
    usable = [value is not None and _possible(value, positive) for value in (one, other)]
    value = one if usable[0] else other if usable[1] else None
    if one is None or other is None or value is None or (all(usable) and nearly_equal(one, other, tolerance)):
        return value, []
    chosen = first if usable[0] else second
    return value, [
        f"{what} is {format_numbers(one)} {unit} {first[1]} but {format_numbers(other)} {unit} {second[1]}; "
        f"the one {chosen[1]} was used: {remedy}"
    ]


def nearly_equal(one: ArrayLike, other: ArrayLike, tolerance: float = SAME) -> bool:
    """Whether two statements of one quantity are equal except for rounding."""
    a, b = np.atleast_1d(np.asarray(one, float)), np.atleast_1d(np.asarray(other, float))
    return a.shape == b.shape and bool((np.abs(a - b) <= tolerance * np.maximum(np.abs(a), np.abs(b))).all())


def check_equal(
    what: str, values: Sequence[ArrayLike], where: Any, *, unit: str = "mm", tolerance: float = SAME
) -> None:
    """Raise `InputError`, naming two of the values, unless all parts of a volume state the same value."""
    for value in values:
        if not nearly_equal(values[0], value, tolerance):
            text = f"{what} differs within the volume ({format_numbers(values[0])} and {format_numbers(value)} {unit})"
            raise InputError(text, where=where, remedy="Export one volume")


def format_numbers(values: ArrayLike) -> str:
    """Numbers for a message: "0.5 x 0.5 x 0.8"."""
    return " x ".join(f"{value:.4g}" for value in np.atleast_1d(np.asarray(values, float)))


def spacing(values: Iterable[Any], where: Any) -> NDArray[np.float64]:
    """The voxel sizes in mm, checked.

    Raises:
        InputError: one is not positive, not a number, or larger than any voxel.
    """
    sizes = _numbers(list(values))
    if sizes is None or not _possible(sizes, True) or sizes.min() <= 1e-6:
        text = "not a number" if sizes is None else f"{format_numbers(sizes)} mm"
        raise InputError(f"the voxel size is not positive ({text})", where=where, remedy=EXPORT_AGAIN)
    if sizes.max() > LARGEST_SPACING:
        raise InputError(f"the voxel size is impossible ({format_numbers(sizes)} mm)", where=where, remedy=EXPORT_AGAIN)
    return sizes


def position(values: ArrayLike, where: Any) -> NDArray[np.float64]:
    """One or more positions in mm, checked.

    Raises:
        InputError: not a number, or farther away than anything in a volume.
    """
    numbers = _numbers(values)
    if numbers is None or not np.isfinite(numbers).all() or (np.abs(numbers) > FARTHEST).any():
        raise InputError("the position of the volume is not a number", where=where, remedy=EXPORT_AGAIN)
    return numbers.reshape(np.shape(values))


def orientation(directions: ArrayLike, where: Any) -> tuple[NDArray[np.float64], list[str]]:
    """The directions of the axes as unit vectors at right angles.

    Args:
        directions: (3, n), two or three directions as columns, as the file states them.
        where: the file, for messages.

    Returns:
        (3, n), the nearest directions that are of length 1 and at right angles; and a warning where they were only
        nearly so.

    Raises:
        InputError: not numbers, not of length 1, or not at right angles.
    """
    columns = np.asarray(directions, dtype=float)
    if not np.isfinite(columns).all() or (np.abs(columns) > 1e3).any():
        raise InputError("the orientation of the volume is not a number", where=where, remedy=EXPORT_AGAIN)
    product = columns.T @ columns
    lengths = np.sqrt(np.diag(product))
    off = float(np.abs(lengths - 1).max())
    if off > SKEW:
        text = f"the directions of its axes are not of length 1 ({', '.join(f'{n:.3g}' for n in lengths)})"
        raise InputError(text, where=where, remedy=EXPORT_AGAIN)
    cosines = (product / np.outer(lengths, lengths))[np.triu_indices(len(lengths), 1)]
    cosine = float(cosines[np.abs(cosines).argmax()])
    angle = f"{np.degrees(np.arccos(np.clip(cosine, -1, 1))):.1f} degrees"
    if abs(cosine) > SKEW:
        raise InputError(
            f"the directions of its axes are not at right angles ({angle})", where=where, remedy=EXPORT_AGAIN
        )
    warnings = []
    if off > ROUNDED:
        text = ", ".join(f"{length:.4g}" for length in lengths)
        warnings.append(f"the directions of the axes have lengths {text} and not 1; they were corrected")
    if abs(cosine) > ROUNDED:
        warnings.append(f"the axes are at {angle} to each other and not at 90; they were corrected")
    left, _, right = np.linalg.svd(columns, full_matrices=False)
    return left @ right, warnings


def stack(
    positions: ArrayLike, normal: NDArray[np.float64], where: Any
) -> tuple[list[int], NDArray[np.float64], list[str]]:
    """The order of slices along their normal and the step from one to the next.

    Args:
        positions: (n, 3) of the first pixel of each slice, mm; two or more.
        normal: (3,) unit normal of all slices.
        where: the file, for messages.

    Returns:
        Order (n), step (3,) in mm, and warnings where distances or positions are only nearly even.

    Raises:
        InputError: positions that are not numbers, repeated, not evenly spaced, or not stacked along one line.
    """
    positions_mm = position(positions, where)
    heights = positions_mm @ normal
    order = [int(n) for n in np.argsort(heights, kind="stable")]
    gaps = np.diff(heights[order])
    mean = float(gaps.mean()) if len(gaps) else 0.0
    if mean <= 1e-6 or gaps.min() < 1e-3 * mean:
        raise InputError(
            "its slices lie on top of each other", where=where, remedy="Export one volume, without gaps or repeats"
        )
    step = (positions_mm[order[-1]] - positions_mm[order[0]]) / (len(order) - 1)
    warnings = []
    uneven = float(np.abs(gaps - mean).max()) / mean
    text = f"{gaps.min():.4g} to {gaps.max():.4g} mm"
    if uneven > UNEVEN:
        raise InputError(
            f"its slices are not evenly spaced ({text})", where=where, remedy="Export one volume, without gaps"
        )
    if uneven > EVEN:
        warnings.append(f"the distances of the slices differ ({text}); their mean, {mean:.4g} mm, was used")
    expected = positions_mm[order[0]] + np.arange(len(order))[:, None] * step
    offset = float(np.linalg.norm(np.cross(positions_mm[order] - expected, normal), axis=1).max())
    if offset > mean:
        raise InputError(
            f"its slices do not lie one above the other (offset by {offset:.3g} mm)", where=where,
            remedy="Export one volume",
        )  # fmt: skip
    if offset > UNEVEN * mean:
        warnings.append(f"slices lie up to {offset:.3g} mm beside the line of the others; the line was used")
    return order, step, [*warnings, *_tilt(step, normal, where)]


def _tilt(step: NDArray[np.float64], normal: NDArray[np.float64], where: Any) -> list[str]:
    angle = float(np.degrees(np.arctan2(np.linalg.norm(np.cross(step, normal)), step @ normal)))
    if angle > TILTED_DEG:
        text = f"the positions of its slices contradict their orientation ({angle:.0f} degrees apart)"
        raise InputError(text, where=where, remedy=EXPORT_AGAIN)
    if angle <= STRAIGHT_DEG:
        return []
    return [
        f"the slices are stacked at {90 - angle:.1f} degrees by their positions but at 90 by their orientation; "
        "the positions were used"
    ]


def _numbers(values: ArrayLike | None) -> NDArray[np.float64] | None:
    """The numbers as a 1D array, None if there are none or they are not numbers."""
    if values is None:
        return None
    try:
        numbers = np.atleast_1d(np.asarray(values, dtype=float)).ravel()
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if numbers.size else None


def _possible(values: NDArray[np.float64], positive: bool) -> bool:
    return bool(np.isfinite(values).all() and (not positive or (values > 0).all()))
