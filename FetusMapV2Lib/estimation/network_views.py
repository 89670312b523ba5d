"""The views of a volume that the network is shown: the whole volume, and close and tight views along the body's axes.

The first finds head and trunk anywhere; the second shows every fetus upright, facing one way and equally large, the
third as large as its limbs allow. A network of patches is shown the whole volume patch by patch instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.body_frame import BodyFrame
from FetusMapV2Lib.imaging.grid import Grid, Profiles
from FetusMapV2Lib.imaging.volume import Volume

Array = NDArray[np.float64]

#: Length of the close view's longest side in crown-rump lengths: limbs stretched beyond head or rump are inside.
CLOSE_EXTENT = 1.7
#: What a tight view leaves free between the landmarks and its sides, in crown-rump lengths; its voxels are no smaller
#: than this share of those of the close view.
TIGHT_MARGIN, _FINEST = 0.1, 0.5
#: Length of the longest side of a body's surroundings in crown-rump lengths: about what volumes of a fetus show.
SURROUNDINGS_EXTENT = 3.0
#: Centre of the close view in the canonical frame, in crown-rump lengths from the head-and-trunk centroid: limbs reach
#: to the front and below.
CLOSE_CENTRE = np.array([0.0, -0.08, -0.08])


def whole_view(volume: Volume, input_size: tuple[int, int, int], profiles: Profiles | None = None) -> Grid:
    """The whole volume on the network's grid, longest side first (`Grid.fit`)."""
    return Grid.fit(volume, input_size, profiles)


def turned_views(whole: Grid) -> list[Grid]:
    """The whole view with its axes turned so that it covers the same box, without the whole view itself.

    Half turns about each axis; and quarter turns about the longest one if both sides across it have the same length.
    """
    _, height, width = whole.shape
    step = 1 if height == width else 2
    turns = [
        Rotation.from_euler("zx", (90 * quarter, 180 * upside_down), degrees=True)
        for upside_down in (0, 1)
        for quarter in range(0, 4, step)
    ]
    return [
        Grid.around(whole.centre_ras, whole.axes @ turn.as_matrix(), whole.spacing_mm, whole.shape)
        for turn in turns[1:]
    ]


def close_view(frame: BodyFrame, input_size: tuple[int, int, int]) -> Grid:
    """A grid along the body's own axes, sized by the fetus: rows i run to its left, j to its back, k to its head.

    Args:
        frame: where the fetus is.
        input_size: (K, J, I) voxels.
    """
    spacing = CLOSE_EXTENT * frame.length_mm / max(input_size)
    centre = frame.centre + frame.axes @ CLOSE_CENTRE * frame.length_mm
    return Grid.around(centre, frame.axes, spacing, input_size)


def tight_view(
    frame: BodyFrame, positions: Array, input_size: tuple[int, int, int], margin: float = TIGHT_MARGIN
) -> Grid:
    """A grid along the body's own axes that just holds its landmarks: the close view with smaller voxels.

    Args:
        frame: where the fetus is.
        positions: (22, 3) RAS mm, NaN = missing; at least one is known.
        input_size: (K, J, I) voxels.
        margin: between the landmarks and the sides, in crown-rump lengths.
    """
    along = (positions - frame.centre) @ frame.axes
    low, high = np.nanmin(along, axis=0), np.nanmax(along, axis=0)
    sides = high - low + 2 * margin * frame.length_mm
    largest = CLOSE_EXTENT * frame.length_mm / max(input_size)
    spacing = np.clip((sides / np.array(input_size[::-1])).max(), _FINEST * largest, largest)
    return Grid.around(frame.centre + frame.axes @ (low + high) / 2, frame.axes, float(spacing), input_size)


def surroundings_view(frame: BodyFrame, whole: Grid) -> Grid:
    """A grid along the axes of the whole view, around a body and inside the whole view; for bodies in large volumes.

    Args:
        frame: where the body is.
        whole: the whole view (`whole_view`).

    Returns:
        The whole view itself where that shows no more than the surroundings.
    """
    spacing = min(whole.spacing_mm, SURROUNDINGS_EXTENT * frame.length_mm / max(whole.shape))
    middle = (np.array(whole.shape[::-1]) - 1) / 2
    room = middle * (1 - spacing / whole.spacing_mm)
    centre = middle + np.clip(whole.to_voxel(frame.centre[None])[0] - middle, -room, room)
    return Grid.around(whole.to_world(centre[None])[0], whole.axes, spacing, whole.shape)


def patch_grid(
    volume: Volume, patch_size: tuple[int, int, int], spacing_mm: float, profiles: Profiles | None = None
) -> Grid:
    """The grid that patches are cut from: the whole volume at their spacing, at least one patch large."""
    return Grid.covering(volume, spacing_mm, patch_size, profiles)
