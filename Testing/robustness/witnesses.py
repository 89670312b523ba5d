"""What independent readers (pynrrd, nibabel, SimpleITK, pydicom) make of a volume file, beside what the product does.

None of the product's readers is used; checksums of packed data are verified by Python's own gzip, zlib and bz2.
"""

from __future__ import annotations

import bz2
import gzip
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

#: Frames [k, j, i] over time, and the IJK-to-RAS matrix; None where the file does not say it beyond doubt.
Reading = tuple[list[np.ndarray], np.ndarray | None]
_EXPLICIT = {True: ExplicitVRLittleEndian, False: ExplicitVRBigEndian}
#: Records of a Kretz file that are read.
_USED = {(0xC000, 1), (0xC000, 2), (0xC000, 3), (0xC100, 1), (0xC200, 1), (0xC200, 2), (0xC300, 1), (0xC300, 2)}
_USED |= {(0x0010, 0x0022), (0xD000, 1)}
_KRETZ = b"KRETZFILE 1.0   "
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def readings(path: Path) -> Iterator[Reading]:
    """What each independent reader that knows the format makes of a file; those that refuse give nothing."""
    for reader in _READERS.get(_suffix(path), ()):
        try:
            yield reader(path)
        except Exception:  # whatever an independent reader raises, it does not read the file
            continue


def _suffix(path: Path) -> str:
    if path.is_dir():
        return "folder"
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def by_pynrrd(path: Path) -> Reading:
    nrrd.reader.ALLOW_DUPLICATE_FIELD = True
    header = nrrd.read_header(str(path))
    _verify_nrrd(path, header)
    data, header = nrrd.read(str(path))
    kinds = [kind.lower() for kind in header.get("kinds") or ["domain"] * data.ndim]
    lists = [axis for axis, kind in enumerate(kinds) if kind not in ("domain", "space")]
    if len(lists) > 1 or data.ndim - len(lists) != 3:
        raise ValueError("no volume, and no volumes over time")
    data = np.moveaxis(data, lists[0], -1) if lists else data[..., None]
    frames = [np.asarray(data[..., t].T) for t in range(data.shape[-1])]
    return frames, _nrrd_matrix(header, [axis for axis in range(len(kinds)) if axis not in lists])


def by_pynrrd_tidied(path: Path) -> Reading:
    """As pynrrd reads a file with field names in small letters, and without labels and units, whose quotes it minds."""
    head, end, rest = re.split(rb"(\n\r?\n)", path.read_bytes(), maxsplit=1)
    lines = []
    for line in head.splitlines():
        name, colon, value = line.partition(b": ")
        if not name.lower().endswith((b"labels", b"units")):
            lines.append(name.lower() + colon + value if b":=" not in line and colon else line)
    return _of_copy(path, b"\n".join(lines) + end + rest, by_pynrrd)


def _of_copy(path: Path, content: bytes, reader: Callable[[Path], Reading]) -> Reading:
    """What a reader makes of a file with other content in the same folder."""
    copy = path.with_name(f"copy-{path.name}")
    copy.write_bytes(content)
    try:
        return reader(copy)
    finally:
        copy.unlink()


def _nrrd_matrix(header: dict[str, Any], axes: list[int]) -> np.ndarray | None:
    space = str(header.get("space", "")).lower()
    named = {"right-anterior-superior": np.eye(4), "ras": np.eye(4), "left-posterior-superior": _LPS, "lps": _LPS}
    if space not in named or "space directions" not in header:
        return None
    matrix = np.eye(4)
    directions = header["space directions"]
    matrix[:3, :3] = np.array([directions[axis] for axis in axes], dtype=float).T
    matrix[:3, 3] = header.get("space origin", np.zeros(3))
    return named[space] @ matrix


def _verify_nrrd(path: Path, header: dict[str, Any]) -> None:
    encoding = header["encoding"].lower()
    detached = header.get("data file", header.get("datafile"))
    content = (
        (path.parent / detached).read_bytes() if detached else re.split(rb"\n\r?\n", path.read_bytes(), maxsplit=1)[1]
    )
    if encoding in ("gzip", "gz"):
        gzip.decompress(content)
    elif encoding in ("bzip2", "bz2"):
        bz2.decompress(content)


def by_nibabel(path: Path) -> Reading:
    if path.read_bytes()[:2] == b"\x1f\x8b":
        gzip.decompress(path.read_bytes())
    image = nibabel.load(path)
    # get_fdata computes in double precision, as the standard's scaling asks
    data = np.asanyarray(image.dataobj) if _unscaled(image) else image.get_fdata()
    data = data.reshape(*data.shape[:3], -1) if data.shape[4:] == (1,) * (data.ndim - 4) else data
    if data.ndim != 4:
        raise ValueError("no volume, and no volumes over time")
    stated = image.header["sform_code"] > 0 or image.header["qform_code"] > 0
    return [data[..., t].T for t in range(data.shape[-1])], image.affine if stated else None


def _unscaled(image: Any) -> bool:
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    return slope == 1.0 and intercept == 0.0


def by_simpleitk(path: Path) -> Reading:
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        gzip.decompress(content)
    if path.suffix.lower() in (".mha", ".mhd") and re.search(rb"(?im)^CompressedData *= *True", content):
        detached = re.search(rb"(?im)^ElementDataFile *= *(\S+)", content)
        assert detached is not None
        name = detached[1].decode()
        zlib.decompress(
            content.split(detached[0], 1)[1].split(b"\n", 1)[1]
            if name == "LOCAL"
            else (path.parent / name).read_bytes()
        )
    image = sitk.ReadImage(str(path))
    if image.GetNumberOfComponentsPerPixel() != 1 or image.GetDimension() != 3:
        raise ValueError("no volume")
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return [sitk.GetArrayFromImage(image)], _LPS @ matrix


def by_simpleitk_tidied(path: Path) -> Reading:
    """As SimpleITK reads a MetaImage without what its library gives up on: comments, long lines, a late NDims."""
    head, end, rest = re.split(rb"(ElementDataFile[^\n]*\n)", path.read_bytes(), maxsplit=1)
    lines = [b" ".join(line.split()) for line in head.splitlines() if not line.startswith(b"Comment")]
    lines = [line for line in lines if len(line) < 500]
    lines.sort(key=lambda line: not line.startswith((b"NDims", b"ObjectType")))
    end = re.sub(rb"(?i)= *local\s*", b"= LOCAL\n", end)
    if end.endswith(b"LOCAL\n"):  # which its library cannot do without where they are packed
        lines = [line for line in lines if not line.startswith(b"CompressedDataSize")]
        lines.append(b"CompressedDataSize = %d" % len(rest))
    return _of_copy(path, b"\n".join(lines) + b"\n" + end + rest, by_simpleitk)


def by_pydicom(path: Path) -> Reading:
    return _dicom(path.read_bytes())


def by_pydicom_up_to_pixels(path: Path) -> Reading:
    """Without what comes behind the pixels, on which pydicom may give up."""
    return _dicom(_up_to_pixels(path.read_bytes()))


def by_pydicom_inflated(path: Path) -> Reading:
    """The data set of a deflated file of the corpus, whatever its file meta information, which ends with a version."""
    content = path.read_bytes()
    version = f"PYDICOM {pydicom.__version__}".encode()
    start = content.index(version) + len(version) + len(version) % 2
    return _dicom(zlib.decompress(content[start:], -zlib.MAX_WBITS))


def _dataset(content: bytes) -> pydicom.Dataset:
    dataset = pydicom.dcmread(BytesIO(content), force=True)
    if not dataset.file_meta.get("TransferSyntaxUID"):
        # as pydicom's maintainers advise: the one that it was parsed with
        implicit, little = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else _EXPLICIT[little]
    return dataset


def _dicom(content: bytes) -> Reading:
    kretz = kretz_inside(content)
    if kretz is not None:
        return kretz_records(kretz)
    dataset = _dataset(content)
    if (0x3001, 0x1001) in dataset:
        return _philips(dataset)
    pixels = dataset.pixel_array
    shared = dataset.SharedFunctionalGroupsSequence[0]
    frames = dataset.PerFrameFunctionalGroupsSequence
    across = np.array(shared.PlaneOrientationVolumeSequence[0].ImageOrientationVolume, dtype=float)
    rows, columns = (float(value) for value in shared.PixelMeasuresSequence[0].PixelSpacing)
    normal = np.cross(across[:3], across[3:])
    places = np.array([f.PlanePositionVolumeSequence[0].ImagePositionVolume for f in frames], dtype=float)
    moments = [float(f.TemporalPositionSequence[0].TemporalPositionTimeOffset) for f in frames]
    stacks, matrix = [], np.eye(4)
    for moment in sorted(set(moments), reverse=True):  # the matrix that is kept is that of the first volume
        chosen = [n for n, value in enumerate(moments) if value == moment]
        chosen.sort(key=lambda n: places[n] @ normal)
        stacks.insert(0, pixels[chosen])
        matrix[:3, 0], matrix[:3, 1] = across[:3] * columns, across[3:] * rows
        matrix[:3, 2] = (places[chosen[-1]] - places[chosen[0]]) / (len(chosen) - 1)
        matrix[:3, 3] = places[chosen[0]]
    return stacks, _LPS @ matrix


def by_pydicom_slices(folder: Path) -> Reading:
    """A folder of single slices, in the order of their positions."""
    contents = [_up_to_pixels(path.read_bytes()) for path in sorted(folder.iterdir())]
    slices = [_dataset(content) for content in contents]
    across = np.array(slices[0].ImageOrientationPatient, dtype=float)
    places = [np.array(one.ImagePositionPatient, dtype=float) for one in slices]
    if any(not np.allclose(np.array(one.ImageOrientationPatient, float), across, atol=1e-4) for one in slices):
        raise ValueError("slices that are turned")
    order = np.argsort([place @ np.cross(across[:3], across[3:]) for place in places], kind="stable")
    rows, columns = (float(value) for value in slices[0].PixelSpacing)
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 3] = across[:3] * columns, across[3:] * rows, places[order[0]]
    matrix[:3, 2] = (places[order[-1]] - places[order[0]]) / (len(order) - 1)
    return [np.stack([slices[n].pixel_array for n in order])], _LPS @ matrix


def _up_to_pixels(content: bytes) -> bytes:
    """A DICOM file without what comes behind its pixels, which does not matter."""
    start = content.find(b"\xe0\x7f\x10\x00O")
    plain = content[128:132] == b"DICM" and DeflatedExplicitVRLittleEndian.encode() not in content[:400]
    return content[: start + 12 + struct.unpack_from("<I", content, start + 8)[0]] if plain and start > 0 else content


def kretz_inside(content: bytes) -> bytes | None:
    """The Kretz file that a file is or holds as a DICOM element with a length of four bytes."""
    start = content.find(_KRETZ)
    if start <= 0:
        return None if start < 0 else content
    return content[start : start + struct.unpack_from("<I", content, start - 4)[0]]


def _philips(dataset: pydicom.Dataset) -> Reading:
    slices, step = int(dataset[0x3001, 0x1001].value), float(dataset[0x3001, 0x1003].value)
    voxels = np.frombuffer(dataset.PixelData, np.uint8)
    frames = voxels.reshape(int(dataset.NumberOfFrames), slices, dataset.Rows, dataset.Columns)
    size = np.array([float(dataset.PhysicalDeltaX), float(dataset.PhysicalDeltaY), step]) * 10
    return list(frames), np.diag([*size, 1.0])


def by_records(path: Path) -> Reading:
    return kretz_records(path.read_bytes())


def kretz_records(content: bytes) -> Reading:
    """The voxels of a Kretz file as they are stored, and its geometry as `kretz_facts` puts it."""
    if not content.startswith(_KRETZ):
        raise ValueError("no Kretz file")
    records: dict[tuple[int, int], bytes] = {}
    position = 16
    while content[position:].strip(b"\0"):
        group, element, length = struct.unpack_from("<HHI", content, position)
        value = content[position + 8 : position + 8 + length]
        if len(value) < length or ((group, element) in _USED and records.get((group, element), value) != value):
            raise ValueError("records that contradict each other")
        records[group, element] = value
        position += 8 + length
    i, j, k = (struct.unpack("<H", records[0xC000, n][:2])[0] for n in (1, 2, 3))
    voxels = np.frombuffer(records[0xD000, 1], np.uint8).reshape(k, j, i)
    angles = [np.frombuffer(records.get((0xC300, n), b"")) for n in (2, 1)]
    if not angles[0].size and not angles[1].size:
        return [voxels], kretz_facts(0, 0, 0, *angles, _double(records[0x0010, 0x0022]))
    step = _double(records[0xC100, 1]) * 1000
    straight = [a - np.pi / 2 if a.mean() > np.pi / 4 else a for a in angles]
    first, bend = _double(records[0xC200, 1]) * step, -_double(records[0xC200, 2]) * step
    return [voxels], kretz_facts(step, first, bend, *straight, 0)


def _double(value: bytes) -> float:
    return float(struct.unpack_from("<d", value)[0])


def kretz_facts(
    step_mm: float, first_mm: float, bend_mm: float, theta: np.ndarray, phi: np.ndarray, edge_mm: float
) -> np.ndarray:
    """The geometry of a Kretz file as a table (3, 4) that two readers can compare."""
    # Angles times 100, for they are compared as if they were mm.
    tables = [[100 * float(values @ np.arange(len(values))), len(values), 0, 0] for values in (theta, phi)]
    return np.array([[step_mm, first_mm, bend_mm, edge_mm], *tables])


_READERS: dict[str, tuple[Callable[[Path], Reading], ...]] = {
    ".nrrd": (by_pynrrd, by_pynrrd_tidied, by_simpleitk),
    ".nhdr": (by_pynrrd, by_pynrrd_tidied, by_simpleitk),
    ".mha": (by_simpleitk, by_simpleitk_tidied),
    ".mhd": (by_simpleitk, by_simpleitk_tidied),
    ".nii": (by_nibabel, by_simpleitk),
    ".nii.gz": (by_nibabel, by_simpleitk),
    ".hdr": (by_nibabel, by_simpleitk),
    ".dcm": (by_pydicom, by_pydicom_up_to_pixels, by_pydicom_inflated),
    ".vol": (by_records,),
    "folder": (by_pydicom_slices,),
}
