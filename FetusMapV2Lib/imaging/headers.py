"""Looking at a file before it is read: what kind it is, and whether all of its data are there.

The C++ readers print their complaints or fill in zeros; here every broken file gets one clear line instead.
"""

from __future__ import annotations

import gzip
import math
import os
import stat
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from FetusMapV2Lib.foundation.errors import InputError
from FetusMapV2Lib.imaging.checks import check_spacing

Kind = Literal["nrrd", "metaimage", "nifti", "dicom", "kretz"]

KRETZ_MAGIC = b"KRETZFILE 1.0   "
READABLE = "Use NRRD, MetaImage, NIfTI, DICOM (Enhanced US Volume or Philips Cartesian) or GE Kretz .vol"
_NRRD_BYTES = {
    "char": 1, "int8": 1, "uchar": 1, "uint8": 1, "signed char": 1, "unsigned char": 1,
    "short": 2, "int16": 2, "ushort": 2, "uint16": 2, "unsigned short": 2, "signed short": 2,
    "int": 4, "int32": 4, "uint": 4, "uint32": 4, "unsigned int": 4, "signed int": 4, "float": 4, "double": 8,
}  # fmt: skip
_DICOM_SUFFIXES = (".dcm", ".ima")
# The first element of a DICOM data set is a date, an identifier or the name of a character set.
_LONGEST_FIRST_ELEMENT = 1024
_META_BYTES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "FLOAT": 4, "DOUBLE": 8}


@dataclass(frozen=True)
class FileFacts:
    """What the header of a volume file says.

    Attributes:
        spacing_known: whether it states a voxel size.
        fields: the header's own fields, lower-case names (NRRD, with its key/value pairs, and MetaImage).
        data_offset: where the data begin in the file, bytes (NRRD).
        frame_interval_s: seconds between frames (NIfTI), None if it does not say.
    """

    kind: Kind
    spacing_known: bool = True
    fields: dict[str, str] = field(default_factory=dict)
    data_offset: int = 0
    frame_interval_s: float | None = None


def look_at(path: Path) -> FileFacts:
    """Kind and header of a file.

    Raises:
        InputError: missing, empty, truncated, not a volume, or a header that cannot be right.
    """
    head = _head(path)
    if head.startswith(b"NRRD"):
        return _nrrd(path)
    if head.startswith(KRETZ_MAGIC):
        return FileFacts("kretz")
    if _begins_as_dicom(head):
        return FileFacts("dicom")
    if head[:2] == b"\x1f\x8b":
        head = _unzipped_head(path)
    if len(head) >= 348 and head[344:348] in (b"n+1\0", b"ni1\0"):
        return _nifti(path, head)
    if b"NDims" in head and b"=" in head:
        return _metaimage(path)
    if path.suffix.lower() in _DICOM_SUFFIXES:
        return FileFacts("dicom")
    raise InputError("this is not a volume file that can be read", where=path, remedy=READABLE)


def dicom_files(path: Path) -> list[Path]:
    """The DICOM files at a path: itself, or those of a folder in the order of their names; none for other files.

    Raises:
        InputError: a folder that cannot be listed.
    """
    try:
        candidates = sorted(path.iterdir()) if path.is_dir() else [path]
    except OSError as error:
        raise _forbidden(path, error) from None
    return [file for file in candidates if _is_dicom(file)]


def _is_dicom(file: Path) -> bool:
    if file.name.upper() == "DICOMDIR" or file.name.startswith("._"):
        return False
    try:
        head = _head(file)
    except InputError:
        return False
    return _begins_as_dicom(head) or (file.suffix.lower() in _DICOM_SUFFIXES and not _begins_as_other(head))


def _begins_as_other(head: bytes) -> bool:
    return head.startswith((b"NRRD", KRETZ_MAGIC, b"\x1f\x8b"))


def _begins_as_dicom(head: bytes) -> bool:
    """Whether a file begins with DICOM's mark, or (as some exports do) right away with its first element."""
    if head[128:132] == b"DICM":
        return True
    for order in "<>":
        if len(head) >= 8 and struct.unpack_from(f"{order}H", head)[0] in (0x0002, 0x0008):
            explicit = head[4:6].isalpha() and head[4:6].isupper()
            implicit = order == "<" and struct.unpack_from("<I", head, 4)[0] <= _LONGEST_FIRST_ELEMENT
            return explicit or implicit
    return False


def _head(path: Path) -> bytes:
    try:
        # A pipe or a device would be waited for.
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError("this is not a file that can be read", where=path, remedy="Choose a volume file")
        with path.open("rb") as stream:
            head = stream.read(4096)
    except FileNotFoundError:
        raise InputError("no such file", where=path, remedy="Check the path") from None
    except (OSError, ValueError) as error:
        raise _forbidden(path, error) from None
    if not head:
        raise InputError("the file is empty", where=path, remedy="Export or copy it again")
    return head


def _forbidden(path: Path, error: OSError | ValueError) -> InputError:
    reason = getattr(error, "strerror", None) or error
    return InputError(f"cannot be read ({reason})", where=path, remedy="Check the path and your permission to read it")


def _unzipped_head(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") as stream:
            return stream.read(4096)
    except (OSError, EOFError, zlib.error):
        raise truncated(path) from None


def truncated(path: Path) -> InputError:
    """The error for a file whose data are not all there."""
    return InputError("the file is truncated or damaged", where=path, remedy="Export or copy it again")


def _bad_header(path: Path, what: str) -> InputError:
    return InputError(f"the header is damaged ({what})", where=path, remedy="Export or copy the file again")


def _data_missing(path: Path, name: str) -> InputError:
    return InputError(f"its data file '{name}' is missing", where=path, remedy="Keep header and data file together")


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.replace("(", " ").replace(")", " ").replace(",", " ").split()]


def _nrrd(path: Path) -> FileFacts:
    """Header of a NRRD file (teem.sourceforge.net/nrrd/format.html), its data all there."""
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        for raw in stream:
            line = raw.decode("utf-8", "replace").strip()
            if not line:
                break
            name, separator, value = line.partition(":=" if ":=" in line else ": ")
            if separator and not line.startswith("#"):
                fields[name.strip().lower()] = value.strip()
        offset = stream.tell()
    try:
        count = math.prod(int(n) for n in fields["sizes"].split()) * _NRRD_BYTES[fields["type"].lower()]
        if int(fields["dimension"]) != len(fields["sizes"].split()):
            raise _bad_header(path, "dimension and sizes disagree")
        directions = [part for part in fields.get("space directions", "").split() if part.lower() != "none"]
        vectors = [_numbers(part) for part in directions if part.startswith("(")]
        spacings = [value for value in _numbers(fields.get("spacings", "")) if not math.isnan(value)]
    except KeyError as error:
        raise _bad_header(path, f"{error.args[0]} is missing or unknown") from None
    except ValueError:
        raise _bad_header(path, "sizes, directions or spacings are not numbers") from None
    check_spacing([math.hypot(*vector) for vector in vectors] or spacings, os.fspath(path))
    _check_nrrd_data(path, fields, offset, count)
    return FileFacts("nrrd", bool(vectors or spacings), fields, offset)


def _check_nrrd_data(path: Path, fields: dict[str, str], offset: int, count: int) -> None:
    detached = fields.get("data file", fields.get("datafile"))
    if detached is not None:
        data = path.parent / detached
        if not detached.startswith("LIST") and "%" not in detached and not data.is_file():
            raise _data_missing(path, detached)
        return
    encoding = fields.get("encoding", "raw").lower()
    if encoding == "raw" and path.stat().st_size - offset < count:
        raise truncated(path)
    if encoding in ("gzip", "gz") and not _gzip_holds(path, offset, count):
        raise truncated(path)


def _gzip_holds(path: Path, offset: int, count: int) -> bool:
    """Whether the gzip stream from `offset` to the end of the file unpacks to at least `count` bytes."""
    with path.open("rb") as stream:
        stream.seek(-4, os.SEEK_END)
        # A gzip member ends with its unpacked length modulo 2^32 (RFC 1952).
        if stream.tell() > offset and struct.unpack("<I", stream.read(4))[0] == count % 2**32:
            return True
        stream.seek(offset)
        total = 0
        try:
            with gzip.GzipFile(fileobj=stream) as packed:
                while total < count and (chunk := packed.read(1 << 22)):
                    total += len(chunk)
        except (OSError, EOFError, zlib.error):
            return False
    return total >= count


def _metaimage(path: Path) -> FileFacts:
    """Header of a MetaImage file, its data all there."""
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        for raw in stream:
            name, equals, value = raw.decode("utf-8", "replace").partition("=")
            if not equals:
                break
            fields[name.strip().lower()] = value.strip()
            if name.strip().lower() == "elementdatafile":
                break
        offset = stream.tell()
    try:
        sizes = [int(value) for value in fields["dimsize"].split()]
        bytes_each = _META_BYTES[fields["elementtype"].removeprefix("MET_").removesuffix("_ARRAY")]
        count = math.prod(sizes) * bytes_each * int(fields.get("elementnumberofchannels", "1"))
        data_file = fields["elementdatafile"]
        spacing = _numbers(fields.get("elementspacing", fields.get("elementsize", "")))
        packed_size = int(fields.get("compresseddatasize", "0"))
    except KeyError as error:
        raise _bad_header(path, f"{error.args[0]} is missing or unknown") from None
    except ValueError:
        raise _bad_header(path, "sizes or spacing are not numbers") from None
    check_spacing(spacing, os.fspath(path))
    packed = fields.get("compresseddata", "False").lower() == "true"
    if data_file.upper() == "LOCAL":
        available = path.stat().st_size - offset
    elif data_file.upper().startswith("LIST") or "%" in data_file:
        return FileFacts("metaimage", bool(spacing), fields)
    else:
        if not (path.parent / data_file).is_file():
            raise _data_missing(path, data_file)
        available = (path.parent / data_file).stat().st_size
    if available < (packed_size if packed else count):
        raise truncated(path)
    return FileFacts("metaimage", bool(spacing), fields)


def _nifti(path: Path, head: bytes) -> FileFacts:
    """Header of a NIfTI-1 file, its data all there."""
    order = "<" if struct.unpack("<i", head[:4])[0] == 348 else ">"
    dims = struct.unpack(f"{order}8h", head[40:56])
    bits = struct.unpack(f"{order}h", head[72:74])[0]
    pixdim = struct.unpack(f"{order}8f", head[76:108])
    start = struct.unpack(f"{order}f", head[108:112])[0]
    rank = dims[0]
    if not 1 <= rank <= 7 or any(n < 1 for n in dims[1 : rank + 1]) or not math.isfinite(start):
        raise _bad_header(path, "impossible dimensions")
    check_spacing(pixdim[1 : min(rank, 3) + 1], os.fspath(path))
    count = math.prod(dims[1 : rank + 1]) * bits // 8
    if head[344:348] == b"n+1\0":
        count += int(start)
        with path.open("rb") as stream:
            zipped = stream.read(2) == b"\x1f\x8b"
        whole = _gzip_holds(path, 0, count) if zipped else path.stat().st_size >= count
        if not whole:
            raise truncated(path)
    else:
        data = path.with_suffix(".img")
        if not data.is_file():
            raise _data_missing(path, data.name)
        if data.stat().st_size < count:
            raise truncated(path)
    sizes = {"dim": " ".join(str(n) for n in dims[1 : rank + 1])}
    # The unit of the fourth axis is in bits 3-5 of xyzt_units.
    unit_s = {8: 1.0, 16: 1e-3, 24: 1e-6}.get(head[123] & 0x38)
    interval = pixdim[4] * unit_s if unit_s is not None and rank > 3 and pixdim[4] > 0 else None
    return FileFacts("nifti", True, sizes, frame_interval_s=interval)
