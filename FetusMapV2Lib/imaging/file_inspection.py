"""Inspecting a file before it is read: its format by its content, whatever its name."""

from __future__ import annotations

import os
import re
import stat
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from FetusMapV2Lib.core.errors import InputError

Kind = Literal["nrrd", "metaimage", "nifti", "dicom", "kretz"]

KRETZ_MAGIC = b"KRETZFILE 1.0   "
GZIP_MAGIC = b"\x1f\x8b"
#: Byte order mark that text editors put at the beginning of a file in UTF-8.
BOM = b"\xef\xbb\xbf"
READABLE = "Use NRRD, MetaImage, NIfTI, DICOM (Enhanced US Volume or Philips Cartesian) or GE Kretz .vol"
_HEAD = 1 << 16
_DICOM_SUFFIXES = (".dcm", ".ima")
# The first element of a DICOM data set is a date, an identifier or the name of a character set.
_LONGEST_FIRST_ELEMENT = 1024
_META_FIRST_LINE = re.compile(rb"\s*[A-Za-z]\w*[ \t]*[=:]")


@dataclass(frozen=True)
class FileFacts:
    """Facts from the first bytes of a volume file.

    Attributes:
        kind: its format.
        head: its first bytes, unpacked where the whole file is gzipped (NIfTI).
    """

    kind: Kind
    head: bytes = b""


def inspect_file(path: Path) -> FileFacts:
    """The kind of a file.

    Raises:
        InputError: missing, not a regular file, empty, truncated, or not a volume.
    """
    head = _head(path)
    plain = head.removeprefix(BOM)
    if plain.startswith(b"NRRD"):
        return FileFacts("nrrd", head)
    if head.startswith(KRETZ_MAGIC):
        return FileFacts("kretz")
    if _begins_as_dicom(head):
        return FileFacts("dicom")
    if head.startswith(GZIP_MAGIC):
        head = _unzipped_head(head, path)
    if head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0"):
        return FileFacts("nifti", head)
    if _META_FIRST_LINE.match(plain) and b"ndims" in plain.lower():
        return FileFacts("metaimage", head)
    if path.suffix.lower() in _DICOM_SUFFIXES:
        return FileFacts("dicom")
    raise InputError("this is not a volume file that can be read", where=path, remedy=READABLE)


def dicom_files(path: Path) -> list[Path]:
    """The DICOM files at a path: itself, or those of a folder in the order of their names; none for other files.

    Raises:
        InputError: a folder that cannot be listed.
    """
    try:
        if not path.is_dir():
            return [path] if _is_dicom(path) else []
        return [file for file in sorted(path.iterdir()) if file.is_file() and _is_dicom(file)]
    except (OSError, ValueError) as error:
        raise _cannot_be_read(path, error) from None


def _is_dicom(file: Path) -> bool:
    """Whether a file is DICOM by its content, or by its name where the content cannot be read."""
    if file.name.upper() == "DICOMDIR" or file.name.startswith("._"):
        return False
    named = file.suffix.lower() in _DICOM_SUFFIXES and file.is_file()
    try:
        head = _head(file)
    except InputError:
        return named
    return _begins_as_dicom(head) or (named and not _begins_as_other(head))


def _begins_as_other(head: bytes) -> bool:
    return head.startswith((b"NRRD", KRETZ_MAGIC, GZIP_MAGIC))


def _begins_as_dicom(head: bytes) -> bool:
    """Whether a file begins with the DICOM prefix, or (as in some exports) directly with its first element."""
    if head[128:132] == b"DICM":
        return True
    for order in "<>":
        if len(head) >= 8 and struct.unpack_from(f"{order}H", head)[0] in (0x0002, 0x0008):
            explicit = head[4:6].isalpha() and head[4:6].isupper()
            implicit = order == "<" and struct.unpack_from("<I", head, 4)[0] <= _LONGEST_FIRST_ELEMENT
            return explicit or implicit
    return False


def plain_file_size(path: Path) -> int:
    """Size of a regular file in bytes; pipes and devices, which may block forever, are refused.

    Raises:
        InputError: missing, not a regular file, or not accessible.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise InputError("no such file", where=path, remedy="Check the path") from None
    except (OSError, ValueError) as error:
        raise _cannot_be_read(path, error) from None
    if not stat.S_ISREG(found.st_mode):
        raise InputError("this is not a file that can be read", where=path, remedy="Choose a volume file")
    return found.st_size


def _head(path: Path) -> bytes:
    plain_file_size(path)
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise _cannot_be_read(path, error) from None
    if not head:
        raise InputError("the file is empty", where=path, remedy="Export or copy it again")
    return head


def _cannot_be_read(path: Path, error: OSError | ValueError) -> InputError:
    reason = getattr(error, "strerror", None) or str(error)
    return InputError(
        f"cannot be read ({reason})", where=os.fspath(path).replace("\0", "?"),
        remedy="Check the path and your permission to read it",
    )  # fmt: skip


def _unzipped_head(head: bytes, path: Path) -> bytes:
    unpacked = b""
    try:
        while head.startswith(GZIP_MAGIC) and len(unpacked) < 4096:
            member = zlib.decompressobj(wbits=31)
            unpacked += member.decompress(head, 4096 - len(unpacked))
            head = member.unused_data
    except zlib.error:
        raise truncated(path) from None
    return unpacked


def truncated(path: Path) -> InputError:
    """The error for a file whose data are not all there."""
    return InputError("the file is truncated or damaged", where=path, remedy="Export or copy it again")


def bad_header(path: Path, what: str) -> InputError:
    """The error for a header that cannot be right, saying what in it."""
    return InputError(f"the header is damaged ({what})", where=path, remedy="Export or copy the file again")
