"""A shift that all bodies share is found however they lie; chance, few cases and lost bodies make none."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from anatomy.bodies import bodies

from FetusMapV2Lib.anatomy.body_frame import BodyFrame, body_frame, canonical_template
from FetusMapV2Lib.anatomy.landmark_shift import (
    LandmarkShift,
    fit_landmark_shift,
    in_body,
    moved_landmarks,
    shift_between,
)
from FetusMapV2Lib.anatomy.schema import default_schema

SCHEMA = default_schema()
FOREHEAD, LEFT_SHOULDER, RIGHT_SHOULDER = (SCHEMA.index(key) for key in ("forehead", "left_shoulder", "right_shoulder"))


def another_idea() -> LandmarkShift:
    """The forehead 5 % of the crown-rump length higher, the shoulders 3 % farther out."""
    by_landmark = np.zeros((22, 3))
    by_landmark[FOREHEAD, 2] = 0.05
    by_landmark[[LEFT_SHOULDER, RIGHT_SHOULDER], 0] = 0.03, -0.03
    return LandmarkShift(tuple(map(tuple, by_landmark.tolist())))


def misses(count: int, noise_mm: float, shift: LandmarkShift | None, seed: int = 1) -> np.ndarray:
    """(count, 22, 3) of a network that sees the landmarks of turned bodies with some noise."""
    truths = bodies(seed, count)
    template = canonical_template(truths, SCHEMA)
    generator = np.random.default_rng(seed)
    result = []
    for truth in truths:
        frame = body_frame(truth, None, template, SCHEMA)
        assert frame is not None
        seen = truth + generator.normal(0, noise_mm, truth.shape)
        result.append(in_body(truth - seen + (0 if shift is None else shift.in_world(frame)), frame))
    return np.array(result)


def test_a_shared_shift_is_found_in_bodies_of_any_size_and_turn() -> None:
    found = fit_landmark_shift([misses(30, 0.5, another_idea())])
    assert found is not None
    np.testing.assert_allclose(found.by_landmark, another_idea().by_landmark, atol=0.006)
    assert "or more: Forehead 5.0 %, " in moved_landmarks(another_idea())
    assert moved_landmarks(found, found) == moved_landmarks(None)
    assert moved_landmarks(None) == "No landmark is moved by 1 % of the crown-rump length."


def test_both_sides_have_the_same_shift_and_the_middle_none_to_a_side() -> None:
    one_sided = np.zeros((22, 3))
    one_sided[FOREHEAD, 0] = one_sided[LEFT_SHOULDER, 2] = 0.04
    found = fit_landmark_shift([misses(30, 0.1, None) + one_sided])
    assert found is not None
    shift = np.array(found.by_landmark)
    np.testing.assert_allclose(shift, shift[list(SCHEMA.mirror_rows)] * [-1, 1, 1], atol=1e-12)
    assert abs(shift[FOREHEAD, 0]) < 1e-12


def test_chance_alone_is_hardly_a_shift() -> None:
    chance, shared = (fit_landmark_shift([misses(6, 2.0, shift)]) for shift in (None, another_idea()))
    assert chance is not None and shared is not None
    raw = np.median(misses(6, 2.0, None), axis=0)
    assert np.linalg.norm(chance.by_landmark, axis=1).mean() < 0.5 * np.linalg.norm(raw, axis=1).mean()
    assert shared.by_landmark[FOREHEAD][2] > 0.02


def test_lost_bodies_and_too_few_tell_nothing() -> None:
    lost = misses(20, 0.3, None) + np.array([0.0, 0.0, 0.5])
    good = misses(20, 0.3, another_idea())
    unseen = np.full((1, 22, 3), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit_landmark_shift([np.concatenate((good, lost, unseen)), unseen]) == fit_landmark_shift([good])
    earlier = another_idea()
    assert fit_landmark_shift([lost, good[:4]], earlier) is earlier
    assert fit_landmark_shift([], None) is None


def test_each_world_weighs_the_same_and_missing_landmarks_are_left_out() -> None:
    many, few = misses(60, 0.1, another_idea()), misses(10, 0.1, None)
    many[:, 0] = np.nan
    few[3:, FOREHEAD] = np.nan
    found = fit_landmark_shift([many, few])
    assert found is not None
    assert found.by_landmark[FOREHEAD][2] == pytest.approx(0.025, abs=0.003)
    assert np.abs(found.by_landmark[0]).max() < 0.003


def test_the_shift_turns_and_grows_with_the_body() -> None:
    axes = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    frame = BodyFrame(np.zeros(3), axes, 80.0)
    moved = another_idea().in_world(frame)
    np.testing.assert_allclose(moved[FOREHEAD], 4.0 * axes[:, 2])
    np.testing.assert_allclose(in_body(moved, frame), another_idea().by_landmark, atol=1e-12)


@pytest.mark.parametrize(("share", "cranial"), [(0.0, 0.02), (0.25, 0.03), (1.0, 0.06)])
def test_a_shift_between_two(share: float, cranial: float) -> None:
    near, far = (LandmarkShift(((0.0, 0.0, length),) * 22) for length in (0.02, 0.06))
    between = shift_between(near, far, share)
    assert between is not None
    np.testing.assert_allclose(between.by_landmark, ((0.0, 0.0, cranial),) * 22)


def test_no_shift_is_one_of_nothing() -> None:
    far = LandmarkShift(((0.0, 0.0, 0.06),) * 22)
    assert shift_between(None, None, 0.5) is None
    for between in (shift_between(None, far, 0.5), shift_between(far, None, 0.5)):
        assert between == LandmarkShift(((0.0, 0.0, 0.03),) * 22)


@pytest.mark.parametrize(
    ("by_landmark", "problem"),
    [(((0.0, 0.0, 0.0),) * 21, "22 times"), (((0.0, 0.0),) * 22, "22 times"), (((0.3, 0.0, 0.0),) * 22, "more than"),
     (((float("nan"), 0.0, 0.0),) * 22, "more than"), (((0.1, 0.0, 0.0),) * 22, "")],
)  # fmt: skip
def test_what_is_no_shift_is_said(by_landmark: tuple[tuple[float, ...], ...], problem: str) -> None:
    found = LandmarkShift(by_landmark).problem()
    assert problem in found if problem else not found


# --- landmarks of the skin at its edge


RUMP = SCHEMA.index("rump")


def at_skin(count: int, off: float) -> np.ndarray:
    """(count, 22, 3) from the skin's edge to the truth: the rump `off` crown-rump lengths away, no other seen."""
    result = np.full((count, 22, 3), np.nan)
    result[:, RUMP] = np.random.default_rng(3).normal(0, 0.003, (count, 3))
    result[:, RUMP, 2] += off
    return result


def test_landmarks_of_the_skin_are_put_at_its_edge_where_they_lie_there() -> None:
    seen = misses(12, 2.0, None)
    found = fit_landmark_shift([seen], at_skin=[at_skin(12, 0.0)])
    assert found is not None and found.on_skin
    assert "Rump: put at the edge of the skin where it is seen." in moved_landmarks(found)
    elsewhere = fit_landmark_shift([seen], found, [at_skin(12, 0.1)])  # a site that has its rump farther in
    assert elsewhere is not None and not elsewhere.on_skin
    assert elsewhere.by_landmark == fit_landmark_shift([seen], found).by_landmark
    assert "no longer put at the edge" in moved_landmarks(elsewhere, found)


def test_without_a_skin_to_see_it_is_as_before_and_lost_bodies_do_not_tell() -> None:
    seen, lost = misses(12, 2.0, None), misses(12, 2.0, None) + 0.5
    skin = LandmarkShift(((0.0, 0.0, 0.0),) * 22, on_skin=True)
    unseen = np.full_like(seen, np.nan)
    for earlier, expected in ((None, False), (skin, True)):
        for told in ((), [unseen]):
            found = fit_landmark_shift([seen], earlier, told)
            assert found is not None and found.on_skin == expected
    both = fit_landmark_shift([seen, lost], skin, [at_skin(12, 0.0), at_skin(12, 0.1)])
    assert both is not None and both.on_skin


def test_between_two_shifts_landmarks_are_at_the_skin_if_they_are_with_both() -> None:
    skin, inside = (LandmarkShift(((0.0, 0.0, 0.02),) * 22, on_skin) for on_skin in (True, False))
    assert [
        one.on_skin
        for one in (shift_between(skin, inside, 0.5), shift_between(skin, skin, 0.5), shift_between(None, skin, 0.5))
        if one is not None
    ] == [False, True, True]
