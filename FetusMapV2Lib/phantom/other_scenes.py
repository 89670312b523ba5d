"""Scenes without a fetus that look like something: organs and cysts, a spine phantom, plain tissue.

The frame is the volume's: millimetres (i, j, k) from its centre.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.phantom.placement import CaseGeometry
from FetusMapV2Lib.phantom.probe import sample_probe
from FetusMapV2Lib.phantom.shapes import Array, Ellipsoid, Rigid, Shape, spline, tube, unit
from FetusMapV2Lib.phantom.sizes import Size
from FetusMapV2Lib.phantom.surroundings import Cavity, sample_surroundings
from FetusMapV2Lib.phantom.tissues import Tissue

_FAR_MM = 1e4


def other_geometry(
    shows: str, generator: np.random.Generator, probe_generator: torch.Generator, size: Size, extent: Array
) -> CaseGeometry:
    """A scene of "organs", a "spine" or "tissue" alone.

    Args:
        shows: which.
        generator: source of the scene.
        probe_generator: source of the probe.
        size: of the fetus that would be there; sets the thickness of the layers.
        extent: (3,) of the volume (i, j, k), mm.
    """
    probe = sample_probe(probe_generator, extent.tolist())
    # The uterus lies far away: what is left are the layers of maternal tissue.
    away = Cavity(np.full(3, _FAR_MM), np.eye(3), np.full(3, 10.0), np.zeros((1, 5)))
    surroundings, _ = sample_surroundings(generator, away, size, extent)
    shapes: list[Shape] = []
    if shows == "organs":
        shapes = _organs(generator, extent)
    elif shows == "spine":
        shapes = _spine(generator, extent)
    truth = {"fetus_present": False, "shows": shows}
    nothing = np.full((default_schema().count, 3), np.nan)
    return CaseGeometry(tuple(shapes), surroundings, probe, nothing, Rigid(), extent, truth)


def _axes(generator: np.random.Generator) -> Array:
    return np.asarray(Rotation.random(random_state=generator).as_matrix())


def _organs(generator: np.random.Generator, extent: Array) -> list[Shape]:
    """Kidneys with a bright middle and dark pyramids, cysts with septa, loops of bowel, vessels."""
    shapes: list[Shape] = []
    for _ in range(int(generator.integers(3, 9))):
        centre = generator.uniform(-0.4, 0.4, 3) * extent
        kind = int(generator.integers(4))
        if kind == 0:
            shapes += _kidney(generator, centre)
        elif kind == 1:
            shapes += _cyst(generator, centre, 0.25 * float(extent.min()))
        else:
            knots = centre + np.cumsum(generator.normal(0.0, 12.0, (5, 3)), axis=0)
            path, radius = spline(knots, 40), float(generator.uniform(1.5, 9.0))
            inner = Tissue.BLOOD if kind == 2 else Tissue.BOWEL
            shapes += [tube(Tissue.BOUNDARY, path, radius), tube(inner, path, 0.85 * radius)]
    return shapes


def _kidney(generator: np.random.Generator, centre: Array) -> list[Shape]:
    axes = _axes(generator)
    radii = generator.uniform(8.0, 28.0) * np.array([0.5, 0.55, 1.0])
    shapes: list[Shape] = [
        Ellipsoid(Tissue.BOUNDARY, centre, radii, axes),
        Ellipsoid(Tissue.KIDNEY, centre, radii, axes, inset=0.8),
        Ellipsoid(Tissue.BOWEL, centre, radii * np.array([0.35, 0.40, 0.62]), axes),
    ]
    for turn in np.linspace(0, 2 * np.pi, 7)[:-1]:
        for height in (-0.5, 0.0, 0.5):
            place = np.array([0.68 * np.cos(turn), 0.68 * np.sin(turn), height]) * np.sqrt(1 - 0.6 * height**2)
            shapes.append(Ellipsoid(Tissue.CARTILAGE, centre + axes @ (place * radii), 0.16 * radii, axes))
    return shapes


def _cyst(generator: np.random.Generator, centre: Array, most: float) -> list[Shape]:
    axes, radii = _axes(generator), generator.uniform(4.0, most) * generator.uniform(0.6, 1.0, 3)
    fluid = Tissue.FLUID if generator.random() < 0.6 else Tissue.EXTRA_FLUID
    shapes: list[Shape] = [
        Ellipsoid(Tissue.BOUNDARY, centre, radii, axes),
        Ellipsoid(fluid, centre, radii, axes, inset=0.8),
    ]
    for _ in range(int(generator.integers(0, 4))):  # solid parts on the wall
        side = unit(generator.normal(size=3))
        part = radii * generator.uniform(0.15, 0.45)
        tissue = (Tissue.PLACENTA, Tissue.SOFT, Tissue.BONE)[int(generator.integers(3))]
        shapes.append(Ellipsoid(tissue, centre + axes @ (0.8 * side * radii), part, _axes(generator)))
    return shapes


def _spine(generator: np.random.Generator, extent: Array) -> list[Shape]:
    """A row of vertebrae with arches and transverse processes in a block of gel, as training phantoms have."""
    shapes: list[Shape] = []
    if generator.random() < 0.6:
        gel = Tissue.FLUID if generator.random() < 0.5 else Tissue.BRAIN
        shapes.append(Ellipsoid(gel, np.zeros(3), extent * generator.uniform(0.25, 0.45), np.eye(3)))
    axes, scale = _axes(generator), float(generator.uniform(2.0, 12.0))
    count, pitch = int(generator.integers(5, 18)), 1.5 * scale
    height = (np.arange(count) - count / 2) * pitch
    bend = generator.uniform(0.0, 0.5) * count * pitch
    shift = generator.uniform(-0.15, 0.15, 3) * extent
    for level in height:
        at = np.array([0.0, bend * (level / (count * pitch)) ** 2, level])

        def place(x: float, y: float, z: float, at: Array = at) -> Array:
            return np.asarray(shift + axes @ (at + scale * np.array([x, y, z])))

        shapes.append(Ellipsoid(Tissue.BONE, place(0, 0, 0), scale * np.array([0.8, 0.6, 0.5]), axes))
        for side in (1.0, -1.0):
            arch = np.array([place(0.6 * side, 0.5, 0), place(0.7 * side, 1.1, 0), place(0.0, 1.7, -0.2)])
            shapes.append(tube(Tissue.BONE, arch, 0.2 * scale))
            wing = np.array([place(0.6 * side, 0.8, 0), place(1.9 * side, 1.0, 0.1)])
            shapes.append(tube(Tissue.BONE, wing, 0.16 * scale))
        shapes.append(tube(Tissue.BONE, np.array([place(0, 1.6, -0.1), place(0, 2.6, -0.5)]), 0.18 * scale))
    return shapes
