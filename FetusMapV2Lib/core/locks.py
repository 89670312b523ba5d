"""Lock files: one process at a time works on a folder or file, on any file system and operating system.

The file names its owner. A lock whose owner has ended is taken over.
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

#: A held lock is touched at this interval; one of another computer that was not touched for this long is abandoned.
_TOUCH_S, _ABANDONED_S = 30.0, 600.0
#: A lock file may be empty for this long: its owner is about to write into it.
_EMPTY_S = 30.0
_POLL_S = 0.05
_LARGEST = 4096


class LockedError(OutputError):
    """Another running process holds the lock."""


@dataclass(frozen=True)
class _Held:
    """A lock file as it was found: its text, its owner if the text names one, and the seconds since it was touched."""

    text: str
    owner: ProcessIdentity | None
    age_s: float

    @property
    def is_abandoned(self) -> bool:
        if self.owner is None:
            return self.age_s > _EMPTY_S
        return self.owner.has_ended or (not self.owner.is_on_this_computer and self.age_s > _ABANDONED_S)


@contextlib.contextmanager
def locked(path: Path, what: str, *, wait_s: float = 0.0, remedy: str = "Wait for its end") -> Iterator[None]:
    """Hold the lock file `path` during the block.

    Args:
        path: of the lock file; it is deleted at the end.
        what: what is in use, for the message, e.g. "this folder".
        wait_s: seconds to wait for another owner to release it.
        remedy: what to do about a running owner.

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
    """Whether the lock could be taken, also from an owner that has ended."""
    if _created(path, text):
        return True
    held = _held(path)
    if held is None or not held.is_abandoned:
        return False
    # one process at a time takes over: another one may have done so since the lock was read
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
    """The lock file as it is now; None if there is none."""
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
    """The current time of the folder's file system, which may differ from this computer's."""
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
        except PermissionError:  # Windows: another process is reading it
            time.sleep(_POLL_S / 2)
        except OSError:
            return
