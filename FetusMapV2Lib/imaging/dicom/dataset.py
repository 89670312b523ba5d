"""Reading the data set of a DICOM file: in any transfer syntax, with or without file meta information.

What a damaged file claims to hold never costs more memory than it can be good for.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.file_inspection import truncated
from FetusMapV2Lib.imaging.source import as_input_error

ENHANCED_US_VOLUME = "1.2.840.10008.5.1.4.1.1.6.2"
PHILIPS_CARTESIAN = "1.2.840.113543.6.6.1.3.10002"
#: A whole GE Kretz file as a private element.
KRETZ_DATA = (0x7FE1, 0x1101)
EXPORT_VOLUME = "Export the 3D volume as DICOM Enhanced US Volume, Cartesian DICOM, or uncompressed .vol"

# A deflated data set may unpack to this many times its size, at least and at most to so many bytes.
_MOST_TIMES, _LEAST_BYTES, _MOST_BYTES = 200, 1 << 26, 1 << 31


def read_dataset(path: Path, *, pixels: bool = True) -> Dataset:
    """The DICOM data set of a file, on request without pixels and what comes behind them.

    A file that does not name its transfer syntax is given the one that it was parsed with.

    Raises:
        InputError: not DICOM, truncated, or encrypted.
    """
    with as_input_error(path):
        with _Bounded(io.FileIO(path)) as stream:
            dataset = pydicom.dcmread(_inflated(stream, path), force=True, stop_before_pixels=not pixels)
        _name_syntax(dataset)
        encrypted = "EncryptedAttributesSequence" in dataset
        known = bool(sop_class(dataset)) or "Rows" in dataset or KRETZ_DATA in dataset
    if encrypted:
        raise InputError("this DICOM file is encrypted", where=path, remedy="Export it again without encryption")
    if not known:
        remedy = "Export it again as unencrypted DICOM"
        raise InputError("this is not a readable DICOM file (damaged or encrypted)", where=path, remedy=remedy)
    return dataset


def sop_class(dataset: Dataset) -> str:
    """What kind of object a data set is: the UID of its SOP class, empty if it does not say."""
    stated = dataset.get("SOPClassUID")
    meta = getattr(dataset, "file_meta", None)
    return str(stated or (meta.get("MediaStorageSOPClassUID") if meta is not None else None) or "")


def require_ultrasound(dataset: Dataset, path: Path) -> None:
    """Raise `InputError` unless the data set is ultrasound."""
    modality = str(dataset.get("Modality", "") or "")
    if sop_class(dataset) in (ENHANCED_US_VOLUME, PHILIPS_CARTESIAN) or modality in ("US", "IVUS"):
        return
    named = f"modality {modality}" if modality else "no modality"
    raise InputError(f"this DICOM file is not ultrasound ({named})", where=path, remedy="Choose a 3D ultrasound volume")


def kretz_data(dataset: Dataset) -> bytes | None:
    """The Kretz file inside a data set, if there is one."""
    value = dataset[KRETZ_DATA].value if KRETZ_DATA in dataset else None
    return value if isinstance(value, bytes) else None


class _Bounded(io.BufferedReader):
    """A file of which no more is asked than it holds, whatever length an element claims."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > io.DEFAULT_BUFFER_SIZE:
            here = self.tell()
            size = min(size, self.seek(0, io.SEEK_END) - here)
            self.seek(here)
        return super().read(size)


def _inflated(stream: BinaryIO, path: Path) -> BinaryIO:
    """The stream itself, or the unpacked data set of a deflated one (PS3.5 A.5) without its file meta information."""
    syntax, end = _after_meta(stream.read(1 << 16))
    if syntax != DeflatedExplicitVRLittleEndian:
        stream.seek(0)
        return stream
    stream.seek(end)
    packed = stream.read()
    limit = min(max(_MOST_TIMES * len(packed), _LEAST_BYTES), _MOST_BYTES)
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    data = unpacker.decompress(packed, limit)
    if not unpacker.eof:
        if len(data) < limit:
            raise truncated(path)
        remedy = "Export it again uncompressed (Explicit VR Little Endian)"
        raise InputError(f"it unpacks to more than {limit >> 20} MiB", where=path, remedy=remedy)
    return io.BytesIO(data)


def _after_meta(head: bytes) -> tuple[str, int]:
    """Transfer syntax of a file and where its file meta information ends (PS3.10 7.1: explicit VR little endian)."""
    position, syntax = (132 if head[128:132] == b"DICM" else 0), b""
    while head[position : position + 2] == b"\x02\x00" and position + 12 <= len(head):
        element, kind, length = struct.unpack_from("<H2sH", head, position + 2)
        position += 8
        if kind in (b"OB", b"OW", b"UN", b"UT", b"SQ"):
            (length,) = struct.unpack_from("<I", head, position)
            position += 4
        if element == 0x0010:
            syntax = head[position : position + length]
        position += length
    return syntax.rstrip(b"\0 ").decode("ascii", "replace"), position


def _name_syntax(dataset: Dataset) -> None:
    meta = getattr(dataset, "file_meta", None)
    if meta is None:
        dataset.file_meta = meta = FileMetaDataset()
    if meta.get("TransferSyntaxUID"):
        return
    implicit, little = getattr(dataset, "original_encoding", None) or (dataset.is_implicit_VR, dataset.is_little_endian)
    explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
