"""Layout of labels beside a drawing: two columns, with lines to their points, without overlap.

Positions in pixels, x to the right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PlacedLabel:
    """Where a label goes.

    Attributes:
        index: which point.
        side: "left" or "right" column.
        y: height of its middle.
    """

    index: int
    side: str
    y: float


def place_labels(
    points: Array, widths: Array, panel_width: float, top: float, bottom: float, line_height: float
) -> list[PlacedLabel]:
    """Distribute labels of points (N, 2) over a left and a right column of a panel.

    The columns get about as many labels as there are points on either side of the middle; a label that would cover
    its own point goes to the other side. Inside a column labels are ordered as their points and at least
    `line_height` apart, as near to them as possible.

    Args:
        points: (N, 2) pixels.
        widths: (N,) width of each label with its margins.
        panel_width: width of the panel.
        top: upper end of the columns.
        bottom: lower end of the columns.
        line_height: least distance of two labels in a column.

    Returns:
        One per point, left column first.
    """
    if not len(points):
        return []
    x = points[:, 0]
    middle = (x.min() + x.max()) / 2
    order = np.argsort(x, kind="stable")
    share = int(np.clip((x < middle).sum(), len(x) // 3, len(x) - len(x) // 3))
    left = np.zeros(len(x), dtype=bool)
    left[order[:share]] = True
    covered_left, covered_right = x < widths, x > panel_width - widths
    left = np.where(covered_left & ~covered_right, False, np.where(covered_right & ~covered_left, True, left))
    placed = []
    for side, members in (("left", np.flatnonzero(left)), ("right", np.flatnonzero(~left))):
        members = members[np.argsort(points[members, 1], kind="stable")]
        heights = spread(points[members, 1], top + line_height / 2, bottom - line_height / 2, line_height)
        placed += [PlacedLabel(int(index), side, float(y)) for index, y in zip(members, heights, strict=True)]
    return placed


def spread(wanted: Array, low: float, high: float, gap: float) -> Array:
    """Ascending positions nearest to the ascending `wanted` ones (least squares), at least `gap` apart, in low..high.

    Isotonic regression of the positions less their share of gaps; the gap shrinks if there is no room.
    """
    from scipy.optimize import isotonic_regression  # loading it takes longer than everything else here

    count = len(wanted)
    if count == 0:
        return np.zeros(0)
    gap = min(gap, (high - low) / max(count - 1, 1))
    steps = gap * np.arange(count)
    pooled = isotonic_regression(np.asarray(wanted, dtype=float) - steps).x
    return np.asarray(np.clip(pooled, low, high - steps[-1]) + steps)
