"""Writing files atomically on every operating system.

A file is written to a staging folder beside its target, flushed to the disk, and renamed over the target.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.core.staging import STAGING, is_staged, make_folder, owned_folder, remove_abandoned

#: Names of devices on Windows, with any suffix.
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])( *\..*)?", re.IGNORECASE)
#: Unicode categories of characters that do not belong in a file name.
_UNFIT = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
#: Bytes; file systems allow 255 for a name with its suffixes, and temporary names are longer.
_LONGEST_STEM = 160
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}
#: Errors of file systems that cannot flush a single file or folder.
_NO_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF}
#: Windows refuses to rename a file while a virus scanner or an indexer reads it, usually for some milliseconds.
_RENAME_TRIES, _RENAME_WAIT_S = 20, 0.1
_ON_WINDOWS = os.name == "nt"

#: What to do about results that exist already.
REPLACE = "Choose another place, or let it be replaced"

_cleaned: set[Path] = set()


def ensure_absent(path: Path, overwrite: bool) -> None:
    """Raise `OutputError` if `path` exists and may not be overwritten."""
    if path.exists() and not overwrite:
        raise OutputError("the output exists already", where=path, remedy=REPLACE, option="--overwrite")


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], *, overwrite: bool = True, private: bool = False) -> Iterator[Path]:
    """Write a file atomically: the temporary path becomes `path` at the end of the block, or nothing is left of it.

    The temporary file has the name of the target, so that writers which look at the suffix (SimpleITK, MRML storage
    nodes) work unchanged.

    Args:
        path: the target; its folder is created if it does not exist.
        overwrite: whether an existing file may be replaced.
        private: only this user may read the file (not on Windows, where the permissions of the folder apply).

    Yields:
        The temporary path to write to.

    Raises:
        OutputError: the target exists and `overwrite` is false, the folder cannot be written, or the disk is full.
    """
    target = Path(path)
    ensure_absent(target, overwrite)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if is_staged(target.parent):  # flushed to the disk with the whole staging folder
            with _beside(target) as temporary:
                yield temporary
                move(temporary, target)
            return
        remove_abandoned_once(target.parent)
        with owned_folder(target.parent, STAGING) as staging:
            temporary = staging / target.name
            yield temporary
            flush_file(temporary, private=private)
            move(temporary, target)
            flush_folder(target.parent)
    except OSError as error:
        raise output_error(error, target) from error


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    temporary = target.with_name(f".{secrets.token_hex(4)}-{target.name}")
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_abandoned_once(folder: Path) -> None:
    """Delete what processes that have ended were writing into a folder; once per process and folder."""
    if folder not in _cleaned:
        _cleaned.add(folder)
        remove_abandoned(folder, STAGING, unknown_after_s=0.0)


def flush_file(path: Path, *, private: bool = False) -> None:
    """Flush a file to the disk, so that it survives a power cut and a full disk is noticed here.

    Args:
        path: the file.
        private: only this user may read it from now on (not on Windows, where the permissions of the folder apply).

    Raises:
        OSError: the disk is full or broken.
    """
    if private and os.name != "nt":
        with contextlib.suppress(OSError):  # a file system without permissions
            path.chmod(0o600)
    with path.open("rb+") as stream:
        _flush(stream.fileno())


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk; Windows does so by itself.

    Raises:
        OSError: the disk is full or broken.
    """
    if os.name == "nt":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that may be written but not listed
        return
    try:
        _flush(descriptor)
    finally:
        os.close(descriptor)


def _flush(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FLUSH:
            raise


def move(source: Path, target: Path) -> None:
    """Rename a file over another on the same disk; on Windows retried while the target is read.

    Raises:
        OSError: it cannot be renamed.
    """
    for left in range(_RENAME_TRIES - 1 if _ON_WINDOWS else 0, -1, -1):
        try:
            os.replace(source, target)  # noqa: PTH105 - Path.replace is another function in some versions of Python
            return
        except PermissionError:
            if not left:
                raise
            time.sleep(_RENAME_WAIT_S)


def output_error(error: OSError, target: Path) -> OutputError:
    """The error to show for an operating-system error while writing `target`."""
    if error.errno in _DISK_FULL:
        return OutputError("the disk is full", where=target, remedy="Free some space or write elsewhere")
    if isinstance(error, PermissionError):
        return OutputError("no permission to write here", where=target, remedy="Choose a folder you may write to")
    return OutputError(f"cannot be written ({error.strerror or error})", where=target)


def safe_stem(name: str, default: str = "case") -> str:
    """A file name without suffix that every operating system accepts, with room for suffixes.

    Characters that one of them forbids, and control characters, become an underscore; a long name is cut.
    """
    # bytes of a name that are not UTF-8 reach Python as lone surrogates; most are Latin-1
    whole = "".join(chr(ord(one) - 0xDC00) if "\udc80" <= one <= "\udcff" else one for one in name)
    fit = "".join("\0" if unicodedata.category(one) in _UNFIT else one for one in whole)
    plain = re.sub(r'[<>:"/\\|?*\0]+', "_", fit).strip(" .")
    plain = plain.encode("utf-8")[:_LONGEST_STEM].decode("utf-8", "ignore").strip(" .")
    return f"_{plain}" if _RESERVED.fullmatch(plain) else plain or default


def write_text(path: str | os.PathLike[str], text: str, *, overwrite: bool = True) -> None:
    """Write UTF-8 text atomically."""
    with atomic_write(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], data: Any, *, overwrite: bool = True) -> None:
    """Write strict JSON (no NaN) atomically."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n", overwrite=overwrite)


def usable_folder(folder: Path, *, private: bool = False) -> Path:
    """The folder, created if it does not exist.

    Args:
        folder: its path.
        private: only this user may enter folders that are created (not on Windows, where permissions are inherited).

    Raises:
        OutputError: it is a file, or cannot be created.
    """
    try:
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        for one in reversed(missing):
            with contextlib.suppress(FileExistsError):  # another process created it first
                make_folder(one, private=private)
        folder.mkdir(exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError("this is a file, not a folder", where=folder, remedy="Choose another folder") from error
    except OSError as error:
        raise output_error(error, folder) from error
    return folder
