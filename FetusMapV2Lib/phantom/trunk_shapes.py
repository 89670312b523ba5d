"""The trunk: skin, spine, ribs, girdles, and organs with left and right distinguished. Body frame, mm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from FetusMapV2Lib.phantom.body_plan import CORD_INSERTION, HIP, LUMBOSACRAL
from FetusMapV2Lib.phantom.layers import BONE_LAYER, INNER_LAYER, ORGAN_LAYER, SKIN_LAYER, SOFT_LAYER
from FetusMapV2Lib.phantom.shapes import Array, Ellipsoid, Shape, frame_along, spline, tube, turn
from FetusMapV2Lib.phantom.skeleton import (
    BACK,
    SKIN,
    Skeleton,
    has_nuchal_translucency,
    nuchal_bulge,
    without_skin,
)
from FetusMapV2Lib.phantom.tissues import Tissue

#: 7 cervical, 12 thoracic, 5 lumbar, 5 sacral vertebrae from the atlas down, at these places along the spine.
_VERTEBRAE = np.linspace(0.0, 0.97, 29)
_FIRST_RIB = 7
_FLESH = (Tissue.SOFT, Tissue.MUSCLE)


class _Drawing:
    """Places shapes by (place along the spine, x, y).

    x is to the left in half widths, y forward from the back in whole depths (0 skin of the back, 1 skin of the belly).
    """

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton = skeleton
        self.girth = skeleton.size.girth
        self.length = skeleton.spine.length
        self.shapes: list[Shape] = []

    def at(self, place: float, x: float, y: float) -> Array:
        width, depth = self.skeleton.outline_depth(place)
        local = np.array([x * width, BACK * self.girth - y * 2 * depth, 0.0])
        return self.skeleton.spine.at(place).points(local)

    def organ(
        self, tissue: Tissue, where: tuple[float, float, float], radii: Array, order: int, tilt: Array | None = None,
        over: tuple[Tissue, ...] = (),
    ) -> None:  # fmt: skip
        """An ellipsoid; radii in girths along left, posterior and cranial."""
        axes = self.skeleton.spine.at(where[0]).rotation @ (np.eye(3) if tilt is None else tilt)
        self.shapes.append(
            Ellipsoid(tissue, self.at(*where), np.asarray(radii, float) * self.girth, axes, order=order, over=over)
        )

    def line(self, tissue: Tissue, places: Array, radius: float, order: int, smooth: int = 0) -> None:
        """A tube through (place, x, y) rows; radius in girths."""
        points = np.array([self.at(*row) for row in places])
        self.shapes.append(tube(tissue, spline(points, smooth) if smooth else points, radius * self.girth, order=order))


def trunk_shapes(skeleton: Skeleton, variation: np.random.Generator) -> list[Shape]:
    """Shapes of neck and trunk, body frame."""
    drawing = _Drawing(skeleton)
    skin = SKIN * skeleton.size.girth
    for part in skeleton.trunk:
        drawing.shapes.append(replace(part, order=SKIN_LAYER))
        drawing.shapes.append(without_skin(part, skin, Tissue.SOFT, SOFT_LAYER))
    _nape(drawing, variation)
    _chest(drawing, variation)
    _belly(drawing, variation)
    _hernia(drawing)
    _spine(drawing)
    _ribs(drawing)
    _girdles(drawing)
    return drawing.shapes


def _nape(drawing: _Drawing, variation: np.random.Generator) -> None:
    """The nuchal translucency: a thin fluid layer under the skin of the neck, 11-14 weeks."""
    thickness = variation.uniform(0.5, 1.1)
    size = drawing.skeleton.size
    if not has_nuchal_translucency(size):
        return
    places = (0.02, 0.08, 0.14, 0.20)
    if not size.build.nuchal_mm:
        points = [drawing.at(place, 0.0, 0.035) for place in places]
        drawing.shapes.append(tube(Tissue.EXTRA_FLUID, np.array(points), 0.6 * thickness, order=ORGAN_LAYER))
        return
    # Wider ones lift the skin: a flat cushion that is thickest in the middle of the nape.
    half, lifted = size.build.nuchal_mm / 2, nuchal_bulge(size)
    depth = (lifted - half) / (2 * drawing.skeleton.outline_depth(0.1)[1])
    swell = np.array([0.7, 1.0, 0.9, 0.5])
    for x, thinner in ((-0.45, 0.6), (0.0, 1.0), (0.45, 0.6)):
        path = np.array([drawing.at(place, x, -depth * thinner) for place in places])
        skin = half * swell * thinner + SKIN * size.girth
        drawing.shapes.append(tube(Tissue.SKIN, path, skin, order=SKIN_LAYER))
        drawing.shapes.append(tube(Tissue.EXTRA_FLUID, path, half * swell * thinner, order=ORGAN_LAYER))


def _hernia(drawing: _Drawing) -> None:
    """The bowel that lies in the base of the cord until 12 weeks."""
    radius = drawing.skeleton.size.build.hernia_mm
    if not radius:
        return
    frame = drawing.skeleton.spine.at(CORD_INSERTION)
    navel = drawing.at(CORD_INSERTION, 0.0, 1.0)
    centre = navel - frame.rotation[:, 1] * 0.75 * radius
    radii = np.array([0.9, 1.15, 0.9]) * radius
    drawing.shapes.append(Ellipsoid(Tissue.CORD, centre, radii, frame.rotation, order=ORGAN_LAYER))
    drawing.shapes.append(Ellipsoid(Tissue.BOWEL, centre, 0.8 * radii, frame.rotation, order=INNER_LAYER))


def _chest(drawing: _Drawing, variation: np.random.Generator) -> None:
    size = variation.uniform(0.92, 1.08)
    drawing.organ(Tissue.LUNG, (0.40, -0.46, 0.46), np.array([0.40, 0.56, 0.62]), ORGAN_LAYER, over=_FLESH)
    drawing.organ(Tissue.LUNG, (0.40, 0.46, 0.42), np.array([0.38, 0.50, 0.58]), ORGAN_LAYER, over=_FLESH)
    # The heart: a third of the chest, left of the midline, its apex to the left, forward and down.
    apex = turn(1, 38.0) @ turn(0, -42.0)
    heart = (0.43, 0.20, 0.62)
    drawing.organ(Tissue.HEART, heart, np.array([0.36, 0.36, 0.48]) * size, ORGAN_LAYER + 2, apex)
    for x, y, radius in ((0.34, 0.58, 0.15), (0.10, 0.70, 0.15), (0.16, 0.46, 0.13), (-0.02, 0.58, 0.13)):
        shift = 0.015 if radius > 0.14 else -0.02
        drawing.organ(
            Tissue.BLOOD, (heart[0] + shift, x, y), np.array([0.62, 0.62, 1.15]) * radius * size, INNER_LAYER, apex
        )
    drawing.organ(Tissue.CARTILAGE, (0.32, 0.0, 0.52), np.array([0.28, 0.24, 0.22]), ORGAN_LAYER)  # thymus: dark
    drawing.line(Tissue.BLOOD, np.array([(0.34, 0.12, 0.40), (0.42, 0.14, 0.30), (0.60, 0.08, 0.30), (0.80, 0, 0.34)]),
                 0.055, INNER_LAYER, 12)  # fmt: skip
    drawing.line(Tissue.BLOOD, np.array([(0.42, -0.10, 0.45), (0.60, -0.12, 0.36), (0.80, -0.05, 0.36)]),
                 0.05, INNER_LAYER, 9)  # fmt: skip
    drawing.line(Tissue.FLUID, np.array([(0.06, 0, 0.62), (0.20, 0, 0.62), (0.33, 0, 0.48)]), 0.045, ORGAN_LAYER)


def _belly(drawing: _Drawing, variation: np.random.Generator) -> None:
    # The liver fills the upper abdomen, most of it on the right.
    over = (*_FLESH, Tissue.LUNG)
    right, left = np.array([0.60, 0.74, 0.46]), np.array([0.48, 0.46, 0.28])
    drawing.organ(Tissue.LIVER, (0.585, -0.30, 0.56), right, ORGAN_LAYER, turn(1, 12.0), over)
    drawing.organ(Tissue.LIVER, (0.565, 0.30, 0.70), left, ORGAN_LAYER, turn(1, 14.0), over)
    # The stomach lies behind the left lobe.
    full = variation.uniform(0.75, 1.25)
    drawing.organ(Tissue.STOMACH, (0.615, 0.52, 0.46), np.array([0.20, 0.24, 0.30]) * full, INNER_LAYER, turn(0, 20.0))
    drawing.organ(Tissue.BOWEL, (0.72, 0.0, 0.64), np.array([0.62, 0.52, 0.36]), ORGAN_LAYER, over=_FLESH)
    for number in range(7):
        angle = 2 * np.pi * number / 7 + variation.uniform(-0.3, 0.3)
        where = (0.72 + 0.035 * np.sin(3 * angle), 0.40 * np.cos(angle), 0.64 + 0.16 * np.sin(angle))
        drawing.organ(Tissue.SOFT, where, np.array([0.11, 0.11, 0.09]), ORGAN_LAYER + 1)
    for side in (1.0, -1.0):
        # The right kidney lies a little lower, below the liver.
        level, whole, pelvis = 0.70 - 0.01 * side, np.array([0.18, 0.20, 0.30]), np.array([0.06, 0.07, 0.10])
        drawing.organ(Tissue.KIDNEY, (level, 0.42 * side, 0.30), whole, ORGAN_LAYER + 1)
        drawing.organ(Tissue.STOMACH, (level, 0.40 * side, 0.30), pelvis, INNER_LAYER)
    bladder = variation.uniform(0.6, 1.25)
    drawing.organ(Tissue.BLADDER, (0.85, 0.0, 0.66), np.array([0.20, 0.22, 0.26]) * bladder, INNER_LAYER)
    # Umbilical vein to the liver, arteries past the bladder.
    vein = np.array([(CORD_INSERTION, 0, 1.0), (0.66, 0.02, 0.88), (0.60, -0.08, 0.66)])
    drawing.line(Tissue.BLOOD, vein, 0.07, INNER_LAYER, 8)
    for side in (1.0, -1.0):
        rows = np.array([(CORD_INSERTION, 0.02 * side, 0.99), (0.80, 0.24 * side, 0.84), (0.87, 0.32 * side, 0.52)])
        drawing.line(Tissue.BLOOD, rows, 0.04, INNER_LAYER, 8)


def _spine(drawing: _Drawing) -> None:
    girth, spine = drawing.girth, drawing.skeleton.spine
    thick = girth * drawing.skeleton.plan.column
    at = np.linspace(0.0, 0.86, 25)
    canal = np.array([spine.at(float(place)).points(np.array([0, 0.125 * girth, 0])) for place in at])
    drawing.shapes.append(tube(Tissue.SPINAL_CORD, canal, 0.075 * girth, order=INNER_LAYER))
    column = np.array([spine.at(float(place)).shift for place in np.linspace(0.0, 0.97, 31)])
    drawing.shapes.append(tube(Tissue.CARTILAGE, column, np.linspace(0.085, 0.11, 31) * thick, order=INNER_LAYER))
    pitch = spine.length * float(_VERTEBRAE[1] - _VERTEBRAE[0])
    for number, place in enumerate(_VERTEBRAE):
        frame = spine.at(float(place))
        grown = np.interp(number, [0, 7, 19, 24, 28], [0.72, 0.90, 1.1, 1.1, 0.6])
        body, around = grown * thick, grown * girth
        centre = np.array([0.105 * body, 0.085 * body, min(0.36 * pitch, 0.1 * body)])
        drawing.shapes.append(Ellipsoid(Tissue.BONE, frame.shift, centre, frame.rotation, order=BONE_LAYER))
        for side in (1.0, -1.0):
            arch = np.array([(0.12 * side, 0.06, 0.0), (0.165 * side, 0.13, 0.0), (0.10 * side, 0.205, -0.03)]) * around
            drawing.shapes.append(tube(Tissue.BONE, frame.points(arch), 0.042 * around, order=BONE_LAYER))


def _ribs(drawing: _Drawing) -> None:
    """Twelve pairs inside the chest wall, sloping down to the front; the last two are short."""
    for number in range(12):
        place = float(_VERTEBRAE[_FIRST_RIB + number])
        reach = np.interp(number, [0, 2, 7, 9, 10, 11], [2.2, 2.45, 2.45, 2.1, 1.4, 1.0])
        angles = np.linspace(0.28, reach, 9)
        slope = np.interp(number, [0, 11], [0.05, 0.085])
        for side in (1.0, -1.0):
            points = []
            for angle in angles:
                level = place + slope * (1 - np.cos(angle)) / 2 * 1.3
                # An ellipse in the section: from the spine (angle 0) around the side to the front (angle pi).
                points.append(drawing.at(level, 0.88 * side * np.sin(angle), 0.5 - 0.42 * np.cos(angle)))
            radius = np.linspace(0.040, 0.034, len(points)) * drawing.girth
            drawing.shapes.append(tube(Tissue.BONE, np.array(points), radius, order=BONE_LAYER))


def _girdles(drawing: _Drawing) -> None:
    skeleton, girth = drawing.skeleton, drawing.girth
    for side in (1, -1):
        shoulder, hip = skeleton.shoulder(side), skeleton.hip(side)
        collar = [(-0.66 * side, -0.36, 0.02), (-0.32 * side, -0.34, 0.10), (-0.06 * side, -0.10, 0.14)]
        clavicle = spline(shoulder.points(np.array(collar) * girth), 7)
        drawing.shapes.append(tube(Tissue.BONE, clavicle, 0.045 * girth, order=BONE_LAYER))
        blade = shoulder.points(np.array([-0.22 * side, 0.26, -0.22]) * girth)
        axes = shoulder.rotation @ turn(2, 28.0 * side)
        radii = np.array([0.20, 0.045, 0.26]) * girth
        drawing.shapes.append(Ellipsoid(Tissue.BONE, blade, radii, axes, order=BONE_LAYER))
        wing = hip.points(np.array([-0.06 * side, 0.22, _wing_height(skeleton)]) * girth)
        axes = hip.rotation @ frame_along(np.array([0.35 * side, 0.0, 1.0]), np.array([-0.6 * side, 1.0, 0.0]))
        radii = np.array([0.06, 0.24, 0.20]) * girth
        drawing.shapes.append(Ellipsoid(Tissue.BONE, wing, radii, axes, order=BONE_LAYER))
        seat = hip.points(np.array([(-0.14 * side, 0.16, -0.14), (-0.10 * side, 0.22, -0.02)]) * girth)
        drawing.shapes.append(tube(Tissue.BONE, seat, 0.05 * girth, order=BONE_LAYER))
    breastbone = np.array([drawing.at(place, 0.0, 0.93) for place in (0.36, 0.44, 0.50)])
    drawing.shapes.append(tube(Tissue.CARTILAGE, breastbone, 0.05 * girth, order=BONE_LAYER))


def _wing_height(skeleton: Skeleton) -> float:
    """How far the middle of the iliac wings lies above the hips, girths: by the schema level with the lower spine."""
    if not skeleton.plan.by_schema:
        return 0.26
    hip, lower = skeleton.spine.at(HIP), skeleton.spine.at(LUMBOSACRAL)
    return float((lower.shift - hip.shift) @ hip.rotation[:, 2]) / skeleton.size.girth
