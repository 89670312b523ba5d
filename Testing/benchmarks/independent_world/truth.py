"""The 22 landmarks of a body, each found by its definition in the landmark schema, in body axes (mm)."""

from __future__ import annotations

import numpy as np

from FetusMapV2Lib.anatomy.schema import default_schema

from .body import Body, rays_hit
from .shapes import Array
from .trunk import CORD, WINGS, vertebrae


def landmarks(body: Body) -> Array:
    """(22, 3) mm in the order of the schema."""
    found = _head_points(body) | _trunk_points(body) | body.limbs.joints
    return np.stack([found[key] for key in default_schema().keys])


def _head_points(body: Body) -> dict[str, Array]:
    """Extremes of the midline profile of the head, in its own axes."""
    height = body.head.cranium.radii[2]
    profile = _profile(body)
    heights = profile[:, 2] / height

    def foremost(low: float, high: float) -> Array:
        within = profile[(heights > low) & (heights < high)]
        return np.asarray(within[np.argmax(within[:, 1])])

    up = np.array([0.0, 0.0, 1.0])
    crests = np.linspace(-0.4, 0.4, 81) * body.head.cranium.radii[1]
    starts = np.stack([np.zeros(81), crests, np.zeros(81)], axis=1)
    tops = rays_hit(body.head.distance, starts, up, 2 * height)
    points = {
        "cranial_crest": tops[np.argmax(tops[:, 2])],
        "forehead": foremost(-0.28, 0.5),
        "nasal_tip": foremost(-0.75, -0.42),
        "nasal_bone": body.nose_bone.centre,
        "chin": foremost(-1.32, -1.0),
    }
    return {key: body.from_head(point) for key, point in points.items()} | {"hind_neck": _hind_neck(body)}


def _profile(body: Body) -> Array:
    """The skin in front, from the chin to the vertex, (N, 3) mm in the head's axes."""
    radii = body.head.cranium.radii
    forward = np.array([0.0, 1.0, 0.0])
    heights = np.linspace(-1.32, 0.6, 161) * radii[2]
    starts = np.stack([np.zeros(161), np.full(161, 0.25 * radii[1]), heights], axis=1)
    return rays_hit(body.head.distance, starts, forward, 1.3 * radii[1])


def _hind_neck(body: Body) -> Array:
    """The point of the nape farthest inside the straight line from occiput to upper back."""
    spine = body.trunk.spine
    arcs = np.linspace(spine.trunk * 0.9, spine.trunk + 1.0 * spine.neck, 40)
    places = [spine.at(float(arc)) for arc in arcs]
    starts, backwards = np.stack([point for point, _ in places]), np.stack([-frame[:, 1] for _, frame in places])
    skin = rays_hit(body.core, starts, backwards, 0.3 * body.sizes.crl)
    radii = body.head.cranium.radii
    occiput = body.from_head(np.array([0.0, -1.0, -0.1]) * radii)
    back = skin[0]
    line = (occiput - back) / np.linalg.norm(occiput - back)
    offsets = skin - back
    away = offsets - (offsets @ line)[:, None] * line
    inwards = body.trunk.spine.at(spine.trunk)[1][:, 1]
    depth = away @ (inwards - (inwards @ line) * line)
    return np.asarray(skin[int(np.argmax(depth))])


def _trunk_points(body: Body) -> dict[str, Array]:
    spine, trunk = body.trunk.spine, body.trunk
    joints = body.limbs.joints
    shoulders = (joints["left_shoulder"] + joints["right_shoulder"]) / 2
    level = float(spine.chart(shoulders[None])[0, 2])
    point, frame = spine.at(CORD * spine.trunk)
    cord = rays_hit(body.core, point[None], frame[:, 1], 4 * body.sizes.girth)[0]
    return {
        "upper_thoracic_spine": spine.at(_nearest_body(body, level))[0],
        "umbilical_cord_insertion": cord,
        "lumbosacral_spine": spine.at(_nearest_body(body, WINGS * trunk.spine.trunk))[0],
        "rump": _rump(body),
    }


def _nearest_body(body: Body, arc: float) -> float:
    arcs = vertebrae(body.trunk)
    return float(arcs[np.argmin(np.abs(arcs - arc))])


def _rump(body: Body) -> Array:
    """The lowest skin of the trunk in the midline, in the direction of the lower spine."""
    spine = body.trunk.spine
    point, frame = spine.at(0.03 * spine.trunk)
    down = -spine.at(WINGS * spine.trunk)[1][:, 2]
    starts = point + np.linspace(-0.45, 0.45, 61)[:, None] * body.sizes.girth * frame[:, 1]
    skin = rays_hit(body.trunk.distance, starts, down, 3 * body.sizes.girth)
    return np.asarray(skin[int(np.argmax(skin @ down))])
