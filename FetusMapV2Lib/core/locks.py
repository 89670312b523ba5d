"""Lock files: one process at a time works on a folder or file, on any file system and operating system.

The file says who holds it. A lock whose owner has died is taken over.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from FetusMapV2Lib.core.atomic_files import output_error
from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.core.process_identity import ProcessIdentity

#: A lock is touched this often; another computer's that was not for so long has lost its owner.
_TOUCH_S, _ABANDONED_S = 30.0, 600.0
#: So long a lock may be empty: its owner is about to write into it.
_EMPTY_S = 30.0
_POLL_S = 0.05
_LARGEST = 4096


class LockedError(OutputError):
    """Another living process holds the lock."""


@dataclass(frozen=True)
class _Held:
    """A lock file as it was found: its text, who holds it if the text says so, and seconds since it was touched."""

    text: str
    owner: ProcessIdentity | None
    age_s: float

    @property
    def is_dead(self) -> bool:
        if self.owner is None:
            return self.age_s > _EMPTY_S
        return self.owner.has_ended or (not self.owner.is_on_this_computer and self.age_s > _ABANDONED_S)


@contextlib.contextmanager
def locked(path: Path, what: str, *, wait_s: float = 0.0, remedy: str = "Wait for its end") -> Iterator[None]:
    """Hold the lock file `path` for the time of the block.

    Args:
        path: of the lock file; it is removed at the end.
        what: what is in use, for the message, e.g. "this folder".
        wait_s: seconds to wait for another owner.
        remedy: what to do about a living owner.

    Raises:
        LockedError: another process holds it.
        OutputError: the file cannot be written.
    """
    text = json.dumps({**ProcessIdentity.current().to_dict(), "token": secrets.token_hex(8)})
    deadline = time.monotonic() + wait_s
    while not _taken(path, text):
        held = _held(path)
        if held is not None and time.monotonic() >= deadline:
            who = f" by {held.owner}" if held.owner is not None else ""
            raise LockedError(f"{what} is in use{who}", where=path.parent, remedy=remedy)
        time.sleep(_POLL_S)
    ended = threading.Event()
    touching = threading.Thread(target=_keep_touching, args=(path, text, ended), daemon=True)
    touching.start()
    try:
        yield
    finally:
        ended.set()
        touching.join()
        _release(path, text)


def _taken(path: Path, text: str) -> bool:
    """Whether the lock could be taken, from a dead owner too."""
    if _created(path, text):
        return True
    held = _held(path)
    if held is None or not held.is_dead:
        return False
    # one at a time buries the dead: who judged earlier must not remove the lock of who was quicker
    guard = path.with_name(f"{path.name}.takeover")
    left = _held(guard)
    if left is not None and left.age_s > _EMPTY_S:
        _remove(guard)
    if not _created(guard, text):
        return False
    try:
        now = _held(path)
        if now is not None and now.text == held.text:
            _remove(path)
        return _created(path, text)
    finally:
        _remove(guard)


def _created(path: Path, text: str) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    except PermissionError as error:
        if path.exists():  # Windows says so while it removes a file that is still open
            return False
        raise output_error(error, path) from error
    except OSError as error:
        raise output_error(error, path) from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        _remove(path)
        raise output_error(error, path) from error
    return True


def _held(path: Path) -> _Held | None:
    """What the lock file says, None if there is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            text = stream.read(_LARGEST)
        age = _clock_of(path.parent) - path.stat().st_mtime
    except OSError:
        return None
    try:
        owner = ProcessIdentity.from_dict(json.loads(text))
    except (ValueError, RecursionError):
        owner = None
    return _Held(text, owner, age)


def _clock_of(folder: Path) -> float:
    """The present time of the folder's file system, which need not be this computer's."""
    probe = folder / f".clock-{secrets.token_hex(4)}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        _remove(probe)


def _keep_touching(path: Path, text: str, ended: threading.Event) -> None:
    while not ended.wait(_TOUCH_S):
        with contextlib.suppress(OSError):
            if path.read_text(encoding="utf-8") == text:
                os.utime(path)


def _release(path: Path, text: str) -> None:
    held = _held(path)
    if held is not None and held.text == text:
        _remove(path)


def _remove(path: Path) -> None:
    for _ in range(20):
        try:
            path.unlink(missing_ok=True)
            return
        except PermissionError:  # Windows: somebody is reading it
            time.sleep(_POLL_S / 2)
        except OSError:
            return
