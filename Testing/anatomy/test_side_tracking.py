"""Sides over a sequence: flips of whole limbs and of single joints are corrected, in the middle and from the start."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from anatomy.bodies import standing_body
from anatomy.moving_bodies import SCHEMA, bent_elbow, carried
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.laterality import resolve_sides
from FetusMapV2Lib.anatomy.registration import register
from FetusMapV2Lib.anatomy.side_tracking import track_sides

ARMS, LEGS = SCHEMA.pairs_of("la"), SCHEMA.pairs_of("ll")
FRAMES = 12


def moving(seed: int = 0, noise_mm: float = 1.0) -> np.ndarray:
    """A body that bends an elbow while it is carried and turned, with landmark errors."""
    frames = carried(bent_elbow(np.linspace(0, 60, FRAMES)), 5.0, 2.0)
    return frames + np.random.default_rng(seed).normal(0, noise_mm, frames.shape)


def flipped(frames: np.ndarray, which, pairs) -> np.ndarray:
    """Frames in which joints carry each other's names."""
    given = frames.copy()
    for frame in which:
        for left, right in pairs:
            given[frame, [left, right]] = frames[frame, [right, left]]
    return given


def settled(given: np.ndarray, radii: np.ndarray | None = None) -> np.ndarray:
    order = track_sides(given, SCHEMA, radii).order
    return np.take_along_axis(given, order[..., None], axis=1)


def test_right_sides_stay():
    frames = moving()
    sides = track_sides(frames, SCHEMA)
    assert not sides.changed.any()
    assert all(one.arms_confidence > 0.8 and not one.arms_swapped for one in sides.laterality)


@pytest.mark.parametrize("pairs", [ARMS, LEGS, ARMS + LEGS], ids=["arms", "legs", "both"])
@pytest.mark.parametrize("which", [[5], [0], [11], [3, 4, 8]], ids=["middle", "first", "last", "several"])
@pytest.mark.parametrize("seed", [1, 2])
def test_limbs_that_flip_in_single_frames_are_corrected(which, pairs, seed):
    frames = moving(seed)
    given = flipped(frames, which, pairs)
    np.testing.assert_array_equal(settled(given), frames)
    sides = track_sides(given, SCHEMA)
    assert np.flatnonzero(sides.changed).tolist() == which
    assert sides.laterality[which[0]].legs_swapped == (pairs != ARMS)


@pytest.mark.parametrize("joint", [1, 2], ids=["middle joint", "last joint"])
def test_a_single_joint_that_flips_is_corrected(joint):
    frames = moving(3, 0.5)  # the ankles of this body lie 6 mm apart
    given = flipped(frames, [4, 7], [LEGS[joint]])
    np.testing.assert_array_equal(settled(given, np.full(given.shape[:2], 2.0)), frames)


def test_geometry_names_the_sides_even_where_all_frames_are_given_wrong():
    frames = moving(4)
    np.testing.assert_array_equal(settled(flipped(frames, range(FRAMES), ARMS + LEGS)), frames)


def test_a_frame_whose_geometry_lies_is_outvoted():
    """The head is seen from the wrong side in two frames: Eq. 7 alone would exchange the arms there."""
    frames = moving(5, 0.5)
    for frame in (2, 6):
        chin, neck = SCHEMA.head_frame_rows[1:]
        frames[frame, [chin, neck]] = frames[frame, [neck, chin]]
        sides = resolve_sides(frames[frame], SCHEMA)[1]
        assert sides.arms_swapped and sides.arms_confidence > 0.8
    together = track_sides(frames, SCHEMA)
    assert not together.changed.any()
    # ten frames speak for it, two against
    assert together.laterality[0].arms_confidence == pytest.approx(8 / 12, abs=0.1)


def test_without_geometry_limbs_still_keep_their_names():
    frames = moving(6)
    frames[:, [SCHEMA.head_frame_rows[1], SCHEMA.trunk_frame_rows[1]]] = np.nan
    sides = track_sides(flipped(frames, [4], ARMS), SCHEMA)
    assert np.flatnonzero(sides.changed).tolist() == [4]
    assert sides.laterality[0].arms_confidence == 0.0


def test_frames_without_a_fetus_and_missing_landmarks_are_passed_over():
    frames = moving(7)
    frames[3] = np.nan
    frames[5:, SCHEMA.index("left_wrist")] = np.nan
    frames[8, SCHEMA.index("right_hip")] = np.nan
    given = flipped(frames, [4], ARMS)
    np.testing.assert_array_equal(settled(given), frames)
    nobody = track_sides(np.full((3, 22, 3), np.nan), SCHEMA)
    assert not nobody.changed.any() and nobody.laterality[0].arms_confidence == 0.0


def test_without_limbs_no_side_changes():
    frames = moving(11)
    frames[:, 10:] = np.nan
    sides = track_sides(frames, SCHEMA)
    assert not sides.changed.any() and sides.laterality[0].legs_confidence == 0.0


def test_a_landmark_that_is_lost_for_a_frame_changes_no_side():
    frames = moving(8)
    frames[6, SCHEMA.index("left_ankle")] = frames[6, SCHEMA.index("right_ankle")] + 0.5
    radii = np.full(frames.shape[:2], 3.0)
    radii[6, SCHEMA.index("left_ankle")] = 20.0
    assert not track_sides(frames, SCHEMA, radii).changed.any()


def test_legs_that_cross_keep_their_names():
    frames = np.tile(standing_body(), (FRAMES, 1, 1))
    left, right = SCHEMA.index("left_ankle"), SCHEMA.index("right_ankle")
    part = np.linspace(0, 1, FRAMES)[:, None]
    frames[:, left] = (1 - part) * frames[0, left] + part * (frames[0, right] + [0, 3, 0])
    frames[:, right] = (1 - part) * frames[0, right] + part * (frames[0, left] - [0, 3, 0])
    frames += np.random.default_rng(9).normal(0, 0.5, frames.shape)
    assert not track_sides(frames, SCHEMA).changed.any()


def test_one_frame_is_named_by_geometry():
    frames = flipped(moving(10)[:1], [0], LEGS)
    assert track_sides(frames, SCHEMA).changed.all()


def unclear(seed: int, frames: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Frames whose limbs are hard to tell apart, with names exchanged at random, and their 90 % radii."""
    random = np.random.default_rng(seed)
    body = standing_body()
    for rows in (ARMS + LEGS,):
        for left, right in rows:  # the sides lie closer together than in life
            centre = (body[left] + body[right]) / 2
            body[[left, right]] = centre + 0.35 * (body[[left, right]] - centre)
    radii = random.uniform(1.0, 9.0, (frames, 22))
    radii[:, :10] = random.uniform(1.0, 12.0, (frames, 10))
    points = body + random.normal(0, 1.0, (frames, 22, 3)) * radii[..., None] / 3.0
    for frame, (left, right) in ((f, p) for f in range(frames) for p in ARMS + LEGS):
        if random.random() < 0.3:
            points[frame, [left, right]] = points[frame, [right, left]]
        if random.random() < 0.08:
            points[frame, random.choice([left, right])] = np.nan
    turns = Rotation.random(frames, random_state=random).as_matrix()
    return np.einsum("tnc,tdc->tnd", points, turns) + random.normal(0, 20, (frames, 1, 3)), radii


def geometry(points: np.ndarray, radii: np.ndarray, limb: str) -> tuple[float, bool]:
    """Confidence in one frame by Eq. 7, and whether the limbs are exchanged by it."""
    sides = resolve_sides(points, SCHEMA, radii)[1]
    return (sides.arms_confidence, sides.arms_swapped) if limb == "la" else (sides.legs_confidence, sides.legs_swapped)


def reference(points: np.ndarray, pairs: tuple[tuple[int, int], ...]) -> int:
    """The first pair of joints that is complete."""
    return next((joint for joint, pair in enumerate(pairs) if np.isfinite(points[list(pair)]).all()), 0)


def likeliest_choices(points: np.ndarray, radii: np.ndarray, limb: str) -> list[tuple[int, ...]]:
    """The choices of the least cost among all, by the definition of each part of it."""
    pairs, sds = SCHEMA.pairs_of(limb), radii / 2.5002777
    options = list(itertools.product((0, 1), repeat=3))
    aligned = [points[0]]
    for frame in points[1:]:
        aligned.append(register(frame[:10], aligned[-1][:10], scale=False).apply(frame))

    def row(joint: int, side: int, option: tuple[int, ...]) -> int:
        return pairs[joint][1 - side if option[joint] else side]

    def capped(square: float) -> float:
        return 0.0 if np.isnan(square) else 0.5 * min(square, 4.0**2)

    def bone(frame: int, side: int, first: int, option: tuple[int, ...]) -> tuple[float, float]:
        ends = [row(joint, side, option) for joint in (first, first + 1)]
        return float(np.linalg.norm(points[frame, ends[0]] - points[frame, ends[1]])), float(
            (sds[frame, ends] ** 2).sum()
        )

    usual = [
        np.nanmedian([bone(frame, side, first, (0, 0, 0))[0] for frame in range(len(points)) for side in (0, 1)])
        for first in (0, 1)
    ]

    def within(frame: int, option: tuple[int, ...]) -> float:
        confidence, swapped = geometry(points[frame], radii[frame], limb)
        agrees = option[reference(points[frame], pairs)] == swapped
        cost = -math.log((1 + (1 if agrees else -1) * min(confidence, 0.98)) / 2)
        cost += math.log(20.0) * min(sum(option), 3 - sum(option)) + 1e-6 * sum(option)
        for side, first in itertools.product((0, 1), (0, 1)):
            length, variance = bone(frame, side, first, option)
            cost += capped((length - usual[first]) ** 2 / (variance + 1.0**2))
        return cost

    def step(frame: int, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        cost = 0.0
        for side, joint in itertools.product((0, 1), (0, 1, 2)):
            one, two = row(joint, side, before), row(joint, side, after)
            variance = sds[frame - 1, one] ** 2 + sds[frame, two] ** 2 + 3.0**2
            cost += capped(float(((aligned[frame - 1][one] - aligned[frame][two]) ** 2).sum()) / variance)
        return cost

    frames = range(len(points))
    alone = [{option: within(frame, option) for option in options} for frame in frames]
    steps = [{(a, b): step(frame, a, b) for a in options for b in options} for frame in frames[1:]]

    def cost(choices: tuple[tuple[int, ...], ...]) -> float:
        moves = sum(table[pair] for table, pair in zip(steps, itertools.pairwise(choices), strict=True))
        return sum(table[choice] for table, choice in zip(alone, choices, strict=True)) + moves

    return list(min(itertools.product(options, repeat=len(points)), key=cost))


@pytest.mark.parametrize("seed", range(30))
def test_the_sides_are_those_of_the_least_cost_among_all_choices(seed):
    points, radii = unclear(seed, 3)
    found = track_sides(points, SCHEMA, radii)
    for limb in ("la", "ll"):
        pairs = SCHEMA.pairs_of(limb)
        chosen = [tuple(int(row[left] == right) for left, right in pairs) for row in found.order]
        assert chosen == likeliest_choices(points, radii, limb)
        agreement = []
        for frame, choice in enumerate(chosen):
            confidence, swapped = geometry(points[frame], radii[frame], limb)
            agreement.append(confidence if choice[reference(points[frame], pairs)] == swapped else -confidence)
        together = [one.arms_confidence if limb == "la" else one.legs_confidence for one in found.laterality]
        assert together == pytest.approx([max(0.0, float(np.mean(agreement)))] * len(points))
        changed = [one.arms_swapped if limb == "la" else one.legs_swapped for one in found.laterality]
        assert changed == [choice[0] == 1 for choice in chosen]


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="positions"):
        track_sides(np.zeros((3, 5, 3)), SCHEMA)
    with pytest.raises(ValueError, match="radius90_mm"):
        track_sides(np.zeros((3, 22, 3)), SCHEMA, np.zeros((2, 22)))
