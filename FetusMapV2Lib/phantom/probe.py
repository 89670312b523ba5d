"""A mechanically swept convex 3D probe: its pose, its field of view, and its toroidal coordinates.

Positions are millimetres (i, j, k) from the centre of the box that the tissue map fills.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

Vector = tuple[float, float, float]

# Radii and angles of abdominal 3D probes: curvature 35-60 mm, sweep radius smaller, up to about 90 x 85 degrees.
_MOST_HALF_LATERAL = math.radians(46.0)
_MOST_HALF_ELEVATION = math.radians(43.0)
_LEAST_HALF_ANGLE = math.radians(14.0)


@dataclass(frozen=True)
class Probe:
    """A convex array of curvature `radius_mm` swept about an axis `sweep_radius_mm` behind its face.

    A sample has the coordinates r (from the centre of curvature), theta (lateral) and phi (elevation). In the
    probe's frame (x lateral, y elevational, z along the beam, origin at the centre of curvature, D = radius_mm -
    sweep_radius_mm): x = r sin(theta), y = (r cos(theta) - D) sin(phi), z = D + (r cos(theta) - D) cos(phi), the
    torus of swept 3D probes.

    Attributes:
        face_mm: middle of the transducer's face, (i, j, k) mm from the centre of the box.
        axis, lateral, elevational: orthonormal directions (i, j, k) of the central beam, array and sweep.
        half_lateral_rad, half_elevation_rad: half of the field-of-view angles.
        depth_mm: length of a beam, from the face.
        frequency_mhz: centre frequency; attenuation is proportional to it.
        focus_mm: depth of the lateral focus.
    """

    face_mm: Vector
    axis: Vector
    lateral: Vector
    elevational: Vector
    radius_mm: float
    sweep_radius_mm: float
    half_lateral_rad: float
    half_elevation_rad: float
    depth_mm: float
    frequency_mhz: float = 5.0
    focus_mm: float = 60.0

    @property
    def offset_mm(self) -> float:
        """D: distance from the centre of curvature to the axis of the sweep, mm."""
        return self.radius_mm - self.sweep_radius_mm

    def frame(self, device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
        """Rotation (3, 3), rows lateral/elevational/axis, and the centre of curvature (3,) in (i, j, k) mm."""
        rotation = torch.tensor([self.lateral, self.elevational, self.axis], dtype=torch.float32, device=device)
        face = torch.tensor(self.face_mm, dtype=torch.float32, device=device)
        return rotation, face - self.radius_mm * rotation[2]

    def normalised(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Beam coordinates of points in the probe's frame (mm), each -1..1 inside the field of view.

        Returns:
            (phi, theta, r) as fractions of their ranges: the order in which `grid_sample` wants x, y, z for an
            image [r, theta, phi]. x, y and z may broadcast against one another.
        """
        behind = z - self.offset_mm
        reach = torch.hypot(y, behind) + self.offset_mm
        phi = torch.atan2(y, behind) / self.half_elevation_rad
        theta = torch.atan2(x, reach) / self.half_lateral_rad
        r = (torch.hypot(x, reach) - self.radius_mm) * (2.0 / self.depth_mm) - 1.0
        return phi, theta, r

    def points(self, r: torch.Tensor, theta: torch.Tensor, phi: torch.Tensor) -> torch.Tensor:
        """Positions (..., 3) in (i, j, k) mm from the box centre of beam coordinates (mm, rad, rad)."""
        rotation, centre = self.frame(r.device)
        swept = r * torch.cos(theta) - self.offset_mm
        across = r * torch.sin(theta)
        # NumPy's, as torch.broadcast_shapes loads SymPy, which takes longer than a small volume
        out = torch.empty((*np.broadcast_shapes(r.shape, theta.shape, phi.shape), 3), device=r.device)
        for n in range(3):
            fixed = across * rotation[0, n] + (self.offset_mm * rotation[2, n] + centre[n])
            turned = torch.sin(phi) * rotation[1, n] + torch.cos(phi) * rotation[2, n]
            torch.addcmul(fixed, swept, turned, out=out[..., n])
        return out


def box_coordinates(
    shape: Sequence[int], spacing_mm: float, probe: Probe, device: torch.device | str, start: int, stop: int
) -> tuple[torch.Tensor, ...]:
    """(phi, theta, r), each [stop-start, j, i], of the voxels in slices start..stop of a map [k, j, i]."""
    rotation, centre = probe.frame(device)
    size_k, size_j, size_i = shape

    def axis(first: int, last: int, size: int) -> torch.Tensor:
        index = torch.arange(first, last, dtype=torch.float32, device=device)
        return (index - (size - 1) / 2) * spacing_mm

    i = axis(0, size_i, size_i)[None, None, :]
    j = axis(0, size_j, size_j)[None, :, None]
    k = axis(start, stop, size_k)[:, None, None]
    local = []
    for row in rotation:
        shift = -(row @ centre)
        local.append((row[1] * j + row[0] * i) + (row[2] * k + shift))
    return probe.normalised(*local)


def inside(phi: torch.Tensor, theta: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    """Whether normalised beam coordinates lie in the field of view (bool, same shape)."""
    return (phi.abs() <= 1) & (theta.abs() <= 1) & (r.abs() <= 1)


def field_of_view(shape: Sequence[int], spacing_mm: float, probe: Probe, device: str = "cpu") -> torch.Tensor:
    """Mask (bool, [k, j, i]) of what the probe sees of a map of this shape and spacing."""
    return inside(*box_coordinates(shape, spacing_mm, probe, device, 0, shape[0]))


def coverage(extent_mm: Sequence[float], probe: Probe) -> float:
    """Fraction (0..1) of a box of this extent (i, j, k) mm that lies in the field of view."""
    step = max(extent_mm) / 40
    shape = [max(4, round(side / step)) for side in reversed(extent_mm)]
    return float(field_of_view(shape, step, probe).float().mean())


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator, device=generator.device))


def _choice(generator: torch.Generator, count: int) -> int:
    return int(torch.randint(count, (), generator=generator, device=generator.device))


def _directions(generator: torch.Generator, tilt_deg: float) -> tuple[int, torch.Tensor]:
    """Array axis (0..2 of i, j, k) looked along, and rows lateral/elevational/beam of a slightly tilted frame."""
    along = _choice(generator, 3)
    others = [axis for axis in range(3) if axis != along]
    if _choice(generator, 2):
        others.reverse()
    rows = torch.zeros(3, 3)
    for row, axis in enumerate([*others, along]):
        rows[row, axis] = 1.0 if _choice(generator, 2) else -1.0
    turn = torch.tensor([math.radians(_uniform(generator, -tilt_deg, tilt_deg)) for _ in range(3)])
    skew = torch.tensor(
        [[0.0, -turn[2], turn[1]], [turn[2], 0.0, -turn[0]], [-turn[1], turn[0], 0.0]], dtype=torch.float32
    )
    return along, torch.linalg.matrix_exp(skew) @ rows


def _half_angle(width_mm: float, distance_mm: float, most: float) -> float:
    return min(max(math.asin(min(width_mm / (2 * distance_mm), 0.95)), _LEAST_HALF_ANGLE), most)


def sample_probe(generator: torch.Generator, extent_mm: Sequence[float], *, least_coverage: float = 0.72) -> Probe:
    """A probe in front of a random face of the box, seeing most of it with the corners cut off.

    Args:
        generator: source of randomness.
        extent_mm: lengths of the box along i, j and k, mm.
        least_coverage: the angles are opened until this fraction of the box is seen (or they reach the limits).
    """
    along, rows = _directions(generator, tilt_deg=8.0)
    depth_extent = float(extent_mm[along])
    across = [float((rows[n].abs() * torch.tensor(extent_mm)).max()) for n in range(2)]
    radius = _uniform(generator, 38.0, 60.0)
    sweep = radius - _uniform(generator, 4.0, 18.0)
    # The face is near the face of the box: a little outside, or as far inside as the cap of a real volume is.
    face = -rows[2] * (depth_extent / 2 + _uniform(generator, -2.0, 6.0))
    for row in range(2):
        face = face + rows[row] * _uniform(generator, -0.05, 0.05) * across[row]
    depth = depth_extent * _uniform(generator, 1.0, 1.1) + 5.0
    middle = depth * 0.6
    fill = _uniform(generator, 0.95, 1.15)
    probe = Probe(
        face_mm=_vector(face),
        axis=_vector(rows[2]),
        lateral=_vector(rows[0]),
        elevational=_vector(rows[1]),
        radius_mm=radius,
        sweep_radius_mm=sweep,
        half_lateral_rad=_half_angle(across[0] * fill, radius + middle, _MOST_HALF_LATERAL),
        half_elevation_rad=_half_angle(across[1] * fill, sweep + middle, _MOST_HALF_ELEVATION),
        depth_mm=depth,
        frequency_mhz=_uniform(generator, 3.5, 7.0),
        focus_mm=depth * _uniform(generator, 0.4, 0.75),
    )
    return _opened(probe, extent_mm, least_coverage)


def _opened(probe: Probe, extent_mm: Sequence[float], least_coverage: float) -> Probe:
    for _ in range(12):
        if coverage(extent_mm, probe) >= least_coverage:
            break
        probe = replace(
            probe,
            half_lateral_rad=min(probe.half_lateral_rad * 1.06, _MOST_HALF_LATERAL),
            half_elevation_rad=min(probe.half_elevation_rad * 1.06, _MOST_HALF_ELEVATION),
            depth_mm=min(probe.depth_mm * 1.02, 260.0),
        )
    return probe


def _vector(tensor: torch.Tensor) -> Vector:
    first, second, third = (float(value) for value in tensor)
    return first, second, third
