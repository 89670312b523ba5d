"""Labels beside a drawing: none over another, each near its point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from FetusMapV2Lib.core.label_layout import place_labels, spread


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 500), st.floats(0, 900)), max_size=22))
def test_labels_never_overlap_and_every_point_has_one(points: list[tuple[float, float]]) -> None:
    placed = place_labels(np.array(points).reshape(-1, 2), np.full(len(points), 120.0), 500.0, 40.0, 900.0, 30.0)
    assert sorted(label.index for label in placed) == list(range(len(points)))
    for side in ("left", "right"):
        column = [label for label in placed if label.side == side]
        heights = sorted(label.y for label in column)
        assert all(40.0 <= y <= 900.0 for y in heights)
        assert np.all(np.diff(heights) >= 30.0 - 1e-6)
        by_point = [label.y for label in sorted(column, key=lambda label: points[label.index][1])]
        assert by_point == pytest.approx(heights), "lines to the points do not cross for want of order"


@settings(max_examples=60)
@given(st.lists(st.floats(-50, 150), min_size=1, max_size=12), st.floats(1, 30))
def test_spread_keeps_distance_and_bounds(wanted: list[float], gap: float) -> None:
    result = spread(np.sort(wanted), 0.0, 100.0, gap)
    room = min(gap, 100.0 / max(len(wanted) - 1, 1))
    assert np.all(np.diff(result) >= room - 1e-6)
    assert result[0] >= -1e-6 and result[-1] <= 100 + 1e-6


def test_spread_leaves_alone_what_has_room() -> None:
    np.testing.assert_allclose(spread(np.array([10.0, 40.0, 90.0]), 0.0, 100.0, 20.0), [10, 40, 90])
