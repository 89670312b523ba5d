"""Writing volumes (NRRD, MetaImage, NIfTI) and sequences of volumes (``.seq.nrrd``), whole or not at all.

Files carry LPS geometry, as SimpleITK, Slicer and DICOM expect. Text headers are written here, so that no locale
changes their decimals.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from FetusMapV2Lib.core.atomic_files import atomic_write
from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.imaging.source import ascii_path, increasing_times
from FetusMapV2Lib.imaging.volume import LPS_TO_RAS, Volume

_WRITABLE = (".nrrd", ".mha", ".nii", ".nii.gz")
_NRRD_TYPES = {"u1": "unsigned char", "i2": "short", "u2": "unsigned short", "f4": "float"}
_META_TYPES = {"u1": "MET_UCHAR", "i2": "MET_SHORT", "u2": "MET_USHORT", "f4": "MET_FLOAT"}
# As fast as SimpleITK compresses; higher levels hardly make speckle smaller.
_LEVEL = 2


def write_volume(
    path: str | os.PathLike[str], volume: Volume, *, overwrite: bool = True, compress: bool = True
) -> None:
    """Write a volume as ``.nrrd``, ``.mha``, ``.nii`` or ``.nii.gz``.

    Raises:
        OutputError: another suffix, sheared axes (which these files cannot hold), the file exists and
            `overwrite` is false, or it cannot be written.
    """
    target = Path(path)
    if not target.name.lower().endswith(_WRITABLE):
        remedy = f"Use one of {', '.join(_WRITABLE)}"
        raise OutputError("unknown kind of volume file", where=target, remedy=remedy)
    if not _orthogonal(volume):
        raise OutputError(
            "the axes of the volume are not at right angles, which a volume file cannot hold", where=target,
            remedy="Resample the volume first",
        )  # fmt: skip
    with atomic_write(target, overwrite=overwrite) as temporary:
        if target.suffix.lower() == ".nrrd":
            with temporary.open("wb") as stream:
                stream.write(_volume_header(volume, compress).encode("utf-8"))
                _write_packed(stream, [_little_endian(volume.array)], compress)
        elif target.suffix.lower() == ".mha":
            _write_metaimage(temporary, volume, compress)
        else:
            _write_nifti(temporary, volume, target)


def to_simpleitk(volume: Volume) -> sitk.Image:
    """The volume as a SimpleITK image (LPS). The axes must be orthogonal."""
    image = sitk.GetImageFromArray(volume.array)
    lps = LPS_TO_RAS @ volume.ijk_to_ras
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing([float(value) for value in spacing])
    image.SetOrigin([float(value) for value in lps[:3, 3]])
    image.SetDirection([float(value) for value in (lps[:3, :3] / spacing).ravel()])
    return image


def _orthogonal(volume: Volume) -> bool:
    directions = volume.ijk_to_ras[:3, :3] / np.asarray(volume.spacing)
    return bool(np.allclose(directions.T @ directions, np.eye(3), atol=1e-4))


def _write_nifti(temporary: Path, volume: Volume, target: Path) -> None:
    """Write with SimpleITK, which opens the right file on every system only if its path is ASCII."""
    # Python opens the file first, so that a missing permission or a full disk is reported by the system.
    temporary.touch()
    try:
        with ascii_path(temporary, needed=True, written=True) as name:
            sitk.WriteImage(to_simpleitk(volume), name)
    except RuntimeError as error:
        raise _not_written(target) from error
    if temporary.stat().st_size <= volume.array.nbytes * (target.suffix.lower() == ".nii"):
        raise _not_written(target)


def _not_written(target: Path) -> OutputError:
    return OutputError("the volume could not be written", where=target, remedy="Check the free space on the disk")


def _write_metaimage(path: Path, volume: Volume, compress: bool) -> None:
    lps = LPS_TO_RAS @ volume.ijk_to_ras
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    array = _little_endian(volume.array)
    packed = zlib.compress(array.data, _LEVEL) if compress else array.data
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": str(compress),
        **({"CompressedDataSize": str(len(packed))} if compress else {}),
        "TransformMatrix": _numbers((lps[:3, :3] / spacing).T.ravel()),
        "Offset": _numbers(lps[:3, 3]),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": _numbers(spacing),
        "DimSize": " ".join(str(size) for size in volume.shape[::-1]),
        "ElementType": _META_TYPES[volume.array.dtype.str[1:]],
        "ElementDataFile": "LOCAL",
    }
    with path.open("wb") as stream:
        stream.write("".join(f"{name} = {value}\n" for name, value in lines.items()).encode("ascii"))
        stream.write(packed)


def write_sequence(
    path: str | os.PathLike[str],
    frames: Iterable[Volume],
    *,
    times_s: Iterable[float] | None = None,
    overwrite: bool = True,
    compress: bool = True,
) -> None:
    """Write volumes of one geometry as a Slicer volume sequence (``.seq.nrrd``, frames one after another).

    `frames` is iterated once; if it has a length, one frame at a time is in memory.

    Args:
        path: the file, its name ends in ``.seq.nrrd``.
        frames: volumes of one shape, type and geometry.
        times_s: when each frame was taken, seconds, increasing; None = unknown, frames are counted.
        overwrite: whether an existing file may be replaced.
        compress: whether the voxels are compressed (gzip).

    Raises:
        OutputError: no frames, frames that differ in shape, type or geometry, times that do not fit them, another
            suffix, an unwritable file.
    """
    target = Path(path)
    if not target.name.lower().endswith(".seq.nrrd"):
        raise OutputError("a sequence of volumes needs the suffix .seq.nrrd", where=target)
    count, frames = _counted(frames)
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise OutputError("the sequence has no frames", where=target)
    times = None if times_s is None else increasing_times(times_s, count)
    if times_s is not None and times is None and count > 1:
        raise OutputError(f"the times are not {count} increasing numbers", where=target, remedy="Give one per frame")
    with atomic_write(target, overwrite=overwrite) as temporary, temporary.open("wb") as stream:
        stream.write(_sequence_header(first, count, times, compress).encode("utf-8"))
        _write_packed(stream, _arrays(first, chain([first], iterator), target), compress)


def _counted(frames: Iterable[Volume]) -> tuple[int, Iterable[Volume]]:
    if not hasattr(frames, "__len__"):
        frames = list(frames)
    return len(frames), frames  # type: ignore[arg-type]


def _arrays(first: Volume, frames: Iterable[Volume], target: Path) -> Iterator[NDArray[Any]]:
    for number, frame in enumerate(frames):
        same = frame.array.dtype == first.array.dtype and frame.shape == first.shape
        if not same or not np.allclose(frame.ijk_to_ras, first.ijk_to_ras, atol=1e-6):
            raise OutputError(
                f"frame {number} has another size, type or position than the first", where=target,
                remedy="Resample the frames onto one grid",
            )  # fmt: skip
        yield _little_endian(frame.array)


def _write_packed(stream: IO[bytes], arrays: Iterable[NDArray[Any]], compress: bool) -> None:
    if not compress:
        for array in arrays:
            stream.write(array.data)
        return
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=_LEVEL, mtime=0, filename="") as packed:
        for array in arrays:
            packed.write(array.data)


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _volume_header(volume: Volume, compress: bool) -> str:
    """NRRD header of one volume."""
    return _nrrd_header(volume, compress, "", "", "domain domain domain", [])


def _sequence_header(first: Volume, count: int, times: tuple[float, ...] | None, compress: bool) -> str:
    """NRRD header as Slicer writes it: three domain axes, then a list axis."""
    index, unit = ("frame", "") if times is None else ("time", "s")
    more = [
        f'labels: "" "" "" "{index}"',
        f'units: "" "" "" "{unit}"',
        "DataNodeClassName:=vtkMRMLScalarVolumeNode",
        "axis 3 index type:=numeric",
        f"axis 3 index values:={' '.join(f'{value:.9g}' for value in times or range(count))}",
    ]
    return _nrrd_header(first, compress, f" {count}", " none", "domain domain domain list", more)


def _nrrd_header(volume: Volume, compress: bool, size: str, direction: str, kinds: str, more: list[str]) -> str:
    """Lines of a NRRD header; size and direction of a fourth axis, if there is one, begin with a blank."""
    lps = LPS_TO_RAS @ volume.ijk_to_ras
    lines = [
        "NRRD0004",
        f"type: {_NRRD_TYPES[volume.array.dtype.str[1:]]}",
        f"dimension: {4 if size else 3}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(str(one) for one in volume.shape[::-1])}{size}",
        f"space directions: {' '.join(_vector(lps[:3, axis]) for axis in range(3))}{direction}",
        f"kinds: {kinds}",
        "endian: little",
        f"encoding: {'gzip' if compress else 'raw'}",
        f"space origin: {_vector(lps[:3, 3])}",
        *more,
    ]
    return "\n".join(lines) + "\n\n"


def _vector(values: NDArray[np.float64]) -> str:
    return "(" + ",".join(repr(float(value)) for value in values) + ")"


def _numbers(values: NDArray[np.float64]) -> str:
    return " ".join(repr(float(value)) for value in values)
