"""What a volume tells of the crown-rump image, on volumes whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from anatomy.bodies import standing_body
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.reporting.crl_view import crl_view


def box(grey: int = 100, spacing: float = 1.0) -> Volume:
    """A bright box of R 40, A 60, S 80 mm around the origin, in a black one of 100 mm."""
    count = round(100 / spacing)
    array = np.zeros((count,) * 3, np.uint8)
    k, j, i = (slice(round((50 - half) / spacing), round((50 + half) / spacing)) for half in (40, 30, 20))
    array[k, j, i] = grey
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = -50 + spacing / 2
    return Volume(array, matrix)


@pytest.mark.parametrize("spacing", [0.5, 1.0, 2.0])
def test_the_field_is_the_lit_part_of_the_volume(spacing: float) -> None:
    body = standing_body()
    found = crl_view(box(spacing=spacing), Pose(body))
    assert found.crown_inside_mm == pytest.approx(12, abs=spacing)
    assert found.rump_inside_mm == pytest.approx(12, abs=spacing)
    length = np.linalg.norm(body[0] - body[9])
    assert found.field_mm == pytest.approx(80 * length / 56, abs=2 * spacing)
    outside = crl_view(box(spacing=spacing), Pose(body + np.array([0, 0, 20.0])))
    assert outside.crown_inside_mm == pytest.approx(-8, abs=spacing)


def test_black_fluid_inside_is_in_the_field_and_turning_all_changes_nothing() -> None:
    volume = box()
    volume.array[60:80, 40:60, 45:55] = 0
    body = standing_body()
    plain = crl_view(volume, Pose(body))
    assert plain.crown_inside_mm == pytest.approx(12, abs=1)
    turn = np.eye(4)
    turn[:3, :3], turn[:3, 3] = Rotation.from_euler("xyz", [0.3, -1.2, 2.0]).as_matrix(), [5, -9, 30]
    turned = crl_view(volume.with_(ijk_to_ras=turn @ volume.ijk_to_ras), Pose(body).transformed(turn))
    assert turned.crown_inside_mm == pytest.approx(plain.crown_inside_mm, abs=1e-6)
    assert turned.field_mm == pytest.approx(plain.field_mm, abs=1e-6)
    assert turned.chin_chest_grey == pytest.approx(plain.chin_chest_grey, abs=1e-6)


def test_fluid_at_the_chin_is_dark_and_touching_is_not() -> None:
    body = standing_body()
    touching = crl_view(box(), Pose(body))
    assert touching.chin_chest_grey == pytest.approx(1.0, abs=0.01)
    chin, upper = body[4], body[6]
    volume = box(spacing=0.5)
    centre = (chin + (upper - chin) * 0.3 + 50) / 0.5 - 0.5
    i, j, k = np.round(centre).astype(int)
    volume.array[k - 3 : k + 4, j - 3 : j + 4, i - 3 : i + 4] = 20
    fluid = crl_view(volume, Pose(body))
    assert fluid.chin_chest_grey == pytest.approx(0.2, abs=0.05) and fluid.chin_chest_mm > 5


def test_what_the_volume_does_not_tell_is_unknown() -> None:
    empty = crl_view(box(grey=0), Pose(standing_body()))
    assert math.isnan(empty.crown_inside_mm) and math.isnan(empty.field_mm) and math.isnan(empty.chin_chest_grey)
    missing = crl_view(box(), Pose(np.full((22, 3), np.nan)))
    assert all(math.isnan(value) for value in vars(missing).values())
