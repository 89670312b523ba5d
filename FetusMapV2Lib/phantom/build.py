"""How one body differs from the usual one: proportions, the shape of its surface, nape, belly, hands and feet."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from FetusMapV2Lib.phantom.body_plan import USUAL_PLAN, BodyPlan, draw_plan
from FetusMapV2Lib.phantom.scene_options import CURRENT, EARLIER
from FetusMapV2Lib.phantom.shapes import Array, Ellipsoid, Shape, Shell, Tube

#: Proportions differ by up to this share.
MOST = 0.15
_WAVES = 6
#: Anatomies in which the length of all four limbs differs more, evenly: tables of bones disagree, as they begin at
#: other ages and measure other parts, and a network that has hardly seen a long limb puts its end where it usually is.
_LIMBS = {"2026-6": (0.9, 1.35)}


@dataclass(frozen=True)
class Build:
    """One individual's body. The defaults are the body of anatomy "2026-1", the same for all.

    Attributes:
        measures: factor of measures of `Size` by name.
        shoulders, hips: factor of the distance of the joints from the midline.
        arm_girth, leg_girth: factor of the limbs' radii.
        outline: amplitude and phase of the waves along the trunk's half width, then of its half depth.
        nuchal_mm: thickness of the nuchal translucency, 10.8-14 weeks; 0: thin, drawn with the organs.
        hernia_mm: radius of the bowel that still lies in the base of the cord; 0 = none.
        hand: spread of the fingers and how far they are curled (0-1).
        toes: on each foot.
        marks_on_skin: whether crest and forehead lie on the skin, else on the skull.
        plan: where the parts lie.
        waves: (displacement x, y, z, wave vector x, y, z, phase) of the warp of the body, mm and 1/mm.
    """

    measures: tuple[tuple[str, float], ...] = ()
    shoulders: float = 1.0
    hips: float = 1.0
    arm_girth: float = 1.0
    leg_girth: float = 1.0
    outline: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    nuchal_mm: float = 0.0
    hernia_mm: float = 0.0
    hand: tuple[float, float] = (1.0, 0.0)
    toes: int = 4
    marks_on_skin: bool = False
    plan: BodyPlan = USUAL_PLAN
    waves: tuple[tuple[float, ...], ...] = ()

    def outline_factors(self, place: float) -> tuple[float, float]:
        """Factors of the trunk's half width and half depth at a place along the spine (0-1)."""
        wide, wide_phase, deep, deep_phase = self.outline
        wider, deeper = self.plan.tapered(place)
        return (
            wider * (1 + wide * float(np.sin(7 * place + wide_phase))),
            deeper * (1 + deep * float(np.sin(7 * place + deep_phase))),
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        values = asdict(replace(self, waves=())) | {"measures": dict(self.measures)}
        if self.plan == USUAL_PLAN:
            del values["plan"]
        return values


def draw_build(generator: np.random.Generator, days: float, crl: float, anatomy: str = CURRENT) -> Build:
    """A random body of a gestational age (days) and crown-rump length (mm) in one of `scene_options.ANATOMIES`."""

    def factor(sd: float, most: float = MOST) -> float:
        return 1.0 + float(np.clip(generator.normal(0.0, sd), -most, most))

    limbs = float(generator.uniform(*_LIMBS[anatomy])) if anatomy in _LIMBS else factor(0.06)
    arms, legs = factor(0.05), factor(0.05)
    measures = {
        "bpd": factor(0.05),
        "ofd": factor(0.05),
        "ac": factor(0.07),
        "humerus_joint": limbs * arms,
        "forearm_joint": limbs * arms * factor(0.04),
        "femur_joint": limbs * legs,
        "tibia_joint": limbs * legs * factor(0.04),
        "hand": factor(0.08),
        "foot": factor(0.08),
        "fluid_ml": float(np.exp(generator.uniform(np.log(0.8), np.log(1.8)))),
    }
    week = days / 7
    herniated = generator.random() < np.interp(week, [10.8, 11.3, 12.2], [0.85, 0.45, 0.0])
    return Build(
        measures=tuple(measures.items()),
        shoulders=factor(0.08),
        hips=factor(0.08),
        arm_girth=factor(0.10, 0.25),
        leg_girth=factor(0.10, 0.25),
        outline=(*_wave(generator), *_wave(generator)),
        nuchal_mm=float(np.clip(np.exp(generator.normal(np.log(1.6), 0.35)), 1.0, 4.0)),
        hernia_mm=float(generator.uniform(1.6, 3.4)) if herniated else 0.0,
        hand=(float(generator.uniform(0.6, 1.4)), float(generator.uniform(0.0, 1.0))),
        toes=5,
        marks_on_skin=True,
        waves=_warp(generator, crl),
        plan=draw_plan(generator, anatomy) if anatomy not in EARLIER else USUAL_PLAN,
    )


def _wave(generator: np.random.Generator) -> tuple[float, float]:
    return float(generator.uniform(0.0, 0.10)), float(generator.uniform(0, 2 * np.pi))


def _warp(generator: np.random.Generator, crl: float) -> tuple[tuple[float, ...], ...]:
    """Waves of 0.5 to 1.6 CRL in random directions, each stretching the body by some 5 % where it is steepest."""
    rows = []
    for _ in range(_WAVES):
        direction, shift = generator.normal(size=3), generator.normal(size=3)
        number = 2 * np.pi / (crl * generator.uniform(0.5, 1.6))
        vector = number * direction / np.linalg.norm(direction)
        amount = float(generator.normal(0.0, 0.055)) / number * shift / np.linalg.norm(shift)
        rows.append((*amount.tolist(), *vector.tolist(), float(generator.uniform(0, 2 * np.pi))))
    return tuple(rows)


def warped_points(points: Array, build: Build) -> Array:
    """Points (..., 3) of the body after its warp, mm."""
    if not build.waves:
        return points
    rows = np.array(build.waves)
    phase = points @ rows[:, 3:6].T + rows[:, 6]
    return np.asarray(points + np.sin(phase) @ rows[:, :3])


def _stretch(point: Array, build: Build) -> Array:
    """(3, 3) derivative of the warp at a point."""
    rows = np.array(build.waves)
    slope = np.cos(point @ rows[:, 3:6].T + rows[:, 6])
    return np.asarray(np.eye(3) + np.einsum("w,wx,wy->xy", slope, rows[:, :3], rows[:, 3:6]))


def warped_shape(shape: Shape, build: Build) -> Shape:
    """A shape of the body after its warp: smooth enough for an ellipsoid to stay one."""
    if not build.waves:
        return shape
    if isinstance(shape, Tube):
        return replace(shape, points=warped_points(shape.points, build))
    if isinstance(shape, Ellipsoid):
        return _warped_ellipsoid(shape, build)[0]
    body, turned = _warped_ellipsoid(shape.body, build)
    plates = shape.plates.copy()
    plates[:, :3] = plates[:, :3] @ turned
    return Shell(body, shape.thickness, plates)


def _warped_ellipsoid(body: Ellipsoid, build: Build) -> tuple[Ellipsoid, Array]:
    """The ellipsoid nearest to the warped one, and the turn (3, 3) of its unit sphere: columns are its new axes."""
    matrix = _stretch(body.centre, build) @ (body.axes * np.asarray(body.radii))
    axes, radii, turn = np.linalg.svd(matrix)
    # Axes keep a right-handed frame; a flip of an axis leaves the ellipsoid as it is.
    if np.linalg.det(axes) < 0:
        axes[:, 2] *= -1
        turn = turn * np.array([[1.0], [1.0], [-1.0]])
    return replace(body, centre=warped_points(body.centre, build), axes=axes, radii=radii), np.asarray(turn.T)
