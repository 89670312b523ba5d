"""The field of view of a swept curved array, and where the fetus lies in it.

World axes are the volume's: x lateral, y depth, z elevation (mm). A point has a depth below the probe's face, an angle
in the plane of the array, and the angle of the swept plane: the torus of GE's Kretz files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from .body import Body
from .scene import Placing
from .shapes import Array, Capsule

_TRIES, _PLACES = 160, 24
#: Between the body and the borders of the field of view, mm.
_MARGIN = 1.5


@dataclass(frozen=True)
class Sector:
    """A field of view.

    Attributes:
        top: (x, y, z) mm of the middle of the probe's face.
        curve: radius of the array in mm.
        swing: distance in mm from the face back to the axis of the sweep.
        width, sweep: half angles of the plane and of the sweep, in radians.
        depth: mm.
    """

    top: tuple[float, float, float]
    curve: float
    swing: float
    width: float
    sweep: float
    depth: float

    def polar(self, points: Array) -> tuple[Array, Array, Array]:
        """Depth in mm, angle in the plane and angle of the sweep in radians of points (N, 3)."""
        x, y, z = (points[:, axis] - points.dtype.type(self.top[axis]) for axis in range(3))
        down = y + points.dtype.type(self.swing)
        plane = np.hypot(down, z) - self.swing + self.curve
        return np.hypot(plane, x) - self.curve, np.arctan2(x, plane), np.arctan2(z, down)

    def points(self, depth: Array, angle: Array, sweep: Array) -> Array:
        """The way back; arrays that broadcast, to (..., 3)."""
        plane = (self.curve + depth) * np.cos(angle)
        down = plane - self.curve + self.swing
        x = (self.curve + depth) * np.sin(angle) + 0 * sweep
        y, z = down * np.cos(sweep) - self.swing, down * np.sin(sweep)
        return np.stack([x + self.top[0], y + self.top[1], z + self.top[2]], axis=-1)

    def inside(self, points: Array, radii: Array) -> NDArray[np.bool_]:
        """Whether balls (N, 3), (N,) in mm lie within, and a little farther from every border."""
        depth, angle, sweep = self.polar(points)
        room = self.width - np.abs(angle), self.sweep - np.abs(sweep)
        away = depth + self.curve, np.maximum(depth + self.swing, 1)
        radii = radii + _MARGIN
        sides = [np.sin(np.clip(part, -1.5, 1.5)) * arm > radii for part, arm in zip(room, away, strict=True)]
        return np.asarray((depth > radii) & (depth < self.depth - radii) & sides[0] & sides[1])


def draw_sector(random: np.random.Generator, extent: tuple[float, float, float]) -> Sector:
    """A field of view for a volume of this size (x, y, z in mm), whose first voxel is the origin."""
    curve, swing = float(random.uniform(38, 58)), float(random.uniform(18, 34))
    width, sweep = float(np.radians(random.uniform(33, 41))), float(np.radians(random.uniform(34, 44)))
    face = float(random.uniform(-4, 3))
    return Sector(
        (extent[0] / 2, face, extent[2] / 2), curve, swing, width, sweep, extent[1] * random.uniform(0.99, 1.1) - face
    )


def body_balls(body: Body) -> tuple[Array, Array]:
    """Balls that cover a body: centres (N, 3) in body axes and radii (N,) in mm."""
    skull = body.head.cranium.radii
    centres = [body.from_head(np.zeros(3)), body.from_head(np.array([0, 0.5, -0.8]) * skull)]
    radii = [1.05 * skull[1], 0.62 * skull[1]]
    for part in np.linspace(0.05, 1.0, 6):
        centres.append(body.trunk.place(0.0, 0.4, float(part)))
        radii.append(1.05 * body.sizes.girth)
    for shape in body.limbs.skin:
        if isinstance(shape, Capsule):
            centres += [shape.start, shape.end]
            radii += [shape.start_radius, shape.end_radius]
    return np.stack(centres), np.array(radii)


def place_body(
    body: Body, sector: Sector, extent: tuple[float, float, float], random: np.random.Generator
) -> Placing | None:
    """Any orientation and place at which the body lies in the sector and the volume; None if none was found."""
    centres, radii = body_balls(body)
    for rotation in Rotation.random(_TRIES, random).as_matrix():
        turned = centres @ rotation.T
        low = np.max(radii[:, None] - turned, axis=0) + 0.5
        high = np.min(np.array(extent) - radii[:, None] - turned, axis=0) - 0.5
        if (low >= high).any():
            continue
        shifts = random.uniform(low, high, (_PLACES, 3))
        balls = (turned[None] + shifts[:, None]).reshape(-1, 3)
        fits = sector.inside(balls, np.tile(radii, _PLACES)).reshape(_PLACES, -1).all(axis=1)
        if fits.any():
            return Placing(rotation, shifts[int(np.argmax(fits))])
    return None
