"""The picture of the crown-rump length: the right slice, callipers at crown and rump, labels apart."""

from __future__ import annotations

import base64
import io
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from reporting.samples import pose

from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.reporting.crl_picture import SIZE, crl_picture

SVG, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
SPACING_MM = 1.5


def bright_where(*points: np.ndarray) -> Volume:
    """A dark box of 120 mm around the origin with a bright ball of 3 mm at each point."""
    count = 81
    matrix = np.diag([SPACING_MM] * 3 + [1.0])
    matrix[:3, 3] = -SPACING_MM * (count - 1) / 2
    index = np.stack(np.meshgrid(*[np.arange(count)] * 3, indexing="ij"), axis=-1)[..., ::-1]
    places = index @ matrix[:3, :3].T + matrix[:3, 3]
    array = np.full((count,) * 3, 10, np.uint8)
    for point in points:
        array[np.linalg.norm(places - point, axis=-1) < 3.0] = 250
    return Volume(array, matrix)


def drawn(volume: Volume, of: Pose) -> ET.Element:
    return ET.fromstring(crl_picture(volume, of, measurements(of).crl))


def greys(root: ET.Element) -> np.ndarray:
    from PIL import Image

    (image,) = root.iter(f"{SVG}image")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(image.get(LINK).split(",")[1]))))


def calliper_centres(root: ET.Element) -> list[tuple[float, float]]:
    lines = [one for one in root.iter(f"{SVG}line") if one.get("stroke-width") == "1.8"]
    ends = [tuple(float(one.get(name)) for name in ("x1", "y1", "x2", "y2")) for one in lines]
    return sorted({(round((x1 + x2) / 2), round((y1 + y2) / 2)) for x1, y1, x2, y2 in ends})


def test_the_callipers_lie_on_crown_and_rump_with_the_head_on_the_left() -> None:
    crown, rump = pose().positions[0], pose().positions[9]
    root = drawn(bright_where(crown), pose())
    (left, right), picture = calliper_centres(root), greys(root)
    scale = picture.shape[1] / SIZE[0]
    rows, columns = np.nonzero(picture > 128)
    assert (columns.mean() / scale, rows.mean() / scale) == pytest.approx(left, abs=2.0)
    shown = np.hypot(right[0] - left[0], right[1] - left[1])
    assert 0.6 * SIZE[0] < shown < 0.8 * SIZE[0]
    other = greys(drawn(bright_where(rump), pose()))
    assert np.nonzero(other > 128)[1].mean() / scale > SIZE[0] / 2


def test_the_front_is_up_and_turning_the_fetus_changes_nothing() -> None:
    chin = pose().positions[4]
    picture = greys(drawn(bright_where(chin), pose()))
    assert np.nonzero(picture > 128)[0].mean() < picture.shape[0] / 2
    turn = np.eye(4)
    turn[:3, :3] = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    turned = pose().transformed(turn)
    again = greys(drawn(bright_where(turned.positions[4]), turned))
    assert np.abs(again.astype(int) - picture.astype(int)).mean() < 3.0


def test_value_ends_and_scale_are_told() -> None:
    root = drawn(bright_where(np.zeros(3)), pose())
    words = [one.text for one in root.iter(f"{SVG}text")]
    crl = measurements(pose()).crl
    assert f"CRL {crl.value_mm:.1f} ± {crl.uncertainty_mm:.1f} mm" in words
    assert {"cranial", "caudal", "10 mm"} <= set(words) and not any("off the plane" in word for word in words)


def test_an_end_that_lies_beside_the_plane_is_told() -> None:
    beside = pose().positions.copy()
    beside[9, 0] += 8.0
    words = [one.text for one in drawn(bright_where(np.zeros(3)), pose().with_positions(beside)).iter(f"{SVG}text")]
    assert any(word.startswith("off the plane: ") and "rump" in word for word in words)


def test_labels_are_apart_inside_the_picture_and_off_the_callipers() -> None:
    beside = pose().positions.copy()
    beside[[0, 9], 0] += [12.0, -12.0]
    of = replace(pose(), positions=beside, radius90_mm=np.full(22, 9.9))
    root = drawn(bright_where(np.zeros(3)), of)
    boxes = [tuple(float(one.get(name)) for name in ("x", "y", "width", "height")) for one in root.iter(f"{SVG}rect")]
    assert len(boxes) == 5
    for number, (x, y, width, height) in enumerate(boxes):
        assert x >= 0 and y >= 0 and x + width <= SIZE[0] and y + height <= SIZE[1]
        for left, top, wide, high in boxes[number + 1 :]:
            assert x + width <= left or left + wide <= x or y + height <= top or top + high <= y
        for across, down in calliper_centres(root):
            assert not (x - 7 < across < x + width + 7 and y - 7 < down < y + height + 7)


def test_without_an_end_or_a_plane_there_is_no_picture() -> None:
    volume = bright_where(np.zeros(3))
    for of in (pose(0), pose(9), pose(*range(1, 9))):
        assert crl_picture(volume, of, measurements(of).crl) == ""
