"""Planes across head or abdomen that a person chooses by turning a slice view."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.body_sections import BodySection, HeadAndAbdomen
from FetusMapV2Lib.anatomy.ellipse import Ellipse
from FetusMapV2Lib.anatomy.standard_planes import SectionPlane

Array = NDArray[np.float64]

#: A plane that is turned farther from the proposed one does not lie across the same part of the body, degrees.
FARTHEST_TURN_DEG = 40.0


def section_cut_by(sections: HeadAndAbdomen, origin: Array, normal: Array) -> BodySection | None:
    """The head or the abdomen, whichever a plane cuts across; None if it cuts neither.

    Args:
        sections: with the planes as they are now.
        origin: (3,) a point of the plane, RAS mm.
        normal: (3,) its unit normal, on either side.
    """
    nearest, least = None, math.inf
    for section in sections.sections:
        plane = section.plane
        if plane is None or abs(float(plane.normal @ normal)) < math.cos(math.radians(FARTHEST_TURN_DEG)):
            continue
        away = abs(float((_middle(section, plane) - origin) @ normal))
        if away < min(min(plane.half_axes_mm), least):
            nearest, least = section, away
    return nearest


def moved_plane(section: BodySection, origin: Array, normal: Array) -> SectionPlane:
    """The plane of a section moved into another one: its middle goes straight there, and its axes turn with it.

    Args:
        section: with a plane.
        origin: (3,) a point of the other plane, RAS mm.
        normal: (3,) its unit normal, on either side.
    """
    plane = section.plane
    assert plane is not None
    normal = normal * math.copysign(1.0, float(normal @ plane.normal))
    middle = _middle(section, plane)
    x_axis = plane.x_axis - float(plane.x_axis @ normal) * normal
    x_axis = x_axis / np.linalg.norm(x_axis)
    return replace(
        plane,
        origin=middle - float((middle - origin) @ normal) * normal,
        x_axis=x_axis,
        y_axis=np.cross(normal, x_axis),
        normal=normal,
        half_axes_mm=plane.half_axes_mm if section.ellipse is None else _along_axes(section.ellipse),
    )


def _middle(section: BodySection, plane: SectionPlane) -> Array:
    """(3,) RAS mm, of the ellipse, or where it is expected."""
    ellipse = section.ellipse
    return plane.origin if ellipse is None else plane.to_world(np.array([[ellipse.x_mm, ellipse.y_mm]]))[0]


def _along_axes(ellipse: Ellipse) -> tuple[float, float]:
    """Half axes along x and y of an ellipse that lies nearly along them."""
    longer, shorter = ellipse.major_mm, ellipse.minor_mm
    return (longer, shorter) if abs(math.cos(ellipse.angle)) > math.sqrt(0.5) else (shorter, longer)
