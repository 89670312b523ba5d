"""Writing files whole or not at all, on every operating system.

A file is written under a temporary name in its own folder, flushed, and renamed over the target.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from FetusMapV2Lib.foundation.errors import OutputError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise `OutputError` if `path` exists and may not be overwritten."""
    if path.exists() and not overwrite:
        remedy = "Choose another place, or let it be replaced"
        raise OutputError("the output exists already", where=path, remedy=remedy, option="--overwrite")


@contextlib.contextmanager
def written_whole(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[Path]:
    """Give a temporary path to write to; on success it becomes `path`, on failure nothing is left.

    The temporary name keeps all suffixes of the target, so that writers which look at the suffix
    (SimpleITK, MRML storage nodes) work unchanged.

    Raises:
        OutputError: the target exists and `overwrite` is false, the folder cannot be written, or the disk is full.
    """
    target = Path(path)
    refuse_existing(target, overwrite)
    temporary = target.with_name(f".{secrets.token_hex(4)}-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise output_error(error, target) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def output_error(error: OSError, target: Path) -> OutputError:
    """The clear form of an operating-system error met while writing `target`."""
    if error.errno in _DISK_FULL:
        return OutputError("the disk is full", where=target, remedy="Free some space or write elsewhere")
    if isinstance(error, PermissionError):
        return OutputError("no permission to write here", where=target, remedy="Choose a folder you may write to")
    return OutputError(f"cannot be written ({error.strerror or error})", where=target)


def safe_stem(name: str, default: str = "case") -> str:
    """A name that every operating system takes for a file: what one of them forbids becomes an underscore."""
    plain = re.sub(r'[<>:"/\\|?*\x00-\x1f]+', "_", name).strip(" .")
    reserved = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", plain, re.IGNORECASE)
    return f"_{plain}" if reserved else plain or default


def write_text(path: str | os.PathLike[str], text: str, *, overwrite: bool = True) -> None:
    """Write UTF-8 text whole or not at all."""
    with written_whole(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], data: Any, *, overwrite: bool = True) -> None:
    """Write strict JSON (no NaN) whole or not at all."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n", overwrite=overwrite)


def usable_folder(folder: Path) -> Path:
    """The folder, made if need be.

    Raises:
        OutputError: it is a file, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError("this is a file, not a folder", where=folder, remedy="Choose another folder") from error
    except OSError as error:
        raise output_error(error, folder) from error
    return folder


@contextlib.contextmanager
def written_together(folder: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Give an empty folder to write to; on success its files move into `folder`, on failure nothing is left.

    Raises:
        OutputError: the folder cannot be written, the disk is full, or one of the files exists and `overwrite` is
            false.
    """
    usable_folder(folder)
    try:
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder, ignore_cleanup_errors=True) as staging:
            yield Path(staging)
            finished = sorted(Path(staging).iterdir())
            for path in finished:
                refuse_existing(folder / path.name, overwrite)
            for path in finished:
                path.replace(folder / path.name)
    except OutputError as error:
        # The user knows the file by its final place.
        where = folder / Path(error.where).name if error.where else folder
        raise OutputError(error.problem, where=where, remedy=error.remedy, option=error.option) from error
    except OSError as error:
        raise output_error(error, folder) from error


def remove_outdated(*paths: Path) -> None:
    """Remove files of an earlier estimate that the new one has no successor for.

    Raises:
        OutputError: one of them cannot be removed.
    """
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(error, path) from error
