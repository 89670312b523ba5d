"""Temporary folders with an owner; those of processes that have ended are deleted.

A note beside the folder names its owner. It is written before the folder and deleted after it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from FetusMapV2Lib.core.process_identity import ProcessIdentity

#: Prefix of the names of folders in which files are written before they are moved into place.
STAGING = ".writing-"
#: Prefix of the names of folders for files that another process or library reads immediately.
TEMPORARY = "fetusmap-"
_NOTE = ".owner"
#: A note may be unreadable for this long: its owner is about to write it.
_EMPTY_S = 30.0
#: Whether a process of another computer still runs is unknown; no folder is needed for this long.
_ELSEWHERE_S = 24 * 3600.0

_own: set[Path] = set()
_retained: set[Path] = set()
_cleaned: set[Path] = set()


@contextlib.contextmanager
def owned_folder(parent: Path | None = None, prefix: str = TEMPORARY) -> Iterator[Path]:
    """Create an empty folder that only this user may enter; it is deleted at the end of the block.

    Args:
        parent: where it is created; None = among the temporary files of the system, where the first call of this
            process deletes the folders of processes that have ended.
        prefix: of its name.

    Yields:
        The folder.

    Raises:
        OSError: it cannot be created.
    """
    where = Path(tempfile.gettempdir()) if parent is None else parent
    if parent is None and where not in _cleaned:
        _cleaned.add(where)
        remove_abandoned()
    folder = where / f"{prefix}{secrets.token_hex(6)}"
    note = _note_of(folder)
    try:
        note.write_text(json.dumps(ProcessIdentity.current().to_dict()), encoding="utf-8")
        make_folder(folder, private=True)
        _own.add(folder)
        yield folder
    finally:
        _own.discard(folder)
        if folder not in _retained:
            _remove(folder, note)


def retain(folder: Path, retained: bool = True) -> None:
    """Keep an owned folder when its block ends, or no longer; it is deleted after this process has ended."""
    (_retained.add if retained else _retained.discard)(folder)


def make_folder(folder: Path, *, private: bool) -> None:
    """Create a folder in an existing one; a private one only this user may enter.

    On Windows permissions are inherited from the parent: files moved out of a folder with a mode of its own would keep
    permissions that differ from those of the files beside them.
    """
    folder.mkdir(mode=0o700 if private and os.name != "nt" else 0o777)


def is_staged(folder: Path) -> bool:
    """Whether it is in an owned folder of this process, and so deleted unless it is moved out."""
    return folder in _own or folder.parent in _own


def remove_abandoned(
    parent: Path | None = None, prefix: str = TEMPORARY, *, unknown_after_s: float = _ELSEWHERE_S
) -> None:
    """Delete the folders of processes that have ended; those of running ones, and what cannot be deleted, stay.

    Args:
        parent: see `owned_folder`.
        prefix: of the names of the folders.
        unknown_after_s: a folder without a note is deleted if it was last changed this long ago.
    """
    where = Path(tempfile.gettempdir()) if parent is None else parent
    with contextlib.suppress(OSError):
        names = [entry.name for entry in os.scandir(where) if entry.name.startswith(prefix)]
        for name in sorted({name.removesuffix(_NOTE) for name in names}):
            folder = where / name
            if _is_abandoned(folder, unknown_after_s):
                _remove(folder, _note_of(folder))


def _note_of(folder: Path) -> Path:
    return folder.with_name(folder.name + _NOTE)


def _is_abandoned(folder: Path, unknown_after_s: float) -> bool:
    note = _note_of(folder)
    if folder in _own or not (_is_mine(folder) and _is_mine(note)):
        return False
    if not note.exists():
        return folder.is_dir() and _age_s(folder) >= unknown_after_s
    try:
        owner = ProcessIdentity.from_dict(json.loads(note.read_bytes()[:4096]))
    except (OSError, ValueError, RecursionError):
        owner = None
    if owner is None:
        return _age_s(note) > _EMPTY_S
    return owner.has_ended or (not owner.is_on_this_computer and _age_s(note) > _ELSEWHERE_S)


def _is_mine(path: Path) -> bool:
    """False for a link, and for what another user has put among the temporary files."""
    try:
        facts = path.lstat()
    except OSError:
        return True  # missing, or being deleted
    if sys.platform != "win32" and facts.st_uid != os.geteuid():
        return False
    return not path.is_symlink()


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _remove(folder: Path, note: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():  # Windows keeps a folder while a file in it is read: it is deleted later
        with contextlib.suppress(OSError):
            note.unlink(missing_ok=True)
