"""Reading and checking a landmark schema file.

Every broken rule is refused with one line that names the file, the landmark and the remedy.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.json_files import read_json
from FetusMapV2Lib.core.safe_text import printable

#: group -> the side its landmarks lie on; the limb groups come in left-right pairs
GROUP_SIDES: dict[str, str | None] = {"ht": None, "la": "left", "ra": "right", "ll": "left", "rl": "right"}
PARTNER_GROUP = {"la": "ra", "ra": "la", "ll": "rl", "rl": "ll"}
BONES = ("left_femur", "right_femur", "left_humerus", "right_humerus")

_KEY = re.compile(r"[a-z][a-z0-9_]*")
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_MARK_KEYS = ("number", "key", "name", "definition", "group", "side", "partner", "colour", "source")
_MOST_LANDMARKS, _LONGEST = 200, 1000
_TEXT = f"a text of one line and at most {_LONGEST} characters"
_REMEDY = "Correct the landmark file or use the bundled Resources/Landmarks/fetusmapv2.json"


def read_document(path: Path) -> Any:
    """The parsed JSON of `path`.

    Raises:
        InputError: missing, unreadable, not UTF-8, or not JSON.
    """
    if not os.path.exists(path):  # noqa: PTH110 - takes any text
        raise InputError("the landmark file does not exist", where=path, remedy="Check the path")
    return read_json(path, "the landmark file", remedy=_REMEDY)


def schema_fields(document: Any, where: str | os.PathLike[str] | None) -> dict[str, Any]:
    """Checked keyword arguments of a schema, with numbers turned into rows.

    Raises:
        InputError: a rule is broken.
    """
    return _Checker(document, where).fields()


class _Checker:
    def __init__(self, document: Any, where: str | os.PathLike[str] | None) -> None:
        self._where = where
        self._count = 0
        if not isinstance(document, dict):
            self._refuse("a landmark file is a JSON object")
        self._document = document

    def _refuse(self, problem: str) -> NoReturn:
        raise InputError(problem, where=self._where, remedy=_REMEDY)

    def _get(self, key: str, kind: type) -> Any:
        if key not in self._document:
            self._refuse(f"'{key}' is missing")
        value = self._document[key]
        if not isinstance(value, kind):
            self._refuse(f"'{key}' must be {_KIND_NAMES[kind]}")
        return value

    def fields(self) -> dict[str, Any]:
        identity = self._get("id", str)
        if not identity.strip():
            self._refuse("'id' is empty")
        if not _is_text(identity):
            self._refuse(f"'id' must be {_TEXT}")
        landmarks = self._landmarks()
        self._check_partners(landmarks)
        return {
            "id": identity,
            "landmarks": landmarks,
            "edges": self._edges(),
            "registration_rows": self._rows("registration", at_least=3),
            "refined_rows": self._rows("refined"),
            "crl_rows": self._rows("crl", exactly=2),
            "bones": self._bones(),
            "midsagittal_rows": self._rows("midsagittal", at_least=3),
            "head_frame_rows": self._rows("head_frame", exactly=3),
            "trunk_frame_rows": self._rows("trunk_frame", exactly=3),
            "face_rows": self._rows("face_line", exactly=2),
        }

    def _landmarks(self) -> list[dict[str, Any]]:
        entries = self._get("landmarks", list)
        if not entries:
            self._refuse("'landmarks' is empty")
        if len(entries) > _MOST_LANDMARKS:
            self._refuse(f"'landmarks' holds more than {_MOST_LANDMARKS}")
        self._count = len(entries)
        landmarks = [self._landmark(number, entry) for number, entry in enumerate(entries, start=1)]
        for what in ("key", "name"):
            values = [mark[what] for mark in landmarks]
            repeated = sorted({value for value in values if values.count(value) > 1})
            if repeated:
                self._refuse(f"the {what} '{repeated[0]}' is used twice")
        return landmarks

    def _landmark(self, number: int, entry: Any) -> dict[str, Any]:
        name = f"landmark {number}"
        if not isinstance(entry, dict):
            self._refuse(f"{name} must be an object")
        for key in _MARK_KEYS:
            if key not in entry:
                self._refuse(f"{name}: '{key}' is missing")
        if not _is_whole(entry["number"]) or entry["number"] != number:
            self._refuse(f"{name}: the numbers must run 1, 2, 3, ... in order, found {entry['number']!r:.60}")
        for key, (rule, wanted) in _MARK_RULES.items():
            if not rule(entry[key]):
                self._refuse(f"{name}: '{key}' must be {wanted}, found {entry[key]!r:.60}")
        if entry["side"] != GROUP_SIDES[entry["group"]]:
            self._refuse(f"{name}: side {entry['side']!r:.60} does not fit group '{entry['group']}'")
        return {**{key: entry[key] for key in _MARK_KEYS}, "colour": _colour(entry["colour"])}

    def _check_partners(self, landmarks: list[dict[str, Any]]) -> None:
        for mark in landmarks:
            number, partner, group = mark["number"], mark["partner"], mark["group"]
            if GROUP_SIDES[group] is None:
                if partner is not None:
                    self._refuse(f"landmark {number}: a midline landmark has no partner")
                continue
            if not _is_whole(partner) or not 1 <= partner <= self._count:
                self._refuse(f"landmark {number}: 'partner' must name the other side, found {partner!r:.60}")
            other = landmarks[partner - 1]
            if other["partner"] != number:
                self._refuse(f"landmark {number}: its partner {partner} does not name it back")
            if other["group"] != PARTNER_GROUP[group]:
                self._refuse(f"landmark {number}: its partner {partner} is not on the opposite limb")

    def _edges(self) -> list[dict[str, Any]]:
        edges: list[dict[str, Any]] = []
        seen: set[frozenset[int]] = set()
        for position, entry in enumerate(self._get("edges", list), start=1):
            name = f"edge {position}"
            if not isinstance(entry, dict):
                self._refuse(f"{name} must be an object")
            if any(key not in entry for key in ("start", "end", "group")):
                self._refuse(f"{name} needs 'start', 'end' and 'group'")
            start, end = (self._row(entry[key], name) for key in ("start", "end"))
            if start == end:
                self._refuse(f"{name} joins landmark {start + 1} to itself")
            if frozenset((start, end)) in seen:
                self._refuse(f"{name} repeats {start + 1}-{end + 1}")
            if not _is_group(entry["group"]):
                self._refuse(f"{name}: unknown group {entry['group']!r:.60}")
            seen.add(frozenset((start, end)))
            edges.append({"start": start, "end": end, "group": entry["group"]})
        return edges

    def _bones(self) -> dict[str, tuple[int, ...]]:
        bones = self._get("bones", dict)
        if set(bones) != set(BONES):
            self._refuse(f"'bones' must hold exactly {', '.join(BONES)}")
        return {key: self._rows_of(bones[key], f"bone '{key}'", exactly=2) for key in BONES}

    def _rows(self, key: str, *, exactly: int | None = None, at_least: int = 0) -> tuple[int, ...]:
        return self._rows_of(self._get(key, list), f"'{key}'", exactly=exactly, at_least=at_least)

    def _rows_of(self, value: Any, name: str, *, exactly: int | None = None, at_least: int = 0) -> tuple[int, ...]:
        if not isinstance(value, list):
            self._refuse(f"{name} must be a list of landmark numbers")
        rows = tuple(self._row(number, name) for number in value)
        if len(set(rows)) != len(rows):
            self._refuse(f"{name} names a landmark twice")
        if exactly is not None and len(rows) != exactly:
            self._refuse(f"{name} must name {exactly} landmarks, found {len(rows)}")
        if len(rows) < at_least:
            self._refuse(f"{name} must name at least {at_least} landmarks, found {len(rows)}")
        return rows

    def _row(self, number: Any, name: str) -> int:
        if not _is_whole(number) or not 1 <= number <= self._count:
            self._refuse(f"{name} names landmark {number!r:.60}, which does not exist")
        return int(number) - 1


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    """Whether this can be shown: not empty, on one line, nothing that steers a terminal."""
    return isinstance(value, str) and bool(value.strip()) and len(value) <= _LONGEST and printable(value) == value


def _is_group(value: Any) -> bool:
    return isinstance(value, str) and value in GROUP_SIDES


def _colour(text: str) -> tuple[float, float, float]:
    red, green, blue = (int(text[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue


_MARK_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "key": (lambda value: isinstance(value, str) and bool(_KEY.fullmatch(value)), "lower case words with _"),
    "name": (_is_text, _TEXT),
    "definition": (_is_text, _TEXT),
    "group": (_is_group, f"one of {', '.join(GROUP_SIDES)}"),
    "colour": (
        lambda value: isinstance(value, str) and bool(_COLOUR.fullmatch(value)),
        "a colour as #56B4E9",
    ),
    "source": (lambda value: value in ("paper", "assumed"), "'paper' or 'assumed'"),
}
_KIND_NAMES: dict[type, str] = {str: "a text", list: "a list", dict: "an object"}
