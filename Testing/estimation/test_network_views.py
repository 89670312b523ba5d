"""The close view holds the whole fetus the right way up, the tight one as large as its limbs allow."""

import numpy as np
import pytest
from phantom.fetuses import sample_fetus
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.body_frame import BodyFrame, body_frame, canonical_template
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.estimation.network_views import close_view, surroundings_view, tight_view, turned_views
from FetusMapV2Lib.imaging.grid import Grid

SCHEMA = default_schema()


@pytest.fixture(scope="module")
def poses():
    return np.stack([_placed(seed)[0] for seed in range(40)])


@pytest.fixture(scope="module")
def template(poses):
    return canonical_template(poses, SCHEMA)


def _placed(seed):
    generator = np.random.default_rng(seed)
    body = np.asarray(sample_fetus(generator).pose)
    turn = Rotation.random(random_state=seed).as_matrix()
    return body @ turn.T + generator.normal(scale=20, size=3), turn


def test_close_view_holds_the_whole_fetus(poses, template):
    shape = (96, 64, 64)
    inside = []
    for pose in poses:
        grid = close_view(body_frame(pose, None, template, SCHEMA), shape)
        voxels = grid.to_voxel(pose)
        inside.append(((voxels > 0) & (voxels < np.array(shape[::-1]) - 1)).all(axis=1))
    inside = np.array(inside)
    assert inside[:, :10].all()
    assert inside.mean() > 0.995


def test_close_view_runs_along_the_body():
    frame = BodyFrame(np.array([1.0, 2.0, 3.0]), Rotation.from_rotvec([0, 0, 1.0]).as_matrix(), 60.0)
    grid = close_view(frame, (96, 64, 64))
    np.testing.assert_allclose(grid.axes, frame.axes, atol=1e-12)
    assert grid.spacing_mm * 96 == pytest.approx(1.7 * 60.0)
    ahead_and_below = -0.08 * 60.0 * (frame.axes[:, 1] + frame.axes[:, 2])
    np.testing.assert_allclose(grid.centre_ras, frame.centre + ahead_and_below, atol=1e-9)


def test_tight_view_holds_the_whole_fetus_in_smaller_voxels(poses, template):
    shape, ratios = (96, 64, 64), []
    for pose in poses:
        frame = body_frame(pose, None, template, SCHEMA)
        grid, close = tight_view(frame, pose, shape), close_view(frame, shape)
        voxels = grid.to_voxel(pose)
        border = 0.09 * frame.length_mm / grid.spacing_mm
        assert (voxels > border).all() and (voxels < np.array(shape[::-1]) - 1 - border).all()
        np.testing.assert_allclose(grid.axes, close.axes, atol=1e-12)
        ratios.append(grid.spacing_mm / close.spacing_mm)
    assert np.median(ratios) < 0.8 and max(ratios) <= 1.0


def test_tight_view_is_neither_larger_than_the_close_one_nor_of_a_few_landmarks_alone(poses, template):
    frame = body_frame(poses[0], None, template, SCHEMA)
    far = poses[0].copy()
    far[18] += 3 * frame.length_mm
    head = np.where(np.arange(22)[:, None] < 3, poses[0], np.nan)
    close = close_view(frame, (96, 64, 64))
    assert tight_view(frame, far, (96, 64, 64)).spacing_mm == pytest.approx(close.spacing_mm)
    alone = tight_view(frame, head, (96, 64, 64))
    assert alone.spacing_mm == pytest.approx(close.spacing_mm / 2)
    voxels = alone.to_voxel(poses[0][:3])
    assert (voxels > 0).all() and (voxels < [63, 63, 95]).all()


def test_surroundings_lie_around_the_body_and_inside_the_whole_view():
    whole = Grid.around(np.zeros(3), np.eye(3), 4.0, (64, 48, 48))
    body = BodyFrame(np.array([60.0, 0.0, -100.0]), np.eye(3), 50.0)
    grid = surroundings_view(body, whole)
    assert grid.spacing_mm * 64 == pytest.approx(3 * 50.0)
    corners = whole.to_voxel(grid.to_world(np.array([[0, 0, 0], [47, 47, 63]])))
    assert (corners >= -1e-9).all() and (corners <= np.array([47, 47, 63]) + 1e-9).all()
    voxel = grid.to_voxel(body.centre[None])[0]
    assert (voxel > 0).all() and (voxel < [47, 47, 63]).all()


def test_the_surroundings_of_a_large_body_are_the_whole_view():
    whole = Grid.around(np.array([1.0, 2.0, 3.0]), np.eye(3), 2.0, (64, 48, 48))
    grid = surroundings_view(BodyFrame(np.zeros(3), np.eye(3), 80.0), whole)
    np.testing.assert_allclose(grid.grid_to_ras, whole.grid_to_ras)


@pytest.mark.parametrize(("shape", "count"), [((64, 48, 48), 7), ((64, 48, 40), 3)])
def test_turned_views_cover_the_box_of_the_whole_view_each_in_its_own_way(shape: tuple[int, int, int], count: int):
    oblique = Rotation.from_euler("xyz", (20, -35, 50), degrees=True).as_matrix()
    whole = Grid.around(np.array([5.0, -3.0, 40.0]), oblique, 2.0, shape)
    ends = np.stack(np.meshgrid(*((0, size - 1) for size in shape[::-1])), axis=-1).reshape(-1, 3)

    def corners(grid: Grid) -> np.ndarray:
        found = whole.to_voxel(grid.to_world(ends)).round(6)
        return found[np.lexsort(found.T)]

    turned = turned_views(whole)
    assert len(turned) == count
    for grid in turned:
        assert grid.shape == whole.shape
        np.testing.assert_allclose(corners(grid), corners(whole), atol=1e-5)
    axes = [np.round(grid.axes, 6).tobytes() for grid in (whole, *turned)]
    assert len(set(axes)) == count + 1
