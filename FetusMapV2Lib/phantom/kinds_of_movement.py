"""Poses of a fetus that moves in known ways with rests between: arms, legs, the trunk, jumps; without pictures.

The body is that of a simulated case; only its landmarks are computed, so that a sequence costs a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.activity import Kind
from FetusMapV2Lib.phantom.build import warped_points
from FetusMapV2Lib.phantom.fetus import landmarks
from FetusMapV2Lib.phantom.joints import ARM_RANGES, BODY_RANGES, LEG_RANGES, SIDES
from FetusMapV2Lib.phantom.limbs import Posture, pose_limbs
from FetusMapV2Lib.phantom.postures import draw_posture
from FetusMapV2Lib.phantom.shapes import Array
from FetusMapV2Lib.phantom.sizes import Size, sample_size
from FetusMapV2Lib.phantom.skeleton import pose_skeleton, spine_length

#: Frames of a rest and of a movement, least and most: 1.5-4 s and 1-2 s at four volumes a second.
REST_FRAMES, MOVEMENT_FRAMES = (6, 16), (4, 8)
_LIMITS = {
    **{name: (row[0], row[-1]) for name, row in BODY_RANGES.items()},
    **{f"{s}_{name}": (row[0], row[-1]) for s in SIDES for name, row in {**ARM_RANGES, **LEG_RANGES}.items()},
}
#: Slow drift of body and probe, mm and degrees per frame.
_DRIFT_MM, _DRIFT_DEG = 0.03, 0.1


@dataclass(frozen=True)
class KnownMovement:
    """A movement of a simulated sequence: its kind, and the frames between which it lies, both included."""

    kind: Kind
    first: int
    last: int


def moving_poses(generator: np.random.Generator, kinds: Sequence[Kind]) -> tuple[Array, list[KnownMovement]]:
    """Landmarks of a fetus that makes these movements one after the other, resting between them.

    Args:
        generator: source of randomness: body, posture, size and speed of each movement.
        kinds: "arm", "leg", "trunk" or "jump" each.

    Returns:
        (T, 22, 3) mm, and where the movements lie.
    """
    size = sample_size(generator)
    length = spine_length(size)
    posture = draw_posture(generator, size, length)
    frames: list[Array] = []
    known = []
    place = np.zeros(3)
    rest = _rest(generator)
    frames += [_pose(size, length, posture)] * rest
    for kind in kinds:
        count = int(generator.integers(MOVEMENT_FRAMES[0], MOVEMENT_FRAMES[1] + 1))
        target, way, turn = _target(generator, kind, posture, size)
        comes_back = kind == "jump" or bool(generator.random() < 0.6)
        known.append(KnownMovement(kind, len(frames), len(frames) + count - 1))
        for part in _course(count, comes_back):
            between = {name: value + part * (target[name] - value) for name, value in posture.items()}
            points = _pose(size, length, between)
            middle = points.mean(axis=0)
            turned = (points - middle) @ Rotation.from_rotvec(part * np.radians(turn)).as_matrix().T + middle
            frames.append(turned + place + part * way)
        if not comes_back:
            posture = target
        frames += [_pose(size, length, posture) + place] * _rest(generator)
    return _drifting(generator, np.stack(frames)), known


def seen_with_errors(
    generator: np.random.Generator, positions: Array, constant_mm: float = 1.2, changing_mm: float = 0.35
) -> Array:
    """Poses as an estimator finds them: errors that stay over the sequence, and errors that change with each frame.

    Args:
        generator: source of randomness.
        positions: (T, N, 3) mm.
        constant_mm: standard deviation per axis of the error that stays.
        changing_mm: of the error that changes.
    """
    lasting = generator.normal(0, constant_mm, positions.shape[1:])
    return np.asarray(positions + lasting + generator.normal(0, changing_mm, positions.shape))


def _pose(size: Size, length: float, posture: Posture) -> Array:
    skeleton = pose_skeleton(size, length, posture)
    return warped_points(landmarks(skeleton, pose_limbs(skeleton, posture)), size.build)


def _rest(generator: np.random.Generator) -> int:
    return int(generator.integers(REST_FRAMES[0], REST_FRAMES[1] + 1))


def _course(count: int, comes_back: bool) -> Array:
    """Share of the way (count,) at each frame: there, or there and back."""
    phase = (np.arange(count) + 1) / (count + 1 if comes_back else count)
    return np.asarray(np.sin(np.pi * phase) if comes_back else 0.5 - 0.5 * np.cos(np.pi * phase))


def _target(generator: np.random.Generator, kind: Kind, posture: Posture, size: Size) -> tuple[Posture, Array, Array]:
    """The posture that a movement leads to, and how the whole body goes along: mm, and a rotation vector in degrees."""
    target, way, turn = dict(posture), np.zeros(3), np.zeros(3)
    if kind in ("arm", "leg"):
        sides = SIDES if generator.random() < 0.3 else (str(generator.choice(SIDES)),)
        joints = ("shoulder_flexion", "elbow", "shoulder_abduction") if kind == "arm" else ("hip_flexion", "knee")
        for side in sides:
            for joint in joints:
                _move(generator, target, f"{side}_{joint}", 25.0, 60.0)
    elif kind == "trunk":
        if generator.random() < 0.3:
            turn = Rotation.random(random_state=generator).as_matrix()[0] * generator.uniform(22.0, 45.0)
        else:
            _move(generator, target, "trunk_flexion", 22.0, 40.0)
            _move(generator, target, "neck_flexion", 5.0, 15.0)
        for side in SIDES:  # limbs go along
            _move(generator, target, f"{side}_shoulder_flexion", 0.0, 12.0)
            _move(generator, target, f"{side}_hip_flexion", 0.0, 15.0)
    else:
        for side in SIDES:
            _move(generator, target, f"{side}_hip_flexion", 20.0, 45.0)
            _move(generator, target, f"{side}_knee", 20.0, 50.0)
        direction = Rotation.random(random_state=generator).as_matrix()[0]
        way = direction * generator.uniform(0.12, 0.35) * size.crl
        turn = Rotation.random(random_state=generator).as_matrix()[0] * generator.uniform(0.0, 20.0)
    return target, way, turn


def _move(generator: np.random.Generator, posture: Posture, name: str, least: float, most: float) -> None:
    """Change an angle by `least` to `most` degrees, to the side on which there is more room."""
    low, high = _LIMITS[name]
    amount = generator.uniform(least, most)
    up = high - posture[name] > posture[name] - low
    posture[name] = float(np.clip(posture[name] + (amount if up else -amount), low, high))


def _drifting(generator: np.random.Generator, frames: Array) -> Array:
    """The frames while body and probe drift slowly."""
    count, middle = len(frames), frames.mean(axis=(0, 1))
    shifts = np.outer(np.arange(count), generator.normal(0, _DRIFT_MM, 3))
    turns = Rotation.from_rotvec(np.radians(np.outer(np.arange(count), generator.normal(0, _DRIFT_DEG, 3)))).as_matrix()
    return np.asarray(np.einsum("txy,tny->tnx", turns, frames - middle) + middle + shifts[:, None])
