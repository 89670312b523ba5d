"""Dataclasses as attributes of nodes: saved with the scene, copied into sequences, restored by undo."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.json_files import parse_json
from FetusMapV2Lib.core.serialisation import ReadingRules, from_json, to_json

T = TypeVar("T")

#: Decimals of numbers: a nanometre for positions.
DIGITS = 6
#: Files of later versions may have more fields.
RULES = ReadingRules(unknown_keys=True, null_is_nan=True)


def write_attribute(node: Any, name: str, value: Any) -> None:
    """Store a dataclass in an attribute of a node, as JSON; an equal attribute is not modified."""
    text = json.dumps(to_json(value, digits=DIGITS), separators=(",", ":"))
    if node.GetAttribute(name) != text:
        node.SetAttribute(name, text)


def read_attribute(node: Any, name: str, kind: type[T]) -> T | None:
    """The dataclass in an attribute of a node; None if there is none, or the attribute is damaged."""
    try:
        data = parse_json(node.GetAttribute(name) or "")
        return from_json(kind, data, rules=RULES)
    except UserError:
        return None
