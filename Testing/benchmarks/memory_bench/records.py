"""Rows of a benchmark on disk: one JSON file each, written whole, so that a cut costs one row."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from FetusMapV2Lib.core.atomic_files import write_json

Row = dict[str, Any]


class Records:
    """The rows of one part of the benchmark.

    Args:
        folder: where they lie.
        seconds: time for rows that are not there yet; when it is used up, the rest is left for the next call.
    """

    def __init__(self, folder: Path, seconds: float = float("inf")) -> None:
        self.folder = folder
        self._end = time.monotonic() + seconds

    @property
    def time_left(self) -> bool:
        """Whether more may be measured in this call."""
        return time.monotonic() <= self._end

    def row(self, name: str, measure: Callable[[], Row]) -> Row | None:
        """The row of this name: read, or measured and written; None when there is no time left for it."""
        path = self.folder / f"{name}.json"
        if path.exists():
            stored: Row = json.loads(path.read_text(encoding="utf-8"))
            return stored
        if not self.time_left:
            print(f"{name}: no time left, call again", flush=True)
            return None
        started = time.monotonic()
        row = measure()
        row["seconds_to_measure"] = round(time.monotonic() - started, 1)
        row["torch"] = torch.__version__
        write_json(path, row)
        print(f"{name}: {row['seconds_to_measure']} s", flush=True)
        return row


def markdown(header: list[str], lines: list[list[str]]) -> str:
    """A table; the first column is text, the others are numbers."""
    rule = ["---", *["--:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *lines)) + "\n"


def put_between_markers(page: Path, name: str, table: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->`` of a page."""
    text = page.read_text(encoding="utf-8")
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if start not in text or end not in text:
        raise ValueError(f"{page} has no place for the table {name!r}")
    before, rest = text.split(start, 1)
    _, after = rest.split(end, 1)
    page.write_text(f"{before}{start}\n{table}{end}{after}", encoding="utf-8", newline="\n")


def size_name(size: tuple[int, int, int]) -> str:
    """176x112x112."""
    return "x".join(str(n) for n in size)
