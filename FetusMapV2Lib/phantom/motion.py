"""A moving fetus: one body through a smooth run of postures, imaged frame by frame.

The body, its surroundings, probe and machine stay; joint angles and the place drift, speckle changes per frame.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation, Slerp

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.publishing import published
from FetusMapV2Lib.imaging.markups import write_markups
from FetusMapV2Lib.imaging.writing import write_sequence
from FetusMapV2Lib.phantom.fetus import Fetus, make_fetus
from FetusMapV2Lib.phantom.joints import ARM_RANGES, BODY_RANGES, LEG_RANGES, SIDES
from FetusMapV2Lib.phantom.limbs import Posture
from FetusMapV2Lib.phantom.placement import geometry_with, nominal_extent, whole_is_seen
from FetusMapV2Lib.phantom.postures import posture_is_free
from FetusMapV2Lib.phantom.rendering import render
from FetusMapV2Lib.phantom.scene_options import EARLIER, SceneOptions
from FetusMapV2Lib.phantom.scenes import Individual, draw_individual, streams_of, torch_generator
from FetusMapV2Lib.phantom.shapes import Rigid
from FetusMapV2Lib.phantom.simulated_case import (
    FULL_SHAPE,
    FULL_SPACING_MM,
    SimulatedCase,
    Style,
    case_record,
    resolve_style,
    simulated_volume,
)
from FetusMapV2Lib.phantom.sizes import Size
from FetusMapV2Lib.phantom.surroundings import Cavity

_CHECKS = 20
#: Shares of a movement or a drift that are tried one after the other until there is room for it.
_NEARER = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.08)


def _limits() -> dict[str, tuple[float, float]]:
    limits = {name: (low, high) for name, (low, _, _, high) in BODY_RANGES.items()}
    for ranges in (ARM_RANGES, LEG_RANGES):
        for name, (low, _, _, high) in ranges.items():
            limits.update({f"{side}_{name}": (low, high) for side in SIDES})
    return limits


def _between(first: Posture, second: Posture, part: float) -> Posture:
    return {name: first[name] + part * (second[name] - first[name]) for name in first}


def _phase(frame: int, frames: int) -> float:
    """0..1 with rest at both ends."""
    if frames < 2:
        return 0.0
    return float(0.5 - 0.5 * np.cos(np.pi * frame / (frames - 1)))


def draw_movement(generator: np.random.Generator, size: Size, length: float, start: Posture) -> Posture:
    """A posture to which the fetus can move from `start` along a straight line of joint angles without overlaps.

    A large movement is tried first, then smaller and smaller ones; `start` itself if none fits.
    """
    limits = _limits()
    # Limbs move more than the trunk; one limb may rest while another kicks.
    reach = {name: (high - low) * (0.10 if name in BODY_RANGES else 0.30) for name, (low, high) in limits.items()}
    for attempt in range(60):
        scale = 0.94**attempt
        target = {
            name: float(np.clip(value + scale * reach[name] * generator.normal(), *limits[name]))
            for name, value in start.items()
        }
        # backwards from the end, where overlaps are most likely
        path = (_between(start, target, part) for part in np.linspace(1.0, 0.0, _CHECKS))
        if all(posture_is_free(size, length, posture) for posture in path):
            return target
    return dict(start)


def _drift(start: Rigid, part: float, turn: np.ndarray, shift: np.ndarray) -> Rigid:
    slerp = Slerp([0.0, 1.0], Rotation.from_matrix(np.stack([np.eye(3), Rotation.from_rotvec(turn).as_matrix()])))
    return Rigid(slerp(part).as_matrix() @ start.rotation, start.shift + part * shift)


def _stays(fetus: Fetus, place: Rigid, cavity: Cavity, probe: object, extent: np.ndarray) -> bool:
    points = place.points(fetus.surface())
    return bool((cavity.level(points) < -0.2).all()) and whole_is_seen(fetus, place, probe, extent)  # type: ignore[arg-type]


def _drift_within(
    individual: Individual, target: Posture, turn: np.ndarray, shift: np.ndarray, extent: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The drift, or as much of it as leaves room at the end: a body does not jump back from the wall."""
    cavity = individual.cavity.transformed(individual.place)
    fetus = make_fetus(individual.size, target, np.random.default_rng(individual.variation), individual.length)
    for part in _NEARER:
        there = _drift(individual.place, 1.0, part * turn, part * shift)
        if _stays(fetus, there, cavity, individual.probe, extent):
            return part * turn, part * shift
    return 0 * turn, 0 * shift


def _within(individual: Individual, target: Posture, extent: np.ndarray) -> Posture:
    """The target, or one so much nearer that the sac and the field of view have room for it."""
    cavity = individual.cavity.transformed(individual.place)
    for part in _NEARER:
        nearer = _between(individual.posture, target, part)
        fetus = make_fetus(individual.size, nearer, np.random.default_rng(individual.variation), individual.length)
        if _stays(fetus, individual.place, cavity, individual.probe, extent):
            return nearer
    return target


def simulate_sequence(
    seed: int,
    index: int,
    frames: int,
    shape_kji: tuple[int, int, int] = FULL_SHAPE,
    spacing_mm: float = FULL_SPACING_MM,
    style: Style = None,
    device: torch.device | str = "cpu",
    gestational_age_days: float | None = None,
    scene: SceneOptions | None = None,
) -> list[SimulatedCase]:
    """A moving fetus as one case per frame; the first frame shows the scene of `simulate_case` of the same index.

    Args:
        seed: of the cases.
        index: of the case.
        frames: how many, at least 1.
        shape_kji: as for `simulate_case`, like all that follow.
        spacing_mm: of all frames.
        style: of all frames.
        device: of the image simulation.
        gestational_age_days: of the fetus.
        scene: of which the anatomy counts.

    Raises:
        InputError: `frames` is less than 1, or the volume is too small for the fetus.
    """
    if frames < 1:
        raise InputError(f"a sequence of {frames} frames", remedy="Ask for at least one frame")
    extent = nominal_extent(shape_kji, spacing_mm)
    scene = scene or SceneOptions()
    individual = draw_individual(seed, index, extent, gestational_age_days, scene)
    streams = streams_of(seed, index)
    chosen = resolve_style(style, torch_generator(streams["style"]))
    image_seed = int(streams["image"].integers(2**62))
    motion = streams["motion"]
    target = draw_movement(motion, individual.size, individual.length, individual.posture)
    if scene.anatomy != "2026-1":
        target = _within(individual, target, extent)
    turn = np.radians(motion.normal(0.0, 4.0, 3))
    shift = motion.normal(0.0, 1.0, 3)
    if scene.anatomy not in EARLIER:
        turn, shift = _drift_within(individual, target, turn, shift, extent)
    around = individual.surroundings_state
    cases: list[SimulatedCase] = []
    course: int | None = None
    size = individual.size
    fetus, place = individual.fetus, individual.place
    for frame in range(frames):
        part = _phase(frame, frames)
        if part > 0:
            moved = make_fetus(
                size,
                _between(individual.posture, target, part),
                np.random.default_rng(individual.variation),
                individual.length,
            )
            at = _drift(individual.place, part, turn, shift)
            for candidate in (at, individual.place):
                # at the wall or the edge of the field of view, the drift or the whole movement stops
                if _stays(moved, candidate, individual.cavity.transformed(individual.place), individual.probe, extent):
                    fetus, place = moved, candidate
                    break
        generator = np.random.Generator(np.random.PCG64())
        generator.bit_generator.state = around
        geometry = geometry_with(
            generator, fetus, individual.cavity.transformed(individual.place), place, individual.probe, extent, course
        )
        course = geometry.truth["cord_course"]
        picture = render(geometry, shape_kji, spacing_mm, "physics", chosen, image_seed + frame, device)
        record = {**case_record(seed, index, shape_kji, spacing_mm), **picture.record, "anatomy": scene.anatomy}
        truth = {**geometry.truth, **record, "shafts_mm": picture.shafts, "frame": frame}
        volume = replace(
            simulated_volume(picture.array, spacing_mm, f"case-{index:04d}"), name=f"case-{index:04d}-{frame:03d}"
        )
        cases.append(SimulatedCase(volume, Pose(geometry.landmarks), truth))
    return cases


def write_moving_case(
    folder: str | os.PathLike[str],
    frames: list[SimulatedCase],
    index: int,
    *,
    frame_interval_s: float | None = None,
    overwrite: bool = True,
) -> tuple[Path, ...]:
    """Write ``case-NNNN.seq.nrrd``, the landmarks of every frame ``case-NNNN_FFFF.mrk.json`` and ``case-NNNN.json``.

    All of them or none. The frames' stems are those under which `read_sequence` names them.

    Args:
        folder: of the files.
        frames: of `simulate_sequence`.
        index: NNNN of the names.
        frame_interval_s: seconds from frame to frame, kept in the sequence; None = not known.
        overwrite: whether existing files are replaced.

    Returns:
        the paths, the sequence first and the truth last.

    Raises:
        OutputError: one of them exists and may not be overwritten, or cannot be written.
    """
    stem = f"case-{index:04d}"
    sequence, truth = f"{stem}.seq.nrrd", f"{stem}.json"
    landmarks = [f"{stem}_{number:04d}.mrk.json" for number in range(len(frames))]
    times = None if frame_interval_s is None else [number * frame_interval_s for number in range(len(frames))]
    expected = (sequence, *landmarks, truth)
    with published(Path(folder), stem, expected=expected, overwrite=overwrite, private=False) as staging:
        write_sequence(staging / sequence, [frame.volume for frame in frames], times_s=times)
        for name, frame in zip(landmarks, frames, strict=True):
            write_markups(staging / name, frame.pose)
        write_json(staging / truth, {"frames": [frame.truth for frame in frames]})
    return tuple(Path(folder) / name for name in (sequence, *landmarks, truth))
