"""What the results of a file are called: after it, or by a number that tells nothing of the patient.

Which number is which file stands in a key beside the folder of results, never in it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from FetusMapV2Lib.core.atomic_files import REPLACE, atomic_write
from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.core.locks import locked
from FetusMapV2Lib.core.manifests import read_manifest

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.estimate import Estimate

_HEAD = ["name", "file"]
_NUMBERED = re.compile(r"case-([0-9]{4,9})")
_LARGEST_KEY = 64 * 2**20
#: Bytes at either end of a file that are looked at.
_END = 2**16
#: A shorter name may be a word of a sentence, and tells nobody from another.
_SHORTEST_NAME = 3
_REMEDY = "Correct it, or name another one with --key"


class NeutralNames:
    """Numbered names for the files of a run, the same for the same file in every run.

    Args:
        output: the folder of results.
        key: where it is noted which name is which file; by custom ``FOLDER.key.csv`` beside the folder.

    Raises:
        OutputError: the key would lie among the results, or cannot be read.
    """

    def __init__(self, output: Path, key: Path | None = None) -> None:
        folder = output.resolve()
        self.key = key or folder.with_name(f"{folder.name or 'results'}.key.csv")
        self._output = folder
        if self.key.resolve().is_relative_to(folder):
            problem = "the key to the patients would lie among the results that do not name them"
            raise OutputError(problem, where=self.key, remedy="Name a file elsewhere with --key")
        _read(self.key)

    def name_of(self, file: Path) -> str:
        """The name of a file's results, noted in the key before it is used.

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
        """``case-0001``, or the first number above those that are taken."""
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
        raise OutputError("this is no key to numbered results", where=key, remedy=_REMEDY)
    known = {place: name for name, place in rows[1:]}
    if len(known) < len(rows) - 1 or len(set(known.values())) < len(known):
        raise OutputError("the key names a file or a result twice", where=key, remedy=_REMEDY)
    if not all(map(_NUMBERED.fullmatch, known.values())):
        raise OutputError("the key holds a name that is no number of a case", where=key, remedy=_REMEDY)
    return known


def _write(key: Path, known: dict[str, str]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_HEAD, *([name, place] for place, name in known.items())])
    with atomic_write(key, private=True) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", errors="surrogateescape", newline="\n")


def origin_of(file: Path) -> str:
    """What tells a file, or a folder of files, from another one of the same name: sizes, and what is at both ends."""
    digest = hashlib.sha256()
    for one in sorted(file.iterdir()) if file.is_dir() else [file]:
        if one.is_file():
            size = one.stat().st_size
            digest.update(f"{size} ".encode())
            with one.open("rb") as stream:
                digest.update(stream.read(_END))
                stream.seek(max(size - _END, 0))
                digest.update(stream.read(_END))
    return digest.hexdigest()


def refuse_others(folder: Path, name: str, file: Path) -> None:
    """Refuse to take the results of another file for those of this one.

    Raises:
        OutputError: they are of another file, or it has changed.
    """
    manifest = read_manifest(folder, name)
    if manifest is not None and manifest.origin not in ("", origin_of(file)):
        problem = f"the results in {folder} are of another file of this name, or this one has changed since"
        raise OutputError(problem, where=file, remedy=REPLACE, option="--overwrite")


def untold(estimate: Estimate, source: Path, name: str) -> Estimate:
    """The estimate with a neutral name wherever a reason or a warning tells that of the file."""

    def plain(text: str) -> str:
        for known in (str(source.absolute()), str(source), source.name):
            text = text.replace(known, name)
        stem = source.name.split(".")[0]
        if len(stem) >= _SHORTEST_NAME:
            text = re.sub(rf"(?<!\w){re.escape(stem)}(?!\w)", name, text)
        return text

    return replace(estimate, reason=plain(estimate.reason), warnings=tuple(map(plain, estimate.warnings)))
