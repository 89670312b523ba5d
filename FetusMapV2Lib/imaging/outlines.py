"""The outline of head or abdomen in a volume: searched along rays from the middle, and fitted with an ellipse.

The skull is the brightest shell; the abdomen ends where bright becomes dark. What is hidden or touched by something
else is left out of the fit.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from FetusMapV2Lib.anatomy.ellipse import Ellipse, fit_ellipse_robustly
from FetusMapV2Lib.anatomy.standard_planes import HEAD_HEIGHT, SectionPlane
from FetusMapV2Lib.imaging.edge_profiles import means_beside, skin_beyond_mm
from FetusMapV2Lib.imaging.sampling import GreyReader
from FetusMapV2Lib.imaging.trunk_shape import TrunkShape, fit_trunk
from FetusMapV2Lib.imaging.volume import Volume

Array = NDArray[np.float64]
Kind = Literal["head", "abdomen"]

_RAYS = 72
_CIRCLE = np.stack([f(np.arange(_RAYS) * (2 * np.pi / _RAYS)) for f in (np.cos, np.sin, np.zeros_like)], axis=1)
_STEP_MM = 0.2
#: Smoothing along a ray, and the stretches whose means are compared on both sides of an edge.
_SMOOTH_MM, _STRETCH_MM = 0.3, 1.2
#: Sections above and below the plane that are searched with it, mm.
_SLAB_MM = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
#: The same for the last fit of the head, which is round above and below its largest section.
_RING_MM = (-0.8, -0.4, 0.0, 0.4, 0.8)
#: Latitudes of the head that are searched, sine of the angle over the plane: the brain case without the face.
_LATITUDES = (-0.25, -0.1, 0.0, 0.1, 0.25, 0.45, 0.65)
#: Echoes of the skull are about this wide, mm.
_SHELL_MM = 0.8
#: The outer table of the skull lies this far outside the brightest place of its echo, mm; set on simulated volumes that
#: are in no table.
_OUTER_TABLE_MM = 0.15
#: Edges are searched within these shares of the expected distance, one after the other.
_WINDOWS = (0.22, 0.14, 0.08)
#: Factors of the expected size from which a search starts.
_SIZES = (0.82, 1.0, 1.2)
#: The search reads every so many rays, in steps of this many mm.
_SPARSE, _COARSE_MM = 4, 0.4
#: Shifts, in half axes, and factors of the size that are tried, from coarse to fine.
_SEARCH = (
    (0.22, (0.94, 1.0, 1.06)),
    (0.10, (0.96, 1.0, 1.04)),
)
#: Strength of an edge, in units of the picture's contrast, that is seen at all, and that is clear.
_LEAST_STRENGTH, _CLEAR = 0.08, 0.5
#: What one standard deviation from the expected place or size costs, in strength.
_PRIOR = 0.04
#: An edge belongs to the ellipse within this share of its shorter half axis.
_TOLERANCE = 0.08
#: Models whose surfaces are so near to each other become the same; one below this share of the best score is given up.
_SAME_MM, _PROMISING = 0.3, 0.75
_ROUNDS = 10
_BRAIN_CASE = np.concatenate([_CIRCLE * math.sqrt(1 - s * s) + [0, 0, s] for s in _LATITUDES])
#: Reach of the mean profile on both sides of the outline, mm.
_INSIDE_MM, _OUTSIDE_MM = 2.0, 3.0


@dataclass(frozen=True)
class Outline:
    """An outline that was found.

    Attributes:
        ellipse: in the plane.
        plane: where it lies: the proposed one, moved to the largest section for the head.
        seen: share of the rays, 0-1, on which an edge lies on the ellipse.
        widest_gap_deg: widest angle without one.
        residual_mm: root mean square distance of these edges from the ellipse.
    """

    ellipse: Ellipse
    plane: SectionPlane
    seen: float
    widest_gap_deg: float
    residual_mm: float


@dataclass(frozen=True, eq=False)
class _Rays:
    """Starts (..., N, 3), ways to the expected surface (..., N, 3), and their lengths (..., N), mm; rings of rays."""

    starts: Array
    ways: Array
    distances: Array

    @classmethod
    def to(cls, starts: Array, ways: Array) -> _Rays:
        return cls(starts, ways, np.sqrt(np.einsum("...i,...i->...", ways, ways)))

    def points(self, distances: Array) -> Array:
        """(N, 3) points on the rays."""
        return np.asarray(self.starts + self.ways * (distances / self.distances)[:, None])


@dataclass(frozen=True, eq=False)
class _Model:
    """An ellipsoid (head) or an elliptic cylinder (abdomen) in the coordinates of a plane, mm."""

    kind: Kind
    centre: Array
    radii: Array
    angle: float = 0.0

    def rays(self) -> _Rays:
        """Rays from the middle to the surface: of the brain case by latitude, or across the trunk by height."""
        return _rays(self.kind, self.centre, self.radii, np.array(self.angle))

    def cut_at_zero(self) -> _Model | None:
        """The same with its middle in the plane and the radii of its section there; None where it has none."""
        if self.kind == "abdomen":
            return self
        share = 1 - float(self.centre[2] / self.radii[2]) ** 2
        if share <= 0:
            return None
        centre, shrunk = self.centre * [1.0, 1.0, 0.0], self.radii * [math.sqrt(share), math.sqrt(share), 1.0]
        return replace(self, centre=centre, radii=shrunk)

    def differs_from(self, other: _Model) -> bool:
        """Whether its surface lies elsewhere than that of another model."""
        return bool(np.abs(self._reaches() - other._reaches()).max() > _SAME_MM)

    def _reaches(self) -> Array:
        """How far it goes along some directions; of the abdomen in the plane alone."""
        directions = np.eye(3) if self.kind == "head" else _CIRCLE[: _RAYS // 2 : _RAYS // 8]
        local = directions @ _turns(np.array(self.angle))
        return np.concatenate([directions @ self.centre, np.linalg.norm(local * self.radii, axis=1)])

    def ring(self, heights_mm: tuple[float, ...]) -> _Rays:
        """Rays across the body at some heights over its middle; the outline is taken as the same on all."""
        return _ring(self.centre, self.radii, np.array(self.angle), heights_mm)


def _rays(kind: Kind, centres: Array, radii: Array, angles: Array, every: int = 1) -> _Rays:
    """Every so many rays of models with centres and radii (..., 3), those of the abdomen turned by angles (...)."""
    if kind == "abdomen":
        return _ring(centres, radii, angles, _SLAB_MM, every)
    ways = _BRAIN_CASE[::every] * radii[..., None, :]
    return _Rays.to(centres[..., None, :], ways)


def _ring(centres: Array, radii: Array, angles: Array, heights_mm: tuple[float, ...], every: int = 1) -> _Rays:
    circle = _CIRCLE[::every]
    heights = np.repeat(heights_mm, len(circle))[:, None] * np.array([0.0, 0.0, 1.0])
    ways = (circle * radii[..., None, :]) @ _turns(angles).swapaxes(-1, -2)
    return _Rays.to(centres[..., None, :] + heights, np.concatenate([ways] * len(heights_mm), axis=-2))


def _turns(angles: Array) -> Array:
    """(..., 3, 3) rotations by angles (...) about the normal of the plane."""
    cosine, sine, nothing = np.cos(angles), np.sin(angles), np.zeros_like(angles)
    rows = [cosine, -sine, nothing, sine, cosine, nothing, nothing, nothing, nothing + 1]
    return np.stack(rows, axis=-1).reshape(*angles.shape, 3, 3)


def find_outline(volume: Volume, plane: SectionPlane, *, keep_plane: bool = False) -> Outline | None:
    """The outline of the skull (outer edge) or of the skin of the abdomen in a plane; None where no edge is seen.

    An ellipsoid (head) or a short elliptic cylinder (abdomen) of the expected size is moved and scaled to where most
    of its surface lies on an edge. Then edges are searched along rays in a window that becomes narrower while the body
    is fitted anew, with outliers left out. At last the edges in the plane itself give the ellipse.

    Args:
        volume: ultrasound.
        plane: proposed by `standard_planes`, or chosen by a person.
        keep_plane: measure in this very plane instead of at the largest section nearby.
    """
    reader = _Reader(volume, plane)
    fitted = reader.fitted(reader.searched())
    if fitted is not None and keep_plane:
        fitted = fitted.cut_at_zero()
    return None if fitted is None else reader.outline(fitted, keep_plane=keep_plane)


@dataclass(frozen=True, eq=False)
class _Edges:
    """Edges on rays: points (N, 3) in the plane's coordinates, strengths (N,) in units of the picture's contrast."""

    points: Array
    strengths: Array

    @property
    def seen(self) -> NDArray[np.bool_]:
        return self.strengths > _LEAST_STRENGTH


class _Reader:
    """Reads a volume along the rays of a model."""

    def __init__(self, volume: Volume, plane: SectionPlane) -> None:
        self.plane = plane
        self.kind: Kind = "head" if plane.key == "head" else "abdomen"
        self._volume = GreyReader(volume, plane.matrix)
        half_x, half_y = plane.half_axes_mm
        height = HEAD_HEIGHT * half_y
        self.first = _Model(self.kind, np.zeros(3), np.array([half_x, half_y, height]))
        greys = self._greys(self.first.rays(), np.arange(-0.5, 0.5, 0.1) * half_y)
        known = greys[np.isfinite(greys)]
        self.contrast = max(float(np.ptp(np.percentile(known, [10, 90]))) if known.size else 0.0, 1.0)

    def _greys(self, rays: _Rays, steps: Array, nearest: bool = False) -> Array:
        """(..., N, R) greys at the expected distance + `steps` along the rays."""
        return self._volume.along(rays.starts, rays.ways, 1 + steps / rays.distances[..., None], nearest)

    def _strength(self, greys: Array, step: float) -> Array:
        """(N, R) how much each place of a profile is the edge that is looked for, in units of the contrast."""
        width, gap = _stretches(step)
        before, after = means_beside(greys, width)
        if self.kind == "abdomen":
            return (before - after) / self.contrast
        missing = np.full_like(before[:, :gap], np.nan)
        inner = np.concatenate([missing, before[:, :-gap]], axis=1)
        outer = np.concatenate([after[:, gap:], missing], axis=1)
        # a bright wall around the fluid stands out from one side only
        return np.asarray((greys - np.fmax(inner, outer)) / self.contrast)

    def scores(self, centres: Array, radii: Array, angles: Array, nearest: bool = False) -> Array:
        """Mean strength (M,) of the edge on the surface of models; a strong edge counts no more than a clear one.

        The strength is that of `_strength`, of which the place on the surface alone is read.

        Args:
            centres: (M, 3).
            radii: (M, 3).
            angles: (M,).
            nearest: read the nearest voxels.
        """
        width, gap = _stretches(_COARSE_MM)
        gap = gap if self.kind == "head" else 0
        beside = np.arange(gap + 1, gap + width + 1)
        steps = np.concatenate([-beside, beside, [0.0] if self.kind == "head" else []]) * _COARSE_MM
        greys = self._greys(_rays(self.kind, centres, radii, angles, _SPARSE), steps, nearest)
        inner, outer = greys[..., :width].mean(axis=-1), greys[..., width : 2 * width].mean(axis=-1)
        strength = inner - outer if self.kind == "abdomen" else greys[..., -1] - np.fmax(inner, outer)
        return np.asarray(np.clip(np.nan_to_num(strength / self.contrast, nan=0.0), 0.0, _CLEAR).mean(axis=-1))

    def searched(self) -> list[_Model]:
        """For each of some sizes the expected model, moved and scaled to where most of it lies on an edge."""
        return [self._searched(_Model(self.kind, self.first.centre, self.first.radii * scale)) for scale in _SIZES]

    def _searched(self, start: _Model) -> _Model:
        """Shifts and sizes from coarse to fine."""
        best, held, size = start, -math.inf, self.plane.half_axes_mm[1]
        for share, scales in _SEARCH:
            reach = (-share * size, 0.0, share * size)
            tried = itertools.product(reach, reach, reach if self.kind == "head" else (0.0,), scales)
            shifts = np.array([(0.0, 0.0, 0.0, 1.0), *tried])
            centres, radii = best.centre + shifts[:, :3], best.radii * shifts[:, 3:]
            likely = self.scores(centres, radii, np.zeros(len(radii)), nearest=True) - self._unlikely(centres, radii)
            highest = int(np.argmax(likely))
            if likely[highest] > held:
                best, held = _Model(self.kind, centres[highest], radii[highest]), float(likely[highest])
        return best

    def _unlikely(self, centres: Array, radii: Array) -> Array:
        """What models (M,) lose by being far from the expected one."""
        shifts = np.linalg.norm(centres, axis=1) / (0.2 * self.plane.half_axes_mm[1])
        growths = np.log(radii[:, 1] / self.first.radii[1]) / 0.15
        return np.asarray(0.5 * _PRIOR * (shifts**2 + growths**2))

    def fitted(self, models: list[_Model]) -> _Model | None:
        """The best of some models fitted to edges in windows that become narrower; None where too few are seen."""
        for window in _WINDOWS:
            following = (_fitted(model, self._edges_on(model.rays(), window)) for model in models)
            models = self._promising([model for model in following if model is not None])
        return models[0] if models else None

    def _promising(self, models: list[_Model]) -> list[_Model]:
        """The models that may still become the best, the best one first, each once."""
        if not models:
            return []
        centres, radii, angles = (
            np.array(each) for each in zip(*((m.centre, m.radii, m.angle) for m in models), strict=True)
        )
        scores = self.scores(centres, radii, angles)
        kept: list[_Model] = []
        for place in np.argsort(-scores, kind="stable"):
            if scores[place] >= _PROMISING * scores.max() and all(map(models[place].differs_from, kept)):
                kept.append(models[place])
        return kept

    def _edges_on(self, rays: _Rays, window: float) -> _Edges:
        half = window * float(rays.distances.max())
        margin = _STRETCH_MM + _SHELL_MM
        steps = np.arange(-half - margin, half + margin + _STEP_MM / 2, _STEP_MM)
        greys = self._greys(rays, steps)
        strength = self._strength(_smoothed(greys), _STEP_MM)
        strength = np.where(np.isfinite(strength), strength, -1.0)
        wanted = np.where(np.abs(steps) <= half, strength * np.exp(-0.5 * (steps / (0.7 * half)) ** 2), -1.0)
        at = np.clip(wanted.argmax(axis=1), 1, len(steps) - 2)
        rows = np.arange(len(at))
        low, mid, high = strength[rows, at - 1], strength[rows, at], strength[rows, at + 1]
        bend = low - 2 * mid + high
        fine = np.where(bend < 0, 0.5 * (low - high) / np.where(bend < 0, bend, 1.0), 0.0).clip(-0.5, 0.5)
        reach = rays.distances + steps[at] + fine * _STEP_MM
        return _Edges(rays.points(reach), mid)

    def outline(self, model: _Model, *, keep_plane: bool = False) -> Outline | None:
        """The ellipse in the plane through the middle of the model; of the abdomen at its largest section nearby."""
        heights = _RING_MM if self.kind == "head" else _SLAB_MM
        rays = model.ring(heights)
        edges = self._edges_on(rays, _WINDOWS[-1])
        seen = edges.seen
        shape = self._shape(edges.points[seen] - [0.0, 0.0, model.centre[2]]) if seen.sum() > _RAYS else None
        if shape is None:
            return None
        height = 0.0 if self.kind == "head" or keep_plane else shape.largest_height_mm
        plane = replace(self.plane, origin=self.plane.to_world(np.array([[0.0, 0.0, model.centre[2] + height]]))[0])
        ellipse = shape.section(height)
        residuals = shape.residuals_mm(edges.points - [0.0, 0.0, model.centre[2]])
        on_it = seen & (np.abs(residuals) < _TOLERANCE * ellipse.minor_mm)
        shown = on_it.reshape(len(heights), _RAYS).mean(axis=0) >= 0.5
        spread = float(np.sqrt(np.mean(residuals[on_it] ** 2))) if on_it.any() else math.nan
        beyond = self._edge_offset(rays, edges, on_it)
        outer = replace(ellipse, major_mm=ellipse.major_mm + beyond, minor_mm=ellipse.minor_mm + beyond)
        return Outline(outer, plane, float(shown.mean()), _widest_gap(shown), spread)

    def _shape(self, points: Array) -> TrunkShape | None:
        """Through edges (N, 3): of the abdomen with its changes along the trunk, of the head alike at all heights."""
        if self.kind == "abdomen":
            return fit_trunk(points)
        found = fit_ellipse_robustly(points[:, :2])
        return None if found is None else TrunkShape(found[0], np.zeros(2), 0.0, 0.0)

    def _edge_offset(self, rays: _Rays, edges: _Edges, on_it: NDArray[np.bool_]) -> float:
        """How far the outer edge lies outside the clearest places, mm; for the skin from the mean profile there."""
        if self.kind == "head" or not on_it.any():
            return _OUTER_TABLE_MM
        steps = np.arange(-_INSIDE_MM, _OUTSIDE_MM + 0.05, 0.1)
        greys = self._greys(_Rays.to(rays.starts[on_it], (edges.points - rays.starts)[on_it]), steps)
        return skin_beyond_mm(greys, steps)


def _fitted(model: _Model, edges: _Edges) -> _Model | None:
    """The model through the edges, outliers left out."""
    points = edges.points[edges.seen]
    if len(points) < _RAYS:
        return None
    if model.kind == "abdomen":
        found = fit_ellipse_robustly(points[:, :2])
        if found is None:
            return None
        ellipse = found[0]
        centre = np.array([ellipse.x_mm, ellipse.y_mm, 0.0])
        radii = np.array([ellipse.major_mm, ellipse.minor_mm, model.radii[2]])
        return _Model(model.kind, centre, radii, ellipse.angle)
    return _ellipsoid_through(points, model)


def _ellipsoid_through(points: Array, model: _Model) -> _Model | None:
    """The ellipsoid along the plane's axes through points: a weighted algebraic fit, reweighted by Tukey's biweight."""
    local = (points - model.centre) / model.radii
    weights = np.ones(len(local))
    centre, radii = np.zeros(3), np.ones(3)
    for _ in range(_ROUNDS):
        design = np.concatenate([local**2, local], axis=1) * weights[:, None]
        solved, *_ = np.linalg.lstsq(design, weights, rcond=None)
        squares, linear = solved[:3], solved[3:]
        if not (squares > 0).all():
            return None
        centre = -linear / (2 * squares)
        level = 1 + float(squares @ centre**2)
        radii = np.sqrt(level / squares)
        distances = np.linalg.norm((local - centre) / radii, axis=1) - 1
        spread = max(float(np.median(np.abs(distances))) / 0.6745, 1e-3)
        weights = np.clip(1 - (distances / (4.685 * spread)) ** 2, 0.0, None)
    return _Model(model.kind, model.centre + centre * model.radii, radii * model.radii)


def _stretches(step: float) -> tuple[int, int]:
    """Samples of the means on both sides of an edge, and between them and the brightest place of a skull."""
    return max(1, round(_STRETCH_MM / step)), max(1, round(_SHELL_MM / step))


def _smoothed(greys: Array) -> Array:
    """Profiles smoothed along the ray and between neighbours of one ring."""
    known = np.isfinite(greys)
    rings = np.where(known, greys, 0.0).reshape(-1, _RAYS, greys.shape[1])
    rings = gaussian_filter1d(rings, _SMOOTH_MM / _STEP_MM, axis=2, mode="nearest")
    rings = gaussian_filter1d(rings, 1.0, axis=1, mode="wrap")
    return np.where(known, rings.reshape(greys.shape), np.nan)


def _widest_gap(shown: NDArray[np.bool_]) -> float:
    """The widest angle, degrees, between neighbouring rays that show an edge."""
    found = np.flatnonzero(shown)
    if not len(found):
        return 360.0
    steps = np.diff(np.append(found, found[0] + len(shown)))
    return float((steps.max() - 1) * 360 / len(shown))
