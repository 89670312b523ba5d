"""What a case tells of its ossified shafts is what is drawn in it."""

from __future__ import annotations

import numpy as np
import pytest

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.phantom.drawn_shafts import drawn_shafts
from FetusMapV2Lib.phantom.shapes import tube
from FetusMapV2Lib.phantom.simulated_case import simulate_case
from FetusMapV2Lib.phantom.tissues import Tissue

SPACING = 0.9


@pytest.fixture(scope="module")
def labelled():
    return simulate_case(7, 3, (153, 104, 104), SPACING, gestational_age_days=100.0, renderer="labels")


def test_each_long_bone_has_a_shaft_as_long_as_its_run_of_bone_in_the_label_map(labelled):
    volume, shafts = labelled.volume, labelled.truth["shafts_mm"]
    assert set(shafts) == set(default_schema().bones)
    for key, shaft in shafts.items():
        first, last = np.array(shaft["ends"])
        along = (last - first) / np.linalg.norm(last - first)
        steps = np.arange(-2.0, shaft["length"] + 2.0, 0.1)
        ijk = np.round((first + steps[:, None] * along - volume.ijk_to_ras[:3, 3]) / SPACING).astype(int)
        labels = volume.array[ijk[:, 2], ijk[:, 1], ijk[:, 0]] % 64
        run = 0.1 * float((labels == Tissue.BONE).sum())
        assert run == pytest.approx(shaft["length"], abs=1.2 * SPACING), key


def test_ends_lie_between_the_joints_first_at_the_root_of_the_limb(labelled):
    points = labelled.pose.positions
    for key, (root, end) in default_schema().bones.items():
        first, last = np.array(labelled.truth["shafts_mm"][key]["ends"])
        assert np.linalg.norm(first - points[root]) < np.linalg.norm(last - points[root]), key
        assert np.linalg.norm(last - points[end]) < np.linalg.norm(first - points[end]), key


def test_a_deformation_moves_the_middle_line_and_round_ends_keep_their_radius():
    line = np.array([[0.0, 0, 0], [0, 0, 5], [0, 0, 10]])
    bones = [tube(Tissue.BONE, line, 1.0, tag="left_femur"), tube(Tissue.BONE, line, 1.0)]
    assert drawn_shafts(bones, 0.5)["left_femur"] == {"length": 12.0, "ends": [[0.0, 0.0, -1.0], [0.0, 0.0, 11.0]]}
    stretched = drawn_shafts(bones, 0.5, moved=lambda points: 1.5 * points)
    assert list(stretched) == ["left_femur"] and stretched["left_femur"]["length"] == 17.0
