"""Where the parts of one body lie: heights of the face, joint of head and neck, levels along the spine, pelvis.

Until anatomy "2026-2" they were the same for all; a network could learn them by heart and did not need to look.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from FetusMapV2Lib.phantom.scene_options import CURRENT
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


#: Ranges of what a plan draws, by anatomy. `atlas_back` and `atlas_up` are the two of `atlas`, `chin` is the chin below
#: the nose in half OFDs, `sacrum` how far the lumbosacral spine lies above the hips along the spine.
_RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "2026-3": {
        "cranium": (0.76, 0.87), "atlas_back": (0.10, 0.30), "atlas_up": (-0.88, -0.56),
        "nose": (0.70, 1.05), "chin": (0.34, 0.50),
        "upper": (0.11, 0.22), "cord": (0.68, 0.74), "sacrum": (0.06, 0.13), "hip": (0.85, 0.93),
        "hips_forward": (0.22, 0.56), "seat": (1.0, 2.3),
        "shoulders": (1.0, 1.0), "column": (1.0, 1.0), "tail_width": (1.0, 1.0), "tail_depth": (1.0, 1.0),
    },
    "2026-4": {
        "cranium": (0.72, 0.88), "atlas_back": (0.08, 0.30), "atlas_up": (-0.88, -0.46),
        "nose": (0.70, 1.10), "chin": (0.34, 0.50),
        "upper": (0.08, 0.22), "cord": (0.52, 0.73), "sacrum": (0.03, 0.13), "hip": (0.82, 0.93),
        "hips_forward": (0.15, 0.56), "seat": (1.0, 2.6),
        "shoulders": (0.95, 1.25), "column": (0.9, 1.6), "tail_width": (0.62, 1.12), "tail_depth": (0.52, 1.06),
    },
}  # fmt: skip
_RANGES["2026-5"] = _RANGES["2026-6"] = _RANGES["2026-4"]


def draw_plan(generator: np.random.Generator, anatomy: str = CURRENT) -> BodyPlan:
    """A random plan of anatomy "2026-3", or of the later ones, which have bodies that differ more.

    The ranges are even, and wider than individuals differ: what is typical at this age is not agreed on, and a network
    that has seen one share alone does not look. Nine of ten bodies have the upper spine at 40 to 54 % of the way from
    crown to rump (in "2026-4" 37 to 54), the cord insertion at 70 to 82 (64 to 79) and the lower spine at 78 to 87
    (75 to 88).
    """
    ranges = _RANGES[anatomy]

    def draw(what: str) -> float:
        low, high = ranges[what]
        # What does not vary takes nothing from the generator, so that the seeds of an anatomy keep their bodies.
        return low if low == high else float(generator.uniform(low, high))

    nose, hip = draw("nose"), draw("hip")
    return BodyPlan(
        cranium=draw("cranium"),
        atlas=(draw("atlas_back"), draw("atlas_up")),
        nose=nose,
        jaw=draw("chin") / (_CHIN * nose),
        levels=(draw("upper"), draw("cord"), hip - draw("sacrum"), hip),
        hips_forward=draw("hips_forward"),
        seat=draw("seat"),
        shoulders=draw("shoulders"),
        column=draw("column"),
        tail=(draw("tail_width"), draw("tail_depth")),
        by_schema=True,
    )
