"""Where a skin ends, read off greys across its edge."""

from __future__ import annotations

import numpy as np
import pytest

from FetusMapV2Lib.imaging.edge_profiles import skin_beyond_mm

STEPS = np.arange(-2.0, 3.05, 0.1)


def greys(surface_mm: float, wall_mm: np.ndarray, blur_mm: float = 0.9) -> np.ndarray:
    """(N, R) greys, logarithms of the blurred amplitude of tissue that ends at a surface and of a wall beyond it."""
    depth = np.arange(-8.0, 12.0, 0.1)
    kernel = np.exp(-0.5 * (np.arange(-4.0, 4.05, 0.1) / blur_mm) ** 2)
    rows = []
    for wall in wall_mm:
        amplitude = np.where((depth < surface_mm) | (depth > surface_mm + wall), 1.0, 0.05)
        power = np.convolve(amplitude**2, kernel / kernel.sum(), mode="same")
        rows.append(np.interp(STEPS, depth, 200 + 50 * np.log10(power)))
    return np.array(rows)


def test_the_skin_ends_near_where_half_the_power_is_left_though_half_the_grey_lies_far_outside():
    profiles = greys(-0.6, np.full(40, 20.0))
    half = STEPS[np.argmax(profiles[0] < (profiles.max() + profiles.min()) / 2)]
    assert half > 0.4
    assert skin_beyond_mm(profiles, STEPS) == pytest.approx(-0.6, abs=0.6)


def test_a_surface_farther_out_is_found_farther_out():
    places = [skin_beyond_mm(greys(surface, np.full(40, 20.0)), STEPS) for surface in (-0.6, -0.2)]
    assert places[1] - places[0] == pytest.approx(0.4, abs=0.08)


def test_a_wall_that_touches_most_of_the_skin_moves_it_little():
    free = skin_beyond_mm(greys(-0.4, np.full(40, 20.0)), STEPS)
    touched = skin_beyond_mm(greys(-0.4, np.where(np.arange(40) < 8, 20.0, 1.5)), STEPS)
    assert touched == pytest.approx(free, abs=0.6)


def test_rays_that_leave_the_volume_count_as_far_as_they_go():
    profiles = greys(-0.4, np.full(40, 20.0))
    whole = skin_beyond_mm(profiles, STEPS)
    profiles[:10, -12:] = np.nan
    assert skin_beyond_mm(profiles, STEPS) == pytest.approx(whole, abs=0.1)
