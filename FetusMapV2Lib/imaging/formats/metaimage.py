"""Headers of MetaImage files, with voxels attached, detached or in many files.

The format is described at itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging import geometry
from FetusMapV2Lib.imaging.file_inspection import bad_header
from FetusMapV2Lib.imaging.formats.detached_files import data_file, listed_files, numbered_names, outside_note
from FetusMapV2Lib.imaging.formats.header_fields import any_numbers, check_plain, header_lines, number, shown, whole
from FetusMapV2Lib.imaging.formats.length_units import unit_note
from FetusMapV2Lib.imaging.formats.packed_voxels import Packing, Part
from FetusMapV2Lib.imaging.formats.stored_voxels import NO_ORIENTATION, NO_POSITION, Stored, check_sizes, placed
from FetusMapV2Lib.imaging.volume import LPS_TO_RAS, Matrix
from FetusMapV2Lib.imaging.volume_checks import check_shape

_TYPES = {
    "char": "i1", "ascii_char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "long": "i4", "ulong": "u4", "long_long": "i8", "ulong_long": "u8", "float": "f4", "double": "f8",
}  # fmt: skip
#: Fields of the format. One that is stated twice, or a name that differs from one of these in one letter, is refused.
_FIELDS = {
    "ObjectType", "NDims", "DimSize", "ElementType", "ElementDataFile", "ElementSpacing", "ElementSize",
    "ElementNumberOfChannels", "BinaryData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB", "CompressedData",
    "CompressedDataSize", "HeaderSize", "Offset", "Position", "Origin", "TransformMatrix", "Rotation", "Orientation",
    "CenterOfRotation", "DistanceUnits", "AnatomicalOrientation", "ElementToIntensityFunctionSlope",
    "ElementToIntensityFunctionOffset",
}  # fmt: skip
_NAMES = {length: [name for name in _FIELDS if len(name) == length] for length in map(len, _FIELDS)}
#: Fields of as many numbers as there are dimensions, or their square.
_BY_DIMENSION = {
    "DimSize", "ElementSpacing", "ElementSize", "Offset", "Position", "Origin", "TransformMatrix", "Rotation",
    "Orientation", "CenterOfRotation",
}  # fmt: skip
_TRUE, _FALSE = ("true", "t", "1", "yes"), ("false", "f", "0", "no")
#: Where an axis comes from, in the words of MetaImage: R for one that runs to the left.
_LETTERS = ("RL", "AP", "IS")


def parse_metaimage(path: Path) -> Stored:
    """What the header of a MetaImage file says.

    Raises:
        InputError: a line that is not of the format, a field that is missing or contradicted by another one, or
            voxels that are not those of a volume.
    """
    with path.open("rb") as stream:
        fields, listed = _read_fields(stream, path)
        offset = stream.tell()
    try:
        if fields.get("ObjectType", "Image").lower() != "image":
            what = shown(fields["ObjectType"])
            raise InputError(f"it holds a {what}, not an image", where=path, remedy="Choose a volume file")
        rank, sizes = whole(fields["NDims"]), tuple(whole(part) for part in fields["DimSize"].split())
        if rank != len(sizes):
            raise bad_header(path, "NDims and DimSize disagree")
        if rank < 3:
            check_shape(sizes[::-1], str(path))
        kind, packing, notes = _type(fields, path)
        stored_sizes, other = _with_channels(fields, sizes, path)
        check_sizes(stored_sizes, other, path)
        matrix, spacing_known, more = _matrix(fields, rank, path)
        parts, outside = _parts(fields, listed, sizes, packing, offset, path)
    except KeyError as error:
        raise bad_header(path, f"{error.args[0]} is missing or unknown") from None
    except ValueError:
        raise bad_header(path, "its sizes, spacing or other numbers are not numbers") from None
    colour = other == 0 and stored_sizes[0] in (3, 4)
    return Stored(
        path, kind, stored_sizes, other, colour, matrix, tuple(parts), packing, spacing_known,
        (*notes, *more, *_intensity_note(fields), *outside),
    )  # fmt: skip


def _read_fields(stream: IO[bytes], path: Path) -> tuple[dict[str, str], list[str]]:
    """Fields, and the files that are listed; the stream is left at the first voxel."""
    fields: dict[str, str] = {}
    lines = header_lines(stream, path)
    for line in lines:
        if not line.strip():
            continue
        place = min((found for found in (line.find("="), line.find(":")) if found >= 0), default=0)
        name, value = line[:place].strip(), line[place + 1 :].strip()
        if not 0 < len(name) <= 256 or not name.isprintable():
            raise bad_header(path, f"this line is not of the format: '{shown(line)}'")
        if name not in _FIELDS:
            _refuse_damaged_name(name, path)
            continue
        if name in fields:
            raise bad_header(path, f"{name} is stated twice")
        if name in _BY_DIMENSION and "NDims" not in fields:
            raise bad_header(path, f"{name} stands before NDims")
        if name != "ElementDataFile":  # free text
            check_plain(name, value, path)
        fields[name] = value
        if name == "ElementDataFile":
            listing = re.fullmatch(r"list(\s+\d+)?", value, re.IGNORECASE) is not None
            return fields, [listed.strip() for listed in lines if listed.strip()] if listing else []
    return fields, []


def _refuse_damaged_name(name: str, path: Path) -> None:
    for known in _NAMES.get(len(name), ()):
        letters = sum(a != b for a, b in zip(name, known, strict=True))
        if letters == 1 or name.lower() == known.lower():
            raise bad_header(path, f"there is no field '{shown(name)}'")


def _truth(fields: dict[str, str], name: str, default: bool) -> bool:
    value = fields.get(name)
    if value is None:
        return default
    if value.lower() not in _TRUE + _FALSE:
        raise ValueError("neither true nor false")
    return value.lower() in _TRUE


def _type(fields: dict[str, str], path: Path) -> tuple[np.dtype, Packing, list[str]]:
    name = fields["ElementType"].lower().removeprefix("met_").removesuffix("_array")
    if name not in _TYPES:
        raise InputError(
            f"its voxels are of a type that cannot be read ('{shown(fields['ElementType'])}')", where=path,
            remedy="Export it with whole or decimal numbers",
        )  # fmt: skip
    kind, notes = np.dtype(_TYPES[name]), []
    orders = {_truth(fields, key, False) for key in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB") if key in fields}
    if len(orders) > 1:
        raise bad_header(path, "it states two byte orders")
    binary = _truth(fields, "BinaryData", True)
    if not orders and binary and kind.itemsize > 1:
        notes.append("the file does not state its byte order; that of most computers (least byte first) was assumed")
    kind = kind.newbyteorder(">" if True in orders else "<")
    packed = _truth(fields, "CompressedData", False)
    if not binary and packed:
        raise bad_header(path, "its voxels are said to be both text and compressed")
    return kind, "zlib" if packed else "raw" if binary else "ascii", notes


def _with_channels(fields: dict[str, str], sizes: tuple[int, ...], path: Path) -> tuple[tuple[int, ...], int | None]:
    """Sizes of all axes with more than one value, the fastest first, and which of them holds frames or colours."""
    channels = whole(fields.get("ElementNumberOfChannels", "1"))
    if channels < 1:
        raise bad_header(path, "ElementNumberOfChannels is impossible")
    later = [size for size in sizes[3:] if size != 1]
    if len(later) > 1 or (later and channels > 1):
        raise InputError(f"this is a {len(sizes)}D image, not a 3D volume", where=path, remedy="Export one 3D volume")
    if channels > 1:
        return (channels, *sizes[:3]), 0
    return (*sizes[:3], *later), 3 if later else None


def _vector(fields: dict[str, str], name: str, count: int, path: Path) -> NDArray[np.float64] | None:
    if name not in fields:
        return None
    values = any_numbers(fields[name])
    if len(values) != count:
        raise bad_header(path, f"{name} has {len(values)} numbers, not {count}")
    return np.array(values)


def _matrix(fields: dict[str, str], rank: int, path: Path) -> tuple[Matrix, bool, list[str]]:
    """IJK to RAS, whether a voxel size is stated, and notes."""
    spacing, notes = _one_of(fields, ("ElementSpacing", "ElementSize"), "the voxel size", rank, path)
    origin, more = _one_of(fields, ("Origin", "Offset", "Position"), "the position", rank, path)
    notes += more
    given, more = _one_of(fields, ("TransformMatrix", "Rotation", "Orientation"), "the orientation", rank**2, path)
    notes += more
    _vector(fields, "CenterOfRotation", rank, path)  # has no meaning for a volume, but must be a place
    if given is None:
        notes.append(NO_ORIENTATION)
    elif origin is None:
        notes.append(NO_POSITION)
    directions = np.eye(rank) if given is None else given.reshape(rank, rank)
    if not np.allclose(directions[3:, :3], 0, atol=1e-6) or not np.allclose(directions[:3, 3:], 0, atol=1e-6):
        raise bad_header(path, "its time axis has a direction in space")
    # The rows of the matrix are the directions of the axes.
    columns = directions[:3, :3].T
    sizes = np.ones(3) if spacing is None else geometry.spacing(spacing[:3], path)
    matrix, more = placed(columns, sizes, np.zeros(3) if origin is None else origin[:3], path)
    notes += more + unit_note([fields.get("DistanceUnits", "")], sizes)
    if given is not None:
        notes += _letters_note(fields, columns)
    return LPS_TO_RAS @ matrix, spacing is not None, notes


def _one_of(
    fields: dict[str, str], names: tuple[str, ...], what: str, count: int, path: Path
) -> tuple[NDArray[np.float64] | None, list[str]]:
    """The numbers under the first of several names for the same thing, and a warning if others differ."""
    found = [(name, values) for name in names if (values := _vector(fields, name, count, path)) is not None]
    if not found:
        return None, []
    notes = []
    for name, values in found[1:]:
        if not np.allclose(values, found[0][1], rtol=1e-6, atol=1e-6):
            first, second = shown(fields[found[0][0]]), shown(fields[name])
            notes.append(f"{what} is {first} by {found[0][0]} but {second} by {name}; that by {found[0][0]} was used")
    return found[0][1], notes


def _letters_note(fields: dict[str, str], columns: NDArray[np.float64]) -> list[str]:
    """A warning if the letters for the axes contradict their directions, where these run clearly along one each."""
    stated = fields.get("AnatomicalOrientation", "").upper()
    if not re.fullmatch("[RLAPIS]{3}", stated) or np.abs(columns).max(axis=0).min() < 0.9:
        return []
    axes = np.abs(columns).argmax(axis=0)
    letters = "".join(_LETTERS[axis][int(columns[axis, n] < 0)] for n, axis in enumerate(axes))
    if letters == stated:
        return []
    return [
        f"its axes are {letters} by its TransformMatrix but {stated} by its AnatomicalOrientation; the first was used"
    ]


def _intensity_note(fields: dict[str, str]) -> list[str]:
    slope = number(fields.get("ElementToIntensityFunctionSlope", "1"))
    offset = number(fields.get("ElementToIntensityFunctionOffset", "0"))
    if (slope, offset) in ((1.0, 0.0), (0.0, 0.0)):
        return []
    return [f"the grey values were not changed by the slope {slope:g} and offset {offset:g} that the header states"]


def _parts(
    fields: dict[str, str], listed: list[str], sizes: tuple[int, ...], packing: Packing, offset: int, path: Path
) -> tuple[list[Part], list[str]]:
    """Where the values lie, and a note if that is in another folder."""
    name = fields["ElementDataFile"]
    packed = whole(fields["CompressedDataSize"]) if packing == "zlib" and "CompressedDataSize" in fields else None
    skip = whole(fields.get("HeaderSize", "0"))
    if skip < -1 or (packed is not None and packed < 1) or (skip < 0 and packing != "raw"):
        raise bad_header(path, "HeaderSize or CompressedDataSize is impossible")
    if name.lower() == "local":
        if skip > 0:
            raise bad_header(path, "HeaderSize with voxels in the same file")
        return [Part(path, offset, packed, skip)], []
    numbered = numbered_names(name, path)
    if re.fullmatch(r"list(\s+\d+)?", name, re.IGNORECASE):
        rank = whole(name[4:].strip() or str(len(sizes) - 1))
        files = listed_files(path, listed)
        if not 1 <= rank <= len(sizes) or len(files) != math.prod(sizes[rank:]):
            raise bad_header(path, f"its {len(files)} data files do not make up its sizes")
    elif numbered is not None:
        files = listed_files(path, numbered[0])
        if len(files) != sizes[-1]:
            raise bad_header(path, f"its {len(files)} data files do not make up its sizes")
    else:
        files = [data_file(path, name)]
    if len(files) > 1 and packed is not None:
        packed = None
    start, skip = (skip, 0) if packing == "zlib" else (0, skip)
    return [Part(file, start, packed, skip) for file in files], outside_note(path, files)
