"""Names of the results of a file: after the file, or by a number that does not identify the patient.

A key beside the folder of results, never in it, says which number is which file.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from FetusMapV2Lib.core.atomic_files import REPLACE, atomic_write
from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.core.locks import locked
from FetusMapV2Lib.core.manifests import read_manifest, source_fingerprint

_HEAD = ["name", "file"]
_NUMBERED = re.compile(r"case-([0-9]{4,9})")
_LARGEST_KEY = 64 * 2**20
_REMEDY = "Correct it, or name another one with --key"


class NeutralNames:
    """Numbered names for the files of a run, the same for the same file in every run.

    Args:
        output: the folder of results.
        key: the file that says which name is which file; default ``FOLDER.key.csv`` beside the folder.

    Raises:
        OutputError: the key would be among the results, or cannot be read.
    """

    def __init__(self, output: Path, key: Path | None = None) -> None:
        folder = output.resolve()
        self.key = key or folder.with_name(f"{folder.name or 'results'}.key.csv")
        self._output = folder
        if self.key.resolve().is_relative_to(folder):
            problem = "the key to the patients would be among the results that do not name them"
            raise OutputError(problem, where=self.key, remedy="Name a file elsewhere with --key")
        _read(self.key)

    def name_of(self, file: Path) -> str:
        """The name of a file's results, written to the key before it is used.

        Raises:
            OutputError: the key cannot be read or written.
        """
        place = os.path.normcase(file.absolute())
        lock = self.key.with_name(f".{self.key.name}.lock")
        with locked(lock, "the key", wait_s=60.0, remedy="Wait for the end of the other run"):
            known = _read(self.key)
            if place not in known:
                known[place] = self._next(known.values())
                _write(self.key, known)
        return known[place]

    def _next(self, names: Iterable[str]) -> str:
        """``case-0001``, or the first number above those in use."""
        there = (path.name.split(".")[0] for path in self._output.glob("case-*"))
        numbers = [int(found[1]) for name in (*names, *there) if (found := _NUMBERED.match(name))]
        return f"case-{max(numbers, default=0) + 1:04d}"


def _read(key: Path) -> dict[str, str]:
    """Place of a file -> name of its results."""
    try:
        with key.open("rb") as stream:
            content = stream.read(_LARGEST_KEY + 1)
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig", "surrogateescape"), newline="")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, csv.Error) as error:
        raise OutputError(f"the key cannot be read ({error})", where=key, remedy=_REMEDY) from None
    if len(content) > _LARGEST_KEY or not rows or rows[0] != _HEAD or any(len(row) != 2 for row in rows):
        raise OutputError("this is not a key to numbered results", where=key, remedy=_REMEDY)
    known = {place: name for name, place in rows[1:]}
    if len(known) < len(rows) - 1 or len(set(known.values())) < len(known):
        raise OutputError("the key names a file or a result twice", where=key, remedy=_REMEDY)
    if not all(map(_NUMBERED.fullmatch, known.values())):
        raise OutputError("the key holds a name that is not a numbered case", where=key, remedy=_REMEDY)
    return known


def _write(key: Path, known: dict[str, str]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_HEAD, *([name, place] for place, name in known.items())])
    with atomic_write(key, private=True) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", errors="surrogateescape", newline="\n")


def reserve_names(path: Path, stems: Sequence[str], taken: dict[str, Path]) -> None:
    """Reserve the names of the results of a file among those of this run.

    Args:
        path: the file.
        stems: the names.
        taken: name, folded -> the file that has it; these names are added.

    Raises:
        OutputError: another file of this run has one of them.
    """
    folded = [stem.casefold() for stem in stems]  # not every file system tells A from a
    for other in filter(None, map(taken.get, folded)):
        remedy = "Give files of the same name different output folders"
        raise OutputError(f"its results would have the names of those of {other}", where=path, remedy=remedy)
    taken |= dict.fromkeys(folded, path)


def refuse_others(folder: Path, name: str, file: Path) -> None:
    """Refuse existing results that belong to another file than this one.

    Raises:
        OutputError: they belong to another file, or this one has changed since.
    """
    manifest = read_manifest(folder, name)
    if manifest is not None and manifest.source not in ("", source_fingerprint(file)):
        problem = f"the results in {folder} are of another file of this name, or this one has changed since"
        raise OutputError(problem, where=file, remedy=REPLACE, option="--overwrite")
