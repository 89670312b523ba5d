"""The guide map as a drawing: parsed, and its lines and names held against the pose."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from anatomy.bodies import bodies, standing_body

from FetusMapV2Lib.anatomy.planes import midsagittal_plane
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.reporting.guide_map import guide_map

SCHEMA = default_schema()
SVG = "{http://www.w3.org/2000/svg}"


def drawn(positions: np.ndarray, **options) -> ET.Element:
    return ET.fromstring(guide_map(Pose(positions), midsagittal_plane(positions, SCHEMA), **options))


def texts(root: ET.Element) -> dict[str, tuple[float, float]]:
    return {str(one.text): (float(one.get("x")), float(one.get("y"))) for one in root.iter(f"{SVG}text")}


def dots(root: ET.Element) -> np.ndarray:
    """(2, N, 2): circles of the front view, then of the side view."""
    centres = [(float(one.get("cx")), float(one.get("cy"))) for one in root.iter(f"{SVG}circle")]
    return np.array(centres).reshape(2, -1, 2)


def test_both_views_show_every_landmark_and_name_each_once() -> None:
    root = drawn(standing_body())
    assert dots(root).shape == (2, 22, 2)
    names = texts(root)
    for mark in SCHEMA.landmarks:
        assert f"{mark.number} {mark.name}" in names
    assert {"From the front", "From the fetal right", "R", "L", "back", "front", "10 mm"} <= set(names)
    segments = [one for one in root.iter(f"{SVG}line") if one.get("stroke-width") == "3.0"]
    assert len(segments) == 2 * len(SCHEMA.edges)


def test_the_fetus_faces_the_reader_and_then_the_right_of_the_page() -> None:
    front, side = dots(drawn(standing_body()))
    left_shoulder, right_shoulder, crown, rump, nose, neck = (
        SCHEMA.index(key)
        for key in ("left_shoulder", "right_shoulder", "cranial_crest", "rump", "nasal_tip", "hind_neck")
    )
    assert front[left_shoulder, 0] > front[right_shoulder, 0], "its left is on the reader's right"
    assert side[nose, 0] > side[neck, 0]
    for view in (front, side):
        assert view[crown, 1] < view[rump, 1]


def test_distances_are_to_one_scale() -> None:
    positions = standing_body()
    root = drawn(positions)
    front, side = dots(root)
    bar = next(one for one in root.iter(f"{SVG}line") if one.get("stroke-width") == "2.0")
    pixels_per_mm = (float(bar.get("x2")) - float(bar.get("x1"))) / 10
    crl = abs(positions[0, 2] - positions[9, 2])
    for view in (front, side):
        assert abs(view[0, 1] - view[9, 1]) / pixels_per_mm == pytest.approx(crl, rel=0.02)


@pytest.mark.parametrize(("names", "size"), [(True, (880, 360)), (False, (880, 360)), (False, (420, 260))])
def test_labels_keep_apart_and_inside(names: bool, size: tuple[int, int]) -> None:
    for positions in bodies(5, 6, noise_mm=2.0):
        root = drawn(positions, names=names, size=size)
        columns: dict[tuple[float, str], list[float]] = {}
        for one in root.iter(f"{SVG}text"):
            if str(one.text)[0].isdigit() and one.text != "10 mm":
                columns.setdefault((float(one.get("x")), str(one.get("text-anchor"))), []).append(float(one.get("y")))
        assert sum(map(len, columns.values())) == 22
        for heights in columns.values():
            assert np.all(np.diff(sorted(heights)) >= 12)
            assert min(heights) > 20 and max(heights) < size[1]
        points = dots(root).reshape(-1, 2)
        assert (points > 0).all() and (points < np.array(size)).all()


def test_missing_landmarks_are_left_out() -> None:
    positions = standing_body()
    positions[[3, 12]] = np.nan
    root = drawn(positions)
    assert dots(root).shape == (2, 20, 2)
    assert "4 Nasal bone" not in texts(root) and "13 Left wrist" not in texts(root)
    assert len(list(drawn(np.full((22, 3), np.nan)).iter(f"{SVG}circle"))) == 0
    alone = np.full((22, 3), np.nan)
    alone[5] = [1.0, 2, 3]
    assert dots(drawn(alone)).shape == (2, 1, 2)


def test_what_a_person_vouched_for_is_filled() -> None:
    states = ["estimated"] * 20 + ["edited", "confirmed"]
    circles = list(drawn(standing_body(), states=states).iter(f"{SVG}circle"))
    filled = [one.get("fill") == one.get("stroke") for one in circles]
    assert filled == ([False] * 20 + [True] * 2) * 2
    assert not any(one.get("fill") == one.get("stroke") for one in drawn(standing_body()).iter(f"{SVG}circle"))


def test_where_the_fetus_lies_does_not_matter() -> None:
    first, second = (dots(drawn(body)) for body in bodies(8, 2))
    np.testing.assert_allclose(first, second, atol=0.2)


def test_the_document_can_be_larger_than_its_layout() -> None:
    root = drawn(standing_body(), size=(800, 400), scale=2.5)
    assert (root.get("width"), root.get("height")) == ("2000", "1000")
    assert root.get("viewBox") == "0 0 800 400"


@pytest.mark.parametrize("width", [300, 480, 880])
def test_titles_stay_within_their_halves(width: int) -> None:
    from PySide6 import QtGui, QtWidgets

    app = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    root = drawn(standing_body(), size=(width, round(0.62 * width)), names=width > 800)
    titles = [one for one in root.iter(f"{SVG}text") if one.get("font-weight") == "bold"]
    ends = [0.0]
    for title in titles:
        font = QtGui.QFont("DejaVu Sans")
        font.setBold(True)
        font.setPixelSize(int(title.get("font-size")))
        half, middle = QtGui.QFontMetricsF(font).horizontalAdvance(title.text) / 2, float(title.get("x"))
        assert middle - half > ends[-1]
        ends.append(middle + half)
    assert len(titles) == 2 and ends[-1] < width and app is not None
