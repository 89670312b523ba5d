"""Widths of a table's columns: enough for their texts where there is room, fairly cut where there is not."""

from __future__ import annotations

from collections.abc import Collection, Sequence

#: A column of names is cut beside a single other one only as far as it keeps these parts of the room: a number says
#: nothing without its name.
_NAME_PARTS, _PARTS = 3, 5
#: Names that would be cut to less than this fraction of their width get all of it.
_MOST_CUT = 3


def column_widths(natural: Sequence[int], available: int, firm: Collection[int] = ()) -> list[int]:
    """The widths of columns that fill a table exactly.

    Columns that may not be cut, such as those with values, get their width first. The others share the rest: short
    ones get what they need, long ones equal parts of what is left; but the first column, which names the rows, has most
    of what it shares with one other. What nobody needs goes to the last column.

    Args:
        natural: the widths of the longest texts, in pixels.
        available: the width of the table.
        firm: numbers of the columns that are cut last.
    """
    widths = [0] * len(natural)
    left = max(available, 0)
    for columns in ([c for c in range(len(natural)) if c in firm], [c for c in range(len(natural)) if c not in firm]):
        waiting = sorted(columns, key=lambda column: natural[column])
        names_beside_one = len(columns) == 2 and 0 in columns and columns[0] not in firm
        if names_beside_one:
            kept = left * _NAME_PARTS // _PARTS
            kept = left if kept * _MOST_CUT < natural[0] else kept
            widths[0] = min(natural[0], max(left - natural[columns[1]], kept))
            left -= widths[0]
            waiting = [columns[1]]
        while waiting:
            column = waiting.pop(0)
            widths[column] = min(natural[column], left // (len(waiting) + 1))
            left -= widths[column]
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
