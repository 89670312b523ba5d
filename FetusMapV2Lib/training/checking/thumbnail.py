"""A small picture of a case with its skeleton: a slice through the landmarks, seen from the side or the front."""

from __future__ import annotations

import base64
import tempfile
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.planes import fetal_axes
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.core.colours import hex_colour
from FetusMapV2Lib.imaging.grid import Grid, resample
from FetusMapV2Lib.imaging.volume import Volume

Array = NDArray[np.float64]

#: Edge of a picture in pixels, and slices that are averaged around the landmarks.
_SIZE, _DEPTH = 160, 5
#: Edge of a picture in units of the largest distance of a landmark from the middle, and for volumes without landmarks
#: in units of the longest side.
_AROUND = 2.4
_BRIGHT = 99.5


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A slice and the skeleton on it.

    Attributes:
        title: what is seen.
        grey: uint8 (rows, columns).
        points: (22, 2) columns and rows in pixels, NaN = missing.
    """

    title: str
    grey: NDArray[np.uint8]
    points: Array

    def svg(self, schema: Schema, marked: frozenset[int] = frozenset()) -> str:
        """The picture as an SVG element for a page.

        Args:
            schema: gives edges, colours and names.
            marked: rows of landmarks to mark, because something was found about them.
        """
        size = _SIZE
        parts = [f'<image width="{size}" height="{size}" href="data:image/png;base64,{_png(self.grey)}"/>']
        for edge in schema.edges:
            (x1, y1), (x2, y2) = self.points[edge.start], self.points[edge.end]
            if np.isfinite([x1, y1, x2, y2]).all():
                colour = hex_colour(schema.landmarks[edge.end].colour)
                parts.append(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}"/>')
        for mark in schema.landmarks:
            x, y = self.points[mark.row]
            if np.isfinite([x, y]).all():
                plain = f'r="2" fill="{hex_colour(mark.colour)}"'
                look = 'r="5" stroke="#ff3020" fill="none"' if mark.row in marked else plain
                name = escape(mark.name)
                parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" {look}><title>{name}</title></circle>')
        return f'<svg width="{size}" height="{size}" role="img" aria-label="{self.title}">{"".join(parts)}</svg>'


def thumbnails(volume: Volume, pose: Pose) -> tuple[Thumbnail, ...]:
    """A case from its left side and from the front; without landmarks, the middle of the volume.

    Args:
        volume: of the case.
        pose: its landmarks; may be all missing.
    """
    axes = fetal_axes(pose.midsagittal_plane)
    views = (
        ("from the left", np.stack([-axes.dorsal, axes.cranial, -axes.left])),
        ("from the front", np.stack([axes.left, axes.cranial, -axes.dorsal])),
    )
    return tuple(_thumbnail(volume, pose.positions, title, rows) for title, rows in views)


def _thumbnail(volume: Volume, positions: Array, title: str, rows: Array) -> Thumbnail:
    """The view with these axes: to the right, upwards, and across the picture; any of them may have been mirrored."""
    known = positions[np.isfinite(positions).all(axis=1)]
    centre = known.mean(axis=0) if len(known) else volume.centre_ras
    reach = float(np.linalg.norm(known - centre, axis=1).max()) if len(known) > 1 else 0.0
    edge = max(_AROUND * reach, 10.0) if reach else float(max(volume.extent_mm))
    right, up = rows[0] / np.linalg.norm(rows[0]), rows[1] / np.linalg.norm(rows[1])
    axes = np.stack([right, -up, np.cross(right, -up)], axis=1)  # rows of a picture run downwards
    grid = Grid.around(centre, axes, edge / _SIZE, (_DEPTH, _SIZE, _SIZE))
    slab = resample(volume, grid).mean(axis=0)
    top = max(float(np.percentile(slab, _BRIGHT)), 1e-6)
    grey = np.asarray(np.rint(np.clip(slab / top, 0.0, 1.0) * 255.0), dtype=np.uint8)
    return Thumbnail(title, grey, grid.to_voxel(positions)[:, :2])


def _png(grey: NDArray[np.uint8]) -> str:
    """A PNG file in base64."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(grey), str(path))
        return base64.b64encode(path.read_bytes()).decode("ascii")
