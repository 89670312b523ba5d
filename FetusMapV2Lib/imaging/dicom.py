"""Reading 3D ultrasound from DICOM with pydicom: Enhanced US Volume, Philips Cartesian, Kretz inside DICOM.

The frame of reference is the transducer's; LPS becomes RAS here.
"""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from FetusMapV2Lib.foundation.errors import InputError
from FetusMapV2Lib.imaging.checks import check_matrix, check_spacing, grey
from FetusMapV2Lib.imaging.headers import KRETZ_MAGIC, truncated
from FetusMapV2Lib.imaging.kretz import Handedness, cartesian, parse_kretz
from FetusMapV2Lib.imaging.source import Source, rising
from FetusMapV2Lib.imaging.volume import LPS_TO_RAS, Matrix, ijk_to_ras_matrix

try:
    from pydicom.pixels import apply_color_lut
except ImportError:  # pydicom 2
    from pydicom.pixel_data_handlers.util import apply_color_lut  # type: ignore[no-redef]

ENHANCED_US_VOLUME = "1.2.840.10008.5.1.4.1.1.6.2"
PHILIPS_CARTESIAN = "1.2.840.113543.6.6.1.3.10002"
_KRETZ_DATA = (0x7FE1, 0x1101)
_PHILIPS_SLICES, _PHILIPS_STEP_CM = (0x3001, 0x1001), (0x3001, 0x1003)
_CENTIMETRES = 3
_EXPORT = "Export the 3D volume as DICOM Enhanced US Volume, Cartesian DICOM, or uncompressed .vol"


def open_dicom(path: Path, handedness: Handedness) -> Source:
    """Open one DICOM file.

    Raises:
        InputError: encrypted, not ultrasound, not a volume, truncated, or compressed in a way that cannot be read.
    """
    dataset = read_dataset(path)
    sop_class = str(dataset.get("SOPClassUID", ""))
    if _KRETZ_DATA in dataset and bytes(dataset[_KRETZ_DATA].value).startswith(KRETZ_MAGIC):
        return kretz_source(bytes(dataset[_KRETZ_DATA].value), path, handedness)
    _require_ultrasound(dataset, sop_class, path)
    if sop_class == PHILIPS_CARTESIAN:
        return _philips(dataset, path)
    if sop_class == ENHANCED_US_VOLUME or "PerFrameFunctionalGroupsSequence" in dataset:
        return _enhanced(dataset, path)
    raise InputError("this DICOM file holds a 2D image or cine loop, not a 3D volume", where=path, remedy=_EXPORT)


def read_dataset(path: Path, *, pixels: bool = True) -> Dataset:
    """The DICOM data set of a file, on request without pixels and what comes behind them.

    Raises:
        InputError: not DICOM, truncated, or encrypted.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(path, force=True, stop_before_pixels=not pixels)
            encrypted = "EncryptedAttributesSequence" in dataset
            known = "SOPClassUID" in dataset or _KRETZ_DATA in dataset
        except (EOFError, struct.error, ValueError, KeyError, OverflowError, NotImplementedError):
            raise truncated(path) from None
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", where=path) from None
    if encrypted:
        raise InputError("this DICOM file is encrypted", where=path, remedy="Export it again without encryption")
    if not known:
        remedy = "Export it again as unencrypted DICOM"
        raise InputError("this is not a readable DICOM file (damaged or encrypted)", where=path, remedy=remedy)
    return dataset


def _require_ultrasound(dataset: Dataset, sop_class: str, path: Path) -> None:
    modality = str(dataset.get("Modality", "") or "")
    if sop_class in (ENHANCED_US_VOLUME, PHILIPS_CARTESIAN) or modality in ("US", "IVUS"):
        return
    named = f"modality {modality}" if modality else "no modality"
    raise InputError(f"this DICOM file is not ultrasound ({named})", where=path, remedy="Choose a 3D ultrasound volume")


def kretz_source(data: bytes, path: Path, handedness: Handedness) -> Source:
    """Open a Kretz file held in memory."""
    kretz = parse_kretz(data, path)
    return Source(len(kretz.frames), lambda t: cartesian(kretz, t, handedness), True)


# --- Philips Cartesian


def _philips(dataset: Dataset, path: Path) -> Source:
    """Philips QLAB "Cartesian" DICOM: 8 bit volumes [t, k, j, i]; slice count and step in private elements."""
    slices = int(_private_number(dataset, _PHILIPS_SLICES, path))
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    each = slices * rows * columns
    pixels = np.frombuffer(dataset.get("PixelData", b""), np.uint8)
    if each <= 0 or len(pixels) < each:
        raise truncated(path)
    frames = pixels[: len(pixels) // each * each].reshape(-1, slices, rows, columns)
    step = _private_number(dataset, _PHILIPS_STEP_CM, path)
    spacing = [float(dataset.get("PhysicalDeltaX", 0) or 0), float(dataset.get("PhysicalDeltaY", 0) or 0), step]
    check_spacing(spacing, str(path))
    notes = []
    units = {dataset.get("PhysicalUnitsXDirection", _CENTIMETRES), dataset.get("PhysicalUnitsYDirection", 3)}
    if units != {_CENTIMETRES}:
        notes.append("the voxel size is not stated in cm as expected; it may be wrong")
    matrix = ijk_to_ras_matrix((spacing[0] * 10, spacing[1] * 10, spacing[2] * 10))
    return Source(len(frames), lambda t: (frames[t], matrix), True, tuple(notes))


def _private_number(dataset: Dataset, tag: tuple[int, int], path: Path) -> float:
    value: Any = dataset[tag].value if tag in dataset else None
    if isinstance(value, bytes):
        # Implicit VR: the type must be guessed from the length.
        code = {2: "<H", 4: "<I", 8: "<d"}.get(len(value))
        value = struct.unpack(code, value)[0] if code else None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(
            "the number or distance of the slices is missing", where=path, remedy="Export the volume again from QLAB"
        ) from None


# --- Enhanced US Volume (DICOM PS3.3 A.59) and stacks of single slices


def _enhanced(dataset: Dataset, path: Path) -> Source:
    """Frames with their own positions, grouped into volumes by time; only tissue intensity is taken."""
    groups = _frame_groups(dataset)
    if len(groups) < 2:
        raise InputError("this DICOM file holds a single 2D frame, not a 3D volume", where=path, remedy=_EXPORT)
    pixels = _pixels(dataset, path)
    if len(pixels) != len(groups):
        raise truncated(path)
    try:
        measured = [_measures(shared_and_own) for shared_and_own in groups]
        placed = [_placed(shared_and_own) for shared_and_own in groups]
    except (AttributeError, IndexError, TypeError, ValueError):
        raise InputError(
            "the DICOM file does not say where its slices lie", where=path, remedy="Export the volume again"
        ) from None
    volumes: dict[Any, list[int]] = {}
    for number, group in enumerate(groups):
        if _data_type(group) in ("", "TISSUE_INTENSITY"):
            volumes.setdefault(_moment(group), []).append(number)
    stacks = []
    timed = all(_offset(group) is not None for group in groups)
    times = rising(sorted(volumes), len(volumes)) if timed else None
    for moment in sorted(volumes):
        chosen = volumes[moment]
        order, matrix = _stack([placed[n] for n in chosen], measured[chosen[0]], path)
        stacks.append(([chosen[n] for n in order], matrix))
    if not stacks:
        raise InputError("the DICOM file holds no tissue intensity", where=path, remedy="Export the B-mode volume")
    return Source(len(stacks), lambda t: (pixels[stacks[t][0]], stacks[t][1]), True, times_s=times)


def open_slices(datasets: Sequence[Dataset], path: Path) -> Source:
    """Open a folder of single ultrasound slices that carry their position as one volume.

    Raises:
        InputError: slices without position, of different size, or not evenly spaced.
    """
    for dataset in datasets:
        _require_ultrasound(dataset, str(dataset.get("SOPClassUID", "")), path)
    try:
        placed = [
            (np.array(d.ImagePositionPatient, dtype=float), np.array(d.ImageOrientationPatient, dtype=float))
            for d in datasets
        ]
        measures = (float(datasets[0].PixelSpacing[0]), float(datasets[0].PixelSpacing[1]))
    except (AttributeError, TypeError, ValueError, IndexError):
        raise InputError(
            "the DICOM files of this folder are pictures without a position, not a volume", where=path, remedy=_EXPORT
        ) from None
    order, matrix = _stack(placed, measures, path)
    pixels = [_pixels(datasets[n], path) for n in order]
    if len({p.shape for p in pixels}) > 1:
        raise InputError("the slices differ in size", where=path, remedy="Keep one series in the folder")
    array = np.concatenate(pixels)
    return Source(1, lambda t: (array, matrix), True)


def _frame_groups(dataset: Dataset) -> list[tuple[Dataset, Dataset]]:
    """(shared, own) functional groups of each frame."""
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    return [(shared, item) for item in own]


def _macro(group: tuple[Dataset, Dataset], name: str) -> Dataset:
    for item in (group[1], group[0]):
        sequence = item.get(name)
        if sequence:
            return sequence[0]
    return Dataset()


def _measures(group: tuple[Dataset, Dataset]) -> tuple[float, float]:
    """Distance of rows and of columns in mm."""
    rows, columns = _macro(group, "PixelMeasuresSequence").PixelSpacing
    return float(rows), float(columns)


def _placed(group: tuple[Dataset, Dataset]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Position (3,) of the first pixel in mm and orientation (6,) of rows and columns, LPS."""
    position = _macro(group, "PlanePositionVolumeSequence").get("ImagePositionVolume")
    if position is None:
        position = _macro(group, "PlanePositionSequence").ImagePositionPatient
    orientation = _macro(group, "PlaneOrientationVolumeSequence").get("ImageOrientationVolume")
    if orientation is None:
        orientation = _macro(group, "PlaneOrientationSequence").get("ImageOrientationPatient", [1, 0, 0, 0, 1, 0])
    return np.array(position, dtype=float).reshape(3), np.array(orientation, dtype=float).reshape(6)


def _moment(group: tuple[Dataset, Dataset]) -> float:
    """What tells the volumes of a sequence apart: seconds, or their number."""
    offset = _offset(group)
    if offset is not None:
        return offset
    return float(_macro(group, "FrameContentSequence").get("TemporalPositionIndex", 0) or 0)


def _offset(group: tuple[Dataset, Dataset]) -> float | None:
    """Seconds since the first frame, None if the file does not say."""
    temporal = _macro(group, "TemporalPositionSequence").get("TemporalPositionTimeOffset")
    return None if temporal is None else float(temporal)


def _data_type(group: tuple[Dataset, Dataset]) -> str:
    return str(_macro(group, "ImageDataTypeSequence").get("DataType", ""))


def _stack(
    placed: list[tuple[NDArray[np.float64], NDArray[np.float64]]], measures: tuple[float, float], path: Path
) -> tuple[list[int], Matrix]:
    """Order of the slices along their normal, and the IJK-to-RAS matrix of the stack."""
    along_i, along_j = placed[0][1][:3], placed[0][1][3:]
    normal = np.cross(along_i, along_j)
    heights = np.array([position @ normal for position, _ in placed])
    order = [int(n) for n in np.argsort(heights, kind="stable")]
    gaps = np.diff(heights[order])
    if len(order) < 2 or not np.isfinite(heights).all() or gaps.min() <= 1e-6:
        raise InputError(
            "its slices lie on top of each other", where=path, remedy="Export one volume, without gaps or repeats"
        )
    parallel = all(np.allclose(orientation, placed[0][1], atol=1e-4) for _, orientation in placed)
    if not parallel or gaps.max() - gaps.min() > 0.1 * gaps.mean():
        raise InputError("its slices are not evenly spaced", where=path, remedy="Export one volume, without gaps")
    matrix = np.eye(4)
    matrix[:3, 0] = along_i * measures[1]
    matrix[:3, 1] = along_j * measures[0]
    matrix[:3, 2] = (placed[order[-1]][0] - placed[order[0]][0]) / (len(order) - 1)
    matrix[:3, 3] = placed[order[0]][0]
    check_matrix(matrix, str(path))
    return order, LPS_TO_RAS @ matrix


def _pixels(dataset: Dataset, path: Path) -> NDArray[Any]:
    """Grey frames [n, rows, columns]."""
    if not math.prod(int(dataset.get(name, 0) or 0) for name in ("Rows", "Columns")) or "PixelData" not in dataset:
        raise truncated(path)
    try:
        array = dataset.pixel_array
    except (RuntimeError, NotImplementedError, ImportError):
        name = dataset.file_meta.TransferSyntaxUID.name
        raise InputError(
            f"its pixels are compressed ({name}), which cannot be read here", where=path,
            remedy="Export it uncompressed (Explicit VR Little Endian)",
        ) from None  # fmt: skip
    except (ValueError, EOFError, AttributeError, struct.error):
        raise truncated(path) from None
    kind = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    if int(dataset.get("SamplesPerPixel", 1)) > 1:
        # pydicom 3 gives RGB for every colour space, pydicom 2 leaves luminance and chrominance as they are.
        luminance_first = kind.startswith("YBR") and int(pydicom.__version__.split(".")[0]) < 3
        array = array[..., 0] if luminance_first else grey(array)
    elif kind == "MONOCHROME1":
        array = (2 ** int(dataset.BitsStored) - 1 - array.astype(np.int32)).astype(array.dtype)
    elif kind == "PALETTE COLOR":
        array = grey(apply_color_lut(array, dataset))
    return array if array.ndim == 3 else array[None]
