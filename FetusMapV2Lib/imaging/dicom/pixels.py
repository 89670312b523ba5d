"""The grey values of DICOM frames: lengths and bits checked, any photometric interpretation, rescaled.

What pydicom can decode is decoded; everything else is refused, never shown as noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.dicom.fragments import fragments, stated_size
from FetusMapV2Lib.imaging.source import as_input_error
from FetusMapV2Lib.imaging.volume_checks import grey

try:
    from pydicom.pixels.processing import apply_color_lut
except ImportError:  # pydicom 2
    from pydicom.pixel_data_handlers.util import apply_color_lut  # type: ignore[no-redef]

_NEEDED = (
    "PhotometricInterpretation", "BitsAllocated", "BitsStored", "SamplesPerPixel", "PixelRepresentation", "Rows",
    "Columns",
)  # fmt: skip
_ONE_SAMPLE = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_HALVED_COLOUR = ("YBR_FULL_422", "YBR_PARTIAL_422")
# Bytes behind the pixels that are padding and not a sign of a wrong size.
_PADDING = 15
# A compressed frame may unpack to this many times its size, and to so many bytes in any case.
_MOST_TIMES, _LEAST_BYTES = 1100, 1 << 26
_UNCOMPRESSED = "Export it uncompressed (Explicit VR Little Endian)"
_AGAIN = "Export or copy it again"


@dataclass(frozen=True)
class _Layout:
    """How the pixels of a data set are stored (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    samples: int
    bits: int
    stored: int
    high: int
    signed: bool
    kind: str

    @property
    def frame_bytes(self) -> int:
        """Length of one uncompressed frame."""
        samples = 2 if self.kind in _HALVED_COLOUR else self.samples
        return self.rows * self.columns * samples * self.bits // 8


def grey_frames(dataset: Dataset, where: Any, *, frames: int) -> tuple[NDArray[Any], list[str]]:
    """All frames of a data set, [n, rows, columns], and warnings.

    Args:
        dataset: with its pixels.
        where: the file, for messages.
        frames: how many there must be.

    Raises:
        InputError: more or fewer, statements about the pixels that contradict each other, or a compression that
            cannot be read.
    """
    layout = _layout(dataset, where)
    if frames < 1 or not layout.rows * layout.columns or "PixelData" not in dataset:
        raise InputError("the file is truncated or damaged (it holds no pixels)", where=where, remedy=_AGAIN)
    compressed = _compressed(dataset, where)
    _check_length(dataset, layout, frames, compressed, where)
    dataset.NumberOfFrames = frames
    array = _decoded(dataset, layout, compressed, where)
    if array.size != frames * layout.rows * layout.columns * layout.samples:
        text = f"{frames} frames are stated, other pixels than theirs are there: {' x '.join(map(str, array.shape))}"
        raise InputError(f"the file is truncated or damaged ({text})", where=where, remedy=_AGAIN)
    array = array.reshape(frames, layout.rows, layout.columns, layout.samples)
    if layout.samples > 1:
        # pydicom 3 gives RGB for every colour space, pydicom 2 leaves luminance and chrominance as they are.
        luminance_first = layout.kind.startswith("YBR") and int(pydicom.__version__.split(".")[0]) < 3
        return (array[..., 0] if luminance_first else grey(array)), []
    values = array[..., 0]
    if layout.kind == "PALETTE COLOR":
        return grey(_coloured(dataset, values, where)), []
    values, notes = _used_bits(values, layout)
    return (_inverted(values, layout) if layout.kind == "MONOCHROME1" else values), notes


def rescaled(array: NDArray[Any], slope: Any, intercept: Any, where: Any) -> NDArray[Any]:
    """The values times `slope` plus `intercept` (PS3.3 C.11.1); None leaves them as they are.

    Raises:
        InputError: a slope or intercept that is no number, or a slope of 0.
    """
    factor = 1.0 if slope in (None, "") else float(slope)
    shift = 0.0 if intercept in (None, "") else float(intercept)
    if not (math.isfinite(factor) and math.isfinite(shift)) or factor == 0 or max(abs(factor), abs(shift)) > 1e9:
        text = f"the scale of its grey values is impossible (slope {factor:g}, intercept {shift:g})"
        raise InputError(text, where=where, remedy="Export the volume again")
    if (factor, shift) == (1.0, 0.0):
        return array
    return np.asarray(array * np.float32(factor) + np.float32(shift), dtype=np.float32)


def _layout(dataset: Dataset, where: Any) -> _Layout:
    missing = [name for name in _NEEDED if dataset.get(name) in (None, "")]
    if missing:
        text = f"the DICOM file does not say how its pixels are stored ({', '.join(missing)} missing)"
        raise InputError(text, where=where, remedy="Export the volume again")
    bits, stored, samples, sign, rows, columns = (_whole(dataset, name, where) for name in _NEEDED[1:])
    kind = str(dataset.PhotometricInterpretation)
    high = stored - 1 if dataset.get("HighBit") in (None, "") else _whole(dataset, "HighBit", where)
    contradiction = ""
    if samples != (1 if kind in _ONE_SAMPLE else 3):
        contradiction = f"{samples} samples per pixel, {kind}"
    elif bits not in (8, 16, 32) or (bits == 32 and samples > 1):
        contradiction = f"{bits} bits allocated"
    elif not 1 <= stored <= bits or not 0 <= high < bits:
        contradiction = f"{stored} bits stored and high bit {high} of {bits} bits allocated"
    elif sign not in (0, 1):
        contradiction = f"pixel representation {sign}"
    if contradiction:
        text = f"what it says of its pixels cannot be right ({contradiction})"
        raise InputError(text, where=where, remedy=_UNCOMPRESSED)
    return _Layout(rows, columns, samples, bits, stored, high, sign == 1, kind)


def _whole(dataset: Dataset, keyword: str, where: Any) -> int:
    value = dataset.get(keyword)
    if not isinstance(value, int):
        raise InputError(f"{keyword} is not a number ({value})", where=where, remedy="Export the volume again")
    return int(value)


def _compressed(dataset: Dataset, where: Any) -> bool:
    syntax = dataset.file_meta.TransferSyntaxUID
    compressed = bool(syntax.is_compressed) if syntax.is_transfer_syntax else True
    if dataset["PixelData"].is_undefined_length and not compressed:
        text = "its pixels are compressed, but it does not say how"
        raise InputError(text, where=where, remedy=_UNCOMPRESSED)
    return compressed


def _check_length(dataset: Dataset, layout: _Layout, frames: int, compressed: bool, where: Any) -> None:
    held, needed = len(dataset.PixelData), layout.frame_bytes * frames
    problem = ""
    if compressed:
        sizes = [stated_size(fragment) for fragment in fragments(dataset.PixelData)]
        others = [f"{size[1]} x {size[0]}" for size in sizes if size and size != (layout.rows, layout.columns)]
        if len(sizes) < frames:
            problem = f"{frames} frames are stated, {len(sizes)} are there"
        elif others:
            problem = f"frames of {layout.columns} x {layout.rows} pixels are stated, of {others[0]} there"
        elif needed > max(_MOST_TIMES * held, _LEAST_BYTES):
            problem = f"{held} bytes of compressed pixels cannot be {frames} frames"
    elif not needed <= held <= needed + _PADDING:
        problem = f"{frames} frames of {layout.columns} x {layout.rows} pixels need {needed} bytes, it holds {held}"
    if problem:
        raise InputError(f"the file is truncated or damaged ({problem})", where=where, remedy=_AGAIN)


def _decoded(dataset: Dataset, layout: _Layout, compressed: bool, where: Any) -> NDArray[Any]:
    if not compressed:
        little = dataset.file_meta.TransferSyntaxUID.is_little_endian
        if little and layout.samples == 1:
            # pydicom would clear the unused bits without a warning, also where they are used
            kind = f"<{'i' if layout.signed else 'u'}{layout.bits // 8}"
            return np.frombuffer(dataset.PixelData, kind, dataset.NumberOfFrames * layout.rows * layout.columns)
        return np.asarray(dataset.pixel_array)
    try:
        # A missing decoder gives the same message as damage: the libraries do not distinguish them.
        with as_input_error(where):
            return np.asarray(dataset.pixel_array)
    except InputError as error:
        name = dataset.file_meta.TransferSyntaxUID.name
        text = f"its pixels are compressed ({name}) and cannot be unpacked: not supported here, or damaged"
        raise InputError(text, where=where, remedy=_UNCOMPRESSED) from error.__cause__


def _used_bits(values: NDArray[Any], layout: _Layout) -> tuple[NDArray[Any], list[str]]:
    """The values, with a warning where they need more bits than are stated, or others."""
    unused = layout.bits - layout.stored
    if layout.high != layout.stored - 1:
        text = f"{layout.stored} bits are stored but the high bit is {layout.high}"
        return values, [f"what the file says of its grey values is contradictory ({text}); all bits were used"]
    if unused == 0 or _fits(values, layout):
        return values, []
    if layout.signed and values.min() >= 0 and values.max() < 2**layout.stored:
        # the sign is in the highest bit that is used
        return np.asarray(values << unused) >> unused, []
    text = f"{layout.stored} bits are stated but {values.min()} to {values.max()} were found"
    return values, [f"grey values need more bits than the file states ({text}); all bits were used"]


def _fits(values: NDArray[Any], layout: _Layout) -> bool:
    low = -(2 ** (layout.stored - 1)) if layout.signed else 0
    return bool(low <= values.min() and values.max() < low + 2**layout.stored)


def _inverted(values: NDArray[Any], layout: _Layout) -> NDArray[Any]:
    """The values inverted: in MONOCHROME1 the lowest is white."""
    if layout.signed:
        return np.asarray(np.invert(values))
    top = 2 ** (layout.stored if _fits(values, layout) else layout.bits) - 1
    return np.asarray(values.dtype.type(top) - values)


def _coloured(dataset: Dataset, values: NDArray[Any], where: Any) -> NDArray[Any]:
    """The colours of a palette's indices, [..., 3]."""
    for colour in ("Red", "Green", "Blue"):
        descriptor = dataset.get(f"{colour}PaletteColorLookupTableDescriptor")
        table = dataset.get(f"{colour}PaletteColorLookupTableData")
        numbers = [int(number) for number in descriptor] if descriptor is not None else []
        entries = (numbers[0] or 1 << 16) if len(numbers) == 3 else 0
        whole = isinstance(table, bytes) and numbers[2:] in ([8], [16]) and entries > 0
        if not whole or len(table) < entries * (numbers[2] // 8) or len(table) > entries * 2 + 1:
            text = "its grey values are indices of a palette that is missing or damaged"
            raise InputError(text, where=where, remedy="Export the volume again as grey values (MONOCHROME2)")
    return np.asarray(apply_color_lut(values, dataset))
