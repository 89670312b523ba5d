"""Dataclasses to JSON and back: nothing gets lost, and every mistake is named by its dotted path."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from FetusMapV2Lib.core.errors import InputError, ModelError
from FetusMapV2Lib.core.serialisation import ReadingRules, from_json, json_name, to_json


class Side(enum.Enum):
    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True)
class Inner:
    score: float = field(metadata=json_name("presence"))
    side: Side = Side.LEFT
    limit: float | None = None


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    size: tuple[int, int, int] = (1, 2, 3)
    rows: tuple[Inner, ...] = ()
    limbs: frozenset[str] = frozenset()
    mode: Literal["off", "full"] = "off"
    seconds: Mapping[str, float] = field(default_factory=dict)
    on: bool = True


@dataclass(frozen=True, eq=False)
class Place:
    positions: NDArray[np.float64]
    count: int | str = 0


def test_what_is_written_is_read_back() -> None:
    inner = Inner(0.5, Side.RIGHT, 2.0)
    value = Outer("ä", inner, (4, 5, 6), (inner, Inner(1.0)), frozenset({"legs", "arms"}), "full", {"net": 1.5}, False)
    document = to_json(value)
    assert document["inner"] == {"presence": 0.5, "side": "right", "limit": 2.0}
    assert document["limbs"] == ["arms", "legs"] and document["size"] == [4, 5, 6]
    assert from_json(Outer, json.loads(json.dumps(document, allow_nan=False))) == value


def test_numbers_that_are_none_are_null() -> None:
    array = np.array([[1.25, np.nan], [np.inf, 2.0]])
    document = to_json({"a": array, "b": math.nan, "c": np.float64(1.23456), "d": np.int64(3)}, digits=2)
    assert document == {"a": [[1.25, None], [None, 2.0]], "b": None, "c": 1.23, "d": 3}
    assert to_json([np.bool_(True), Path("a"), Side.LEFT]) == [True, "a", "left"]
    back = from_json(Place, to_json(Place(array)))
    np.testing.assert_array_equal(back.positions, [[1.25, np.nan], [np.nan, 2.0]])
    assert math.isnan(from_json(Inner, {"presence": None}, rules=ReadingRules(null_is_nan=True)).score)
    with pytest.raises(TypeError, match="object cannot be written"):
        to_json(object())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inner": 3}, "the note must have a JSON object as inner"),
        ({"inner": {}}, "the note lacks the key inner.presence"),
        ({"inner": {"presence": True}}, "the note: inner.presence must be a number, found True"),
        ({"inner": {"presence": None}}, "inner.presence must be a number"),
        ({"inner": {"presence": math.nan}}, "inner.presence must be a number"),
        ({"inner": {"presence": 1e9}}, "inner.presence must be a number"),
        ({"inner": {"score": 1}}, "has the unknown key inner.score. Known here: presence, side, limit"),
        ({"inner": {"presence": 1, "side": "up"}}, "inner.side must be one of left, right, found 'up'"),
        ({"inner": {"presence": 1, "limit": "x"}}, "inner.limit must be a number"),
        ({"name": 3}, "name must be text"),
        ({"name": None}, "name must be text"),
        ({"on": 1}, "on must be true or false"),
        ({"size": [1, 2]}, "size must be a list of 3 values"),
        ({"size": [1, 2.0, 3]}, r"size\[1\] must be a whole number"),
        ({"size": "abc"}, "size must be a list"),
        ({"rows": [{"presence": 1}, {}]}, r"lacks the key rows\[1\].presence"),
        ({"mode": "half"}, "mode must be one of off, full"),
        ({"seconds": {"net": "long"}}, "seconds.net must be a number"),
    ],
)
def test_every_mistake_is_named_by_its_path(change: dict[str, Any], message: str) -> None:
    data = {"name": "a", "inner": {"presence": 1}} | change
    with pytest.raises(ModelError, match=message):
        from_json(Outer, data, "the note", error=ModelError, rules=ReadingRules(largest=1e6))


def test_the_document_itself_may_be_wrong() -> None:
    with pytest.raises(InputError, match=r"^run\.json: the note must be a JSON object\. Remove it\.$"):
        from_json(Outer, [1], "the note", where="run.json", remedy="Remove it")
    with pytest.raises(InputError, match="positions must be an array with rows of equal length"):
        from_json(Place, {"positions": [[1, 2], [3]]})
    with pytest.raises(InputError, match=r"positions\[0\]\[1\] must be a number"):
        from_json(Place, {"positions": [[1, "2"]]})
    with pytest.raises(InputError, match="presence must be a number"):
        from_json(Inner, {"presence": 10**400})


def test_further_kinds() -> None:
    assert from_json(Place, {"positions": [], "count": "many"}).count == "many"
    assert from_json(Place, {"positions": [], "count": 3}).count == 3
    assert from_json(Inner, {"presence": 1, "later": 2}, rules=ReadingRules(unknown_keys=True)) == Inner(1.0)
    assert from_json(list[int], [1, 2]) == [1, 2]
    assert from_json(dict[str, Any], {"a": None}) == {"a": None}
    with pytest.raises(TypeError, match="cannot be read"):
        from_json(complex, 1)
