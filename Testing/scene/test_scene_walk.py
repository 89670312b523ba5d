"""Short walks at random through everything that a user can do to volumes and poses."""

from __future__ import annotations

import pytest
from robustness.scene_walk import walk


@pytest.mark.parametrize("seed", [1, 5])
def test_poses_stay_whole_and_over_their_own_volumes(seed: int) -> None:
    walk(seed, 60)
