"""Frozen dataclasses from plain JSON values, strict about keys and types; every mistake is named by its dotted path."""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from collections.abc import Mapping
from typing import Any

from FetusMapV2Lib.core.errors import UserError

#: No value of a preset is larger, no list longer.
_LARGEST, _LARGEST_WHOLE, _MOST_ITEMS = 1e12, 2**31, 256


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with changes; an object within is changed key by key, any other value replaced."""
    result = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def build(kind: type[Any], data: Any, where: str | os.PathLike[str] | None, prefix: str = "") -> Any:
    """A dataclass from a JSON object; fields that are dataclasses are built from objects within.

    Args:
        kind: the dataclass.
        data: the object.
        where: file it comes from, for messages.
        prefix: dotted path of this object within the file, with a dot at the end.

    Raises:
        UserError: not an object, an unknown or missing key, or a value of the wrong kind.
    """
    if not isinstance(data, Mapping):
        raise UserError(f"{prefix.rstrip('.') or 'the preset'} must be a JSON object", where=where)
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise UserError(
            f"unknown preset key {prefix}{unknown[0]}", where=where, remedy=f"Known here: {', '.join(hints)}"
        )
    try:
        return kind(**{key: _value(hints[key], value, where, prefix + key) for key, value in data.items()})
    except TypeError as error:
        raise UserError(f"the preset is incomplete ({error})", where=where) from error


def _value(hint: Any, value: Any, where: str | os.PathLike[str] | None, name: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, where, name + ".")
    if typing.get_origin(hint) is tuple:
        kinds = typing.get_args(hint)
        free = len(kinds) == 2 and kinds[1] is Ellipsis
        if isinstance(value, (list, tuple)) and (len(value) <= _MOST_ITEMS if free else len(value) == len(kinds)):
            each = (kinds[0] for _ in value) if free else iter(kinds)
            return tuple(_value(one, item, where, name) for one, item in zip(each, value, strict=True))
    elif hint is float:
        if type(value) in (int, float) and abs(value) <= _LARGEST:  # no NaN either
            return float(value)
    elif type(value) is hint and not (hint is int and abs(value) > _LARGEST_WHOLE):
        return value
    shown = hint.__name__ if isinstance(hint, type) and not isinstance(hint, types.GenericAlias) else str(hint)
    raise UserError(f"preset key {name} must be {shown}, found {value!r:.60}", where=where)
