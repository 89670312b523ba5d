"""Voxels written as text: decimal numbers, or the hexadecimal digits of their bytes."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from FetusMapV2Lib.imaging.file_inspection import bad_header, truncated

#: Most characters of one value and its separator.
_LONGEST_VALUE = 64


def text_values(path: Path, start: int, hexadecimal: bool, length: int, kind: np.dtype) -> tuple[bytes, int]:
    """The bytes of voxels of type `kind` written as text from `start` on, and the number of bytes beyond `length`.

    Raises:
        InputError: too few values, or text that is not a value of the type.
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
        # Older versions of numpy only warn of text that they cannot parse to its end.
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
