"""The curve through the vertebral bodies, and the chart that straightens the trunk around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.floating]
_STATIONS = 57
_PIECE = 100_000


@dataclass(frozen=True, eq=False)
class Spine:
    """A curve with a frame at every station.

    Attributes:
        along: (S,) arc length in mm; 0 = tip of the sacrum, `trunk` = first thoracic vertebra, `trunk + neck` = skull.
        centres: (S, 3) mm.
        frames: (S, 3, 3); columns are right, anterior and cranial there.
        trunk, neck: lengths in mm.
    """

    along: Array
    centres: Array
    frames: Array
    trunk: float
    neck: float

    def at(self, along: float) -> tuple[Array, Array]:
        """Point (3,) and frame (3, 3) at an arc length, straight on beyond the ends."""
        row = int(np.clip(np.searchsorted(self.along, along) - 1, 0, len(self.along) - 2))
        step = self.along[row + 1] - self.along[row]
        part = (along - self.along[row]) / step
        near = self.frames[row] if part < 0.5 else self.frames[row + 1]
        blended = (1 - np.clip(part, 0, 1)) * self.frames[row] + np.clip(part, 0, 1) * self.frames[row + 1]
        frame = np.linalg.qr(blended)[0]
        frame = frame * np.sign(np.sum(frame * near, axis=0))
        return self.centres[row] + part * step * self.frames[row][:, 2], frame

    def chart(self, points: Array) -> Array:
        """(N, 3) mm to (right, anterior, along the spine) in mm, (N, 3)."""
        pieces = [self._chart(points[start : start + _PIECE]) for start in range(0, len(points), _PIECE)]
        return np.concatenate(pieces) if pieces else points

    def _chart(self, points: Array) -> Array:
        centres, frames = self.centres.astype(points.dtype), self.frames.astype(points.dtype)
        squares = np.einsum("ij,ij->i", centres, centres) - 2 * points @ centres.T
        row = np.clip(np.argmin(squares, axis=1), 1, len(centres) - 2)
        beyond = np.einsum("ij,ij->i", points - centres[row], frames[row, :, 2])
        step = self.along[1] - self.along[0]
        part = np.where(beyond >= 0, beyond / self._gap(points, row, 1), beyond / self._gap(points, row, -1))
        limit = np.where((row == 1) | (row == len(centres) - 2), 1e3, 1.0)
        part = np.clip(part, -limit, limit).astype(points.dtype)
        other = row + np.where(part >= 0, 1, -1)
        share = np.abs(part)[:, None]
        centre = centres[row] + share * (centres[other] - centres[row])
        away = points - centre
        share = np.minimum(share, 1)
        mixed = (1 - share)[..., None] * frames[row][:, :, :2] + share[..., None] * frames[other][:, :, :2]
        across = np.einsum("ij,ijk->ik", away, mixed)
        return np.concatenate([across, (self.along[row] + part * step)[:, None].astype(points.dtype)], axis=1)

    def _gap(self, points: Array, row: Array, way: int) -> Array:
        """Distance between the planes of neighbouring stations at each point, at least a fifth of the step."""
        other = row + way
        tangents, centres = self.frames[:, :, 2].astype(points.dtype), self.centres.astype(points.dtype)
        behind = np.einsum("ij,ij->i", points - centres[other], tangents[other])
        ahead = np.einsum("ij,ij->i", points - centres[row], tangents[row])
        step = float(self.along[1] - self.along[0])
        return np.asarray(np.maximum(np.abs(ahead - behind), 0.2 * step))


def make_spine(trunk: float, neck: float, angles: tuple[float, float, float, float], margin: float) -> Spine:
    """A spine of the given lengths (mm) and curl, bend, twist and flexion of the neck (degrees).

    The curve goes on for `margin` mm beyond both ends. The lumbar part is straighter than the thoracic one; half of the
    neck's flexion happens below the first thoracic vertebra and half in the neck.
    """
    curl, bend, twist, flexion = np.radians(angles)
    along = np.linspace(-margin, trunk + neck + margin, _STATIONS)
    share = np.clip(along / trunk, 0, 1)
    trunk_part = share + 0.06 * np.sin(2 * np.pi * share)
    upper = np.clip((along - 0.75 * trunk) / (0.25 * trunk + neck), 0, 1)
    upper = upper * upper * (3 - 2 * upper)
    pitch = -(curl * trunk_part + flexion * upper)
    turns = Rotation.from_euler("ZYX", np.stack([-twist * share, bend * share, pitch], axis=1))
    frames = turns.as_matrix()
    tangents = frames[:, :, 2]
    steps = np.diff(along)[:, None] * (tangents[:-1] + tangents[1:]) / 2
    centres = np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])
    return Spine(along, centres, frames, trunk, neck)
