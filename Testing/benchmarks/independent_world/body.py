"""One fetus: its skin as a signed distance, what lies inside, and its landmarks, in body axes (mm)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from .head import JUNCTION, Head, head_parts, make_head
from .limbs import Limbs, make_joints, make_limbs, segments
from .posture import Posture, redraw_limbs
from .shapes import Array, Capsule, Shape, smooth_union
from .sizes import Sizes, typical
from .spine import Spine, make_spine
from .trunk import HIPS, SHOULDERS, Trunk, trunk_parts

_TRIES = 60


@dataclass(frozen=True, eq=False)
class Body:
    """A fetus.

    Attributes:
        sizes, posture: what it was made from.
        trunk, head, limbs: the three regions.
        head_centre, head_frame: (3,) mm and (3, 3): the axes of the head in body axes.
        head_inside, trunk_inside: what lies in them, in their own coordinates.
        nose_bone: the nasal bones, in the head's axes.
    """

    sizes: Sizes
    posture: Posture
    trunk: Trunk
    head: Head
    limbs: Limbs
    head_centre: Array
    head_frame: Array
    head_inside: tuple[tuple[Shape, str], ...]
    trunk_inside: tuple[tuple[Shape, str], ...]
    nose_bone: Capsule

    @property
    def weeks(self) -> float:
        """Age that the CRL stands for."""
        return typical(self.sizes.crl)["weeks"]

    @property
    def neck_blend(self) -> float:
        """Width in mm over which head and neck flow into each other."""
        return 0.055 * self.sizes.crl

    @property
    def limb_blend(self) -> float:
        """Width in mm over which limbs flow into the trunk."""
        return 0.025 * self.sizes.crl

    def in_head(self, points: Array) -> Array:
        """Body axes to the axes of the head, (N, 3) mm."""
        return (points - self.head_centre.astype(points.dtype)) @ self.head_frame.astype(points.dtype)

    def from_head(self, points: Array) -> Array:
        """The way back, (..., 3) mm."""
        return points @ self.head_frame.T + self.head_centre

    def core(self, points: Array) -> Array:
        """Distance to the skin of head, neck and trunk without limbs, (N, 3) mm to (N,) mm."""
        return smooth_union(self.trunk.distance(points), self.head.distance(self.in_head(points)), self.neck_blend)

    def skin(self, points: Array) -> Array:
        """Distance to the skin, (N, 3) mm to (N,) mm."""
        distance = self.core(points)
        for shape in self.limbs.skin:
            distance = smooth_union(distance, shape.distance(points), self.limb_blend)
        return distance


def make_body(
    sizes: Sizes, posture: Posture, random: np.random.Generator, directions: NDArray[np.float32] | None = None
) -> Body:
    """Assemble a fetus; limbs that pass through each other or the trunk are drawn anew (from `directions` if given)."""
    head = make_head(sizes, random)
    for _ in range(_TRIES):
        trunk = Trunk(_spine(sizes, posture), sizes)
        centre, frame = _head_place(trunk.spine, head, posture)
        chin = centre + frame @ (np.array([0.0, 0.78, -1.20]) * head.cranium.radii)
        if trunk.distance(chin[None])[0] > 0.01 * sizes.crl:
            break
        posture = replace(posture, neck=posture.neck - 3)
    frames = {"upper": trunk.spine.at(SHOULDERS * trunk.spine.trunk)[1], "lower": trunk.spine.at(HIPS)[1]}
    roots = _roots(trunk, random)
    weeks = typical(sizes.crl)["weeks"]
    nose = _nose_bone(head, sizes)
    inside = (*head_parts(head, random, weeks), (nose, "bone"))
    organs = tuple(trunk_parts(trunk, random, weeks))
    bare = Body(sizes, posture, trunk, head, Limbs({}, (), ()), centre, frame, inside, organs, nose)
    posture, joints = _free_limbs(bare, roots, frames, random, directions)
    return replace(bare, posture=posture, limbs=make_limbs(sizes, joints, frames["lower"][:, 1], random))


def _spine(sizes: Sizes, posture: Posture) -> Spine:
    """The trunk takes what head and neck leave of the CRL in a neutral posture (measured: within 2 % there)."""
    neck = 0.075 * sizes.crl
    trunk = 1.02 * sizes.crl - neck - 1.84 * sizes.skull[2] - 0.66 * sizes.girth
    return make_spine(trunk, neck, (posture.curl, posture.bend, posture.twist, posture.neck), 2.2 * sizes.girth)


def _head_place(spine: Spine, head: Head, posture: Posture) -> tuple[Array, Array]:
    """Where the head sits on the spine; it nods back by a third of the trunk's curl and turns by itself."""
    point, frame = spine.at(spine.trunk + spine.neck)
    nod = math.radians(0.35 * posture.curl)
    turn = Rotation.from_euler("ZYX", [math.radians(-posture.turn), math.radians(posture.tilt), nod])
    frame = frame @ turn.as_matrix()
    return point - frame @ (JUNCTION * head.cranium.radii), frame


def _roots(trunk: Trunk, random: np.random.Generator) -> dict[str, Array]:
    """Shoulders and hips: two shoulders apart 0.58, two hips 0.36 of the way between their middles."""
    span = (SHOULDERS - HIPS) * trunk.spine.trunk
    half = {"shoulder": min(0.30 * span, 0.92 * trunk.sizes.girth), "hip": min(0.185 * span, 0.55 * trunk.sizes.girth)}
    roots = {}
    for side, way in (("left", -1.0), ("right", 1.0)):
        shrug = random.normal(0, 0.012, 2)
        for joint, along, ahead in (("shoulder", SHOULDERS + shrug[0], 0.16 + 2 * shrug[1]), ("hip", HIPS, 0.22)):
            point, frame = trunk.spine.at(along * trunk.spine.trunk)
            offset = np.array([way * half[joint], ahead * trunk.sizes.girth, 0.0])
            roots[f"{side}_{joint}"] = point + frame @ offset
    return roots


def _free_limbs(
    body: Body,
    roots: dict[str, Array],
    frames: dict[str, Array],
    random: np.random.Generator,
    directions: NDArray[np.float32] | None,
) -> tuple[Posture, dict[str, Array]]:
    """The posture and joints of the first limbs that are free, or of those least in the way of each other."""
    posture = body.posture
    best: tuple[float, Posture, dict[str, Array]] | None = None
    for _ in range(_TRIES):
        joints = make_joints(body.sizes, posture, roots, frames)
        overlap = _overlap(body, joints)
        if best is None or overlap < best[0]:
            best = (overlap, posture, joints)
        if overlap < 0.01 * body.sizes.crl:
            break
        posture = replace(posture, limbs=redraw_limbs(random, posture, directions))
    assert best is not None
    return best[1], best[2]


def _overlap(body: Body, joints: dict[str, Array]) -> float:
    """Deepest overlap in mm of limbs with head and trunk, and of limbs with each other."""
    parts = segments(body.sizes, joints)
    shares = np.array([0.35, 0.6, 0.8, 1.0, 1.25])
    points, radii = [], []
    for row, part in enumerate(parts):
        reach = shares if row % 2 else shares[1:4]
        points.append(part.start + reach[:, None] * (part.end - part.start))
        radii.append(part.start_radius + np.minimum(reach, 1) * (part.end_radius - part.start_radius))
    core = np.max(0.6 * np.concatenate(radii) - body.core(np.concatenate(points)))
    between = [
        np.max(0.85 * (radii[first][:, None] + radii[second]) - _gaps(points[first], points[second]))
        for first, second in combinations(range(len(parts)), 2)
        if not (first % 2 == 0 and second == first + 1)
    ]
    return float(max(core, *between))


def _gaps(first: Array, second: Array) -> Array:
    return np.asarray(np.linalg.norm(first[:, None] - second[None], axis=2))


def rays_hit(distance: Callable[[Array], Array], starts: Array, direction: Array, reach: float) -> Array:
    """Where rays from inside leave for the last time within `reach` mm, right to a thousandth of a mm.

    `starts` (R, 3) and `direction`, (3,) or (R, 3), give (R, 3); a ray that starts outside is answered near its start.
    """
    directions = np.broadcast_to(direction, starts.shape)
    steps = np.linspace(0, reach, 48)
    points = starts[:, None] + steps[None, :, None] * directions[:, None]
    inside = distance(points.reshape(-1, 3)).reshape(points.shape[:2]) < 0
    last = np.where(inside.any(axis=1), len(steps) - 1 - np.argmax(inside[:, ::-1], axis=1), 0)
    low, high = steps[last], steps[last] + steps[1]
    for _ in range(12):
        middle = (low + high) / 2
        within = distance(starts + middle[:, None] * directions) < 0
        low, high = np.where(within, middle, low), np.where(within, high, middle)
    return np.asarray(starts + ((low + high) / 2)[:, None] * directions)


def _nose_bone(head: Head, sizes: Sizes) -> Capsule:
    """A rod below the skin of the nasal bridge, along it; 0.036 of the CRL long (Cicero et al. 2003: 2-3 mm)."""
    radii = head.cranium.radii
    forward = np.array([0.0, 1.0, 0.0])
    starts = np.array([[0, 0.2, height] for height in (-0.30, -0.50, -0.40)]) * radii
    first, last, middle = rays_hit(head.distance, starts, forward, 1.6 * radii[1])
    along = (last - first) / np.linalg.norm(last - first)
    inwards = np.array([0.0, along[2], -along[1]])
    middle = middle + 0.016 * sizes.crl * inwards * np.sign(-inwards[1])
    half = 0.014 * sizes.crl * along
    return Capsule(middle - half, middle + half, 0.0065 * sizes.crl, 0.0065 * sizes.crl)
