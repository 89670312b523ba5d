"""The trunk and neck: a skin swept along the spine, and what lies inside, all in the chart of the spine.

Chart coordinates are (right, anterior, along the spine) in mm; radii are parts of the girth (mean abdominal radius).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from .shapes import Capsule, Ellipsoid, Shape, quadric_distance
from .sizes import Sizes
from .spine import Spine

Array = NDArray[np.floating]
#: Part of the trunk's length, then half width, depth in front of and behind the vertebral bodies over the girth.
_PROFILE = np.array(
    [
        (0.00, 0.74, 0.62, 0.66),
        (0.06, 0.78, 0.72, 0.62),
        (0.15, 0.84, 0.95, 0.52),
        (0.28, 0.88, 1.26, 0.42),
        (0.42, 0.98, 1.50, 0.40),
        (0.55, 1.04, 1.56, 0.40),
        (0.70, 1.00, 1.48, 0.42),
        (0.84, 0.94, 1.30, 0.46),
        (0.95, 0.82, 1.00, 0.48),
        (1.03, 0.60, 0.66, 0.46),
        (1.10, 0.48, 0.52, 0.44),
        (1.40, 0.48, 0.50, 0.44),
    ]
)
#: Where on the trunk (part of its length): hips, middle of the iliac wings, cord, shoulders.
HIPS, WINGS, CORD, SHOULDERS = 0.09, 0.215, 0.33, 0.955
_BODIES = 20
#: Of the cap that closes the trunk below, over the girth.
_CAP = 0.66


@dataclass(frozen=True, eq=False)
class Trunk:
    """Skin of trunk and neck."""

    spine: Spine
    sizes: Sizes

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        fine = np.linspace(0, 1.4, 281)
        columns = [np.interp(fine, _PROFILE[:, 0], _PROFILE[:, column]) for column in (1, 2, 3)]
        return fine, np.stack([gaussian_filter1d(column, 7, mode="nearest") for column in columns])

    def profile(self, along: Array) -> tuple[Array, Array, Array]:
        """Half width, front and back (mm) at arc lengths."""
        fine, columns = self._table
        width, front, back = (np.interp(along / self.spine.trunk, fine, column) for column in columns)
        scale = self.sizes.girth
        return width * scale, front * scale, back * scale

    @property
    def centre(self) -> Array:
        return self.spine.at(0.5 * self.spine.trunk)[0]

    @property
    def reach(self) -> float:
        return 0.5 * self.spine.trunk + self.spine.neck + 2 * self.sizes.girth

    def distance(self, points: Array) -> Array:
        """(N, 3) mm in body axes to (N,) mm."""
        return self.charted(self.spine.chart(points))

    def charted(self, places: Array) -> Array:
        """The same from chart coordinates."""
        width, front, back = self.profile(places[:, 2])
        middle, depth = (front - back) / 2, (front + back) / 2
        top = self.spine.trunk + 0.9 * self.spine.neck
        ends = np.minimum(places[:, 2], 0) + np.maximum(places[:, 2] - top, 0)
        local = np.stack([places[:, 0], places[:, 1] - middle, ends], axis=1)
        cap = np.full_like(width, _CAP * self.sizes.girth)
        return quadric_distance(local, np.stack([width, depth, cap], axis=1)).astype(places.dtype)

    def place(self, right: float, anterior: float, along: float) -> Array:
        """Body axes (3,) of a chart place: right in half widths, anterior in fronts or backs, along in trunks."""
        chart = self.chart_place(right, anterior, along)
        point, frame = self.spine.at(chart[2])
        return np.asarray(point + frame[:, 0] * chart[0] + frame[:, 1] * chart[1])

    def chart_place(self, right: float, anterior: float, along: float) -> Array:
        """Chart coordinates in mm of the same."""
        arc = along * self.spine.trunk
        width, front, back = (float(value) for value in self.profile(np.array(arc)))
        return np.array([right * width, anterior * (front if anterior > 0 else back), arc])


def vertebrae(trunk: Trunk) -> Array:
    """Arc lengths in mm of the centres of the vertebral bodies, from the sacrum to the skull."""
    step = 0.96 * trunk.spine.trunk / _BODIES
    first = 0.05 * trunk.spine.trunk
    return np.arange(first, trunk.spine.trunk + 0.9 * trunk.spine.neck, step)


def trunk_parts(trunk: Trunk, random: np.random.Generator, weeks: float) -> list[tuple[Shape, str]]:
    """Organs and bones in chart coordinates, painted in this order."""
    unit, length = trunk.sizes.girth, trunk.spine.trunk
    drift = float(np.clip(random.normal(0, 0.015), -0.03, 0.03))

    def blob(place: tuple[float, float, float], radii: tuple[float, float, float], name: str) -> tuple[Shape, str]:
        right, anterior, along = place
        size = np.array(radii) * (unit, unit, length) * random.uniform(0.9, 1.1)
        return Ellipsoid(trunk.chart_place(right, anterior, along + drift), size), name

    stomach, bladder = random.uniform(0.75, 1.2, 2)
    parts = [
        blob((0.48, 0.35, 0.74), (0.34, 0.58, 0.14), "lung"),
        blob((-0.48, 0.35, 0.74), (0.34, 0.58, 0.14), "lung"),
        blob((0.18, 0.52, 0.555), (0.72, 0.62, 0.085), "liver"),
        blob((-0.14, 0.60, 0.715), (0.36, 0.36, 0.095), "heart"),
        blob((-0.24, 0.64, 0.715), (0.13, 0.17, 0.045), "blood"),
        blob((0.03, 0.56, 0.715), (0.13, 0.17, 0.045), "blood"),
        blob((-0.50, 0.22, 0.53), (0.22 * stomach, 0.22 * stomach, 0.05 * stomach), "cyst"),
        blob((0.40, -0.05, 0.37), (0.22, 0.22, 0.075), "kidney"),
        blob((-0.40, -0.05, 0.37), (0.22, 0.22, 0.075), "kidney"),
        blob((0.0, 0.58, 0.35), (0.55, 0.42, 0.08), "bowel"),
        blob((0.0, 0.50, 0.17), (0.20 * bladder, 0.20 * bladder, 0.05 * bladder), "cyst"),
    ]
    parts += _aorta(trunk) + _spine_bones(trunk, weeks) + _girdles(trunk)
    return parts


def _aorta(trunk: Trunk) -> list[tuple[Shape, str]]:
    start, end = trunk.chart_place(-0.05, 0.26, 0.25), trunk.chart_place(-0.05, 0.28, 0.75)
    return [(Capsule(start, end, 0.06 * trunk.sizes.girth, 0.08 * trunk.sizes.girth), "blood")]


def _spine_bones(trunk: Trunk, weeks: float) -> list[tuple[Shape, str]]:
    """The canal with its cord, vertebral bodies, and two arches behind each."""
    unit = trunk.sizes.girth
    arcs = vertebrae(trunk)
    step = arcs[1] - arcs[0]
    low, high = np.array([0, -0.2 * unit, arcs[0]]), np.array([0, -0.2 * unit, arcs[-1] + step])
    parts: list[tuple[Shape, str]] = [
        (Capsule(low * (1, 0.5, 1), high * (1, 0.5, 1), 0.15 * unit, 0.17 * unit), "cartilage"),
        (Capsule(low, high, 0.08 * unit, 0.11 * unit), "brain"),
    ]
    body = np.array([0.16 * unit, 0.15 * unit, 0.42 * step]) * np.interp(weeks, [10, 14], [0.85, 1.0])
    arch = np.array([0.06 * unit, 0.09 * unit, 0.32 * step])
    for arc in arcs:
        spread = 0.2 * unit * (0.8 if arc < 0.15 * trunk.spine.trunk else 1.0)
        parts.append((Ellipsoid(np.array([0, 0, arc]), body), "bone"))
        parts += [(Ellipsoid(np.array([side * spread, -0.2 * unit, arc]), arch), "bone") for side in (-1, 1)]
    return parts


def _girdles(trunk: Trunk) -> list[tuple[Shape, str]]:
    """Iliac wings, shoulder blades and collar bones."""
    unit, length = trunk.sizes.girth, trunk.spine.trunk
    parts: list[tuple[Shape, str]] = []
    for side in (-1.0, 1.0):
        wing = Ellipsoid(
            trunk.chart_place(0.58 * side, 0.06, WINGS), np.array([0.08, 0.30, 0.055]) * (unit, unit, length)
        )
        place = trunk.chart_place(0.6 * side, -0.45, 0.86)
        blade = Ellipsoid(place, np.array([0.22, 0.06, 0.07]) * (unit, unit, length))
        ends = trunk.chart_place(0.12 * side, 0.72, 0.94), trunk.chart_place(0.8 * side, 0.15, 0.985)
        collar = Capsule(*ends, 0.06 * unit, 0.06 * unit)
        parts += [(wing, "bone"), (blade, "thin_bone"), (collar, "bone")]
    return parts


@dataclass(frozen=True, eq=False)
class Ribs:
    """Ten pairs of ribs as a shape in chart coordinates, open in front."""

    trunk: Trunk

    @property
    def centre(self) -> Array:
        return self.trunk.chart_place(0.0, 0.3, 0.73)

    @property
    def reach(self) -> float:
        return 1.6 * self.trunk.sizes.girth + 0.2 * self.trunk.spine.trunk

    def distance(self, places: Array) -> Array:
        length, unit = self.trunk.spine.trunk, self.trunk.sizes.girth
        depth = -self.trunk.charted(places)
        spacing = 0.38 * length / 10
        slanted = places[:, 2] + 0.22 * places[:, 1]
        along = (slanted - 0.55 * length) / spacing
        gap = np.abs(along - np.round(along)) * spacing
        across = np.hypot(depth - 0.17 * unit, gap) - 0.2 * spacing
        front = places[:, 1] - 1.1 * unit
        ends = np.maximum(0.53 * length - slanted, slanted - 0.95 * length)
        return np.asarray(np.maximum(np.maximum(across, front), ends).astype(places.dtype))


@dataclass(frozen=True, eq=False)
class Lucency:
    """The layer of fluid below the skin of the nape, `thickness` mm, in chart coordinates."""

    trunk: Trunk
    skin: float
    thickness: float

    @property
    def centre(self) -> Array:
        return self.trunk.chart_place(0.0, -0.8, 1.0)

    @property
    def reach(self) -> float:
        return 0.25 * self.trunk.spine.trunk + self.trunk.sizes.girth

    def distance(self, places: Array) -> Array:
        depth = -self.trunk.charted(places)
        layer = np.abs(depth - self.skin - self.thickness / 2) - self.thickness / 2
        unit, length = self.trunk.sizes.girth, self.trunk.spine.trunk
        sides = np.abs(places[:, 0]) - 0.45 * unit
        behind = places[:, 1] + 0.1 * unit
        ends = 0.86 * length - places[:, 2]
        return np.asarray(np.max([layer, sides, behind, ends], axis=0).astype(places.dtype))
