"""The bytes of voxels as files hold them: raw, compressed by gzip, zlib or bzip2, or written as text.

Compressed data is unpacked no further than the header says, and is valid only once its checksum is verified.
"""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, Protocol

import numpy as np

from FetusMapV2Lib.imaging.file_inspection import GZIP_MAGIC, plain_file_size, truncated
from FetusMapV2Lib.imaging.formats.text_voxels import text_values

Packing = Literal["raw", "gzip", "zlib", "bzip2", "ascii", "hex"]
_CHUNK = 1 << 18
#: A byte of deflate gives no more than 1,032 (zlib's technical notes).
_DEFLATE_RATIO = 1032
#: Most bytes that may be skipped before compressed voxels.
_LONGEST_SKIP = 1 << 26


@dataclass(frozen=True)
class Part:
    """Where a file holds voxels.

    Attributes:
        path: the file.
        start: first byte.
        packed: bytes from there on, None = to the end of the file.
        skip: bytes to leave out, after unpacking; -1 = all but the last that are needed.
    """

    path: Path
    start: int = 0
    packed: int | None = None
    skip: int = 0


class Run(Protocol):
    """Voxels of one part, read from the first to the last."""

    def fill(self, view: memoryview) -> None:
        """Read the next bytes into `view`; `InputError` if there are not that many."""

    def skip(self, count: int) -> None:
        """Skip the next bytes."""

    def finish(self, most: int) -> int:
        """Verify the checksum and return how many bytes follow, looking no further than `most`."""

    def close(self) -> None:
        """Close the file."""


def open_run(part: Part, packing: Packing, length: int, kind: np.dtype) -> Run:
    """The `length` bytes of voxels of one type in a part.

    Raises:
        InputError: the part is missing, or cannot hold that many.
    """
    end = check_part(part, packing, length)
    if packing == "raw":
        return _Raw(part, end, length)
    if packing in ("ascii", "hex"):
        return _InMemory(text_values(part.path, part.start + part.skip, packing == "hex", length, kind), part.path)
    return _Unpacked(part, end, packing, length)


def check_part(part: Part, packing: Packing, length: int) -> int:
    """End of a part in its file, which is looked at without reading it.

    Raises:
        InputError: the file is missing, or too short to hold `length` bytes of voxels.
    """
    size = plain_file_size(part.path)
    end = size if part.packed is None else part.start + part.packed
    least = {"raw": length + max(part.skip, 0), "gzip": length // _DEFLATE_RATIO, "zlib": length // _DEFLATE_RATIO}
    if end > size or end - part.start < least.get(packing, 1):
        raise truncated(part.path)
    return end


class _Raw:
    def __init__(self, part: Part, end: int, length: int) -> None:
        self._path, self._end = part.path, end
        self._stream = part.path.open("rb")
        self._stream.seek(end - length if part.skip < 0 else part.start + part.skip)

    def fill(self, view: memoryview) -> None:
        got = 0
        while got < len(view):
            count = self._stream.readinto(view[got:])
            if not count:
                raise truncated(self._path)
            got += count

    def skip(self, count: int) -> None:
        self._stream.seek(count, 1)

    def finish(self, most: int) -> int:
        return self._end - self._stream.tell()

    def close(self) -> None:
        self._stream.close()


class _InMemory:
    def __init__(self, data: tuple[bytes, int], path: Path) -> None:
        self._data, self._surplus = data
        self._path, self._at = path, 0

    def fill(self, view: memoryview) -> None:
        view[:] = self._data[self._at : self._at + len(view)]
        self._at += len(view)

    def skip(self, count: int) -> None:
        self._at += count

    def finish(self, most: int) -> int:
        return self._surplus

    def close(self) -> None:
        self._data = b""


class _Unpacked:
    def __init__(self, part: Part, end: int, packing: Packing, length: int) -> None:
        self._part, self._packed, self._packing = part, end - part.start, packing
        skip = part.skip
        if skip > _LONGEST_SKIP:
            raise truncated(part.path)
        self._open()
        if skip < 0:
            # Where the last bytes begin is known only once everything is unpacked.
            skip = self._total(length + _LONGEST_SKIP) - length
            self.close()
            if not 0 <= skip <= _LONGEST_SKIP:
                raise truncated(part.path)
            self._open()
        self.skip(skip)

    def _open(self) -> None:
        self._stream = self._part.path.open("rb")
        self._stream.seek(self._part.start)
        self._members = _Members(self._stream, self._packed, self._packing, self._part.path)

    def _total(self, most: int) -> int:
        count = 0
        while count <= most and (piece := self._members.read(1 << 22)):
            count += len(piece)
        return count

    def fill(self, view: memoryview) -> None:
        got = 0
        while got < len(view):
            piece = self._next(len(view) - got)
            view[got : got + len(piece)] = piece
            got += len(piece)

    def skip(self, count: int) -> None:
        while count > 0:
            count -= len(self._next(min(count, 1 << 22)))

    def _next(self, most: int) -> bytes:
        piece = self._members.read(most)
        if not piece:
            raise truncated(self._part.path)
        return piece

    def finish(self, most: int) -> int:
        surplus = 0
        while surplus <= most and (piece := self._members.read(most + 1 - surplus)):
            surplus += len(piece)
        return surplus + self._members.trailing

    def close(self) -> None:
        self._stream.close()


class _Members:
    """The unpacked bytes of a stream, which may consist of several compressed members, one after another."""

    def __init__(self, stream: IO[bytes], packed: int, packing: Packing, path: Path) -> None:
        self._stream, self._left, self._path = stream, packed, path
        # 31: a gzip header and CRC-32; 47: a zlib header and Adler-32, or gzip.
        self._new: Callable[[], Any] = {
            "gzip": lambda: zlib.decompressobj(wbits=31),
            "zlib": lambda: zlib.decompressobj(wbits=47),
            "bzip2": bz2.BZ2Decompressor,
        }[packing]
        self._magic = {"gzip": GZIP_MAGIC, "bzip2": b"BZh"}.get(packing)
        self._inner: Any = self._new()
        self._waiting, self._at, self._window = b"", 0, _CHUNK
        #: Bytes behind the last member, except padding with zeros.
        self.trailing = 0
        self._ended = False

    def read(self, most: int) -> bytes:
        """Some of the next bytes, at most `most`, which is above 0; none at the end of the stream."""
        while not self._ended:
            fed, at_end = b"", False
            if getattr(self._inner, "needs_input", True):
                if self._at == len(self._waiting):
                    self._waiting, self._at = self._packed_bytes(), 0
                fed, at_end = self._waiting[self._at : self._at + self._window], not self._waiting
            try:
                piece: bytes = self._inner.decompress(fed, most)
            except (zlib.error, OSError, EOFError, ValueError):
                raise truncated(self._path) from None
            left = self._inner.unused_data or getattr(self._inner, "unconsumed_tail", b"")
            self._at += len(fed) - len(left)
            self._window = min(2 * self._window, _CHUNK)
            if self._inner.eof:
                self._next_member()
            elif at_end and not piece:
                raise truncated(self._path)
            if piece:
                return piece
        return b""

    def _next_member(self) -> None:
        # The input that a member leaves is copied, so each gets little: there may be a million tiny members.
        self._window = 512
        if len(self._waiting) - self._at < 3:
            self._waiting, self._at = self._waiting[self._at :] + self._packed_bytes(), 0
        if self._magic is not None and self._waiting.startswith(self._magic, self._at):
            self._inner = self._new()
            return
        self._ended = True
        rest = self._waiting[self._at :]
        while rest:
            self.trailing += len(rest) if rest.strip(b"\0") else 0
            rest = self._packed_bytes()

    def _packed_bytes(self) -> bytes:
        piece = self._stream.read(min(_CHUNK, self._left))
        self._left -= len(piece)
        return piece


class Chain:
    """Parts of equal length as one run."""

    def __init__(self, parts: Sequence[Part], packing: Packing, length: int, kind: np.dtype, most: int) -> None:
        self._parts, self._packing, self._kind, self._most = parts, packing, kind, most
        self._each = length // len(parts)
        self._number = -1
        self._run: Run | None = None
        self._left = 0
        #: The greatest number of bytes found so far behind the voxels of a part; no further than `most` is looked.
        self.surplus = 0

    def check(self) -> None:
        """Raise `InputError` if a part is missing or too short."""
        for part in self._parts:
            check_part(part, self._packing, self._each)

    def fill(self, view: memoryview) -> None:
        """Read the next bytes into `view`."""
        while len(view):
            run, count = self._current(len(view))
            run.fill(view[:count])
            view = view[count:]

    def skip(self, count: int) -> None:
        """Skip the next bytes."""
        while count:
            run, step = self._current(count)
            run.skip(step)
            count -= step

    def _current(self, wanted: int) -> tuple[Run, int]:
        if self._run is None or not self._left:
            self.finish()
            self._number += 1
            self._run = open_run(self._parts[self._number], self._packing, self._each, self._kind)
            self._left = self._each
        count = min(wanted, self._left)
        self._left -= count
        return self._run, count

    def finish(self) -> None:
        """Go to the end of the part, where its checksum is found right."""
        if self._run is not None:
            self.surplus = max(self.surplus, self._run.finish(self._most))
            self.close()

    def close(self) -> None:
        """Close the file."""
        if self._run is not None:
            self._run.close()
            self._run = None
