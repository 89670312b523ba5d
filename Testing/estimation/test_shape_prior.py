"""The shape prior against a literal reading of Eq. 9 and 10, and the posterior of heatmaps and library."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.registration import register
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.estimation import shape_prior
from FetusMapV2Lib.estimation.shape_prior import ShapePrior
from FetusMapV2Lib.models.model_file import load_model
from FetusMapV2Lib.models.model_index import find_model

SCHEMA = default_schema()
NAN = np.nan
M = [1, 2, 4, 6, 8]  # landmarks 2, 3, 5, 7, 9
REFINED = [0, 3, 5, 7, 9]  # landmarks 1, 4, 6, 8, 10


@functools.cache
def poses() -> np.ndarray:
    """Those of the model that the shifts were recorded with."""
    return load_model(find_model("simulated-2")).poses


def unseen(number: int) -> np.ndarray:
    """A pose that `library` does not hold."""
    return poses()[-1 - number]


@pytest.fixture(scope="module")
def library() -> np.ndarray:
    return poses()[:60]


@pytest.fixture(scope="module")
def pose() -> np.ndarray:
    """A body that is not in the library, somewhere else and turned."""
    turn = Rotation.from_euler("xyz", (40, -70, 110), degrees=True).as_matrix()
    return unseen(0) @ turn.T + [30.0, -12.0, 55.0]


def literal(library: np.ndarray, pose: np.ndarray, scale: bool) -> tuple[np.ndarray, np.ndarray]:
    """D_t of Eq. 9 and P_p of Eq. 10, pose by pose and landmark by landmark."""
    costs, moved = [], []
    for one in library:
        fit = register(one[M], pose[M], scale=scale)
        there = np.array([fit.matrix[:3, :3] @ point + fit.matrix[:3, 3] for point in one])
        costs.append(sum(np.linalg.norm(there[j] - pose[j]) for j in M))
        moved.append(there)
    chosen = np.argsort(costs, kind="stable")[:8]
    labels = np.full_like(pose, np.nan)
    for i in REFINED:
        labels[i] = (pose[i] + sum(moved[a][i] for a in chosen) / 8) / 2
    return chosen, labels


@pytest.mark.parametrize("scale", [True, False])
def test_the_equations_to_the_letter(library, pose, scale):
    chosen, labels = literal(library, pose, scale)
    found = ShapePrior(library, SCHEMA, scale=scale).pseudo_labels(pose)
    np.testing.assert_array_equal(found.chosen, chosen)
    np.testing.assert_allclose(found.positions, labels, atol=1e-9)
    assert list(SCHEMA.registration_rows) == M
    assert list(SCHEMA.refined_rows) == REFINED


def test_a_pose_of_the_library_is_its_own_nearest(library):
    moved = 1.3 * library[7] + [5.0, 6.0, 7.0]
    found = ShapePrior(library, SCHEMA, neighbours=1).pseudo_labels(moved)
    assert found.chosen.tolist() == [7]
    assert found.residual_mm < 1e-9
    np.testing.assert_allclose(found.positions[REFINED], moved[REFINED], atol=1e-9)


def test_a_mirrored_pose_is_not_matched_by_a_reflection(library):
    mirrored = library[7] * [-1.0, 1.0, 1.0]
    assert ShapePrior(mirrored[None], SCHEMA, neighbours=1).pseudo_labels(library[7]).residual_mm > 0.1


def test_the_same_twice_and_ties_in_the_librarys_order(library, pose):
    twice = ShapePrior(np.concatenate([library, library]), SCHEMA)
    first, again = twice.pseudo_labels(pose), twice.pseudo_labels(pose)
    np.testing.assert_array_equal(first.positions, again.positions)
    assert len(set(first.chosen % 60)) == 8 // 2
    assert first.chosen[0] + 60 == first.chosen[1]


def test_missing_landmarks(library, pose):
    holes = library.copy()
    holes[3, 1], holes[4, 0] = np.nan, np.nan
    lacking = pose.copy()
    lacking[[0, 1]] = np.nan
    found = ShapePrior(holes, SCHEMA).pseudo_labels(lacking)
    assert np.isfinite(found.positions[REFINED]).all()  # the missing one comes from the library
    lacking[M] = np.nan
    assert ShapePrior(holes, SCHEMA).pseudo_labels(lacking) is None
    with pytest.raises(UserError, match="add-poses"):
        ShapePrior(np.full((3, 22, 3), np.nan), SCHEMA)


def test_a_thousand_poses_are_registered_at_once(library, pose, monkeypatch):
    """One call takes milliseconds; a thousand would take a second."""
    calls: list[int] = []

    def counted(moving, *arguments, **options):
        calls.append(len(moving))
        return register(moving, *arguments, **options)

    monkeypatch.setattr(shape_prior, "register", counted)
    ShapePrior(np.tile(library, (17, 1, 1))[:1000], SCHEMA).pseudo_labels(pose)
    assert calls == [1000]


def test_an_uncertain_landmark_moves_and_certain_ones_stay(library, pose):
    prior = ShapePrior(poses()[:-20], SCHEMA)
    radius = np.full(22, 0.8)
    wrong = pose.copy()
    wrong[9] += [0.0, 12.0, 0.0]
    radius[9] = 20.0
    moved = prior.posterior(wrong, radius)
    assert np.linalg.norm(moved[9] - pose[9]) < 0.5 * 12.0
    others = [row for row in range(22) if row not in REFINED]
    np.testing.assert_array_equal(moved[others], wrong[others])
    assert np.linalg.norm(moved[0] - wrong[0]) < 0.8


def test_one_drag_mends_its_neighbours():
    """An arm is seen in a wrong direction; correcting its elbow brings the wrist nearer, and the rest stays."""
    prior = ShapePrior(poses()[:-20], SCHEMA)
    shoulder, elbow, wrist = SCHEMA.rows("la")
    free = [row for row in range(22) if row != elbow]
    turn = Rotation.from_euler("x", 50, degrees=True)
    gains, stirred = [], []
    for seed in range(12):
        truth = unseen(seed)
        wrong = truth.copy()
        wrong[[elbow, wrist]] = turn.apply(truth[[elbow, wrist]] - truth[shoulder]) + truth[shoulder]
        radius = np.full(22, 1.5)
        radius[[elbow, wrist]] = 8.0
        wrong[elbow] = truth[elbow]
        mended = prior.posterior(wrong, radius, [elbow], free)
        np.testing.assert_array_equal(mended[elbow], truth[elbow])
        gains.append(np.linalg.norm(wrong[wrist] - truth[wrist]) - np.linalg.norm(mended[wrist] - truth[wrist]))
        stirred.append(np.linalg.norm(mended - wrong, axis=1)[list(SCHEMA.rows("ht"))].max())
    assert np.mean(gains) > 1.0
    assert np.max(stirred) < 1.0


def test_a_landmark_put_where_it_was_expected_hardly_moves_the_others(pose):
    prior = ShapePrior(poses()[:-20], SCHEMA)
    radius = np.full(22, 4.0)
    expected = pose.copy()
    for _ in range(20):  # where the others expect landmark 12 if it is not known
        hidden = radius.copy()
        hidden[11] = 1e4
        expected = prior.posterior(expected, hidden, rows=[11])
    elsewhere = expected.copy()
    elsewhere[11] += [0.0, 10.0, 10.0]
    stirred = [
        np.linalg.norm(prior.posterior(one, radius, [11], range(22)) - one, axis=1).max()
        for one in (expected, elsewhere)
    ]
    assert stirred[0] < 0.8
    assert stirred[1] > 2 * stirred[0]


@pytest.mark.parametrize(
    ("number", "pinned", "lacking", "shifts"),
    [
        (0, (), (3,), [2.89, 0.76, 0.0, NAN, 1.15, 0.0, 4.71, 1.28, 1.52, 6.12, 4.69, 0.0, 3.51, 0.0, 0.97, 0.61, 4.23,
                       1.83, 0.18, 1.86, 0.0, 0.0]),
        (1, (11,), (3, 18), [1.12, 1.46, 0.32, NAN, 1.1, 0.0, 0.69, 0.0, 0.83, 0.0, 0.84, 0.0, 1.11, 0.7, 0.13, 0.24,
                             0.3, 0.39, NAN, 0.43, 0.31, 0.15]),
        (2, (0, 9), (), [0.0, 0.42, 0.43, 0.11, 0.23, 0.0, 0.34, 0.46, 2.06, 0.0, 0.5, 0.0, 0.58, 0.84, 0.43, 0.24,
                         2.39, 1.58, 0.0, 2.18, 0.38, 0.43]),
    ],
)  # fmt: skip
def test_fixed_poses_have_fixed_shifts(number, pinned, lacking, shifts):
    """Recorded, mm: any change of the prior's constants changes refined poses."""
    generator = np.random.default_rng(number)
    radius = generator.uniform(0.3, 12, 22)
    radius[[4, 15]], radius[5] = NAN, 0.1
    seen = unseen(number) + generator.normal(0, 0.3, (22, 3)) * np.nan_to_num(radius, nan=6)[:, None]
    seen[list(lacking)] = NAN
    moved = ShapePrior(poses()[:-20], SCHEMA).posterior(seen, radius, pinned, range(22))
    assert np.linalg.norm(moved - seen, axis=1) == pytest.approx(np.array(shifts), abs=0.011, nan_ok=True)
