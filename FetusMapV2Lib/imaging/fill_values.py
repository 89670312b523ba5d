"""Fill values: what some devices write where they saw nothing, such as -1000 or white, taken for the black it means."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from FetusMapV2Lib.imaging.volume import Volume

#: A fill value takes at least this share of the voxels on the faces of the box.
_SHARE_OF_FACES = 0.6
#: Below zero, a fill value lies this many times as far from the other values as they spread.
_GAP = 0.25


def without_fill(volume: Volume) -> Volume:
    """The volume with its fill value, if it has one, replaced by black.

    A fill value is a negative one far below all others (-1000), wherever it stands, or a positive one that most of the
    box's faces share (white around the sector); of that, only what is connected to the faces is replaced. Negative grey
    values that are left are of a logarithmic scale if they are the most; all are then shifted up to zero.

    Returns:
        The same object if there is nothing to replace; otherwise a copy, with a warning that names the fill value.
    """
    array = volume.array
    below = _far_below(array)
    if below is not None:
        rest = array != below
        floor = array[rest].min()
        changed = np.where(rest, array, floor if floor < 0 else array.dtype.type(0))
        return _raised(volume.with_(array=changed, warnings=_warned(volume, below)))
    around = _around(array)
    if around is not None:
        named, _ = ndimage.label(array == around)
        reached = np.unique(np.concatenate([face.ravel() for face in _faces(named)]))
        changed = np.where(np.isin(named, reached[reached > 0]), array.dtype.type(0), array)
        return volume.with_(array=changed, warnings=_warned(volume, around))
    return _raised(volume)


def _far_below(array: NDArray[Any]) -> Any:
    """A negative value with a gap above it, None if there is none."""
    lowest = array.min() if array.dtype.kind != "u" else 0
    if not lowest < 0:
        return None
    others = array[array != lowest]
    if not others.size:
        return None
    next_lowest, highest = float(others.min()), float(others.max())
    return lowest if next_lowest - float(lowest) > max(_GAP * (highest - next_lowest), 1e-6) else None


def _around(array: NDArray[Any]) -> Any:
    """A positive value that most voxels on the faces of the box have, None if there is none."""
    border = np.concatenate([face.ravel() for face in _faces(array)])
    middle = np.sort(border)[len(border) // 2]  # a value that most of them have is also their median
    return middle if middle > 0 and float((border == middle).mean()) >= _SHARE_OF_FACES else None


def _faces(array: NDArray[Any]) -> list[NDArray[Any]]:
    return [array.take(place, axis=axis) for axis in range(3) for place in (0, -1)]


def _raised(volume: Volume) -> Volume:
    """Grey values shifted up to zero where most of them are negative."""
    array = volume.array
    if array.dtype.kind == "u" or not array.min() < 0 or float((array < 0).mean()) <= 0.5:
        return volume
    return volume.with_(array=array.astype(np.float32) - np.float32(array.min()))


def _warned(volume: Volume, value: Any) -> tuple[str, ...]:
    return (*volume.warnings, f"The fill value {float(value):g} of the volume was taken for black.")
