"""Headers of NRRD files, with voxels attached, detached or in many files (teem.sourceforge.net/nrrd/format.html)."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.file_inspection import bad_header, truncated
from FetusMapV2Lib.imaging.formats.detached_files import data_file, listed_files, numbered_names, outside_note
from FetusMapV2Lib.imaging.formats.header_fields import any_numbers, check_plain, header_lines, number, shown, whole
from FetusMapV2Lib.imaging.formats.nrrd_space import Axes, nrrd_matrix
from FetusMapV2Lib.imaging.formats.packed_voxels import Packing, Part
from FetusMapV2Lib.imaging.formats.stored_voxels import Stored, check_sizes
from FetusMapV2Lib.imaging.source import SECONDS, increasing_times

_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(
        ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"), "i8"
    ),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    # The last of each are numpy's names, which are no others' and cannot be mistaken.
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_PACKINGS: dict[str, Packing] = {
    "raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2", "hex": "hex",
    "ascii": "ascii", "text": "ascii", "txt": "ascii",
}  # fmt: skip
_FIELDS = {
    "type", "dimension", "sizes", "encoding", "endian", "space", "space dimension", "space directions",
    "space origin", "space units", "spacings", "axis mins", "axis maxs", "centers", "kinds", "labels", "units",
    "thicknesses", "measurement frame", "content", "number", "block size", "min", "max", "old min", "old max",
    "line skip", "byte skip", "data file", "sample units",
}  # fmt: skip
_SYNONYMS = {
    "axismins": "axis mins", "axismaxs": "axis maxs", "centerings": "centers", "blocksize": "block size",
    "oldmin": "old min", "oldmax": "old max", "lineskip": "line skip", "byteskip": "byte skip",
    "datafile": "data file", "sampleunits": "sample units",
}  # fmt: skip
#: Kinds of axes, without hyphens: of space; of frames; of colours; and those along which no grey values lie.
_SPACE_KINDS, _FRAME_KINDS = {"domain", "space"}, {"list", "time"}
_COLOUR_KINDS = {"3color": 3, "rgbcolor": 3, "4color": 4, "rgbacolor": 4, "vector": 0, "3vector": 3, "4vector": 4}
_UNKNOWN_KINDS = {"???", "none"}
_OTHER_KINDS = {
    "point", "covariantvector", "normal", "stub", "scalar", "complex", "2vector", "hsvcolor", "xyzcolor", "3gradient",
    "3normal", "quaternion", "2dsymmetricmatrix", "2dmaskedsymmetricmatrix", "2dmatrix", "2dmaskedmatrix",
    "3dsymmetricmatrix", "3dmaskedsymmetricmatrix", "3dmatrix", "3dmaskedmatrix",
}  # fmt: skip
_VECTOR = r"\([^()]*\)|[^\s()]+"
_MOST_DIMENSIONS, _LONGEST_FIELD = 16, 1 << 16


def parse_nrrd(path: Path) -> Stored:
    """What the header of a NRRD file says.

    Raises:
        InputError: a line that is not of the format, a field that is missing, twice there, or contradicted by
            another one, or voxels that are not those of a volume.
    """
    with path.open("rb") as stream:
        lines = _read_lines(stream, path)
        offset = stream.tell()
    fields = lines.fields
    try:
        sizes = tuple(whole(part) for part in fields["sizes"].split())
        if whole(fields["dimension"]) != len(sizes) or not 1 <= len(sizes) <= _MOST_DIMENSIONS:
            raise bad_header(path, "dimension and sizes disagree")
        kind, packing = _type(fields, path)
        kinds = _kinds(fields, sizes, path)
        axes = _axes(fields, sizes, kinds, path)
        check_sizes(axes.kept_sizes, axes.kept_other, path)
        matrix, spacing_known, notes = nrrd_matrix(fields, axes, path)
        parts = _parts(fields, lines.listed, axes, packing, offset, path)
    except KeyError as error:
        raise bad_header(path, f"{error.args[0]} is missing or unknown") from None
    except ValueError:
        raise bad_header(path, "its sizes, directions or other numbers are not numbers") from None
    if lines.twice:
        notes.append(f"its key '{shown(lines.twice[0])}' is stated twice; the last one was used")
    if "data file" in fields:
        notes += outside_note(path, [part.path for part in parts])
    colour = axes.other is not None and sizes[axes.other] in (3, 4) and kinds[axes.other] not in _FRAME_KINDS
    times = None if axes.other is None else _times(fields, lines.keys, axes.other, sizes[axes.other])
    return Stored(
        path, kind, axes.kept_sizes, axes.kept_other, colour, matrix, tuple(parts), packing, spacing_known,
        tuple(notes), times,
    )  # fmt: skip


@dataclass
class _Lines:
    """Fields, keys with their values, the files that are listed, and the keys that are stated twice."""

    fields: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    listed: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)


def _read_lines(stream: IO[bytes], path: Path) -> _Lines:
    """The lines of the header; the stream is left at the first voxel."""
    lines = header_lines(stream, path)
    magic = next(lines, "").strip()
    if not re.fullmatch(r"NRRD(000[1-5]|00\.01)", magic):
        raise InputError(
            f"this version of NRRD ({shown(magic)}) is not known", where=path, remedy="Export it as NRRD0005 or older"
        )
    found = _Lines()
    for line in lines:
        if not line:
            break
        if line.startswith("#"):
            continue
        match = re.match(r"(.*?)(: |:=)(.*)", line, re.DOTALL)
        if match is None:
            raise bad_header(path, f"this line is not of the format: '{shown(line)}'")
        name, separator, value = match[1].strip().lower(), match[2], match[3].strip()
        if separator == ":=":
            if name in found.keys:
                found.twice.append(name)
            found.keys[name] = value
            continue
        name = _SYNONYMS.get(name, name)
        if name not in _FIELDS:
            raise bad_header(path, f"there is no field '{shown(name)}'")
        if name in found.fields:
            raise bad_header(path, f"{name} is stated twice")
        if len(value) > _LONGEST_FIELD and name != "content":
            raise bad_header(path, f"{name} is too long")
        if name not in ("data file", "content"):  # free text
            check_plain(name, value, path)
        found.fields[name] = value
        if name == "data file" and value.upper().startswith("LIST"):
            found.listed = [listed.strip() for listed in lines if listed.strip()]
    return found


def _type(fields: dict[str, str], path: Path) -> tuple[np.dtype, Packing]:
    name = " ".join(fields["type"].lower().split())
    if name not in _TYPES:
        raise InputError(
            f"its voxels are of a type that cannot be read ('{shown(name)}')", where=path,
            remedy="Export it with whole or decimal numbers",
        )  # fmt: skip
    encoding = fields["encoding"].lower()
    if encoding not in _PACKINGS:
        raise InputError(
            f"its encoding '{shown(encoding)}' cannot be read", where=path, remedy="Export it as raw or gzip"
        )
    kind, packing = np.dtype(_TYPES[name]), _PACKINGS[encoding]
    endian = fields.get("endian", "").lower()
    if endian not in ("", "little", "big"):
        raise bad_header(path, f"endian is '{shown(endian)}'")
    if not endian and kind.itemsize > 1 and packing != "ascii":
        raise bad_header(path, "endian is missing")
    return kind.newbyteorder(">" if endian == "big" and packing != "ascii" else "<"), packing


def _kinds(fields: dict[str, str], sizes: tuple[int, ...], path: Path) -> list[str]:
    """Kind of each axis, "" where it is not stated."""
    if "kinds" not in fields:
        return [""] * len(sizes)
    kinds = [part.lower().replace("-", "") for part in fields["kinds"].split()]
    if len(kinds) != len(sizes):
        raise bad_header(path, "dimension and kinds disagree")
    for kind, size in zip(kinds, sizes, strict=True):
        if kind not in _SPACE_KINDS | _FRAME_KINDS | _COLOUR_KINDS.keys() | _OTHER_KINDS | _UNKNOWN_KINDS:
            raise bad_header(path, f"there is no kind '{shown(kind)}'")
        if _COLOUR_KINDS.get(kind) not in (None, 0, size):
            raise bad_header(path, f"an axis of kind {kind} has {size} values")
    return ["" if kind in _UNKNOWN_KINDS else kind for kind in kinds]


def _axes(fields: dict[str, str], sizes: tuple[int, ...], kinds: list[str], path: Path) -> Axes:
    """Which axes are those of space, and which one holds frames or colours."""
    directions = fields.get("space directions", "")
    vectors = re.findall(_VECTOR, directions)
    if re.sub(_VECTOR, "", directions).strip():
        raise bad_header(path, f"a bracket is missing in its space directions: '{shown(directions)}'")
    if vectors and len(vectors) != len(sizes):
        raise bad_header(path, "dimension and space directions disagree")
    if vectors:
        space = [axis for axis, vector in enumerate(vectors) if vector.lower() != "none"]
    else:
        space = [axis for axis, kind in enumerate(kinds) if kind in _SPACE_KINDS or kind == ""]
        # Without names, the first three axes are those of space and the fourth is time.
        space = space[:3] if len(space) == 4 else space
    others = [axis for axis in range(len(sizes)) if axis not in space]
    wide = [axis for axis in others if sizes[axis] != 1]
    for axis in wide:
        if kinds[axis] in _OTHER_KINDS:
            raise InputError(
                f"its values are of kind {kinds[axis]}, not grey values", where=path, remedy="Export the grey values"
            )
    if len(space) > 3 or len(wide) > 1:
        remedy = "Export one 3D volume"
        raise InputError(f"this is a {len(space) + len(wide)}D image, not a 3D volume", where=path, remedy=remedy)
    if any(kinds[axis] not in _SPACE_KINDS and kinds[axis] != "" for axis in space):
        raise bad_header(path, "kinds and space directions disagree")
    return Axes(sizes, tuple(space), wide[0] if wide else None, tuple(vectors))


def _parts(
    fields: dict[str, str], listed: list[str], axes: Axes, packing: Packing, offset: int, path: Path
) -> list[Part]:
    """Where the values are, and how many bytes to skip before them."""
    lines, skip = whole(fields.get("line skip", "0")), whole(fields.get("byte skip", "0"))
    if lines < 0 or skip < -1 or (skip < 0 and packing in ("ascii", "hex")):
        raise bad_header(path, "it skips less than nothing")
    name = fields.get("data file")
    if name is None:
        return [Part(path, _after_lines(path, offset, lines), None, skip)]
    numbered = numbered_names(name, path)
    if name.upper().startswith("LIST"):
        names, rank = listed, name[4:].strip()
        _check_pieces(len(names), whole(rank) if rank else None, axes, path)
    elif numbered is not None:
        names = numbered[0]
        _check_pieces(len(names), numbered[1], axes, path)
    else:
        return [Part(file, _after_lines(file, 0, lines), None, skip) for file in [data_file(path, name)]]
    return [Part(file, _after_lines(file, 0, lines), None, skip) for file in listed_files(path, names)]


def _check_pieces(count: int, rank: int | None, axes: Axes, path: Path) -> None:
    """Raise `InputError` unless `count` files of `rank` axes each make up the volume."""
    if not count:
        raise bad_header(path, "it lists no data files")
    rank = len(axes.sizes) - 1 if rank is None else rank
    wanted = math.prod(axes.sizes[rank:])
    # Files with as many axes as the volume are slabs along the slowest one.
    fits = axes.sizes[-1] % count == 0 if rank == len(axes.sizes) else count == wanted
    if not 1 <= rank <= len(axes.sizes) or not fits:
        raise bad_header(path, f"its {count} data files do not make up its sizes")


def _after_lines(path: Path, offset: int, lines: int) -> int:
    if not lines:
        return offset
    with path.open("rb") as stream:
        stream.seek(offset)
        for _ in range(lines):
            if not stream.readline(1 << 20).endswith(b"\n"):
                raise truncated(path)
        return stream.tell()


def _times(fields: dict[str, str], keys: dict[str, str], axis: int, count: int) -> tuple[float, ...] | None:
    """Seconds of the frames of a sequence (as Slicer writes it) with a unit of time, None if they are not stated."""
    try:
        unit_s = SECONDS.get(shlex.split(fields.get("units", ""))[axis].lower())
        if unit_s is None:
            return None
        values = [number(value) for value in keys.get(f"axis {axis} index values", "").split()]
        if not values:
            step = any_numbers(fields.get("spacings", ""))[axis]
            values = [step * frame for frame in range(count)]
    except (ValueError, IndexError):
        return None
    return increasing_times((value * unit_s for value in values), count)
