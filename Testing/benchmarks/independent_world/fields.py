"""Smooth noise, and fields that are computed at every second point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

Field = NDArray[np.float32]


def noise(random: np.random.Generator, shape: tuple[int, ...], size: float) -> Field:
    """Smooth Gaussian noise of unit variance whose bumps are `size` points wide."""
    knots = [max(int(np.ceil(length / size)) + 2, 3) for length in shape]
    grid = random.normal(size=knots).astype(np.float32)
    fine = zoom(grid, [length / knot for length, knot in zip(shape, knots, strict=True)], order=1, mode="nearest")
    fine = gaussian_filter(fine, size / 4)
    return np.asarray(fine / max(float(fine.std()), 1e-6), np.float32)


def upsample(field: Field, shape: tuple[int, ...]) -> Field:
    """A field of every second point, at every point of an array of this shape (linear)."""
    fine = np.asarray(field, np.float32)
    for axis, size in enumerate(shape):
        fine = np.moveaxis(fine, axis, 0)
        wide = np.empty((2 * len(fine), *fine.shape[1:]), np.float32)
        wide[::2] = fine
        wide[1:-1:2] = (fine[1:] + fine[:-1]) / 2
        wide[-1] = fine[-1]
        fine = np.moveaxis(wide[:size], 0, axis)
    return np.ascontiguousarray(fine)
