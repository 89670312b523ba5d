"""Untrusted text for display: on one line, with control characters escaped."""

from __future__ import annotations

import re
import unicodedata

#: Unicode categories that are escaped: control characters, directions and other invisible marks, lone surrogates,
#: line and paragraph separators.
_ESCAPED = ("Cc", "Cf", "Cs", "Zl", "Zp")
#: Invisible too, but needed by the writing of some languages.
_JOINERS = "\u200c\u200d"
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: object) -> str:
    r"""A name or value on one line; control characters, bidi marks and undecodable bytes as backslash escapes.

    ``"a\x1b[2J"`` becomes ``a\x1b[2J`` in ten plain characters; printable characters stay as they are.
    """
    plain = str(text)
    return plain if plain.isascii() and plain.isprintable() else "".join(map(_printable_character, plain))


def printable_sentence(text: object) -> str:
    """As `printable`, for a message: line breaks and runs of blanks become single blanks first."""
    return printable(" ".join(str(text).split()))


def printable_lines(text: object) -> str:
    """As `printable`, for a text of several lines such as a traceback: line breaks stay."""
    return "\n".join(map(printable, re.split(r"\r?\n", str(text))))


def _printable_character(character: str) -> str:
    if unicodedata.category(character) not in _ESCAPED or character in _JOINERS:
        return character
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python represents a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
