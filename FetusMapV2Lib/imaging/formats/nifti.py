"""Headers of NIfTI-1 and NIfTI-2 files, in one file or two (nifti.nimh.nih.gov)."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.file_inspection import GZIP_MAGIC, bad_header, truncated
from FetusMapV2Lib.imaging.formats.detached_files import data_missing
from FetusMapV2Lib.imaging.formats.nifti_space import nifti_matrix
from FetusMapV2Lib.imaging.formats.packed_voxels import Packing, Part
from FetusMapV2Lib.imaging.formats.stored_voxels import Stored, check_sizes
from FetusMapV2Lib.imaging.source import increasing_times
from FetusMapV2Lib.imaging.volume_checks import check_shape

#: Place and form of the fields that are used, and the length of the header.
_VERSION_1 = {
    "dim": (40, "8h"), "intent_code": (68, "h"), "datatype": (70, "h"), "bitpix": (72, "h"), "pixdim": (76, "8f"),
    "vox_offset": (108, "f"), "scl_slope": (112, "f"), "scl_inter": (116, "f"), "xyzt_units": (123, "B"),
    "qform_code": (252, "h"), "sform_code": (254, "h"), "quatern": (256, "3f"), "qoffset": (268, "3f"),
    "srow": (280, "12f"),
}  # fmt: skip
_VERSION_2 = {
    "datatype": (12, "h"), "bitpix": (14, "h"), "dim": (16, "8q"), "pixdim": (104, "8d"), "vox_offset": (168, "q"),
    "scl_slope": (176, "d"), "scl_inter": (184, "d"), "qform_code": (344, "i"), "sform_code": (348, "i"),
    "quatern": (352, "3d"), "qoffset": (376, "3d"), "srow": (400, "12d"), "xyzt_units": (500, "i"),
    "intent_code": (504, "i"),
}  # fmt: skip
_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
    128: "u1", 2304: "u1",
}  # fmt: skip
_COLOURS = {128: 3, 2304: 4}
_VECTORS = (1007, 2003, 2004)
_SECONDS = {8: 1.0, 16: 1e-3, 24: 1e-6}


def parse_nifti(path: Path, head: bytes) -> Stored:
    """What the header of a NIfTI file says.

    Args:
        path: the file.
        head: the first bytes of the file, unpacked.

    Raises:
        InputError: a header that cannot be right, voxels that are not those of a volume, or missing data.
    """
    fields, single = _fields(head, path)
    dims = fields["dim"]
    rank = dims[0]
    if not 1 <= rank <= 7 or any(size < 1 for size in dims[1 : rank + 1]):
        raise bad_header(path, "impossible dimensions")
    if fields["datatype"] not in _TYPES:
        raise InputError(
            f"its voxels are of a type that cannot be read (NIfTI type {fields['datatype']})", where=path,
            remedy="Export it with whole or decimal numbers",
        )  # fmt: skip
    kind = np.dtype(_TYPES[fields["datatype"]]).newbyteorder(fields["order"])
    sizes, other, colour = _axes(dims[1 : rank + 1], fields, path)
    check_sizes(sizes, other, path)
    notes = []
    bits = kind.itemsize * 8 * _COLOURS.get(fields["datatype"], 1)
    if fields["bitpix"] not in (bits, 0):
        notes.append(f"a voxel has {bits} bits by its type but {fields['bitpix']} by bitpix; the type was used")
    matrix, more = nifti_matrix(fields, sizes, other, path)
    part, packing = _data(path, fields, single)
    if not single and not _filled_by_extensions(head, fields["length"], fields["order"]):
        notes.append("there are bytes behind its header that it does not announce; they were left out")
    scale, scale_notes = _scale(fields, colour, path)
    times = None
    if other == 3:
        step = fields["pixdim"][4] * _SECONDS.get(fields["xyzt_units"] & 0x38, math.nan)
        times = increasing_times((number * step for number in range(sizes[3])), sizes[3])
    return Stored(
        path, kind, sizes, other, colour, matrix, (part,), packing, True, (*notes, *more, *scale_notes), times, scale
    )  # fmt: skip


def _fields(head: bytes, path: Path) -> tuple[dict[str, Any], bool]:
    """The fields of the header, and whether the voxels are in the same file."""
    second = head[4:8] in (b"n+2\0", b"ni2\0")
    length, form = (540, _VERSION_2) if second else (348, _VERSION_1)
    if len(head) < length:
        raise truncated(path)
    order = next((order for order in "<>" if struct.unpack(f"{order}i", head[:4])[0] == length), None)
    if order is None:
        raise bad_header(path, f"sizeof_hdr is not {length}")
    fields: dict[str, Any] = {"order": order, "length": length}
    for name, (place, code) in form.items():
        values = struct.unpack_from(f"{order}{code}", head, place)
        fields[name] = values if len(values) > 1 else values[0]
    magic = head[4:8] if second else head[344:348]
    return fields, magic[1:2] == b"+"


def _filled_by_extensions(head: bytes, length: int, order: str) -> bool:
    """Whether what stands behind a header is what the format has there: nothing, or a chain of extensions."""
    place = length + 4
    if len(head) <= place:
        return not any(head[length:])
    while head[length] and place + 8 <= len(head):
        size = struct.unpack_from(f"{order}i", head, place)[0]
        if size < 16 or size % 16:
            return False
        place += size
    # Only the beginning of very long ones is known here.
    return place == len(head) or place > len(head) >= 4096


def _axes(dims: tuple[int, ...], fields: dict[str, Any], path: Path) -> tuple[tuple[int, ...], int | None, bool]:
    """Sizes of all axes with more than one value, the fastest first; which holds frames or colours; whether colours."""
    while len(dims) > 3 and dims[-1] == 1:
        dims = dims[:-1]
    if len(dims) < 3:
        check_shape(tuple(dims[::-1]), str(path))
    channels = _COLOURS.get(fields["datatype"])
    vector = len(dims) == 5 and dims[3] == 1 and fields["intent_code"] in _VECTORS
    if (len(dims) > 4 and not vector) or (len(dims) > 3 and channels is not None):
        raise InputError(f"this is a {len(dims)}D image, not a 3D volume", where=path, remedy="Export one 3D volume")
    if channels is not None:
        return (channels, *dims), 0, True
    if vector:
        return (*dims[:3], dims[4]), 3, dims[4] in (3, 4)
    return dims, 3 if len(dims) == 4 else None, False


def _data(path: Path, fields: dict[str, Any], single: bool) -> tuple[Part, Packing]:
    """Where the voxels lie."""
    offset = fields["vox_offset"]
    least = fields["length"] + 4 if single else 0
    if not math.isfinite(offset) or offset != int(offset) or not least <= offset < 1 << 30:
        raise bad_header(path, f"vox_offset is {offset:g}")
    data = path if single else _second_file(path)
    with data.open("rb") as stream:
        packed = stream.read(2) == GZIP_MAGIC and (single or data.suffix.lower() == ".gz")
    return Part(data, 0, None, int(offset)), "gzip" if packed else "raw"


def _second_file(path: Path) -> Path:
    name = path.name
    for suffix in (".hdr.gz", ".hdr"):
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            break
    for suffix in (".img", ".img.gz", ".IMG", ".IMG.GZ"):
        if (found := path.with_name(name + suffix)).is_file():
            return found
    raise data_missing(path, f"{name}.img")


def _scale(fields: dict[str, Any], colour: bool, path: Path) -> tuple[tuple[float, float] | None, list[str]]:
    """Slope and intercept of the grey values; a slope of 0 or NaN says by the standard that there is none."""
    slope, intercept = fields["scl_slope"], fields["scl_inter"]
    if slope == 0 or math.isnan(slope) or (slope, intercept) == (1.0, 0.0) or colour:
        return None, []
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise bad_header(path, f"the grey values are scaled by {slope:g} and {intercept:g}")
    return (float(slope), float(intercept)), []
