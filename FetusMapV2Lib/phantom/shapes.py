"""Solid shapes with a tissue label, in millimetres: ellipsoids, shells of them, and tapered tubes.

A scene is a list of shapes painted in order, later ones over earlier ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.phantom.tissues import Tissue

Array = NDArray[np.float64]
Over = tuple[Tissue, ...]


#: Sheets and tubes are drawn as if voxels were at least this large (mm), so that all grids finer than it show the
#: same thin bones and membranes.
FINEST_MM = 0.5


def drawn_step(spacing: float) -> float:
    """The voxel size (mm) that sets how thin a sheet or tube may be drawn on a grid of this spacing."""
    return max(spacing, FINEST_MM)


@dataclass(frozen=True)
class Rigid:
    """A proper rotation (3, 3) and a shift (3,) in mm: ``world = rotation @ local + shift``."""

    rotation: Array = field(default_factory=lambda: np.eye(3))
    shift: Array = field(default_factory=lambda: np.zeros(3))

    def points(self, local: Array) -> Array:
        """Transform points (..., 3)."""
        return np.asarray(local, dtype=np.float64) @ self.rotation.T + self.shift

    def inverse(self) -> Rigid:
        """The transform back."""
        return Rigid(self.rotation.T, -self.rotation.T @ self.shift)


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """A solid ellipsoid.

    Attributes:
        tissue: its label.
        centre: (3,) mm.
        radii: (3,) mm along the columns of `axes`.
        axes: (3, 3) rotation, columns are the ellipsoid's axes.
        inset: mm taken off every radius when it is drawn, at least a voxel when not 0 (what lies below a skin).
        over: labels it may paint over; empty means any.
        order: layer; lower layers are painted first.
        tag: "solid" for the outer surface of the body, which limbs may not overlap; otherwise any text.
    """

    tissue: Tissue
    centre: Array
    radii: Array
    axes: Array = field(default_factory=lambda: np.eye(3))
    inset: float = 0.0
    over: Over = ()
    order: int = 0
    tag: str = ""

    def transformed(self, by: Rigid) -> Ellipsoid:
        """The ellipsoid after a rigid motion."""
        return replace(self, centre=by.points(self.centre), axes=by.rotation @ self.axes)

    def bounds(self, spacing: float) -> tuple[Array, Array]:
        """Corners of its box, mm."""
        half = np.sqrt(((self.axes * self.drawn_radii(spacing)) ** 2).sum(axis=1))
        return self.centre - half, self.centre + half

    def drawn_radii(self, spacing: float) -> Array:
        """Radii as drawn on a grid of this spacing: never thinner than a voxel, so that sheets have no holes."""
        step = drawn_step(spacing)
        taken = max(self.inset, 1.05 * step) if self.inset > 0 else 0.0
        return np.maximum(np.asarray(self.radii) - taken, 0.55 * step)


@dataclass(frozen=True, eq=False)
class Shell:
    """The outer layer of an ellipsoid, `thickness` mm deep, clipped by planes.

    Attributes:
        body: the ellipsoid whose rind it is; label, layer and `over` are taken from it.
        thickness: mm, at least a voxel when drawn.
        plates: (P, 4) rows (u, c): kept where u . q > c for any row, with q the point in units of the radii
            along the axes; empty keeps everything.
    """

    body: Ellipsoid
    thickness: float
    plates: Array = field(default_factory=lambda: np.zeros((0, 4)))

    @property
    def order(self) -> int:
        """That of the ellipsoid."""
        return self.body.order

    @property
    def tag(self) -> str:
        """That of the ellipsoid."""
        return self.body.tag

    def transformed(self, by: Rigid) -> Shell:
        """The shell after a rigid motion."""
        return replace(self, body=self.body.transformed(by))

    def bounds(self, spacing: float) -> tuple[Array, Array]:
        """Corners of its box, mm."""
        return self.body.bounds(spacing)


@dataclass(frozen=True, eq=False)
class Tube:
    """A chain of tapered capsules through `points`.

    Attributes:
        tissue: its label.
        points: (N, 3) mm, N >= 1 (one point is a ball).
        radii: (N,) mm at the points, linear between them.
        inset, over, order, tag: as for `Ellipsoid`.
    """

    tissue: Tissue
    points: Array
    radii: Array
    inset: float = 0.0
    over: Over = ()
    order: int = 0
    tag: str = ""

    def transformed(self, by: Rigid) -> Tube:
        """The tube after a rigid motion."""
        return replace(self, points=by.points(self.points))

    def bounds(self, spacing: float) -> tuple[Array, Array]:
        """Corners of its box, mm."""
        reach = self.drawn_radii(spacing)[:, None]
        return (self.points - reach).min(axis=0), (self.points + reach).max(axis=0)

    def drawn_radii(self, spacing: float) -> Array:
        """Radii as drawn on a grid of this spacing, never thinner than a voxel."""
        step = drawn_step(spacing)
        taken = max(self.inset, 1.05 * step) if self.inset > 0 else 0.0
        return np.maximum(np.asarray(self.radii, dtype=np.float64) - taken, 0.6 * step)


Shape = Ellipsoid | Shell | Tube


def tube(tissue: Tissue, points: Array, radii: float | Sequence[float] | Array, **options: object) -> Tube:
    """A `Tube` with one radius or a radius per point."""
    points = np.atleast_2d(np.asarray(points, dtype=np.float64))
    return Tube(tissue, points, np.broadcast_to(np.asarray(radii, float), len(points)), **options)  # type: ignore[arg-type]


def spline(knots: Array, count: int) -> Array:
    """A smooth curve (count, 3) through `knots` (K, 3): a natural cubic spline over the chord length."""
    from scipy.interpolate import CubicSpline

    knots = np.asarray(knots, dtype=np.float64)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    curve = CubicSpline(length, knots, bc_type="natural")
    return np.asarray(curve(np.linspace(0.0, length[-1], count)))


def unit(vector: Array) -> Array:
    """`vector` (..., 3) at length 1."""
    vector = np.asarray(vector, dtype=np.float64)
    return np.asarray(vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-12))


def turn(axis: int, degrees: float) -> Array:
    """Right-handed rotation about coordinate axis 0, 1 or 2."""
    angle = np.radians(degrees)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[second, first] = np.sin(angle)
    matrix[first, second] = -np.sin(angle)
    return matrix


def frame_along(direction: Array, towards: Array) -> Array:
    """Rotation (3, 3) whose columns are (x, y, z) with z along `direction` and y as near `towards` as can be."""
    z = unit(direction)
    y = np.asarray(towards, dtype=np.float64)
    y = y - (y @ z) * z
    if np.linalg.norm(y) < 1e-6:
        y = np.eye(3)[int(np.argmin(np.abs(z)))]
        y = y - (y @ z) * z
    y = unit(y)
    return np.stack([np.cross(y, z), y, z], axis=1)
