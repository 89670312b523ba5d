"""A picture of some cases: midsagittal and coronal slices with the landmarks drawn on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.ndimage import map_coordinates

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.imaging.volume import Volume

from .shapes import Array

_HALF_MM, _STEP_MM = 62.0, 0.4
#: Landmarks this near to a slice (mm) are drawn filled.
_NEAR_MM = 2.5


def frame_of(pose: Pose) -> tuple[Array, Array]:
    """Middle (3,) and axes (3, 3) of a body: rows are right, anterior and cranial."""
    points = pose.positions
    schema = default_schema()
    rows = {key: row for row, key in enumerate(schema.keys)}
    midline = points[list(schema.midsagittal_rows)]
    normal = np.linalg.svd(midline - midline.mean(axis=0))[2][2]
    across = (
        points[rows["right_hip"]]
        + points[rows["right_shoulder"]]
        - points[rows["left_hip"]]
        - points[rows["left_shoulder"]]
    )
    right = normal * np.sign(normal @ across)
    up = points[rows["cranial_crest"]] - points[rows["rump"]]
    up = up - (up @ right) * right
    up /= np.linalg.norm(up)
    return midline.mean(axis=0), np.stack([right, np.cross(up, right), up])


def slice_of(volume: Volume, middle: Array, first: Array, second: Array) -> Array:
    """Greys of the plane through `middle` along two directions (3,), [second, first]."""
    steps = np.arange(-_HALF_MM, _HALF_MM, _STEP_MM)
    points = middle + steps[None, :, None] * first + steps[:, None, None] * second
    matrix = volume.ras_to_ijk
    index = (points @ matrix[:3, :3].T + matrix[:3, 3])[..., ::-1]
    return np.asarray(map_coordinates(volume.array.astype(np.float32), np.moveaxis(index, -1, 0), order=1, cval=0))


def write_sheet(path: Path, cases: Sequence[tuple[Volume, Pose, str]]) -> None:
    """Per case one row: midsagittal plain and with landmarks, coronal through the spine, coronal through the hips."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(cases), 4, figsize=(16, 4 * len(cases)), squeeze=False)
    for row, (volume, pose, title) in zip(axes, cases, strict=True):
        middle, (right, front, up) = frame_of(pose)
        spine = pose.positions[6] * 0.5 + pose.positions[8] * 0.5
        hips = np.mean(pose.positions[[10, 13, 16, 19]], axis=0)
        views = [
            (middle, front, up, False),
            (middle, front, up, True),
            (spine, -right, up, True),
            (hips, -right, up, True),
        ]
        for axis, (centre, first, second, marks) in zip(row, views, strict=True):
            picture = slice_of(volume, centre, first, second)
            axis.imshow(picture, cmap="gray", origin="lower", vmin=0, vmax=255, extent=(-_HALF_MM, _HALF_MM) * 2)
            axis.set_axis_off()
            if marks:
                _draw_marks(axis, pose, centre, first, second)
        row[0].set_title(title, fontsize=9, loc="left")
    figure.tight_layout(pad=0.4)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def _draw_marks(axis: object, pose: Pose, centre: Array, first: Array, second: Array) -> None:
    normal = np.cross(first, second)
    for mark in default_schema().landmarks:
        away = pose.positions[mark.row] - centre
        near = abs(away @ normal) < _NEAR_MM
        place = (away @ first, away @ second)
        face = mark.colour if near else "none"
        axis.plot(*place, "o", color=mark.colour, markerfacecolor=face, markersize=4, markeredgewidth=0.7)  # type: ignore[attr-defined]
        if near:
            axis.annotate(str(mark.number), place, (3, 3), textcoords="offset points", color=mark.colour, fontsize=7)  # type: ignore[attr-defined]
