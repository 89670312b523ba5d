"""The search of the benchmark of long bones finds shafts where they stand out."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.shaft_search import find_shafts
from scipy.ndimage import gaussian_filter

from FetusMapV2Lib.imaging.volume import Volume

SPACING_MM = 0.5
#: Shafts along k, mm: first and last place of each, and the joints 1 mm beyond.
SHAFTS = ((6.0, 15.0), (6.0, 15.4), (6.0, 14.0), (6.0, 14.4))


@pytest.fixture(scope="module")
def volume() -> Volume:
    """Four bright lines in grainy tissue, side by side, with dark ends."""
    greys = 90 + gaussian_filter(np.random.default_rng(3).normal(0, 60, (48, 20, 72)), 1.0)
    for number, (first, last) in enumerate(SHAFTS):
        column = greys[:, 9:12, 8 + 18 * number : 11 + 18 * number]
        places = np.arange(48) * SPACING_MM
        column[(places > first - 2) & (places < last + 2)] -= 40
        column[(places >= first) & (places <= last)] += 110
    return Volume(gaussian_filter(greys, 0.8).clip(0, 255).astype(np.uint8), np.diag([SPACING_MM] * 3 + [1.0]))


def test_lengths_are_found_with_joints_that_are_off(volume):
    bones = []
    for number, (first, last) in enumerate(SHAFTS):
        place = np.array([(9 + 18 * number) * SPACING_MM, 5.0, 0.0])
        bones.append((place + np.array([0.5, -0.4, first - 1.5]), place + np.array([-0.4, 0.5, last + 0.6])))
    found = find_shafts(volume, bones, [(2.5, 2.5)] * 4)
    for guess, (first, last) in zip(found, SHAFTS, strict=True):
        assert guess.length_mm == pytest.approx(last - first, abs=1.0)
        assert 0.2 < guess.sd_mm < 1.5
