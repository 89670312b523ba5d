"""A body that moves in a known way, seen by a probe that moves as well."""

from __future__ import annotations

import numpy as np
from anatomy.bodies import standing_body
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.schema import default_schema

SCHEMA = default_schema()
LEFT_ELBOW, LEFT_WRIST = SCHEMA.index("left_elbow"), SCHEMA.index("left_wrist")


def bent_elbow(degrees: np.ndarray) -> np.ndarray:
    """(T, 22, 3): the standing body with the left forearm turned about the elbow, in the plane of the arm."""
    body = standing_body()
    shoulder, elbow, wrist = (body[row] for row in SCHEMA.rows("la"))
    axis = np.cross(shoulder - elbow, wrist - elbow)
    axis /= np.linalg.norm(axis)
    frames = np.tile(body, (len(degrees), 1, 1))
    for frame, angle in enumerate(degrees):
        frames[frame, LEFT_WRIST] = elbow + Rotation.from_rotvec(np.radians(angle) * axis).apply(wrist - elbow)
    return frames


def carried(frames: np.ndarray, degrees: float, shift_mm: float) -> np.ndarray:
    """Frames as seen when the whole body turns and shifts by so much from each to the next."""
    axis = np.array([0.3, -0.5, 0.8]) / np.linalg.norm([0.3, -0.5, 0.8])
    return np.stack(
        [
            Rotation.from_rotvec(np.radians(degrees * number) * axis).apply(frame) + shift_mm * number * axis
            for number, frame in enumerate(frames)
        ]
    )


def uneven_sequence() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (6, 22, 3) of a turning body that bends an elbow, 90 % radii of 1-9 mm (6, 22), uneven times (6,)."""
    random = np.random.default_rng(11)
    frames = carried(bent_elbow(np.array([0.0, 10.0, 25.0, 45.0, 60.0, 70.0])), 4.0, 1.5)
    frames = frames + random.normal(0, 0.4, frames.shape)
    return frames, random.uniform(1.0, 9.0, frames.shape[:2]), np.array([0.0, 0.3, 0.7, 1.0, 1.6, 2.0])
