"""Writing files whole or not at all, on every operating system.

A file is written under a temporary name in its own folder, flushed, and renamed over the target.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from FetusMapV2Lib.foundation.errors import OutputError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise `OutputError` if `path` exists and may not be overwritten."""
    if path.exists() and not overwrite:
        raise OutputError("the output exists already", where=path, remedy="Choose another output or pass --overwrite")


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


def write_text(path: str | os.PathLike[str], text: str, *, overwrite: bool = True) -> None:
    """Write UTF-8 text whole or not at all."""
    with written_whole(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], data: Any, *, overwrite: bool = True) -> None:
    """Write strict JSON (no NaN) whole or not at all."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n", overwrite=overwrite)
