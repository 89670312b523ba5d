"""The planes in which head and abdomen are measured, proposed from the landmarks.

Both lie across the body: x to the fetal left, y to the back, the normal to the crown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.dating import gestational_age
from FetusMapV2Lib.anatomy.growth_charts import expected_size_mm
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.registration import MINIMUM_POINTS, register

Array = NDArray[np.float64]

#: Where landmarks of the head lie, from the middle of the brain case, in half occipitofrontal diameters: left, back,
#: up. Brain case of 10-15 weeks, large above a small face; the same proportions as the simulated bodies have.
_HEAD = {
    "cranial_crest": (0.0, 0.0, 0.88),
    "forehead": (0.0, -1.0, -0.19),
    "nasal_bone": (0.0, -0.965, -0.46),
    "nasal_tip": (0.0, -1.13, -0.66),
    "chin": (0.0, -0.84, -1.14),
}
#: Height of the brain case above its largest axial section, and its breadth, in half occipitofrontal diameters.
HEAD_HEIGHT, HEAD_BREADTH = 0.84, 0.73
#: Share of the way from the upper thoracic to the lumbosacral spine at which the stomach lies, along the spine.
_STOMACH = 0.71
#: Places of upper thoracic spine, lumbosacral spine and rump along the spine, in units of the first two's distance.
_PLACES = np.array([0.0, 1.0, 1.5])
#: The stomach's section reaches from this share of its depth behind the spine's middle to the belly.
_BEHIND = 0.1


@dataclass(frozen=True, eq=False)
class SectionPlane:
    """A plane across head or abdomen in RAS mm; ``cross(x_axis, y_axis) = normal``.

    Attributes:
        key: "head" or "abdomen".
        origin: (3,) expected middle of the section.
        x_axis, y_axis, normal: (3,) unit vectors to the fetal left, back and crown.
        half_axes_mm: expected half axes of the outline along x and y.
    """

    key: str
    origin: Array
    x_axis: Array
    y_axis: Array
    normal: Array
    half_axes_mm: tuple[float, float]

    @property
    def axes(self) -> Array:
        """(3, 3) rotation, columns x, y and normal."""
        return np.stack([self.x_axis, self.y_axis, self.normal], axis=1)

    @property
    def matrix(self) -> Array:
        """(4, 4) from in-plane coordinates and height over the plane to RAS mm."""
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = self.axes, self.origin
        return matrix

    def to_world(self, points: Array) -> Array:
        """(N, 3) RAS mm of points (N, 2) in the plane or (N, 3) with their height over it."""
        points = np.asarray(points, dtype=np.float64)
        return np.asarray(self.origin + points @ self.axes[:, : points.shape[-1]].T)

    def to_plane(self, points_ras: Array) -> Array:
        """(N, 3) in-plane coordinates and height over the plane of RAS points."""
        return np.asarray((np.asarray(points_ras, dtype=np.float64) - self.origin) @ self.axes)


@dataclass(frozen=True)
class NoPlane:
    """Why there is no plane, one sentence."""

    reason: str


def head_plane(pose: Pose) -> SectionPlane | NoPlane:
    """The axial plane of the head at its largest section, which ISUOG asks for (2013;41:102-113).

    A template of the head's landmarks is registered to the pose; its size is held against the head circumference that
    is usual at the crown-rump length, as five points in one plane tell it poorly.
    """
    keys = [key for key in _HEAD if key in pose.schema.keys and pose.present[pose.schema.index(key)]]
    if len(keys) < MINIMUM_POINTS:
        return NoPlane("too few landmarks of the head")
    template = np.array([_HEAD[key] for key in keys])
    found = register(template, pose.positions[[pose.schema.index(key) for key in keys]])
    half = float(found.scale)
    usual = _usual(pose, "hc")
    if usual is not None:
        # A head of breadth b and length l has a circumference of about pi (b + l) / 2.
        half = math.sqrt(half * usual / (math.pi * (1 + HEAD_BREADTH)))
    x_axis, y_axis, normal = np.asarray(found.rotation).T
    return SectionPlane("head", found.matrix[:3, 3], x_axis, y_axis, normal, (HEAD_BREADTH * half, half))


def abdomen_plane(pose: Pose) -> SectionPlane | NoPlane:
    """The transverse plane of the abdomen at the level of the stomach, across the spine there.

    The spine is a parabola through its two landmarks and the rump; the section's middle lies between it and the belly.
    """
    schema = pose.schema
    upper, belly, lower = (pose.positions[row] for row in schema.trunk_frame_rows)
    rump = pose.positions[schema.crl_rows[1]]
    middle = pose.midsagittal_plane
    if middle is None or not np.isfinite(np.stack([upper, belly, lower])).all():
        return NoPlane("a landmark of the trunk is missing")
    left = np.cross(belly - upper, lower - upper)
    if not np.linalg.norm(left) > 0:
        return NoPlane("the landmarks of the trunk lie on one line")
    left = left / np.linalg.norm(left)
    point, along = _on_the_spine(upper, lower, rump)
    cranial = -along - (-along @ left) * left
    cranial = cranial / np.linalg.norm(cranial)
    dorsal = np.cross(cranial, left)
    usual = _usual(pose, "ac")
    if usual is None:
        depth = abs(float((belly - point) @ dorsal))
        usual = math.pi * depth * (1 + _BEHIND)
    half = usual / (2 * math.pi)
    return SectionPlane("abdomen", point - dorsal * (1 - 2 * _BEHIND) * half, left, dorsal, cranial, (half, half))


def _on_the_spine(upper: Array, lower: Array, rump: Array) -> tuple[Array, Array]:
    """The point of the spine at the stomach's level, and the unit direction of the spine there, to the rump."""
    if not np.isfinite(rump).all():
        direction = lower - upper
        return upper + _STOMACH * direction, direction / np.linalg.norm(direction)
    weights = np.polyfit(_PLACES, np.stack([upper, lower, rump]), 2)
    point = weights[0] * _STOMACH**2 + weights[1] * _STOMACH + weights[2]
    slope = 2 * weights[0] * _STOMACH + weights[1]
    return point, slope / np.linalg.norm(slope)


def _usual(pose: Pose, key: str) -> float | None:
    """The circumference that is usual at the pose's crown-rump length, mm; None without one."""
    crown, rump = (pose.positions[row] for row in pose.schema.crl_rows)
    days = gestational_age(float(np.linalg.norm(crown - rump))).days
    sizes = expected_size_mm(key, days) if math.isfinite(days) else None
    return None if sizes is None else sizes[0]
