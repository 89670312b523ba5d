"""Where the parts of one body lie: heights of the face, joint of head and neck, levels along the spine, pelvis.

Until anatomy "2026-2" they were the same for all; a network could learn them by heart and did not need to look.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from FetusMapV2Lib.phantom.shapes import Array

#: Levels along the spine, 0 at the atlas and 1 at the tip of the coccyx, of the usual body.
UPPER_THORACIC, SHOULDER, CORD_INSERTION, LUMBOSACRAL, HIP = 0.215, 0.225, 0.715, 0.82, 0.885
#: Levels between which the trunk tapers.
_TAIL = (0.48, 0.86)
#: Height of the nasal tip in half OFDs from the middle of the brain case, and of the chin below it.
_NOSE, _CHIN = -0.62, 0.36


@dataclass(frozen=True)
class BodyPlan:
    """Of one individual. The defaults are the body of the anatomies "2026-1" and "2026-2".

    Attributes:
        cranium: height of the brain case over the OFD.
        atlas: where the neck meets the head: behind and above the middle of the brain case, half OFDs.
        nose, jaw: factor of the face's heights from the brain's middle to the nose, and from nose to chin.
        levels: where upper thoracic spine, cord insertion, lumbosacral spine and hips lie along the spine (0-1).
        hips_forward: distance of the hips in front of the spine, girths.
        seat: factor of how far the buttocks reach below the spine.
        shoulders: factor of the distance of the shoulders from the midline.
        column: factor of the thickness of the vertebral bodies.
        tail: factors of half width and half depth of the trunk where the spine ends; above the liver they are 1.
        by_schema: whether landmarks lie where the schema's visible criteria say, and the face is drawn to show them.
    """

    cranium: float = 0.84
    atlas: tuple[float, float] = (0.20, -0.86)
    nose: float = 1.0
    jaw: float = 1.0
    levels: tuple[float, float, float, float] = (UPPER_THORACIC, CORD_INSERTION, LUMBOSACRAL, HIP)
    hips_forward: float = 0.56
    seat: float = 1.0
    shoulders: float = 1.0
    column: float = 1.0
    tail: tuple[float, float] = (1.0, 1.0)
    by_schema: bool = False

    def along(self, level: float) -> float:
        """Where a level of the usual body lies along this one's spine; beyond its ends nothing moves."""
        usual = BodyPlan.levels
        if self.levels == usual or not 0 < level < 1:
            return level
        return float(np.interp(level, (0.0, *usual, 1.0), (0.0, *self.levels, 1.0)))

    def tapered(self, level: float) -> tuple[float, float]:
        """Factors of the trunk's half width and half depth at a level along the spine."""
        share = float(np.interp(level, _TAIL, (0.0, 1.0)))
        return 1 + share * (self.tail[0] - 1), 1 + share * (self.tail[1] - 1)

    def face_heights(self, heights: Array) -> Array:
        """Heights (half OFDs) of points of the usual face in this one."""
        if self.nose == self.jaw == 1.0:
            return heights
        below = np.minimum(heights - _NOSE, 0.0) * self.jaw
        return np.asarray((np.maximum(heights, _NOSE) + below) * np.where(heights < 0, self.nose, 1.0))

    def face(self, points: Array) -> Array:
        """(..., 3) points of the usual face in this one, half OFDs."""
        return np.concatenate([points[..., :2], self.face_heights(points[..., 2:])], axis=-1)


#: The body of the anatomies "2026-1" and "2026-2".
USUAL_PLAN = BodyPlan()


def draw_plan(generator: np.random.Generator, anatomy: str = "2026-3") -> BodyPlan:
    """A random plan of anatomy "2026-3", or of "2026-4", which has bodies that differ more.

    The ranges are even, and wider than individuals differ: what is typical at this age is not agreed on, and a network
    that has seen one share alone does not look. Nine of ten bodies have the upper spine at 40 to 54 % of the way from
    crown to rump (in "2026-4" 37 to 54), the cord insertion at 70 to 82 (64 to 79) and the lower spine at 78 to 87
    (75 to 88).
    """
    if anatomy == "2026-4":
        return _draw_wide_plan(generator)
    draw = generator.uniform
    nose = float(draw(0.70, 1.05))
    hip = float(draw(0.85, 0.93))
    return BodyPlan(
        cranium=float(draw(0.76, 0.87)),
        atlas=(float(draw(0.10, 0.30)), float(draw(-0.88, -0.56))),
        nose=nose,
        jaw=float(draw(0.34, 0.50)) / (_CHIN * nose),
        levels=(float(draw(0.11, 0.22)), float(draw(0.68, 0.74)), hip - float(draw(0.06, 0.13)), hip),
        hips_forward=float(draw(0.22, 0.56)),
        seat=float(draw(1.0, 2.3)),
        by_schema=True,
    )


def _draw_wide_plan(generator: np.random.Generator) -> BodyPlan:
    draw = generator.uniform
    nose = float(draw(0.70, 1.10))
    hip = float(draw(0.82, 0.93))
    return BodyPlan(
        cranium=float(draw(0.72, 0.88)),
        atlas=(float(draw(0.08, 0.30)), float(draw(-0.88, -0.46))),
        nose=nose,
        jaw=float(draw(0.34, 0.50)) / (_CHIN * nose),
        levels=(float(draw(0.08, 0.22)), float(draw(0.52, 0.73)), hip - float(draw(0.03, 0.13)), hip),
        hips_forward=float(draw(0.15, 0.56)),
        seat=float(draw(1.0, 2.6)),
        shoulders=float(draw(0.95, 1.25)),
        column=float(draw(0.9, 1.6)),
        tail=(float(draw(0.62, 1.12)), float(draw(0.52, 1.06))),
        by_schema=True,
    )
