"""Reading NRRD, MetaImage and NIfTI, 3D and 4D, with SimpleITK.

LPS geometry becomes RAS here.
"""

from __future__ import annotations

import gzip
import math
import shlex
from pathlib import Path
from typing import IO, Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from FetusMapV2Lib.foundation.errors import InputError
from FetusMapV2Lib.imaging.checks import check_shape, grey
from FetusMapV2Lib.imaging.headers import FileFacts, truncated
from FetusMapV2Lib.imaging.source import SECONDS, Source, plain_path, rising, silent_stderr
from FetusMapV2Lib.imaging.volume import LPS_TO_RAS, Matrix

_NRRD_TYPES = {
    "unsigned char": "u1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "unsigned short": "u2", "ushort": "u2", "uint16": "u2", "float": "f4", "double": "f8",
}  # fmt: skip


def open_itk(path: Path, facts: FileFacts) -> Source:
    """Open a file that `look_at` found to be NRRD, MetaImage or NIfTI.

    Raises:
        InputError: 2D, more than 4D, sheared, or unreadable.
    """
    reader, matrix = _information(path)
    size, channels = reader.GetSize(), reader.GetNumberOfComponents()
    if len(size) < 3:
        check_shape(tuple(size[::-1]), str(path))
    if len(size) > 4:
        raise InputError(f"this is a {len(size)}D image, not a 3D volume", where=path, remedy="Export one 3D volume")
    notes = ("colour was turned into grey",) if channels in (3, 4) and not _is_list(facts) else ()
    if len(size) == 4:
        times = _times(facts, size[3])
        return Source(size[3], lambda t: (_grey(_frame(path, t), notes), matrix), facts.spacing_known, notes, times)
    if channels == 1 or notes:
        return Source(1, lambda t: (_grey(_whole(path), notes), matrix), facts.spacing_known, notes)
    if _frames_in_a_row(facts):
        frames = NrrdFrames(path, facts)
        times = _times(facts, channels)
        return Source(channels, lambda t: (frames.read(t), matrix), facts.spacing_known, times_s=times)
    held: list[NDArray[Any]] = []

    def component(t: int) -> tuple[NDArray[Any], Matrix]:
        if not held:
            held.append(_whole(path))
        return np.ascontiguousarray(held[0][..., t]), matrix

    return Source(channels, component, facts.spacing_known, times_s=_times(facts, channels))


def _times(facts: FileFacts, count: int) -> tuple[float, ...] | None:
    """Seconds of the frames of a NIfTI file, or of a NRRD sequence (as Slicer writes it) with a unit of time."""
    if facts.frame_interval_s is not None:
        return rising((number * facts.frame_interval_s for number in range(count)), count)
    kinds = facts.fields.get("kinds", "").lower().split()
    if "list" not in kinds:
        return None
    axis = kinds.index("list")
    try:
        unit_s = SECONDS.get(shlex.split(facts.fields.get("units", ""))[axis].lower())
        values = [float(value) for value in facts.fields.get(f"axis {axis} index values", "").split()]
    except (ValueError, IndexError):
        return None
    return None if unit_s is None else rising((value * unit_s for value in values), count)


def _is_list(facts: FileFacts) -> bool:
    return "list" in facts.fields.get("kinds", "").lower().split()


def _grey(array: NDArray[Any], colour: tuple[str, ...]) -> NDArray[Any]:
    return grey(array) if colour else array


def _information(path: Path) -> tuple[sitk.ImageFileReader, Matrix]:
    reader = sitk.ImageFileReader()
    with plain_path(path) as name, silent_stderr():
        reader.SetFileName(name)
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise _unreadable(path, error) from None
    rank = len(reader.GetSize())
    matrix = np.eye(4)
    if rank >= 3:
        directions = np.array(reader.GetDirection()).reshape(rank, rank)[:3, :3]
        matrix[:3, :3] = directions * np.array(reader.GetSpacing())[:3]
        matrix[:3, 3] = reader.GetOrigin()[:3]
    return reader, LPS_TO_RAS @ matrix


def _whole(path: Path) -> NDArray[Any]:
    with plain_path(path) as name, silent_stderr():
        try:
            return sitk.GetArrayFromImage(sitk.ReadImage(name))
        except RuntimeError as error:
            raise _unreadable(path, error) from None


def _frame(path: Path, t: int) -> NDArray[Any]:
    """One volume of a 4D file, without reading the others where the format allows it."""
    reader = sitk.ImageFileReader()
    with plain_path(path) as name, silent_stderr():
        reader.SetFileName(name)
        try:
            reader.ReadImageInformation()
            reader.SetExtractSize([*reader.GetSize()[:3], 0])
            reader.SetExtractIndex([0, 0, 0, t])
            return sitk.GetArrayFromImage(reader.Execute())
        except RuntimeError as error:
            raise _unreadable(path, error) from None


def _unreadable(path: Path, error: RuntimeError) -> InputError:
    text = str(error).lower()
    if "direction" in text or "determinant" in text or "orthogonal" in text or "orthonormal" in text:
        return InputError(
            "the directions of the axes are singular or not at right angles", where=path,
            remedy="Correct the directions in the header, or export the volume again",
        )  # fmt: skip
    if "spacing" in text:
        return InputError("the voxel size is not positive", where=path, remedy="Correct the header")
    return InputError("the file cannot be read as a volume", where=path, remedy="Export or copy it again")


def _frames_in_a_row(facts: FileFacts) -> bool:
    """Whether the frames of a NRRD sequence lie one after another in the file, as Slicer 5 writes them."""
    fields = facts.fields
    return (
        facts.kind == "nrrd"
        and fields.get("kinds", "").lower().split()[-1:] == ["list"]
        and fields.get("encoding", "").lower() in ("raw", "gzip", "gz")
        and fields.get("type", "").lower() in _NRRD_TYPES
        and not {"data file", "datafile", "line skip", "byte skip"} & fields.keys()
    )


class NrrdFrames:
    """Frames of a NRRD sequence read one at a time; going forward never reads or unpacks anything twice."""

    def __init__(self, path: Path, facts: FileFacts) -> None:
        self._stream: IO[bytes] | None = None
        self._path, self._offset = path, facts.data_offset
        self._zipped = facts.fields["encoding"].lower() != "raw"
        order = ">" if facts.fields.get("endian", "little").lower() == "big" else "<"
        self._type = np.dtype(order + _NRRD_TYPES[facts.fields["type"].lower()])
        sizes = [int(n) for n in facts.fields["sizes"].split()]
        self._shape = (sizes[2], sizes[1], sizes[0])
        self._next = 0

    def read(self, t: int) -> NDArray[Any]:
        """The array [k, j, i] of frame `t`."""
        length = math.prod(self._shape) * self._type.itemsize
        if self._stream is None or t < self._next:
            self.close()
            self._stream = self._opened()
            self._next = 0
        try:
            while self._next < t:
                self._skip(self._stream, length)
            data = self._stream.read(length)
        except (OSError, EOFError):
            raise truncated(self._path) from None
        if len(data) < length:
            raise truncated(self._path)
        self._next = t + 1
        array = np.frombuffer(data, self._type).reshape(self._shape)
        return array.astype(self._type.newbyteorder("="))

    def _opened(self) -> IO[bytes]:
        stream = self._path.open("rb")
        stream.seek(self._offset)
        return gzip.GzipFile(fileobj=stream) if self._zipped else stream  # type: ignore[return-value]

    def _skip(self, stream: IO[bytes], length: int) -> None:
        if self._zipped:
            stream.read(length)
        else:
            stream.seek(length, 1)
        self._next += 1

    def close(self) -> None:
        """Let go of the file."""
        if self._stream is not None:
            inner = getattr(self._stream, "fileobj", None)
            self._stream.close()
            if inner is not None:
                inner.close()
        self._stream = None

    def __del__(self) -> None:
        self.close()
