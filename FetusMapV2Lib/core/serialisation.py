"""Dataclasses to JSON values and back: one writer, and one reader that is strict about keys and types.

A field that has another name in the file is declared with `json_name`. NaN and infinity are ``null`` in JSON.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
import os
import sys
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, TypeVar

from FetusMapV2Lib.core.errors import InputError, UserError

T = TypeVar("T")

_NAME = "json_name"
_KIND_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}
_LISTS = (tuple, list, frozenset, set, Sequence, Collection)


def json_name(name: str) -> dict[str, str]:
    """Metadata of a field that is called `name` in JSON: ``field(metadata=json_name("presence"))``."""
    return {_NAME: name}


def to_json(value: Any, *, digits: int | None = None) -> Any:
    """A value as strict JSON values.

    Args:
        value: dataclass, mapping, sequence, set, array, enum, path, number, text or None, nested at will.
        digits: decimals that numbers are rounded to; None = as they are.

    Returns:
        Dicts, lists and plain values; NaN and infinity as None, sets sorted.

    Raises:
        TypeError: a value of another kind.
    """
    inner = functools.partial(to_json, digits=digits)
    if value is None or isinstance(value, (bool, int)):
        return value.value if isinstance(value, enum.Enum) else value
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return float(value) if digits is None else round(float(value), digits)
    if isinstance(value, enum.Enum):
        return inner(value.value)
    if isinstance(value, str):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {_name_of(field): inner(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): inner(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return [inner(item) for item in sorted(value)]
    if isinstance(value, (list, tuple)):
        return [inner(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "tolist"):  # arrays and numbers of numpy and torch
        return _plain_numbers(value.tolist(), digits)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _plain_numbers(value: Any, digits: int | None) -> Any:
    """The nested lists of an array: its elements are of one kind, so that nothing else has to be looked for."""
    if isinstance(value, list):
        return [_plain_numbers(one, digits) for one in value]
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return value if digits is None else round(value, digits)


@dataclasses.dataclass(frozen=True)
class ReadingRules:
    """What `from_json` accepts.

    Attributes:
        unknown_keys: whether an object may have keys that its dataclass does not have; they are ignored.
        null_is_nan: whether null stands for NaN where a number is expected.
        largest: numbers beyond this in size are refused.
    """

    unknown_keys: bool = False
    null_is_nan: bool = False
    largest: float = math.inf


def from_json(
    kind: type[T],
    data: Any,
    what: str = "the file",
    *,
    where: str | os.PathLike[str] | None = None,
    remedy: str = "",
    error: type[UserError] = InputError,
    rules: ReadingRules = ReadingRules(),
) -> T:
    """A value of type `kind` from JSON values.

    Args:
        kind: a dataclass (its own checks in ``__post_init__`` run), or any type that its fields may have: str, int,
            float, bool, path, ``X | None``, Literal, enum, list, tuple, frozenset, dict with text as keys, array of
            floats (null = NaN), Any.
        data: JSON values, checked whatever they are.
        what: how messages call the document, such as "the preset".
        where: file that it comes from, for messages.
        remedy: what the user can do, for messages.
        error: the kind of error to raise.
        rules: what is accepted beyond or below the usual.

    Raises:
        UserError: of the kind `error`: a key is unknown or missing, or a value is of the wrong kind; the message has
            the dotted path.
    """
    return typing.cast(T, _Reader(what, where, remedy, error, rules).read(kind, data, ""))


@dataclasses.dataclass(frozen=True)
class _Reader:
    what: str
    where: str | os.PathLike[str] | None
    remedy: str
    error: type[UserError]
    rules: ReadingRules

    def read(self, hint: Any, value: Any, path: str) -> Any:
        """The value of the type `hint` at a dotted path."""
        if hint is Any or hint is object:
            return value
        if hint is float:
            return self._number(value, path)
        if isinstance(hint, type) and issubclass(hint, PurePath):
            return hint(self.read(str, value, path))
        if hint in (str, int, bool, type(None)):
            if type(value) is not hint or (hint is int and abs(value) > self.rules.largest):
                raise self._wrong(hint, value, path)
            return value
        if dataclasses.is_dataclass(hint):
            return self._dataclass(typing.cast(type, hint), value, path)
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return self._choice({member.value: member for member in hint}, value, path)
        return self._composed(hint, value, path)

    def _composed(self, hint: Any, value: Any, path: str) -> Any:
        origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
        if origin is typing.Literal:
            return self._choice({one: one for one in arguments}, value, path)
        if origin in (typing.Union, types.UnionType):
            return self._union(arguments, value, path)
        if origin is typing.Annotated:
            return self.read(arguments[0], value, path)
        if origin in (dict, Mapping):
            items = self._object(value, path).items()
            return {key: self.read(arguments[1] if arguments else Any, item, _join(path, key)) for key, item in items}
        if origin in _LISTS:
            return self._list(origin, arguments, value, path)
        if getattr(origin, "__name__", "") == "ndarray":
            return self._array(value, path)
        raise TypeError(f"{hint} cannot be read from JSON")

    def _dataclass(self, kind: type, value: Any, path: str) -> Any:
        data, hints = self._object(value, path), _hints(kind)
        fields = {_name_of(field): field for field in dataclasses.fields(kind) if field.init}
        for key in () if self.rules.unknown_keys else data:
            if key not in fields:
                self._refuse(f"has the unknown key {_join(path, key):.80}", f"Known here: {', '.join(fields)}")
        for key, field in fields.items():
            needed = field.default is field.default_factory is dataclasses.MISSING
            if needed and key not in data:
                self._refuse(f"lacks the key {_join(path, key)}")
        found = {field.name: (key, data[key]) for key, field in fields.items() if key in data}
        return kind(**{name: self.read(hints[name], one, _join(path, key)) for name, (key, one) in found.items()})

    def _object(self, value: Any, path: str) -> Mapping[str, Any]:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            self._refuse(f"must have a JSON object as {path}" if path else "must be a JSON object")
        return typing.cast("Mapping[str, Any]", value)

    def _number(self, value: Any, path: str) -> float:
        if value is None and self.rules.null_is_nan:
            return math.nan
        if type(value) not in (int, float) or not abs(value) <= min(self.rules.largest, sys.float_info.max):
            raise self._wrong(float, value, path)  # among them NaN, infinity and a whole number that no float holds
        return float(value)

    def _choice(self, choices: Mapping[Any, Any], value: Any, path: str) -> Any:
        for known, meaning in choices.items():
            if type(value) is type(known) and value == known:
                return meaning
        raise self._wrong(f"one of {', '.join(map(str, choices))}", value, path)

    def _union(self, kinds: Sequence[Any], value: Any, path: str) -> Any:
        if value is None and type(None) in kinds:
            return None
        others = [kind for kind in kinds if kind is not type(None)]
        for kind in others[:-1]:
            try:
                return self.read(kind, value, path)
            except self.error:
                continue
        return self.read(others[-1], value, path)

    def _list(self, origin: Any, kinds: Sequence[Any], value: Any, path: str) -> Any:
        if not isinstance(value, (list, tuple)):
            raise self._wrong("a list", value, path)
        if origin is tuple and kinds and kinds[-1] is not Ellipsis:
            if len(value) != len(kinds):
                raise self._wrong(f"a list of {len(kinds)} values", value, path)
            each: Iterable[Any] = kinds
        else:
            each = [kinds[0] if kinds else Any] * len(value)
        items = [
            self.read(kind, one, f"{path}[{row}]") for row, (kind, one) in enumerate(zip(each, value, strict=True))
        ]
        return {tuple: tuple, frozenset: frozenset, set: set, list: list}.get(origin, tuple)(items)

    def _array(self, value: Any, path: str) -> Any:
        import numpy as np

        if not isinstance(value, (list, tuple)):
            raise self._wrong("a list of numbers", value, path)
        try:
            return np.array(self._numbers(value, path), dtype=np.float64)
        except ValueError:
            raise self._wrong("an array with rows of equal length", value, path) from None

    def _numbers(self, values: Sequence[Any], path: str) -> list[Any]:
        found: list[Any] = []
        for row, value in enumerate(values):
            if isinstance(value, (list, tuple)):
                found.append(self._numbers(value, f"{path}[{row}]"))
            elif value is None:
                found.append(math.nan)
            elif type(value) in (int, float) and math.isfinite(value) and abs(value) <= self.rules.largest:
                found.append(value)
            else:
                raise self._wrong(float, value, f"{path}[{row}]")
        return found

    def _wrong(self, expected: Any, value: Any, path: str) -> UserError:
        kind = expected if isinstance(expected, str) else _KIND_NAMES[expected]
        subject = f"{self.what}: {path}" if path else self.what
        return self.error(f"{subject} must be {kind}, found {value!r:.60}", where=self.where, remedy=self.remedy)

    def _refuse(self, problem: str, remedy: str = "") -> typing.NoReturn:
        raise self.error(f"{self.what} {problem}", where=self.where, remedy=self.remedy or remedy)


@functools.lru_cache(maxsize=256)
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _name_of(field: dataclasses.Field[Any]) -> str:
    return str(field.metadata.get(_NAME, field.name))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
