"""Averaging blocks of voxels, the anti-aliasing step before a volume is sampled coarsely.

Works slab by slab in small integers, so a large 8-bit volume is never copied as floating point.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


def block_mean(array: NDArray[Any], factors: tuple[int, int, int], *, fill: float = 0.0) -> NDArray[np.float32]:
    """Means over blocks of `factors` (k, j, i) voxels; one that reaches past the end is completed with `fill`.

    Returns:
        float32, shape ceil(shape / factors).
    """
    # Walk through the array as it lies in memory, whichever way it is turned.
    order = np.argsort([-abs(stride) for stride in array.strides], kind="stable")
    ordered = (factors[order[0]], factors[order[1]], factors[order[2]])
    result = _block_sums(array.transpose(order), ordered).transpose(np.argsort(order))
    if fill != 0.0:
        result += fill * _missing(array.shape, factors).astype(np.float32)
    result /= np.float32(np.prod(factors))
    return result


def _block_sums(array: NDArray[Any], factors: tuple[int, int, int]) -> NDArray[np.float32]:
    result = np.empty([-(-n // f) for n, f in zip(array.shape, factors, strict=True)], dtype=np.float32)
    kind = _sum_type(array.dtype, int(np.prod(factors)))
    for row, first in enumerate(range(0, array.shape[0], factors[0])):
        layers = array[first : first + factors[0]]
        slab = layers.sum(axis=0, dtype=kind) if len(layers) > 1 else layers[0].astype(kind)
        result[row] = _sum_along(_sum_along(slab, factors[1], 0), factors[2], 1)
    return result


def _sum_type(dtype: np.dtype[Any], count: int) -> DTypeLike:
    """The smallest type that holds the sum of `count` values exactly (floats: float32)."""
    if dtype == np.uint8 and count <= 257:
        return np.uint16
    if dtype.kind == "u":
        return np.uint32 if dtype.itemsize <= 2 and count <= 65536 else np.uint64
    if dtype.kind == "i":
        return np.int32 if dtype.itemsize <= 2 and count <= 65536 else np.int64
    return np.float32


def _sum_along(plane: NDArray[Any], factor: int, axis: int) -> NDArray[Any]:
    """Sums of `factor` neighbours along one axis of a 2D array; the last may have fewer."""
    if factor == 1:
        return plane
    length = plane.shape[axis]
    whole = -(-length // factor)
    shape = list(plane.shape)
    shape[axis] = whole
    total = np.zeros(shape, dtype=plane.dtype)
    for shift in range(min(factor, length)):
        part = plane[shift::factor] if axis == 0 else plane[:, shift::factor]
        target = total[: part.shape[0]] if axis == 0 else total[:, : part.shape[1]]
        target += part
    return total


def _missing(shape: tuple[int, ...], factors: tuple[int, int, int]) -> NDArray[np.int64]:
    """How many voxels each block lacks."""
    counts = [np.minimum(f, n - np.arange(0, n, f)) for n, f in zip(shape, factors, strict=True)]
    present = counts[0][:, None, None] * counts[1][None, :, None] * counts[2][None, None, :]
    return np.asarray(int(np.prod(factors)) - present)
