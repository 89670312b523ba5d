"""`BodyFrame`: where a fetus lies, how it is turned and how large it is, from its head and trunk landmarks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.registration import register
from FetusMapV2Lib.anatomy.schema import Schema

Array = NDArray[np.float64]

#: Views along body frames this close give a network nearly the same image.
_SAME_VIEW_DEGREES = 5.0
_SAME_VIEW_SCALE = 0.05
#: Largest turn, shift (crown-rump lengths) and change of size of one body from one frame to the next.
_NEAR_DEGREES = 45.0
_NEAR_SHIFT = 0.5
_NEAR_SCALE = 0.2
_MINIMUM_POINTS = 4
_ROBUST_PASSES = 4


@dataclass(frozen=True, eq=False)
class BodyFrame:
    """Where a fetus lies, how it is turned and how large it is.

    Attributes:
        centre: (3,) RAS mm, centroid of the head and trunk in the canonical pose.
        axes: (3, 3) proper rotation; columns are fetal left, posterior and cranial in RAS.
        length_mm: crown-rump length of the registered canonical pose.
    """

    centre: Array
    axes: Array
    length_mm: float

    def turned(self, turn: Rotation, scale: float = 1.0, shift_mm: Array | None = None) -> BodyFrame:
        """The frame after a turn about its own axes, a change of size and a shift (RAS mm)."""
        shift = np.zeros(3) if shift_mm is None else np.asarray(shift_mm, float)
        return BodyFrame(self.centre + shift, self.axes @ turn.as_matrix(), self.length_mm * float(scale))

    def jittered(self, generator: np.random.Generator, degrees: float, log_scale: float, shift: float) -> BodyFrame:
        """A frame with random errors, as a first view might find it.

        Args:
            generator: source of randomness.
            degrees: standard deviation of the turn about a random axis.
            log_scale: standard deviation of the logarithm of the size.
            shift: standard deviation of the shift along each axis, in crown-rump lengths.
        """
        axis = generator.normal(size=3)
        axis /= np.linalg.norm(axis)
        turn = Rotation.from_rotvec(axis * np.radians(degrees) * generator.normal())
        scale = float(np.exp(log_scale * np.clip(generator.normal(), -2.5, 2.5)))
        return self.turned(turn, scale, shift * self.length_mm * generator.normal(size=3))

    def angle_to(self, other: BodyFrame) -> float:
        """Angle in degrees of the rotation that leads from this frame to `other`."""
        return float(np.degrees(Rotation.from_matrix(self.axes.T @ other.axes).magnitude()))

    def gives_same_view_as(self, other: BodyFrame) -> bool:
        """Whether a view along `other` would show nearly the same image as one along this frame."""
        return self.angle_to(other) <= _SAME_VIEW_DEGREES and self._growth(other) <= _SAME_VIEW_SCALE

    def is_near(
        self,
        other: BodyFrame | None,
        degrees: float = _NEAR_DEGREES,
        shift: float = _NEAR_SHIFT,
        growth: float = _NEAR_SCALE,
    ) -> bool:
        """Whether both may be of one body, unless told otherwise in consecutive frames of a sequence.

        Args:
            other: None, if there is no other, is never near.
            degrees: greatest turn.
            shift: greatest shift of the centre, in lengths of this frame.
            growth: greatest change of the logarithm of the length.
        """
        if other is None:
            return False
        apart = float(np.linalg.norm(other.centre - self.centre)) / self.length_mm
        return self.angle_to(other) <= degrees and apart <= shift and self._growth(other) <= growth

    def _growth(self, other: BodyFrame) -> float:
        return abs(math.log(other.length_mm / self.length_mm))


def canonical_template(poses: Array, schema: Schema) -> Array:
    """The mean pose in the canonical frame, from which body frames are measured.

    Poses are aligned to one another on head and trunk (generalised Procrustes), averaged over landmarks that are
    present, turned so that x is fetal left, y posterior and z cranial, centred on the head-and-trunk centroid and
    scaled to a crown-rump length of 1.

    Args:
        poses: (N, 22, 3) RAS mm, NaN for missing landmarks; at least one pose with all of head and trunk.
        schema: of the landmarks.
    """
    trunk = list(schema.rows("ht"))
    complete = poses[np.isfinite(poses[:, trunk]).all(axis=(1, 2))]
    if not len(complete):
        raise ValueError("no training pose has all head and trunk landmarks")
    mean = complete[0] - complete[0][trunk].mean(axis=0)
    for _ in range(5):
        aligned = np.stack([_aligned(pose, mean, trunk) for pose in complete])
        mean = np.nanmean(aligned, axis=0)
    return _upright(mean, schema)


def body_frame(positions: Array, weights: Array | None, template: Array, schema: Schema) -> BodyFrame | None:
    """The body frame of a pose from its head and trunk landmarks, robust to a few outliers.

    Args:
        positions: (22, 3) RAS mm, NaN for missing.
        weights: (22,) trust in each landmark, or None for equal trust.
        template: (22, 3) canonical pose of `canonical_template`.
        schema: of the landmarks.

    Returns:
        None with fewer than four usable head and trunk landmarks.
    """
    rows = np.array(schema.rows("ht"))
    usable = np.isfinite(positions[rows]).all(axis=1)
    if weights is not None:
        usable &= weights[rows] > 0
    rows = rows[usable]
    if len(rows) < _MINIMUM_POINTS:
        return None
    trust = np.ones(len(rows)) if weights is None else np.asarray(weights, float)[rows]
    source, target = template[rows], positions[rows]
    robust = trust
    for _ in range(_ROBUST_PASSES):
        fit = register(source, target, weights=robust)
        miss = np.linalg.norm(source @ fit.matrix[:3, :3].T + fit.matrix[:3, 3] - target, axis=1)
        # Cauchy weights: a residual of a third of the body reduces the weight to a tenth.
        robust = trust / (1.0 + (miss / (0.1 * max(fit.scale, 1e-6))) ** 2)
    return BodyFrame(fit.matrix[:3, 3].copy(), np.asarray(fit.rotation, float), float(fit.scale))


def _aligned(pose: Array, mean: Array, rows: list[int]) -> Array:
    fit = register(pose[rows], mean[rows])
    return fit.apply(pose)


def _upright(mean: Array, schema: Schema) -> Array:
    crown, rump = schema.crl_rows
    cranial = mean[crown] - mean[rump]
    length = np.linalg.norm(cranial)
    cranial = cranial / length
    left = np.zeros(3)
    for row, landmark in enumerate(schema.landmarks):
        if landmark.side == "left" and landmark.partner is not None:
            left += np.nan_to_num(mean[row] - mean[landmark.partner - 1])
    left -= cranial * (left @ cranial)
    left /= np.linalg.norm(left)
    axes = np.column_stack([left, np.cross(cranial, left), cranial])
    trunk = list(schema.rows("ht"))
    return np.asarray((mean - mean[trunk].mean(axis=0)) @ axes / length, dtype=np.float64)
