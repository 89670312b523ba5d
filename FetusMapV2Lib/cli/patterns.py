"""Patterns such as ``*.nrrd`` among the files of a command: those that the shell has left as they are."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

_SIGNS = "*?["


def expanded(files: Sequence[str]) -> list[str]:
    """The files of a command with its patterns replaced by what they match, in the order of names.

    A file whose name looks like a pattern counts as itself. A pattern that nothing matches stays as it is.
    """
    found: list[str] = []
    for file in files:
        is_pattern = any(sign in file for sign in _SIGNS) and not os.path.lexists(file)
        matches = sorted(glob.glob(file, recursive=True)) if is_pattern else []  # noqa: PTH207 - keeps paths as written
        found += matches or [file]
    return found
