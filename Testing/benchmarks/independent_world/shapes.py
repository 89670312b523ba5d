"""Signed distances in mm (negative inside) of the shapes that bodies are made of, and the lattice they are painted on.

Distances are exact for spheres and capsules and right to first order near the surface of everything else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


class Shape(Protocol):
    """A closed surface; `centre` (3,) and `reach` in mm are those of a ball around it."""

    @property
    def centre(self) -> Array: ...
    @property
    def reach(self) -> float: ...
    def distance(self, points: Array) -> Array:
        """(N, 3) mm to (N,) mm."""
        ...


@dataclass(frozen=True, eq=False)
class Capsule:
    """A ball that grows or shrinks on its way from `start` to `end` ((3,) mm)."""

    start: Array
    end: Array
    start_radius: float
    end_radius: float

    @property
    def centre(self) -> Array:
        return (self.start + self.end) / 2

    @property
    def reach(self) -> float:
        return float(np.linalg.norm(self.end - self.start)) / 2 + max(self.start_radius, self.end_radius)

    def distance(self, points: Array) -> Array:
        axis = (self.end - self.start).astype(points.dtype)
        along = np.clip((points - self.start.astype(points.dtype)) @ axis / max(float(axis @ axis), 1e-9), 0, 1)
        away = points - (self.start.astype(points.dtype) + along[:, None] * axis)
        radius = self.start_radius + along * (self.end_radius - self.start_radius)
        return np.asarray(np.sqrt(np.einsum("ij,ij->i", away, away)) - radius)


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """Half axes `radii` (3,) mm along the columns of `axes` (3, 3)."""

    centre: Array
    radii: Array
    axes: Array = field(default_factory=lambda: np.eye(3))

    @property
    def reach(self) -> float:
        return float(np.max(self.radii))

    def distance(self, points: Array) -> Array:
        local = (points - np.asarray(self.centre, points.dtype)) @ np.asarray(self.axes, points.dtype)
        return quadric_distance(local, np.asarray(self.radii, points.dtype))


@dataclass(frozen=True, eq=False)
class Shell:
    """The layer of `thickness` mm whose middle is `depth` mm inside a shape, on one side of a plane if given.

    `above` is (height, direction): kept where direction . (p - centre of the shape) is more than height.
    """

    shape: Shape
    depth: float
    thickness: float
    above: tuple[float, Array] | None = None

    @property
    def centre(self) -> Array:
        return self.shape.centre

    @property
    def reach(self) -> float:
        return self.shape.reach

    def distance(self, points: Array) -> Array:
        layer = np.abs(self.shape.distance(points) + self.depth) - self.thickness / 2
        if self.above is None:
            return np.asarray(layer)
        height, direction = self.above
        beyond = height - (points - np.asarray(self.centre, points.dtype)) @ np.asarray(direction, points.dtype)
        return np.asarray(np.maximum(layer, beyond))


@dataclass(frozen=True, eq=False)
class Inset:
    """A shape made smaller by `depth` mm all around."""

    shape: Shape
    depth: float

    @property
    def centre(self) -> Array:
        return self.shape.centre

    @property
    def reach(self) -> float:
        return self.shape.reach

    def distance(self, points: Array) -> Array:
        return self.shape.distance(points) + self.depth


def quadric_distance(local: Array, radii: Array) -> Array:
    """First-order distance of an ellipsoid in its own axes: points (N, d), radii (d,) or (N, d)."""
    scaled = local / radii
    level = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
    steep = scaled / radii
    slope = np.sqrt(np.einsum("ij,ij->i", steep, steep))
    inner = -np.min(np.broadcast_to(radii, local.shape), axis=1)
    return np.asarray(np.where(level > 1e-3, level * (level - 1) / np.maximum(slope, 1e-9), inner))


def smooth_union(first: Array, second: Array, blend: float) -> Array:
    """Distance of the union, its crease filled over `blend` mm (the polynomial minimum of Quilez)."""
    closeness = np.maximum(blend - np.abs(first - second), 0) / blend
    return np.minimum(first, second) - closeness * closeness * (blend / 4)


@dataclass(frozen=True)
class Lattice:
    """Points on a regular grid: x = origin + step * index; arrays are indexed [z, y, x].

    Attributes:
        origin: (x, y, z) mm of the first point.
        step: mm between points.
        shape: number of points along z, y, x.
    """

    origin: tuple[float, float, float]
    step: float
    shape: tuple[int, int, int]

    def box_around(self, points: Array, margin: float) -> tuple[slice, slice, slice]:
        """Slices of the points within `margin` mm of the bounding box of points (N, 3)."""
        low = np.floor((points.min(axis=0) - margin - self.origin) / self.step).astype(int)
        high = np.ceil((points.max(axis=0) + margin - self.origin) / self.step).astype(int) + 1
        limits = [
            (min(max(low[axis], 0), self.shape[2 - axis]), min(max(high[axis], 0), self.shape[2 - axis]))
            for axis in range(3)
        ]
        return slice(*limits[2]), slice(*limits[1]), slice(*limits[0])

    def points(self, box: tuple[slice, slice, slice] | None = None) -> NDArray[np.float32]:
        """(N, 3) float32 mm of the points of a box, in the order of the flattened array."""
        box = box or (slice(0, self.shape[0]), slice(0, self.shape[1]), slice(0, self.shape[2]))
        axes = [
            np.arange(part.start, part.stop, dtype=np.float32) * np.float32(self.step) + np.float32(start)
            for part, start in zip(box, self.origin[::-1], strict=True)
        ]
        z, y, x = np.meshgrid(*axes, indexing="ij")
        return np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)

    def index(self, points: Array) -> Array:
        """(N, 3) mm to fractional array indices (3, N) in the order z, y, x."""
        return ((points - np.asarray(self.origin, points.dtype)) / self.step).T[::-1]
