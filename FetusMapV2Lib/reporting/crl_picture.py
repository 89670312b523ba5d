"""The crown-rump length in the midsagittal slice of its volume, with callipers and value, as SVG.

Drawn from volume and pose alone: nothing that happens to be open on a screen gets into a report.
"""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.biometry import Measurement
from FetusMapV2Lib.anatomy.planes import Plane
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.imaging.grid import Grid, resample
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.reporting.svg import document, line, rectangle, text

Array = NDArray[np.float64]

#: Size in which the picture is laid out, and how much finer it is drawn, for printers.
SIZE, SCALE = (480, 320), 2.0
#: Samples per laid-out pixel.
_FINENESS = 1.5
#: Share of the width that the length takes, and of the height that the landmarks of the midline take, at most.
_LENGTH_SHARE, _DEPTH_SHARE = 0.74, 0.72
_BRIGHT_PERCENTILE = 99.5
_CALLIPER, _HALO, _WHITE = "#ffe14d", "#000000", "#ffffff"
_ARM = 7.0
#: Width of a letter, at most, as a share of its height.
_LETTER = 0.66


def crl_picture(volume: Volume, pose: Pose, crl: Measurement) -> str:
    """The midsagittal slice seen from the fetal right, the head on the left, the front up.

    Crown and rump are shown where they lie nearest to in the plane; how far off it they are is written beside them if
    it is a millimetre or more.

    Args:
        volume: that the pose was estimated in.
        pose: RAS mm.
        crl: its crown-rump length.

    Returns:
        SVG; empty without both ends of the length or without a midsagittal plane.
    """
    plane = pose.midsagittal_plane
    ends = pose.positions[list(crl.rows)]
    if plane is None or not np.isfinite(ends).all() or not crl.value_mm > 0:
        return ""
    grid = _grid(pose, plane, ends, crl.value_mm)
    width, height = SIZE
    points = [_place(grid, point) for point in ends]
    parts = [
        f'<image x="0" y="0" width="{width}" height="{height}" preserveAspectRatio="none" '
        f'xlink:href="data:image/png;base64,{base64.b64encode(_png(_greys(volume, grid))).decode("ascii")}"/>',
        *_callipers(points[0], points[1]),
        *_label(14, 24, _length_text(crl), _CALLIPER, size=18, weight="bold"),
        *_label(14, height - 12, "cranial", _WHITE),
        *_label(width - 14, height - 12, "caudal", _WHITE, "end"),
        *_scale_bar(grid),
        *_off_plane(plane, ends),
    ]
    return document(parts, SIZE, SCALE)


def _length_text(crl: Measurement) -> str:
    if crl.uncertainty_mm is None:
        return f"CRL {crl.value_mm:.1f} mm"
    return f"CRL {crl.value_mm:.1f} ± {crl.uncertainty_mm:.1f} mm"


def _grid(pose: Pose, plane: Plane, ends: Array, length: float) -> Grid:
    """One sheet of samples in the plane: i to the caudal end, k from front to back."""
    rows = np.stack([-plane.y_axis, -plane.normal, plane.x_axis], axis=1)
    trunk = pose.positions[[row for row in pose.schema.midsagittal_rows if pose.present[row]]] @ rows
    along, depth = ends @ rows[:, 0], trunk[:, 2]
    width, height = SIZE
    wide = max(length / _LENGTH_SHARE, float(np.ptp(depth)) / _DEPTH_SHARE * width / height)
    middle = np.array([along.mean(), plane.origin @ rows[:, 1], (depth.min() + depth.max()) / 2])
    shape = (round(height * _FINENESS), 1, round(width * _FINENESS))
    return Grid.around(rows @ middle, rows, wide / shape[2], shape)


def _place(grid: Grid, point: Array) -> tuple[float, float]:
    i, _, k = grid.to_voxel(point)
    return (float(i) + 0.5) / _FINENESS, (float(k) + 0.5) / _FINENESS


def _greys(volume: Volume, grid: Grid) -> NDArray[np.uint8]:
    values = resample(volume, grid, fill=float(volume.array.min()))[:, 0, :]
    low = float(volume.array.min())
    top = max(float(np.percentile(values, _BRIGHT_PERCENTILE)) - low, 1e-6)
    return np.asarray(np.round(255 * np.clip((values - low) / top, 0, 1)), dtype=np.uint8)


def _png(greys: NDArray[np.uint8]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slice.png"
        sitk.WriteImage(sitk.GetImageFromArray(greys), str(path), useCompression=True)
        return path.read_bytes()


def _callipers(start: tuple[float, float], end: tuple[float, float]) -> list[str]:
    """A cross at each end and a dotted line between, on a dark border that keeps them visible on bright bone."""
    parts = []
    for colour, width in ((_HALO, 4.0), (_CALLIPER, 1.8)):
        for x, y in (start, end):
            parts.append(line((x - _ARM, y), (x + _ARM, y), colour, width))
            parts.append(line((x, y - _ARM), (x, y + _ARM), colour, width))
    parts.append(line(start, end, _CALLIPER, 1.4, dashes="2 5"))
    return parts


def _scale_bar(grid: Grid) -> list[str]:
    half, y = 5.0 / grid.spacing_mm / _FINENESS, SIZE[1] - 12.0
    middle = SIZE[0] / 2
    return [
        line((middle - half, y), (middle + half, y), _HALO, 5.0),
        line((middle - half, y), (middle + half, y), _WHITE, 2.0),
        *_label(middle, y - 7, "10 mm", _WHITE, "middle"),
    ]


def _off_plane(plane: Plane, ends: Array) -> list[str]:
    distances = np.abs(plane.distances_mm(ends))
    far = [f"{name} {mm:.0f} mm" for name, mm in zip(("crown", "rump"), distances, strict=True) if round(mm) >= 1]
    return _label(14, 46, f"off the plane: {', '.join(far)}", _WHITE) if far else []


def _label(
    x: float, y: float, words: str, colour: str, anchor: str = "start", size: int = 13, weight: str = "normal"
) -> list[str]:
    """A text on a dark ground, so that it is read on bright bone."""
    width = _LETTER * size * len(words) + 8
    left = x - 4 - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] + (8 if anchor == "end" else 0)
    ground = rectangle(left, y - size, width, size * 1.35, _HALO, opacity=0.55)
    return [ground, text(x, y, words, colour, anchor, weight, size)]
