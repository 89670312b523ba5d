"""`Source`: an opened file whose frames are loaded one at a time.

Every reader returns one; `reading` turns it into checked volumes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.core.errors import Cancelled, InputError, OutputError, UserError
from FetusMapV2Lib.imaging.volume import Matrix

#: Seconds of the units in which the times of frames are given.
SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3, "us": 1e-6, "min": 60.0}


@dataclass(frozen=True)
class Source:
    """An opened volume file.

    Attributes:
        count: number of frames (volumes over time).
        load: returns the array [k, j, i] and the IJK-to-RAS matrix of a frame, numbered from 0.
        spacing_known: whether the file states a voxel size.
        notes: what the user should know about the file.
        times_s: when each frame was taken, seconds, increasing; None if the file does not say.
        remarks: further notes, added while frames are loaded.
    """

    count: int
    load: Callable[[int], tuple[NDArray[Any], Matrix]]
    spacing_known: bool = True
    notes: tuple[str, ...] = ()
    times_s: tuple[float, ...] | None = None
    remarks: list[str] = field(default_factory=list)


def increasing_times(times: Iterable[float], count: int) -> tuple[float, ...] | None:
    """The times of `count` frames if they are finite and strictly increasing; None otherwise."""
    values = np.array(list(times), dtype=float)
    usable = len(values) == count and np.isfinite(values).all() and (np.diff(values) > 0).all()
    return tuple(float(value) for value in values) if usable and count > 1 else None


@contextlib.contextmanager
def as_input_error(where: str | os.PathLike[str]) -> Iterator[None]:
    """Turn any exception of a library that reads a file into an `InputError` of one line; its warnings are suppressed.

    Parsers raise errors of any kind on damaged files, so that no list of kinds would be complete.

    Raises:
        InputError: in place of any other error.
    """
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    except (UserError, Cancelled):
        raise
    except MemoryError as error:
        remedy = "Export or copy it again; if it is whole, use a machine with more memory"
        raise InputError("the file is damaged or too large for the memory", where=where, remedy=remedy) from error
    except OSError as error:
        remedy = "Check the path and your permission to read it"
        raise InputError(f"cannot be read ({error.strerror or 'damaged'})", where=where, remedy=remedy) from error
    except Exception as error:
        remedy = "Export or copy it again"
        raise InputError("the file is truncated or damaged", where=where, remedy=remedy) from error


@contextlib.contextmanager
def ascii_path(path: Path, *, needed: bool = os.name == "nt", written: bool = False) -> Iterator[str]:
    """A path of the file that C++ code can open: on Windows it knows the characters of one code page only.

    A file with another name is replaced by a temporary file: a copy of it, or the file that is copied to it in the end.

    Args:
        path: of the file.
        needed: whether characters other than ASCII are a problem.
        written: the file is to be written, not read.

    Raises:
        OutputError: no folder for temporary files has an ASCII name.
    """
    if not needed or str(path).isascii():
        yield str(path)
        return
    with tempfile.TemporaryDirectory(dir=_ascii_folder()) as folder:
        other = Path(folder, "volume" + "".join(part for part in path.suffixes[-2:] if part.isascii()))
        if not written:
            shutil.copyfile(path, other)
        yield str(other)
        if written:
            shutil.copyfile(other, path)


def _ascii_folder() -> str:
    """A folder for temporary files with an ASCII name: the usual one may contain the user's name."""
    system = [os.environ.get(name, "") for name in ("PROGRAMDATA", "PUBLIC")]
    for folder in (tempfile.gettempdir(), *system, "/tmp", "/var/tmp", str(Path.cwd())):
        if folder and folder.isascii() and Path(folder).is_dir() and os.access(folder, os.W_OK):
            return folder
    raise OutputError(
        "no folder for temporary files has a name of plain letters and may be written to",
        where=tempfile.gettempdir(), remedy="Set the environment variable TEMP to one that has",
    )  # fmt: skip
