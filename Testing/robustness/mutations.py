"""Seeded damage to files: flipped bits, lost and foreign blocks, odd numbers in headers, JSON of the wrong shape.

A file set maps names to contents; a header and its detached data are one set.
"""

from __future__ import annotations

import copy
import gzip
import json
import random
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

FileSet = dict[str, bytes]

#: What a number of a text header may be replaced by.
ODD_NUMBERS = [
    "nan", "inf", "-inf", "-1", "0", "-0.0", "1e308", "1e-308", "1e400", "9" * 400, "0x10", "1.0abc", "", "1,5", "1_0",
    "2147483648", "4294967296", "-9223372036854775809", "18446744073709551616", "٣", "1e3", "+2", ".5", "7.999999",
]  # fmt: skip
#: What a value of a JSON document may be replaced by.
ODD_VALUES: list[Any] = [
    None, True, False, "", "nan", "\x1b[2J", "\ud800", 0, -1, 1e308, 10**400, [], {}, [[]], {"": {}}, [None],
    "x" * 5000, float("nan"), float("inf"), -(10**30), "../../x", [0, 1, 2], 0.5,
]  # fmt: skip
_ODD_FLOATS = [float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 1e-300, 1e300, 1e30, 3.0, -0.8]
_ODD_WORDS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
_BOMB_BYTES = 1 << 27


def damaged(generator: random.Random, files: FileSet, text_bytes: int, foreign: bytes) -> tuple[FileSet, str]:
    """A file set with one to three damages, and what they are.

    Args:
        files: contents by name; the first is the one that is opened.
        text_bytes: how many bytes of the first file are a text header (0: none; all of it for JSON).
        foreign: bytes of another file, for blocks that do not belong.
    """
    inside = _unpacked(next(iter(files.values()))) if generator.random() < 0.6 else None
    if inside is not None:
        content, pack = inside
        name = next(iter(files))
        changed, told = damaged(generator, {name: content}, text_bytes, foreign)
        return {**files, name: pack(changed[name])}, f"inside: {told}"
    changed, told = dict(files), []
    for _ in range(generator.choice((1, 1, 1, 2, 3))):
        name = generator.choice(list(changed))
        first = name == next(iter(files))
        kinds = _TEXT if first and text_bytes and generator.random() < 0.55 else _BYTES
        damage = generator.choice(kinds)
        content = changed[name]
        if kinds is _TEXT:
            head, rest = content[:text_bytes], content[text_bytes:]
            changed[name] = damage(generator, head, foreign) + rest
        else:
            changed[name] = damage(generator, content, foreign)
        told.append(f"{damage.__name__} in {name}")
    return changed, "; ".join(told)


def _unpacked(content: bytes) -> tuple[bytes, Callable[[bytes], bytes]] | None:
    """What a gzip file holds, and how it is packed again, so that damage inside passes the checksum."""
    return (gzip.decompress(content), gzip.compress) if content[:2] == b"\x1f\x8b" else None


def damaged_json(generator: random.Random, content: bytes) -> tuple[bytes, str]:
    """A JSON document with one to three values that are of the wrong kind, missing, twice there or nested deeply."""
    document = json.loads(content)
    told = []
    for _ in range(generator.choice((1, 1, 2, 3))):
        if generator.random() < 0.04:
            depth = generator.choice((100, 3000, 200_000))
            return b'{"a":' * depth + b"1" + b"}" * depth, f"nested {depth} deep"
        holder, key = _place(generator, document)
        if holder is None:
            return json.dumps(generator.choice(ODD_VALUES)).encode("utf-8", "surrogatepass"), "another document"
        action = generator.choice(("replace", "replace", "replace", "delete", "wrap", "exchange"))
        if action == "delete":
            del holder[key]
        elif action == "wrap":
            holder[key] = [holder[key]] if generator.random() < 0.5 else {"x": holder[key]}
        elif action == "exchange":
            other, other_key = _place(generator, document)
            if other is not None:
                holder[key] = json.loads(json.dumps(other[other_key]))
        else:
            holder[key] = copy.deepcopy(generator.choice(ODD_VALUES))
        told.append(f"{action} {key!r:.40}")
    return json.dumps(document).encode("utf-8", "surrogatepass"), "; ".join(told)


def damaged_safetensors(generator: random.Random, content: bytes, key: str) -> tuple[bytes, str]:
    """A safetensors file whose header, or the JSON that its metadata keep under `key`, is damaged."""
    (length,) = struct.unpack("<Q", content[:8])
    header, data = content[8 : 8 + length], content[8 + length :]
    if generator.random() < 0.7:
        whole = json.loads(header)
        inner, told = damaged_json(generator, whole["__metadata__"][key].encode())
        whole["__metadata__"][key] = inner.decode("utf-8", "replace")
        header = json.dumps(whole).encode()
    else:
        header, told = damaged_json(generator, header)
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data, told


def _place(generator: random.Random, document: Any) -> tuple[Any, Any]:
    """A container somewhere in a document and a key of it; (None, None) where there is none."""
    holder = None
    key: Any = None
    here = document
    while isinstance(here, dict | list) and here:
        holder = here
        key = generator.choice(list(here)) if isinstance(here, dict) else generator.randrange(len(here))
        here = here[key]
        if generator.random() < 0.3:
            break
    return holder, key


# --- any bytes


def flip_bit(generator: random.Random, content: bytes, foreign: bytes) -> bytes:
    if not content:
        return content
    where = generator.randrange(len(content))
    changed = bytearray(content)
    changed[where] ^= 1 << generator.randrange(8)
    return bytes(changed)


def flip_early_bit(generator: random.Random, content: bytes, foreign: bytes) -> bytes:
    return flip_bit(generator, content[:400], foreign) + content[400:]


def set_byte(generator: random.Random, content: bytes, foreign: bytes) -> bytes:
    if not content:
        return content
    where = generator.randrange(len(content))
    return content[:where] + bytes([generator.choice((0, 10, 13, 32, 127, 128, 255))]) + content[where + 1 :]


def blank_block(generator: random.Random, content: bytes, foreign: bytes) -> bytes:
    start, end = _block(generator, content)
    return content[:start] + generator.choice((b"\0", b"\xff")) * (end - start) + content[end:]


def foreign_block(generator: random.Random, content: bytes, foreign: bytes) -> bytes:
    start, end = _block(generator, content)
    return content[:start] + foreign[: end - start] + content[end:]


def delete_block(generator: random.Random, content: bytes, foreign: bytes) -> bytes:
    start, end = _block(generator, content)
    return content[:start] + content[end:]


def repeat_block(generator: random.Random, content: bytes, foreign: bytes) -> bytes:
    start, end = _block(generator, content)
    return content[:end] + content[start:end] + content[end:]


def truncate(generator: random.Random, content: bytes, foreign: bytes) -> bytes:
    return content[: generator.randrange(len(content) + 1)]


def truncate_a_little(generator: random.Random, content: bytes, foreign: bytes) -> bytes:
    return content[: -generator.randint(1, 16)]


def append(generator: random.Random, content: bytes, foreign: bytes) -> bytes:
    return content + foreign[: generator.randint(1, 600)]


def set_float(generator: random.Random, content: bytes, foreign: bytes) -> bytes:
    code = generator.choice(("<f", "<d", ">f"))
    return _overwritten(generator, content, struct.pack(code, _fitting(generator.choice(_ODD_FLOATS), code)))


def set_integer(generator: random.Random, content: bytes, foreign: bytes) -> bytes:
    code, mask = generator.choice((("<H", 0xFFFF), ("<I", 0xFFFFFFFF)))
    return _overwritten(generator, content, struct.pack(code, generator.choice(_ODD_WORDS) & mask))


def bomb(generator: random.Random, content: bytes, foreign: bytes) -> bytes:
    """Packed data that unpack to far more than they should; other contents stay."""
    for start, pack in ((content.find(b"\x1f\x8b"), gzip.compress), (content.find(b"x\x9c"), zlib.compress)):
        if start >= 0:
            return content[:start] + pack(bytes(_BOMB_BYTES))
    return content


def _block(generator: random.Random, content: bytes) -> tuple[int, int]:
    start = generator.randrange(len(content) + 1)
    return start, min(len(content), start + generator.choice((1, 4, 16, 64, 512, 4096)))


def _overwritten(generator: random.Random, content: bytes, value: bytes) -> bytes:
    limit = min(len(content), generator.choice((400, 400, len(content))))
    where = generator.randrange(max(1, limit // 4)) * 4
    return content[:where] + value + content[where + len(value) :]


def _fitting(value: float, code: str) -> float:
    return value if code == "<d" or abs(value) < 1e38 or value != value else float("inf")


# --- text headers


def odd_number(generator: random.Random, head: bytes, foreign: bytes) -> bytes:
    found = list(re.finditer(rb"-?\d+\.?\d*(?:[eE][-+]?\d+)?", head))
    if not found:
        return head
    number = generator.choice(found)
    return head[: number.start()] + generator.choice(ODD_NUMBERS).encode() + head[number.end() :]


def delete_line(generator: random.Random, head: bytes, foreign: bytes) -> bytes:
    lines = head.splitlines(keepends=True)
    if lines:
        del lines[generator.randrange(len(lines))]
    return b"".join(lines)


def repeat_line(generator: random.Random, head: bytes, foreign: bytes) -> bytes:
    lines = head.splitlines(keepends=True)
    if lines:
        lines.insert(generator.randrange(len(lines)), generator.choice(lines))
    return b"".join(lines)


def exchange_lines(generator: random.Random, head: bytes, foreign: bytes) -> bytes:
    lines = head.splitlines(keepends=True)
    if len(lines) > 2:
        a, b = generator.sample(range(len(lines)), 2)
        lines[a], lines[b] = lines[b], lines[a]
    return b"".join(lines)


def long_line(generator: random.Random, head: bytes, foreign: bytes) -> bytes:
    lines = head.splitlines(keepends=True)
    filler = b"A" * generator.choice((300, 1000, 5000, 70_000))
    new = generator.choice((filler, b"# " + filler, b"note:=" + filler, b"content: " + filler, b"Comment = " + filler))
    lines.insert(generator.randrange(len(lines)) + 1 if lines else 0, new + b"\n")
    return b"".join(lines)


def longer_value(generator: random.Random, head: bytes, foreign: bytes) -> bytes:
    lines = head.splitlines(keepends=True)
    if lines:
        which = generator.randrange(len(lines))
        line = lines[which].rstrip(b"\r\n")
        lines[which] = line + generator.choice((b" ", b" 1", b" (0,0,1)", b"0")) * generator.choice((1, 2, 999)) + b"\n"
    return b"".join(lines)


def fewer_words(generator: random.Random, head: bytes, foreign: bytes) -> bytes:
    lines = head.splitlines(keepends=True)
    if lines:
        which = generator.randrange(len(lines))
        words = lines[which].split()
        if words:
            words.pop(generator.randrange(len(words)))
        lines[which] = b" ".join(words) + b"\n"
    return b"".join(lines)


def foreign_bytes(generator: random.Random, head: bytes, foreign: bytes) -> bytes:
    where = generator.randrange(len(head) + 1)
    new = generator.choice(
        (b"\0", b"\xff\xfe", "\u202e".encode(), b"\r", b"\xc3", b"\xef\xbb\xbf", b"%n%s", b"\x1b[2J")
    )
    return head[:where] + new + head[where:]


def windows_lines(generator: random.Random, head: bytes, foreign: bytes) -> bytes:
    return head.replace(b"\n", b"\r\n")


Damage = Callable[[random.Random, bytes, bytes], bytes]
_BYTES: list[Damage] = [
    flip_bit, flip_bit, flip_bit, flip_early_bit, flip_early_bit, set_byte, blank_block, foreign_block, delete_block,
    repeat_block, truncate, truncate_a_little, append, set_float, set_integer, bomb,
]  # fmt: skip
_TEXT: list[Damage] = [
    odd_number, odd_number, odd_number, delete_line, repeat_line, exchange_lines, long_line, longer_value, fewer_words,
    foreign_bytes, windows_lines, flip_bit, set_byte,
]  # fmt: skip
