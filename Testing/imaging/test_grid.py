"""The grid the network sees: the same for every way of storing a volume; sampling on it is accurate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imaging.samples import ORIENTATIONS, blobs, oblique, reordered, sample
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.imaging.blocks import block_mean
from FetusMapV2Lib.imaging.grid import Grid, resample
from FetusMapV2Lib.imaging.volume import Volume, ijk_to_ras_matrix

SIZE = (24, 16, 16)


@pytest.mark.parametrize("rotation", [None, oblique()], ids=["straight", "oblique"])
@pytest.mark.parametrize("order, signs", ORIENTATIONS)
def test_all_48_index_orders_give_the_same_grid_and_samples(order, signs, rotation):
    volume = sample(rotation=rotation)
    other = reordered(volume, order, signs)
    expected, found = Grid.fit(volume, SIZE), Grid.fit(other, SIZE)
    assert np.abs(found.grid_to_ras - expected.grid_to_ras).max() < 1e-9
    assert np.abs(resample(other, found) - resample(volume, expected)).max() < 1e-3


angles = st.floats(-180, 180)
spacings = st.tuples(*[st.floats(0.3, 3.0)] * 3)
shapes = st.tuples(*[st.integers(16, 30)] * 3)


@settings(max_examples=60)
@given(shapes, spacings, st.tuples(angles, angles, angles), st.sampled_from(ORIENTATIONS), st.integers(0, 50))
def test_any_volume_gives_one_grid(shape, spacing, turn, orientation, seed):
    volume = sample(shape, spacing, oblique(turn), seed)
    expected = Grid.fit(volume, SIZE)
    found = Grid.fit(reordered(volume, *orientation), SIZE)
    # The same samples of the world, to a millionth of a millimetre.
    corners = np.array([[0, 0, 0], [15, 15, 23], [15, 0, 23]])
    assert np.abs(found.to_world(corners) - expected.to_world(corners)).max() < 1e-6


@pytest.mark.parametrize("orientation", ORIENTATIONS[::5])
def test_a_cube_of_equal_sides_is_no_exception(orientation):
    volume = sample((24, 24, 24), (1.5, 1.5, 1.5))
    found = Grid.fit(reordered(volume, *orientation), SIZE)
    assert np.abs(found.grid_to_ras - Grid.fit(volume, SIZE).grid_to_ras).max() < 1e-9


def test_centred_content_falls_back_to_world_directions():
    array = np.full((20, 20, 20), 7, np.uint8)
    volume = Volume(array, ijk_to_ras_matrix(2.0))
    grids = [Grid.fit(reordered(volume, *orientation), SIZE).grid_to_ras for orientation in ORIENTATIONS]
    assert np.ptp(np.array(grids), axis=0).max() < 1e-9


@settings(max_examples=30)
@given(turn=st.tuples(angles, angles, angles))
def test_turning_the_volume_turns_the_grid(turn):
    volume = sample()
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    motion[:3, 3] = (5.0, -60.0, 17.0)
    turned = volume.with_(ijk_to_ras=motion @ volume.ijk_to_ras)
    assert np.allclose(Grid.fit(turned, SIZE).grid_to_ras, motion @ Grid.fit(volume, SIZE).grid_to_ras, atol=1e-6)


def test_the_whole_volume_is_in_view_longest_axis_first_and_never_mirrored():
    volume = sample((16, 40, 20), (0.9, 1.0, 3.0))  # extents i 18, j 40, k 48 mm
    grid = Grid.fit(volume, (24, 16, 10))
    assert np.linalg.det(grid.axes) == pytest.approx(1.0)
    assert np.allclose(np.abs(grid.axes), np.eye(3))
    assert grid.spacing_mm == pytest.approx(max(48 / 24, 40 / 16, 18 / 10))
    assert np.allclose(grid.centre_ras, volume.centre_ras)


@pytest.mark.parametrize("rotation", [None, oblique()], ids=["straight", "oblique"])
def test_a_grid_of_a_given_spacing_covers_the_volume(rotation):
    volume = sample((16, 40, 20), (0.9, 1.0, 3.0), rotation)  # extents i 18, j 40, k 48 mm
    grid = Grid.covering(volume, 1.5, (8, 8, 16))
    assert grid.shape == (32, 27, 16)  # 40 / 1.5 = 26.7; 18 mm are padded to 16 samples
    assert grid.spacing_mm == pytest.approx(1.5)
    assert np.allclose(grid.axes, Grid.fit(volume, SIZE).axes)
    assert np.allclose(grid.centre_ras, volume.centre_ras)
    i, j, k = (n - 0.5 for n in volume.shape[::-1])
    corners = np.array([[x, y, z, 1.0] for x in (-0.5, i) for y in (-0.5, j) for z in (-0.5, k)])
    voxels = grid.to_voxel((corners @ volume.ijk_to_ras.T)[:, :3])
    assert (voxels > -0.51).all() and (voxels < np.array(grid.shape[::-1]) - 0.49).all()


def test_axes_point_to_the_brighter_side():
    array = np.zeros((30, 20, 16), np.uint8)
    array[2:8, 12:18, 5] = 200  # towards -k and +j
    grid = Grid.fit(Volume(array, ijk_to_ras_matrix(2.0)), SIZE)
    assert np.allclose(grid.axes[:, 2], [0, 0, -1])
    assert np.allclose(grid.axes[:, 1], [0, 1, 0])


def test_points_go_to_the_grid_and_back():
    grid = Grid.around(np.array([3.0, -4.0, 5.0]), oblique(), 1.3, (20, 12, 10))
    assert np.allclose(grid.to_world([[4.5, 5.5, 9.5]]), [[3.0, -4.0, 5.0]])
    points = np.array([[0.0, 0.0, 0.0], [9.5, 3.25, 17.0], [np.nan] * 3])
    assert np.allclose(grid.to_voxel(grid.to_world(points)), points, equal_nan=True)
    turned = grid.rotated(oblique((0, 0, 90)))
    assert np.allclose(turned.centre_ras, grid.centre_ras)
    assert turned.spacing_mm == pytest.approx(1.3)


def test_a_mirrored_frame_is_no_grid():
    with pytest.raises(ValueError, match="proper rotation"):
        Grid.around(np.zeros(3), np.diag([1.0, 1.0, -1.0]), 1.0, SIZE)


def ramp(shape, spacing, rotation, gradient) -> Volume:
    """Grey = 100 + gradient . RAS."""
    matrix = ijk_to_ras_matrix(spacing, (4.0, -9.0, 2.0), rotation)
    k, j, i = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    points = np.stack([i, j, k], -1) @ matrix[:3, :3].T + matrix[:3, 3]
    return Volume((100 + points @ np.array(gradient)).astype(np.float32), matrix)


@pytest.mark.parametrize("spacing_mm", [0.4, 0.9, 1.7, 2.6], ids=lambda s: f"{s}mm")
@pytest.mark.parametrize("turn", [(0, 0, 0), (90, 0, 180), (12, 33, -25)], ids=str)
def test_a_linear_ramp_is_reproduced(spacing_mm, turn):
    gradient = np.array([0.7, -0.3, 1.1])
    volume = ramp((61, 47, 53), (0.5, 0.8, 0.6), oblique((10, 20, 5)), gradient)
    grid = Grid.around(volume.centre_ras, oblique(turn), spacing_mm, (7, 6, 5))
    k, j, i = np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij")
    expected = 100 + grid.to_world(np.stack([i, j, k], -1)) @ gradient
    assert np.abs(resample(volume, grid) - expected).max() < 2e-3


def test_down_sampling_averages_instead_of_picking():
    array = np.random.default_rng(0).integers(0, 255, (60, 60, 60), dtype=np.uint8)
    volume = Volume(array, ijk_to_ras_matrix(0.5))
    coarse = resample(volume, Grid.around(volume.centre_ras, np.eye(3), 2.0, (10, 10, 10)))
    # A mean over 64 independent voxels has an eighth of their spread (and trilinear mixing lowers it further).
    assert coarse.std() < array.std() / 7
    assert coarse.mean() == pytest.approx(array.mean(), rel=0.02)


def test_samples_at_voxel_centres_are_the_voxels():
    volume = sample(rotation=oblique(), spacing=(1.5, 1.5, 1.5))
    grid = Grid.around(volume.centre_ras, oblique(), 1.5, volume.shape)
    assert np.abs(resample(volume, grid) - volume.array).max() < 1e-3


def test_outside_is_fill():
    volume = sample()
    far = Grid.around(volume.centre_ras + 1000, np.eye(3), 1.0, (4, 4, 4))
    assert (resample(volume, far, fill=3.0) == 3.0).all()
    partly = resample(volume, Grid.fit(volume, (40, 40, 40)), fill=-5.0)
    assert partly[20, 0, 0] == -5.0 or partly[20, 20, 0] == -5.0


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32])
@pytest.mark.parametrize("factors", [(1, 1, 1), (2, 3, 4), (5, 1, 2), (7, 7, 7)])
def test_block_means_are_exact(dtype, factors):
    array = blobs((17, 19, 23), dtype=dtype)
    pad = [(0, -n % f) for n, f in zip(array.shape, factors, strict=True)]
    padded = np.pad(array.astype(np.float64), pad, constant_values=2.5)
    k, j, i = (n // f for n, f in zip(padded.shape, factors, strict=True))
    expected = padded.reshape(k, factors[0], j, factors[1], i, factors[2]).mean(axis=(1, 3, 5))
    assert np.abs(block_mean(array, factors, fill=2.5) - expected).max() < 1e-3


def test_mirrored_twice_is_the_same_and_once_changes_the_handedness():
    volume = sample(rotation=oblique())
    mirror = volume.mirrored()
    assert mirror.is_left_handed != volume.is_left_handed
    assert np.allclose(mirror.centre_ras, volume.centre_ras)
    assert np.allclose(mirror.mirrored().ijk_to_ras, volume.ijk_to_ras)
    point = (volume.ijk_to_ras @ [3, 4, 5, 1])[:3]
    moved = (mirror.ijk_to_ras @ [3, 4, 5, 1])[:3]
    assert np.allclose(moved, [2 * volume.centre_ras[0] - point[0], point[1], point[2]])
