"""What a simulated body really measures: circumferences of head and abdomen, from its shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from FetusMapV2Lib.phantom.build import warped_points
from FetusMapV2Lib.phantom.placement import nominal_extent
from FetusMapV2Lib.phantom.scene_options import CURRENT, SceneOptions
from FetusMapV2Lib.phantom.scenes import Individual, draw_individual, streams_of, torch_generator
from FetusMapV2Lib.phantom.shapes import Ellipsoid, Shell
from FetusMapV2Lib.phantom.simulated_case import resolve_style
from FetusMapV2Lib.phantom.tissues import Tissue
from FetusMapV2Lib.phantom.warps import Warp, draw_warp

_STOMACH_PLACE = 0.615
_ANGLES = np.linspace(0, 2 * np.pi, 720, endpoint=False)


@dataclass(frozen=True)
class BodyTruth:
    """True sizes of a simulated body, mm.

    Attributes:
        hc, bpd: of the skull's outer surface in the axial plane of its largest section.
        ac: of the skin in the transverse plane through the stomach.
    """

    hc: float
    bpd: float
    ac: float


def body_truth(
    seed: int,
    index: int,
    shape_kji: tuple[int, int, int],
    spacing_mm: float,
    renderer: str,
    style: str | None = None,
    anatomy: str = CURRENT,
) -> BodyTruth:
    """The truth of `simulate_case` with the same arguments."""
    one = draw_individual(seed, index, nominal_extent(shape_kji, spacing_mm), scene=SceneOptions(anatomy=anatomy))
    warp = _warp_of(seed, index, shape_kji, spacing_mm, style) if renderer == "second" else None
    head = _outline(*_head(one, warp), warp)
    return BodyTruth(
        hc=_perimeter(head),
        bpd=_narrowest(head),
        ac=_perimeter(_outline(*_abdomen(one, warp), warp)),
    )


def _warp_of(seed: int, index: int, shape_kji: tuple[int, int, int], spacing_mm: float, style: str | None) -> Warp:
    """The deformation of the second former: the seed of its picture comes after the draw of a style."""
    streams = streams_of(seed, index)
    resolve_style(style, torch_generator(streams["style"]))
    image_seed = int(streams["image"].integers(2**62))
    return draw_warp(np.random.default_rng(image_seed), (np.array(shape_kji[::-1]) - 1) * spacing_mm)


def _moved(points: np.ndarray, warp: Warp | None) -> np.ndarray:
    return points if warp is None else warp.moved(points)


def _head(one: Individual, warp: Warp | None) -> tuple[list[Ellipsoid], np.ndarray, np.ndarray]:
    """Skull, the middle of the brain case and the direction of the crown, in the volume."""
    shells = [shape for shape in one.fetus.shapes if isinstance(shape, Shell) and shape.body.tissue == Tissue.MEMBRANE]
    body = shells[0].body
    up = one.fetus.skeleton.head.rotation[:, 2]
    line = one.place.points(body.centre + np.outer([-1.0, 0.0, 1.0], up) * 0.3 * body.radii.min())
    return [body.transformed(one.place)], *_middle_and_direction(_moved(line, warp))


def _abdomen(one: Individual, warp: Warp | None) -> tuple[list[Ellipsoid], np.ndarray, np.ndarray]:
    """Outline of the trunk, the middle of the section at the stomach, and the direction of the spine there."""
    skeleton, girth = one.fetus.skeleton, one.size.girth
    line = []
    for place in (_STOMACH_PLACE + 0.06, _STOMACH_PLACE, _STOMACH_PLACE - 0.06):
        depth = skeleton.outline_depth(_STOMACH_PLACE)[1]
        frame = skeleton.spine.at(_STOMACH_PLACE)
        line.append(skeleton.spine.at(place).shift + frame.rotation[:, 1] * (0.30 * girth - depth))
    line = _moved(one.place.points(warped_points(np.array(line), one.size.build)), warp)
    skins = [s for s in one.fetus.shapes if isinstance(s, Ellipsoid) and s.tissue == Tissue.SKIN and s.tag == "solid"]
    trunk = skins[: len(skeleton.trunk)]
    return [body.transformed(one.place) for body in trunk], *_middle_and_direction(line)


def _middle_and_direction(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    direction = line[2] - line[0]
    return line[1], direction / np.linalg.norm(direction)


def _outline(bodies: list[Ellipsoid], centre: np.ndarray, normal: np.ndarray, warp: Warp | None) -> np.ndarray:
    """(N, 3) where rays from a centre, across a direction, leave what the bodies fill together in the volume."""
    x = np.cross(normal, np.eye(3)[int(np.argmin(np.abs(normal)))])
    x /= np.linalg.norm(x)
    directions = np.cos(_ANGLES)[:, None] * x + np.sin(_ANGLES)[:, None] * np.cross(normal, x)
    steps = np.linspace(0, 3 * max(body.radii.max() for body in bodies), 90)[:, None] * np.ones(len(directions))
    filled = np.array([_inside(centre + directions * reach[:, None], bodies, warp) for reach in steps])
    first = np.argmin(filled, axis=0)
    inner, outer = steps[first - 1, np.arange(len(first))], steps[first, np.arange(len(first))]
    for _ in range(12):
        middle = (inner + outer) / 2
        within = _inside(centre + directions * middle[:, None], bodies, warp)
        inner, outer = np.where(within, middle, inner), np.where(within, outer, middle)
    return centre + directions * inner[:, None]


def _inside(points: np.ndarray, bodies: list[Ellipsoid], warp: Warp | None) -> np.ndarray:
    """(N,) whether points of the volume lie in one of the bodies, as they were before a deformation."""
    if warp is not None:
        points = points + warp.displacement(torch.as_tensor(points)).numpy()
    levels = [np.linalg.norm((points - body.centre) @ body.axes / body.radii, axis=1) for body in bodies]
    return np.min(levels, axis=0) < 1


def _perimeter(ring: np.ndarray) -> float:
    return float(np.linalg.norm(ring - np.roll(ring, 1, axis=0), axis=1).sum())


def _narrowest(ring: np.ndarray) -> float:
    """The shortest line through the middle of a ring, from side to side."""
    half = len(ring) // 2
    return float(np.linalg.norm(ring[:half] - ring[half:], axis=1).min())
