"""The remaining time of a job, and durations as text."""

from __future__ import annotations

import pytest

from FetusMapV2Lib.presenting.durations import duration_text, remaining_seconds


@pytest.mark.parametrize(
    ("elapsed", "fraction", "usual", "remaining"),
    [
        (1.0, 0.5, None, None),  # too early to tell
        (10.0, 0.05, None, None),
        (10.0, 0.5, None, 10.0),
        (4.0, 0.1, 20.0, 16.0),  # the usual duration, not the speed of the first stage
        (30.0, 0.9, 20.0, 30.0 / 9),
    ],
)
def test_remaining_time(elapsed: float, fraction: float, usual: float | None, remaining: float | None) -> None:
    found = remaining_seconds(elapsed, fraction, usual)
    assert found == (remaining if remaining is None else pytest.approx(remaining))


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "1 s"), (12.4, "12 s"), (89.0, "89 s"), (185.0, "3 min")])
def test_durations_are_rounded(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
