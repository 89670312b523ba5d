"""Random fetuses for tests."""

from __future__ import annotations

import numpy as np

from FetusMapV2Lib.phantom.fetus import Fetus, make_fetus
from FetusMapV2Lib.phantom.postures import draw_posture
from FetusMapV2Lib.phantom.scene_options import CURRENT
from FetusMapV2Lib.phantom.sizes import sample_size
from FetusMapV2Lib.phantom.skeleton import spine_length


def sample_fetus(
    generator: np.random.Generator, gestational_age_days: float | None = None, anatomy: str = CURRENT
) -> Fetus:
    """A random fetus of 10-15 weeks in a random posture without overlaps.

    Args:
        generator: source of randomness.
        gestational_age_days: drawn evenly if None.
        anatomy: one of `scene_options.ANATOMIES`; an earlier one where answers are compared with recorded ones.
    """
    size = sample_size(generator, gestational_age_days, anatomy)
    length = spine_length(size)
    posture = draw_posture(generator, size, length)
    variation = np.random.default_rng(generator.integers(2**63))
    return make_fetus(size, posture, variation, length)
