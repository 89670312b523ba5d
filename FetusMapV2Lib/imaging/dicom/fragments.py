"""Encapsulated pixel data of DICOM (PS3.5 A.4): its fragments, and the size that a JPEG picture states itself."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_ITEM = b"\xfe\xff\x00\xe0"
_JPEG, _JPEG_2000 = b"\xff\xd8", b"\xff\x4f\xff\x51"
# Frame headers of JPEG (ISO 10918-1 table B.1) and JPEG-LS; C4, C8 and CC are other segments.
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


def fragments(data: bytes) -> Iterator[bytes]:
    """The fragments behind the offset table."""
    position, table = 0, True
    while position + 8 <= len(data) and data[position : position + 4] == _ITEM:
        (length,) = struct.unpack_from("<I", data, position + 4)
        if not table:
            yield data[position + 8 : position + 8 + length]
        table = False
        position += 8 + int(length)


def stated_size(fragment: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 stream states; None for anything else."""
    start = fragment.find(_JPEG_2000, 0, 1024)
    if start >= 0 and len(fragment) >= start + 24:
        right, bottom, left, top = struct.unpack_from(">4I", fragment, start + 8)
        return bottom - top, right - left
    position = 2 if fragment.startswith(_JPEG) else len(fragment)
    while position + 9 <= len(fragment) and fragment[position] == 0xFF:
        marker, length = fragment[position + 1], struct.unpack_from(">H", fragment, position + 2)[0]
        if marker in _FRAME_HEADERS:
            rows, columns = struct.unpack_from(">2H", fragment, position + 5)
            return rows, columns
        position += 2 + length
    return None
