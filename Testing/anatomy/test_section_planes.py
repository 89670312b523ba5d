"""Planes that a person chooses: which part of the body they cut, and where its section goes."""

from __future__ import annotations

import numpy as np
import pytest
from anatomy.bodies import standing_body
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.body_sections import BodySection, HeadAndAbdomen
from FetusMapV2Lib.anatomy.ellipse import Ellipse
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.section_planes import moved_plane, section_cut_by
from FetusMapV2Lib.anatomy.standard_planes import abdomen_plane, head_plane


@pytest.fixture(scope="module")
def sections() -> HeadAndAbdomen:
    pose = Pose(standing_body() * 1.25)
    head = BodySection("head", head_plane(pose), Ellipse(1.0, -0.5, 16.0, 12.0, np.pi / 2), 1.0)
    return HeadAndAbdomen(head, BodySection("abdomen", abdomen_plane(pose), reason="not seen"))


def test_the_nearest_part_that_is_cut_across_is_meant(sections):
    for section in sections.sections:
        plane = section.plane
        for side in (1.0, -1.0):
            assert section_cut_by(sections, plane.origin + 3.0 * plane.normal, side * plane.normal) is section
        assert section_cut_by(sections, plane.origin, plane.x_axis) is None, "along the body"
    assert section_cut_by(sections, sections.head.plane.origin + 100.0, sections.head.plane.normal) is None


def test_middle_and_axes_go_into_the_other_plane(sections):
    head = sections.head
    turn = Rotation.from_rotvec(0.3 * head.plane.x_axis).as_matrix()
    normal = turn @ head.plane.normal
    origin = head.plane.origin + 2.0 * head.plane.normal
    moved = moved_plane(head, origin, -normal)
    middle = head.plane.to_world(np.array([[1.0, -0.5]]))[0]
    assert (moved.origin - origin) @ normal == pytest.approx(0, abs=1e-9)
    assert np.cross(moved.origin - middle, normal) == pytest.approx(np.zeros(3), abs=1e-9), "straight there"
    assert moved.axes.T @ moved.axes == pytest.approx(np.eye(3), abs=1e-9)
    assert np.cross(moved.x_axis, moved.y_axis) == pytest.approx(normal) and moved.normal == pytest.approx(normal)
    assert moved.x_axis == pytest.approx(head.plane.x_axis), "it was turned about this axis"
    assert moved.half_axes_mm == pytest.approx((12.0, 16.0)), "those of the ellipse, whose longer axis is y"
    assert moved_plane(sections.abdomen, origin, normal).half_axes_mm == sections.abdomen.plane.half_axes_mm
