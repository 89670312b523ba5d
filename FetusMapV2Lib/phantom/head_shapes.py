"""The head: brain case with plates and sutures, brain, eyes, nose, jaws. Drawn in units of half the OFD."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from FetusMapV2Lib.phantom.body_plan import BodyPlan
from FetusMapV2Lib.phantom.layers import BONE_LAYER, INNER_LAYER, ORGAN_LAYER, SKIN_LAYER, SOFT_LAYER
from FetusMapV2Lib.phantom.shapes import Array, Ellipsoid, Rigid, Shape, Shell, Tube, spline, turn, unit
from FetusMapV2Lib.phantom.skeleton import SKIN, Skeleton, face_marks
from FetusMapV2Lib.phantom.tissues import Tissue

# Bony plates of the calvaria: centre (units of the radii) and half angle when ossified (15 weeks). What lies
# between them is the sutures and fontanelles; younger plates are smaller.
_PLATES = (
    ((0.50, -0.78, 0.25), 29.0),  # frontal
    ((0.74, 0.22, 0.60), 41.0),  # parietal
    ((0.93, 0.05, -0.32), 24.0),  # temporal squama
)
_OCCIPITAL = ((0.0, 0.93, -0.30), 34.0)


class _Drawing:
    """Collects shapes given in head units (half the OFD), x mirrored for pairs; `flat` is a factor of all heights."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.scale = skeleton.unit
        self.head: Rigid = skeleton.head
        self.breadth = skeleton.size.bpd / skeleton.size.ofd
        self.plan: BodyPlan = skeleton.plan
        self.flat = 1.0
        self.shapes: list[Shape] = []

    def _place(self, points: Array) -> Array:
        return np.asarray(np.asarray(points, float) * np.array([1.0, 1.0, self.flat]) * self.scale)

    def ellipsoid(
        self, tissue: Tissue, centre: Array, radii: Array, order: int, tilt: Array | None = None
    ) -> Ellipsoid:
        body = Ellipsoid(
            tissue, self._place(centre), self._place(radii),
            np.eye(3) if tilt is None else tilt, order=order,
        ).transformed(self.head)  # fmt: skip
        self.shapes.append(body)
        return body

    def tube(self, tissue: Tissue, points: Array, radius: float | Array, order: int) -> None:
        points = self._place(points)
        radii = np.broadcast_to(np.asarray(radius, float) * self.scale, len(points))
        self.shapes.append(Tube(tissue, points, radii, order=order).transformed(self.head))

    def pair(self, tissue: Tissue, centre: Array, radii: Array, order: int, yaw: float = 0.0) -> None:
        for side in (1.0, -1.0):
            self.ellipsoid(tissue, np.asarray(centre) * np.array([side, 1, 1]), radii, order, turn(2, side * yaw))


def head_shapes(skeleton: Skeleton, variation: np.random.Generator) -> list[Shape]:
    """Shapes of the head, body frame."""
    drawing = _Drawing(skeleton)
    _skin(drawing, skeleton)
    _brain(drawing, variation)
    _calvaria(drawing, skeleton)
    _face(drawing)
    return drawing.shapes


def _skin(drawing: _Drawing, skeleton: Skeleton) -> None:
    skin = SKIN * skeleton.size.girth
    for body in (skeleton.cranium, *skeleton.face):
        drawing.shapes.append(replace(body, order=SKIN_LAYER))
        drawing.shapes.append(replace(body, tissue=Tissue.SOFT, inset=0.7 * skin, order=SOFT_LAYER, tag=""))
    # Ears: low on the sides at this age.
    b = drawing.breadth
    drawing.pair(
        Tissue.SKIN, drawing.plan.face(np.array([0.97 * b, 0.16, -0.46])), np.array([0.07, 0.11, 0.17]), SKIN_LAYER
    )


def _brain(drawing: _Drawing, variation: np.random.Generator) -> None:
    b, c = drawing.breadth, drawing.plan.cranium
    inner = 0.96
    drawing.ellipsoid(Tissue.BRAIN, np.zeros(3), np.array([b, 1.0, c]) * inner, ORGAN_LAYER)
    drawing.flat = c / BodyPlan.cranium
    # Thin cortex around wide lateral ventricles, filled by the choroid plexus: the "butterfly".
    wide = np.array([0.33 * b, 0.66, 0.40])
    drawing.pair(Tissue.VENTRICLE, np.array([0.42 * b, 0.02, 0.16]), wide, ORGAN_LAYER, -6.0)
    fill = variation.uniform(0.70, 0.86)
    drawing.pair(
        Tissue.CHOROID, np.array([0.43 * b, 0.14, 0.12]), np.array([0.30 * b, 0.52, 0.33]) * fill, INNER_LAYER, -9.0
    )
    drawing.pair(Tissue.BRAIN, np.array([0.16 * b, 0.02, -0.20]), np.array([0.15 * b, 0.26, 0.18]), INNER_LAYER)
    # Posterior fossa: fluid with the cerebellum in it.
    drawing.ellipsoid(Tissue.VENTRICLE, np.array([0, 0.58, -0.42]), np.array([0.48 * b, 0.24, 0.20]), ORGAN_LAYER)
    drawing.pair(Tissue.BRAIN, np.array([0.20 * b, 0.52, -0.40]), np.array([0.22 * b, 0.16, 0.15]), INNER_LAYER)
    drawing.tube(Tissue.BRAIN, np.array([[0, 0.16, -0.25], [0, 0.24, -0.60], [0, 0.22, -0.86]]), 0.11, INNER_LAYER)
    drawing.flat = 1.0
    drawing.ellipsoid(Tissue.FALX, np.array([0, 0.0, 0.14]), np.array([0.022, 0.93, 0.66 * c]), INNER_LAYER)


def _plates(ossified: float) -> Array:
    """Rows (u, cos of the half angle) of the ossified plates."""
    grown = 0.74 + 0.26 * ossified
    rows = [(*unit(np.array(_OCCIPITAL[0])), np.cos(np.radians(_OCCIPITAL[1] * grown)))]
    for centre, angle in _PLATES:
        for side in (1.0, -1.0):
            direction = unit(np.array(centre) * np.array([side, 1, 1]))
            rows.append((*direction, np.cos(np.radians(angle * grown))))
    return np.array(rows)


def _calvaria(drawing: _Drawing, skeleton: Skeleton) -> None:
    b, c = drawing.breadth, drawing.plan.cranium
    body = drawing.ellipsoid(Tissue.MEMBRANE, np.zeros(3), np.array([b, 1.0, c]), BONE_LAYER)
    drawing.shapes.pop()
    ossified = skeleton.size.ossified
    thickness = (0.030 + 0.012 * ossified) * drawing.scale
    drawing.shapes.append(Shell(body, thickness))
    bone = replace(body, tissue=Tissue.BONE, order=BONE_LAYER + 1)
    drawing.shapes.append(Shell(bone, thickness, _plates(ossified)))


def _face(drawing: _Drawing) -> None:
    b = drawing.breadth / 0.83
    lowered = drawing.plan.face
    eye = lowered(np.array([0.34 * b, -0.80, -0.44]))
    drawing.pair(Tissue.ORBIT, eye, np.array([0.155, 0.155, 0.155]), BONE_LAYER + 4)
    drawing.pair(Tissue.LENS, eye + np.array([0.01, -0.09, 0.0]), np.array([0.05, 0.035, 0.05]), BONE_LAYER + 5)
    bone = BONE_LAYER + 2
    marks = face_marks(drawing.plan)
    nose, tip = marks["nasal_bone"], marks["nasal_tip"]
    slope = unit(tip - nose)
    drawing.tube(Tissue.BONE, np.array([nose - 0.11 * slope, nose + 0.10 * slope]), 0.042, bone)
    # Orbital rims, zygoma, maxilla with the palate, mandible.
    for side in (1.0, -1.0):
        mirror = np.array([side, 1, 1])
        rim = np.array([[0.10 * b, -0.90, -0.30], [0.34 * b, -0.90, -0.24], [0.52 * b, -0.72, -0.36]])
        drawing.tube(Tissue.BONE, spline(lowered(rim) * mirror, 7), 0.03, bone)
        cheek = np.array([[0.14 * b, -0.90, -0.62], [0.36 * b, -0.80, -0.64], [0.54 * b, -0.52, -0.60]])
        drawing.tube(Tissue.BONE, spline(lowered(cheek) * mirror, 7), 0.035, bone)
        jaw = np.array([
            [0.0, -0.82, -1.06], [0.17 * b, -0.72, -1.05], [0.33 * b, -0.42, -0.98], [0.42 * b, -0.16, -0.78]
        ])  # fmt: skip
        drawing.tube(Tissue.BONE, spline(lowered(jaw) * mirror, 10), 0.045, bone)
    arch = np.linspace(-1.0, 1.0, 11)
    maxilla = np.stack([0.24 * b * arch, -0.90 + 0.34 * arch**2, np.full(11, -0.78)], axis=1)
    drawing.tube(Tissue.BONE, lowered(maxilla), 0.05, bone)
    drawing.tube(Tissue.BONE, lowered(np.array([[0, -0.84, -0.76], [0, -0.48, -0.72]])), 0.04, bone)
    drawing.ellipsoid(Tissue.FLUID, lowered(np.array([0.0, -0.62, -0.90])), np.array([0.14, 0.20, 0.025]), BONE_LAYER)
    # Skull base: sphenoid and the basal part of the occipital, petrous ridges.
    base = np.array([[0, -0.70, -0.52], [0, -0.25, -0.52], [0, 0.06, -0.70]])
    drawing.tube(Tissue.BONE, lowered(base), 0.055, bone)
    for side in (1.0, -1.0):
        ridge = np.array([[0.12 * b * side, 0.0, -0.62], [0.55 * b * side, 0.18, -0.52]])
        drawing.tube(Tissue.BONE, lowered(ridge), 0.05, bone)
        wing = np.array([[0.10 * b * side, -0.36, -0.50], [0.60 * b * side, -0.46, -0.42]])
        drawing.tube(Tissue.BONE, lowered(wing), 0.04, bone)
