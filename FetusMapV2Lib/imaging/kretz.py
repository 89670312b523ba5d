"""GE Kretz volumes (``.vol``, ``.v00``, or inside DICOM): tags, toroidal geometry and scan conversion.

The format is undocumented; tags and geometry follow the open readers of SlicerHeart and plooney/kretz.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from FetusMapV2Lib.foundation.errors import InputError
from FetusMapV2Lib.imaging.headers import KRETZ_MAGIC, truncated
from FetusMapV2Lib.imaging.volume import Matrix, ijk_to_ras_matrix

#: The two open readers disagree on the sign of y, that is, on left and right.
Handedness = Literal["slicerheart", "plooney"]
HANDEDNESS = get_args(Handedness)

_DIMENSIONS = ((0xC000, 1), (0xC000, 2), (0xC000, 3))
_RESOLUTION, _OFFSET1, _OFFSET2 = (0xC100, 1), (0xC200, 1), (0xC200, 2)
_PHI, _THETA, _CARTESIAN = (0xC300, 1), (0xC300, 2), (0x0010, 0x0022)
_VOXELS, _FRAME_VOXELS = (0xD000, 1), (0xD600, 1)
# Finest voxel of a scan-converted volume in mm, and how many voxels it may have.
_FINEST_MM, _MOST_VOXELS = 0.3, 32e6
_UNCOMPRESSED = "On the Voluson, save the volume uncompressed (no wavelet compression), or export it as Cartesian"


@dataclass(frozen=True)
class KretzFile:
    """The records of a Kretz file that matter.

    Attributes:
        frames: voxels of each volume, [phi, theta, radius], uint8.
        resolution_mm: distance of samples along a beam.
        first_mm: radius of the first sample.
        bend_mm: D, distance between the axes of the two rotations.
        theta, phi: angles of the beams in the image plane and of the image planes, rad, zero straight ahead.
        cartesian_mm: voxel size if the file holds no angles, else None.
    """

    frames: list[NDArray[np.uint8]]
    resolution_mm: float
    first_mm: float
    bend_mm: float
    theta: NDArray[np.float64]
    phi: NDArray[np.float64]
    cartesian_mm: float | None


def parse_kretz(data: bytes | memoryview, where: Any) -> KretzFile:
    """Read the records of a Kretz file held in memory.

    Raises:
        InputError: truncated, wavelet-compressed, or records that contradict each other.
    """
    records: dict[tuple[int, int], memoryview] = {}
    frames: list[memoryview] = []
    for tag, value in _records(memoryview(data), where):
        if tag == _FRAME_VOXELS:
            frames.append(value)
        else:
            records.setdefault(tag, value)
    if _VOXELS in records:
        frames.insert(0, records[_VOXELS])
    try:
        sizes = tuple(struct.unpack("<H", records[tag][:2])[0] for tag in reversed(_DIMENSIONS))
    except (KeyError, struct.error):
        raise InputError("the Kretz file does not state its dimensions", where=where, remedy=_UNCOMPRESSED) from None
    whole = [np.frombuffer(frame, np.uint8).reshape(sizes) for frame in frames if len(frame) == math.prod(sizes)]
    if not whole or math.prod(sizes) == 0:
        raise InputError("this Kretz volume is wavelet-compressed", where=where, remedy=_UNCOMPRESSED)
    resolution = _number(records, _RESOLUTION, 0.0) * 1000.0
    theta, phi = _angles(records, _THETA), _angles(records, _PHI)
    if not theta.size or not phi.size:
        return KretzFile(whole, 0.0, 0.0, 0.0, theta, phi, _number(records, _CARTESIAN, 1.0))
    if (len(phi), len(theta)) != sizes[:2] or not resolution > 0:
        raise InputError(
            "the geometry of this Kretz volume is incomplete", where=where, remedy="Export the volume again"
        )
    first = _number(records, _OFFSET1, 0.0) * resolution
    bend = -_number(records, _OFFSET2, 0.0) * resolution
    return KretzFile(whole, resolution, first, bend, theta, phi, None)


def _records(data: memoryview, where: Any) -> Iterator[tuple[tuple[int, int], memoryview]]:
    position = len(KRETZ_MAGIC)
    while position + 8 <= len(data):
        group, element, length = struct.unpack_from("<HHI", data, position)
        position += 8
        if position + length > len(data):
            raise truncated(where)
        yield (group, element), data[position : position + length]
        position += length


def _number(records: dict[tuple[int, int], memoryview], tag: tuple[int, int], default: float) -> float:
    value = records.get(tag)
    return float(struct.unpack_from("<d", value)[0]) if value is not None and len(value) >= 8 else default


def _angles(records: dict[tuple[int, int], memoryview], tag: tuple[int, int]) -> NDArray[np.float64]:
    value = records.get(tag, memoryview(b""))
    angles = np.frombuffer(value[: len(value) // 8 * 8], "<f8").astype(np.float64)
    # Stored with straight ahead at a right angle.
    return angles - math.pi / 2 if angles.size and angles.mean() > math.pi / 4 else angles


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
