"""The pose: missing landmarks, immutability, transforms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from anatomy.bodies import standing_body

from FetusMapV2Lib.anatomy.laterality import resolve_sides
from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.anatomy.pose import Pose, shown_confidence
from FetusMapV2Lib.anatomy.schema import default_schema


def test_a_row_with_any_nan_is_missing_altogether():
    body = standing_body()
    body[4, 1] = np.nan
    pose = Pose(body)
    assert list(np.flatnonzero(~pose.present)) == [4]
    assert np.isnan(pose.positions[4]).all()


def test_the_pose_keeps_its_own_read_only_copy():
    body = standing_body()
    pose = Pose(body, confidence=np.ones(22))
    body[0] = 99
    assert pose.positions[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        pose.positions[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        pose.confidence[0] = 0


@pytest.mark.parametrize("positions", [np.zeros(3), np.zeros((22, 2)), np.full((22, 3), np.inf)])
def test_wrong_positions_are_refused(positions):
    with pytest.raises(ValueError, match="positions"):
        Pose(positions)


def test_a_pose_has_as_many_rows_as_its_schema_has_landmarks():
    with pytest.raises(ValueError, match="the pose has 21 landmarks, the schema 22"):
        Pose(np.zeros((21, 3)))


def test_a_pose_is_measured_by_its_own_schema():
    schema = replace(default_schema(), id="site", crl_rows=(0, 3))
    pose = Pose(standing_body(), schema=schema)
    assert pose.transformed(np.eye(4)).with_positions(pose.positions).schema is schema
    head, body = (measurements(one).crl for one in (pose, Pose(standing_body())))
    assert (head.rows, body.rows) == ((0, 3), default_schema().crl_rows)
    assert head.value_mm < body.value_mm


def test_wrong_radii_are_refused():
    with pytest.raises(ValueError, match="radius90_mm"):
        Pose(standing_body(), radius90_mm=np.ones(21))


def test_transforming_moves_points_scales_radii_and_keeps_missing_ones():
    body = standing_body()
    body[7] = np.nan
    resolved, laterality = resolve_sides(body, default_schema())
    pose = Pose(resolved, np.full(22, 0.5), np.arange(22.0), laterality)
    matrix = np.array([[0, -2, 0, 1], [2, 0, 0, 2], [0, 0, 2, 3], [0, 0, 0, 1.0]])
    moved = pose.transformed(matrix)
    assert np.allclose(moved.positions[1], [-2 * 9 + 1, 2, 2 * 22 + 3])
    assert np.allclose(moved.radius90_mm, 2 * np.arange(22))
    assert list(np.flatnonzero(~moved.present)) == [7]
    assert np.array_equal(moved.confidence, pose.confidence)
    assert moved.laterality == laterality
    assert pose.transformed(np.diag([-1.0, 1, 1, 1])).laterality is None


def test_with_positions_replaces_only_positions():
    pose = Pose(standing_body(), radius90_mm=np.ones(22))
    other = pose.with_positions(standing_body() + 1)
    assert np.allclose(other.positions - pose.positions, 1)
    assert np.array_equal(other.radius90_mm, pose.radius90_mm)


@pytest.mark.parametrize(
    ("confidence", "text"), [(1.0, ">99%"), (0.996, ">99%"), (0.99, "99%"), (0.5, "50%"), (0, "0%")]
)
def test_no_confidence_is_shown_as_complete(confidence, text):
    assert shown_confidence(confidence) == text
