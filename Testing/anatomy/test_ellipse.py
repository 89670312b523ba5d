"""Ellipses: circumference against integration, fits against known ones, outliers left out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ellipe

from FetusMapV2Lib.anatomy.ellipse import Ellipse, fit_ellipse, fit_ellipse_robustly

KNOWN = Ellipse(3.0, -2.0, 14.0, 9.0, 0.6)
AROUND = np.linspace(0, 2 * np.pi, 60, endpoint=False)


def assert_same(found: Ellipse | None, wanted: Ellipse, tolerance: float) -> None:
    assert found is not None
    for name in ("x_mm", "y_mm", "major_mm", "minor_mm"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), abs=tolerance)
    turn = (found.angle - wanted.angle + math.pi / 2) % math.pi - math.pi / 2
    assert turn == pytest.approx(0, abs=tolerance)


@given(st.floats(1, 40), st.floats(0.5, 1.0))
def test_the_circumference_is_that_of_the_elliptic_integral(major, share):
    minor = share * major
    exact = 4 * major * ellipe(1 - share**2)
    assert Ellipse(0, 0, major, minor, 0).circumference_mm == pytest.approx(exact, rel=1e-6)


@given(
    st.floats(-50, 50), st.floats(-50, 50), st.floats(2, 40), st.floats(0.3, 0.95), st.floats(-math.pi / 2, math.pi / 2)
)
def test_points_of_an_ellipse_give_it_back(x, y, major, share, angle):
    wanted = Ellipse(x, y, major, share * major, angle)
    assert_same(fit_ellipse(wanted.points(AROUND)), wanted, 1e-4 * major)


def test_a_part_of_the_outline_is_enough():
    assert_same(fit_ellipse(KNOWN.points(AROUND[:35])), KNOWN, 1e-6)


def test_noise_moves_it_little():
    noise = np.random.default_rng(1).normal(0, 0.3, (60, 2))
    found = fit_ellipse(KNOWN.points(AROUND) + noise)
    assert found is not None and found.circumference_mm == pytest.approx(KNOWN.circumference_mm, rel=0.01)


def test_outlying_points_have_no_weight():
    points = KNOWN.points(AROUND)
    points[5:17] = [KNOWN.x_mm, KNOWN.y_mm] + 1.5 * (points[5:17] - [KNOWN.x_mm, KNOWN.y_mm])
    points += np.random.default_rng(2).normal(0, 0.05, points.shape)
    plain = fit_ellipse(points)
    found = fit_ellipse_robustly(points)
    assert plain is not None and found is not None
    ellipse, weights = found
    assert abs(plain.circumference_mm / KNOWN.circumference_mm - 1) > 0.05
    assert ellipse.circumference_mm == pytest.approx(KNOWN.circumference_mm, rel=0.003)
    assert (weights[5:17] == 0).all() and (weights[20:] > 0).mean() > 0.95


def test_weights_count():
    points = np.concatenate([KNOWN.points(AROUND), [[100.0, 100.0]]])
    assert_same(fit_ellipse(points, np.append(np.ones(60), 0.0)), KNOWN, 1e-6)


@pytest.mark.parametrize(
    "points",
    [np.zeros((0, 2)), KNOWN.points(AROUND[:5]), np.zeros((20, 2)), np.linspace([0, 0], [1, 2], 20)],
    ids=["none", "five", "one place", "a line"],
)
def test_what_is_no_ellipse_gives_none(points):
    assert fit_ellipse(points) is None
    assert fit_ellipse_robustly(points) is None


def test_residuals_are_positive_outside():
    assert KNOWN.residuals_mm(KNOWN.points(AROUND)) == pytest.approx(np.zeros(60), abs=1e-9)
    end = np.array([[KNOWN.x_mm + 16 * math.cos(0.6), KNOWN.y_mm + 16 * math.sin(0.6)]])
    assert KNOWN.residuals_mm(end) == pytest.approx([2.0])
