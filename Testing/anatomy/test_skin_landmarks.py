"""Which way is out of the body at landmarks on the skin, however the body lies."""

from __future__ import annotations

import numpy as np
from anatomy.bodies import standing_body
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.anatomy.skin_landmarks import outward_directions, skin_rows

SCHEMA = default_schema()
CREST, FOREHEAD, CHIN, NECK, RUMP = (
    SCHEMA.index(key) for key in ("cranial_crest", "forehead", "chin", "hind_neck", "rump")
)


def test_out_is_up_at_the_crown_forward_at_the_face_and_down_at_the_rump() -> None:
    out = outward_directions(standing_body())  # in R, A, S
    np.testing.assert_allclose(np.linalg.norm(out[list(skin_rows())], axis=1), 1.0)
    assert set(np.flatnonzero(np.isfinite(out).all(axis=1))) == set(skin_rows()) == {CREST, FOREHEAD, CHIN, RUMP}
    assert out[CREST, 2] > 0.95 and out[RUMP, 2] < -0.95
    assert out[FOREHEAD, 1] > 0.8 and out[CHIN, 1] > 0.8


def test_directions_turn_with_the_body() -> None:
    turn = Rotation.from_rotvec([0.4, -1.1, 0.7])
    turned = outward_directions(turn.apply(2.0 * standing_body()) + np.array([10.0, -20.0, 5.0]))
    np.testing.assert_allclose(turned, turn.apply(outward_directions(standing_body())), atol=1e-12)


def test_a_landmark_that_is_missing_leaves_directions_unknown_that_need_it() -> None:
    body = standing_body()
    body[NECK] = np.nan
    body[SCHEMA.index("lumbosacral_spine")] = body[RUMP]  # in the same place: no direction either
    assert not np.isfinite(outward_directions(body)).any()
