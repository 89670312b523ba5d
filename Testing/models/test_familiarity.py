"""What is unlike the known pictures is noticed, and what is not is left alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from FetusMapV2Lib.core.errors import ModelError
from FetusMapV2Lib.models.familiarity import Familiarity, distances_among, fit_familiarity


def pictures(count: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1.0, (count, 16)) * np.linspace(0.1, 3.0, 16)


def test_one_known_picture_in_twenty_is_beyond_the_usual() -> None:
    known = pictures(200, seed=1)
    familiarity = fit_familiarity(known)
    assert ((distances_among(known) / familiarity.usual) > 1).mean() == pytest.approx(0.05, abs=0.01)
    new = [familiarity.unfamiliarity(one) for one in pictures(400, seed=2)]
    assert np.mean(np.array(new) > 1) == pytest.approx(0.05, abs=0.03)


def test_another_world_is_unfamiliar_in_units_of_what_is_usual() -> None:
    familiarity = Familiarity((0.0, 1.0), (1.0, 2.0), 1.5)
    assert familiarity.unfamiliarity(np.array([3.0, 7.0])) == pytest.approx(3.0 / 1.5)
    assert familiarity.unfamiliarity(np.array([1e9, 1.0])) == pytest.approx(math.sqrt(50) / 1.5), "one channel alone"


@pytest.mark.parametrize("features", [None, np.zeros(3), np.array([math.nan, 0.0])])
def test_what_was_not_measured_is_unknown(features: np.ndarray | None) -> None:
    assert math.isnan(Familiarity((0.0, 1.0), (1.0, 2.0), 1.5).unfamiliarity(features))


def test_a_channel_that_never_varied_proves_little() -> None:
    known = pictures(40, seed=3)
    known[:, 0] = 0.5
    moved = known[0] + np.eye(16)[0]
    assert fit_familiarity(known).unfamiliarity(moved) < fit_familiarity(known).unfamiliarity(known[0]) + 2.5


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(ModelError, match="19 cases are too few"):
        fit_familiarity(pictures(19, seed=4))
