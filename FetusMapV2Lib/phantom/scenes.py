"""The scene of a case, before any grid: who is in it, where, and what lies around.

One seed and one index give one scene of an anatomy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.phantom.annotators import annotated
from FetusMapV2Lib.phantom.build import draw_build, warped_shape
from FetusMapV2Lib.phantom.fetus import Fetus, make_fetus
from FetusMapV2Lib.phantom.head_shapes import head_shapes
from FetusMapV2Lib.phantom.limbs import Posture
from FetusMapV2Lib.phantom.other_scenes import other_geometry
from FetusMapV2Lib.phantom.placement import (
    CaseGeometry,
    empty_geometry,
    geometry_with,
    is_roomy,
    place_fetus,
    seen_landmarks,
)
from FetusMapV2Lib.phantom.postures import NoPostureError, draw_posture
from FetusMapV2Lib.phantom.probe import Probe
from FetusMapV2Lib.phantom.scene_options import CURRENT, SceneOptions
from FetusMapV2Lib.phantom.shapes import Array, Rigid
from FetusMapV2Lib.phantom.sizes import Size, sample_size
from FetusMapV2Lib.phantom.skeleton import spine_length
from FetusMapV2Lib.phantom.surroundings import Cavity, sample_cavity

_ATTEMPTS, _BODIES = 40, 8
#: Share of sacs that cling to the body, and their mean distance from it (least, most), mm.
_CLINGING, _CLINGS_MM = 0.3, (1.2, 9.0)
#: The same of the scenes "clinging": there is hardly any fluid.
_CLOSE_MM = (1.0, 3.5)
#: How often arms, and how often legs, are held in which manner (`draw_posture`).
_MANNERS = {
    "2026-4": {"folded": 0.7},
    "2026-5": {"folded": 0.7, "raised": 0.8},
    "2026-6": {"folded": 0.6, "raised": 0.7, "along": 0.5},
}
#: Least gap between twins, mm.
_TWIN_GAP_MM = 1.5
_STREAMS = (
    "size", "posture", "variation", "place", "surroundings", "probe", "style", "image", "motion", "renderer", "build",
    "annotator", "twin",
)  # fmt: skip


def streams_of(seed: int, index: int) -> dict[str, np.random.Generator]:
    """Independent sources of randomness of a case, so that changing one part does not change the others."""
    children = np.random.SeedSequence([seed, index]).spawn(len(_STREAMS))
    return {name: np.random.default_rng(child) for name, child in zip(_STREAMS, children, strict=True)}


def torch_generator(source: np.random.Generator, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of torch, seeded from one of NumPy."""
    return torch.Generator(device=device).manual_seed(int(source.integers(2**62)))


@dataclass(frozen=True, eq=False)
class Individual:
    """One fetus with its position, before the scene around it is drawn.

    Attributes:
        size, length, posture, fetus: the body; length of the spine in mm.
        variation: seed of the differences between individuals inside.
        cavity: in the body frame.
        place, probe: where it lies, and what looks at it.
        surroundings_state: state of the generator that draws the rest of the scene.
    """

    size: Size
    length: float
    posture: Posture
    fetus: Fetus
    variation: int
    cavity: Cavity
    place: Rigid
    probe: Probe
    surroundings_state: Any

    def scene(self, extent_mm: Array) -> CaseGeometry:
        """The body with what lies around it."""
        generator = np.random.Generator(np.random.PCG64())
        generator.bit_generator.state = self.surroundings_state
        cavity = self.cavity.transformed(self.place)
        return geometry_with(generator, self.fetus, cavity, self.place, self.probe, extent_mm)


def draw_individual(
    seed: int,
    index: int,
    extent_mm: Array,
    gestational_age_days: float | None = None,
    scene: SceneOptions | None = None,
) -> Individual:
    """The fetus of a case and where it lies, in a volume of this extent (i, j, k) mm.

    Raises:
        InputError: no posture of the fetus fits into the volume.
    """
    scene = scene or SceneOptions()
    streams = streams_of(seed, index)
    size = sample_size(streams["size"], gestational_age_days, scene.anatomy)
    build = streams["build"]
    clings_mm = 0.0
    another = None if scene.anatomy == "2026-1" else partial(_some_body, build, size, scene.anatomy)
    if another is not None:
        size = another()
        clings_mm = float(build.uniform(*_CLINGS_MM)) if build.random() < _CLINGING else 0.0
    if scene.shows == "clinging":
        clings_mm = float(streams["twin"].uniform(*_CLOSE_MM))
    probes = torch_generator(streams["probe"])
    if 0.8 * size.crl > float(np.linalg.norm(extent_mm)):
        raise _too_small(size, extent_mm)
    length = spine_length(size)
    variation = int(streams["variation"].integers(2**62))
    for attempt in range(_ATTEMPTS):
        size, length, posture = _posed(size, length, another, scene.anatomy, streams["posture"])
        fetus = make_fetus(size, posture, np.random.default_rng(variation), length)
        cavity = sample_cavity(streams["surroundings"], fetus)
        if is_roomy(cavity, size) and attempt < _ATTEMPTS // 2:
            continue
        found = place_fetus(streams["place"], probes, fetus, extent_mm)
        if found is not None:
            state = streams["surroundings"].bit_generator.state
            cavity = replace(cavity, clings_mm=clings_mm)
            return Individual(size, length, posture, fetus, variation, cavity, *found, state)
    raise _too_small(size, extent_mm)


def _some_body(generator: np.random.Generator, size: Size, anatomy: str = CURRENT) -> Size:
    """A size with a body of its own in which limbs and head are free to move; the usual body if none is found."""
    for _ in range(_BODIES):
        own = size.built(draw_build(generator, size.days, size.crl, anatomy))
        try:
            draw_posture(generator, own, spine_length(own), attempts=40, manners=_MANNERS.get(anatomy))
        except NoPostureError:
            continue
        return own
    return size


def _posed(
    size: Size, length: float, another: Callable[[], Size] | None, anatomy: str, postures: np.random.Generator
) -> tuple[Size, float, Posture]:
    """A body, the length of its spine (mm) and a posture; another body where this one has hardly any posture.

    Raises:
        NoPostureError: there is no other body (None), or none of some has a posture.
    """
    for _ in range(_BODIES):
        try:
            return size, length, draw_posture(postures, size, length, manners=_MANNERS.get(anatomy))
        except NoPostureError:
            if another is None:
                raise
            size = another()
            length = spine_length(size)
    raise NoPostureError(f"none of {_BODIES} bodies has a posture without self-intersection")


def _too_small(size: Size, extent_mm: Array) -> InputError:
    return InputError(
        f"a fetus of {size.crl:.0f} mm does not fit into a volume of {'x'.join(f'{e:.0f}' for e in extent_mm)} mm",
        remedy="Simulate a larger volume or a coarser spacing",
    )


def sample_geometry(
    seed: int,
    index: int,
    extent_mm: Array,
    *,
    scene: SceneOptions | None = None,
    gestational_age_days: float | None = None,
) -> CaseGeometry:
    """The scene of a case, before any grid.

    Args:
        seed: of a set of cases.
        index: of the case within the set.
        extent_mm: (3,) extent (i, j, k) of the volume; `nominal_extent` gives it.
        scene: what it shows; a fetus of the current anatomy if None.
        gestational_age_days: drawn evenly between 10 and 15 weeks if None.

    Raises:
        InputError: no posture of the fetus fits into the volume.
    """
    scene = scene or SceneOptions()
    streams = streams_of(seed, index)
    if scene.shows in ("empty", "organs", "spine", "tissue"):
        size = sample_size(streams["size"], gestational_age_days, scene.anatomy)
        around, probes = streams["surroundings"], torch_generator(streams["probe"])
        if scene.shows == "empty":
            return empty_geometry(around, probes, size, extent_mm)
        return other_geometry(scene.shows, around, probes, size, extent_mm)
    one = draw_individual(seed, index, extent_mm, gestational_age_days, scene)
    if scene.shows == "partial":
        one = replace(one, place=_moved_out(streams["twin"], one, extent_mm))
    geometry = one.scene(extent_mm)
    if scene.shows == "head":
        return _head_alone(geometry, one)
    if scene.shows == "twins":
        # Twins of the first anatomy have always had the bodies of the second.
        anatomy = "2026-2" if scene.anatomy == "2026-1" else scene.anatomy
        geometry = _with_twin(geometry, streams["twin"], one, anatomy, extent_mm)
    if scene.shows == "partial":
        geometry = replace(geometry, landmarks=seen_landmarks(geometry))
    if scene.annotated:
        landmarks, record = annotated(geometry.landmarks, streams["annotator"])
        truth = {**geometry.truth, "annotation": record}
        geometry = replace(geometry, landmarks=landmarks, truth=truth)
    return geometry if scene.shows == "fetus" else replace(geometry, truth={**geometry.truth, "shows": scene.shows})


def _moved_out(generator: np.random.Generator, one: Individual, extent_mm: Array) -> Rigid:
    """A place in which the volume shows a part of the body: some landmarks lie beyond a face of it."""
    marks = one.place.points(one.fetus.pose)
    axis, sign = int(generator.integers(3)), (1.0 if generator.random() < 0.5 else -1.0)
    along = np.sort(sign * marks[:, axis])
    beyond = int(generator.integers(4, 15))  # landmarks that are lost
    shift = np.zeros(3)
    shift[axis] = sign * (extent_mm[axis] / 2 - (along[-beyond] + along[-beyond - 1]) / 2)
    return Rigid(one.place.rotation, one.place.shift + shift)


def _head_alone(geometry: CaseGeometry, one: Individual) -> CaseGeometry:
    """The scene with a head in place of the fetus: no body and no cord."""
    own = len(one.fetus.shapes)
    distractors = [shape for shape in geometry.shapes[:-own] if shape.tag == "sac"]
    variation = np.random.default_rng(one.variation)
    head = sorted(head_shapes(one.fetus.skeleton, variation), key=lambda shape: shape.order)
    placed = [warped_shape(shape, one.size.build).transformed(one.place) for shape in head]
    truth = {"fetus_present": False, "shows": "head", "cavity_ml": geometry.truth["cavity_ml"]}
    nothing = np.full_like(geometry.landmarks, np.nan)
    return replace(geometry, shapes=(*distractors, *placed), landmarks=nothing, truth=truth)


def _with_twin(
    geometry: CaseGeometry, generator: np.random.Generator, one: Individual, anatomy: str, extent_mm: Array
) -> CaseGeometry:
    """The scene with a second fetus of the same age in a sac of its own; it may lie partly outside the volume."""
    another = partial(_some_body, generator, sample_size(generator, one.size.days), anatomy)
    size = another()
    size, _, posture = _posed(size, spine_length(size), another, anatomy, generator)
    twin = make_fetus(size, posture, np.random.default_rng(generator.integers(2**62)))
    surface, body = twin.surface(), KDTree(one.place.points(one.fetus.surface()))
    best, gap = Rigid(), -np.inf
    for attempt in range(400):
        rotation = Rotation.random(random_state=generator).as_matrix()
        place = Rigid(rotation, generator.uniform(-0.5, 0.5, 3) * extent_mm * (1.0 + attempt / 400))
        found = float(body.query(place.points(surface[::2]))[0].min())
        if found > gap:
            best, gap = place, found
        if gap > _TWIN_GAP_MM:
            break
    sac = sample_cavity(generator, twin).transformed(best)
    surroundings = replace(geometry.surroundings, twin=sac)
    shapes = (*(shape.transformed(best) for shape in twin.shapes), *geometry.shapes)
    marks = [[round(float(value), 4) for value in row] for row in best.points(twin.pose)]
    truth = {**geometry.truth, "twin_landmarks_mm": marks}
    return replace(geometry, surroundings=surroundings, shapes=shapes, truth=truth)
