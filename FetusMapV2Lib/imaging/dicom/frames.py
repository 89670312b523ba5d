"""Stacks of DICOM frames that carry their own position: Enhanced US Volume (PS3.3 A.59) and folders of single slices.

The frame of reference is the transducer's; LPS becomes RAS here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging import geometry
from FetusMapV2Lib.imaging.dicom.dataset import EXPORT_VOLUME, require_ultrasound
from FetusMapV2Lib.imaging.dicom.pixels import grey_frames, rescaled
from FetusMapV2Lib.imaging.source import Source, increasing_times
from FetusMapV2Lib.imaging.volume import LPS_TO_RAS, Matrix
from FetusMapV2Lib.imaging.volume_checks import check_matrix

# Where the place of a frame stands: in the volume's own frame of reference, or in the patient's.
_PLACES = (
    ("PlanePositionVolumeSequence", "ImagePositionVolume", "PlaneOrientationVolumeSequence", "ImageOrientationVolume"),
    ("PlanePositionSequence", "ImagePositionPatient", "PlaneOrientationSequence", "ImageOrientationPatient"),
)

#: Functional groups of a frame: shared with all others, and its own.
Groups = tuple[Dataset, Dataset]


@dataclass(frozen=True)
class _Frame:
    """Where a frame lies and how large its pixels are, as the file states it.

    Attributes:
        position: (3,) of the first pixel, mm, LPS.
        orientation: (6,) directions of rows and columns, LPS.
        spacing: (2,) distance of rows and of columns, mm.
        distance: to the next slice as the file states it, mm; None if it does not.
        stated_by: which attribute that is.
    """

    position: Any
    orientation: Any
    spacing: Any
    distance: Any
    stated_by: str


def open_enhanced(dataset: Dataset, path: Path) -> Source:
    """Open an Enhanced US Volume: frames grouped into volumes by time; only tissue intensity is taken.

    Raises:
        InputError: a place that is missing or impossible, or numbers of frames that contradict each other.
    """
    groups = _frame_groups(dataset)
    stated = dataset.get("NumberOfFrames")
    number = len(groups) if stated in (None, "") else int(stated)
    if max(len(groups), number) < 2:
        raise InputError("this DICOM file holds a single 2D frame, not a 3D volume", where=path, remedy=EXPORT_VOLUME)
    if len(groups) < 2:
        raise _unplaced(path)
    notes = []
    if number != len(groups):
        notes.append(f"the file states {number} frames but describes {len(groups)}, and holds as many: they were used")
    tissue = [n for n, group in enumerate(groups) if _data_type(group) in ("", "TISSUE_INTENSITY")]
    if not tissue:
        raise InputError("the DICOM file holds no tissue intensity", where=path, remedy="Export the B-mode volume")
    frames = {n: _frame(groups[n], path) for n in tissue}
    moments, times = _moments(groups, tissue, path)
    pixels, more = grey_frames(dataset, path, frames=len(groups))
    pixels = _rescaled_frames(dataset, groups, pixels, path)
    stacks: list[tuple[list[int], Matrix]] = []
    for chosen in moments:
        order, matrix, warnings = _stack([frames[n] for n in chosen], path)
        stacks.append(([chosen[n] for n in order], matrix))
        more = [*more, *warnings]
    notes = list(dict.fromkeys([*notes, *more]))
    return Source(len(stacks), lambda t: (pixels[stacks[t][0]], stacks[t][1]), True, tuple(notes), times)


def open_slices(datasets: Sequence[Dataset], path: Path) -> Source:
    """Open a folder of single ultrasound slices that carry their position as one volume.

    Raises:
        InputError: slices without position, of different size, or not evenly spaced.
    """
    for dataset in datasets:
        require_ultrasound(dataset, path)
    frames = [_slice(dataset) for dataset in datasets]
    if any(frame.position is None or frame.orientation is None for frame in frames):
        raise InputError(
            "the DICOM files of this folder are pictures without a position, not a volume", where=path,
            remedy=EXPORT_VOLUME,
        )  # fmt: skip
    if len({(dataset.get("Rows"), dataset.get("Columns")) for dataset in datasets}) > 1:
        raise InputError("the slices differ in size", where=path, remedy="Keep one series in the folder")
    order, matrix, notes = _stack(frames, path)
    planes = []
    for n in order:
        plane, more = grey_frames(datasets[n], path, frames=1)
        planes.append(rescaled(plane, *_scale(datasets[n]), path))
        notes += more
    array = np.concatenate(planes)
    return Source(1, lambda t: (array, matrix), True, tuple(dict.fromkeys(notes)))


def outer_corners(datasets: Sequence[Dataset], path: Path) -> NDArray[np.float64]:
    """(6, 3) RAS mm of the first pixel, the last of its row and the last of its column, of both outermost frames.

    Raises:
        InputError: a place that is missing.
        Exception: whatever a damaged value raises.
    """
    groups = _frame_groups(datasets[0]) if len(datasets) == 1 else []
    frames = [_frame(group, path) for group in groups] or [_slice(dataset) for dataset in datasets]
    positions = np.array([frame.position for frame in frames], dtype=np.float64)
    along, down = np.array(frames[0].orientation, dtype=np.float64).reshape(2, 3)
    heights = positions @ np.cross(along, down)
    rows, columns = (float(value) for value in frames[0].spacing)
    along, down = along * columns * (datasets[0].Columns - 1), down * rows * (datasets[0].Rows - 1)
    outer = positions[[int(heights.argmin()), int(heights.argmax())]]
    corners = np.concatenate([outer, outer + along, outer + down])
    return np.asarray(corners @ LPS_TO_RAS[:3, :3].T)


def frame_of_reference(dataset: Dataset) -> str:
    """UID of the space that the places of the frames are in; empty if the file does not state one."""
    in_volume = any(_macro(group, _PLACES[0][0]) for group in _frame_groups(dataset)[:1])
    return str(dataset.get("VolumeFrameOfReferenceUID" if in_volume else "FrameOfReferenceUID") or "")


def _slice(dataset: Dataset) -> _Frame:
    place = dataset.get("ImagePositionPatient"), dataset.get("ImageOrientationPatient")
    return _Frame(*place, dataset.get("PixelSpacing"), *_stated_distance(dataset))


def _frame_groups(dataset: Dataset) -> list[Groups]:
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    return [(shared, item) for item in own]


def _macro(group: Groups, name: str) -> Dataset:
    for item in (group[1], group[0]):
        sequence = item.get(name)
        if sequence:
            return cast(Dataset, sequence[0])
    return Dataset()


def _frame(group: Groups, path: Path) -> _Frame:
    measures = _macro(group, "PixelMeasuresSequence")
    for where, position, how, orientation in _PLACES:
        place = _macro(group, where).get(position), _macro(group, how).get(orientation)
        if None not in place:
            return _Frame(*place, measures.get("PixelSpacing"), *_stated_distance(measures))
    raise _unplaced(path)


def _stated_distance(item: Dataset) -> tuple[Any, str]:
    """The distance of slices; their thickness stands for it where nothing else does."""
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        if item.get(name):
            return item.get(name), f"by {name}"
    return None, ""


def _unplaced(path: Path) -> InputError:
    return InputError("the DICOM file does not say where its slices lie", where=path, remedy=geometry.EXPORT_AGAIN)


def _moments(groups: list[Groups], tissue: list[int], path: Path) -> tuple[list[list[int]], tuple[float, ...] | None]:
    """The frames of each volume in the order of time, and when the volumes were taken, seconds."""
    offsets = [_macro(groups[n], "TemporalPositionSequence").get("TemporalPositionTimeOffset") for n in tissue]
    indices = [_macro(groups[n], "FrameContentSequence").get("TemporalPositionIndex") for n in tissue]
    timed = all(value is not None for value in offsets)
    stated = offsets if timed else indices
    if any(value is not None for value in (*offsets, *indices)) and None in stated:
        text = "it does not say of every slice to which volume in time it belongs"
        raise InputError(text, where=path, remedy=geometry.EXPORT_AGAIN)
    values = [0.0 if value is None else float(value) for value in stated]
    if not all(math.isfinite(value) for value in values):
        raise InputError("the times of its slices are no numbers", where=path, remedy=geometry.EXPORT_AGAIN)
    volumes: dict[float, list[int]] = {}
    for n, value in zip(tissue, values, strict=True):
        volumes.setdefault(value, []).append(n)
    counts = sorted({len(volume) for volume in volumes.values()})
    if len(counts) > 1:
        text = f"its volumes differ in their number of slices ({counts[0]} to {counts[-1]})"
        raise InputError(text, where=path, remedy="Export the volumes again")
    order = sorted(volumes)
    return [volumes[value] for value in order], increasing_times(order, len(order)) if timed else None


def _data_type(group: Groups) -> str:
    return str(_macro(group, "ImageDataTypeSequence").get("DataType", "") or "")


def _scale(item: Dataset) -> tuple[Any, Any]:
    return item.get("RescaleSlope"), item.get("RescaleIntercept")


def _rescaled_frames(dataset: Dataset, groups: list[Groups], pixels: NDArray[Any], path: Path) -> NDArray[Any]:
    scales = []
    for group in groups:
        slope, intercept = _scale(_macro(group, "PixelValueTransformationSequence"))
        scales.append(_scale(dataset) if slope is None and intercept is None else (slope, intercept))
    if all(scale == scales[0] for scale in scales):
        return rescaled(pixels, *scales[0], path)
    return np.stack([rescaled(p.astype(np.float32), *s, path) for p, s in zip(pixels, scales, strict=True)])


def _stack(frames: list[_Frame], path: Path) -> tuple[list[int], Matrix, list[str]]:
    """Order of the slices along their normal, the IJK-to-RAS matrix of the stack, and warnings."""
    if len(frames) < 2:
        text = "it holds a single slice, or slices each of another moment, and no volume"
        raise InputError(text, where=path, remedy=EXPORT_VOLUME)
    directions = np.array([_numbers(frame.orientation, 6, path) for frame in frames])
    axes, notes = geometry.orientation(directions[0].reshape(2, 3).T, path)
    if not np.allclose(directions, directions[0], rtol=0, atol=geometry.ROUNDED):
        text = "its slices are not parallel: their orientations differ"
        raise InputError(text, where=path, remedy="Export one volume")
    sizes = [geometry.spacing(_numbers(frame.spacing, 2, path, "the size of its pixels"), path) for frame in frames]
    geometry.check_equal("the size of the pixels", sizes, path)
    normal = np.cross(axes[:, 0], axes[:, 1])
    order, step, warnings = geometry.stack([_numbers(frame.position, 3, path) for frame in frames], normal, path)
    notes += warnings
    distance = float(np.linalg.norm(step))
    for frame in {(str(frame.distance), frame.stated_by): frame for frame in frames}.values():
        stated = (frame.distance, frame.stated_by)
        notes += geometry.reconcile(
            "the distance of the slices", (distance, "by their positions"), stated, tolerance=0.01
        )[1]
    matrix = np.eye(4)
    matrix[:3, 0] = axes[:, 0] * sizes[0][1]
    matrix[:3, 1] = axes[:, 1] * sizes[0][0]
    matrix[:3, 2] = step
    matrix[:3, 3] = geometry.position(_numbers(frames[order[0]].position, 3, path), path)
    check_matrix(matrix, str(path))
    return order, LPS_TO_RAS @ matrix, notes


def _numbers(value: Any, count: int, path: Path, what: str = "the place of its slices") -> NDArray[np.float64]:
    """`count` numbers of an attribute."""
    try:
        numbers = np.array([float(number) for number in value], dtype=float)
    except (TypeError, ValueError, OverflowError):
        numbers = np.empty(0)
    if numbers.shape != (count,):
        raise InputError(f"{what} is missing or not a number", where=path, remedy=geometry.EXPORT_AGAIN)
    return numbers
