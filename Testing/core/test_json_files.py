"""JSON that cannot be used gives one line, whatever is wrong with it."""

import json

import pytest

from FetusMapV2Lib.core.errors import InputError, ModelError
from FetusMapV2Lib.core.json_files import MAX_LEVELS, field, parse_json, read_json, read_json_object

_BAD = {
    "empty": (b"", "not valid JSON"),
    "cut": (b'{"a": [1, 2', "not valid JSON"),
    "other bytes": (bytes(range(256)), "not UTF-8"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
    "NaN": (b'{"a": NaN}', "NaN is no number"),
    "infinity": (b"[-Infinity]", "no number"),
    "float beyond range": (b"[1e999]", "too large"),
    "400 digits": (b"[" + b"9" * 400 + b"]", "too large"),
    "5000 digits": (b"[-" + b"9" * 5000 + b"]", "too large"),
    "65 bits": (b"[18446744073709551616]", "too large"),
    "a key twice": (b'{"a": {"b": 1, "c": 2, "b": 3}}', "'b' is there twice"),
    "deep lists": (b"[" * 100_000 + b"]" * 100_000, "nested too deeply|levels"),
    "a little too deep": (b"[" * (MAX_LEVELS + 1) + b"]" * (MAX_LEVELS + 1), "levels"),
    "deep objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply|levels"),
    "half a character": (b'{"a": "\\ud83d"}', "half a character"),
    "half a character in a key": (b'{"\\udc00": 1}', "half a character"),
}


@pytest.mark.parametrize("case", _BAD)
def test_a_document_that_cannot_be_used_is_one_line_with_its_place(tmp_path, case):
    content, problem = _BAD[case]
    path = tmp_path / "points.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=problem) as caught:
        read_json(path, "the landmark file", remedy="Save it again")
    line = str(caught.value)
    assert line.startswith(f"{path}: the landmark file ") and line.endswith(" Save it again.")
    assert "\n" not in line and len(line) < len(str(path)) + 200


def test_files_that_are_none_are_one_line(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        read_json(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        read_json(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_json("a\0b.json")
    (tmp_path / "large.json").write_bytes(b" " * 2000 + b"1")
    with pytest.raises(InputError, match="larger than"):
        read_json(tmp_path / "large.json", max_bytes=1000)


def test_good_documents_are_read_as_they_are(tmp_path):
    document = {"a": [1, -2.5, None, True, "größe \U0001f642"], "b": {"c": 2**63 - 1}, "": []}
    path = tmp_path / "good.json"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_text(json.dumps(document, ensure_ascii=False), encoding=encoding)
        assert read_json(path) == document
    assert parse_json(json.dumps(document)) == document
    nested = b"[" * (MAX_LEVELS - 1) + b"]" * (MAX_LEVELS - 1)
    assert parse_json(nested) is not None


def test_an_object_is_asked_for_and_the_kind_of_error_is_the_callers(tmp_path):
    (tmp_path / "list.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(ModelError, match="the index of models holds no JSON object"):
        read_json_object(tmp_path / "list.json", "the index of models", error=ModelError)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (1, int, 1),
        (2, float, 2.0),
        (2.5, float, 2.5),
        ("x", str, "x"),
        (True, bool, True),
        ([], list, []),
        ({}, dict, {}),
    ],
)
def test_a_field_of_the_right_kind_is_given(value, kind, expected):
    given = field({"a": value}, "a", kind)
    assert given == expected and type(given) is kind


@pytest.mark.parametrize(
    ("value", "kind"),
    [(True, int), (1, bool), (True, float), (1.0, int), (None, str), ("1", int), ([], dict), (3, list)],
)
def test_a_field_of_another_kind_is_refused_by_name(value, kind):
    with pytest.raises(InputError, match="the field 'a' is not"):
        field({"a": value}, "a", kind, where="case.json")


def test_a_missing_field_has_its_default_or_is_named():
    assert field({}, "a", int, default=3) == 3
    with pytest.raises(InputError, match="the field 'a' is missing"):
        field({}, "a", int, where="case.json")
