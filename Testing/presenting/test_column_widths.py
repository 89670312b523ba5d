"""Widths of columns and numbers of columns, for any room there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from FetusMapV2Lib.presenting.column_widths import column_widths, columns_that_fit


def test_with_room_each_column_has_what_it_needs_and_the_last_one_the_rest():
    assert column_widths([100, 60, 80], 300) == [100, 60, 140]


def test_values_are_not_cut_and_the_others_share_what_is_left():
    assert column_widths([200, 80, 200], 240, firm=[1]) == [96, 80, 64], "a row without its name says nothing"
    assert column_widths([200, 80, 200], 170, firm=[1]) == [90, 80, 0]
    assert column_widths([200, 80, 30], 240, firm=[1]) == [130, 80, 30]
    assert column_widths([200, 80, 200, 200], 260, firm=[1]) == [60, 80, 60, 60]
    assert column_widths([50, 80, 400], 240, firm=[1]) == [50, 80, 110]


@given(st.lists(st.integers(0, 500), min_size=1, max_size=6), st.integers(0, 900), st.sets(st.integers(0, 5)))
def test_columns_fill_the_table_exactly(natural, available, firm):
    widths = column_widths(natural, available, firm)
    assert sum(widths) == available and min(widths) >= 0
    assert all(width <= need for width, need in zip(widths[:-1], natural[:-1], strict=True))


def test_widgets_stand_in_even_rows():
    assert columns_that_fit([50] * 5, 1000, 6) == 5
    assert columns_that_fit([90] * 5, 400, 6) == 3  # four would fit, but two rows are needed anyway
    assert columns_that_fit([90] * 4, 300, 6) == 2
    assert columns_that_fit([500, 40], 300, 6) == 1
    assert columns_that_fit([], 300, 6) == 1
