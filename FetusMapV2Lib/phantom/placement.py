"""Where a fetus lies in the volume: any orientation, everything in the field of view; and the whole scene.

The frame is the volume's: millimetres (i, j, k) from its centre. These are also its RAS coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.phantom.fetus import Fetus
from FetusMapV2Lib.phantom.probe import Probe, inside, sample_probe
from FetusMapV2Lib.phantom.shapes import Array, Ellipsoid, Rigid, Shape
from FetusMapV2Lib.phantom.sizes import Size
from FetusMapV2Lib.phantom.surroundings import (
    Cavity,
    Surroundings,
    sample_cord,
    sample_empty_cavity,
    sample_surroundings,
)
from FetusMapV2Lib.phantom.tissues import Tissue

#: Least distance of a landmark, and of any of the surface, from the faces of the volume, mm.
LANDMARK_MARGIN_MM, SURFACE_MARGIN_MM = 3.0, 0.5
_BATCH = 96


@dataclass(frozen=True, eq=False)
class CaseGeometry:
    """A scene in the volume's frame.

    Attributes:
        shapes: what is painted over the surroundings, in order.
        surroundings: cavity, placenta, wall, maternal tissue.
        probe: which looks at it.
        landmarks: (22, 3) mm, all NaN without a fetus.
        place: from the body frame to the volume's.
        extent_mm: (3,) extent (i, j, k) for which it was made.
        truth: record of what was drawn (JSON values).
    """

    shapes: tuple[Shape, ...]
    surroundings: Surroundings
    probe: Probe
    landmarks: Array
    place: Rigid
    extent_mm: Array
    truth: dict[str, Any]


def nominal_extent(shape_kji: tuple[int, int, int], spacing_mm: float) -> Array:
    """Extent (i, j, k) of a volume to the next even millimetre: equal for all resolutions of one field of view."""
    extent = np.array(shape_kji[::-1], dtype=np.float64) * spacing_mm
    return np.maximum(np.round(extent / 2.0) * 2.0, 2.0)


def _seen(points: Array, probe: Probe, slack: float) -> Array:
    """Which points (..., 3) the probe sees, `slack` (a fraction) inside the edge of its field."""
    rotation, centre = probe.frame()
    tensor = torch.as_tensor(points, dtype=torch.float64) - centre.double()
    local = tensor @ rotation.double().T
    phi, theta, r = probe.normalised(local[..., 0], local[..., 1], local[..., 2])
    keep = 1.0 - slack
    return np.asarray(inside(phi / keep, theta / keep, r / keep).numpy())


def _fits(points: Array, marks: Array, extent: Array, generator: np.random.Generator) -> tuple[Array, Array]:
    """Shifts (B, 3) that put rotated points (B, N, 3) and marks (B, 22, 3) in the box, and which could (B,)."""
    low = np.maximum(
        -extent / 2 + SURFACE_MARGIN_MM - points.min(axis=1), -extent / 2 + LANDMARK_MARGIN_MM - marks.min(axis=1)
    )
    high = np.minimum(
        extent / 2 - SURFACE_MARGIN_MM - points.max(axis=1), extent / 2 - LANDMARK_MARGIN_MM - marks.max(axis=1)
    )
    part = np.clip(generator.normal(0.5, 0.22, low.shape), 0.0, 1.0)
    return low + part * (high - low), np.asarray((high >= low).all(axis=1))


def find_place(
    generator: np.random.Generator, fetus: Fetus, probe: Probe, extent: Array, rounds: int = 6
) -> Rigid | None:
    """A random orientation and position in which the probe sees the whole fetus; None if none was found.

    The first of evenly drawn orientations that fits is taken, so that orientations stay as even as the field of
    view allows.
    """
    surface = fetus.surface()[::3]
    for _ in range(rounds):
        rotations = Rotation.random(_BATCH, random_state=generator).as_matrix()
        points = np.einsum("bxy,ny->bnx", rotations, surface)
        marks = np.einsum("bxy,ny->bnx", rotations, fetus.pose)
        shift, fitting = _fits(points, marks, extent, generator)
        seen = _seen(marks + shift[:, None], probe, 0.04).all(axis=1)
        seen &= _seen(points + shift[:, None], probe, 0.0).mean(axis=1) > 0.985
        found = np.flatnonzero(fitting & seen)
        if len(found):
            first = int(found[0])
            return Rigid(rotations[first], shift[first])
    return None


def whole_is_seen(fetus: Fetus, place: Rigid, probe: Probe, extent: Array) -> bool:
    """Whether all landmarks and nearly all of the surface lie in the box and in the probe's field of view."""
    surface, marks = place.points(fetus.surface()[::3]), place.points(fetus.pose)
    boxed = bool((np.abs(marks) <= extent / 2 - LANDMARK_MARGIN_MM).all() and (np.abs(surface) <= extent / 2).all())
    return boxed and bool(_seen(marks, probe, 0.04).all() and _seen(surface, probe, 0.0).mean() > 0.985)


def seen_landmarks(geometry: CaseGeometry) -> Array:
    """The landmarks of a scene (22, 3) mm, those missing (NaN) that lie outside the box or the field of view."""
    marks = geometry.landmarks
    boxed = (np.abs(marks) <= geometry.extent_mm / 2).all(axis=1)
    shown = np.logical_and(boxed, _seen(marks, geometry.probe, 0.0))
    return np.where(shown[:, None], marks, np.nan)


def place_fetus(
    generator: np.random.Generator, probe_generator: torch.Generator, fetus: Fetus, extent: Array
) -> tuple[Rigid, Probe] | None:
    """Position of the fetus, and a probe that sees it; None if none is found."""
    for attempt in range(5):
        wide = {"least_coverage": 0.72 + 0.05 * attempt}
        probe = sample_probe(probe_generator, extent.tolist(), **wide)
        place = find_place(generator, fetus, probe, extent)
        if place is not None:
            return place, probe
    return None


def is_roomy(cavity: Cavity, size: Size) -> bool:
    """Whether a cavity holds far more fluid than is normal at this age, because the posture is too extended."""
    return cavity.volume_ml > 1.5 * (size.fluid_ml + size.body_ml)


def geometry_with(
    generator: np.random.Generator,
    fetus: Fetus,
    cavity: Cavity,
    place: Rigid,
    probe: Probe,
    extent: Array,
    cord_course: int | None = None,
) -> CaseGeometry:
    """The scene around a positioned fetus; `cavity` in the volume's frame."""
    surroundings, distractors = sample_surroundings(generator, cavity, fetus.size, extent)
    if cavity.clings_mm:
        surroundings = replace(surroundings, body=place.points(fetus.surface()))
    cord, course = sample_cord(generator, fetus, place, surroundings, cord_course)
    shapes = [*distractors, *cord, *(shape.transformed(place) for shape in fetus.shapes)]
    quaternion = Rotation.from_matrix(place.rotation).as_quat()
    truth = {
        **fetus.truth,
        "fetus_present": True,
        "orientation_xyzw": [round(float(value), 6) for value in quaternion],
        "position_mm": [round(float(value), 4) for value in place.shift],
        "cavity_ml": round(cavity.volume_ml, 2),
        "yolk_sac": bool(distractors),
        "cord_course": course,
    }
    if cavity.clings_mm:
        truth["sac_distance_mm"] = round(cavity.clings_mm, 2)
    return CaseGeometry(tuple(shapes), surroundings, probe, place.points(fetus.pose), place, extent, truth)


def empty_geometry(
    generator: np.random.Generator, probe_generator: torch.Generator, size: Size, extent: Array
) -> CaseGeometry:
    """A uterus without a fetus: an empty cavity, sometimes with a yolk sac, sometimes cysts in the tissue."""
    probe = sample_probe(probe_generator, extent.tolist())
    cavity = sample_empty_cavity(generator, extent)
    surroundings, shapes = sample_surroundings(generator, cavity, size, extent)
    for _ in range(int(generator.integers(0, 6))):
        axes = Rotation.random(random_state=generator).as_matrix()
        radii = generator.uniform(1.5, 14.0) * generator.uniform(0.5, 1.0, 3)
        centre = generator.uniform(-0.5, 0.5, 3) * extent
        tissue = (Tissue.FLUID, Tissue.FLUID, Tissue.PLACENTA, Tissue.MUSCLE)[int(generator.integers(4))]
        shapes.append(Ellipsoid(Tissue.BOUNDARY, centre, radii, axes))
        shapes.append(Ellipsoid(tissue, centre, radii, axes, inset=0.5))
    truth = {"fetus_present": False, "cavity_ml": round(cavity.volume_ml, 2)}
    nothing = np.full((default_schema().count, 3), np.nan)
    return CaseGeometry(tuple(shapes), surroundings, probe, nothing, Rigid(), extent, truth)
