"""The benchmark of shared offsets: known shifts come back in the axes of head and trunk, however the body lies."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.body_offsets import offsets, rows
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.models.model_file import load_model
from FetusMapV2Lib.models.model_index import find_model
from FetusMapV2Lib.training.proportions import between_crown_and_rump

row = default_schema().index


@pytest.fixture(scope="module")
def upright() -> np.ndarray:
    """A pose of the library, crown above rump along z, its belly towards y."""
    pose = load_model(find_model()).poses[0].astype(float)
    cranial = pose[row("cranial_crest")] - pose[row("rump")]
    belly = pose[row("umbilical_cord_insertion")] - pose[row("lumbosacral_spine")]
    turn, _ = Rotation.align_vectors([[0, 0, 1], [0, 1, 0]], [cranial, belly], weights=[np.inf, 1])
    return turn.apply(pose)


def test_shifts_are_told_in_the_axes_of_the_trunk(upright: np.ndarray) -> None:
    turn = Rotation.from_euler("xyz", [40, -75, 160], degrees=True)
    moved = upright + np.array([-1.0, 2.0, 3.0])  # to the fetal left (cranial x anterior), anterior, cranial
    found = offsets(turn.apply(moved), turn.apply(upright))
    trunk = slice(row("upper_thoracic_spine"), None)
    np.testing.assert_allclose(found[trunk], np.tile([3.0, 2.0, 1.0], (16, 1)), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), np.sqrt(14), atol=1e-6)


def test_what_all_bodies_share_is_taken_away(upright: np.ndarray) -> None:
    table = rows([upright + np.array([0, 0, 1.5])] * 3, [upright] * 3)
    wrist = table[row("left_wrist")]
    assert [float(cell) for cell in wrist[1:6]] == pytest.approx([1.5, 1.5, 0, 0, 0])
    assert len(table) == 22 and table[row("rump")][-1] == "100"


def test_places_between_crown_and_rump(upright: np.ndarray) -> None:
    places = between_crown_and_rump(7 + 2 * upright)
    assert places[row("cranial_crest")] == 0 and places[row("rump")] == pytest.approx(1)
    assert 0 < places[row("hind_neck")] < places[row("lumbosacral_spine")] < 1
