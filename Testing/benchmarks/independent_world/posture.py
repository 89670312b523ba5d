"""How a fetus holds itself: the curl of the spine, the neck, and the directions of its limbs.

Body axes: x right, y anterior, z cranial (a right-handed frame).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
SIDES = ("left", "right")
JOINTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
#: Interior angles in degrees, mean and standard deviation, where no real poses are given: median and range of 27-37
#: weeks, opened as limbs of 10-15 weeks are.
ELBOW, KNEE, ARM_TO_TRUNK, THIGH_TO_TRUNK = (100, 25), (105, 30), (50, 20), (65, 22)


@dataclass(frozen=True, eq=False)
class Posture:
    """Angles in degrees and unit vectors in body axes.

    Attributes:
        curl: flexion of the trunk from sacrum to the first thoracic vertebra.
        neck: flexion of the neck, negative = extended; 0 is neutral.
        bend, twist: of the trunk to the right, and of the shoulders against the pelvis.
        turn, tilt: of the head to the right, and sideways.
        limbs: for (side, part) the direction of part "upper_arm", "lower_arm", "thigh" or "shank", (3,).
    """

    curl: float
    neck: float
    bend: float
    twist: float
    turn: float
    tilt: float
    limbs: dict[tuple[str, str], Array]


@cache
def read_directions(path: Path) -> NDArray[np.float32]:
    """Directions of limbs in real poses: (P, 2 sides, 4 parts, 3) unit vectors in body axes.

    The file holds positions (P, 15, 3) and the names of the keypoints. A mirrored file is recognised by its knees,
    which then lie behind the trunk.
    """
    with np.load(path) as data:
        names, points = list(data["keypoints"]), data["positions"].astype(np.float64)

    def at(name: str) -> Array:
        return np.asarray(points[:, names.index(name)])

    def across(joint: str) -> Array:
        return at(f"right {joint}") - at(f"left {joint}")

    up = _unit((at("left shoulder") + at("right shoulder")) - (at("left hip") + at("right hip")))
    frames = {joint: _frames(across(joint), up) for joint in ("shoulder", "hip")}
    parts = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
    found = np.empty((len(points), 2, 4, 3))
    for row, side in enumerate(SIDES):
        for column, (start, end) in enumerate(parts):
            direction = _unit(at(f"{side} {end}") - at(f"{side} {start}"))
            found[:, row, column] = np.einsum("pij,pj->pi", frames["shoulder" if column < 2 else "hip"], direction)
    if np.median(found[:, :, 2, 1]) < 0:
        found[..., 1] *= -1
    return found[np.isfinite(found).all(axis=(1, 2, 3))].astype(np.float32)


def draw_posture(random: np.random.Generator, directions: NDArray[np.float32] | None = None) -> Posture:
    """A posture; limbs from one of the real poses, opened, or from ranges of angles."""
    limbs = _real_limbs(random, directions) if directions is not None else _drawn_limbs(random)
    return Posture(
        curl=float(random.uniform(15, 65)),
        neck=float(np.clip(random.normal(8, 17), -25, 42)),
        bend=float(np.clip(random.normal(0, 6), -14, 14)),
        twist=float(np.clip(random.normal(0, 7), -16, 16)),
        turn=float(np.clip(random.normal(0, 10), -25, 25)),
        tilt=float(np.clip(random.normal(0, 5), -12, 12)),
        limbs=limbs,
    )


def redraw_limbs(
    random: np.random.Generator, posture: Posture, directions: NDArray[np.float32] | None
) -> dict[tuple[str, str], Array]:
    """Other limbs for the same trunk."""
    return _real_limbs(random, directions) if directions is not None else _drawn_limbs(random)


def _real_limbs(random: np.random.Generator, directions: NDArray[np.float32]) -> dict[tuple[str, str], Array]:
    limbs: dict[tuple[str, str], Array] = {}
    open_joint, open_root = random.uniform(0.1, 0.6), random.uniform(0.3, 1.0)
    for row, side in enumerate(SIDES):
        upper, lower, thigh, shank = directions[random.integers(len(directions))][row].astype(np.float64)
        thigh_open = toward(thigh, np.array([0.0, 0.35, -0.94]), 0.6 * open_root)
        limbs[side, "upper_arm"] = _shaken(random, upper)
        limbs[side, "lower_arm"] = _shaken(random, toward(lower, upper, open_joint))
        limbs[side, "thigh"] = _shaken(random, thigh_open)
        limbs[side, "shank"] = _shaken(random, toward(shank, thigh_open, 0.8 * open_joint))
    return limbs


def _drawn_limbs(random: np.random.Generator) -> dict[tuple[str, str], Array]:
    limbs: dict[tuple[str, str], Array] = {}
    for side, out in (("left", -1.0), ("right", 1.0)):
        aside = out * random.uniform(0.05, 0.5)
        upper = _leaning(random, ARM_TO_TRUNK, aside)
        thigh = _leaning(random, (180 - THIGH_TO_TRUNK[0], THIGH_TO_TRUNK[1]), 0.6 * aside)
        limbs[side, "upper_arm"], limbs[side, "thigh"] = upper, thigh
        inwards = np.array([-0.5 * out, 0.6, 0.6])
        limbs[side, "lower_arm"] = _bent(random, upper, ELBOW, inwards)
        limbs[side, "shank"] = _bent(random, thigh, KNEE, np.array([-0.2 * out, -0.5, -0.8]))
    return limbs


def _leaning(random: np.random.Generator, angle: tuple[float, float], aside: float) -> Array:
    """A direction that makes this angle with straight down, forwards and to the side."""
    lean = np.radians(np.clip(random.normal(*angle), 5, 150))
    return _unit(np.array([aside, np.sin(lean), -np.cos(lean)]))


def _bent(random: np.random.Generator, upper: Array, interior: tuple[float, float], towards: Array) -> Array:
    """The direction beyond a joint of this interior angle that turns towards a direction."""
    bend = np.pi - np.radians(np.clip(random.normal(*interior), 35, 172))
    across = _unit(towards - (towards @ upper) * upper)
    return _unit(np.cos(bend) * upper + np.sin(bend) * across)


def toward(start: Array, end: Array, part: float) -> Array:
    """The unit vector `part` of the way from one to the other."""
    return _unit((1 - part) * start + part * end + 1e-6)


def _shaken(random: np.random.Generator, direction: Array) -> Array:
    return _unit(direction + random.normal(0, 0.1, 3))


def _frames(right: Array, up: Array) -> Array:
    """(P, 3, 3): rows are right, anterior and cranial."""
    right = _unit(right - np.sum(right * up, axis=1, keepdims=True) * up)
    return np.stack([right, np.cross(up, right), up], axis=1)


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-9))
