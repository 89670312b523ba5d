"""Writing volumes (NRRD, MetaImage, NIfTI) and sequences of volumes (``.seq.nrrd``), whole or not at all.

Files carry LPS geometry, as SimpleITK, Slicer and DICOM expect.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from FetusMapV2Lib.foundation.errors import OutputError
from FetusMapV2Lib.foundation.files import written_whole
from FetusMapV2Lib.imaging.source import rising
from FetusMapV2Lib.imaging.volume import LPS_TO_RAS, Volume

_WRITABLE = (".nrrd", ".mha", ".nii", ".nii.gz")
_NRRD_TYPES = {"u1": "unsigned char", "i2": "short", "u2": "unsigned short", "f4": "float"}


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
    with written_whole(target, overwrite=overwrite) as temporary:
        # Python opens the file first, so that a missing permission or a full disk is named by the system.
        temporary.touch()
        try:
            sitk.WriteImage(to_simpleitk(volume), str(temporary), useCompression=compress)
        except RuntimeError as error:
            raise OutputError(
                "the volume could not be written", where=target, remedy="Check the free space on the disk"
            ) from error
        _flush(temporary)


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


def _flush(path: Path) -> None:
    """Make sure that the bytes are on the disk, so that a full one is noticed here."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def write_sequence(
    path: str | os.PathLike[str],
    frames: Iterable[Volume],
    *,
    times_s: Iterable[float] | None = None,
    overwrite: bool = True,
    compress: bool = True,
) -> None:
    """Write volumes of one geometry as a Slicer volume sequence (``.seq.nrrd``, frames one after another).

    `frames` is gone through once; with a ``len()`` they need not all fit into memory.

    Args:
        times_s: when each frame was taken, seconds, rising; None = not known, frames are counted.

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
    times = None if times_s is None else rising(times_s, count)
    if times_s is not None and times is None and count > 1:
        raise OutputError(f"the times are not {count} rising numbers", where=target, remedy="Give one per frame")
    with written_whole(target, overwrite=overwrite) as temporary, temporary.open("wb") as stream:
        stream.write(_sequence_header(first, count, times, compress).encode("utf-8"))
        if compress:
            with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=4, mtime=0, filename="") as packed:
                _write_frames(packed, first, chain([first], iterator), target)
        else:
            _write_frames(stream, first, chain([first], iterator), target)


def _counted(frames: Iterable[Volume]) -> tuple[int, Iterable[Volume]]:
    if not hasattr(frames, "__len__"):
        frames = list(frames)
    return len(frames), frames  # type: ignore[arg-type]


def _write_frames(stream: IO[bytes] | Any, first: Volume, frames: Iterable[Volume], target: Path) -> None:
    for number, frame in enumerate(frames):
        same = frame.array.dtype == first.array.dtype and frame.shape == first.shape
        if not same or not np.allclose(frame.ijk_to_ras, first.ijk_to_ras, atol=1e-6):
            raise OutputError(
                f"frame {number} has another size, type or position than the first", where=target,
                remedy="Resample the frames onto one grid",
            )  # fmt: skip
        stream.write(_little_endian(frame.array).tobytes())


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _sequence_header(first: Volume, count: int, times: tuple[float, ...] | None, compress: bool) -> str:
    """NRRD header as Slicer writes it: three domain axes, then a list axis."""
    lps = LPS_TO_RAS @ first.ijk_to_ras
    directions = " ".join(_vector(lps[:3, axis]) for axis in range(3))
    sizes = " ".join(str(size) for size in first.shape[::-1])
    index, unit = ("frame", "") if times is None else ("time", "s")
    lines = [
        "NRRD0004",
        f"type: {_NRRD_TYPES[first.array.dtype.str[1:]]}",
        "dimension: 4",
        "space: left-posterior-superior",
        f"sizes: {sizes} {count}",
        f"space directions: {directions} none",
        "kinds: domain domain domain list",
        f'labels: "" "" "" "{index}"',
        f'units: "" "" "" "{unit}"',
        "endian: little",
        f"encoding: {'gzip' if compress else 'raw'}",
        f"space origin: {_vector(lps[:3, 3])}",
        "DataNodeClassName:=vtkMRMLScalarVolumeNode",
        "axis 3 index type:=numeric",
        f"axis 3 index values:={' '.join(f'{value:.9g}' for value in times or range(count))}",
    ]
    return "\n".join(lines) + "\n\n"


def _vector(values: NDArray[np.float64]) -> str:
    return "(" + ",".join(repr(float(value)) for value in values) + ")"
