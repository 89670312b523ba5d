"""The curve of the spine, the head on it and the outline of the body, for a size and a posture of trunk and neck.

Body frame: origin on the spine at mid-thorax, x to the fetal left, y posterior, z cranial (right-handed), mm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.phantom.body_plan import (
    CORD_INSERTION,
    HIP,
    LUMBOSACRAL,
    SHOULDER,
    UPPER_THORACIC,
    USUAL_PLAN,
    BodyPlan,
)
from FetusMapV2Lib.phantom.joints import NEUTRAL_BODY
from FetusMapV2Lib.phantom.shapes import Array, Ellipsoid, Rigid, unit
from FetusMapV2Lib.phantom.sizes import Size
from FetusMapV2Lib.phantom.tissues import Tissue

_STATIONS = 61
#: Depth of the vertebral centres below the skin of the back, in girths (`Size.girth`).
BACK = 0.30
# Outline of the trunk: place along the spine, half width and half depth in girths. The first four are the neck.
_OUTLINE = np.array([
    (-0.02, 0.46, 0.44), (0.04, 0.45, 0.43), (0.09, 0.46, 0.43), (0.14, 0.54, 0.46),
    (0.195, 0.73, 0.54), (0.26, 0.83, 0.66), (0.33, 0.88, 0.76), (0.40, 0.92, 0.83), (0.46, 0.95, 0.88),
    (0.52, 0.98, 0.94), (0.58, 1.00, 0.99), (0.64, 1.00, 1.01), (0.70, 0.95, 0.96), (0.76, 0.88, 0.88),
    (0.82, 0.82, 0.78), (0.88, 0.77, 0.69), (0.94, 0.68, 0.60),
])  # fmt: skip
NECK_PARTS = 4
#: Thickness of skin and scalp, in girths.
SKIN = 0.07

# The head's frame: origin in the middle of the brain case, z to the crest, in units of half the OFD. At this age
# the brain case is large and the face small below and in front of it.
_FACE_MARKS = {
    "nasal_tip": np.array([0.0, -1.13, -0.66]),
    "nasal_bone": np.array([0.0, -0.965, -0.46]),
    "chin": np.array([0.0, -0.84, -1.14]),
}
_FACE = (  # centre, radii
    (np.array([0.0, -0.56, -0.70]), np.array([0.56, 0.50, 0.46])),
    (np.array([0.0, -0.50, -0.94]), np.array([0.42, 0.44, 0.30])),
    (np.array([0.0, -1.02, -0.62]), np.array([0.13, 0.15, 0.15])),
)
#: A face with a root of the nose and a chin of its own: middle, jaw, nose and bridge.
_DISTINCT_FACE = (
    (np.array([0.0, -0.52, -0.66]), np.array([0.56, 0.48, 0.40])),
    (np.array([0.0, -0.50, -0.98]), np.array([0.42, 0.42, 0.25])),
    (np.array([0.0, -1.02, -0.62]), np.array([0.13, 0.15, 0.15])),
    (np.array([0.0, -0.85, -0.47]), np.array([0.12, 0.17, 0.19])),
)
_DISTINCT_NASAL_BONE = np.array([0.0, -0.955, -0.46])
#: In the neutral position the head is bent this much less than the neck, degrees.
_NECK_NEUTRAL = 16.0


@dataclass(frozen=True, eq=False)
class Spine:
    """The curve of the spine: `place` (S,) 0 at the atlas to 1 at the coccyx, and a frame at each.

    `at` takes levels of the usual body; the plan says where they lie.
    """

    place: Array
    points: Array
    frames: Array
    length: float
    plan: BodyPlan = USUAL_PLAN

    def at(self, place: float) -> Rigid:
        """Frame and position at a level; before 0 and beyond 1 the curve is straight."""
        place = self.plan.along(place)
        inside = float(np.clip(place, 0.0, 1.0))
        nearest = int(np.clip(np.searchsorted(self.place, inside), 0, len(self.place) - 1))
        frame = self.frames[nearest]
        point = np.array([np.interp(inside, self.place, self.points[:, n]) for n in range(3)])
        return Rigid(frame, point - (place - inside) * self.length * frame[:, 2])


def bend_spine(length: float, posture: dict[str, float], plan: BodyPlan = USUAL_PLAN) -> Spine:
    """The spine of this length (atlas to coccyx, mm) in the body frame under a posture's trunk angles."""
    place = np.linspace(1.0, 0.0, _STATIONS)
    middle = (place[:-1] + place[1:]) / 2
    # More of the bend in thorax and sacrum than in the neck.
    share = np.where(middle > 0.82, 1.3, np.where(middle < 0.18, 0.55, 1.0))
    share = share / share.sum()
    steps = np.stack(
        [posture["trunk_flexion"] * share, posture["trunk_lateral"] * share, posture["trunk_twist"] * share], axis=1
    )
    frames, points = [np.eye(3)], [np.zeros(3)]
    for step in Rotation.from_rotvec(np.radians(steps)).as_matrix():
        following = frames[-1] @ step
        points.append(points[-1] + (frames[-1] + following)[:, 2] * (length / (_STATIONS - 1) / 2))
        frames.append(following)
    place, stacked, curve = place[::-1], np.array(frames)[::-1], np.array(points)[::-1]
    centre = _STATIONS // 2
    back = stacked[centre].T
    return Spine(place.copy(), (curve - curve[centre]) @ back.T, back @ stacked, length, plan)


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Spine, head and body outline of one size and posture (body frame, mm).

    Attributes:
        size, spine: what it was made of.
        head: from the head's frame (mm) to the body frame.
        trunk: ellipsoids of the outline from the neck down; the first `NECK_PARTS` are the neck.
        cranium, face: ellipsoids of the head's outline.
    """

    size: Size
    spine: Spine
    head: Rigid
    trunk: tuple[Ellipsoid, ...]
    cranium: Ellipsoid
    face: tuple[Ellipsoid, ...]

    @property
    def plan(self) -> BodyPlan:
        """Where its parts lie."""
        return self.size.build.plan

    @property
    def unit(self) -> float:
        """Half the occipitofrontal diameter, mm: the unit of the head's drawing."""
        return self.size.ofd / 2

    def on_head(self, local: Array) -> Array:
        """Body-frame position of a point in head units."""
        return self.head.points(np.asarray(local) * self.unit)

    def shoulder(self, side: int) -> Rigid:
        """Frame and centre of a shoulder joint."""
        frame, girth = self.spine.at(SHOULDER), self.size.girth
        outward = side * 0.72 * girth * self.size.build.shoulders * self.plan.shoulders
        return Rigid(frame.rotation, frame.points(np.array([outward, -0.22 * girth, 0.0])))

    def hip(self, side: int) -> Rigid:
        """Frame and centre of a hip joint."""
        frame, girth = self.spine.at(HIP), self.size.girth
        outward = side * 0.48 * girth * self.size.build.hips
        return Rigid(frame.rotation, frame.points(np.array([outward, -self.plan.hips_forward * girth, 0.0])))

    def outline_depth(self, place: float) -> tuple[float, float]:
        """Half width and half depth (mm) of the trunk at a place along the spine."""
        width, depth = (float(np.interp(place, _OUTLINE[:, 0], _OUTLINE[:, n])) for n in (1, 2))
        wider, deeper = self.size.build.outline_factors(place)
        return width * wider * self.size.girth, depth * deeper * self.size.girth


def _trunk(size: Size, spine: Spine) -> tuple[Ellipsoid, ...]:
    parts = []
    for number, (place, usual_width, usual_depth) in enumerate(_OUTLINE):
        wider, deeper = size.build.outline_factors(place)
        width, depth = usual_width * wider, usual_depth * deeper
        frame = spine.at(float(place))
        middle = (BACK if number >= NECK_PARTS else 0.36) - depth
        height = max(0.11 * spine.length, 0.5 * width * size.girth)
        height *= size.build.plan.seat if number == len(_OUTLINE) - 1 else 1.0
        parts.append(
            Ellipsoid(
                Tissue.SKIN,
                frame.points(np.array([0.0, middle * size.girth, 0.0])),
                np.array([width * size.girth, depth * size.girth, height]),
                frame.rotation,
                tag="solid",
            )
        )
    return tuple(parts)


def _face(plan: BodyPlan) -> list[tuple[Array, Array]]:
    """Centres and radii of the ellipsoids of the face, half OFDs."""
    if not plan.by_schema:
        return list(_FACE)
    parts = []
    for centre, radii in _DISTINCT_FACE:
        top, bottom = plan.face_heights(np.array([centre[2] + radii[2], centre[2] - radii[2]]))
        parts.append((np.array([*centre[:2], (top + bottom) / 2]), np.array([*radii[:2], (top - bottom) / 2])))
    return parts


def _build(size: Size, length: float, posture: dict[str, float]) -> Skeleton:
    plan = size.build.plan
    spine = bend_spine(length, posture, plan)
    neck = spine.at(0.0)
    nod = Rotation.from_rotvec(
        np.radians([posture["neck_flexion"] - _NECK_NEUTRAL, posture["neck_lateral"], 0.0])
    ) * Rotation.from_rotvec(np.radians([0.0, 0.0, posture["neck_rotation"]]))
    rotation = neck.rotation @ nod.as_matrix()
    half = size.ofd / 2
    head = Rigid(rotation, neck.shift - rotation @ (np.array([0.0, *plan.atlas]) * half))
    skin = SKIN * size.girth
    cranium = Ellipsoid(
        Tissue.SKIN, np.zeros(3), np.array([size.bpd / 2, half, plan.cranium * half]) + skin, tag="solid"
    ).transformed(head)
    face = tuple(
        Ellipsoid(Tissue.SKIN, centre * half, radii * half * np.array([size.bpd / size.ofd / 0.83, 1, 1]), tag="solid")
        .transformed(head)
        for centre, radii in _face(plan)
    )  # fmt: skip
    return Skeleton(size, spine, head, _trunk(size, spine), cranium, face)


def head_and_trunk_marks(skeleton: Skeleton) -> dict[str, Array]:
    """Landmarks 1-10 by key, body frame (3,) mm.

    The crest lies on the skin or on the outer table of the skull, as the build says; the rump on the skin; the
    others as their names say, or where the schema's visible criteria are met, as the plan says.
    """
    girth, spine = skeleton.size.girth, skeleton.spine
    # Below the equator of the brain case; by the schema the most forward point of the forehead is on it.
    below = 0.0 if skeleton.plan.by_schema else 0.22
    brow = np.array([0.0, -np.cos(below), -skeleton.plan.cranium * np.sin(below)])
    skin = SKIN * girth / skeleton.unit if skeleton.size.build.marks_on_skin else 0.0
    marks = {
        "cranial_crest": skeleton.on_head(np.array([0.0, 0.0, skeleton.plan.cranium + skin])),
        "forehead": skeleton.on_head(brow + skin * unit(brow)),
        **{key: skeleton.on_head(local) for key, local in face_marks(skeleton.plan).items()},
    }
    neck = spine.at(0.03)
    backwards = unit(neck.rotation[:, 1] + skeleton.head.rotation[:, 1])
    nape = neck.shift + backwards * 0.31 * girth
    if skeleton.plan.by_schema:
        nape = _deepest_of_nape(skeleton, backwards)
    marks["hind_neck"] = nape + backwards * nuchal_bulge(skeleton.size)
    marks["upper_thoracic_spine"] = spine.at(UPPER_THORACIC).shift
    navel = spine.at(CORD_INSERTION)
    depth = skeleton.outline_depth(CORD_INSERTION)[1]
    marks["umbilical_cord_insertion"] = navel.points(np.array([0.0, BACK * girth - 2 * depth, 0.0]))
    marks["lumbosacral_spine"] = spine.at(LUMBOSACRAL).shift
    marks["rump"] = _rump(skeleton)
    return {
        key: marks[key]
        for key in (
            "cranial_crest", "forehead", "nasal_tip", "nasal_bone", "chin", "hind_neck", "upper_thoracic_spine",
            "umbilical_cord_insertion", "lumbosacral_spine", "rump",
        )
    }  # fmt: skip


def face_marks(plan: BodyPlan) -> dict[str, Array]:
    """Nasal tip, nasal bone and chin in the head's frame, (3,) half OFDs each."""
    if not plan.by_schema:
        return _FACE_MARKS
    _, jaw, nose, _ = _face(plan)
    foremost = {key: centre - [0, radii[1], 0] for key, (centre, radii) in (("nasal_tip", nose), ("chin", jaw))}
    return {**foremost, "nasal_bone": plan.face(_DISTINCT_NASAL_BONE)}


def _rump(skeleton: Skeleton) -> Array:
    """On the skin below the spine; by the schema the lowest point in the direction of the lower spine."""
    bottom = skeleton.trunk[-1]
    if skeleton.plan.by_schema:
        down = -skeleton.spine.at(LUMBOSACRAL).rotation[:, 2]
        stretched = bottom.axes @ (bottom.radii**2 * (down @ bottom.axes))
        return np.asarray(bottom.centre + stretched / np.sqrt(down @ stretched))
    down = bottom.axes @ unit(np.array([0.0, 0.30, -1.0]))
    reach = 1.0 / np.linalg.norm((bottom.axes.T @ down) / bottom.radii)
    return np.asarray(bottom.centre + down * reach)


def _deepest_of_nape(skeleton: Skeleton, backwards: Array) -> Array:
    """The point of the skin farthest in front of the straight line from the upper back to the occiput, mm."""
    bodies = (skeleton.cranium, *skeleton.trunk[: NECK_PARTS + 3])
    starts = np.array([skeleton.spine.at(place).shift for place in np.linspace(0.30, -0.06, 37)])
    skin = starts + np.max([_leaves(body, starts, backwards) for body in bodies], axis=0)[:, None] * backwards
    along = unit(skeleton.on_head(np.array([0.0, 1.0, -0.1])) - skin[0])
    forwards = -backwards + (backwards @ along) * along
    return np.asarray(skin[int(np.argmax((skin - skin[0]) @ forwards))])


def _leaves(body: Ellipsoid, starts: Array, direction: Array) -> Array:
    """How far (N,) mm rays from `starts` (N, 3) run until they leave an ellipsoid; 0 if they miss it."""
    ways = (direction @ body.axes) / body.radii
    places = ((starts - body.centre) @ body.axes) / body.radii
    half, square = places @ ways, float(ways @ ways)
    inside = half**2 - square * (np.sum(places**2, axis=1) - 1.0)
    return np.where(inside > 0, np.maximum((np.sqrt(np.maximum(inside, 0.0)) - half) / square, 0.0), 0.0)


def nuchal_bulge(size: Size) -> float:
    """How far (mm) a nuchal translucency lifts the skin of the nape."""
    return 0.6 * size.build.nuchal_mm if has_nuchal_translucency(size) else 0.0


def has_nuchal_translucency(size: Size) -> bool:
    """Whether the nape has a layer of fluid at this age."""
    return 10.8 < size.days / 7 < 14.0


def crown_rump(skeleton: Skeleton) -> float:
    """Crown-rump length of a skeleton, mm (landmarks 1 to 10)."""
    marks = head_and_trunk_marks(skeleton)
    return float(np.linalg.norm(marks["cranial_crest"] - marks["rump"]))


def spine_length(size: Size) -> float:
    """Length of the spine (mm) with which the neutral posture has the crown-rump length of `size`."""
    from scipy.optimize import brentq  # a training reads the phantom's label maps, and need not wait until it is loaded

    def excess(length: float) -> float:
        return crown_rump(_build(size, length, NEUTRAL_BODY)) - size.crl

    return float(brentq(excess, 0.2 * size.crl, 1.5 * size.crl, xtol=1e-3))


def pose_skeleton(size: Size, length: float, posture: dict[str, float]) -> Skeleton:
    """The skeleton of a size with a spine of `length` mm under the body angles of `posture` (degrees)."""
    return _build(size, length, posture)


def without_skin(ellipsoid: Ellipsoid, inset: float, tissue: Tissue, order: int) -> Ellipsoid:
    """What lies below the skin of an outline ellipsoid."""
    return replace(ellipsoid, tissue=tissue, inset=inset, order=order, tag="")
