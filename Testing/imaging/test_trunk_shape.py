"""The trunk around the abdomen's section: its largest section is found, whatever touches it."""

from __future__ import annotations

import numpy as np
import pytest

from FetusMapV2Lib.anatomy.ellipse import Ellipse
from FetusMapV2Lib.imaging.trunk_shape import TrunkShape, fit_trunk

HEIGHTS = np.arange(-3.0, 3.1)


def trunk_points(shape: TrunkShape, noise_mm: float = 0.0) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    rings = [np.column_stack([shape.section(h).points(angles), np.full(72, h)]) for h in HEIGHTS]
    points = np.concatenate(rings)
    points[:, :2] += np.random.default_rng(5).normal(0, noise_mm, (len(points), 2))
    return points


@pytest.fixture
def shape() -> TrunkShape:
    """Largest 1.5 mm above the plane, leaning over, turned."""
    return TrunkShape(Ellipse(0.6, -0.4, 8.6, 6.0, 0.7), np.array([0.15, -0.2]), 0.018, -0.006)


def test_middle_turn_lean_and_largest_section_are_found(shape):
    found = fit_trunk(trunk_points(shape, 0.2))
    assert found.largest_height_mm == pytest.approx(1.5, abs=0.3)
    np.testing.assert_allclose(found.drift, shape.drift, atol=0.03)
    largest, true = found.section(found.largest_height_mm), shape.section(1.5)
    assert largest.circumference_mm == pytest.approx(true.circumference_mm, rel=0.005)
    assert largest.angle == pytest.approx(0.7, abs=0.03)


def test_an_arm_that_lies_on_a_fifth_of_it_changes_little(shape):
    points = trunk_points(shape, 0.2)
    beside = np.arctan2(points[:, 1], points[:, 0]) > 0.6 * np.pi
    points[beside, :2] *= 1.3
    found = fit_trunk(points)
    largest = found.section(found.largest_height_mm)
    assert largest.circumference_mm == pytest.approx(shape.section(1.5).circumference_mm, rel=0.01)
    assert (found.residuals_mm(points[beside]) > 0.8).all()


def test_the_largest_section_is_looked_for_nearby_alone():
    cone = TrunkShape(Ellipse(0.0, 0.0, 9.0, 8.0, 0.0), np.zeros(2), 0.03, 0.0)
    assert fit_trunk(trunk_points(cone)).largest_height_mm == pytest.approx(3.0)


def test_points_on_no_ellipse_have_no_shape():
    line = np.column_stack([np.arange(20.0), np.zeros(20), np.tile(HEIGHTS, 3)[:20]])
    assert fit_trunk(line) is None
