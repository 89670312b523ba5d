"""Arms and legs: soft tissue, cartilage ends, ossified shafts, hands with fingers, feet. Body frame, mm."""

from __future__ import annotations

import numpy as np

from FetusMapV2Lib.phantom.drawn_shafts import shaft_tag
from FetusMapV2Lib.phantom.layers import BONE_LAYER, INNER_LAYER, ORGAN_LAYER, SKIN_LAYER, SOFT_LAYER
from FetusMapV2Lib.phantom.limbs import Limb
from FetusMapV2Lib.phantom.shapes import Array, Shape, frame_along, tube, unit
from FetusMapV2Lib.phantom.sizes import Size
from FetusMapV2Lib.phantom.skeleton import SKIN
from FetusMapV2Lib.phantom.tissues import Tissue


def limb_shapes(size: Size, limb: Limb) -> list[Shape]:
    """Shapes of one limb."""
    shapes = _flesh(size, limb)
    shaft, doubled = (size.humerus, 0.10) if limb.kind == "arm" else (size.femur, 0.11)
    root, middle, end = limb.joints[0], limb.joints[1], limb.joints[2]
    thick = 0.058 * shaft + 0.12
    share = shaft / float(np.linalg.norm(middle - root))
    shapes += _bone(root, middle, share, thick, tag=shaft_tag(limb.side, limb.kind))
    # Two parallel bones below elbow and knee; the second is thinner.
    across = unit(np.cross(end - middle, limb.bend)) * doubled * float(np.linalg.norm(end - middle))
    share = 0.80
    thin = 0.80 if limb.kind == "arm" else 0.60
    shapes += _bone(middle + 0.8 * across, end + 0.6 * across, share, 0.82 * thick)
    shapes += _bone(middle - 0.8 * across, end - 0.6 * across, share, thin * thick)
    shapes += _hand(size, limb) if limb.kind == "arm" else _foot(size, limb)
    return shapes


def _flesh(size: Size, limb: Limb) -> list[Shape]:
    """Skin, soft tissue and muscle of the two long segments."""
    skin = SKIN * size.girth
    joints, radii = limb.joints[:3], limb.radii[:3]
    at = np.linspace(0.0, 2.0, 13)
    points = np.stack([np.interp(at, [0, 1, 2], joints[:, n]) for n in range(3)], axis=1)
    # Slightly full in the middle of a segment, as calf and thigh are.
    full = np.interp(at, [0, 1, 2], radii)
    belly = full * np.interp(at, [0, 0.35, 0.9, 1.0, 1.3, 1.8, 2.0], [1.0, 1.0, 0.95, 0.95, 1.0, 0.95, 1.0])
    return [
        tube(Tissue.SKIN, points, full, order=SKIN_LAYER, tag="solid"),
        tube(Tissue.SOFT, points, belly, inset=0.7 * skin, order=SOFT_LAYER),
        tube(Tissue.MUSCLE, points, 0.82 * belly, inset=1.3 * skin, order=ORGAN_LAYER),
    ]


def _bone(start: Array, end: Array, shaft_share: float, radius: float, tag: str = "") -> list[Shape]:
    """A long bone from joint to joint: an ossified shaft in the middle, cartilage at both ends."""
    rest = (1.0 - min(shaft_share, 0.96)) / 2
    along = end - start
    shaft = start + np.outer([rest, 0.5, 1 - rest], along)
    gristle = 1.55 * radius
    return [
        tube(Tissue.CARTILAGE, start + np.outer([0.0, rest], along), [gristle, radius], order=INNER_LAYER),
        tube(Tissue.CARTILAGE, start + np.outer([1 - rest, 1.0], along), [radius, gristle], order=INNER_LAYER),
        tube(Tissue.BONE, shaft, np.array([1.12, 0.90, 1.12]) * radius, order=BONE_LAYER, tag=tag),
    ]


def _hand(size: Size, limb: Limb) -> list[Shape]:
    wrist, tip = limb.joints[2], limb.joints[3]
    length = float(np.linalg.norm(tip - wrist))
    frame = frame_along(tip - wrist, limb.bend)
    radius = float(limb.radii[3])
    # The thumb lies on the side that turns to the head when the palm faces the body.
    outward = 1.0 if limb.side == "left" else -1.0

    def at(x: float, y: float, z: float) -> Array:
        return np.asarray(wrist + frame @ np.array([x * outward, y, z]) * length)

    wide = 0.20
    spread, curl = size.build.hand
    shapes: list[Shape] = []
    for offset in (-1.0, -0.33, 0.33, 1.0):
        knuckle = at(wide * offset, 0.0, 0.48)
        finger = at(1.25 * wide * spread * offset, 0.06 + 0.34 * curl, 0.99 - 0.08 * abs(offset) - 0.22 * curl)
        palm = np.array([at(0.10 * offset, 0.0, 0.0), knuckle])
        shapes.append(tube(Tissue.SKIN, palm, [0.95 * radius, 0.80 * radius], order=SKIN_LAYER, tag="solid"))
        shapes.append(tube(Tissue.SKIN, np.array([knuckle, finger]), 0.50 * radius, order=SKIN_LAYER, tag="solid"))
        shapes.append(tube(Tissue.SOFT, palm, 0.5 * radius, order=SOFT_LAYER))
        bone = 0.12 + 0.012 * length
        metacarpal = np.array([at(0.14 * offset, 0, 0.20), at(0.9 * wide * offset, 0, 0.44)])
        phalanges = knuckle + np.outer([0.12, 0.75], finger - knuckle)
        shapes.append(tube(Tissue.BONE, metacarpal, bone, order=BONE_LAYER))
        shapes.append(tube(Tissue.BONE, phalanges, 0.85 * bone, order=BONE_LAYER))
    thumb = np.array([at(-0.10, 0.03, 0.16), at(-0.38, 0.12, 0.58)])
    shapes.append(tube(Tissue.SKIN, thumb, 0.50 * radius, order=SKIN_LAYER, tag="solid"))
    shapes.append(tube(Tissue.BONE, thumb[0] + np.outer([0.3, 0.8], thumb[1] - thumb[0]), 0.15, order=BONE_LAYER))
    return shapes


def _foot(size: Size, limb: Limb) -> list[Shape]:
    ankle, toes = limb.joints[2], limb.joints[3]
    length = float(np.linalg.norm(toes - ankle))
    shank = limb.joints[1] - ankle
    frame = frame_along(toes - ankle, shank)  # y towards the knee: the back of the foot
    radius = float(limb.radii[3])

    def at(x: float, y: float, z: float) -> Array:
        return np.asarray(ankle + frame @ np.array([x, y, z]) * length)

    heel, ball = at(0.0, -0.16, -0.16), at(0.0, -0.10, 0.62)
    shapes: list[Shape] = [
        tube(Tissue.SKIN, np.array([ankle, heel]), [limb.radii[2], 1.05 * radius], order=SKIN_LAYER, tag="solid"),
        tube(Tissue.SOFT, np.array([ankle, heel]), [limb.radii[2], radius], inset=0.3, order=SOFT_LAYER),
        tube(Tissue.SOFT, np.array([ankle, ball]), 0.6 * radius, order=SOFT_LAYER),
        tube(Tissue.CARTILAGE, np.array([heel, at(0, -0.08, 0.10)]), 0.6 * radius, order=INNER_LAYER),
    ]
    for offset in np.linspace(-1.0, 0.8, size.build.toes):
        toe = at(0.17 * offset, -0.10, 0.90 - 0.05 * abs(offset))
        side = np.array([at(0.06 * offset, -0.06, 0.0), at(0.15 * offset, -0.10, 0.62), toe])
        shapes.append(tube(Tissue.SKIN, side, np.array([1.0, 0.72, 0.45]) * radius, order=SKIN_LAYER, tag="solid"))
        ray = np.array([at(0.09 * offset, -0.08, 0.32), at(0.14 * offset, -0.10, 0.64)])
        shapes.append(tube(Tissue.BONE, ray, 0.14 + 0.012 * length, order=BONE_LAYER))
    return shapes
