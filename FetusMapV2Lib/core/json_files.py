"""Reading untrusted JSON: every document that cannot be used gives one line of error, never a traceback.

Stricter than Python's own reader: no NaN or infinity, no duplicate keys, no numbers beyond 64 bits, limited nesting,
limited file size.
"""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from FetusMapV2Lib.core.errors import InputError, UserError

#: Largest file that is read, bytes; the largest one of the product's own has a few hundred kilobytes.
MAX_BYTES = 16 * 2**20
#: Deepest nesting; what the product reads has less than ten levels.
MAX_LEVELS = 50
_LARGEST_WHOLE = 2**63 - 1
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

Kind = TypeVar("Kind")
_REQUIRED: Any = object()
_KIND_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}


class _UnusableError(ValueError):
    """Valid JSON that is refused."""


def read_json(
    path: str | os.PathLike[str],
    what: str = "the file",
    *,
    remedy: str = "",
    error: type[UserError] = InputError,
    max_bytes: int = MAX_BYTES,
) -> Any:
    """The document in a JSON file, UTF-8 with or without a byte order mark.

    All numbers in it are finite, whole ones have at most 64 bits, and all text can be written as UTF-8.

    Args:
        path: the file.
        what: how messages call the file, such as "the index of models".
        remedy: what the user can do about a file that cannot be used.
        error: the kind of error to raise.
        max_bytes: refuse a larger file without parsing it.

    Raises:
        UserError: of the kind `error`: the file is missing, cannot be read, too large, or not usable JSON.
    """
    source = Path(path)
    try:
        if source.is_dir():
            raise error(f"{what} is a folder", where=source, remedy=remedy)
        with source.open("rb") as file:
            content = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise error(f"{what} does not exist", where=source, remedy=remedy or "Check the path") from None
    except (OSError, ValueError) as problem:  # a path with a zero byte is a ValueError
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"{what} cannot be read ({reason})", where=source, remedy=remedy) from None
    if len(content) > max_bytes:
        problem_text = f"{what} is larger than {max_bytes / 2**20:.3g} MiB"
        raise error(problem_text, where=source, remedy=remedy)
    return parse_json(content, what, where=source, remedy=remedy, error=error)


def read_json_object(
    path: str | os.PathLike[str],
    what: str = "the file",
    *,
    remedy: str = "",
    error: type[UserError] = InputError,
    max_bytes: int = MAX_BYTES,
) -> dict[str, Any]:
    """As `read_json`, for a document that must be a JSON object."""
    document = read_json(path, what, remedy=remedy, error=error, max_bytes=max_bytes)
    if not isinstance(document, dict):
        raise error(f"{what} holds no JSON object", where=path, remedy=remedy)
    return document


def parse_json(
    content: str | bytes,
    what: str = "the text",
    *,
    where: str | os.PathLike[str] | None = None,
    remedy: str = "",
    error: type[UserError] = InputError,
) -> Any:
    """The document in a text, or in bytes of UTF-8; refused as in `read_json`."""
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        document = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_refuse_constant,
        )
        _check(document)
    except UnicodeDecodeError:
        raise error(f"{what} is not UTF-8 text", where=where, remedy=remedy) from None
    except RecursionError:
        raise error(f"{what} is nested too deeply", where=where, remedy=remedy) from None
    except _UnusableError as problem:
        raise error(f"{what} cannot be used: {problem}", where=where, remedy=remedy) from None
    except ValueError as problem:
        place = f" (line {problem.lineno})" if isinstance(problem, json.JSONDecodeError) else ""
        raise error(f"{what} is not valid JSON{place}", where=where, remedy=remedy) from None
    return document


def field(
    data: dict[str, Any],
    key: str,
    kind: type[Kind],
    *,
    where: str | os.PathLike[str] | None = None,
    remedy: str = "",
    error: type[UserError] = InputError,
    default: Kind = _REQUIRED,
) -> Kind:
    """A field of a JSON object that must be of one kind: str, int, float (takes whole numbers), bool, list or dict.

    Args:
        data: the object.
        key: name of the field.
        kind: type of its value.
        where: the file, for messages.
        remedy: what the user can do, for messages.
        error: the kind of error to raise.
        default: value for an object without the field; without a default the field is required.

    Raises:
        UserError: of the kind `error`: the field is missing, or of another kind.
    """
    if key not in data:
        if default is _REQUIRED:
            raise error(f"the field '{key}' is missing", where=where, remedy=remedy)
        return default
    value = data[key]
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:  # true is no number
        expected = _KIND_NAMES.get(kind, "an object")
        raise error(f"the field '{key}' is not {expected}", where=where, remedy=remedy)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _UnusableError(f"the field '{_short(twice)}' is there twice")
    return found


def _whole(digits: str) -> int:
    if len(digits) > 20 or abs(value := int(digits)) > _LARGEST_WHOLE:
        raise _UnusableError(f"the number {_short(digits)} is too large")
    return value


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _UnusableError(f"the number {_short(digits)} is too large")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise _UnusableError(f"{name} is no number")


def _check(document: Any) -> None:
    """Refuse nesting that would exhaust the stack, and text that cannot be encoded as UTF-8."""
    level = [document]
    for _ in range(MAX_LEVELS):
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                _check_text(value)
            elif isinstance(value, list):
                below += value
            elif isinstance(value, dict):
                below += value.values()
                below += value.keys()
        if not below:
            return
        level = below
    raise _UnusableError(f"it has more than {MAX_LEVELS} levels")


def _check_text(text: str) -> None:
    if not text.isascii() and _LONE_SURROGATE.search(text):
        raise _UnusableError("a text in it holds half a character")


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:20]}..."
