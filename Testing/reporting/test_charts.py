"""Reference charts: the band is the reference, the value lies at its place, labels are apart."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from reporting.samples import pose

from FetusMapV2Lib.anatomy.dating import expected_crl_mm
from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.reporting.charts import SIZE, bone_chart, crl_chart

SVG = "{http://www.w3.org/2000/svg}"
FOUND = measurements(pose())
BONES = {bone: [one for one in FOUND.lengths if one.key.endswith(bone)] for bone in ("femur", "humerus")}


def points(one: ET.Element) -> np.ndarray:
    return np.array([pair.split(",") for pair in one.get("points").split()], dtype=float)


def mark_places(svg: str) -> list[tuple[float, float]]:
    return [(float(one.get("cx")), float(one.get("cy"))) for one in ET.fromstring(svg).iter(f"{SVG}circle")]


def test_a_length_on_the_mean_lies_on_the_line_and_one_at_the_95th_centile_on_its_edge() -> None:
    days = 84.0
    mean, deviation = expected_crl_mm(days)
    root = ET.fromstring(crl_chart(FOUND.crl, days))
    middle, band = points(next(root.iter(f"{SVG}polyline"))), points(next(root.iter(f"{SVG}polygon")))
    ((x, y),) = mark_places(crl_chart(replace(FOUND.crl, value_mm=mean), days))
    assert np.interp(x, *middle.T) == pytest.approx(y, abs=0.3)
    ((_, y),) = mark_places(crl_chart(replace(FOUND.crl, value_mm=mean + 1.645 * deviation), days))
    upper = band[len(band) // 2 :][::-1]
    assert np.interp(x, *upper.T) == pytest.approx(y, abs=0.3)


@pytest.mark.parametrize("bone", ["femur", "humerus"])
def test_left_and_right_are_both_seen(bone: str) -> None:
    svg = bone_chart(bone, BONES[bone], FOUND.crl)
    left, right = mark_places(svg)
    assert right[0] - left[0] >= 8
    words = {one.text for one in ET.fromstring(svg).iter(f"{SVG}text")}
    assert {"L", "R"} <= words and any(word.startswith(bone.capitalize()) for word in words)


def test_what_is_unknown_is_not_drawn_and_what_is_beyond_the_axes_stays_in_the_chart() -> None:
    nothing = crl_chart(measurements(pose(0)).crl, float("nan"))
    assert not mark_places(nothing) and "not measured" in nothing and "nan" not in nothing
    ((x, y),) = mark_places(crl_chart(replace(FOUND.crl, value_mm=500.0), 200.0))
    assert 0 < x < SIZE[0] and 0 < y < SIZE[1]


def test_texts_of_a_chart_are_apart() -> None:
    pytest.importorskip("bench.qt_shim").application()
    from PySide6.QtGui import QFont, QFontMetricsF

    for svg in (crl_chart(FOUND.crl, 92.0), bone_chart("humerus", BONES["humerus"], FOUND.crl)):
        boxes = []
        for one in ET.fromstring(svg).iter(f"{SVG}text"):
            font = QFont("DejaVu Sans")
            font.setPixelSize(int(one.get("font-size")))
            font.setBold(one.get("font-weight") == "bold")
            width = QFontMetricsF(font).horizontalAdvance(one.text)
            left = float(one.get("x")) - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[one.get("text-anchor")]
            size = float(one.get("font-size"))
            boxes.append((left, float(one.get("y")) - 0.75 * size, left + width, float(one.get("y"))))
        for number, (left, top, right, bottom) in enumerate(boxes):
            assert left >= 0 and right <= SIZE[0] and top >= 0 and bottom <= SIZE[1]
            for other in boxes[number + 1 :]:
                apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
                assert apart, (boxes[number], other)
