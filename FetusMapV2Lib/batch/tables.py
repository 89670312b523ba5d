"""The one table over all cases of a batch, as CSV and, where pyarrow is installed, as Parquet."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from FetusMapV2Lib.batch.journal import Record
from FetusMapV2Lib.batch.rows import COLUMNS
from FetusMapV2Lib.core.atomic_files import atomic_write

_TEXTS = ("case", "file", "outcome", "reason", "warnings", "device", "model", "software")
_COUNTS = ("frames", "doubtful_landmarks", "missing_landmarks")
#: Rows of a group of a Parquet file; so many are in memory at a time.
_GROUP = 20_000


def write_csv_table(path: Path, records: Iterable[Record], *, private: bool = True) -> None:
    """Write the table as CSV with a header.

    Raises:
        OutputError: it cannot be written.
    """
    with atomic_write(path, private=private) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for values in map(_values, records):
            writer.writerow("" if value is None else value for value in values)


def write_parquet_table(path: Path, records: Iterable[Record], *, private: bool = True) -> bool:
    """Write the table as Parquet; returns False, and writes nothing, without pyarrow.

    Raises:
        OutputError: it cannot be written.
    """
    if find_spec("pyarrow") is None:
        return False
    import pyarrow
    from pyarrow import parquet

    kinds = {name: pyarrow.string() for name in _TEXTS} | {name: pyarrow.int32() for name in _COUNTS}
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.float64())) for name in COLUMNS])
    with atomic_write(path, private=private) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for group in _groups(map(_values, records)):
            columns = zip(schema, zip(*group, strict=True), strict=True)
            arrays = [pyarrow.array(column, type=kind.type) for kind, column in columns]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
    return True


def _values(record: Record) -> list[Any]:
    reason = record.get("problem") or record["row"].get("reason", "")
    row = {**record["row"], "case": record["case"], "outcome": record["outcome"], "reason": reason}
    return [_plain(row.get(name)) for name in COLUMNS]


def _plain(value: Any) -> Any:
    """Text that every file can hold: bytes of a file name that are no text become a question mark."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def _groups(rows: Iterator[list[Any]]) -> Iterator[list[list[Any]]]:
    while group := list(itertools.islice(rows, _GROUP)):
        yield group
