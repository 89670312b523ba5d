"""Clearances in mm between limbs, trunk and head, from sampled limb surfaces.

A limb is a chain of balls along its centre line; the body is a set of ellipsoids.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from FetusMapV2Lib.phantom.shapes import Array, Ellipsoid

#: Balls per segment.
PER_SEGMENT = 8


def ellipsoid_distance(points: Array, bodies: Sequence[Ellipsoid]) -> Array:
    """Signed distance (..., B), about right near the surface, of points (..., 3) to each ellipsoid; < 0 inside."""
    centres = np.array([body.centre for body in bodies])
    axes = np.array([body.axes for body in bodies])
    radii = np.array([body.radii for body in bodies])
    local = np.einsum("...bc,bcr->...br", points[..., None, :] - centres, axes)
    scaled = np.linalg.norm(local / radii, axis=-1)
    slope = np.linalg.norm(local / radii**2, axis=-1)
    return np.asarray(scaled * (scaled - 1.0) / np.maximum(slope, 1e-9))


def limb_balls(joints: Array, radii: Array) -> tuple[Array, Array]:
    """Balls along limbs.

    Args:
        joints: (..., J, 3) joints from the root outwards.
        radii: (J,) radius of the limb at each.

    Returns:
        centres (..., N, 3) and radii (N,), N = (J - 1) PER_SEGMENT + 1.
    """
    count = len(radii)
    at = np.linspace(0.0, count - 1.0, (count - 1) * PER_SEGMENT + 1)
    low = np.minimum(at.astype(int), count - 2)
    part = (at - low)[:, None]
    centres = joints[..., low, :] * (1 - part) + joints[..., low + 1, :] * part
    return centres, radii[low] * (1 - part[:, 0]) + radii[low + 1] * part[:, 0]


def body_clearance(centres: Array, radii: Array, bodies: Sequence[Ellipsoid], free: int) -> Array:
    """Least gap (...) in mm between limbs and bodies, the first `free` balls at the root left out."""
    gaps = ellipsoid_distance(centres[..., free:, :], bodies).min(axis=-1) - radii[free:]
    return np.asarray(gaps.min(axis=-1))


def limb_clearance(centres: Array, radii: Array, others: Array, other_radii: Array) -> Array:
    """Least gap (...) in mm between limbs (..., N, 3) and other balls (M, 3)."""
    if len(others) == 0:
        return np.full(centres.shape[:-2], np.inf)
    gaps = np.linalg.norm(centres[..., :, None, :] - others, axis=-1) - radii[:, None] - other_radii
    return np.asarray(gaps.min(axis=(-1, -2)))


def self_clearance(centres: Array, radii: Array) -> Array:
    """Least gap (...) in mm between the first and the third segment of a limb (hand and upper arm)."""
    first, third = slice(0, PER_SEGMENT - 1), slice(2 * PER_SEGMENT + 1, None)
    gaps = np.linalg.norm(centres[..., first, None, :] - centres[..., None, third, :], axis=-1)
    return np.asarray((gaps - radii[first, None] - radii[third]).min(axis=(-1, -2)))


def surface_points(body: Ellipsoid, count: int = 64) -> Array:
    """Points (count, 3) spread evenly over an ellipsoid's surface."""
    index = np.arange(count) + 0.5
    polar = np.arccos(1 - 2 * index / count)
    azimuth = np.pi * (1 + 5**0.5) * index
    sphere = np.stack([np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)], axis=1)
    return body.centre + (sphere * body.radii) @ body.axes.T
