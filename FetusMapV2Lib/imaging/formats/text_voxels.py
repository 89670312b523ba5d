"""Voxels that a file spells out as text: decimal numbers, or the hexadecimal digits of their bytes."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from FetusMapV2Lib.imaging.file_inspection import bad_header, truncated

#: Letters that one value takes at most, with what is between it and the next.
_LONGEST_VALUE = 64


def spelled_values(path: Path, start: int, hexadecimal: bool, length: int, kind: np.dtype) -> tuple[bytes, int]:
    """The bytes of voxels of type `kind` spelled out from `start` on, and how many bytes more are spelled out.

    Raises:
        InputError: too few, or anything that is no value of the type.
    """
    with path.open("rb") as stream:
        stream.seek(start)
        text = stream.read(length * _LONGEST_VALUE + 1)
    if len(text) > length * _LONGEST_VALUE:
        raise bad_header(path, "more text than its voxels need")
    try:
        data = bytes.fromhex(text.decode("ascii")) if hexadecimal else _decimal(text, kind).tobytes()
    except (ValueError, OverflowError):
        raise bad_header(path, "its voxels are not numbers of the type it states") from None
    if len(data) < length:
        raise truncated(path)
    return data[:length], len(data) - length


def _decimal(text: bytes, kind: np.dtype) -> np.ndarray:
    exact = kind.kind in "iu" and kind.itemsize == 8
    with warnings.catch_warnings():
        # Where the text cannot be read to its end, older versions of numpy only warn.
        warnings.simplefilter("error")
        try:
            values = np.fromstring(text.decode("ascii"), kind if exact else np.float64, sep=" ")
        except DeprecationWarning:
            raise ValueError("not numbers") from None
    if kind.kind in "iu" and not exact:
        limits = np.iinfo(kind)
        fine = np.isfinite(values) & (values == np.rint(values)) & (values >= limits.min) & (values <= limits.max)
        if not fine.all():
            raise ValueError("not of the type")
    return values.astype(kind)
