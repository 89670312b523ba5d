"""The umbilical cord on its way from the belly through the fluid."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates

from .body import Body
from .fields import Field
from .scene import Placing, Scene
from .shapes import Array, Capsule
from .surroundings import Room
from .trunk import CORD


def cord_path(body: Body, placing: Placing, room: Room, length: float, random: np.random.Generator) -> Array:
    """The cord's way from its insertion through the fluid, (N, 3) mm in the world, a mm apart, until it gets stuck."""
    spine = body.trunk.spine
    start, frame = spine.at(CORD * spine.trunk)
    steps = np.arange(0, 3 * body.sizes.girth, 0.25)
    ray = start + steps[:, None] * frame[:, 1]
    outside = ray[np.argmax(body.core(ray) > 0)]
    way = placing.rotation @ frame[:, 1]
    path = [placing.out(outside[None])[0]]
    radius = 0.02 * body.sizes.crl
    for _ in range(int(length)):
        options = way + random.normal(0, 0.45, (24, 3))
        options /= np.linalg.norm(options, axis=1, keepdims=True)
        ahead = room.lattice.index(path[-1] + 1.6 * options)
        free = np.minimum(_at(room.body, ahead), -_at(room.sac, ahead)) - radius
        best = int(np.argmax(np.minimum(free, 1.5) + 0.8 * (options @ way) + random.normal(0, 0.1, 24)))
        if len(path) > 4 and free[best] < -0.5 * radius - 0.4:
            break
        way = 0.6 * way + 0.4 * options[best]
        way /= np.linalg.norm(way)
        path.append(path[-1] + options[best])
    return np.stack(path)


def _at(field: Field, index: Array) -> Array:
    return np.asarray(map_coordinates(field, index, order=1, mode="nearest"))


def paint_cord(scene: Scene, path: Array, radius: float, outside: Field) -> None:
    """Jelly with two dark vessels wound around its middle, outside the body (`outside` = distance to its skin)."""
    for first, last, turn in zip(path[:-1], path[1:], np.arange(len(path) - 1), strict=True):
        jelly = Capsule(first, last, radius, radius)
        _paint_rod(scene, jelly, "jelly", outside)
        angle = 0.9 * turn
        aside = 0.4 * radius * (np.cos(angle) * np.array([1.0, 0, 0]) + np.sin(angle) * np.array([0, 0.7, 0.7]))
        for way in (1, -1):
            vessel = Capsule(first + way * aside, last + way * aside, 0.33 * radius, 0.33 * radius)
            _paint_rod(scene, vessel, "blood", outside)


def _paint_rod(scene: Scene, rod: Capsule, name: str, outside: Field) -> None:
    box = scene.lattice.box_around(rod.centre[None], rod.reach + scene.lattice.step)
    points = scene.lattice.points(box)
    if len(points):
        scene.paint(box, np.maximum(rod.distance(points).reshape(outside[box].shape), -outside[box]), name)
