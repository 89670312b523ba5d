"""The lines of a text header (NRRD, MetaImage) and the numbers in them, read strictly and whatever the locale."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from FetusMapV2Lib.imaging.file_inspection import BOM, bad_header

#: Most bytes and lines of a header, and characters of a number.
_LONGEST_HEADER, _MOST_LINES, _LONGEST_NUMBER = 1 << 24, 1 << 18, 64
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_NO_NUMBER = re.compile(r"[+-]?(nan|inf)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)


def header_lines(stream: IO[bytes], path: Path) -> Iterator[str]:
    """The lines of a header from the beginning of a file, without their ends; the caller stops at the last one.

    Raises:
        InputError: longer than any header.
    """
    if stream.read(len(BOM)) != BOM:
        stream.seek(0)
    lines = total = 0
    while raw := stream.readline(_LONGEST_HEADER + 1):
        lines, total = lines + 1, total + len(raw)
        if total > _LONGEST_HEADER or lines > _MOST_LINES:
            raise bad_header(path, "it has no end")
        # Bytes that are no UTF-8 may be part of a file name.
        yield raw.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "surrogateescape")


def check_plain(name: str, value: str, path: Path) -> None:
    """Raise `InputError` if a field's value has a control character: what it replaced is lost."""
    if _CONTROL.search(value):
        raise bad_header(path, f"a control character stands in {name}")


def number(text: str) -> float:
    """A finite decimal number, `ValueError` for anything else."""
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not a number")
    return value


def whole(text: str) -> int:
    """A whole number, `ValueError` for anything else."""
    if not _WHOLE.fullmatch(text):
        raise ValueError("not a whole number")
    return int(text)


def any_numbers(text: str) -> list[float]:
    """Numbers between spaces, any of which may be NaN or infinite, for the caller to judge."""
    return [float(part) if _NO_NUMBER.fullmatch(part) else number(part) for part in text.split()]


def shown(text: str, most: int = 40) -> str:
    """The beginning of a header's text as a message may show it: printable and short."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in text[: most + 1])
    return plain if len(plain) <= most else plain[: most - 3] + "..."
