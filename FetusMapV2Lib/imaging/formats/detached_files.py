"""The files beside a header that hold its voxels."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.file_inspection import bad_header
from FetusMapV2Lib.imaging.formats.header_fields import shown, whole

#: No volume is spread over more files.
_MOST_FILES, _LONGEST_NAME = 1 << 16, 4096
_PATTERN = re.compile(r"(?P<name>.*%0?\d{0,2}d.*?)\s+(?P<numbers>-?\d{1,9}(?:\s+-?\d{1,9}){2,3})", re.ASCII)


def data_file(header: Path, name: str) -> Path:
    """The file that a header names, looked for from the header's folder.

    Raises:
        InputError: it is missing, or no plain file.
    """
    where = header.parent
    try:
        # Headers written on Windows may separate folders by backslashes.
        found = next((path for path in (where / name, where / name.replace("\\", "/")) if path.exists()), None)
    except (OSError, ValueError):
        found = None
    if found is None:
        raise data_missing(header, name)
    if not found.is_file():
        raise InputError(
            f"its data file '{shown(name)}' is not a plain file", where=header,
            remedy="Keep header and data file together",
        )  # fmt: skip
    return found


def data_missing(header: Path, name: str) -> InputError:
    """The error for a header whose data file is not there."""
    return InputError(
        f"its data file '{shown(name)}' is missing", where=header, remedy="Keep header and data file together"
    )


def listed_files(header: Path, names: Sequence[str]) -> list[Path]:
    """The files that a header lists.

    Raises:
        InputError: none, too many, or one of them is missing.
    """
    if not 0 < len(names) <= _MOST_FILES:
        raise bad_header(header, f"it lists {len(names)} data files")
    return [data_file(header, name) for name in names]


def numbered_names(text: str, header: Path) -> tuple[list[str], int | None] | None:
    """Names such as ``slice%03d.raw 1 120 1``, and the fourth number if there is one; None for a plain name.

    Raises:
        InputError: numbers that give no names.
    """
    match = _PATTERN.fullmatch(text) if len(text) < _LONGEST_NAME else None
    if match is None:
        return None
    first, last, step, *rest = (whole(part) for part in match["numbers"].split())
    if step == 0 or not 0 <= (last - first) // step < _MOST_FILES:
        raise bad_header(header, "its data files are numbered in a way that gives none")
    before, width, after = re.split(r"%(0?\d{0,2})d", match["name"], maxsplit=1)
    form = f"{{:{width}d}}"
    names = [before + form.format(number) + after for number in range(first, last + (1 if step > 0 else -1), step)]
    return names, rest[0] if rest else None


def outside_note(header: Path, files: Sequence[Path]) -> list[str]:
    """A warning if voxels come from beyond the folder of the header."""
    folder = Path(os.path.normpath(header.parent.absolute()))
    for file in files:
        # By the path in the header: where the user's own links lead is not checked.
        if folder not in Path(os.path.normpath(file.absolute())).parents:
            return [f"its voxels were read from another folder ({shown(str(file), 200)}), as its header says"]
    return []
