"""Times of frames, as every format gives them."""

import math

import pytest

from FetusMapV2Lib.imaging.source import increasing_times


@pytest.mark.parametrize(
    ("times", "count", "expected"),
    [
        ((0.0, 0.5, 2.0), 3, (0.0, 0.5, 2.0)),
        ((-1, 0), 2, (-1.0, 0.0)),
        ((0.0, 0.5), 3, None),
        ((0.0, 0.5, 0.5), 3, None),
        ((0.0, 1.0, 0.5), 3, None),
        ((0.0, math.nan), 2, None),
        ((0.0, math.inf), 2, None),
        ((3.0,), 1, None),
        ((), 0, None),
    ],
)
def test_times_are_finite_and_increase_and_one_frame_has_none(times, count, expected):
    assert increasing_times(times, count) == expected
