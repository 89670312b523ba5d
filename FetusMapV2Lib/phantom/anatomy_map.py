"""From shapes and surroundings to a tissue map on a voxel grid, shape by shape, each in its own box.

Positions are millimetres (i, j, k) from the centre of the grid; a map is uint8 [k, j, i] of `Tissue` values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from FetusMapV2Lib.phantom.shapes import Array, Ellipsoid, Shape, Shell, Tube, drawn_step
from FetusMapV2Lib.phantom.tissues import Tissue

if TYPE_CHECKING:
    from FetusMapV2Lib.phantom.placement import CaseGeometry


class Canvas:
    """A tissue map being painted."""

    def __init__(self, shape: Sequence[int], spacing: float, device: torch.device | str, fill: Tissue) -> None:
        self.labels = torch.full(tuple(shape), int(fill), dtype=torch.uint8, device=device)
        self.spacing = spacing
        size = np.array(self.labels.shape)[::-1]  # i, j, k
        self.size = size
        self.first = -(size - 1) / 2 * spacing
        self.axes = [  # coordinates x, y, z
            torch.arange(n, dtype=torch.float32, device=device).mul_(spacing).add_(float(offset))
            for n, offset in zip(size.tolist(), self.first, strict=True)
        ]

    def box(self, low: Array, high: Array) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """Part of the map between two corners, and its coordinates x (I,), y (J, 1), z (K, 1)."""
        start = np.maximum(np.ceil((low - self.first) / self.spacing - 1e-6).astype(int), 0)
        stop = np.minimum(np.floor((high - self.first) / self.spacing + 1e-6).astype(int) + 1, self.size)
        if (stop <= start).any():
            return None
        (i0, j0, k0), (i1, j1, k1) = start.tolist(), stop.tolist()
        x, y, z = self.axes
        return self.labels[k0:k1, j0:j1, i0:i1], x[i0:i1], y[None, j0:j1], z[k0:k1, None]


def _quadric(shape: Ellipsoid, radii: Array, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Squared distance from the centre in units of the radii, [k, j, i]: a quadratic in x with [k, j] factors."""
    unit_axes = shape.axes / radii
    q = (unit_axes @ unit_axes.T).tolist()
    cx, cy, cz = (float(value) for value in shape.centre)
    x, y, z = x - cx, y - cy, z - cz
    constant = q[1][1] * y * y + (2 * q[1][2]) * (y * z) + q[2][2] * z * z
    slope = (2 * q[0][1]) * y + (2 * q[0][2]) * z
    value: Tensor = slope[:, :, None] * x
    value += constant[:, :, None]
    value += q[0][0] * x * x
    return value


def _paint(view: Tensor, mask: Tensor, tissue: Tissue, over: tuple[Tissue, ...]) -> None:
    if over:
        allowed = view == int(over[0])
        for label in over[1:]:
            allowed |= view == int(label)
        mask = mask & allowed
    view.masked_fill_(mask, int(tissue))


def _paint_ellipsoid(canvas: Canvas, shape: Ellipsoid) -> None:
    box = canvas.box(*shape.bounds(canvas.spacing))
    if box is None:
        return
    view, x, y, z = box
    mask = _quadric(shape, shape.drawn_radii(canvas.spacing), x, y, z) < 1.0
    _paint(view, mask, shape.tissue, shape.over)


def _paint_shell(canvas: Canvas, shape: Shell) -> None:
    body = shape.body
    box = canvas.box(*body.bounds(canvas.spacing))
    if box is None:
        return
    view, x, y, z = box
    outer = body.drawn_radii(canvas.spacing)
    inner = np.maximum(outer - max(shape.thickness, 1.1 * drawn_step(canvas.spacing)), 1e-3)
    mask = _quadric(body, outer, x, y, z) < 1.0
    mask &= _quadric(body, inner, x, y, z) >= 1.0
    if len(shape.plates):
        _cut_to_plates(mask, shape, outer, x, y, z)
    _paint(view, mask, body.tissue, body.over)


def _cut_to_plates(mask: Tensor, shape: Shell, radii: Array, x: Tensor, y: Tensor, z: Tensor) -> None:
    """Clear the voxels of `mask` that lie on no plate."""
    found = mask.nonzero()
    if len(found) == 0:
        return
    points = torch.stack([x[found[:, 2]], y[0, found[:, 1]], z[found[:, 0], 0]], dim=1)
    points = points - torch.as_tensor(shape.body.centre, dtype=torch.float32, device=points.device)
    to_local = torch.as_tensor(shape.body.axes / radii, dtype=torch.float32, device=points.device)
    plates = torch.as_tensor(shape.plates, dtype=torch.float32, device=points.device)
    kept = (points @ (to_local @ plates[:, :3].T) > plates[:, 3]).any(dim=1)
    lost = found[~kept]
    mask[lost[:, 0], lost[:, 1], lost[:, 2]] = False


def _paint_tube(canvas: Canvas, shape: Tube) -> None:
    radii = shape.drawn_radii(canvas.spacing)
    points = shape.points
    if len(points) == 1:
        points, radii = np.repeat(points, 2, axis=0), np.repeat(radii, 2)
    for start, end, r0, r1 in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True):
        _paint_capsule(canvas, shape, start, end, float(r0), float(r1))


def _paint_capsule(canvas: Canvas, shape: Tube, start: Array, end: Array, r0: float, r1: float) -> None:
    reach = max(r0, r1)
    box = canvas.box(np.minimum(start, end) - reach, np.maximum(start, end) + reach)
    if box is None:
        return
    view, x, y, z = box
    x, y, z = x - float(start[0]), y - float(start[1]), z - float(start[2])
    along = end - start
    length = float(np.linalg.norm(along))
    distance = (y * y + z * z)[:, :, None] + x * x
    if length < 1e-6:
        mask = distance < reach * reach
    else:
        u = (along / length).tolist()
        axial = (u[1] * y + u[2] * z)[:, :, None] + u[0] * x
        clamped = axial.clamp(0.0, length)
        # |p - t u|^2 = |p|^2 - t (2 axial - t)
        distance -= clamped * axial.mul_(2.0).sub_(clamped)
        clamped.mul_((r1 - r0) / length).add_(r0)
        mask = distance < clamped.mul_(clamped)
    _paint(view, mask, shape.tissue, shape.over)


_PAINTERS = {Ellipsoid: _paint_ellipsoid, Shell: _paint_shell, Tube: _paint_tube}


def _paint_surroundings(canvas: Canvas, geometry: CaseGeometry) -> None:
    """Fluid, membrane, placenta, wall and what lies outside, from smooth fields on a coarse grid."""
    shape = canvas.labels.shape
    centres = [np.array([canvas.first[n], -canvas.first[n]]) for n in range(3)]
    fields = geometry.surroundings.fields(centres)
    thin = 1.1 * drawn_step(canvas.spacing)

    def fine(name: str) -> Tensor:
        coarse = torch.as_tensor(fields[name], dtype=torch.float32, device=canvas.labels.device)
        return torch.nn.functional.interpolate(
            coarse[None, None], size=tuple(shape), mode="trilinear", align_corners=True
        )[0, 0]

    labels = canvas.labels
    layers = fine("layers")
    for low, high, tissue in geometry.surroundings.layers:
        labels.masked_fill_((layers >= low) & (layers < max(high, low + thin)), int(tissue))
    del layers
    outer = fine("wall")
    labels.masked_fill_(outer < thin, int(Tissue.BOUNDARY))
    labels.masked_fill_(outer < 0, int(Tissue.UTERINE_WALL))
    del outer
    labels.masked_fill_(fine("placenta") < 0, int(Tissue.PLACENTA))
    if geometry.surroundings.has_gap:
        gap = fine("gap") < 0
        labels.masked_fill_(gap, int(Tissue.EXTRA_FLUID))
        amnion = fine("amnion")
        labels.masked_fill_(gap & (amnion < thin), int(Tissue.MEMBRANE))
    else:
        amnion = fine("amnion")
    labels.masked_fill_(amnion < 0, int(Tissue.FLUID))
    if geometry.surroundings.twin is not None:
        labels.masked_fill_((amnion < 0) & (fine("septum") < thin / 2), int(Tissue.MEMBRANE))


def build_tissue_map(
    case_geometry: CaseGeometry, shape: Sequence[int], spacing: float, device: torch.device | str = "cpu"
) -> Tensor:
    """The tissue map of a case.

    Args:
        case_geometry: fetus and surroundings in the volume's frame.
        shape: (k, j, i) of the grid.
        spacing: voxel size, mm (isotropic).
        device: where to paint it.

    Returns:
        uint8 tensor [k, j, i] of `Tissue` values.
    """
    canvas = Canvas(shape, spacing, device, Tissue.MATERNAL)
    with torch.no_grad():
        _paint_surroundings(canvas, case_geometry)
        paint_shapes(canvas, case_geometry.shapes)
    return canvas.labels


def paint_shapes(canvas: Canvas, shapes: Sequence[Shape]) -> None:
    """Paint shapes in their order over what a canvas holds."""
    for shape in shapes:
        _PAINTERS[type(shape)](canvas, shape)  # type: ignore[operator]
