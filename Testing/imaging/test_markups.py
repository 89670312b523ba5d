"""Landmark files: what is written is read back, in any order and coordinate system; what is wrong is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError, OutputError
from FetusMapV2Lib.imaging.markups import markups_document, read_markups, write_markups


@pytest.fixture
def pose():
    positions = np.random.default_rng(3).normal(scale=40, size=(22, 3))
    positions[[4, 20]] = np.nan
    return Pose(positions, confidence=np.full(22, 0.876), radius90_mm=np.full(22, 3.21))


def same(a, b):
    return np.allclose(a.positions, b.positions, atol=1e-6, equal_nan=True)


def test_round_trip(tmp_path, pose):
    path = tmp_path / "Fall ä 1.mrk.json"
    write_markups(path, pose)
    assert same(read_markups(path), pose)


def test_document_is_what_slicer_expects(pose):
    document = markups_document(pose)
    (markup,) = document["markups"]
    assert document["@schema"].endswith("markups-schema-v1.0.3.json#")
    assert markup["type"] == "Fiducial" and markup["coordinateSystem"] == "RAS" and markup["coordinateUnits"] == "mm"
    points = markup["controlPoints"]
    schema = default_schema()
    assert [point["label"] for point in points] == [mark.name for mark in schema.landmarks]
    assert len({point["id"] for point in points}) == 22
    assert [point["positionStatus"] for point in points].count("missing") == 2
    assert "position" not in points[4] and points[0]["position"] == pytest.approx(pose.positions[0])
    assert points[0]["description"] == "confidence 0.88; 90 % radius 3.2 mm"
    json.dumps(document, allow_nan=False)


def test_descriptions_by_key_and_by_row(pose):
    points = markups_document(pose, descriptions={"rump": "blurred"})["markups"][0]["controlPoints"]
    assert points[9]["description"] == "blurred" and points[0]["description"] == ""
    points = markups_document(pose, descriptions=[str(n) for n in range(22)])["markups"][0]["controlPoints"]
    assert points[21]["description"] == "21"


def test_any_order_keys_for_names_and_lps(tmp_path, pose):
    document = markups_document(pose)
    markup = document["markups"][0]
    markup["coordinateSystem"] = "LPS"
    for point in markup["controlPoints"]:
        point["label"] = point.pop("key").upper()
        if "position" in point:
            x, y, z = point["position"]
            point["position"] = [-x, -y, z]
        else:
            point["position"] = ""  # as Slicer writes it
    np.random.default_rng(0).shuffle(markup["controlPoints"])
    (tmp_path / "a.mrk.json").write_text(json.dumps(document))
    assert same(read_markups(tmp_path / "a.mrk.json"), pose)


def test_absent_and_undefined_points_are_missing(tmp_path, pose):
    document = markups_document(pose)
    points = document["markups"][0]["controlPoints"]
    points[0]["positionStatus"] = "undefined"
    points[1]["positionStatus"] = "preview"
    del points[5]
    (tmp_path / "a.mrk.json").write_text(json.dumps(document))
    found = read_markups(tmp_path / "a.mrk.json")
    assert not found.present[[0, 1, 4, 5, 20]].any() and found.present.sum() == 17


def test_other_markups_in_the_file_are_ignored(tmp_path, pose):
    document = markups_document(pose)
    line = {"type": "Line", "coordinateSystem": "RAS", "controlPoints": [{"label": "a", "position": [0, 0, 0]}]}
    document["markups"].insert(0, line)
    (tmp_path / "a.mrk.json").write_text(json.dumps(document))
    assert same(read_markups(tmp_path / "a.mrk.json"), pose)


def edited(tmp_path, pose, edit):
    document = markups_document(pose)
    edit(document, document["markups"][0], document["markups"][0]["controlPoints"])
    path = tmp_path / "bad.mrk.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda d, m, p: p[3].update(label="Left ear", key="left_ear"), "'Left ear' is not a landmark"),
        (lambda d, m, p: p[3].update(label="Rump"), "twice"),
        (lambda d, m, p: p[3].update(position=[1, 2]), "'Nasal bone' is not three numbers"),
        (lambda d, m, p: p[3].update(position=["1", "2", "3"]), "not three numbers"),
        (lambda d, m, p: m.update(coordinateSystem="IJK"), "coordinate system 'IJK'"),
        (lambda d, m, p: m.update(coordinateUnits="in"), "unit 'in'"),
        (lambda d, m, p: m.update(coordinateSystem=["RAS"]), "coordinate system"),
        (lambda d, m, p: m.update(coordinateSystem="RAS" * 10**5), "coordinate system"),
        (lambda d, m, p: m.update(coordinateUnits=[[1]]), "unit"),
        (lambda d, m, p: m.update(coordinateUnits=None), "unit 'null'"),
        (lambda d, m, p: p[3].update(label={"a": 1}, key=None), "is not a landmark"),
        (lambda d, m, p: p[3].update(label="x" * 10**6, key=""), "is not a landmark"),
        (lambda d, m, p: p[3].update(positionStatus="Defined"), "position status 'Defined' of 'Nasal bone'"),
        (lambda d, m, p: p[3].update(positionStatus=[]), "position status"),
        (lambda d, m, p: p[3].update(position=[1, 2, True]), "not three numbers"),
        (lambda d, m, p: p[3].update(position=[1, 2, [3]]), "not three numbers"),
        (lambda d, m, p: p[3].update(position=[1, 2, 1e300]), "farther away"),
        (lambda d, m, p: p[3].update(position=[1, 2, 10**400]), "too large"),
        (lambda d, m, p: p[3].update(description=json.loads("[" * 500 + "]" * 500)), "levels"),
        (lambda d, m, p: p.extend([{}] * 10**4), "'' is not a landmark"),
        (lambda d, m, p: p.append(7), "not a list of points"),
        (lambda d, m, p: d.update(markups=[3, "x", None]), "no point list"),
        (lambda d, m, p: m.update(type="Curve"), "no point list"),
        (lambda d, m, p: m.update(controlPoints="none"), "control points"),
        (lambda d, m, p: d.pop("markups"), "no markups"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, pose, edit, message):
    path = edited(tmp_path, pose, edit)
    with pytest.raises(InputError, match=message) as caught:
        read_markups(path)
    assert "bad.mrk.json" in str(caught.value) and caught.value.remedy and len(str(caught.value)) < 500


def test_broken_files(tmp_path):
    with pytest.raises(InputError, match="no such landmark file"):
        read_markups(tmp_path / "nothing.mrk.json")
    (tmp_path / "a.mrk.json").write_text('{"markups": [')
    with pytest.raises(InputError, match="not valid JSON"):
        read_markups(tmp_path / "a.mrk.json")
    (tmp_path / "a.mrk.json").write_bytes(b"\xff\xfe\x00\xd8" * 9)
    with pytest.raises(InputError, match="not UTF-8 text"):
        read_markups(tmp_path / "a.mrk.json")


def test_an_existing_file_is_kept(tmp_path, pose):
    write_markups(tmp_path / "a.mrk.json", pose)
    with pytest.raises(OutputError, match="exists"):
        write_markups(tmp_path / "a.mrk.json", Pose(np.zeros((22, 3))), overwrite=False)
    assert same(read_markups(tmp_path / "a.mrk.json"), pose)


def test_a_pose_of_another_length_is_a_programming_error(tmp_path):
    with pytest.raises(ValueError, match="22"):
        markups_document(Pose(np.zeros((5, 3))))


def test_a_file_of_another_writer_with_a_byte_order_mark_is_read(tmp_path, pose):
    write_markups(tmp_path / "a.mrk.json", pose)
    text = (tmp_path / "a.mrk.json").read_text(encoding="utf-8")
    (tmp_path / "b.mrk.json").write_text(text, encoding="utf-8-sig")
    assert same(read_markups(tmp_path / "b.mrk.json"), pose)


@pytest.mark.parametrize(
    "content",
    [
        b'{"markups": NaN}',
        b'{"markups": [], "markups": []}',
        b"[" * 10**5,
        b'{"markups": [{"controlPoints": [{"label": "Rump", "position": [1, 2, ' + b"9" * 5000 + b"]}]}]}",
        b'{"markups": [{"controlPoints": [{"label": "\\ud800"}]}]}',
        b" " * (17 * 2**20),
        b"",
    ],
    ids=["NaN", "twice", "deep", "5000 digits", "half a character", "large", "empty"],
)
def test_whatever_is_in_a_landmark_file_one_line_says_what_is_wrong(tmp_path, content):
    (tmp_path / "a.mrk.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.mrk\.json: the landmark file") as caught:
        read_markups(tmp_path / "a.mrk.json")
    assert caught.value.remedy and len(str(caught.value)) < 500
