"""Widths of a table's columns: enough for their texts where there is room, fairly cut where there is not."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def column_widths(natural: Sequence[int], available: int, firm: Collection[int] = ()) -> list[int]:
    """The widths of columns that fill a table exactly.

    Columns that may not be cut, such as those with values, get their width first. The others share the rest: short
    ones get what they need, long ones equal parts of what is left. What nobody needs goes to the last column.

    Args:
        natural: the widths of the longest texts, in pixels.
        available: the width of the table.
        firm: numbers of the columns that are cut last.
    """
    widths = [0] * len(natural)
    left = max(available, 0)
    for columns in ([c for c in range(len(natural)) if c in firm], [c for c in range(len(natural)) if c not in firm]):
        waiting = sorted(columns, key=lambda column: natural[column])
        while waiting:
            column = waiting[0]
            widths[column] = min(natural[column], left // len(waiting))
            left -= widths[column]
            waiting.pop(0)
    if widths:
        widths[-1] += left
    return widths


def columns_that_fit(hints: Sequence[int], available: int, spacing: int) -> int:
    """How many columns of equal width a grid of widgets may have, so that none is cut; at least one.

    Fewer columns are taken where they give the same number of rows, which makes the rows even.

    Args:
        hints: the widths that the widgets need, in pixels.
        available: the width of the grid.
        spacing: pixels between two columns.
    """
    count, widest = len(hints), max(hints, default=1)
    fitting = max(1, min(count, (available + spacing) // (widest + spacing)))
    rows = -(-count // fitting)
    return max(1, -(-count // rows)) if count else 1
