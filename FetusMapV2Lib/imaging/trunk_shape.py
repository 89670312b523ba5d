"""The trunk around the section of the abdomen: an ellipse whose middle and size change with the height over a plane."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.ellipse import Ellipse, fit_ellipse_robustly

Array = NDArray[np.float64]

#: Farthest height over the plane at which the largest section is looked for, mm.
REACH_MM = 3.0
#: What is usual: how far the middle drifts (mm per mm), how fast the size grows (1/mm), and how much it falls off, in
#: units of one over the squared half axis; each with its standard deviation.
_DRIFT_SD, _GROWTH_SD, _BEND, _BEND_SD = 0.3, 0.02, -0.4, 0.3
#: Deviation of edges from the shape that weighs as much as one standard deviation of these, mm.
_EDGE_SD_MM = 1.0
_ROUNDS = 4


@dataclass(frozen=True, eq=False)
class TrunkShape:
    """An ellipse at height 0, and how it changes along the trunk.

    Attributes:
        ellipse: at height 0 of a plane.
        drift: (2,) of its middle, mm per mm of height.
        growth, bend: its size at height h is ``1 + growth h + bend h^2``.
    """

    ellipse: Ellipse
    drift: Array
    growth: float
    bend: float

    def residuals_mm(self, points: Array) -> Array:
        """Signed distances (N,) of points (N, 3) from the surface along rays from the middle, positive outside."""
        sizes = self._sizes(points[:, 2])
        return self.ellipse.residuals_mm(self._levelled(points)) * sizes

    @property
    def largest_height_mm(self) -> float:
        """Of the largest section within reach."""
        heights = np.linspace(-REACH_MM, REACH_MM, 61)
        return float(heights[int(np.argmax(self._sizes(heights)))])

    def section(self, height_mm: float) -> Ellipse:
        """The ellipse at a height."""
        size = float(self._sizes(np.array([height_mm]))[0])
        x, y = np.array([self.ellipse.x_mm, self.ellipse.y_mm]) + self.drift * height_mm
        major, minor = self.ellipse.major_mm * size, self.ellipse.minor_mm * size
        return Ellipse(float(x), float(y), major, minor, self.ellipse.angle)

    def _sizes(self, heights: Array) -> Array:
        return np.asarray(1 + self.growth * heights + self.bend * heights**2)

    def _levelled(self, points: Array) -> Array:
        """(N, 2) points moved along the trunk to height 0."""
        middle = np.array([self.ellipse.x_mm, self.ellipse.y_mm])
        heights = points[:, 2]
        offsets = points[:, :2] - middle - heights[:, None] * self.drift
        return np.asarray(middle + offsets / self._sizes(heights)[:, None])


def fit_trunk(points: Array) -> TrunkShape | None:
    """The shape through most of the points (N, 3), mm: ellipse and changes are fitted in turn; None without an ellipse.

    Points that lie elsewhere have no weight (`fit_ellipse_robustly`). The changes are held near what is usual, as few
    millimetres of height tell them poorly.
    """
    shape: TrunkShape | None = None
    for _ in range(_ROUNDS):
        found = fit_ellipse_robustly(points[:, :2] if shape is None else shape._levelled(points))
        if found is None:
            return None
        ellipse, weights = found
        shape = TrunkShape(ellipse, np.zeros(2), 0.0, 0.0) if shape is None else replace(shape, ellipse=ellipse)
        shape = _changed(shape, points, weights)
    return shape


def _changed(shape: TrunkShape, points: Array, weights: Array) -> TrunkShape:
    """The shape with drift, growth and bend by weighted least squares, to first order."""
    heights = points[:, 2]
    levelled = shape._levelled(points) - [shape.ellipse.x_mm, shape.ellipse.y_mm]
    directions = levelled / np.linalg.norm(levelled, axis=1, keepdims=True)
    radii = shape.ellipse.radii(directions)
    terms = np.column_stack([directions * heights[:, None], radii * heights, radii * heights**2, radii])
    half = (shape.ellipse.major_mm + shape.ellipse.minor_mm) / 2
    now = np.array([*shape.drift, shape.growth, shape.bend, 0.0])
    usual = np.array([0.0, 0.0, 0.0, _BEND / half**2, 0.0])
    spreads = np.array([_DRIFT_SD, _DRIFT_SD, _GROWTH_SD, _BEND_SD / half**2, 1.0])
    root = np.sqrt(weights)[:, None]
    pull = _EDGE_SD_MM / spreads
    design = np.concatenate([terms * root, np.diag(pull)])
    target = np.concatenate([shape.residuals_mm(points) * root[:, 0], pull * (usual - now)])
    change, *_ = np.linalg.lstsq(design, target, rcond=None)
    x, y, growth, bend, _ = now + change
    return replace(shape, drift=np.array([x, y]), growth=float(growth), bend=float(bend))
