"""A plausible body to test with: 12 weeks, arms and legs bent, in body axes (R, A, S) mm."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

MIDLINE = [
    (0, 0, 28),  # 1 cranial crest
    (0, 9, 22),  # 2 forehead
    (0, 11, 17),  # 3 nasal tip
    (0, 9.5, 18.5),  # 4 nasal bone
    (0, 9, 11),  # 5 chin
    (0, -8, 12),  # 6 hind neck
    (0, -5, 7),  # 7 upper thoracic spine
    (0, 7, -12),  # 8 umbilical cord insertion
    (0, -5, -18),  # 9 lumbosacral spine
    (0, -3, -28),  # 10 rump
]
RIGHT_ARM = [(8, -2, 6), (11, 2, -3), (6, 9, 1)]
RIGHT_LEG = [(5, -1, -20), (7, 8, -23), (3, 5, -31)]


def standing_body() -> np.ndarray:
    """(22, 3): the fetal right is +R, the front +A, the crown +S."""
    right_arm, right_leg = np.array(RIGHT_ARM, float), np.array(RIGHT_LEG, float)
    to_left = np.array([-1.0, 1, 1])
    return np.vstack([MIDLINE, right_arm * to_left, right_arm, right_leg * to_left, right_leg])


def bodies(seed: int, count: int, noise_mm: float = 0.0) -> np.ndarray:
    """(count, 22, 3): the body turned anywhere, moved, scaled by 0.6-1.6, with noise."""
    rng = np.random.default_rng(seed)
    turns = Rotation.from_quat(rng.normal(size=(count, 4))).as_matrix()
    body = standing_body() * rng.uniform(0.6, 1.6, (count, 1, 1))
    body = body + rng.normal(0, noise_mm, (count, 22, 3)) if noise_mm else body
    return body @ np.swapaxes(turns, 1, 2) + rng.uniform(-100, 100, (count, 1, 3))
