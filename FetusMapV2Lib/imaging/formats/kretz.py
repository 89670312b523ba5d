"""GE Kretz volumes (``.vol``, ``.v00``, or inside DICOM): tags, toroidal geometry and scan conversion.

The format is undocumented; tags and geometry follow the open readers of SlicerHeart and plooney/kretz.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging import geometry
from FetusMapV2Lib.imaging.file_inspection import KRETZ_MAGIC, truncated
from FetusMapV2Lib.imaging.source import Source
from FetusMapV2Lib.imaging.volume import Matrix, ijk_to_ras_matrix

#: The two open readers disagree on the sign of y, that is, on left and right.
Handedness = Literal["slicerheart", "plooney"]
HANDEDNESS = get_args(Handedness)
#: Group and element of a record.
Tag = tuple[int, int]

_DIMENSIONS = ((0xC000, 1), (0xC000, 2), (0xC000, 3))
_RESOLUTION, _OFFSET1, _OFFSET2 = (0xC100, 1), (0xC200, 1), (0xC200, 2)
_PHI, _THETA, _CARTESIAN = (0xC300, 1), (0xC300, 2), (0x0010, 0x0022)
_VOXELS, _FRAME_VOXELS = (0xD000, 1), (0xD600, 1)
_GEOMETRY = {
    **dict.fromkeys(_DIMENSIONS, "its size"), _RESOLUTION: "the distance of the samples",
    _OFFSET1: "the radius of the first sample", _OFFSET2: "the distance between the axes",
    _PHI: "the angles of the planes", _THETA: "the angles of the beams", _CARTESIAN: "the voxel size",
    _VOXELS: "the volume",
}  # fmt: skip
# Longest possible beam, mm.
_FARTHEST_MM = 1000.0
# Finest voxel of a scan-converted volume in mm, and how many voxels it may have.
_FINEST_MM, _MOST_VOXELS = 0.3, 32e6
_UNCOMPRESSED = "On the Voluson, save the volume uncompressed (no wavelet compression), or export it as Cartesian"


@dataclass(frozen=True)
class KretzFile:
    """The records of a Kretz file that are used.

    Attributes:
        frames: voxels of each volume, [phi, theta, radius], uint8.
        resolution_mm: distance of samples along a beam.
        first_mm: radius of the first sample.
        bend_mm: D, distance between the axes of the two rotations.
        theta, phi: angles of the beams in the image plane and of the image planes, rad, zero straight ahead.
        cartesian_mm: voxel size if the file holds no angles, else None.
        notes: what the user should know about the file.
    """

    frames: list[NDArray[np.uint8]]
    resolution_mm: float
    first_mm: float
    bend_mm: float
    theta: NDArray[np.float64]
    phi: NDArray[np.float64]
    cartesian_mm: float | None
    notes: tuple[str, ...] = ()


def kretz_source(data: bytes, path: Path, handedness: Handedness) -> Source:
    """Open a Kretz file held in memory.

    Raises:
        InputError: as for `parse_kretz`.
    """
    kretz = parse_kretz(data, path)
    return Source(len(kretz.frames), lambda t: cartesian(kretz, t, handedness), True, kretz.notes)


def parse_kretz(data: bytes | memoryview, where: Any) -> KretzFile:
    """Read the records of a Kretz file held in memory.

    Raises:
        InputError: truncated, wavelet-compressed, or geometry that is incomplete or contradictory.
    """
    records: dict[Tag, memoryview] = {}
    frames: list[memoryview] = []
    for tag, value in _records(memoryview(data), where):
        if tag == _FRAME_VOXELS:
            frames.append(value)
        elif records.setdefault(tag, value) != value and tag in _GEOMETRY:
            raise _bad_geometry(where, f"{_GEOMETRY[tag]} is stated twice, differently")
    if _VOXELS in records:
        frames.insert(0, records[_VOXELS])
    sizes = _sizes(records, where)
    whole = [np.frombuffer(frame, np.uint8).reshape(sizes) for frame in frames if len(frame) == math.prod(sizes)]
    if not whole:
        raise InputError("this Kretz volume is wavelet-compressed", where=where, remedy=_UNCOMPRESSED)
    notes = []
    if len(whole) < len(frames):
        missing = f"{len(frames) - len(whole)} of the {len(frames)} volumes"
        notes.append(f"{missing} in the file are compressed or incomplete and were left out")
    theta, phi = _angles(records, _THETA, where), _angles(records, _PHI, where)
    if theta is None and phi is None:
        edge = geometry.spacing([_number(records, _CARTESIAN, where)], where)
        return KretzFile(whole, 0.0, 0.0, 0.0, np.empty(0), np.empty(0), float(edge[0]), tuple(notes))
    if theta is None or phi is None:
        raise _bad_geometry(where, f"{_GEOMETRY[_PHI if phi is None else _THETA]} are missing")
    if (len(phi), len(theta)) != sizes[:2]:
        text = f"angles for {len(theta)} x {len(phi)} beams, {sizes[1]} x {sizes[0]} are there"
        raise _bad_geometry(where, text)
    resolution = float(geometry.spacing([_number(records, _RESOLUTION, where) * 1000.0], where)[0])
    first = _number(records, _OFFSET1, where) * resolution
    bend = -_number(records, _OFFSET2, where) * resolution
    last = first + (sizes[2] - 1) * resolution
    if not (first >= 0 and last <= _FARTHEST_MM and abs(bend) <= _FARTHEST_MM):
        text = f"beams from {first:.4g} to {last:.4g} mm, {bend:.4g} mm between the axes"
        raise _bad_geometry(where, text)
    return KretzFile(whole, resolution, first, bend, theta, phi, None, tuple(notes))


def _bad_geometry(where: Any, what: str) -> InputError:
    text = f"the geometry of this Kretz volume is incomplete or contradictory ({what})"
    return InputError(text, where=where, remedy="Export the volume again")


def _sizes(records: dict[Tag, memoryview], where: Any) -> tuple[int, ...]:
    """Number of phi, theta and radius samples."""
    try:
        sizes = tuple(int(struct.unpack("<H", records[tag][:2])[0]) for tag in reversed(_DIMENSIONS))
    except (KeyError, struct.error):
        raise InputError("the Kretz file does not state its dimensions", where=where, remedy=_UNCOMPRESSED) from None
    if math.prod(sizes) == 0:
        text = " x ".join(str(size) for size in reversed(sizes))
        raise InputError(f"the Kretz file holds no voxels ({text})", where=where, remedy="Export the volume again")
    return sizes


def _records(data: memoryview, where: Any) -> Iterator[tuple[Tag, memoryview]]:
    position = len(KRETZ_MAGIC)
    while position + 8 <= len(data):
        group, element, length = struct.unpack_from("<HHI", data, position)
        if group == element == length == 0 and not np.frombuffer(data[position:], np.uint8).any():
            return  # padding up to the end
        position += 8
        if position + length > len(data):
            raise truncated(where)
        yield (group, element), data[position : position + length]
        position += length
    if any(data[position:]):
        raise truncated(where)


def _number(records: dict[Tag, memoryview], tag: Tag, where: Any) -> float:
    value = records.get(tag)
    number = float(struct.unpack_from("<d", value)[0]) if value is not None and len(value) >= 8 else math.nan
    if not math.isfinite(number):
        raise _bad_geometry(where, f"{_GEOMETRY[tag]} is missing or no number")
    return number


def _angles(records: dict[Tag, memoryview], tag: Tag, where: Any) -> NDArray[np.float64] | None:
    """The angles of a table, zero straight ahead; None if there are none."""
    value = records.get(tag)
    if value is None or not len(value):
        return None
    angles = np.frombuffer(value[: len(value) // 8 * 8], "<f8").astype(np.float64)
    if len(angles) < 2 or not np.isfinite(angles).all() or np.abs(angles).max() > 2 * math.pi:
        raise _bad_geometry(where, f"{_GEOMETRY[tag]} are no angles")
    steps = np.diff(angles)
    if not ((steps > 0).all() or (steps < 0).all()):
        raise _bad_geometry(where, f"{_GEOMETRY[tag]} are out of order")
    # Files state straight ahead as 90 degrees.
    centred = angles - math.pi / 2 if angles.mean() > math.pi / 4 else angles
    if np.abs(centred).max() > math.pi:
        raise _bad_geometry(where, f"{_GEOMETRY[tag]} reach {np.degrees(np.abs(centred).max()):.0f} degrees")
    return np.asarray(centred)


def cartesian(kretz: KretzFile, frame: int, handedness: Handedness) -> tuple[NDArray[np.uint8], Matrix]:
    """Voxels [k, j, i] on a Cartesian grid and their IJK-to-RAS matrix.

    Torus: x = r sin(theta), y = -+(r cos(theta) - D) sin(phi), z = D (1 - cos(phi)) + r cos(theta) cos(phi);
    the minus sign is SlicerHeart's convention, the plus sign plooney's.
    """
    voxels = kretz.frames[frame]
    if kretz.cartesian_mm is not None:
        return voxels, ijk_to_ras_matrix(kretz.cartesian_mm)
    sign = -1.0 if handedness == "slicerheart" else 1.0
    low, high = _bounds(kretz, sign)
    spacing = max(_FINEST_MM, kretz.resolution_mm, (float(np.prod(high - low)) / _MOST_VOXELS) ** (1 / 3))
    x, y, z = (_samples(a, b, spacing) for a, b in zip(low, high, strict=True))
    result = np.empty((len(z), len(y), len(x)), dtype=np.uint8)
    for k, depth in enumerate(z):
        index = _polar_index(kretz, sign, x, y, float(depth))
        result[k] = ndimage.map_coordinates(voxels, index, order=1, mode="constant", cval=0, output=np.uint8)
    return result, ijk_to_ras_matrix(spacing, (x[0], y[0], z[0]))


def _samples(low: float, high: float, spacing: float) -> NDArray[np.float64]:
    """Positions at a distance of `spacing` that cover the interval, centred on it."""
    count = math.ceil((high - low) / spacing) + 1
    return np.asarray((low + high) / 2 + (np.arange(count) - (count - 1) / 2) * spacing, dtype=np.float64)


def _bounds(kretz: KretzFile, sign: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest and largest x, y, z of the samples in mm; the extremes lie on the outer shells."""
    count = kretz.frames[0].shape[2]
    radii = np.array([kretz.first_mm, kretz.first_mm + (count - 1) * kretz.resolution_mm])
    r, theta, phi = np.meshgrid(radii, kretz.theta, kretz.phi, indexing="ij")
    forward = r * np.cos(theta) - kretz.bend_mm
    points = (r * np.sin(theta), sign * forward * np.sin(phi), kretz.bend_mm + forward * np.cos(phi))
    return np.array([p.min() for p in points]), np.array([p.max() for p in points])


def _polar_index(
    kretz: KretzFile, sign: float, x: NDArray[np.float64], y: NDArray[np.float64], z: float
) -> NDArray[np.float32]:
    """Fractional index (phi, theta, radius) of the points of one plane z, (3, len(y), len(x))."""
    # Whether the samples lie beyond the axis of the sweep (as in all known probes) or before it.
    middle = kretz.first_mm + kretz.frames[0].shape[2] / 2 * kretz.resolution_mm
    side = 1.0 if middle >= kretz.bend_mm else -1.0
    height = side * (z - kretz.bend_mm)
    phi = np.arctan2(side * sign * y, height)
    forward = kretz.bend_mm + side * np.hypot(y, height)
    theta = np.arctan2(x[None, :], forward[:, None])
    radius = np.hypot(x[None, :], forward[:, None])
    index = np.empty((3, len(y), len(x)), dtype=np.float32)
    index[0] = _fractional(phi, kretz.phi)[:, None]
    index[1] = _fractional(theta, kretz.theta)
    index[2] = (radius - kretz.first_mm) / kretz.resolution_mm
    return index


def _fractional(values: NDArray[np.float64], samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fractional index of `values` in the monotone `samples`; -2 outside."""
    numbers = np.arange(len(samples), dtype=np.float64)
    if samples[0] > samples[-1]:
        samples, numbers = samples[::-1], numbers[::-1]
    return np.interp(values, samples, numbers, left=-2.0, right=-2.0)
