"""Tissues on a lattice: what scatters, reflects and weakens the beam at every point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .body import Body
from .fields import Field
from .shapes import Array, Lattice, Shape, smooth_union
from .tissues import ECHO, IMPEDANCE, LOSS, NUMBER
from .trunk import Lucency, Ribs

FAR = np.float32(1e3)


@dataclass(frozen=True, eq=False)
class Placing:
    """Where a body lies: world = rotation @ body + shift (mm)."""

    rotation: Array
    shift: Array

    def out(self, points: Array) -> Array:
        """Body axes to world, (N, 3)."""
        return points @ self.rotation.T + self.shift

    def back(self, points: Array) -> Array:
        """World to body axes, (N, 3)."""
        return (points - self.shift.astype(points.dtype)) @ self.rotation.astype(points.dtype)


@dataclass(frozen=True, eq=False)
class Scene:
    """Fields on a lattice, arrays [z, y, x]: amplitude of scatterers, impedance, loss in dB / (cm MHz), and label."""

    lattice: Lattice
    echo: Field
    impedance: Field
    loss: Field
    label: NDArray[np.uint8]

    @classmethod
    def filled(cls, lattice: Lattice, name: str) -> Scene:
        """A scene of one tissue."""
        number = NUMBER[name]
        echo, impedance, loss = (np.full(lattice.shape, table[number], np.float32) for table in (ECHO, IMPEDANCE, LOSS))
        return cls(lattice, echo, impedance, loss, np.full(lattice.shape, number, np.uint8))

    def paint(self, box: tuple[slice, slice, slice], distance: Array, name: str) -> None:
        """Fill the inside of a distance (mm, in the order of the box, flat or not) with a tissue, with soft edges."""
        number = NUMBER[name]
        cover = np.clip(0.5 - distance / self.lattice.step, 0, 1).astype(np.float32)
        cover = cover.reshape(self.label[box].shape)
        for field, table in ((self.echo, ECHO), (self.impedance, IMPEDANCE), (self.loss, LOSS)):
            field[box] += cover * (table[number] - field[box])
        self.label[box][cover > 0.5] = number

    def paint_parts(self, box: tuple[slice, slice, slice], places: Array, parts: Sequence[tuple[Shape, str]]) -> None:
        """Paint shapes one after the other; `places` (N, 3) are the box's points in the coordinates of the shapes."""
        shape = self.label[box].shape
        fields = [np.ascontiguousarray(field[box]).ravel() for field in (self.echo, self.impedance, self.loss)]
        label = np.ascontiguousarray(self.label[box]).ravel()
        for part, name in parts:
            near = _near(places, part, self.lattice.step)
            cover = np.clip(0.5 - part.distance(places[near]) / self.lattice.step, 0, 1).astype(np.float32)
            number = NUMBER[name]
            for field, table in zip(fields, (ECHO, IMPEDANCE, LOSS), strict=True):
                field[near] += cover * (table[number] - field[near])
            label[near[cover > 0.5]] = number
        for field, flat in zip((self.echo, self.impedance, self.loss), fields, strict=True):
            field[box] = flat.reshape(shape)
        self.label[box] = label.reshape(shape)


def _near(places: Array, part: Shape, margin: float) -> NDArray[np.intp]:
    reach = part.reach + margin
    near = np.flatnonzero(np.abs(places[:, 2] - places.dtype.type(part.centre[2])) < reach)
    for axis in (0, 1):
        near = near[np.abs(places[near, axis] - places.dtype.type(part.centre[axis])) < reach]
    return near


def body_skin(body: Body, placing: Placing, lattice: Lattice) -> Field:
    """Distance to the skin on a lattice, right near the skin; `FAR` away from the body."""
    skin = np.full(lattice.shape, FAR, np.float32)
    trunk_box, head_box = region_boxes(body, placing, lattice)
    skin[trunk_box] = body.trunk.distance(placing.back(lattice.points(trunk_box))).reshape(skin[trunk_box].shape)
    head = body.head.distance(body.in_head(placing.back(lattice.points(head_box)))).reshape(skin[head_box].shape)
    skin[head_box] = smooth_union(skin[head_box], head, body.neck_blend)
    for shape in body.limbs.skin:
        box = lattice.box_around(placing.out(shape.centre[None]), shape.reach + 2 * body.limb_blend)
        distance = shape.distance(placing.back(lattice.points(box))).reshape(skin[box].shape)
        skin[box] = smooth_union(skin[box], distance, body.limb_blend)
    return skin


def region_boxes(
    body: Body, placing: Placing, lattice: Lattice
) -> tuple[tuple[slice, slice, slice], tuple[slice, slice, slice]]:
    """Boxes around the trunk and the head."""
    spine = body.trunk.spine
    stations = spine.centres[(spine.along > -0.5 * body.sizes.girth) & (spine.along < spine.trunk + spine.neck)]
    head = placing.out(body.from_head(body.head.centre[None]))
    return lattice.box_around(placing.out(stations), 1.8 * body.sizes.girth), lattice.box_around(head, body.head.reach)


def paint_body(scene: Scene, body: Body, placing: Placing, skin: Field, random: np.random.Generator) -> None:
    """Paint a fetus from the outside to the inside; `skin` is the answer of `body_skin`."""
    lattice, crl = scene.lattice, body.sizes.crl
    whole = tuple(slice(int(rows.min()), int(rows.max()) + 1) for rows in np.nonzero(skin < 2))
    box = (whole[0], whole[1], whole[2])
    thickness = 0.012 * crl
    scene.paint(box, skin[box], "skin")
    scene.paint(box, skin[box] + thickness, "soft")
    trunk_box, head_box = region_boxes(body, placing, lattice)
    places = body.trunk.spine.chart(placing.back(lattice.points(trunk_box)))
    wide = 0.021 * crl * random.uniform(0.5, 1.25)
    trunk = body.trunk
    inside: list[tuple[Shape, str]] = [(Lucency(trunk, thickness, wide), "lucency"), *body.trunk_inside]
    scene.paint_parts(trunk_box, places, [*inside, (Ribs(trunk), "thin_bone")])
    scene.paint_parts(head_box, body.in_head(placing.back(lattice.points(head_box))), body.head_inside)
    for shape, name in body.limbs.parts:
        limb = lattice.box_around(placing.out(shape.centre[None]), shape.reach + lattice.step)
        scene.paint(limb, shape.distance(placing.back(lattice.points(limb))), name)
