"""The cases of a batch: found in files, folders, patterns, lists and tables, and shared out among computers."""

from __future__ import annotations

import csv
import glob
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from FetusMapV2Lib.core.atomic_files import safe_stem
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.case_search import VOLUME_SUFFIXES
from FetusMapV2Lib.imaging.file_inspection import dicom_files
from FetusMapV2Lib.imaging.reading import volume_name

_LISTS, _TABLES = (".txt", ".lst"), (".csv",)
_DICOM_SUFFIXES = (".dcm", ".ima")
_COLUMNS = ("path", "name", "spacing", "mirrored")
_YES, _NO = ("1", "true", "yes"), ("", "0", "false", "no")


@dataclass(frozen=True)
class BatchCase:
    """One volume of a batch, or one sequence of volumes.

    Attributes:
        path: of the file, or of the folder of DICOM slices.
        name: the beginning of the names of its results.
        folder: for its results, below that of the batch, with "/"; "" = that folder itself.
        spacing_mm: in place of the file's, (i, j, k); None = as the file says.
        mirrored: the device mirrors its exports.
    """

    path: Path
    name: str
    folder: str = ""
    spacing_mm: tuple[float, float, float] | None = None
    mirrored: bool = False

    @property
    def key(self) -> str:
        """What identifies it in its batch."""
        return f"{self.folder}/{self.name}" if self.folder else self.name


@dataclass
class FoundCases:
    """The cases of a batch, and what was left out of it.

    Attributes:
        cases: in the order in which they were given; folders by name.
        refused: (path, reason) of what cannot be a case.
    """

    cases: list[BatchCase] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


def find_batch_cases(
    inputs: Sequence[str], *, standard_input: TextIO | None = None, leave_out: Path | None = None
) -> FoundCases:
    """The cases that are named by the inputs of a batch.

    An input is a volume, a folder that is searched at all depths, a pattern, a text file with one path in each line, a
    CSV table with the column ``path`` and perhaps ``name``, ``spacing`` (mm: one number or I J K) and ``mirrored``, or
    ``-``: paths from standard input, one in each line. Paths in a list or table are relative to it.

    Args:
        inputs: as the user gave them.
        standard_input: where ``-`` reads from.
        leave_out: a folder that is not searched, such as that of the results.

    Raises:
        InputError: a list or table cannot be read, or a pattern matches nothing.
    """
    found = FoundCases()
    taken: dict[str, Path] = {}
    for case in _cases(inputs, standard_input, leave_out):
        key = case.key.casefold()  # some file systems do not distinguish A and a
        other = taken.setdefault(key, case.path)
        if other is case.path:
            found.cases.append(case)
        elif other.absolute() != case.path.absolute():
            problem = f"its results would have the names of those of {other}; name them in a table"
            found.refused.append((str(case.path), problem))
    return found


def shard_of(cases: Iterable[BatchCase], number: int, count: int) -> list[BatchCase]:
    """The cases of one of several computers.

    The name of a case alone decides, so that computers that start at different times never share a case, whatever was
    added in between.

    Args:
        cases: of the whole batch.
        number: of the shard, from 1.
        count: of all shards.
    """
    return [case for case in cases if zlib.crc32(case.key.encode("utf-8", "surrogatepass")) % count == number - 1]


def _cases(inputs: Sequence[str], standard_input: TextIO | None, leave_out: Path | None) -> Iterator[BatchCase]:
    for text in inputs:
        path = Path(text)
        if text == "-" and standard_input is not None:
            yield from (_case(Path(line)) for line in _lines(standard_input))
        elif path.is_dir():
            yield from _in_folder(path, leave_out)
        elif path.suffix.lower() in _LISTS:
            yield from (_case(path.parent / line) for line in _lines_of(path))
        elif path.suffix.lower() in _TABLES:
            yield from _in_table(path)
        elif any(sign in text for sign in "*?[") and not os.path.lexists(path):
            matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - keeps paths as written
            if not matches:
                raise InputError("no file matches this pattern", where=text, remedy="Name volumes that exist")
            yield from _cases(matches, None, leave_out)
        else:
            yield _case(path)


def _case(path: Path, folder: str = "") -> BatchCase:
    return BatchCase(path, volume_name(path), folder)


def _in_folder(root: Path, leave_out: Path | None) -> Iterator[BatchCase]:
    """The volumes of a folder; results go to the same places below the folder of results."""
    outside = None if leave_out is None else leave_out.resolve()
    for place, folders, files in os.walk(root):
        folder = Path(place)
        folders[:] = sorted(one for one in folders if not one.startswith(".") and (folder / one).resolve() != outside)
        below = folder.relative_to(root).as_posix().removeprefix(".")
        named = [folder / name for name in sorted(files) if _is_volume(name)]
        yield from (_case(path, below) for path in named)
        yield from _dicom_cases(folder, below, bool(named))


def _is_volume(name: str) -> bool:
    lower = name.lower()
    return not name.startswith(".") and lower.endswith(VOLUME_SUFFIXES) and not lower.endswith(_DICOM_SUFFIXES)


def _dicom_cases(folder: Path, below: str, beside_others: bool) -> Iterator[BatchCase]:
    """DICOM files: each with all slices of its volume is a case, the others of a folder together are one."""
    files = dicom_files(folder)
    if not files:
        return
    from FetusMapV2Lib.imaging.dicom.opening import is_whole_volume  # loads pydicom

    whole = [file for file in files if is_whole_volume(file)]
    yield from (_case(file, below) for file in whole)
    if len(whole) < len(files) and not whole and not beside_others:
        above, _, name = below.rpartition("/")
        yield BatchCase(folder, name or safe_stem(folder.resolve().name), above)


def _lines_of(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig") as stream:
            return list(_lines(stream))
    except (OSError, ValueError) as error:
        problem = f"the list cannot be read ({getattr(error, 'strerror', None) or error})"
        raise InputError(problem, where=path, remedy="Write one path in each line, as UTF-8") from error


def _lines(stream: Iterable[str]) -> Iterator[str]:
    for line in stream:
        text = line.strip("\r\n")
        if text.strip() and not text.startswith("#"):
            yield text


def _in_table(path: Path) -> Iterator[BatchCase]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            columns = [name or "" for name in reader.fieldnames or ()]
            rows = list(reader)
    except (OSError, ValueError, csv.Error) as error:
        problem = f"the table cannot be read ({getattr(error, 'strerror', None) or error})"
        raise InputError(problem, where=path, remedy="Write it as CSV in UTF-8") from error
    unknown = [name for name in columns if name not in _COLUMNS]
    if "path" not in columns or unknown:
        problem = f"the table has an unknown column '{unknown[0]}'" if unknown else "the table has no column 'path'"
        raise InputError(problem, where=path, remedy=f"Columns are: {', '.join(_COLUMNS)}")
    for number, row in enumerate(rows, start=2):
        yield _row_case(row, path, number)


def _row_case(row: dict[str, str], table: Path, number: int) -> BatchCase:
    where = f"{table}, line {number}"
    values = {name: (row.get(name) or "").strip() for name in _COLUMNS}
    if not values["path"]:
        raise InputError("no path", where=where, remedy="Name a volume, or remove the line")
    path = table.parent / values["path"]
    name = values["name"] or volume_name(path)
    if name != safe_stem(name):
        raise InputError(f"'{name}' cannot be the name of a file", where=where, remedy="Use letters, digits, - and _")
    mirrored = values["mirrored"].lower()
    if mirrored not in (*_YES, *_NO):
        raise InputError(f"'{mirrored}' is neither yes nor no", where=where, remedy="Write yes or no")
    return BatchCase(path, name, "", _spacing(values["spacing"], where), mirrored in _YES)


def _spacing(text: str, where: str) -> tuple[float, float, float] | None:
    if not text:
        return None
    try:
        numbers = [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    numbers = numbers * 3 if len(numbers) == 1 else numbers
    if len(numbers) != 3 or not all(0 < number < 100 for number in numbers):
        raise InputError(f"'{text}' is no spacing", where=where, remedy="Write one number or three, in mm")
    return numbers[0], numbers[1], numbers[2]
