"""The midsagittal plane: its fit, its directions, missing landmarks."""

from __future__ import annotations

import numpy as np
import pytest
from anatomy.bodies import bodies, standing_body

from FetusMapV2Lib.anatomy.planes import fetal_axes, midsagittal_plane, same_plane
from FetusMapV2Lib.anatomy.schema import default_schema

SCHEMA = default_schema()


def test_the_plane_of_the_upright_body():
    plane = midsagittal_plane(standing_body(), SCHEMA)
    assert np.allclose(plane.normal, [-1, 0, 0])
    assert plane.y_axis[2] > 0.99  # to the crown
    assert plane.x_axis[1] < -0.99  # to the back
    assert plane.residual_mm == pytest.approx(0, abs=1e-9)
    assert plane.origin[0] == pytest.approx(0, abs=1e-9)


def test_directions_and_size_move_with_the_body():
    reference = midsagittal_plane(standing_body(), SCHEMA)
    for body in bodies(seed=11, count=30):
        plane = midsagittal_plane(body, SCHEMA)
        axes = np.column_stack([plane.x_axis, plane.y_axis, plane.normal])
        assert np.allclose(axes.T @ axes, np.eye(3))
        assert np.linalg.det(axes) == pytest.approx(1)
        size = np.linalg.norm(body[0] - body[9]) / np.linalg.norm(standing_body()[0] - standing_body()[9])
        assert np.allclose(plane.extent_mm, np.array(reference.extent_mm) * size)
        # the left shoulder lies on the side the normal points to, at 8 mm
        assert plane.distances_mm(body[[10, 13]]) == pytest.approx([8 * size, -8 * size])


def test_all_midline_landmarks_lie_inside_the_shown_part():
    body = bodies(seed=12, count=1, noise_mm=2)[0]
    plane = midsagittal_plane(body, SCHEMA)
    inside = body[:10] - plane.origin
    assert np.all(np.abs(inside @ plane.x_axis) < plane.extent_mm[0] / 2)
    assert np.all(np.abs(inside @ plane.y_axis) < plane.extent_mm[1] / 2)


@pytest.mark.parametrize("seed", [14, 15])
def test_the_shown_part_is_a_fifth_larger_than_the_landmarks_and_centred_on_them(seed):
    body = bodies(seed=seed, count=1, noise_mm=2)[0]
    plane = midsagittal_plane(body, SCHEMA)
    for axis, extent in zip((plane.x_axis, plane.y_axis), plane.extent_mm, strict=True):
        along = (body[:10] - plane.origin) @ axis
        assert along.max() == pytest.approx(extent / 2.4) and along.min() == pytest.approx(-extent / 2.4)
    assert (plane.origin - body[:10].mean(axis=0)) @ plane.normal == pytest.approx(0, abs=1e-9)
    around = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    x, y = plane.x_axis * plane.extent_mm[0] / 2, plane.y_axis * plane.extent_mm[1] / 2
    np.testing.assert_allclose(plane.corners, [plane.origin + right * x + up * y for right, up in around])


def test_the_axes_do_not_depend_on_the_size():
    plane, tiny = (midsagittal_plane(body, SCHEMA) for body in (standing_body(), 0.01 * standing_body()))
    np.testing.assert_allclose(tiny.y_axis, plane.y_axis)
    np.testing.assert_allclose(tiny.normal, plane.normal)


def test_cranial_is_from_rump_to_crown_else_along_the_spine_else_along_the_longest_extent():
    body = standing_body()
    plane = midsagittal_plane(body, SCHEMA)
    crown_to_rump = body[0] - body[9]
    assert plane.y_axis @ crown_to_rump == pytest.approx(np.linalg.norm(crown_to_rump))
    body[0] = np.nan
    spine = body[SCHEMA.trunk_frame_rows[0]] - body[SCHEMA.trunk_frame_rows[2]]
    assert midsagittal_plane(body, SCHEMA).y_axis @ spine == pytest.approx(np.linalg.norm(spine))
    body[SCHEMA.trunk_frame_rows[0]] = np.nan
    y_axis = midsagittal_plane(body, SCHEMA).y_axis
    points = body[:10][np.isfinite(body[:10]).all(axis=1)]
    longest = np.linalg.svd(points - points.mean(axis=0))[2][0]
    assert abs(y_axis @ longest) == pytest.approx(1.0) and y_axis[np.abs(y_axis).argmax()] > 0


def test_a_crown_on_the_rump_says_nothing_of_cranial():
    body = standing_body()
    body[0] = body[9]
    spine = body[SCHEMA.trunk_frame_rows[0]] - body[SCHEMA.trunk_frame_rows[2]]
    assert midsagittal_plane(body, SCHEMA).y_axis @ spine == pytest.approx(np.linalg.norm(spine))


def test_without_a_plane_the_axes_are_those_of_the_scanner():
    axes = fetal_axes(None)
    assert np.stack([axes.left, axes.dorsal, axes.cranial]).tolist() == [[-1, 0, 0], [0, -1, 0], [0, 0, 1]]
    plane = midsagittal_plane(standing_body(), SCHEMA)
    assert fetal_axes(plane).left is plane.normal and fetal_axes(plane).cranial is plane.y_axis


def test_the_fit_is_the_least_squares_one():
    body = bodies(seed=13, count=1, noise_mm=3)[0]
    plane = midsagittal_plane(body, SCHEMA)
    assert plane.residual_mm == pytest.approx(np.sqrt(np.mean(plane.distances_mm(body[:10]) ** 2)))
    rng = np.random.default_rng(0)
    centre = body[:10].mean(axis=0)
    for _ in range(50):
        normal = plane.normal + rng.normal(0, 0.05, 3)
        normal /= np.linalg.norm(normal)
        assert np.sqrt(np.mean(((body[:10] - centre) @ normal) ** 2)) >= plane.residual_mm


def test_missing_landmarks_are_left_out():
    whole = midsagittal_plane(standing_body(), SCHEMA)
    body = standing_body()
    body[[0, 4, 9]] = np.nan
    plane = midsagittal_plane(body, SCHEMA)
    assert np.allclose(plane.normal, whole.normal)
    assert plane.y_axis[2] > 0.95  # the spine stands in for crown and rump


def test_without_a_frame_the_limbs_tell_the_left():
    body = standing_body()
    body[[0, 7]] = np.nan
    assert np.allclose(midsagittal_plane(body, SCHEMA).normal, [-1, 0, 0])
    swapped = body.copy()
    swapped[10:16], swapped[16:22] = np.roll(body[10:16], 3, axis=0), np.roll(body[16:22], 3, axis=0)
    assert np.allclose(midsagittal_plane(swapped, SCHEMA).normal, [1, 0, 0])
    body[10:] = np.nan
    assert np.allclose(np.abs(midsagittal_plane(body, SCHEMA).normal), [1, 0, 0])


def test_three_points_are_enough_and_two_are_not():
    body = np.full((22, 3), np.nan)
    body[[1, 6, 8]] = standing_body()[[1, 6, 8]]
    assert np.allclose(np.abs(midsagittal_plane(body, SCHEMA).normal), [1, 0, 0])
    body[1] = np.nan
    assert midsagittal_plane(body, SCHEMA) is None


def test_collinear_or_coinciding_landmarks_give_no_plane():
    body = standing_body()
    body[:10] = np.outer(np.arange(10), [1.0, 2, 3])
    assert midsagittal_plane(body, SCHEMA) is None
    body[:10] = 4.0
    assert midsagittal_plane(body, SCHEMA) is None
    assert midsagittal_plane(np.full((22, 3), np.nan), SCHEMA) is None


def test_planes_are_the_same_to_the_last_digit():
    body = standing_body()
    plane = midsagittal_plane(body, SCHEMA)
    assert same_plane(plane, midsagittal_plane(body.copy(), SCHEMA))
    moved = body.copy()
    moved[0, 2] += 1e-9
    assert not same_plane(plane, midsagittal_plane(moved, SCHEMA))
    assert not same_plane(plane, None) and same_plane(None, None)


def test_the_axes_are_those_of_the_plane_or_of_the_scanner():
    plane = midsagittal_plane(standing_body(), SCHEMA)
    axes = fetal_axes(plane)
    assert axes.left is plane.normal and axes.dorsal is plane.x_axis and axes.cranial is plane.y_axis
    scanner = fetal_axes(None)
    np.testing.assert_array_equal([scanner.left, scanner.dorsal, scanner.cranial], np.diag([-1.0, -1.0, 1.0]))
    np.testing.assert_array_equal(np.cross(scanner.dorsal, scanner.cranial), scanner.left)
