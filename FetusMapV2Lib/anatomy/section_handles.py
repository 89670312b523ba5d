"""Handles of an outline: the ends of both axes of its ellipse, which a user drags."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.body_sections import BodySection, SectionKey
from FetusMapV2Lib.anatomy.ellipse import Ellipse
from FetusMapV2Lib.anatomy.standard_planes import SectionPlane

Array = NDArray[np.float64]

#: Names of the handles in their order: the ends of one axis, then of the other.
HANDLES = ("left", "right", "back", "front")
#: An axis that was dragged shorter than this stays as it was, mm.
_SHORTEST_MM = 2.0


def handles_of(section: BodySection) -> Array | None:
    """(4, 3) RAS mm, the handles of an outline in the order of `HANDLES`; None without one."""
    ellipse, plane = section.ellipse, section.plane
    if ellipse is None or plane is None:
        return None
    major = ellipse.major_mm * np.array([math.cos(ellipse.angle), math.sin(ellipse.angle)])
    minor = ellipse.minor_mm * np.array([-math.sin(ellipse.angle), math.cos(ellipse.angle)])
    across, along = (major, minor) if abs(math.cos(ellipse.angle)) > math.sqrt(0.5) else (minor, major)
    across, along = across * np.sign(across[0]), along * np.sign(along[1])
    centre = np.array([ellipse.x_mm, ellipse.y_mm])
    return plane.to_world(np.stack([centre + across, centre - across, centre + along, centre - along]))


def section_of(key: SectionKey, handles: Array) -> BodySection:
    """The outline that a user set by handles (4, 3), RAS mm; its plane is theirs."""
    across, along = (handles[0] - handles[1]) / 2, (handles[2] - handles[3]) / 2
    width, depth = float(np.linalg.norm(across)), float(np.linalg.norm(along))
    left = across / width
    normal = np.cross(left, along)
    normal = normal / np.linalg.norm(normal)
    plane = SectionPlane(key, handles.mean(axis=0), left, np.cross(normal, left), normal, (width, depth))
    angle = 0.0 if width >= depth else math.pi / 2
    ellipse = Ellipse(0.0, 0.0, max(width, depth), min(width, depth), angle)
    return BodySection(key, plane).with_ellipse(ellipse)


def dragged(handles: Array, number: int, place: Array) -> Array:
    """The handles (4, 3) after one of them was dragged to a place (3,), RAS mm.

    The opposite end stays, the other axis keeps its length, and the plane is kept.
    """
    normal = np.cross(handles[0] - handles[1], handles[2] - handles[3])
    normal = normal / np.linalg.norm(normal)
    moved = place - normal * float((place - handles.mean(axis=0)) @ normal)
    opposite = number ^ 1
    axis = moved - handles[opposite]
    if np.linalg.norm(axis) < _SHORTEST_MM:
        return handles
    sideways = np.cross(normal, axis / np.linalg.norm(axis))
    first, second = (2, 3) if number < len(HANDLES) // 2 else (0, 1)
    other = handles[first] - handles[second]
    half = sideways * (math.copysign(float(np.linalg.norm(other)) / 2, float(sideways @ other)))
    result = handles.copy()
    result[number] = moved
    result[first], result[second] = (moved + handles[opposite]) / 2 + half, (moved + handles[opposite]) / 2 - half
    return result


def outline_points(section: BodySection, count: int = 72) -> Array:
    """(count, 3) points of an outline, RAS mm; none without one."""
    if section.ellipse is None or section.plane is None:
        return np.zeros((0, 3))
    angles = np.linspace(0.0, 2 * math.pi, count, endpoint=False, dtype=np.float64)
    return section.plane.to_world(section.ellipse.points(angles))
