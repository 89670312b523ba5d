"""The head in its own axes (x right, y forward along the skull's length, z up), origin in the middle of the cranium."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .shapes import Capsule, Ellipsoid, Inset, Shape, Shell, quadric_distance, smooth_union
from .sizes import Sizes

Array = NDArray[np.floating]
#: Where the cervical spine meets the skull, over (half width, half length, half height).
JUNCTION = np.array([0.0, -0.34, -0.86])


@dataclass(frozen=True, eq=False)
class Cranium:
    """An egg, wider behind than in front."""

    radii: Array

    @property
    def centre(self) -> Array:
        return np.zeros(3)

    @property
    def reach(self) -> float:
        return 1.15 * float(np.max(self.radii))

    def distance(self, points: Array) -> Array:
        radii = self.radii.astype(points.dtype)
        narrow = 1 - 0.13 * np.clip(points[:, 1] / radii[1], -1.3, 1.3)
        flat = 1 - 0.08 * np.clip(points[:, 1] / radii[1], -1.3, 1.3)
        sizes = np.stack([radii[0] * narrow, np.full_like(narrow, radii[1]), radii[2] * flat], axis=1)
        return quadric_distance(points, sizes)


@dataclass(frozen=True, eq=False)
class Head:
    """Skin of the head.

    Attributes:
        cranium: the egg.
        face: (shape, blend in mm) added to it one after the other.
    """

    cranium: Cranium
    face: tuple[tuple[Shape, float], ...]

    @property
    def centre(self) -> Array:
        return np.array([0.0, 0.1, -0.3]) * self.cranium.radii

    @property
    def reach(self) -> float:
        return 1.5 * float(self.cranium.radii[1])

    def distance(self, points: Array) -> Array:
        """(N, 3) mm in the head's axes to (N,) mm."""
        skin = self.cranium.distance(points)
        for shape, blend in self.face:
            skin = smooth_union(skin, shape.distance(points), blend)
        return skin


def make_head(sizes: Sizes, random: np.random.Generator) -> Head:
    """A head with its own face."""
    radii = np.array(sizes.skull)
    length = radii[1]
    jaw, snub = random.uniform(0.93, 1.06), random.uniform(0.85, 1.2)

    def lump(place: tuple[float, float, float], size: tuple[float, float, float], blend: float) -> tuple[Shape, float]:
        return Ellipsoid(np.array(place) * radii, np.array(size) * radii), blend * length

    face = (
        lump((0, 0.46, -0.62), (0.60, 0.42, 0.62), 0.22),
        lump((0, 0.50 * jaw, -1.08), (0.40, 0.34 * jaw, 0.26), 0.16),
        lump((0, 0.70 * jaw, -1.20), (0.20, 0.14, 0.13), 0.10),
        lump((0, 0.83, -0.86), (0.26, 0.10, 0.09), 0.06),
        lump((0, 0.80, -0.50), (0.12, 0.10 + 0.05 * snub, 0.18), 0.10),
        lump((0, 0.90 * snub**0.2, -0.58), (0.15, 0.11, 0.10), 0.05),
    )
    ears = tuple(lump((side * 0.93, -0.12, -0.48), (0.08, 0.14, 0.20), 0.03) for side in (-1, 1))
    return Head(Cranium(radii), face + ears)


def head_parts(head: Head, random: np.random.Generator, weeks: float) -> list[tuple[Shape, str]]:
    """Skull, brain and face in the head's axes, painted in this order."""
    cranium, radii = head.cranium, head.cranium.radii
    scalp = 0.09 * radii[1] * random.uniform(0.8, 1.1)
    bone = 0.062 * radii[1] * float(np.interp(weeks, [10, 15], [0.8, 1.0]))
    up = np.array([0.0, 0.25, 0.97])

    def lump(place: tuple[float, float, float], size: tuple[float, float, float], name: str) -> tuple[Shape, str]:
        return Ellipsoid(np.array(place) * radii, np.array(size) * radii), name

    parts: list[tuple[Shape, str]] = [
        (Inset(cranium, scalp + bone / 2), "brain"),
        lump((0, -0.05, -0.30), (0.34, 0.34, 0.34), "brain_core"),
        lump((0, -0.55, -0.45), (0.52, 0.24, 0.28), "brain_core"),
        lump((0, -0.02, 0.05), (0.035, 0.72, 0.78), "falx"),
    ]
    parts += [lump((0.40 * side, -0.12, 0.18), (0.22, 0.46, 0.30), "choroid") for side in (-1.0, 1.0)]
    parts.append((Shell(cranium, scalp, bone, (-0.62 * radii[2], up)), "bone" if weeks > 12 else "thin_bone"))
    return parts + _face_parts(radii)


def _face_parts(radii: Array) -> list[tuple[Shape, str]]:
    """Skull base, upper jaw, mandible and eyes."""

    def rod(start: tuple[float, float, float], end: tuple[float, float, float], size: float) -> tuple[Shape, str]:
        return Capsule(np.array(start) * radii, np.array(end) * radii, size * radii[1], size * radii[1]), "bone"

    parts: list[tuple[Shape, str]] = [rod((0, -0.3, -0.70), (0, 0.42, -0.42), 0.045)]
    parts.append(rod((0, 0.40, -0.76), (0, 0.74, -0.76), 0.04))
    for side in (-1.0, 1.0):
        parts.append(rod((0.14 * side, 0.72, -1.10), (0.48 * side, 0.12, -0.86), 0.04))
        parts.append(rod((0.0, 0.72, -0.78), (0.36 * side, 0.48, -0.74), 0.035))
        parts.append((Ellipsoid(np.array([0.44 * side, 0.62, -0.40]) * radii, np.full(3, 0.155) * radii[1]), "eye"))
    return parts
