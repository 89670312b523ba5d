"""Temporary folders that say whose they are; those of processes that have died are swept away.

A note beside the folder names its owner. It is there before the folder and goes after it.
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

#: Beginning of the names of folders in which files are written before they move to their place.
STAGING = ".writing-"
#: Beginning of the names of folders for files that another process or library reads at once.
TEMPORARY = "fetusmap-"
_NOTE = ".owner"
#: A note may be unreadable for so long: its owner is about to write it.
_EMPTY_S = 30.0
#: Nobody here can tell whether the process of another computer lives; no folder is needed for so long.
_ELSEWHERE_S = 24 * 3600.0

_own: set[Path] = set()
_kept: set[Path] = set()
_swept: set[Path] = set()


@contextlib.contextmanager
def owned_folder(parent: Path | None = None, prefix: str = TEMPORARY) -> Iterator[Path]:
    """An empty folder that only this user may enter; it is removed at the end of the block.

    Args:
        parent: where it lies; None = among the temporary files of the system, where the first one of this process
            sweeps away those of processes that have died.

    Raises:
        OSError: it cannot be made.
    """
    where = Path(tempfile.gettempdir()) if parent is None else parent
    if parent is None and where not in _swept:
        _swept.add(where)
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
        if folder not in _kept:
            _remove(folder, note)


def retain(folder: Path, wanted: bool = True) -> None:
    """Leave an owned folder where it is when its block ends, or no longer; once this process has ended it is swept."""
    (_kept.add if wanted else _kept.discard)(folder)


def make_folder(folder: Path, *, private: bool) -> None:
    """Make a folder in one that exists; a private one only this user may enter.

    On Windows the rights are those of the folder around it: there a mode would cut files that move out of it off from
    their neighbours' rights.
    """
    folder.mkdir(mode=0o700 if private and os.name != "nt" else 0o777)


def is_staged(folder: Path) -> bool:
    """Whether a folder of this process holds it, so that nothing in it lasts unless it moves out."""
    return folder in _own or folder.parent in _own


def remove_abandoned(
    parent: Path | None = None, prefix: str = TEMPORARY, *, unknown_after_s: float = _ELSEWHERE_S
) -> None:
    """Remove the folders of owners that have died; those of the living, and what cannot be removed, stay.

    Args:
        parent: see `owned_folder`.
        unknown_after_s: a folder without a note is removed if it was last changed so long ago.
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
    """False for a link, and for what another user has laid among the temporary files."""
    try:
        facts = path.lstat()
    except OSError:
        return True  # not there, or about to go
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
    if not folder.exists():  # Windows keeps a folder while somebody reads in it: it is swept later
        with contextlib.suppress(OSError):
            note.unlink(missing_ok=True)
