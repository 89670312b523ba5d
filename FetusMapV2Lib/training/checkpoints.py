"""Checkpoints with a checksum: torch's archive, whose comment is the SHA-256 of everything before it.

`torch.load` can read them; here they are only read with ``weights_only``: tensors and plain values, no code.
"""

from __future__ import annotations

import hashlib
import logging
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from FetusMapV2Lib.core.atomic_files import atomic_write
from FetusMapV2Lib.core.errors import InputError, UserError

_LOG = logging.getLogger(__name__)
_MARK = b"fetusmapv2 sha256 "
_DIGITS = 64
_COMMENT = len(_MARK) + _DIGITS
#: End of a ZIP archive without a comment: signature, 16 bytes of places and sizes, length of the comment.
_END, _END_BYTES = b"PK\x05\x06", 22
_BLOCK = 1 << 20
#: Before it, ``weights_only`` could be made to run code (CVE-2025-32434).
SAFE_TORCH = (2, 6)
_REMEDY = "Restore a good copy of it, or remove it and start a new run"


def write_checkpoint(path: Path, save: Callable[[Path], None]) -> None:
    """Write a checkpoint atomically, with its checksum.

    Args:
        path: the file.
        save: writes torch's archive to the path it is given.

    Raises:
        OutputError: it cannot be written.
    """
    with atomic_write(path) as temporary:
        save(temporary)
        _seal(temporary)


def read_checkpoint(path: Path, *, sealed: bool = True) -> dict[str, Any]:
    """The content of a checkpoint, its tensors on the CPU and loaded lazily.

    Args:
        path: the file.
        sealed: it must have a checksum; one of an earlier version has none, and only the archive's CRC-32 is checked.

    Raises:
        InputError: damaged, incomplete, or not written by this program.
        UserError: the installed torch cannot read checkpoints safely.
    """
    require_safe_torch()
    try:
        if not _checked(path):
            if sealed:
                raise _unusable(path, "it has no checksum: it is damaged, incomplete or from another program")
            _check_archive(path)
            _LOG.warning("%s: this checkpoint of an earlier version has no checksum; damage may stay undetected", path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except InputError:
        raise
    except Exception as error:  # torch and zipfile raise errors of any kind for foreign bytes
        reason = str(error).strip().partition("\n")[0][:160]
        raise _unusable(path, f"{type(error).__name__}: {reason}") from error
    if not isinstance(state, dict):
        raise _unusable(path, "it holds no training state")
    return state


def check_state(state: Mapping[str, Any], path: Path, weights: Mapping[str, Tensor], run: str, steps: int) -> None:
    """Refuse the checkpoint of another run.

    Args:
        state: of `read_checkpoint`.
        path: its file, for messages.
        weights: of the network to resume.
        run: fingerprint of the run; a checkpoint of an earlier version has none.
        steps: of the run in all.

    Raises:
        InputError: it belongs to another run, or lacks something.
    """
    step, kept = state.get("global_step"), state.get("state_dict")
    if type(step) is not int or not isinstance(kept, Mapping):
        raise _unusable(path, "it holds no training state")
    known = {key: tuple(value.shape) for key, value in kept.items() if isinstance(value, Tensor)}
    expected = {key: tuple(value.shape) for key, value in weights.items()}
    if state.get("run", run) != run or known != expected or not 0 <= step <= steps:
        raise InputError(
            "the checkpoint belongs to another run", where=path, remedy="Restore the right one, or start a new run"
        )


def require_safe_torch() -> None:
    """Refuse to read checkpoints with a torch that could execute code from them.

    Raises:
        UserError: the installed torch is too old.
    """
    if torch.__version__ < SAFE_TORCH:  # type: ignore[operator]  # a version that compares with tuples
        wanted = ".".join(map(str, SAFE_TORCH))
        raise UserError(
            f"PyTorch {torch.__version__} cannot read checkpoints safely (CVE-2025-32434)",
            remedy=f"Install PyTorch {wanted} or newer",
        )


def _unusable(path: Path, why: str) -> InputError:
    return InputError(f"the checkpoint cannot be used ({why})", where=path, remedy=_REMEDY)


def _seal(path: Path) -> None:
    """Give torch's archive a comment with the checksum."""
    with path.open("r+b") as file:
        file.seek(-_END_BYTES, 2)
        end = file.read(_END_BYTES)
        if not (end.startswith(_END) and end.endswith(b"\0\0")):
            raise RuntimeError("torch has written another kind of file")  # a programming error, not a user error
        file.seek(-2, 2)
        file.write(_COMMENT.to_bytes(2, "little") + _MARK)
    digest = _digest(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(digest)


def _checked(path: Path) -> bool:
    """Whether the file has a checksum.

    Raises:
        InputError: and it is wrong.
    """
    size = path.stat().st_size
    if size < _COMMENT:
        return False
    with path.open("rb") as file:
        file.seek(-_COMMENT, 2)
        comment = file.read()
    if not comment.startswith(_MARK):
        return False
    if comment[len(_MARK) :] != _digest(path, size - _DIGITS):
        raise _unusable(path, "its checksum is wrong: it is damaged")
    return True


def _digest(path: Path, length: int) -> bytes:
    """SHA-256 of the beginning of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while length > 0 and (block := file.read(min(_BLOCK, length))):
            digest.update(block)
            length -= len(block)
    return digest.hexdigest().encode("ascii")


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise _unusable(path, f"its member {damaged} is damaged")
