"""What the fetus lies in: amniotic cavity, membranes, placenta, uterine wall, maternal tissue, cord, yolk sac.

The frame is the volume's: millimetres (i, j, k) from its centre.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial import ConvexHull, KDTree

from FetusMapV2Lib.phantom.collisions import ellipsoid_distance, limb_balls
from FetusMapV2Lib.phantom.fetus import Fetus
from FetusMapV2Lib.phantom.shapes import Array, Ellipsoid, Rigid, Shape, spline, tube, unit
from FetusMapV2Lib.phantom.sizes import Size
from FetusMapV2Lib.phantom.tissues import Tissue

#: Step of the coarse grid on which the smooth fields are computed, mm.
_COARSE_MM = 2.0


@dataclass(frozen=True, eq=False)
class Cavity:
    """An ellipsoid with smooth random bumps outward: ``|q| < 1 + bump`` with q in units of the radii.

    Attributes:
        centre (3,), axes (3, 3) columns, radii (3,): the ellipsoid, mm.
        waves: (W, 5) amplitude, direction (3), phase of the bumps.
        clings_mm: mean distance of the sac from the body that it clings to; 0: the ellipsoid alone holds.
    """

    centre: Array
    axes: Array
    radii: Array
    waves: Array
    clings_mm: float = 0.0

    def local(self, points: Array) -> Array:
        """Points (..., 3) in units of the radii."""
        return np.asarray((points - self.centre) @ self.axes / self.radii)

    def level(self, points: Array) -> Array:
        """About the signed distance (...) in mm to the surface, < 0 inside."""
        q = self.local(points)
        size = np.linalg.norm(q, axis=-1)
        direction = q / np.maximum(size, 1e-6)[..., None]
        bump = self.bump(direction)
        # Distance along the ray from the centre, made closer to the normal distance by the mean radius.
        reach = np.linalg.norm(direction * self.radii, axis=-1)
        return np.asarray((size - 1.0 - bump) * reach)

    def bump(self, direction: Array) -> Array:
        """Outward bump (...) relative to the radius in a direction (..., 3); between 0 and the amplitudes' sum."""
        total = np.zeros(direction.shape[:-1])
        for amplitude, x, y, z, phase in self.waves:
            total += amplitude * 0.5 * (1 + np.sin(direction @ np.array([x, y, z]) + phase))
        return total

    def transformed(self, by: Rigid) -> Cavity:
        """The cavity after a rigid motion."""
        return replace(self, centre=by.points(self.centre), axes=by.rotation @ self.axes)

    @property
    def volume_ml(self) -> float:
        """About its volume, mL."""
        mean = 1.0 + self.waves[:, 0].sum() / 2
        return float(4 / 3 * np.pi * np.prod(self.radii) * mean**3 / 1000)


def enclosing_ellipsoid(points: Array, margin: float) -> tuple[Array, Array, Array]:
    """The smallest ellipsoid around points (N, 3), `margin` mm wider (Khachiyan's algorithm).

    Returns:
        centre (3,), axes (3, 3) columns (a proper rotation), radii (3,).
    """
    points = points[ConvexHull(points).vertices]
    count = len(points)
    lifted = np.vstack([points.T, np.ones(count)])
    weight = np.full(count, 1.0 / count)
    for _ in range(400):
        spread = np.einsum("in,ij,jn->n", lifted, np.linalg.inv(lifted * weight @ lifted.T), lifted)
        worst = int(np.argmax(spread))
        step = (spread[worst] - 4) / (4 * (spread[worst] - 1))
        if step < 1e-3:
            break
        weight *= 1 - step
        weight[worst] += step
    centre = points.T @ weight
    values, axes = np.linalg.eigh((points.T * weight) @ points - np.outer(centre, centre))
    if np.linalg.det(axes) < 0:
        axes[:, 0] *= -1
    radii = np.sqrt(3 * np.maximum(values, 1e-6))
    radii *= np.linalg.norm((points - centre) @ axes / radii, axis=1).max()
    return centre, axes, radii + margin


def _waves(generator: np.random.Generator) -> Array:
    count = 6
    amplitude = generator.uniform(0.01, 0.06, count)
    waves = generator.normal(0.0, 1.0, (count, 3)) * generator.uniform(1.5, 3.5, (count, 1))
    return np.column_stack([amplitude, waves, generator.uniform(0, 2 * np.pi, count)])


def sample_cavity(generator: np.random.Generator, fetus: Fetus) -> Cavity:
    """The amniotic cavity of a fetus, in the body frame: it holds the whole fetus and about the fluid of its age."""
    surface = fetus.surface()
    centre, axes, radii = enclosing_ellipsoid(surface, margin=0.0)
    tight = _tight(Cavity(centre, axes, radii, _waves(generator)), surface, margin=1.2)
    rounded = np.maximum(tight.radii, generator.uniform(0.40, 0.70) * tight.radii.max())
    wanted = fetus.size.fluid_ml + fetus.size.body_ml
    spare = max(wanted / tight.volume_ml, 1.0)
    growth = float(np.prod(rounded / tight.radii))
    # Rounder first, as far as the fluid goes; then wider.
    part = 1.0 if growth <= spare else float(np.log(spare) / np.log(growth))
    radii = tight.radii * (rounded / tight.radii) ** part
    radii = radii * float(np.clip((spare / growth**part) ** (1 / 3), 1.0, 1.3))
    # The fetus may lie to one side of it: as far as the room allows.
    slack = float((radii / tight.radii).min()) - 1.0
    offset = unit(generator.normal(size=3)) * slack * generator.uniform(0.0, 0.8)
    return Cavity(centre + axes @ (offset * tight.radii), axes, radii, tight.waves)


def _tight(cavity: Cavity, points: Array, margin: float) -> Cavity:
    """The cavity at the least size that holds all points (N, 3), `margin` mm wider."""
    q = cavity.local(points)
    size = np.linalg.norm(q, axis=1)
    scale = float((size / (1.0 + cavity.bump(q / np.maximum(size, 1e-6)[:, None]))).max())
    return Cavity(cavity.centre, cavity.axes, cavity.radii * scale + margin, cavity.waves)


def sample_empty_cavity(generator: np.random.Generator, extent: Array) -> Cavity:
    """A cavity without a fetus somewhere in a volume of this extent (i, j, k) mm."""
    axes = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    axes[:, 0] *= np.sign(np.linalg.det(axes))
    radii = generator.uniform(6.0, 0.42 * float(extent.min())) * generator.uniform(0.55, 1.0, 3)
    return Cavity(generator.uniform(-0.2, 0.2, 3) * extent, axes, radii, _waves(generator))


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Cavity, placenta, wall and maternal layers.

    Attributes:
        cavity: the amniotic cavity.
        pole: (3,) unit direction (cavity's local frame) of the middle of the placenta.
        placenta: thickness in mm and cosine of its half angle.
        gap: thickness in mm of the coelomic fluid outside the amnion, direction (3,) and width of the yolk sac's
            pocket and its depth in mm.
        wall: thickness in mm, its variation 0..1.
        layers: (low, high, tissue) bands of the maternal layer coordinate.
        tilt: (3,) direction of the maternal layers; warp: (W, 5) their waves.
        body: (N, 3) surface of the body that the sac clings to; empty if it does not.
        twin: the sac of a second fetus.
    """

    cavity: Cavity
    pole: Array
    placenta: tuple[float, float]
    gap: tuple[float, Array, float, float]
    wall: tuple[float, float]
    layers: tuple[tuple[float, float, Tissue], ...]
    tilt: Array
    warp: Array
    body: Array = field(default_factory=lambda: np.zeros((0, 3)))
    twin: Cavity | None = None

    @property
    def has_gap(self) -> bool:
        """Whether amnion and chorion are still apart somewhere."""
        return self.gap[0] > 0.3 or self.gap[3] > 0

    def thicknesses(self, direction: Array) -> tuple[Array, Array, Array]:
        """Coelomic gap, placenta and wall (...) in mm in directions (..., 3) of the cavity's local frame."""
        width, pocket, pocket_angle, pocket_depth = self.gap
        wave = 0.5 * (1 + np.sin(direction @ self.warp[0, 1:4] + self.warp[0, 4]))
        gap = width * wave
        if pocket_depth > 0:
            angle = np.arccos(np.clip(direction @ pocket, -1, 1))
            gap = np.maximum(gap, pocket_depth * np.exp(-((angle / pocket_angle) ** 4)))
        thickness, edge = self.placenta
        part = np.clip((direction @ self.pole - edge) / (0.55 * (1 - edge) + 1e-6), 0.0, 1.0)
        placenta = thickness * part * part * (3 - 2 * part)
        swell = 0.5 * (1 + np.sin(direction @ self.warp[1, 1:4] + self.warp[1, 4]))
        return gap, placenta, self.wall[0] * (1 + self.wall[1] * (swell - 0.5))

    def fields(self, ranges: list[Array]) -> dict[str, Array]:
        """Signed fields [k, j, i] in mm on a coarse grid: < 0 inside amnion, gap, placenta and wall.

        Args:
            ranges: first and last coordinate along i, j and k, mm; the grid's ends.
        """
        x, y, z = (np.linspace(a, b, max(4, round((b - a) / _COARSE_MM) + 1)) for a, b in ranges)
        zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
        points = np.stack([xx, yy, zz], axis=-1)
        amnion = self._amnion(points)
        gap, placenta, wall = self.thicknesses(unit(self.cavity.local(points)))
        layers = points @ self.tilt
        for amplitude, a, b, c, phase in self.warp:
            layers = layers + amplitude * np.sin(points @ np.array([a, b, c]) / 30.0 + phase)
        inner = amnion - gap
        return {
            "amnion": amnion,
            "gap": inner,
            "placenta": inner - placenta,
            "wall": inner - placenta - wall,
            "layers": layers,
            "septum": self._septum(points),
        }

    def _amnion(self, points: Array) -> Array:
        """About the signed distance (...) in mm to the nearest sac."""
        level = self.cavity.level(points)
        if len(self.body):
            distance = KDTree(self.body).query(points.reshape(-1, 3))[0].reshape(level.shape)
            local = self.cavity.local(points)
            wave = self.cavity.bump(unit(local)) / self.cavity.waves[:, 0].sum()
            level = np.maximum(level, distance - self.cavity.clings_mm * (0.3 + 1.4 * wave))
        return level if self.twin is None else np.minimum(level, self.twin.level(points))

    def _septum(self, points: Array) -> Array:
        """Distance (...) in mm to where the sacs of twins meet; infinite without a twin."""
        if self.twin is None:
            return np.full(points.shape[:-1], np.inf)
        return np.abs(self.cavity.level(points) - self.twin.level(points)) / 2

    def surface_point(self, direction: Array, outside: float = 0.0) -> Array:
        """The point on the amnion in a direction (3,) of the local frame, moved outward by mm."""
        direction = unit(direction)
        reach = direction * self.cavity.radii
        length = float(np.linalg.norm(reach))
        scale = 1.0 + float(self.cavity.bump(direction)) + outside / length
        return np.asarray(self.cavity.centre + self.cavity.axes @ (reach * scale))


def sample_surroundings(
    generator: np.random.Generator, cavity: Cavity, size: Size, extent: Array
) -> tuple[Surroundings, list[Shape]]:
    """Placenta, wall and maternal tissue around a cavity; and the yolk sac as shapes, if there still is one."""
    week = size.days / 7
    pole = unit(generator.normal(size=3))
    placenta = (week * generator.uniform(0.75, 1.35), np.cos(np.radians(generator.uniform(50.0, 80.0))))
    width = max(0.0, float(np.interp(week, [10.0, 13.8], [5.5, 0.0]))) * generator.uniform(0.3, 1.2)
    pocket = unit(generator.normal(size=3) - 1.2 * pole)
    radius = generator.uniform(2.0, 2.9)
    has_sac = bool(generator.random() < np.interp(week, [10.0, 12.0, 13.5], [0.95, 0.6, 0.0]))
    reach = float(np.linalg.norm(pocket * cavity.radii))
    depth = 2 * radius + 0.8 if has_sac else 0.0
    warp = np.column_stack([
        generator.uniform(0.5, 3.0, 4), generator.normal(size=(4, 3)) * 2.0, generator.uniform(0, 2 * np.pi, 4)
    ])  # fmt: skip
    surroundings = Surroundings(
        cavity,
        pole,
        (float(placenta[0]), float(placenta[1])),
        (width, pocket, 2.6 * radius / reach, depth),
        (generator.uniform(5.0, 14.0), generator.uniform(0.2, 1.0)),
        _maternal_layers(generator, extent),
        unit(generator.normal(size=3)),
        warp,
    )
    shapes: list[Shape] = []
    if has_sac:
        centre = surroundings.surface_point(pocket, depth / 2)
        round_radii = np.full(3, radius)
        shapes.append(Ellipsoid(Tissue.YOLK_SAC, centre, round_radii, tag="sac"))
        shapes.append(Ellipsoid(Tissue.FLUID, centre, round_radii, inset=0.35, tag="sac"))
    return surroundings, shapes


def _maternal_layers(generator: np.random.Generator, extent: Array) -> tuple[tuple[float, float, Tissue], ...]:
    half = float(np.linalg.norm(extent)) / 2
    bands = []
    at = -half
    while at < half:
        thick = float(generator.uniform(4.0, 22.0))
        tissue = (Tissue.MATERNAL, Tissue.MUSCLE, Tissue.SOFT)[int(generator.integers(3))]
        bands.append((at, at + thick, tissue))
        if generator.random() < 0.6:
            bands.append((at, at + float(generator.uniform(0.2, 0.8)), Tissue.BOUNDARY))
        at += thick
    return tuple(bands)


def sample_cord(
    generator: np.random.Generator,
    fetus: Fetus,
    place: Rigid,
    surroundings: Surroundings,
    course: int | None = None,
) -> tuple[list[Shape], int]:
    """The umbilical cord from the belly through the fluid to the placenta, with its three coiled vessels.

    Args:
        generator: source of randomness.
        fetus: that it is attached to.
        place: of the fetus.
        surroundings: with the placenta at its other end.
        course: number of the random course to use, None = the one with the least overlap.

    Returns:
        its shapes and the number of the course taken.
    """
    from FetusMapV2Lib.anatomy.schema import default_schema

    navel = fetus.pose[default_schema().index("umbilical_cord_insertion")]
    forward = -fetus.skeleton.spine.at(0.715).rotation[:, 1]
    start, forward = place.points(navel), place.rotation @ forward
    radius = 0.028 * fetus.size.crl + 0.15
    end = surroundings.surface_point(surroundings.pole + 0.35 * generator.normal(size=3), 1.0)
    bodies = [part.transformed(place) for part in (*fetus.skeleton.trunk, fetus.skeleton.cranium, *fetus.skeleton.face)]
    balls = [limb_balls(place.points(limb.joints), limb.radii) for limb in fetus.limbs]
    paths, costs = [], []
    for _ in range(24):
        inner = []
        for _ in range(int(generator.integers(1, 4))):
            q = unit(generator.normal(size=3)) * generator.uniform(0.45, 0.9)
            inner.append(surroundings.cavity.centre + surroundings.cavity.axes @ (q * surroundings.cavity.radii))
        inner.sort(key=lambda point: float(np.linalg.norm(point - start)))
        knots = np.array([start - forward, start + 2.2 * radius * forward, *inner, end])
        path = spline(knots, 48)
        paths.append(path)
        if course is None:
            costs.append(_cord_cost(path, radius, bodies, balls, surroundings))
    chosen = int(np.argmin(costs)) if course is None else course
    return _cord_shapes(paths[chosen], radius, generator), chosen


def _cord_cost(
    path: Array, radius: float, bodies: list[Ellipsoid], balls: list[tuple[Array, Array]], around: Surroundings
) -> float:
    """How much of a path cuts the fetus or leaves the cavity."""
    inside = ellipsoid_distance(path[6:], bodies).min(axis=-1) < radius
    cost = float(inside.sum())
    for centres, radii in balls:
        gaps = np.linalg.norm(path[6:, None] - centres, axis=-1) - radii - radius
        cost += float((gaps.min(axis=1) < 0).sum())
    return cost + 2.0 * float((around.cavity.level(path[3:-4]) > -radius).sum())


def _cord_shapes(path: Array, radius: float, generator: np.random.Generator) -> list[Shape]:
    shapes: list[Shape] = [tube(Tissue.CORD, path, radius)]
    fine = spline(path, 160)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(fine, axis=0), axis=1))])
    along = unit(np.gradient(fine, axis=0))
    side = unit(np.cross(along, np.array([0.31, 0.57, 0.76])))
    other = np.cross(along, side)
    pitch = generator.uniform(5.0, 9.0) * radius
    start = generator.uniform(0, 2 * np.pi)
    for number, share in enumerate((0.36, 0.24, 0.24)):  # one vein, two arteries
        angle = start + 2 * np.pi * (length / pitch + number / 3)
        vessel = fine + 0.52 * radius * (np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * other)
        shapes.append(tube(Tissue.BLOOD, vessel[2:-2:2], share * radius))
    return shapes
