"""Similarity registration: exact recovery, reflection excluded, weights, missing points, batch = single."""

from __future__ import annotations

import numpy as np
import pytest
from anatomy.bodies import bodies, standing_body
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.registration import register


@given(seed=st.integers(0, 10_000), scale=st.floats(0.2, 5), points=st.integers(3, 22))
@settings(max_examples=60)
def test_a_similarity_is_recovered(seed, scale, points):
    rng = np.random.default_rng(seed)
    source = rng.normal(0, 20, (points, 3))
    turn, shift = Rotation.from_quat(rng.normal(size=4)).as_matrix(), rng.uniform(-100, 100, 3)
    target = scale * source @ turn.T + shift
    found = register(source, target)
    assert np.allclose(found.apply(source), target, atol=1e-6)
    assert found.residual == pytest.approx(0, abs=1e-6)
    assert found.scale == pytest.approx(scale)
    assert np.allclose(found.rotation, turn, atol=1e-6)
    assert np.allclose(found.matrix[:3, :3], scale * turn, atol=1e-6)
    assert np.allclose(found.matrix[3], [0, 0, 0, 1])


def test_without_scale_the_transform_is_rigid():
    source = standing_body()
    turn = Rotation.from_rotvec([0.3, -1.2, 0.7]).as_matrix()
    found = register(source, 2 * source @ turn.T, scale=False)
    assert found.scale == 1.0
    assert np.allclose(found.rotation, turn)
    assert np.linalg.det(found.matrix[:3, :3]) == pytest.approx(1)
    # centred, every point is left half-way out
    centred = source - source.mean(axis=0)
    assert found.residual == pytest.approx(np.linalg.norm(centred, axis=1).mean())


@given(seed=st.integers(0, 10_000))
@settings(max_examples=60)
def test_the_rotation_is_scipys_and_a_reflection_is_never_given(seed):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(8, 3)), rng.normal(size=(8, 3))
    target = target @ np.diag([-1, 1, 1]) if seed % 2 else target
    weights = rng.uniform(0.1, 2, 8)
    found = register(source, target, weights, scale=False)
    source_centre, target_centre = (np.average(points, axis=0, weights=weights) for points in (source, target))
    expected, _ = Rotation.align_vectors(target - target_centre, source - source_centre, weights=weights)
    assert np.linalg.det(found.rotation) == pytest.approx(1)
    assert np.allclose(found.rotation, expected.as_matrix(), atol=1e-6)


def test_a_mirrored_body_cannot_be_reached():
    body = standing_body()
    found = register(body, body @ np.diag([-1.0, 1, 1]))
    assert np.linalg.det(found.rotation) == pytest.approx(1)
    assert found.residual > 2


def test_the_scale_is_the_least_squares_one():
    rng = np.random.default_rng(5)
    source, target = standing_body(), standing_body() * 1.3 + rng.normal(0, 3, (22, 3))
    found = register(source, target)

    def cost(scale):
        moved = scale * source @ found.rotation.T
        difference = (moved - moved.mean(axis=0)) - (target - target.mean(axis=0))
        return (difference**2).sum()

    assert cost(found.scale) < min(cost(found.scale * 1.001), cost(found.scale * 0.999))


def test_a_point_of_no_weight_has_no_say_and_a_heavy_one_is_met():
    body = standing_body()
    target = body.copy()
    target[4] += 30
    weights = np.ones(22)
    weights[4] = 0
    assert np.allclose(register(body, target, weights).matrix, np.eye(4), atol=1e-9)
    weights[4] = 1e6
    moved = register(body, target, weights).apply(body)
    assert np.linalg.norm(moved[4] - target[4]) < 0.01
    repeated = register(np.vstack([body, body[4:5]]), np.vstack([target, target[4:5]]))
    doubled = np.ones(22)
    doubled[4] = 2
    assert np.allclose(register(body, target, doubled).matrix, repeated.matrix)


def test_missing_points_are_left_out():
    body = standing_body()
    source, target = body.copy(), body + 5
    source[3], target[8, 1] = np.nan, np.nan
    found = register(source, target)
    assert np.allclose(found.matrix[:3, 3], 5)
    assert np.isnan(found.apply(source)[3]).all()


def test_a_batch_equals_one_at_a_time():
    library = bodies(seed=7, count=60, noise_mm=2)
    library[3, 5] = np.nan
    library[4, 2:] = np.nan
    target = bodies(seed=8, count=1)[0]
    target[1] = np.nan
    weights = np.linspace(0.5, 2, 22)
    batch = register(library, target, weights)
    assert batch.matrix.shape == (60, 4, 4)
    moved = batch.apply(library)
    for place, source in enumerate(library):
        if place == 4:
            assert np.isinf(batch.residual[place])
            assert np.isnan(batch.matrix[place]).all()
            continue
        single = register(source, target, weights)
        assert np.allclose(single.matrix, batch.matrix[place])
        assert single.residual == pytest.approx(batch.residual[place])
        assert single.scale == pytest.approx(batch.scale[place])
        assert np.allclose(single.apply(source), moved[place], equal_nan=True)


def test_the_residual_is_the_mean_distance_and_ranks_the_nearest_first():
    target = standing_body()
    library = np.stack([target + np.random.default_rng(place).normal(0, 1 + place, (22, 3)) for place in range(6)])
    found = register(library, target)
    distances = np.linalg.norm(found.apply(library) - target, axis=2).mean(axis=1)
    assert np.allclose(found.residual, distances)
    assert list(np.argsort(found.residual)) == list(range(6))


def test_a_target_in_one_place_gives_no_scale():
    four = standing_body()[:4]  # sums over four points are exact
    fit = register(four, np.tile([1.0, 2.0, 4.0], (4, 1)))
    assert fit.scale == 1.0
    np.testing.assert_allclose(fit.apply(four).mean(axis=0), [1.0, 2.0, 4.0])


def test_points_in_one_place_and_in_a_line_give_a_finite_answer():
    same = np.ones((5, 3))
    found = register(same, standing_body()[:5])
    assert found.scale == 1.0
    assert np.isfinite(found.matrix).all()
    line = np.outer(np.arange(5.0), [1, 2, 3])
    found = register(line, line @ Rotation.from_rotvec([0, 0, 1]).as_matrix().T)
    assert found.residual == pytest.approx(0, abs=1e-9)
    assert np.linalg.det(found.rotation) == pytest.approx(1)


@pytest.mark.parametrize(
    ("source", "target", "weights"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3)), None),
        (np.full((5, 3), np.nan), np.zeros((5, 3)), None),
        (np.zeros((5, 3)), np.zeros((4, 3)), None),
        (np.zeros((5, 2)), np.zeros((5, 2)), None),
        (np.zeros((5, 3)), np.zeros((5, 3)), [1, 1, 1, 1, -1]),
        (np.zeros((5, 3)), np.zeros((5, 3)), [1, 1]),
        (np.zeros((5, 3)), np.zeros((5, 3)), [np.nan] * 5),
    ],
)
def test_wrong_input_is_refused(source, target, weights):
    with pytest.raises(ValueError, match=r"points|source|weights"):
        register(source, target, weights)
