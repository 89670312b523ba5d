"""Sac, placenta, uterus and maternal tissue around a body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from .fields import Field, noise, upsample
from .scene import Scene
from .sector import Sector
from .shapes import Lattice, quadric_distance

KINDS = ("clinging", "near", "roomy")


@dataclass(frozen=True)
class Around:
    """What is drawn of the surroundings (mm).

    Attributes:
        kind: "clinging" (the wall follows the body, 1-3 mm away), "near" or "roomy".
        gap: mean distance of a clinging wall; elsewhere the fluid beyond the body's extent.
        off_centre: how far the body lies from the middle of the sac, as a part of the gap.
        wall: thickness of the uterine wall.
        placenta: thickness of the placenta.
        amnion: distance of the amnion from the wall; 0 = none to be seen.
        bladder: whether the mother's bladder is in the picture.
    """

    kind: str
    gap: float
    off_centre: float
    wall: float
    placenta: float
    amnion: float
    bladder: bool


def draw_around(random: np.random.Generator, weeks: float) -> Around:
    """A quarter of the sacs cling, a third are near, the others roomy."""
    kind = str(random.choice(KINDS, p=(0.27, 0.33, 0.40)))
    gap = {"clinging": random.uniform(1.2, 3.0), "near": random.uniform(1.5, 5.0), "roomy": random.uniform(5, 16)}[kind]
    seen = kind != "clinging" and weeks < 14 and random.random() < 0.5
    return Around(
        kind=kind,
        gap=float(gap),
        off_centre=float(random.uniform(0, 1.15)),
        wall=float(random.uniform(6, 14)),
        placenta=float(random.uniform(9, 17)),
        amnion=float(random.uniform(1.5, 4.5)) if seen else 0.0,
        bladder=bool(random.random() < 0.3),
    )


@dataclass(frozen=True, eq=False)
class Room:
    """Distances on a lattice of twice the step: outside the body, and to the wall of the sac (negative inside it)."""

    lattice: Lattice
    body: Field
    sac: Field


def make_room(around: Around, skin: Field, lattice: Lattice, random: np.random.Generator) -> Room:
    """The sac around a body."""
    coarse = Lattice(lattice.origin, 2 * lattice.step, tuple(-(-size // 2) for size in lattice.shape))  # type: ignore[arg-type]
    inside = skin[::2, ::2, ::2]
    outside = _distance(inside > 0, coarse.step)
    close = np.where(inside < 0, np.maximum(inside, -4), outside).astype(np.float32)
    if around.kind == "clinging":
        smooth = gaussian_filter(close, 2.2 / coarse.step)
        rough = smooth - around.gap - 0.5 - 1.2 * noise(random, coarse.shape, 7 / coarse.step)
        touch = np.maximum(0.15, 0.75 * around.gap + 1.0 * noise(random, coarse.shape, 5 / coarse.step))
        sac = np.minimum(rough, close - touch)
    else:
        ball = _ellipsoid(around, coarse, inside < 0, random) + 1.5 * noise(random, coarse.shape, 14 / coarse.step)
        touch = np.maximum(0.1, 0.6 + 0.8 * noise(random, coarse.shape, 6 / coarse.step))
        sac = np.minimum(ball, close - touch)
    sac = np.where(sac > 0, _distance(sac > 0, coarse.step), sac)
    return Room(coarse, close, gaussian_filter(sac.astype(np.float32), 0.6))


def _ellipsoid(around: Around, lattice: Lattice, mask: NDArray[np.bool_], random: np.random.Generator) -> Field:
    """An ellipsoid along the body's own axes that holds most of it."""
    points = lattice.points()
    body = points[mask.ravel()]
    middle = (body.min(axis=0) + body.max(axis=0)) / 2
    axes = np.linalg.svd(body[:: max(len(body) // 4000, 1)] - body.mean(axis=0), full_matrices=False)[2].T
    spread = (body - middle) @ axes
    centre = (spread.max(axis=0) + spread.min(axis=0)) / 2
    radii = np.maximum((spread.max(axis=0) - spread.min(axis=0)) / 2 * 1.12 + around.gap, 14)
    radii = np.maximum(radii, 0.55 * radii.max())
    way = random.normal(size=3)
    shift = centre + around.off_centre * around.gap * way / np.linalg.norm(way)
    local = (points - middle) @ axes - shift
    return quadric_distance(local.astype(np.float32), radii.astype(np.float32)).reshape(lattice.shape)


def _distance(mask: NDArray[np.bool_], step: float) -> Field:
    return np.asarray(distance_transform_edt(mask) * step, np.float32)


def paint_surroundings(scene: Scene, around: Around, room: Room, sector: Sector, random: np.random.Generator) -> None:
    """Everything outside the body: tissue on the lattice of the room, fluid and amnion on the scene's own."""
    coarse = Scene.filled(room.lattice, "maternal")
    _paint_layers(coarse, sector, random)
    _paint_uterus(coarse, around, room, sector, random)
    shape = scene.label.shape
    for field, small in ((scene.echo, coarse.echo), (scene.impedance, coarse.impedance), (scene.loss, coarse.loss)):
        field[...] = upsample(small, shape)
    scene.label[...] = coarse.label.repeat(2, 0).repeat(2, 1).repeat(2, 2)[: shape[0], : shape[1], : shape[2]]
    sac = upsample(room.sac, shape)
    scene.paint(_whole(scene), sac, "fluid")
    if around.amnion:
        wobble = noise(random, room.sac.shape, 16 / room.lattice.step)
        inner = np.minimum(around.amnion * (1 + 0.3 * wobble), 0.8 * gaussian_filter(room.body, 2) - 0.6)
        scene.paint(_whole(scene), np.abs(sac + upsample(inner, shape)) - 0.12 + 9 * (sac > -0.8), "membrane")


def _paint_uterus(scene: Scene, around: Around, room: Room, sector: Sector, random: np.random.Generator) -> None:
    """The mother's bladder, the wall with its serosa and decidua, and the placenta, with patches of their own."""
    shape, step, whole = room.sac.shape, room.lattice.step, _whole(scene)
    wobble = noise(random, shape, 16 / step)
    beyond = room.sac - around.wall * (1 + 0.25 * wobble)
    if around.bladder:
        _paint_bladder(scene, beyond, sector, random)
    scene.paint(whole, beyond, "uterus")
    scene.paint(whole, np.abs(beyond) - 0.3 * np.abs(noise(random, shape, 10 / step)), "fascia")
    scene.paint(whole, room.sac - 1.5 - 0.7 * wobble, "decidua")
    scene.paint(whole, room.sac - _placenta(around, room, random), "placenta")
    scene.echo[...] *= np.exp(0.22 * noise(random, shape, 4.5 / step))


def _whole(scene: Scene) -> tuple[slice, slice, slice]:
    z, y, x = scene.label.shape
    return slice(0, z), slice(0, y), slice(0, x)


def _placenta(around: Around, room: Room, random: np.random.Generator) -> Field:
    """Thickness of the placenta beyond the sac at every point: most in one direction from the sac's middle."""
    points = room.lattice.points()
    inside = room.sac.ravel() < 0
    way = random.normal(size=3)
    away = points - points[inside].mean(axis=0)
    cosine = away @ (way / np.linalg.norm(way)).astype(np.float32) / np.maximum(np.linalg.norm(away, axis=1), 1)
    profile = np.clip((cosine - 0.25) / 0.45, 0, 1).reshape(room.sac.shape)
    return np.asarray(around.placenta * (profile * (2 - profile)) - 1.0, np.float32)


def _paint_layers(scene: Scene, sector: Sector, random: np.random.Generator) -> None:
    """Fat, muscle and bowel in layers below the probe, with fascia between them, and gas at the far side."""
    whole, shape, step = _whole(scene), scene.label.shape, scene.lattice.step
    depth = sector.polar(scene.lattice.points())[0].reshape(shape) + 1.5 * noise(random, shape, 18 / step)
    fat, muscle = random.uniform(3, 14), random.uniform(3, 8)
    scene.paint(whole, depth - fat - muscle, "muscle")
    scene.paint(whole, depth - fat, "fat")
    tilted = depth + 2.5 * noise(random, shape, 12 / step)
    edges = [fat, fat + muscle, *(fat + muscle + np.cumsum(random.uniform(3, 16, 7)))]
    for edge, field in zip(edges, (depth, depth, *(tilted,) * 7), strict=True):
        scene.paint(whole, np.abs(field - edge) - random.uniform(0.1, 0.45), "fascia")
    clumps = noise(random, shape, 9 / step)
    scene.paint(whole, 4 * (1.3 - clumps) + np.maximum(0.72 * sector.depth - depth, 0), "gas")


def _paint_bladder(scene: Scene, beyond: Field, sector: Sector, random: np.random.Generator) -> None:
    """The mother's bladder between probe and uterus, at one side."""
    lattice = scene.lattice
    depth, angle, sweep = (np.array(random.uniform(*limits)) for limits in ((14, 26), (-0.6, 0.6), (-0.3, 0.3)))
    centre = sector.points(depth, angle, sweep)
    radii = random.uniform((14, 6, 10), (26, 12, 20))
    box = lattice.box_around(centre[None], float(radii.max()))
    local = lattice.points(box) - centre.astype(np.float32)
    distance = quadric_distance(local, radii.astype(np.float32)).reshape(scene.label[box].shape)
    scene.paint(box, np.maximum(distance, 0.5 - beyond[box]), "cyst")
