"""The bundled landmark schema, and that every broken rule is refused with one clear line."""

from __future__ import annotations

import copy
import json
import pickle
import random
from itertools import combinations

import numpy as np
import pytest
from robustness.mutations import damaged, damaged_json

from FetusMapV2Lib.anatomy.schema import Schema, default_schema
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.resources import resource_path

KEYS = [
    "cranial_crest",
    "forehead",
    "nasal_tip",
    "nasal_bone",
    "chin",
    "hind_neck",
    "upper_thoracic_spine",
    "umbilical_cord_insertion",
    "lumbosacral_spine",
    "rump",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_hip",
    "right_knee",
    "right_ankle",
]
ASSUMED = {2, 3, 5, 7, 8, 9, 10}


@pytest.fixture
def document():
    return json.loads(resource_path("Landmarks", "fetusmapv2.json").read_text(encoding="utf-8"))


def test_the_22_landmarks_and_what_the_paper_names():
    schema = default_schema()
    assert schema.count == 22
    assert list(schema.keys) == KEYS
    assert [schema.index(key) for key in KEYS] == list(range(22))
    assert {mark.number for mark in schema.landmarks if mark.assumed} == ASSUMED
    assert all(len(mark.definition) > 40 and mark.definition.endswith(".") for mark in schema.landmarks)
    assert len({mark.definition for mark in schema.landmarks}) == 22


def test_groups_sides_and_partners():
    schema = default_schema()
    assert {group: len(schema.rows(group)) for group in schema.groups} == {
        "ht": 10,
        "la": 3,
        "ra": 3,
        "ll": 3,
        "rl": 3,
    }
    assert schema.pairs == ((10, 13), (11, 14), (12, 15), (16, 19), (17, 20), (18, 21))
    assert schema.pairs_of("la") == schema.pairs[:3]
    assert schema.pairs_of("ll") == schema.pairs[3:]
    for left, right in schema.pairs:
        assert schema.keys[left].replace("left", "right") == schema.keys[right]
        assert schema.landmarks[left].partner == right + 1
        assert schema.landmarks[right].partner == left + 1


def test_the_sets_of_the_method_are_the_papers():
    schema = default_schema()
    assert [row + 1 for row in schema.registration_rows] == [2, 3, 5, 7, 9]
    assert [row + 1 for row in schema.refined_rows] == [1, 4, 6, 8, 10]
    assert [row + 1 for row in schema.crl_rows] == [1, 10]
    assert [row + 1 for row in schema.head_frame_rows] == [1, 4, 6]
    assert schema.midsagittal_rows == schema.rows("ht")
    for key, (start, end) in schema.bones.items():
        side, bone = key.split("_")
        ends = {"femur": ("hip", "knee"), "humerus": ("shoulder", "elbow")}[bone]
        assert (schema.keys[start], schema.keys[end]) == (f"{side}_{ends[0]}", f"{side}_{ends[1]}")


def test_the_skeleton_joins_all_landmarks_and_is_symmetric():
    schema = default_schema()
    reached, edges = {0}, {(edge.start, edge.end) for edge in schema.edges}
    for _ in range(schema.count):
        reached |= {b for a, b in edges if a in reached} | {a for a, b in edges if b in reached}
    assert reached == set(range(22))
    mirrored = {frozenset((schema.mirror_rows[a], schema.mirror_rows[b])) for a, b in edges}
    assert mirrored == {frozenset(edge) for edge in edges}


def test_mirroring_exchanges_sides_and_is_its_own_inverse():
    schema = default_schema()
    rows = schema.mirror_rows
    assert np.array_equal(rows[rows], np.arange(22))
    swapped = [schema.keys[row] for row in rows]
    assert swapped == [key.replace("left", "LEFT").replace("right", "left").replace("LEFT", "right") for key in KEYS]
    with pytest.raises(ValueError, match="read-only"):
        rows[0] = 3


# Severe colour blindness after Machado et al., IEEE TVCG 15:1291 (2009), on linear RGB.
COLOUR_BLIND = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def _lab(linear):
    xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    ratio = xyz @ np.clip(linear, 0, 1) / (xyz @ np.ones(3))
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", COLOUR_BLIND)
def test_group_colours_stay_apart_for_colour_blind_eyes(eyes):
    schema = default_schema()
    labs = {}
    for group in schema.groups:
        colours = {schema.landmarks[row].colour for row in schema.rows(group)}
        assert len(colours) == 1
        colour = np.array(colours.pop())
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        labs[group] = _lab(np.asarray(COLOUR_BLIND[eyes]) @ linear)
    for first, second in combinations(labs, 2):
        assert np.linalg.norm(labs[first] - labs[second]) > 18, (first, second)
    for left in ("la", "ll"):
        for right in ("ra", "rl"):
            # blue against orange: left and right lie far apart for everyone
            assert np.linalg.norm(labs[left] - labs[right]) > 40


def test_fingerprint_stays_and_sees_what_a_model_depends_on(document):
    schema = default_schema()
    # A changed value here makes every trained model unusable: change it only with the landmarks.
    assert schema.fingerprint == "46d3c27e75c2823d8ffb1451b668d4dfc71e540843c3fc74b177baccfdcbd833"
    cosmetic = copy.deepcopy(document)
    cosmetic["landmarks"][0] |= {"definition": "Other words.", "colour": "#000000", "name": "Crown"}
    cosmetic["edges"] = cosmetic["edges"][:3]
    assert Schema.from_document(cosmetic).fingerprint == schema.fingerprint
    renamed = copy.deepcopy(document)
    renamed["landmarks"][0]["key"] = "crown"
    assert Schema.from_document(renamed).fingerprint != schema.fingerprint


def test_equal_hashable_and_picklable(document):
    schema = default_schema()
    again = Schema.from_document(document)
    assert again == schema
    assert hash(again) == hash(schema)
    assert pickle.loads(pickle.dumps(schema)) == schema


def _mark(number, /, **changes):
    return lambda document: document["landmarks"][number - 1].update(changes)


def _set(**changes):
    return lambda document: document.update(changes)


BROKEN = {
    "id is missing": (lambda d: d.pop("id"), "'id' is missing"),
    "id is empty": (_set(id=" "), "'id' is empty"),
    "landmarks is no list": (_set(landmarks={}), "'landmarks' must be a list"),
    "no landmarks": (_set(landmarks=[]), "'landmarks' is empty"),
    "landmark is no object": (lambda d: d["landmarks"].__setitem__(3, 4), "landmark 4 must be an object"),
    "landmark lacks a field": (lambda d: d["landmarks"][4].pop("definition"), "landmark 5: 'definition' is missing"),
    "number out of order": (_mark(2, number=7), "landmark 2: the numbers must run"),
    "number is true": (_mark(1, number=True), "landmark 1: the numbers must run"),
    "key with capitals": (_mark(1, key="Crown Point"), "landmark 1: 'key' must be lower case"),
    "key used twice": (_mark(2, key="cranial_crest"), "the key 'cranial_crest' is used twice"),
    "name used twice": (_mark(2, name="Cranial crest"), "the name 'Cranial crest' is used twice"),
    "empty definition": (_mark(6, definition=""), "landmark 6: 'definition' must be a text"),
    "unknown group": (_mark(6, group="tail"), "landmark 6: 'group' must be one of"),
    "group is a list": (_mark(6, group=[]), "landmark 6: 'group' must be one of"),
    "colour in words": (_mark(6, colour="red"), "landmark 6: 'colour' must be a colour"),
    "unknown source": (_mark(6, source="guess"), "landmark 6: 'source' must be"),
    "side against group": (_mark(11, side="right"), "landmark 11: side 'right' does not fit group 'la'"),
    "midline with partner": (_mark(3, partner=4), "landmark 3: a midline landmark has no partner"),
    "limb without partner": (_mark(11, partner=None), "landmark 11: 'partner' must name the other side"),
    "partner beyond the list": (_mark(11, partner=23), "landmark 11: 'partner' must name the other side"),
    "partner not returned": (_mark(11, partner=15), "landmark 11: its partner 15 does not name it back"),
    "partner on another limb": (
        lambda d: (_mark(11, partner=20)(d), _mark(20, partner=11)(d)),
        "landmark 11: its partner 20 is not on the opposite limb",
    ),
    "edge is no object": (lambda d: d["edges"].append([1, 2]), "edge 24 must be an object"),
    "edge lacks its end": (lambda d: d["edges"][0].pop("end"), "edge 1 needs 'start', 'end' and 'group'"),
    "edge to nowhere": (lambda d: d["edges"][0].update(end=23), "edge 1 names landmark 23"),
    "edge to itself": (lambda d: d["edges"][0].update(end=1), "edge 1 joins landmark 1 to itself"),
    "edge twice": (lambda d: d["edges"].append({"start": 2, "end": 1, "group": "ht"}), "edge 24 repeats 2-1"),
    "edge of unknown group": (lambda d: d["edges"][0].update(group="x"), "edge 1: unknown group 'x'"),
    "registration too small": (_set(registration=[1, 2]), "'registration' must name at least 3"),
    "registration repeats": (_set(registration=[1, 2, 2]), "'registration' names a landmark twice"),
    "refined names text": (_set(refined=["1"]), "'refined' names landmark '1'"),
    "crl of three": (_set(crl=[1, 2, 3]), "'crl' must name 2 landmarks"),
    "bones lack one": (lambda d: d["bones"].pop("left_femur"), "'bones' must hold exactly"),
    "bone is no list": (lambda d: d["bones"].update(left_femur=17), "bone 'left_femur' must be a list"),
    "frame of two": (_set(head_frame=[1, 4]), "'head_frame' must name 3 landmarks"),
    "trunk frame missing": (lambda d: d.pop("trunk_frame"), "'trunk_frame' is missing"),
    "not an object": (None, "a landmark file is a JSON object"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_every_broken_rule_is_refused_with_one_line(what, document, tmp_path):
    breaking, message = BROKEN[what]
    if breaking is None:
        document = [document]
    else:
        breaking(document)
    path = tmp_path / "größe mit leer.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        Schema.load(path)
    line = str(caught.value)
    assert message in line
    assert str(path) in line
    assert "Correct the landmark file" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{ not json", "not valid JSON (line 1)"),
        (b"", "not valid JSON"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_json_is_refused(content, message, tmp_path):
    path = tmp_path / "schema.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        Schema.load(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Schema.load(tmp_path / "none.json")
    with pytest.raises(InputError, match="is a folder"):
        Schema.load(tmp_path)


def test_a_file_with_a_byte_order_mark_loads(document, tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(document), encoding="utf-8-sig")
    assert Schema.load(path) == default_schema()


def test_a_file_however_damaged_is_read_or_one_line(document, tmp_path):
    content, generator, path = json.dumps(document).encode(), random.Random(6), tmp_path / "schema.json"
    for number in range(200):
        by_value = damaged_json(generator, content)[0]
        path.write_bytes(by_value if number % 2 else damaged(generator, {"a": content}, len(content), b"[]")[0]["a"])
        try:
            Schema.load(path)
        except InputError as error:
            assert error.line().isprintable()
            assert len(error.line()) < 600


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[2J", "x" * 5000, "\u202eabc"])
def test_a_text_that_cannot_be_shown_is_refused(document, text):
    for key in ("name", "definition"):
        document["landmarks"][0][key] = text
        with pytest.raises(InputError, match="a text of one line"):
            Schema.from_document(document)


def test_a_text_has_a_thousand_characters_at_most(document):
    document["landmarks"][0]["definition"] = "x" * 1000
    assert len(Schema.from_document(document).landmarks[0].definition) == 1000
    document["landmarks"][0]["definition"] += "x"
    with pytest.raises(InputError, match="at most 1000 characters"):
        Schema.from_document(document)


def test_a_schema_has_two_hundred_landmarks_at_most(document):
    marks = document["landmarks"]
    for number in range(len(marks) + 1, 201):
        marks.append(marks[0] | {"number": number, "key": f"mark_{number}".replace("0", "o"), "name": f"Mark {number}"})
    for number, mark in enumerate(marks[22:], start=23):
        mark["key"] = "mark_" + "".join("abcdefghij"[int(digit)] for digit in str(number))
    assert Schema.from_document(document).count == 200
    marks.append(marks[-1] | {"number": 201, "key": "mark", "name": "Mark"})
    with pytest.raises(InputError, match="holds more than 200"):
        Schema.from_document(document)


def test_a_colour_is_read_to_the_digit(document):
    document["landmarks"][0]["colour"] = "#0056FF"
    assert Schema.from_document(document).landmarks[0].colour == (0.0, 86 / 255, 1.0)


def test_a_schema_may_refine_no_landmark(document):
    document["refined"] = []
    assert Schema.from_document(document).refined_rows == ()
